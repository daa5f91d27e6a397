//! What the scenarios of maintenance share: plans, furlough's own account of a run, and a witness who looks at Nova
//! all the time a run goes on, so that a limit that is exceeded for a moment does not go unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::furlough::{Outcome, Running};
use crate::nova::{Nova, host_of, list, text, wait_until};
use crate::proxy::Seen;
use crate::scenario::Scenario;

/// How long a run of a few servers may take on a machine that compiles at the same time.
pub const LIMIT: Duration = Duration::from_secs(180);

/// A plan for these hosts. `rest` is what stands below `drain:`' s first key and after it: its first lines are indented
/// by two.
pub fn plan(hosts: &[&str], rest: &str) -> String {
    let hosts = hosts.join(", ");
    format!("furlough: 1\nname: scenario\nhosts: [{{name: [{hosts}]}}]\ndrain:\n  late_arrivals: 2s\n{rest}\n")
}

impl Scenario<'_> {
    /// Runs this plan to its end with `--json`; everything it wrote is in the outcome.
    #[track_caller]
    pub fn run_plan(&self, plan: &str, code: i32) -> Account {
        self.desk.write("plan.yaml", plan);
        Account::of(self.desk.run(&["run", "plan.yaml", "--yes", "--json"], LIMIT).expect(code))
    }

    /// Starts this plan and leaves it running.
    pub fn start_plan(&self, plan: &str) -> Running {
        self.desk.write("plan.yaml", plan);
        self.desk.spawn(&["run", "plan.yaml", "--yes", "--json"])
    }

    #[track_caller]
    pub fn resume(&self, code: i32) -> Account {
        Account::of(self.desk.run(&["resume", "--json"], LIMIT).expect(code))
    }

    /// How the server is, whatever host it is on: what furlough must leave as it was.
    pub fn condition(&self, id: &str) -> Condition {
        let server = self.nova.server(id);
        Condition {
            status: text(&server, "status").to_owned(),
            power_state: server["OS-EXT-STS:power_state"].clone(),
            task: server["OS-EXT-STS:task_state"].clone(),
            locked: server["locked"].clone(),
        }
    }

    pub fn conditions(&self, ids: &[String]) -> Vec<Condition> {
        ids.iter().map(|id| self.condition(id)).collect()
    }

    pub fn host(&self, id: &str) -> String {
        host_of(&self.nova.server(id)).to_owned()
    }

    /// Enabled, without a reason.
    #[track_caller]
    pub fn in_service(&self, host: &str) {
        let service = self.nova.service(host);
        assert!(service["status"] == "enabled" && service["disabled_reason"].is_null(), "{service}");
    }

    /// How often furlough asked Nova for this action on this server.
    pub fn asked(&self, id: &str, action: &str) -> usize {
        self.proxy.count(|s| s.is_action(action) && s.path.contains(id))
    }

    /// How often furlough asked for the services to be `enabled` or `disabled`.
    pub fn services_set(&self, status: &str) -> usize {
        self.proxy.count(|s| {
            let old = if status == "enabled" { "/enable" } else { "/disable" };
            s.method == "PUT" && (s.body["status"] == status || s.path.contains(&format!("/os-services{old}")))
        })
    }

    /// Furlough sent Nova nothing but questions.
    #[track_caller]
    pub fn nothing_changed(&self) {
        let changes: Vec<Seen> = self.proxy.seen().into_iter().filter(Seen::changes).collect();
        assert!(changes.is_empty(), "{changes:?}");
    }
}

/// See [`Scenario::condition`].
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub status: String,
    pub power_state: Value,
    pub task: Value,
    pub locked: Value,
}

/// What furlough said of a run: its events, in order, and its report.
#[derive(Debug)]
pub struct Account {
    /// `{"seq":…,"at":…,"kind":{…}}`.
    pub events: Vec<Value>,
    pub report: String,
}

impl Account {
    /// Of a process run with `--json`: events on standard output, the report on standard error.
    #[track_caller]
    pub fn of(outcome: Outcome) -> Self {
        let events = events(&outcome.stdout);
        for pair in events.windows(2) {
            let seq = |e: &Value| e["seq"].as_u64().expect("a number");
            assert_eq!(seq(&pair[1]), seq(&pair[0]) + 1, "a gap in the events: {pair:?}");
        }
        Self { events, report: outcome.stderr }
    }

