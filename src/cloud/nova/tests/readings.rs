//! Lists as Nova of several ages gives them.

use wiremock::matchers::{query_param, query_param_is_missing};

use super::*;
use crate::cloud::{
    Cloud, CloudErrorKind, GroupPolicy, MigrationKind, MigrationQuery, MigrationStatus, PowerState, ServerQuery,
    ServerStatus, ServiceState, ServiceStatus,
};

async fn gets(server: &MockServer, at: &str, answer: Value) {
    on(server, "GET", at, [body(200, &answer)]).await;
}

/// A cloud of this age, filled.
async fn filled(newest: &str, rows: [Value; 6]) -> MockServer {
    let server = cloud(newest).await;
    let [services, hypervisors, aggregates, groups, servers, migrations] = rows;
    gets(&server, "/os-services", services).await;
    gets(&server, "/os-hypervisors/detail", hypervisors).await;
    gets(&server, "/os-aggregates", aggregates).await;
    gets(&server, "/os-server-groups", groups).await;
    gets(&server, "/servers/detail", servers).await;
    gets(&server, "/os-migrations", migrations).await;
    server
}

/// The same without the `next` link.
fn last_page(mut servers: Value) -> Value {
    servers.as_object_mut().unwrap().remove("servers_links");
    servers
}

#[tokio::test]
async fn an_inventory_of_a_new_cloud_takes_eight_requests() {
    let server = filled(
        "2.104",
        [
            fixture!("services-2.104.json"),
            fixture!("hypervisors-2.12.json"),
            fixture!("aggregates-2.104.json"),
            fixture!("groups-2.104.json"),
            last_page(fixture!("servers-2.104.json")),
            fixture!("migrations-2.104.json"),
        ],
    )
    .await;
    let nova = connect(&server).await;
    let inventory = nova.inventory().await.unwrap();
    assert_eq!(nova.requests_sent(), 8);
    assert!(inventory.read_at <= "2026-11-23T08:00:00Z".parse().unwrap());
    assert!(inventory.gaps.is_empty(), "{:?}", inventory.gaps);

    let names: Vec<&str> = inventory.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["cmp01", "cmp06"], "conductor and scheduler are left out");
    let host = inventory.host("cmp01").unwrap();
    assert_eq!((host.zone(), host.aggregates.as_slice()), ("az1", &["az1".to_owned(), "rack1".to_owned()][..]));
    assert_eq!((host.service.status, host.service.state), (ServiceStatus::Enabled, ServiceState::Up));
    assert_eq!((host.hypervisors[0].vcpus, host.hypervisors[0].memory_mib), (Some(32), Some(65536)));

    let found = inventory.servers.iter().find(|server| server.name == "smp-queued").unwrap();
    assert_eq!((&found.status, found.task_state.as_deref()), (&ServerStatus::Migrating, Some("migrating")));
    assert_eq!((found.power_state, found.locked, found.config_drive), (PowerState::Running, Some(false), false));
    assert_eq!((found.flavor.name.as_str(), found.flavor.memory_mib, found.flavor.known), ("m1.tiny", 512, true));
    assert!(found.image.is_some() && found.image_properties.is_some());
    assert_eq!(inventory.groups[0].policy, GroupPolicy::AntiAffinity);

    let unfinished: Vec<_> = inventory.migrations.iter().map(|row| (row.id, row.status.clone())).collect();
    assert_eq!(
        unfinished,
        [(12, MigrationStatus::Finished), (13, MigrationStatus::Running), (14, MigrationStatus::Queued)]
    );
    assert_eq!(inventory.migrations[0].kind, Some(MigrationKind::Cold));
}

