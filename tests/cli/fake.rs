//! A Keystone and a Nova with just enough memory: hosts that can be disabled, servers that can be moved live. A live
//! migration has ended when it is first looked at.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// 2025.2.
const NEWEST: &str = "2.100";

pub struct Fake {
    server: MockServer,
    state: Arc<Mutex<State>>,
    /// The server stops with it.
    _runtime: Runtime,
}

#[derive(Default)]
pub struct State {
    pub hosts: Vec<Host>,
    pub servers: Vec<Server>,
    /// Names of servers that have to stay on one host.
    pub together: Vec<&'static str>,
    migrations: Vec<Migration>,
}

pub struct Host {
    pub name: &'static str,
    pub zone: &'static str,
    pub rack: &'static str,
    pub up: bool,
    pub reason: Option<String>,
}

pub struct Server {
    pub name: &'static str,
    pub host: String,
    pub status: &'static str,
    pub task: Option<&'static str>,
}

struct Migration {
    server: usize,
    from: String,
    to: String,
    ended: bool,
}

impl Fake {
    /// Four hosts in two racks, with a server on each but the last.
    pub fn start() -> Self {
        let host = |name, zone, rack| Host { name, zone, rack, up: true, reason: None };
        let server = |name, host: &str| Server { name, host: host.to_owned(), status: "ACTIVE", task: None };
        Self::of(State {
            hosts: vec![
                host("cmp-01", "az1", "rack-a"),
                host("cmp-02", "az1", "rack-a"),
                host("cmp-03", "az2", "rack-b"),
                host("cmp-04", "az2", "rack-b"),
            ],
            servers: vec![server("web-1", "cmp-01"), server("web-2", "cmp-02"), server("db-1", "cmp-03")],
            ..State::default()
        })
    }

    fn of(state: State) -> Self {
        let runtime = Runtime::new().unwrap();
        let state = Arc::new(Mutex::new(state));
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            let answers = Answers { state: Arc::clone(&state), url: server.uri() };
            Mock::given(any()).respond_with(answers).mount(&server).await;
            server
        });
        Self { server, state, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

struct Answers {
    state: Arc<Mutex<State>>,
    url: String,
}

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.state.lock().unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let verb = request.method.as_str();
        let path: Vec<&str> = request.url.path().trim_matches('/').split('/').collect();
        let answer = match (verb, path.as_slice()) {
            ("POST", ["v3", "auth", "tokens"]) => return self.token(&body),
            _ if request.headers.get("X-Auth-Token").is_some_and(|token| token == "member") => {
                fault(403, "forbidden", "Policy doesn't allow os_compute_api:os-services:list to be performed.")
            }
            ("GET", ["v2.1"]) => json_body(
                json!({"version": {"id": "v2.1", "status": "CURRENT", "version": NEWEST, "min_version": "2.1"}}),
            ),
            ("GET", ["v2.1", "os-services"]) => json_body(state.services()),
            ("PUT", ["v2.1", "os-services", id]) => state.set_service(id, &body),
            ("GET", ["v2.1", "os-hypervisors", "detail"]) => json_body(state.hypervisors()),
            ("GET", ["v2.1", "os-aggregates"]) => json_body(state.aggregates()),
            ("GET", ["v2.1", "os-server-groups"]) => json_body(state.groups()),
            ("GET", ["v2.1", "servers", "detail"]) => json_body(state.all_servers()),
            ("GET", ["v2.1", "servers", id]) => match state.at(id) {
                Some(at) => json_body(json!({"server": state.server(at)})),
                None => fault(404, "itemNotFound", &format!("Instance {id} could not be found.")),
            },
            ("GET", ["v2.1", "servers", _, "migrations"]) => json_body(json!({"migrations": []})),
            ("POST", ["v2.1", "servers", id, "action"]) => state.act(id, &body),
            ("GET", ["v2.1", "os-migrations"]) => json_body(state.look_at_migrations()),
            _ => fault(404, "itemNotFound", "The resource could not be found."),
        };
        let answer = answer.append_header("x-compute-request-id", "req-1");
        match request.headers.get("X-OpenStack-Nova-API-Version") {
            Some(version) => answer.append_header("X-OpenStack-Nova-API-Version", version),
            None => answer,
        }
    }
}

impl Answers {
    fn token(&self, body: &Value) -> ResponseTemplate {
        let user = &body["auth"]["identity"]["password"]["user"];
        if user["password"] != "right" {
            return fault(401, "error", "The request you have made requires authentication.");
        }
        let url = format!("{}/v2.1", self.url);
        let compute = json!({"interface": "public", "region": "one", "region_id": "one", "url": url});
        let catalog = json!([{"type": "compute", "endpoints": [compute]}]);
        ResponseTemplate::new(201)
            .set_body_json(json!({"token": {"expires_at": "2999-01-01T00:00:00.000000Z", "catalog": catalog}}))
            .insert_header("X-Subject-Token", user["name"].as_str().unwrap())
    }
}

impl State {
    fn services(&self) -> Value {
        let row = |host: &Host| {
            json!({
                "id": id_of("service", host.name), "binary": "nova-compute", "host": host.name, "zone": host.zone,
                "status": if host.reason.is_some() { "disabled" } else { "enabled" },
                "state": if host.up { "up" } else { "down" },
                "disabled_reason": host.reason, "forced_down": false, "updated_at": now(),
            })
        };
        json!({"services": self.hosts.iter().map(row).collect::<Vec<_>>()})
    }