    /// The bodies of every event of this kind.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter_map(move |event| event["kind"].get(kind))
    }

    /// The last outcome of this step.
    #[track_caller]
    pub fn outcome(&self, step: &str) -> &Value {
        let last = self.all("step_settled").filter(|settled| settled["step"] == step).last();
        &last.unwrap_or_else(|| panic!("{step} was never settled\n{}", self.report))["outcome"]
    }

    /// Host and rung of a server's move off `host`.
    #[track_caller]
    pub fn moved(&self, host: &str, id: &str) -> (String, String) {
        let moved = &self.outcome(&format!("{host}/move/{id}"))["done"]["moved"];
        assert!(moved.is_object(), "{}\n{}", self.outcome(&format!("{host}/move/{id}")), self.report);
        assert!(moved["warning"].is_null(), "{moved}");
        (text(moved, "to").to_owned(), text(moved, "by").to_owned())
    }

    fn ended(&self) -> &Value {
        self.all("run_ended").last().unwrap_or_else(|| panic!("no end\n{}", self.report))
    }

    pub fn ending(&self) -> &str {
        text(self.ended(), "ending")
    }

    pub fn leftovers(&self) -> Vec<Value> {
        list(self.ended(), "leftovers")
    }

    /// Nothing is left over, and both accounts say so.
    #[track_caller]
    pub fn is_done(&self) -> &Self {
        assert_eq!(self.ending(), "done", "{}", self.report);
        assert!(self.leftovers().is_empty(), "{:?}", self.leftovers());
        assert!(self.report.contains("Exit code 0"), "{}", self.report);
        self
    }
}

/// The events among lines of `--json`.
pub fn events(stdout: &str) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    // of a process that was killed the last line may be half written
    let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
    let lines: Vec<Value> = whole.lines().map(line).collect();
    assert!(lines.iter().all(|line| line["v"] == 1), "{stdout}");
    lines.into_iter().filter(|line| line["type"] == "event").map(|line| line["event"].clone()).collect()
}

/// Waits until furlough has said an event that is as `wanted` says, given its kind and body.
#[track_caller]
pub fn wait_event(running: &mut Running, what: &str, wanted: impl Fn(&str, &Value) -> bool) {
    let is = |event: &Value| event["kind"].as_object().into_iter().flatten().any(|(kind, body)| wanted(kind, body));
    let stdout = || running.stdout();
    let found = || events(&stdout()).iter().any(is).then_some(());
    wait_until(what, LIMIT, found, || format!("{}\n{}", running.stdout(), running.stderr()));
}

/// What was seen of the cloud while a run went on.
#[derive(Debug, Default)]
pub struct Witnessed {
    /// The most moves at work away from each host, and towards each, at any look.
    pub most_from: BTreeMap<String, usize>,
    pub most_to: BTreeMap<String, usize>,
    /// The most hosts disabled at any look.
    pub most_disabled: usize,
    /// Hosts seen disabled at all.
    pub disabled: BTreeSet<String>,
    pub looks: u32,
}

/// A move that copies, or is about to.
const AT_WORK: [&str; 5] = ["preparing", "running", "pre-migrating", "migrating", "post-migrating"];
/// A move that takes room on its destination already.
const ON_ITS_WAY: [&str; 2] = ["accepted", "queued"];

/// Does `work` while Nova is looked at, several times a second.
pub fn witness<T>(nova: &Nova, work: impl FnOnce() -> T) -> (T, Witnessed) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut seen = Witnessed::default();
            while !over.load(Ordering::Relaxed) {
                seen.look(nova);
                std::thread::sleep(Duration::from_millis(200));
            }
            seen
        });
        // also when the work panics: the scope waits for the thread
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let seen = looking.join().expect("the witness");
        (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), seen)
    })
}

impl Witnessed {
    fn look(&mut self, nova: &Nova) {
        let migrations = list(&nova.get("/os-migrations?limit=60"), "migrations");
        let (mut from, mut to) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
        for migration in &migrations {
            let status = text(migration, "status");
            if AT_WORK.contains(&status) {
                *from.entry(text(migration, "source_compute").to_owned()).or_default() += 1;
            }
            let dest = text(migration, "dest_compute");
            if !dest.is_empty() && (AT_WORK.contains(&status) || ON_ITS_WAY.contains(&status)) {
                *to.entry(dest.to_owned()).or_default() += 1;
            }
        }
        let keep = |most: &mut BTreeMap<String, usize>, now: BTreeMap<String, usize>| {
            for (host, count) in now {
                let known = most.entry(host).or_default();
                *known = count.max(*known);
            }
        };
        keep(&mut self.most_from, from);
        keep(&mut self.most_to, to);
        let services = nova.services();
        let disabled = services.iter().filter(|s| s["status"] == "disabled").map(|s| text(s, "host").to_owned());
        let disabled: BTreeSet<String> = disabled.collect();
        self.most_disabled = self.most_disabled.max(disabled.len());
        self.disabled.extend(disabled);
        self.looks += 1;
    }

    /// Never more than this many moves at once away from any host, and towards any.
    #[track_caller]
    pub fn within(&self, from: usize, to: usize) {
        assert!(self.looks > 5, "too few looks to tell: {}", self.looks);
        assert!(self.most_from.values().all(|most| *most <= from), "away from a host: {:?}", self.most_from);
        assert!(self.most_to.values().all(|most| *most <= to), "towards a host: {:?}", self.most_to);
    }
}
