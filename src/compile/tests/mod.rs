//! A small cloud to compile against, and the tests of the room by subject.

mod extend;
mod graph;
mod hosts;
mod random;
mod saved;
mod servers;

use std::collections::BTreeMap;

pub(super) use crate::cloud::fixture::group;
use crate::cloud::fixture::{self, in_state, with_disk};
use crate::cloud::{
    Aggregate, GroupPolicy, Host, Inventory, Microversion, Migration, MigrationKind, MigrationStatus, PowerState,
    Server, ServerGroup, ServerStatus, ServiceState, ServiceStatus,
};
use crate::plan::fixture::{by_name, plan, rule};
use crate::plan::{Count, Expr, Finish, HostSelector, Plan, Rung, Scope, Waves};

pub(super) fn host(name: &str) -> Host {
    Host { aggregates: vec!["rack-1".to_owned()], ..fixture::host(name) }
}

pub(super) fn server(id: &str, host: &str) -> Server {
    with_disk(fixture::server(id, host), 20)
}

pub(super) fn off(id: &str, host: &str) -> Server {
    in_state(server(id, host), ServerStatus::Shutoff)
}

pub(super) fn migration(id: u64, server: &str, status: MigrationStatus, from: &str, to: &str) -> Migration {
    Migration { status, dest_host: Some(to.to_owned()), ..fixture::record(id, server, from, MigrationKind::Live) }
}

pub(super) fn cloud(hosts: &[&str], servers: Vec<Server>) -> Inventory {
    let rack = Aggregate {
        name: "rack-1".to_owned(),
        zone: None,
        hosts: hosts.iter().map(|&name| name.to_owned()).collect(),
        metadata: BTreeMap::new(),
    };
    let hosts = hosts.iter().map(|&name| host(name)).collect();
    Inventory { aggregates: vec![rack], ..fixture::inventory(hosts, servers) }
}