#[tokio::test]
async fn an_inventory_of_liberty_looks_its_flavors_up_once() {
    let server = filled(
        "2.12",
        [
            fixture!("services-2.12.json"),
            fixture!("hypervisors-2.12.json"),
            json!({ "aggregates": [] }),
            fixture!("groups-2.12.json"),
            last_page(fixture!("servers-2.12.json")),
            fixture!("migrations-2.12.json"),
        ],
    )
    .await;
    gets(&server, "/flavors/detail", fixture!("flavors-2.12.json")).await;
    gets(&server, "/flavors/1/os-extra_specs", json!({ "extra_specs": { "hw:cpu_policy": "dedicated" } })).await;
    let nova = connect(&server).await;
    let inventory = nova.inventory().await.unwrap();
    assert_eq!(nova.requests_sent(), 10);
    let server = &inventory.servers[0];
    assert_eq!((server.flavor.name.as_str(), server.flavor.memory_mib, server.flavor.known), ("m1.tiny", 512, true));
    assert_eq!(server.flavor.extra_specs["hw:cpu_policy"], "dedicated");
    assert_eq!((server.image_properties.as_ref(), server.pinned_zone.as_ref()), (None, None));
    assert_eq!(inventory.host("cmp01").unwrap().service.id, "5");
    assert_eq!(
        (inventory.groups[0].policy.clone(), inventory.groups[0].max_server_per_host),
        (GroupPolicy::AntiAffinity, 1)
    );
    assert!(inventory.migrations.is_empty(), "all three are over");
    nova.inventory().await.unwrap();
    assert_eq!(nova.requests_sent(), 16, "six more, none of them for flavors");
}

#[tokio::test]
async fn a_flavor_that_is_gone_is_not_known_and_not_looked_for_twice() {
    let server = cloud("2.12").await;
    gets(&server, "/servers/detail", last_page(fixture!("servers-2.12.json"))).await;
    gets(&server, "/flavors/detail", json!({ "flavors": [] })).await;
    let nova = connect(&server).await;
    for _ in 0..2 {
        let reading = nova.servers(&ServerQuery::OnHost("cmp01".to_owned())).await.unwrap();
        let flavor = &reading.rows[0].flavor;
        assert_eq!((flavor.name.as_str(), flavor.known, flavor.vcpus), ("1", false, 0));
    }
    assert_eq!(nova.requests_sent(), 2 + 1 + 1 + 1);
}

#[tokio::test]
async fn what_may_not_be_seen_becomes_a_gap() {
    let unknown = json!({ "services": [
        { "binary": "nova-compute", "host": "far", "status": "UNKNOWN" },
        { "binary": "nova-compute", "host": "near", "id": "i", "status": "disabled", "state": "down", "forced_down": true, "zone": "z" },
    ] });
    let servers = json!({ "servers": [
        { "id": "s1", "status": "UNKNOWN", "tenant_id": "t", "created": "2026-01-01T00:00:00Z" },
        { "id": "s2", "status": "SHELVED_OFFLOADED", "OS-EXT-SRV-ATTR:host": null },
        { "id": "s3", "status": "BUILD", "OS-EXT-SRV-ATTR:host": null },
        { "id": "s4", "status": "SHELVED_OFFLOADED", "OS-EXT-SRV-ATTR:host": null, "OS-EXT-STS:task_state": "spawning" },
        { "id": "s5", "status": "SOFT_DELETED", "OS-EXT-SRV-ATTR:host": "near" },
    ] });
    let server = cloud("2.104").await;
    gets(&server, "/os-services", unknown).await;
    gets(&server, "/servers/detail", servers).await;
    gets(&server, "/os-migrations", json!({ "migrations": [] })).await;
    for at in ["/os-hypervisors/detail", "/os-aggregates", "/os-server-groups"] {
        let words = "Policy doesn't allow os_compute_api:os-hypervisors:list-detail to be performed.";
        on(&server, "GET", at, [fault(403, "forbidden", words)]).await;
    }
    let inventory = connect(&server).await.inventory().await.unwrap();
    let gaps: Vec<_> = inventory.gaps.iter().map(|gap| (gap.what.as_str(), gap.host.as_deref())).collect();
    assert_eq!(
        gaps,
        [
            ("hypervisors", None),
            ("aggregates", None),
            ("server groups", None),
            ("server s1", None),
            ("everything on host far", Some("far")),
        ]
    );
    assert!(inventory.gaps[0].why.contains("Policy doesn't allow"), "{}", inventory.gaps[0].why);
    let ids: Vec<&str> = inventory.servers.iter().map(|server| server.id.as_str()).collect();
    assert_eq!(ids, ["s3", "s4", "s5"]);
    assert_eq!(inventory.host("near").unwrap().service.forced_down, Some(true));
}

