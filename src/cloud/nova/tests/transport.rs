//! What is sent again, what is not, and what is said about it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::cloud::{Ask, Cloud, CloudErrorKind, Refusal};

const SERVICES: &str = "/os-services";

fn no_services() -> ResponseTemplate {
    body(200, &json!({ "services": [] }))
}

fn stop() -> Ask {
    Ask::Stop { server: "s1".to_owned() }
}

#[tokio::test]
async fn connecting_takes_two_requests_and_shows_what_is_on_offer() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    assert_eq!(nova.capabilities().newest.to_string(), "2.96");
    assert_eq!((nova.requests_sent(), nova.name()), (2, "prod"));
    let token = &server.received_requests().await.unwrap()[0];
    let user = &json_of(token)["auth"]["identity"]["password"]["user"];
    assert_eq!(*user, json!({ "name": "op", "domain": { "id": "default" }, "password": SECRET }));
    assert!(!format!("{nova:?}").contains(SECRET) && !format!("{nova:?}").contains(TOKEN));
}

#[tokio::test]
async fn wrong_credentials_are_tried_once_however_many_wait() {
    let server = cloud("2.96").await;
    let nova = Arc::new(connect(&server).await);
    server.reset().await;
    // An answer that echoes what it was sent.
    let no = fault(401, "error", &format!("The password {SECRET} is wrong."));
    Mock::given(path("/v3/auth/tokens")).respond_with(no).mount(&server).await;
    on(&server, "GET", SERVICES, [fault(401, "error", "token revoked")]).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let nova = Arc::clone(&nova);
        waiting.spawn(async move { nova.services(None).await.unwrap_err() });
    }
    for error in waiting.join_all().await {
        assert!(matches!(error.kind, CloudErrorKind::Unauthenticated { .. }), "{error}");
        shows_no_secret(&error);
    }
    assert_eq!(tokens_asked(&server).await, 1);
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once_for_all_and_the_requests_are_sent_again() {
    let server = cloud("2.96").await;
    let nova = Arc::new(connect(&server).await);
    let rejected = || fault(401, "error", "expired");
    on(&server, "GET", SERVICES, (0..8).map(|_| rejected()).chain([no_services()])).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let nova = Arc::clone(&nova);
        all.spawn(async move { nova.services(None).await.map(|rows| rows.len()) });
    }
    assert!(all.join_all().await.into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(tokens_asked(&server).await, 2, "one to connect, one for all that were rejected");
}

#[tokio::test]
async fn a_change_refused_with_401_is_sent_once_more_and_no_oftener() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    on(&server, "POST", "/servers/s1/action", [fault(401, "error", "expired"), ResponseTemplate::new(202)]).await;
    on(&server, "POST", "/servers/s2/action", [fault(401, "error", "expired")]).await;
    assert_eq!(nova.ask(&stop()).await.unwrap().request_id.as_deref(), Some("req-1"));
    let error = nova.ask(&Ask::Stop { server: "s2".to_owned() }).await.unwrap_err();
    assert!(matches!(error.kind, CloudErrorKind::Unauthenticated { .. }), "{error}");
    assert_eq!(received(&server, "POST").await.len(), 4);
}

#[tokio::test]
async fn a_young_token_serves_many_changes_and_an_old_one_none() {
    for (ends, tokens) in [("2026-11-23T09:00:00Z", 1), ("2026-11-23T08:00:00Z", 1)] {
        let server = MockServer::start().await;
        let token = token_answer(&server, ends);
        Mock::given(path("/v3/auth/tokens")).respond_with(token).mount(&server).await;
        Mock::given(path("/v2.1/")).respond_with(version_answer("2.96")).mount(&server).await;
        on(&server, "POST", "/servers/s1/action", [ResponseTemplate::new(202)]).await;
        let nova = connect(&server).await;
        for _ in 0..3 {
            nova.ask(&stop()).await.unwrap();
        }
        assert_eq!(tokens_asked(&server).await, tokens, "{ends}");
    }
    // A token of less than a second is past its half after some of it.
    let server = MockServer::start().await;
    let token = token_answer(&server, "2026-11-23T08:00:00.4Z");
    Mock::given(path("/v3/auth/tokens")).respond_with(token).mount(&server).await;
    Mock::given(path("/v2.1/")).respond_with(version_answer("2.96")).mount(&server).await;
    on(&server, "POST", "/servers/s1/action", [ResponseTemplate::new(202)]).await;
    let nova = connect(&server).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    nova.ask(&stop()).await.unwrap();
    // More on a machine so slow that connecting alone takes that long.
    assert!(tokens_asked(&server).await >= 2);
}

