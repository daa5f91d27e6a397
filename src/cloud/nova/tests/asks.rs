//! The exact request of everything that can be asked, release by release.

use super::*;
use crate::cloud::{Ask, BlockMigration, Cloud, CloudErrorKind, Refusal};

/// Asks a cloud of this age, and gives back method, path, microversion and body of what arrived.
async fn sent(newest: &str, ask: &Ask) -> (String, String, String, Value) {
    let server = cloud(newest).await;
    for verb in ["POST", "PUT", "DELETE"] {
        Mock::given(method(verb)).respond_with(echo([ResponseTemplate::new(202)])).mount(&server).await;
    }
    connect(&server).await.ask(ask).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let request = requests.iter().rfind(|it| it.method.as_str() != "GET").unwrap();
    let body = if request.body.is_empty() { Value::Null } else { json_of(request) };
    let path = request.url.path().trim_start_matches("/v2.1/project-1").to_owned();
    (request.method.to_string(), path, version_of(request).to_owned(), body)
}

fn live(host: Option<&str>, block_migration: BlockMigration) -> Ask {
    Ask::LiveMigrate { server: "s1".to_owned(), host: host.map(str::to_owned), block_migration }
}

#[tokio::test]
async fn a_live_migration_has_the_body_of_its_microversion() {
    use BlockMigration::{Always, Auto, Never};
    for (newest, host, block, version, body) in [
        ("2.12", None, Always, "2.1", json!({ "host": null, "block_migration": true, "disk_over_commit": false })),
        ("2.12", None, Auto, "2.1", json!({ "host": null, "block_migration": false, "disk_over_commit": false })),
        ("2.25", None, Auto, "2.25", json!({ "host": null, "block_migration": "auto" })),
        ("2.30", Some("d"), Never, "2.30", json!({ "host": "d", "block_migration": false, "force": false })),
        ("2.34", Some("d"), Auto, "2.34", json!({ "host": "d", "block_migration": "auto", "force": false })),
        ("2.67", None, Auto, "2.34", json!({ "host": null, "block_migration": "auto" })),
        ("2.68", Some("d"), Auto, "2.68", json!({ "host": "d", "block_migration": "auto" })),
        ("2.104", None, Never, "2.68", json!({ "host": null, "block_migration": false })),
    ] {
        let expected =
            ("POST".to_owned(), "/servers/s1/action".to_owned(), version.to_owned(), json!({ "os-migrateLive": body }));
        assert_eq!(sent(newest, &live(host, block)).await, expected, "{newest}");
    }
}

#[tokio::test]
async fn what_a_release_cannot_do_is_not_sent() {
    let cold = Ask::ColdMigrate { server: "s1".to_owned(), host: Some("d".to_owned()) };
    let abort = Ask::AbortMigration { server: "s1".to_owned(), migration_id: 7 };
    for (newest, ask, needs) in
        [("2.29", live(Some("d"), BlockMigration::Never), "2.30"), ("2.55", cold, "2.56"), ("2.23", abort, "2.24")]
    {
        let server = cloud(newest).await;
        let error = connect(&server).await.ask(&ask).await.unwrap_err();
        let CloudErrorKind::TooOld { needs: named, has, .. } = &error.kind else { panic!("{error}") };
        assert_eq!((named.as_str(), has.as_str()), (needs, newest));
        assert!(received(&server, "POST").await.is_empty() && received(&server, "DELETE").await.is_empty());
    }
}

