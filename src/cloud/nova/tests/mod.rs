//! The client against a web server that answers as Nova does, body for body.

mod asks;
mod readings;
mod transport;

use std::sync::Mutex;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::http::Timing;
use super::{CloudConfig, Credentials, Domain, Identity, Nova, Scope, Tls};
use crate::cloud::CloudError;

const SECRET: &str = "correct-horse-battery";
const TOKEN: &str = "gAAAAA-the-token";
/// A moment that every answer carries as its `Date`.
const DATE: &str = "Mon, 23 Nov 2026 08:00:00 GMT";

/// Waits in a test are as short as can be.
fn quick() -> Timing {
    Timing {
        connect: Duration::from_secs(2),
        read: Duration::from_secs(5),
        ask: Duration::from_millis(300),
        patience: Duration::from_secs(5),
        backoff: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        limit_wait_max: Duration::from_millis(50),
    }
}

fn config(server: &MockServer) -> CloudConfig {
    let domain = Domain::Id("default".to_owned());
    CloudConfig {
        name: "prod".to_owned(),
        auth_url: Url::parse(&server.uri()).unwrap(),
        credentials: Credentials::Password {
            user: Identity::Named { name: "op".to_owned(), domain: domain.clone() },
            password: SECRET.to_owned().into(),
        },
        scope: Scope::Project(Identity::Named { name: "admin".to_owned(), domain }),
        region: Some("one".to_owned()),
        interfaces: vec!["internal".to_owned(), "public".to_owned()],
        compute_endpoint: None,
        tls: Tls { verify: true, ca: None, identity: None },
        timeout: None,
        warnings: Vec::new(),
    }
}

/// Answers with the microversion that was asked for, as Nova does. Of several answers each is given once and the last
/// for ever.
struct Echo(Mutex<Vec<ResponseTemplate>>);

impl Respond for Echo {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        let answer = answer.append_header("Date", DATE).append_header("x-compute-request-id", "req-1");
        match request.headers.get("X-OpenStack-Nova-API-Version") {
            Some(version) => {
                let version = version.to_str().unwrap();
                assert_eq!(request.headers["OpenStack-API-Version"], format!("compute {version}"));
                answer.append_header("X-OpenStack-Nova-API-Version", version)
            }
            None => answer,
        }
    }
}

fn echo(answers: impl IntoIterator<Item = ResponseTemplate>) -> Echo {
    Echo(Mutex::new(answers.into_iter().collect()))
}

fn body(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

fn fault(status: u16, name: &str, message: &str) -> ResponseTemplate {
    body(status, &json!({ name: { "code": status, "message": message } }))
}

fn token_answer(server: &MockServer, lives: &str) -> ResponseTemplate {
    let compute = format!("{}/v2/project-1", server.uri());
    let elsewhere = json!({ "interface": "public", "region": "two", "url": "http://two.invalid/v2.1" });
    let here = json!({ "interface": "public", "region": "one", "region_id": "one", "url": compute });
    let catalog = json!([
        { "type": "identity", "endpoints": [] },
        { "type": "compute", "endpoints": [elsewhere, here] },
    ]);
    body(201, &json!({ "token": { "expires_at": lives, "catalog": catalog } }))
        .insert_header("X-Subject-Token", TOKEN)
        .insert_header("Date", DATE)
}

fn version_answer(newest: &str) -> ResponseTemplate {
    body(200, &json!({ "version": { "id": "v2.1", "status": "CURRENT", "version": newest, "min_version": "2.1" } }))
}

/// A cloud whose newest microversion is this, with nothing else in it yet.
async fn cloud(newest: &str) -> MockServer {
    let server = MockServer::start().await;
    let token = token_answer(&server, "2026-11-23T09:00:00.000000Z");
    Mock::given(method("POST")).and(path("/v3/auth/tokens")).respond_with(token).mount(&server).await;
    Mock::given(method("GET")).and(path("/v2.1/")).respond_with(version_answer(newest)).mount(&server).await;
    server
}

async fn connect(server: &MockServer) -> Nova {
    Nova::connect_with(config(server), quick()).await.unwrap()
}

async fn on(server: &MockServer, verb: &str, at: &str, answers: impl IntoIterator<Item = ResponseTemplate>) {
    let at = format!("/v2.1/project-1{at}");
    Mock::given(method(verb)).and(path(at)).respond_with(echo(answers)).mount(server).await;
}

/// The requests of this method that arrived, without those for tokens.
async fn received(server: &MockServer, verb: &str) -> Vec<Request> {
    let requests = server.received_requests().await.unwrap();
    requests.into_iter().filter(|it| it.method.as_str() == verb && it.url.path() != "/v3/auth/tokens").collect()
}

async fn tokens_asked(server: &MockServer) -> usize {
    let requests = server.received_requests().await.unwrap();
    requests.iter().filter(|it| it.url.path() == "/v3/auth/tokens").count()
}

fn version_of(request: &Request) -> &str {
    request.headers["X-OpenStack-Nova-API-Version"].to_str().unwrap()
}

fn json_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn shows_no_secret(error: &CloudError) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(TOKEN), "{shown}");
}

macro_rules! fixture {
    ($name:literal) => {
        serde_json::from_str::<serde_json::Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/nova/",
            $name
        )))
        .unwrap()
    };
}
use fixture;
