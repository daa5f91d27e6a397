//! One scenario's own servers, faults and furlough, on a lab it has to itself; all of it is undone at its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::furlough::Desk;
use crate::lab::Lab;
use crate::nova::{HTTP, Nova, PATIENCE, RUNTIME, host_of, is_idle, list, request, text, wait_until};
use crate::proxy::Proxy;

/// A server as a scenario wants it.
#[derive(Debug, Clone)]
pub struct Server {
    name: String,
    host: String,
    status: &'static str,
    locked: bool,
    group: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Server {
    /// ACTIVE, on this host.
    pub fn new(name: &str, host: &str) -> Self {
        let (name, host) = (name.to_owned(), host.to_owned());
        Self { name, host, status: "ACTIVE", locked: false, group: None, metadata: BTreeMap::new() }
    }

    pub fn shutoff(mut self) -> Self {
        self.status = "SHUTOFF";
        self
    }

    pub fn paused(mut self) -> Self {
        self.status = "PAUSED";
        self
    }

    pub fn locked(mut self) -> Self {
        self.locked = true;
        self
    }

    /// A member of this server group, by its id.
    pub fn group(mut self, id: &str) -> Self {
        self.group = Some(id.to_owned());
        self
    }

    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.insert(name.to_owned(), value.to_owned());
        self
    }

    /// One of the driver's knobs (`lab/labdriver.py`), such as `live_fail` or `cold_seconds`.
    pub fn knob(self, name: &str, value: &str) -> Self {
        self.metadata(&format!("lab:{name}"), value)
    }
}

/// A lab for one scenario.
#[derive(Debug)]
pub struct Scenario<'a> {
    pub lab: &'a Lab,
    pub nova: &'a Nova,
    /// Between furlough and nova-api.
    pub proxy: Proxy,
    /// Where furlough runs.
    pub desk: Desk,
    /// Control-plane services that are, or may be, not as `up.sh` made them.
    disturbed: RefCell<Vec<String>>,
    short_tokens: Cell<bool>,
}

impl<'a> Scenario<'a> {
    /// Makes sure that nothing is left of an earlier one; crashes and restarts every host when that cannot be had.
    pub fn begin(lab: &'a Lab) -> Self {
        let cleaned = if lab.clean.take() { Ok(()) } else { clean(lab) };
        if let Err(e) = cleaned {
            eprintln!("the lab is not clean, starting all of its hosts again: {e}");
            let hosts = Lab::hosts();
            let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
            lab.script("compute.sh", &[&["kill"], names.as_slice()].concat(), &[]);
            lab.script("up.sh", &[], &[]);
            clean(lab).unwrap_or_else(|e| panic!("the lab cannot be cleaned: {e}"));
        }
        let nova_root = lab.nova.url.trim_end_matches("/v2.1");
        let proxy = Proxy::start(nova_root);
        let mut cloud = lab.clouds["lab"].clone();
        cloud["compute_endpoint_override"] = json!(format!("{}/v2.1", proxy.url()));
        let clouds = json!({"clouds": {"lab": cloud}});
        // JSON is YAML
        let desk = Desk::new(&clouds.to_string());
        Self { lab, nova: &lab.nova, proxy, desk, disturbed: RefCell::default(), short_tokens: Cell::new(false) }
    }

    /// Boots these servers and brings each to its status; gives their ids in the same order.
    pub fn boot(&self, servers: &[Server]) -> Vec<String> {
        let image = self.image();
        let mut ids = Vec::new();
        for server in servers {
            let id = self.ask_for(server, &image);
            // members of a group that boot at the same time race, and Nova's late check puts some into ERROR
            if server.group.is_some() {
                self.settled(&id, "ACTIVE");
            }
            ids.push(id);
        }
        for (server, id) in servers.iter().zip(&ids) {
            self.settled(id, "ACTIVE");
            match server.status {
                "SHUTOFF" => self.act(id, &json!({"os-stop": null})),
                "PAUSED" => self.act(id, &json!({"pause": null})),
                _ => {}
            }
        }
        for (server, id) in servers.iter().zip(&ids) {
            self.settled(id, server.status);
            if server.locked {
                self.act(id, &json!({"lock": null}));
            }
        }
        ids
    }

    /// Boots a server and returns as soon as it has its host; for one with `spawn_seconds`, long before it is ACTIVE.
    pub fn boot_later(&self, server: &Server) -> String {
        let id = self.ask_for(server, &self.image());
        self.nova.wait_server(&id, "a host", |s| host_of(s) == server.host);
        id
    }

