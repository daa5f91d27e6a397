use proptest::prelude::{ProptestConfig, prop, prop_assert, proptest};

use super::*;
use crate::cloud::fixture::{self, inventory};
use crate::cloud::{Gap, ServerStatus};
use crate::event::RunId;
use crate::view::fixture::{PLAIN, at, hostile, is_harmless};
use crate::view::text::width;

fn host(name: &str, status: ServiceStatus, state: ServiceState, reason: Option<&str>) -> Host {
    let mut row = fixture::host(name);
    (row.service.zone, row.service.status, row.service.state) = ("nova".into(), status, state);
    row.service.disabled_reason = reason.map(str::to_owned);
    row.hypervisors[0].memory_used_mib = Some(98_816);
    row.aggregates = vec!["ssd".into(), "rack-7".into()];
    row
}

fn server(host: &str, status: &str) -> Server {
    Server { name: status.into(), status: ServerStatus::from(status.to_owned()), ..fixture::server(status, host) }
}

#[test]
fn hosts_say_who_holds_them() {
    use ServiceState::{Down, Up};
    use ServiceStatus::{Disabled, Enabled};
    let ours = "furlough 20261123-1642-9f2c: kernel-reboot";
    let mut newer = host("cmp-10", Enabled, Up, None);
    newer.hypervisors[0].memory_mib = None;
    let hosts = vec![
        host("cmp-07", Enabled, Up, None),
        host("cmp-08", Disabled, Up, Some(ours)),
        host("cmp-09", Disabled, Down, Some("fan is loud since the delivery of the new racks in March, ticket 4711")),
        newer,
    ];
    let servers = vec![
        server("cmp-07", "ERROR"),
        server("cmp-07", "ACTIVE"),
        server("cmp-07", "ACTIVE"),
        server("cmp-10", "ACTIVE"),
    ];
    let mut inventory = inventory(hosts, servers);
    inventory.read_at = at(0);
    inventory.gaps.push(Gap { what: "server groups".into(), host: None, why: "403 Forbidden".into() });
    insta::assert_snapshot!(super::hosts(&inventory, PLAIN), @r#"
    HOST    ZONE  SERVICE         SERVERS            MEMORY GiB  AGGREGATES  DISABLED BECAUSE
    cmp-07  nova  enabled, up     2 ACTIVE, 1 ERROR   97 of 256  ssd rack-7
    cmp-08  nova  disabled, up                        97 of 256  ssd rack-7  run 20261123-1642-9f2c
    cmp-09  nova  disabled, DOWN                      97 of 256  ssd rack-7  fan is loud since the deli…
    cmp-10  nova  enabled, up     1 ACTIVE                    2  ssd rack-7

    4 hosts, 4 servers, as they were at 2026-11-23 16:42:07 UTC

    What could not be seen (what is missing there is not known):
      - server groups: 403 Forbidden
    "#);
}

#[test]
fn an_empty_cloud_says_so() {
    assert_eq!(hosts(&inventory(Vec::new(), Vec::new()), PLAIN), "This cloud shows no compute hosts.\n");
}

fn summary(id: &str, ending: Option<Ending>, live: bool, hosts: &[&str]) -> RunSummary {
    RunSummary {
        id: RunId(id.into()),
        plan: "kernel-reboot".into(),
        cloud: "prod".into(),
        started_at: at(0),
        updated_at: at(404),
        ending,
        live,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
    }
}

#[test]
fn runs_say_which_can_go_on() {
    let all = [
        summary("20261123-1642-9f2c", None, true, &["cmp-07", "cmp-08"]),
        summary("20261122-2301-0a11", None, false, &["cmp-09"]),
        summary("20261122-2200-77aa", Some(Ending::Interrupted), false, &["cmp-10"]),
        summary("20261121-2200-beef", Some(Ending::Done), false, &[]),
    ];
    insta::assert_snapshot!(runs(&all, PLAIN), @r#"
    RUN                 PLAN         CLOUD  STARTED           LAST EVENT        STATE        HOLDS
    20261123-1642-9f2c  kernel-reb…  prod   2026-11-23 16:42  2026-11-23 16:48  under way    cmp-07 cmp…
    20261122-2301-0a11  kernel-reb…  prod   2026-11-23 16:42  2026-11-23 16:48  no process   cmp-09
    20261122-2200-77aa  kernel-reb…  prod   2026-11-23 16:42  2026-11-23 16:48  interrupted  cmp-10
    20261121-2200-beef  kernel-reb…  prod   2026-11-23 16:42  2026-11-23 16:48  done

    Times are UTC. `furlough resume RUN` goes on with one that is not done.
    "#);
    assert_eq!(runs(&[], PLAIN), "This journal holds no runs.\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn names_are_harmless_and_fit(names in prop::collection::vec(hostile(), 0..6), columns in 60..140_u16) {
        let style = Style { color: false, width: columns };
        let hosts: Vec<_> = names
            .iter()
            .map(|name| {
                let mut host = host(name, ServiceStatus::Disabled, ServiceState::Up, Some(name));
                host.aggregates.push(name.clone());
                host
            })
            .collect();
        let servers = names.iter().map(|name| server(name, name)).collect();
        let all: Vec<_> = names.iter().map(|name| summary(name, None, false, &[name])).collect();
        for text in [super::hosts(&inventory(hosts, servers), style), runs(&all, style)] {
            prop_assert!(is_harmless(&text));
            for line in text.lines() {
                prop_assert!(width(line) <= usize::from(columns), "{line:?}");
            }
        }
    }
}
