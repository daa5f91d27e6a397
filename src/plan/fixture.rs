//! A plan for the tests of every room, as plain as it can be; whoever wants one otherwise changes it.

use super::{
    Count, Destinations, Drain, Expr, Finish, HostSelector, Limits, LiveOptions, MoveTimeout, OnFailure, Pattern, Plan,
    Rung, Scope, ServerRule, Waves,
};
use crate::cloud::BlockMigration;

/// `hosts[index]`: the hosts of these names.
pub(crate) fn by_name(index: usize, patterns: &[&str]) -> HostSelector {
    HostSelector {
        name: patterns.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect(),
        aggregate: None,
        zone: None,
        when: None,
        at: format!("hosts[{index}]"),
    }
}

/// `drain.servers[index]`.
pub(crate) fn rule(index: usize, when: Option<&str>, ladder: &[Rung]) -> ServerRule {
    ServerRule {
        when: when.map(|text| Expr::parse(text, Scope::Server).unwrap()),
        ladder: ladder.to_vec(),
        at: format!("drain.servers[{index}]"),
    }
}

/// Empties the hosts of these names, one after another, by this ladder.
pub(crate) fn plan(patterns: &[&str], ladder: &[Rung]) -> Plan {
    let timeout = MoveTimeout { base_s: 300, per_gib_s: 60 };
    Plan {
        name: "kernel".to_owned(),
        cloud: None,
        hosts: vec![by_name(0, patterns)],
        exclude: Vec::new(),
        waves: Waves { max_hosts: Count::Hosts(1), first: None },
        drain: Drain {
            servers: vec![rule(0, None, ladder)],
            destinations: Destinations::Scheduler,
            limits: Limits { cloud: 10, source: 1, destination: None, queue_ahead: 0 },
            live: LiveOptions { block_migration: BlockMigration::Auto, stalled_after_s: 60, timeout },
            cold_timeout: timeout,
            power_timeout_s: 300,
            late_arrivals_s: 10,
        },
        maintain: Vec::new(),
        verify: Vec::new(),
        finish: Finish::Enable,
        on_failure: OnFailure::Hold,
    }
}