    fn ask_for(&self, server: &Server, image: &str) -> String {
        let mut body = json!({"server": {"name": server.name, "flavorRef": "1", "imageRef": image,
            "networks": "none", "host": server.host, "metadata": server.metadata}});
        if let Some(group) = &server.group {
            body["os:scheduler_hints"] = json!({"group": group});
        }
        let made = self.nova.ok("POST", "/servers", Some(&body));
        text(&made["server"], "id").to_owned()
    }

    /// Waits for a status with nothing going on; fails at once on ERROR, unless that is what is wanted.
    pub fn settled(&self, id: &str, status: &str) -> Value {
        let server = self.nova.wait_server(id, status, |s| {
            let now = text(s, "status");
            is_idle(s) && (now == status || now == "ERROR")
        });
        assert_eq!(text(&server, "status"), status, "server {id}: {}", server["fault"]);
        server
    }

    /// A server action that Nova must accept.
    #[track_caller]
    pub fn act(&self, id: &str, body: &Value) {
        let answer = self.nova.action(id, body);
        assert!(answer.status < 300, "{body} on {id}: {} {}", answer.status, answer.body);
    }

    /// Takes one of the driver's knobs away from a server.
    pub fn without_knob(&self, id: &str, name: &str) {
        self.nova.ok("DELETE", &format!("/servers/{id}/metadata/lab:{name}"), None);
    }

    /// Deletes a server and waits until it is gone.
    pub fn delete(&self, id: &str) {
        self.nova.ok("DELETE", &format!("/servers/{id}"), None);
        let gone = || (self.nova.call("GET", &format!("/servers/{id}"), None).status == 404).then_some(());
        wait_until(&format!("server {id} is deleted"), PATIENCE, gone, || "it is there".into());
    }

    /// Makes a server group and gives its id.
    pub fn group(&self, name: &str, policy: &str) -> String {
        let body = json!({"server_group": {"name": name, "policy": policy}});
        let made = self.nova.ok("POST", "/os-server-groups", Some(&body));
        text(&made["server_group"], "id").to_owned()
    }

    /// Sets `faults.json`: `{"*": {knob: value}, "host:cmp02": …, "<server name or id>": …}`. Read by the driver at the
    /// beginning of each operation; replaces what was there.
    pub fn faults(&self, faults: &Value) {
        write_faults(self.lab, faults).unwrap_or_else(|e| panic!("{e}"));
    }

    /// `kill`, `stop`, `pause`, `resume`, `start` or `restart` the nova-compute of a host.
    #[track_caller]
    pub fn compute(&self, act: &str, host: &str) {
        self.lab.script("compute.sh", &[act, host], &[]);
    }

    /// Disables a host's compute service, as an operator would have beforehand.
    pub fn disable(&self, host: &str, reason: &str) {
        let change = json!({"status": "disabled", "disabled_reason": reason});
        let answer = self.nova.update_service(host, &change);
        assert_eq!(answer.status, 200, "disable {host}: {}", answer.body);
    }

    /// `stop`, `kill`, `pause` or `resume` a service of the control plane, such as `nova-api` or `conductor`.
    #[track_caller]
    pub fn service(&self, act: &str, name: &str) {
        self.disturbed.borrow_mut().push(name.to_owned());
        self.lab.script("svc.sh", &[act, name], &[]);
    }

    /// Starts what is missing of the control plane again.
    pub fn services_up(&self) {
        self.lab.script("up.sh", &[], &[]);
    }

    /// From now on Keystone's tokens live this long; those given before keep their time.
    pub fn token_lifetime(&self, seconds: u32) {
        self.short_tokens.set(true);
        self.lab.script("svc.sh", &["stop", "keystone"], &[]);
        self.lab.script("up.sh", &[], &[("LAB_TOKEN_SECONDS", &seconds.to_string())]);
    }

    /// Makes a token worthless, such as furlough's own, which the proxy has seen. Nova notices within 5 s
    /// (`token_cache_time` in `lab/mkconf.sh`).
    pub fn revoke(&self, token: &str) {
        let url = format!("{}/auth/tokens", self.nova.keystone);
        let admin = self.nova.new_token();
        let request = HTTP.delete(url).header("X-Auth-Token", admin).header("X-Subject-Token", token);
        let status = RUNTIME.block_on(async { request.send().await.expect("Keystone answers").status() });
        assert_eq!(status.as_u16(), 204, "Keystone does not revoke a token");
    }