#[tokio::test]
async fn a_limit_is_waited_out_for_readings_and_changes() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    let slow = || ResponseTemplate::new(429).insert_header("Retry-After", "0");
    let over = body(413, &json!({ "overLimit": { "code": 413, "message": "slow down", "retryAfter": "0" } }));
    on(&server, "GET", SERVICES, [slow(), over, no_services()]).await;
    on(&server, "POST", "/servers/s1/action", [slow(), ResponseTemplate::new(202)]).await;
    nova.services(None).await.unwrap();
    nova.ask(&stop()).await.unwrap();
    assert_eq!((received(&server, "GET").await.len(), received(&server, "POST").await.len()), (4, 2));
}

#[tokio::test]
async fn a_limit_that_does_not_end_is_a_refusal_in_bounded_time() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    let hour = ResponseTemplate::new(429).insert_header("Retry-After", "3600");
    on(&server, "POST", "/servers/s1/action", [hour]).await;
    let started = Instant::now();
    let error = nova.ask(&stop()).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::RateLimited));
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(received(&server, "POST").await.len(), 7);
}

#[tokio::test]
async fn a_failed_reading_is_tried_again_within_bounds() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    let page = ResponseTemplate::new(503).set_body_string("<html><title>503 Service Unavailable</title></html>");
    on(&server, "GET", SERVICES, [page.clone(), fault(500, "computeFault", "oops"), no_services()]).await;
    nova.services(None).await.unwrap();
    assert_eq!(received(&server, "GET").await.len(), 4);

    on(&server, "GET", "/os-migrations", [page]).await;
    let error = nova.migrations(&Default::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET /os-migrations: could not be reached: 503 503 Service Unavailable (after 5 attempts in 0 s) \
         (request id req-1)"
    );
    assert_eq!(received(&server, "GET").await.len(), 9);
}

#[tokio::test]
async fn a_change_whose_answer_does_not_come_is_lost_and_never_sent_again() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    let late = ResponseTemplate::new(202).set_delay(Duration::from_secs(3));
    on(&server, "POST", "/servers/s1/action", [late]).await;
    let error = nova.ask(&stop()).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    assert!(error.to_string().starts_with("POST /servers/s1/action os-stop: the answer was lost"), "{error}");
    assert_eq!(received(&server, "POST").await.len(), 1);
}

#[tokio::test]
async fn a_change_answered_by_a_failing_proxy_or_with_500_is_lost() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    for (at, status) in [500, 502, 503, 504].into_iter().enumerate() {
        let id = format!("s{status}");
        on(&server, "POST", &format!("/servers/{id}/action"), [fault(status, "computeFault", "MessagingTimeout")])
            .await;
        let error = nova.ask(&Ask::Stop { server: id }).await.unwrap_err();
        assert!(error.is_lost(), "{error}");
        assert_eq!(error.request_id.as_deref(), Some("req-1"));
        assert_eq!(received(&server, "POST").await.len(), at + 1);
    }
}

/// A compute API that says what it offers and then cuts every connection as soon as a request is on it; after `lives`
/// connections it is not there any more. Gives back how many changes arrived.
fn failing_compute(lives: usize) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/v2.1", listener.local_addr().unwrap())).unwrap();
    let changes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&changes);
    std::thread::spawn(move || {
        for stream in listener.incoming().take(lives) {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            if head[..length].starts_with(b"POST") {
                seen.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let version = r#"{"version": {"version": "2.96"}}"#;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", version.len());
            stream.write_all(format!("{answer}{version}").as_bytes()).unwrap();
        }
    });
    (url, changes)
}

