//! Nova seen without furlough: raw requests, raw JSON, and waiting for what they show.
//!
//! Everything panics on what a scenario did not expect, with the request and Nova's own words. Deliberately
//! absent: any use of furlough's client, which is what the scenarios put to the test.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// One runtime for every scenario: the client's connections and the proxies live on it.
pub static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a tokio runtime")
});

/// Redirects, proxies and decompression are off: the lab's answers are to be seen as they are.
pub static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    reqwest::Client::builder()
        .no_proxy()
        .no_gzip()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(180)) // above rpc_response_timeout (60 s), on a busy machine
        .build()
        .expect("an HTTP client")
});

/// How long a state may take to come, on a machine that compiles at the same time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What came back for one request.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    /// Nova's name for the request, by which its instance action is found.
    pub request_id: Option<String>,
}

/// An administrator in project `demo`, where the servers of the scenarios live.
#[derive(Debug)]
pub struct Nova {
    auth: Value,
    /// Keystone's v3 address.
    pub keystone: String,
    /// Nova's address in the catalog, with `/v2.1`.
    pub url: String,
    /// Glance's address in the catalog.
    pub glance: String,
    /// The newest microversion Nova offers, used by every call.
    pub microversion: String,
    token: Mutex<String>,
}

impl Nova {
    /// Logs in with `auth`, an `auth` section of the lab's `clouds.yaml`.
    pub fn login(auth: &Value) -> Self {
        let keystone = auth["auth_url"].as_str().expect("auth_url in the lab's clouds.yaml").to_owned();
        let (token, catalog) = password_token(&keystone, auth);
        let find = |kind: &str| {
            let services = catalog.as_array().into_iter().flatten();
            let endpoints = services.filter(|s| s["type"] == kind).flat_map(|s| s["endpoints"].as_array()).flatten();
            let mut public = endpoints.filter(|e| e["interface"] == "public");
            let url = public.next().and_then(|e| e["url"].as_str());
            url.unwrap_or_else(|| panic!("no public {kind} endpoint in {catalog}")).to_owned()
        };
        let (url, glance) = (find("compute"), find("image"));
        let mut nova =
            Self { auth: auth.clone(), keystone, url, glance, microversion: "2.1".into(), token: Mutex::new(token) };
        let newest = nova.get("/")["version"]["version"].clone();
        nova.microversion = newest.as_str().expect("a version document").to_owned();
        nova
    }

    /// A token of its own, to be revoked or outlived.
    pub fn new_token(&self) -> String {
        password_token(&self.keystone, &self.auth).0
    }