#[tokio::test]
async fn without_auto_shared_storage_is_tried_first_and_block_migration_after_its_refusal() {
    let not_shared = "cmp02 is not on shared storage: Live migration can not be used without shared storage.";
    for refusal in [not_shared, "No valid host was found. There are not enough hosts available."] {
        let server = cloud("2.12").await;
        let answers = [fault(400, "badRequest", refusal), ResponseTemplate::new(202)];
        on(&server, "POST", "/servers/s1/action", answers).await;
        connect(&server).await.ask(&live(None, BlockMigration::Auto)).await.unwrap();
        let tried: Vec<Value> = received(&server, "POST")
            .await
            .iter()
            .map(|it| json_of(it)["os-migrateLive"]["block_migration"].clone())
            .collect();
        assert_eq!(tried, [json!(false), json!(true)], "{refusal}");
    }
    // Anything but a refusal of the storage leaves it at the one request.
    for (answer, lost) in [
        (
            fault(409, "conflictingRequest", "Cannot 'os-migrateLive' instance s1 while it is in task_state migrating"),
            false,
        ),
        (fault(500, "computeFault", "MessagingTimeout"), true),
    ] {
        let server = cloud("2.12").await;
        on(&server, "POST", "/servers/s1/action", [answer]).await;
        let error = connect(&server).await.ask(&live(None, BlockMigration::Auto)).await.unwrap_err();
        assert_eq!((error.is_lost(), error.refusal() == Some(Refusal::Busy)), (lost, !lost));
        assert_eq!(received(&server, "POST").await.len(), 1);
    }
}

#[tokio::test]
async fn a_service_is_set_in_the_dialect_of_its_release() {
    let disable = |reason: &str| Ask::DisableService {
        host: "h".to_owned(),
        service_id: "id-1".to_owned(),
        reason: reason.to_owned(),
    };
    let enable = Ask::EnableService { host: "h".to_owned(), service_id: "id-1".to_owned() };
    let old = json!({ "host": "h", "binary": "nova-compute" });
    let with_reason = json!({ "host": "h", "binary": "nova-compute", "disabled_reason": "why" });
    for (newest, ask, path, version, body) in [
        ("2.12", disable("why"), "/os-services/disable-log-reason", "2.11", with_reason),
        ("2.52", disable(""), "/os-services/disable", "2.11", old.clone()),
        ("2.12", enable.clone(), "/os-services/enable", "2.11", old),
        (
            "2.53",
            disable("why"),
            "/os-services/id-1",
            "2.53",
            json!({ "status": "disabled", "disabled_reason": "why" }),
        ),
        ("2.104", disable(""), "/os-services/id-1", "2.69", json!({ "status": "disabled" })),
        ("2.104", enable, "/os-services/id-1", "2.69", json!({ "status": "enabled" })),
    ] {
        let expected = ("PUT".to_owned(), path.to_owned(), version.to_owned(), body);
        assert_eq!(sent(newest, &ask).await, expected, "{newest}");
    }
}

#[tokio::test]
async fn the_other_actions_are_sent_as_nova_wants_them() {
    let server = || "s1".to_owned();
    let cold = |host: Option<&str>| Ask::ColdMigrate { server: server(), host: host.map(str::to_owned) };
    for (newest, ask, version, body) in [
        ("2.12", cold(None), "2.1", json!({ "migrate": null })),
        ("2.104", cold(None), "2.56", json!({ "migrate": null })),
        ("2.56", cold(Some("d")), "2.56", json!({ "migrate": { "host": "d" } })),
        ("2.104", Ask::ConfirmResize { server: server() }, "2.1", json!({ "confirmResize": null })),
        ("2.104", Ask::RevertResize { server: server() }, "2.1", json!({ "revertResize": null })),
        ("2.104", Ask::Stop { server: server() }, "2.1", json!({ "os-stop": null })),
        ("2.104", Ask::Start { server: server() }, "2.1", json!({ "os-start": null })),
    ] {
        let expected = ("POST".to_owned(), "/servers/s1/action".to_owned(), version.to_owned(), body);
        assert_eq!(sent(newest, &ask).await, expected);
    }
    let abort = Ask::AbortMigration { server: server(), migration_id: 7 };
    for (newest, version) in [("2.24", "2.24"), ("2.104", "2.65")] {
        let expected = ("DELETE".to_owned(), "/servers/s1/migrations/7".to_owned(), version.to_owned(), Value::Null);
        assert_eq!(sent(newest, &abort).await, expected);
    }
}

#[tokio::test]
async fn an_id_cannot_leave_its_place_in_the_path() {
    let ask = Ask::Stop { server: "../os-services/x?y#z".to_owned() };
    let (_, path, ..) = sent("2.104", &ask).await;
    assert_eq!(path, "/servers/..%2Fos-services%2Fx%3Fy%23z/action");
}