#[tokio::test]
async fn a_change_is_lost_when_the_connection_breaks_after_it_was_sent() {
    let server = cloud("2.96").await;
    let (url, changes) = failing_compute(9);
    let nova =
        Nova::connect_with(CloudConfig { compute_endpoint: Some(url), ..config(&server) }, quick()).await.unwrap();
    let error = nova.ask(&stop()).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    assert_eq!(changes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_change_that_never_left_is_unreachable_and_not_lost() {
    let server = cloud("2.96").await;
    let (url, changes) = failing_compute(1);
    let nova =
        Nova::connect_with(CloudConfig { compute_endpoint: Some(url), ..config(&server) }, quick()).await.unwrap();
    let error = nova.ask(&stop()).await.unwrap_err();
    assert!(matches!(error.kind, CloudErrorKind::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("onnection refused"), "{error}");
    shows_no_secret(&error);
    assert_eq!(changes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_shrunken_offer_is_taken_once_and_remembered() {
    let server = cloud("2.104").await;
    let nova = connect(&server).await;
    let words = "Version 2.69 is not supported by the API. Minimum is 2.1 and maximum is 2.60.";
    on(&server, "GET", SERVICES, [fault(406, "computeFault", words), no_services()]).await;
    nova.services(None).await.unwrap();
    let versions: Vec<String> =
        received(&server, "GET").await.iter().skip(1).map(|request| version_of(request).to_owned()).collect();
    assert_eq!(versions, ["2.69", "2.53"]);
    assert_eq!(nova.capabilities().newest.to_string(), "2.60");

    on(&server, "GET", "/os-migrations", [fault(406, "computeFault", words)]).await;
    let error = nova.migrations(&Default::default()).await.unwrap_err();
    assert!(matches!(error.kind, CloudErrorKind::Refused { status: 406, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_in_another_microversion_is_not_read() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    let mute = body(200, &json!({ "services": [] }));
    Mock::given(path("/v2.1/project-1/os-services")).respond_with(mute).mount(&server).await;
    let error = nova.services(None).await.unwrap_err();
    assert!(error.to_string().contains("asked for microversion 2.69, answered in none"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_token_in_a_page_not_shown() {
    let server = cloud("2.96").await;
    let nova = connect(&server).await;
    let moved = ResponseTemplate::new(301).insert_header("Location", "https://elsewhere.invalid/v2.1?x=1");
    on(&server, "GET", SERVICES, [moved]).await;
    let error = nova.services(None).await.unwrap_err();
    assert!(error.to_string().contains("redirected with 301 to https://elsewhere.invalid/v2.1, which"), "{error}");

    let page = ResponseTemplate::new(400).set_body_string(format!("<h1>Bad header X-Auth-Token: {TOKEN}</h1>"));
    on(&server, "GET", "/os-migrations", [page]).await;
    let error = nova.migrations(&Default::default()).await.unwrap_err();
    assert!(error.to_string().contains("Bad header X-Auth-Token: ***"), "{error}");
    shows_no_secret(&error);
}

#[tokio::test]
async fn mistakes_that_show_only_on_connecting_are_told_apart() {
    let server = cloud("2.3").await;
    let old = Nova::connect_with(config(&server), quick()).await.unwrap_err();
    assert!(old.to_string().contains("furlough needs compute microversion 2.12, and this cloud offers up to 2.3"));

    let wrong = CloudConfig { region: Some("three".to_owned()), ..config(&server) };
    let wrong = Nova::connect_with(wrong, quick()).await.unwrap_err();
    let expected = "has no compute endpoint for interface internal or public in region `three`; it has public in \
                    `one`, public in `two`";
    assert!(wrong.to_string().contains(expected), "{wrong}");

    let empty = MockServer::start().await;
    let nowhere = Nova::connect_with(config(&empty), quick()).await.unwrap_err();
    assert!(nowhere.to_string().contains("`auth_url` of cloud `prod` leads to no Keystone v3"), "{nowhere}");

    let pem = super::super::Pem { path: "/ca.pem".into(), content: "not a certificate".to_owned().into() };
    let tls = Tls { verify: true, ca: Some(pem), identity: None };
    let untrusted = Nova::connect_with(CloudConfig { tls, ..config(&server) }, quick()).await.unwrap_err();
    assert!(untrusted.to_string().contains("`cacert` /ca.pem holds no PEM certificate"), "{untrusted}");
}