#[tokio::test]
async fn servers_are_listed_in_pages_by_a_marker_of_ours_and_each_once() {
    let server = cloud("2.104").await;
    let row = |id: &str, host: &str, status: &str| json!({ "id": id, "name": id, "status": status, "OS-EXT-SRV-ATTR:host": host });
    // The link leads to an inner host, where nobody answers.
    let next = json!([{ "rel": "next", "href": "http://inner.invalid/v2.1/servers/detail?marker=b" }]);
    let first = json!({ "servers": [row("a", "h1", "ACTIVE"), row("b", "h1", "SOFT_DELETED")], "servers_links": next });
    let second =
        json!({ "servers": [row("b", "h1", "SOFT_DELETED"), row("c", "h2", "ACTIVE"), row("d", "h1", "DELETED")] });
    let at = "/v2.1/project-1/servers/detail";
    let asked = |mock: wiremock::MockBuilder| {
        let mock = mock.and(path(at)).and(query_param("host", "h1")).and(query_param("all_tenants", "1"));
        mock.and(query_param("soft_deleted", "1")).and(query_param("sort_dir", "asc"))
    };
    let mock = asked(Mock::given(method("GET"))).and(query_param_is_missing("marker"));
    mock.respond_with(echo([body(200, &first)])).expect(1).mount(&server).await;
    let mock = asked(Mock::given(method("GET"))).and(query_param("marker", "b"));
    mock.respond_with(echo([body(200, &second)])).expect(1).mount(&server).await;
    let reading = connect(&server).await.servers(&ServerQuery::OnHost("h1".to_owned())).await.unwrap();
    let ids: Vec<&str> = reading.rows.iter().map(|server| server.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"], "c is elsewhere and d is gone");
}

#[tokio::test]
async fn a_list_that_repeats_itself_ends() {
    let server = cloud("2.104").await;
    let row = json!({ "id": "a", "status": "ACTIVE", "OS-EXT-SRV-ATTR:host": "h1" });
    let page = json!({ "servers": [row], "servers_links": [{ "rel": "next", "href": "x" }] });
    gets(&server, "/servers/detail", page).await;
    let nova = connect(&server).await;
    assert_eq!(nova.servers(&ServerQuery::OnHost("h1".to_owned())).await.unwrap().rows.len(), 1);
    assert_eq!(nova.requests_sent(), 4);
}

#[tokio::test]
async fn dropped_filters_are_an_error_and_not_an_empty_host() {
    let server = cloud("2.104").await;
    gets(&server, "/servers/detail", fixture!("servers-as-member-2.104.json")).await;
    let error = connect(&server).await.servers(&ServerQuery::OnHost("cmp01".to_owned())).await.unwrap_err();
    assert!(matches!(error.kind, CloudErrorKind::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("is no administrator to Nova"), "{error}");
}

#[tokio::test]
async fn changed_servers_are_asked_for_in_whole_seconds_and_deleted_ones_come_along() {
    let server = cloud("2.104").await;
    let row = json!({ "id": "a", "status": "DELETED", "OS-EXT-SRV-ATTR:host": null });
    let mock = Mock::given(method("GET")).and(query_param("changes-since", "2026-11-23T08:00:00Z"));
    let mock = mock.and(query_param("all_tenants", "1"));
    mock.respond_with(echo([body(200, &json!({ "servers": [row] }))])).expect(1).mount(&server).await;
    let since = "2026-11-23T08:00:00.9Z".parse().unwrap();
    let reading = connect(&server).await.servers(&ServerQuery::ChangedSince(since)).await.unwrap();
    assert_eq!(reading.rows[0].status, ServerStatus::Deleted);
    // Of the `Date` header, less the time the answer took.
    let end: jiff::Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
    let age = end.duration_since(reading.at).as_secs();
    assert!((0..=2).contains(&age), "{}", reading.at);
}

#[tokio::test]
async fn a_server_is_gone_only_when_nova_says_so() {
    let server = cloud("2.104").await;
    gets(&server, "/servers/s1", fixture!("server-verify-resize-2.104.json")).await;
    on(&server, "GET", "/servers/s2", [fault(404, "itemNotFound", "Instance s2 could not be found.")]).await;
    let page = "<html><title>404 Not Found</title>The requested URL /servers/s3 was not found.</html>";
    on(&server, "GET", "/servers/s3", [ResponseTemplate::new(404).set_body_string(page)]).await;
    let nova = connect(&server).await;
    assert_eq!(nova.server("s1").await.unwrap().unwrap().status, ServerStatus::VerifyResize);
    assert!(nova.server("s2").await.unwrap().is_none());
    assert!(nova.server("s3").await.is_err());
}

#[tokio::test]
async fn migrations_are_filtered_again_because_old_clouds_ignore_the_question() {
    let server = cloud("2.12").await;
    gets(&server, "/os-migrations", fixture!("migrations-2.12.json")).await;
    let nova = connect(&server).await;
    let ids = async |query: MigrationQuery| {
        nova.migrations(&query).await.unwrap().rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let server_id = "eef9ee8e-702a-4c4b-af0c-5dfc626fd2e5";
    assert_eq!(ids(MigrationQuery { server: Some(server_id.to_owned()), ..Default::default() }).await, [2]);
    assert_eq!(ids(MigrationQuery { host: Some("cmp04".to_owned()), ..Default::default() }).await, [3]);
    let since = Some("2026-11-23T07:59:21Z".parse().unwrap());
    assert_eq!(ids(MigrationQuery { changed_since: since, ..Default::default() }).await, [2, 3]);
    assert_eq!(ids(MigrationQuery { newest: Some(1), ..Default::default() }).await, [3]);
    let sent = received(&server, "GET").await;
    assert!(sent.iter().all(|it| it.url.query().is_none_or(|query| !query.contains("limit"))));
}

#[tokio::test]
async fn an_endless_history_is_asked_for_by_status() {
    let server = cloud("2.104").await;
    let row = |id: u64, status: &str| json!({ "id": id, "uuid": format!("u{id}"), "instance_uuid": "s", "status": status, "source_compute": "h", "dest_compute": null });
    let next = json!([{ "rel": "next", "href": "x" }]);
    let first = json!({ "migrations": [row(9, "completed")], "migrations_links": next });
    let at = "/v2.1/project-1/os-migrations";
    let mock = Mock::given(path(at)).and(query_param("status", "finished"));
    mock.respond_with(echo([body(200, &json!({ "migrations": [row(2, "finished")] }))])).mount(&server).await;
    let mock = Mock::given(path(at)).and(query_param_is_missing("status"));
    mock.respond_with(echo([body(200, &first)])).expect(1).mount(&server).await;
    let none = json!({ "migrations": [] });
    Mock::given(path(at)).respond_with(echo([body(200, &none)])).mount(&server).await;
    let rows = connect(&server).await.unfinished_migrations().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2]);
    assert_eq!(received(&server, "GET").await.len(), 1 + 1 + 11);
}

#[tokio::test]
async fn migrations_without_hosts_are_an_error() {
    let server = cloud("2.104").await;
    let row =
        json!({ "id": 1, "instance_uuid": "s", "status": "running", "source_compute": null, "dest_compute": null });
    gets(&server, "/os-migrations", json!({ "migrations": [row] })).await;
    let error = connect(&server).await.migrations(&MigrationQuery::default()).await.unwrap_err();
    assert!(error.to_string().contains("os_compute_api:os-migrations:index:host"), "{error}");
}

#[tokio::test]
async fn groups_are_listed_until_a_page_is_empty_because_there_is_no_link() {
    let server = cloud("2.104").await;
    let page = |from: usize, to: usize| {
        let groups: Vec<Value> = (from..to)
            .map(|at| json!({ "id": format!("g{at}"), "policy": "anti-affinity", "rules": { "max_server_per_host": 3 } }))
            .collect();
        json!({ "server_groups": groups })
    };
    let at = "/v2.1/project-1/os-server-groups";
    let mock = Mock::given(path(at)).and(query_param("offset", "150"));
    mock.respond_with(echo([body(200, &page(150, 160))])).expect(1).mount(&server).await;
    let mock = Mock::given(path(at)).and(query_param_is_missing("offset")).and(query_param("all_projects", "true"));
    mock.respond_with(echo([body(200, &page(0, 150))])).expect(1).mount(&server).await;
    let groups = connect(&server).await.read_groups().await.unwrap();
    assert_eq!((groups.len(), groups[0].max_server_per_host), (160, 3));
}

#[tokio::test]
async fn progress_is_read_where_there_is_any() {
    let server = cloud("2.104").await;
    gets(&server, "/servers/s1/migrations", fixture!("server-migrations-2.104.json")).await;
    on(&server, "GET", "/servers/s2/migrations", [fault(404, "itemNotFound", "Instance s2 could not be found.")]).await;
    let nova = connect(&server).await;
    let progress = nova.live_progress("s1").await.unwrap().unwrap();
    assert_eq!((progress.migration_id, progress.memory_remaining_bytes), (13, Some(532_297_018)));
    assert!(nova.live_progress("s2").await.unwrap().is_none());
    let old = cloud("2.22").await;
    assert!(connect(&old).await.live_progress("s1").await.unwrap().is_none());
}

#[tokio::test]
async fn the_fault_of_an_action_is_the_text_of_its_newest_failed_event() {
    let event = |name: &str, result: &str, at: &str, details: Value, traceback: Value| {
        json!({
            "event": name, "result": result, "start_time": at, "details": details, "traceback": traceback
        })
    };
    let stack = "  File \"x.py\", line 1, in f\n    raise exception.MigrationError(\n          ^^^^^^^\n";
    for (events, message, expected) in [
        (
            json!([
                event("inner", "Error", "2026-01-01T00:00:02.000000", json!("No valid host was found. "), Value::Null),
                event("outer", "Error", "2026-01-01T00:00:01.000000", json!("older"), Value::Null),
                event("later", "Success", "2026-01-01T00:00:09.000000", Value::Null, Value::Null),
            ]),
            json!("Error"),
            Some("No valid host was found."),
        ),
        (
            json!([event("pre", "Error", "2026-01-01T00:00:01.000000", Value::Null, json!(stack))]),
            json!("Error"),
            Some("pre: raise exception.MigrationError("),
        ),
        (json!([event("pre", "Error", "", Value::Null, Value::Null)]), json!("Error"), Some("pre failed")),
        (json!([]), json!("Error"), Some("Error")),
        (json!([]), Value::Null, None),
    ] {
        let server = cloud("2.104").await;
        let action = json!({ "instanceAction": { "action": "live-migration", "message": message, "events": events } });
        gets(&server, "/servers/s1/os-instance-actions/req-9", action).await;
        assert_eq!(connect(&server).await.action_fault("s1", "req-9").await.unwrap().as_deref(), expected);
    }
    let server = cloud("2.104").await;
    let words = "Action req-9 not found";
    on(&server, "GET", "/servers/s1/os-instance-actions/req-9", [fault(404, "itemNotFound", words)]).await;
    assert_eq!(connect(&server).await.action_fault("s1", "req-9").await.unwrap(), None);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_says_where() {
    let server = cloud("2.104").await;
    gets(&server, "/servers/detail", json!({ "servers": [{ "id": "a", "status": 7 }] })).await;
    let error = connect(&server).await.servers(&ServerQuery::OnHost("h".to_owned())).await.unwrap_err();
    assert!(error.to_string().contains("`servers[0].status`"), "{error}");
}

#[test]
fn both_of_novas_ways_to_write_a_time_are_understood() {
    use super::super::wire::timestamp;
    let expected = "2026-01-01T00:00:00Z".parse().ok();
    for text in
        ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000", "2026-01-01T00:00:00", "2026-01-01T01:00:00+01:00"]
    {
        assert_eq!(timestamp(text), expected, "{text}");
    }
    assert_eq!(timestamp("never"), None);
}
