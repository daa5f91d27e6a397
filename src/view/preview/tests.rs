use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::compile::StepId;
use crate::view::fixture::{
    DB_1, OLD, PLAIN, WEB_3, any_graph, blocked_graph, child, graph, is_harmless, put_back, without_color,
};
use crate::view::text::short_id;

#[test]
fn a_plan_says_what_moves_how_and_what_follows() {
    insta::assert_snapshot!(preview(&graph(), PLAIN), @r#"
    Plan kernel-reboot on cloud prod
    graph 5e1f0c2a9b3d4e6f, compute microversion 2.90, as the cloud was at 2026-11-23 16:41:07 UTC

    Wave 1 of 2: 1 host out of service together

      cmp-07  zone nova, 2 servers, 9.5 GiB
        live, then cold (one-way): it runs, and nothing ties it to this host
          web-3 (9f2c1a07…)               ACTIVE     8 GiB
        cold (one-way): it is SHUTOFF, so only cold migration can move it
          db-1 (1b6d2f40…)                SHUTOFF  1.5 GiB  40 GiB local disk, group db, locked

    Wave 2 of 2: 1 host out of service together

      cmp-08  zone nova, 2 servers, 16 GiB
        Disabled before this run ("fan is loud, ticket 4711"), and stays so afterwards.
        stop, start again afterwards: drain.servers[0] stops what has tag build
          ビルド-\x1b[31mold (c0ffee00…)  ACTIVE     8 GiB
        stays on the host: drain.servers[1] leaves servers with a PCI device
          gpu (77777777…)                 ACTIVE     8 GiB

    1 server left on a host during its maintenance, as the plan has it:
      cmp-08  gpu (77777777-aaaa-4bbb-8ccc-dddddddddddd)

    On every host, in this order:
       1. disable its compute service and read that back
       2. list its servers again; what arrived meanwhile is added to the plan
       3. move its servers, if it has any, as above
       4. see twice in a row that nothing more is to leave it
       5. run: ssh {host} 'sudo systemctl reboot' (up to 10 min; no undo)
       6. wait until host.service.state == 'up' (up to 15 min)
       7. start the servers again that were stopped, if any
       8. give its compute service back exactly as it was before

    What has no undo:
      - A server that was moved stays where it went: nothing is moved back at the end.
      - A cold migration is confirmed as soon as it has ended, and that is one-way: the copy on the old
        host is gone.
      - What a command has done cannot be undone by furlough.

    Total  2 hosts in 2 waves, 4 servers
           1 live (1 with another method to fall back on), 1 cold, 1 stopped and started again, 1 left
           in place
           9.5 GiB of memory and 40 GiB of local disk to move
    "#);
}

#[test]
fn blockers_come_first_with_what_to_do() {
    let text = preview(&blocked_graph(), PLAIN);
    let top: String =
        text.lines().take_while(|line| !line.starts_with("Wave")).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(top, @r#"
    Plan kernel-reboot on cloud prod
    graph 5e1f0c2a9b3d4e6f, compute microversion 2.90, as the cloud was at 2026-11-23 16:41:07 UTC

    BLOCKED: 2 things stand in the way. Nothing is run until each is dealt with.

      cmp-08  host-down
        cause   its nova-compute was last seen at 16:02:11 UTC, so nothing can be migrated away from it
        to do   start nova-compute there, or leave the host out with `exclude`

      cmp-07  foreign-resize
        server  db-1 (1b6d2f40-77aa-4a6e-9f4e-52b3a1d2c322)
        cause   a resize to m1.large waits for its confirm since 2026-11-20; it is not this run's to
                decide
        to do   let its owner confirm or revert it: `openstack server resize confirm`

    What could not be seen (what is missing there is not known):
      - server groups: 403 Forbidden, so their policies are not known
    "#);
    assert!(text.contains("BLOCKED: it is SHUTOFF"), "{text}");
    assert!(text.ends_with("2 blockers: see the top\n"), "{text}");
}

#[test]
fn a_host_that_is_only_put_back_is_not_taken_out() {
    insta::assert_snapshot!(preview(&put_back(), PLAIN), @r#"
    Plan enable on cloud prod
    graph 5e1f0c2a9b3d4e6f, compute microversion 2.90, as the cloud was at 2026-11-23 16:41:07 UTC

    Back into service: 1 host

      cmp-08  zone nova, 1 server, 8 GiB
        start again: it was stopped by furlough
          ビルド-\x1b[31mold (c0ffee00…)  SHUTOFF  8 GiB

    On cmp-08, in this order:
       1. start the servers again that were stopped, if any
       2. give its compute service back exactly as it was before

    Total  1 host in 1 wave, 1 server
           1 started again
    "#);
}

#[test]
fn a_child_says_what_it_extends() {
    let text = preview(&child(), PLAIN);
    assert!(text.contains("Extends graph 5e1f0c2a9b3d4e6f below cmp-07/list."), "{text}");
}

#[test]
fn a_plan_without_hosts_says_so() {
    let empty = Graph { hosts: Vec::new(), servers: Vec::new(), steps: Vec::new(), ..graph() };
    assert!(preview(&empty, PLAIN).ends_with("No host matches this plan: there is nothing to do.\n"));
}

#[test]
fn hosts_that_stay_out_of_service_are_said_to() {
    let mut graph = graph();
    graph.plan.finish = Finish::KeepDisabled;
    graph.steps.retain(|step| !matches!(step.kind, StepKind::Enable));
    let text = preview(&graph, PLAIN);
    assert!(text.contains("it stays out of service (finish: keep_disabled)"), "{text}");
}

#[test]
fn hosts_with_other_steps_are_listed_apart() {
    let mut graph = graph();
    graph.steps.retain(|step| step.id != StepId("cmp-08/verify/0".into()));
    let text = preview(&graph, PLAIN);
    assert!(text.contains("\nOn cmp-07, in this order:\n") && text.contains("\nOn cmp-08, in this order:\n"), "{text}");
}

#[test]
fn a_host_is_replaced_where_it_is_a_word() {
    assert_eq!(
        place_host("ping cmp-1 cmp-10 cmp-1.example.org xcmp-1", "cmp-1"),
        "ping {host} cmp-10 {host}.example.org xcmp-1"
    );
    assert_eq!(place_host("true", ""), "true");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_plan_is_shown_safely_and_within_the_width(graph in any_graph(), columns in 60..140_u16) {
        let style = Style { color: false, width: columns };
        let text = preview(&graph, style);
        prop_assert!(is_harmless(&text));
        for line in text.lines() {
            prop_assert!(width(line) <= usize::from(columns), "{line:?}");
        }
        prop_assert_eq!(without_color(&preview(&graph, Style { color: true, ..style })), text);
    }

    #[test]
    fn every_server_is_named(graph in any_graph()) {
        let text = preview(&graph, PLAIN);
        let uuids = graph.servers.iter().filter(|server| [WEB_3, DB_1, OLD].contains(&server.id.as_str()));
        for server in uuids.filter(|server| graph.hosts.iter().any(|host| host.name == server.host)) {
            prop_assert!(text.contains(&short_id(&server.id)), "{}", server.id);
        }
    }
}