    fn set_service(&mut self, id: &str, body: &Value) -> ResponseTemplate {
        let Some(host) = self.hosts.iter_mut().find(|host| id_of("service", host.name) == id) else {
            return fault(404, "itemNotFound", &format!("Service {id} could not be found."));
        };
        host.reason = (body["status"] == "disabled").then(|| body["disabled_reason"].as_str().unwrap_or("").to_owned());
        json_body(json!({"service": {}}))
    }

    fn hypervisors(&self) -> Value {
        let row = |host: &Host| {
            json!({
                "id": id_of("hypervisor", host.name), "hypervisor_hostname": host.name, "hypervisor_type": "QEMU",
                "hypervisor_version": 8_002_000, "service": {"host": host.name}, "vcpus": 32, "vcpus_used": 2,
                "memory_mb": 65536, "memory_mb_used": 4096, "local_gb": 1000, "local_gb_used": 20,
            })
        };
        json!({"hypervisors": self.hosts.iter().map(row).collect::<Vec<_>>()})
    }

    fn aggregates(&self) -> Value {
        let mut racks: Vec<&str> = self.hosts.iter().map(|host| host.rack).collect();
        racks.dedup();
        let row = |rack: &&str| {
            let of_rack = self.hosts.iter().filter(|host| host.rack == *rack);
            json!({"name": rack, "availability_zone": null, "metadata": {}, "hosts": of_rack.map(|host| host.name).collect::<Vec<_>>()})
        };
        json!({"aggregates": racks.iter().map(row).collect::<Vec<_>>()})
    }

    fn groups(&self) -> Value {
        if self.together.is_empty() {
            return json!({"server_groups": []});
        }
        let members: Vec<String> = self.together.iter().map(|name| id_of("server", name)).collect();
        json!({"server_groups": [
            {"id": "group-1", "name": "pair", "policy": "affinity", "rules": {}, "members": members},
        ]})
    }

    fn all_servers(&self) -> Value {
        json!({"servers": (0..self.servers.len()).map(|at| self.server(at)).collect::<Vec<_>>()})
    }

    fn server(&self, at: usize) -> Value {
        let server = &self.servers[at];
        json!({
            "id": id_of("server", server.name), "name": server.name, "tenant_id": "project-1", "status": server.status,
            "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:task_state": server.task,
            "OS-EXT-STS:power_state": if server.status == "SHUTOFF" { 4 } else { 1 },
            "OS-EXT-SRV-ATTR:host": server.host, "OS-EXT-AZ:availability_zone": "az1", "metadata": {}, "tags": [],
            "flavor": {"original_name": "m1.small", "vcpus": 2, "ram": 2048, "disk": 10, "ephemeral": 0, "swap": 0,
                       "extra_specs": {}},
            "image": {"id": "image-1", "properties": {}}, "locked": false, "config_drive": "",
            "os-extended-volumes:volumes_attached": [], "created": "2026-01-02T03:04:05Z", "updated": now(),
        })
    }

    fn at(&self, id: &str) -> Option<usize> {
        self.servers.iter().position(|server| id_of("server", server.name) == id)
    }

    fn act(&mut self, id: &str, body: &Value) -> ResponseTemplate {
        let (Some(at), Some(_)) = (self.at(id), body.get("os-migrateLive")) else {
            return fault(400, "badRequest", &format!("This cloud cannot do {body}."));
        };
        let from = self.servers[at].host.clone();
        let open = |host: &&Host| host.reason.is_none() && host.up && host.name != from;
        let Some(to) = self.hosts.iter().find(open).map(|host| host.name.to_owned()) else {
            return fault(400, "badRequest", "No valid host was found. There are not enough hosts available.");
        };
        self.servers[at].task = Some("migrating");
        self.servers[at].status = "MIGRATING";
        self.migrations.push(Migration { server: at, from, to, ended: false });
        ResponseTemplate::new(202)
    }

    fn look_at_migrations(&mut self) -> Value {
        let mut rows = Vec::new();
        for (id, migration) in self.migrations.iter_mut().enumerate() {
            if !std::mem::replace(&mut migration.ended, true) {
                let server = &mut self.servers[migration.server];
                (server.host, server.status, server.task) = (migration.to.clone(), "ACTIVE", None);
            }
            rows.push(json!({
                "id": id + 1, "uuid": format!("migration-{}", id + 1), "migration_type": "live-migration",
                "instance_uuid": id_of("server", self.servers[migration.server].name),
                "status": "completed", "source_compute": migration.from, "dest_compute": migration.to,
                "created_at": now(), "updated_at": now(),
            }));
        }
        rows.reverse();
        json!({"migrations": rows})
    }
}

/// Like a uuid, the same in every run, and different in its first digits, which are what people are shown.
fn id_of(kind: &str, name: &str) -> String {
    let sum = name.bytes().chain(kind.bytes()).fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{:08x}-0000-4000-8000-000000000000", sum & 0xffff_ffff)
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000").to_string()
}

fn json_body(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn fault(status: u16, name: &str, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({name: {"code": status, "message": message}}))
}