    fn image(&self) -> String {
        let token = self.nova.new_token();
        let url = format!("{}/v2/images?name=tiny", self.nova.glance);
        let answer = request("GET", &url, Some(&token), None, None).expect("Glance answers");
        let image = answer.body["images"][0]["id"].as_str();
        image.unwrap_or_else(|| panic!("no image \"tiny\" in Glance: {}", answer.body)).to_owned()
    }

    fn undo(&self) -> Result<(), String> {
        for name in self.disturbed.borrow().iter() {
            // one that was killed does not run and cannot be resumed; up.sh starts it
            let _ = self.lab.try_script("svc.sh", &["resume", name], &[]);
        }
        if self.short_tokens.get() {
            self.lab.try_script("svc.sh", &["stop", "keystone"], &[])?;
        }
        if self.short_tokens.get() || !self.disturbed.borrow().is_empty() {
            self.lab.try_script("up.sh", &[], &[])?;
        }
        clean(self.lab)
    }
}

impl Drop for Scenario<'_> {
    fn drop(&mut self) {
        let undone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.undo()));
        let undone = undone.unwrap_or_else(|_| Err("it panicked, see above".into()));
        match undone {
            Ok(()) => self.lab.clean.set(true),
            // a second panic would end the whole test process; the next scenario tries again
            Err(e) if std::thread::panicking() => eprintln!("the scenario's leftovers could not be removed: {e}"),
            Err(e) => panic!("the scenario's leftovers could not be removed: {e}"),
        }
    }
}

fn write_faults(lab: &Lab, faults: &Value) -> Result<(), String> {
    // by rename: the driver may read at any moment
    let (path, new) = (lab.dir.join("faults.json"), lab.dir.join("faults.json.new"));
    std::fs::write(&new, faults.to_string())
        .and_then(|()| std::fs::rename(&new, &path))
        .map_err(|e| format!("{}: {e}", path.display()))
}

/// Brings the lab to where every scenario begins: no faults, no servers, no groups, every host enabled and up.
fn clean(lab: &Lab) -> Result<(), String> {
    let nova = &lab.nova;
    write_faults(lab, &json!({}))?;
    let hosts = Lab::hosts();
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let printed = lab.try_script("compute.sh", &[&["heal"], names.as_slice()].concat(), &[])?;
    let stopped: Vec<&str> = printed.lines().collect();
    let before: Vec<Value> = stopped.iter().map(|h| nova.service(h)).collect();
    if !stopped.is_empty() {
        lab.try_script("compute.sh", &[&["start"], stopped.as_slice()].concat(), &[])?;
    }
    for service in nova.services() {
        let host = text(&service, "host");
        let is_default = service["status"] == "enabled" && service["disabled_reason"].is_null();
        if !is_default || service["forced_down"] == true {
            // refused while its nova-compute has not taken note of the evacuations from it
            let enable = json!({"status": "enabled", "forced_down": false});
            let accepted = || Some(nova.update_service(host, &enable)).filter(|a| a.status == 200);
            wait_until(&format!("enable {host}"), PATIENCE, accepted, || nova.service(host).to_string());
        }
    }
    for service in &before {
        nova.wait_service(text(service, "host"), "up", Some(service));
    }
    for host in &hosts {
        nova.wait_service(host, "up", None);
    }
    remove_servers(nova)?;
    for group in list(&nova.get("/os-server-groups?all_projects=1"), "server_groups") {
        nova.call("DELETE", &format!("/os-server-groups/{}", text(&group, "id")), None);
    }
    Ok(())
}

fn remove_servers(nova: &Nova) -> Result<(), String> {
    // a live migration that was told never to end holds its host's only slot for ever, also without its server
    for migration in list(&nova.get("/os-migrations?migration_type=live-migration"), "migrations") {
        if !["queued", "preparing", "running"].contains(&text(&migration, "status")) {
            continue;
        }
        let path = format!("/servers/{}/migrations/{}", text(&migration, "instance_uuid"), migration["id"]);
        if nova.call("DELETE", &path, None).status >= 300 {
            nova.call("POST", &format!("{path}/action"), Some(&json!({"force_complete": null})));
        }
    }
    let begun = std::time::Instant::now();
    loop {
        let left = nova.servers();
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(90) {
            let names: Vec<&str> = left.iter().map(|s| text(s, "name")).collect();
            return Err(format!("servers that cannot be deleted: {}", names.join(", ")));
        }
        for server in left.iter().filter(|s| s["OS-EXT-STS:task_state"] != "deleting") {
            // 404: gone meanwhile; 409: asked again on the next turn
            nova.call("DELETE", &format!("/servers/{}", text(server, "id")), None);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