    /// One request, authenticated, at the newest microversion. Logs in again once on a 401.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let send = || {
            let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
            request(method, &format!("{}{path}", self.url), Some(&token), Some(&self.microversion), body)
        };
        let first = send().unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        if first.status != 401 {
            return first;
        }
        let fresh = self.new_token();
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        send().unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// As [`Nova::call`], and it must succeed.
    pub fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.call(method, path, body);
        assert!(answer.status < 300, "{method} {path} {body:?}: {} {}", answer.status, answer.body);
        answer.body
    }

    pub fn get(&self, path: &str) -> Value {
        self.ok("GET", path, None)
    }

    /// `POST /servers/{id}/action`.
    pub fn action(&self, server: &str, body: &Value) -> Answer {
        self.call("POST", &format!("/servers/{server}/action"), Some(body))
    }

    pub fn server(&self, id: &str) -> Value {
        self.get(&format!("/servers/{id}"))["server"].clone()
    }

    /// Every server of every project, in detail.
    pub fn servers(&self) -> Vec<Value> {
        list(&self.get("/servers/detail?all_tenants=1&limit=1000"), "servers")
    }

    /// The ids of the servers on `host`, sorted.
    pub fn servers_on(&self, host: &str) -> Vec<String> {
        let here = |s: &Value| (host_of(s) == host).then(|| text(s, "id").to_owned());
        let mut ids: Vec<String> = self.servers().iter().filter_map(here).collect();
        ids.sort();
        ids
    }

    /// The nova-compute services, by host.
    pub fn services(&self) -> Vec<Value> {
        list(&self.get("/os-services?binary=nova-compute"), "services")
    }

    pub fn service(&self, host: &str) -> Value {
        let found = self.services().into_iter().find(|s| s["host"] == host);
        found.unwrap_or_else(|| panic!("no nova-compute service on {host}"))
    }

    /// `PUT /os-services/{id}`: status, disabled_reason, forced_down.
    pub fn update_service(&self, host: &str, change: &Value) -> Answer {
        let id = text(&self.service(host), "id").to_owned();
        self.call("PUT", &format!("/os-services/{id}"), Some(change))
    }

    /// The migration records of a server, newest first.
    pub fn migrations(&self, server: &str) -> Vec<Value> {
        list(&self.get(&format!("/os-migrations?instance_uuid={server}")), "migrations")
    }

    /// Asks for a live migration as an orchestrator does: the scheduler is asked even when a host is named.
    pub fn live_migrate(&self, server: &str, host: Option<&str>) -> Answer {
        let answer = self.action(server, &json!({"os-migrateLive": {"host": host, "block_migration": "auto"}}));
        assert_eq!(answer.status, 202, "live migration of {server} to {host:?}: {}", answer.body);
        answer
    }

    /// Waits until the server is as `wanted` says.
    pub fn wait_server(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let last = || self.server(id);
        wait_until(&format!("server {id}: {what}"), PATIENCE, || Some(last()).filter(|s| wanted(s)), || brief(&last()))
    }

    /// Waits until the newest migration record of the server has one of these statuses.
    pub fn wait_migration(&self, server: &str, statuses: &[&str]) -> Value {
        let newest = || self.migrations(server).into_iter().next();
        let wanted = || newest().filter(|m| statuses.contains(&text(m, "status")));
        wait_until(&format!("migration of {server}: {statuses:?}"), PATIENCE, wanted, || format!("{:?}", newest()))
    }

    /// Waits until the service on `host` is reported `state`, by a heartbeat later than `after` when one is given:
    /// just after a restart, "up" may still be the old process's last one.
    pub fn wait_service(&self, host: &str, state: &str, after: Option<&Value>) -> Value {
        let last = || self.service(host);
        let fresh = |s: &Value| after.is_none_or(|a| s["updated_at"] != a["updated_at"]);
        let wanted = || Some(last()).filter(|s| s["state"] == state && fresh(s));
        wait_until(&format!("service {host}: {state}"), PATIENCE, wanted, || last().to_string())
    }
}

/// Tries until something comes, or panics with what was wanted and what was there instead.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Option<T>,
    instead: impl FnOnce() -> String,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {} s; {}", limit.as_secs(), instead());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// One request of its own; the error is the transport's.
pub fn request(
    method: &str,
    url: &str,
    token: Option<&str>,
    microversion: Option<&str>,
    body: Option<&Value>,
) -> reqwest::Result<Answer> {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("an HTTP method");
    let mut request = HTTP.request(method, url).header("Accept", "application/json");
    if let Some(token) = token {
        request = request.header("X-Auth-Token", token);
    }
    if let Some(microversion) = microversion {
        request = request.header("OpenStack-API-Version", format!("compute {microversion}"));
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    RUNTIME.block_on(async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let request_id = header("x-openstack-request-id");
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body, request_id })
    })
}

/// A token and the catalog that came with it.
fn password_token(keystone: &str, auth: &Value) -> (String, Value) {
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": auth["username"], "password": auth["password"], "domain": {"name": auth["user_domain_name"]}}}},
        "scope": {"project": {"name": auth["project_name"], "domain": {"name": auth["project_domain_name"]}}},
    }});
    RUNTIME.block_on(async {
        let response = HTTP.post(format!("{keystone}/auth/tokens")).json(&body).send().await.expect("Keystone answers");
        let token = response.headers().get("x-subject-token").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body: Value = response.json().await.expect("JSON from Keystone");
        (token.unwrap_or_else(|| panic!("no token: {body}")), body["token"]["catalog"].clone())
    })
}

/// A text member of a JSON object, or "".
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The host a server is on, as an administrator is told.
pub fn host_of(server: &Value) -> &str {
    text(server, "OS-EXT-SRV-ATTR:host")
}

/// True when nothing is being done to the server.
pub fn is_idle(server: &Value) -> bool {
    server["OS-EXT-STS:task_state"].is_null()
}

/// What matters of a server, for a failure's message.
fn brief(server: &Value) -> String {
    let keys = ["name", "status", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state", "OS-EXT-SRV-ATTR:host", "fault"];
    keys.map(|k| format!("{k}={}", server[k])).join(" ")
}

pub(crate) fn list(body: &Value, key: &str) -> Vec<Value> {
    body[key].as_array().cloned().unwrap_or_default()
}
