//! A night told by hand: two hosts in a first wave and one in a second, a live and a cold migration, a command on each.
//! Every line has a name, so that a test says which one is missing, out of place or too many.

use crate::cloud::fixture::{epoch, host, in_state, inventory, record, server, service};
use crate::cloud::sim::{Question, Seen, Told, What};
use crate::cloud::{
    Ask, BlockMigration, ComputeService, Inventory, Migration, MigrationKind, MigrationQuery, MigrationStatus, Server,
    ServerQuery, ServerStatus, ServiceStatus,
};
use crate::compile::{Graph, StepId, compile};
use crate::event::{
    Answer, Done, Ending, Event, EventKind, Intent, Leftover, Outcome, Output, ServerBefore, ServiceBefore,
};
use crate::plan::fixture::plan;
use crate::plan::{Action, Command, Count, Plan, Rung, Template};
use crate::rehearse::invariants::{Story, Violation, check};

pub(super) const REASON: &str = "furlough 20260301-0200-9f2c: kernel";

#[derive(Debug, Clone)]
pub(super) enum Line {
    Event(EventKind),
    Seen(What),
}

pub(super) struct Tale {
    pub start: Inventory,
    pub graph: Graph,
    pub lines: Vec<(String, Line)>,
    pub secrets: Vec<String>,
}

pub(super) fn the_plan() -> Plan {
    let mut plan = plan(&["h*"], &[Rung::Live, Rung::Cold, Rung::Stop]);
    plan.waves.max_hosts = Count::Hosts(2);
    plan.drain.limits.cloud = 2;
    let argv = vec![Template::parse("reboot").unwrap()];
    plan.maintain = vec![Action::Run(Command { argv, timeout_s: 60 })];
    plan
}

pub(super) fn the_cloud() -> Inventory {
    let hosts = ["d1", "d2", "h1", "h2", "h3"].map(host).to_vec();
    let servers = vec![server("s1", "h1"), in_state(server("s2", "h2"), ServerStatus::Shutoff), server("s3", "d1")];
    inventory(hosts, servers)
}

pub(super) fn disabled(host: &str) -> ComputeService {
    let disabled_reason = Some(REASON.to_owned());
    ComputeService { status: ServiceStatus::Disabled, disabled_reason, ..service(host) }
}

fn accepted() -> Told {
    Told::Accepted { request_id: Some("req-1".to_owned()) }
}

pub(super) fn asked(ask: Ask) -> Line {
    Line::Seen(What::Asked { ask, arrived: true, answer: accepted() })
}

pub(super) fn live(server: &str) -> Ask {
    Ask::LiveMigrate { server: server.to_owned(), host: None, block_migration: BlockMigration::Auto }
}

pub(super) fn row(row: Server) -> Line {
    Line::Seen(What::Server(Box::new(row)))
}

pub(super) fn moving(
    id: u64,
    server: &str,
    from: &str,
    kind: MigrationKind,
    status: MigrationStatus,
    to: &str,
) -> Line {
    let dest_host = (!to.is_empty()).then(|| to.to_owned());
    Line::Seen(What::Migration(Migration { status, dest_host, ..record(id, server, from, kind) }))
}

pub(super) fn read(what: Question) -> Line {
    Line::Seen(What::Read { what, answered: true })
}

pub(super) fn other(text: &str) -> Line {
    Line::Seen(What::Other { text: text.to_owned() })
}

pub(super) fn started(step: &str, attempt: u32) -> Line {
    Line::Event(EventKind::StepStarted { step: StepId(step.to_owned()), attempt, rung: None })
}

pub(super) fn intended(step: &str, attempt: u32, intent: Intent) -> Line {
    Line::Event(EventKind::StepIntended { step: StepId(step.to_owned()), attempt, intent })
}

pub(super) fn answered(step: &str, attempt: u32, answer: Answer) -> Line {
    Line::Event(EventKind::StepAnswered { step: StepId(step.to_owned()), attempt, answer })
}

pub(super) fn settled(step: &str, attempt: u32, outcome: Outcome) -> Line {
    Line::Event(EventKind::StepSettled { step: StepId(step.to_owned()), attempt, outcome })
}

pub(super) fn done() -> Outcome {
    Outcome::Done(Done::Seen { what: "w".to_owned() })
}

pub(super) fn failed() -> Outcome {
    Outcome::Failed { reason: "r".to_owned(), fault: None, remedy: "m".to_owned(), output: None }
}

pub(super) fn retryable(again_after_s: Option<u64>) -> Outcome {
    Outcome::Retryable { reason: "r".to_owned(), fault: None, again_after_s }
}

pub(super) fn ended(ending: Ending, leftovers: Vec<Leftover>) -> Line {
    Line::Event(EventKind::RunEnded { ending, leftovers, requests: 9 })
}

pub(super) fn before(id: &str, on: &str) -> ServerBefore {
    ServerBefore::of(&server(id, on)).unwrap()
}

impl Tale {
    /// Everything as it should be.
    pub(super) fn good() -> Self {
        let start = the_cloud();
        let graph = compile(&the_plan(), &start, "lab").unwrap();
        assert!(graph.blockers.is_empty(), "{:?}", graph.blockers);
        let mut tale = Self { start, graph, lines: Vec::new(), secrets: Vec::new() };
        let first = EventKind::RunStarted {
            event_version: 1,
            furlough: "0".to_owned(),
            cloud: "lab".to_owned(),
            plan_text: None,
            folder: std::path::PathBuf::new(),
            graph: Box::new(tale.graph.clone()),
        };
        tale.add("begin", Line::Event(first));
        for one in tale.start.hosts.clone() {
            tale.add(&format!("{}:at first", one.name), Line::Seen(What::Service(one.service)));
        }
        for one in tale.start.servers.clone() {
            tale.add(&format!("{}:at first", one.id), row(one));
        }
        tale.disable("h1");
        tale.disable("h2");
        tale.list("h1");
        tale.list("h2");
        tale.live();
        tale.cold();
        for name in ["h1", "h2"] {
            tale.rest(name);
        }
        tale.disable("h3");
        tale.list("h3");
        tale.rest("h3");
        tale.add("end", ended(Ending::Done, Vec::new()));
        tale
    }

    pub(super) fn add(&mut self, name: &str, line: Line) {
        self.lines.push((name.to_owned(), line));
    }

    fn disable(&mut self, host: &str) {
        let step = format!("{host}/disable");
        let intent = Intent::Disable {
            host: host.to_owned(),
            service_id: format!("service-of-{host}"),
            before: ServiceBefore { status: ServiceStatus::Enabled, reason: None, forced_down: Some(false) },
            reason: REASON.to_owned(),
        };
        let ask = Ask::DisableService {
            host: host.to_owned(),
            service_id: format!("service-of-{host}"),
            reason: REASON.to_owned(),
        };
        self.add(&format!("{step}:start"), started(&step, 1));
        self.add(&format!("{step}:intend"), intended(&step, 1, intent));
        self.add(&format!("{step}:ask"), asked(ask));
        self.add(&format!("{step}:row"), Line::Seen(What::Service(disabled(host))));
        self.add(&format!("{step}:read"), read(Question::Services { host: Some(host.to_owned()) }));
        self.add(&format!("{step}:settle"), settled(&step, 1, done()));
    }

    fn list(&mut self, host: &str) {
        let step = format!("{host}/list");
        self.add(&format!("{step}:start"), started(&step, 1));
        self.add(&format!("{step}:read"), read(Question::Servers(ServerQuery::OnHost(host.to_owned()))));
        self.add(&format!("{step}:settle"), settled(&step, 1, Outcome::Done(Done::Listed { servers: 1, new: 0 })));
    }

    fn live(&mut self) {
        use MigrationStatus::{Accepted, Completed, Running};
        let (step, kind) = ("h1/move/s1", MigrationKind::Live);
        let intent = Intent::Live { server: before("s1", "h1"), to: None, newest_migration: None };
        self.add("live:start", started(step, 1));
        self.add("live:intend", intended(step, 1, intent));
        self.add("live:ask", asked(live("s1")));
        self.add("live:accepted", moving(1, "s1", "h1", kind.clone(), Accepted, ""));
        let answer = Answer::Accepted { request_id: Some("req-1".to_owned()) };
        self.add("live:answer", answered(step, 1, answer));
        self.add("live:migrating", row(in_state(server("s1", "h1"), ServerStatus::Migrating)));
        self.add("live:running", moving(1, "s1", "h1", kind.clone(), Running, "d1"));
        self.add("live:read", read(Question::Migrations(MigrationQuery::default())));
        self.add("live:row", row(server("s1", "d1")));
        self.add("live:completed", moving(1, "s1", "h1", kind, Completed, "d1"));
        let moved = Done::Moved { to: "d1".to_owned(), by: Rung::Live, warning: None };
        self.add("live:settle", settled(step, 1, Outcome::Done(moved)));
    }

    fn cold(&mut self) {
        use MigrationStatus::{Confirmed, Finished, Migrating};
        let (step, kind) = ("h2/move/s2", MigrationKind::Cold);
        let off = |on| in_state(server("s2", on), ServerStatus::Shutoff);
        let own = ServerBefore::of(&off("h2")).unwrap();
        self.add("cold:start", started(step, 1));
        let intent = Intent::Cold { server: own.clone(), to: None, newest_migration: Some(1) };
        self.add("cold:intend", intended(step, 1, intent));
        self.add("cold:ask", asked(Ask::ColdMigrate { server: "s2".to_owned(), host: None }));
        self.add("cold:migrating", moving(2, "s2", "h2", kind.clone(), Migrating, "d2"));
        self.add("cold:finished", moving(2, "s2", "h2", kind.clone(), Finished, "d2"));
        self.add("cold:verify", row(in_state(server("s2", "d2"), ServerStatus::VerifyResize)));
        self.add("cold:read", read(Question::Server { id: "s2".to_owned() }));
        let intent = Intent::Confirm { server: own, migration_id: 2 };
        self.add("confirm:intend", intended(step, 1, intent));
        self.add("confirm:ask", asked(Ask::ConfirmResize { server: "s2".to_owned() }));
        self.add("confirm:confirmed", moving(2, "s2", "h2", kind, Confirmed, "d2"));
        self.add("confirm:row", row(off("d2")));
        self.add("confirm:read", read(Question::Server { id: "s2".to_owned() }));
        let moved = Done::Moved { to: "d2".to_owned(), by: Rung::Cold, warning: None };
        self.add("cold:settle", settled(step, 1, Outcome::Done(moved)));
    }

    /// Empty, maintained, started again where the plan might have stopped, given back.
    fn rest(&mut self, host: &str) {
        let (empty, run, enable) =
            (format!("{host}/empty"), format!("{host}/maintain/1-run"), format!("{host}/enable"));
        self.add(&format!("{empty}:start"), started(&empty, 1));
        self.add(&format!("{empty}:servers"), read(Question::Servers(ServerQuery::OnHost(host.to_owned()))));
        let query = MigrationQuery { host: Some(host.to_owned()), ..MigrationQuery::default() };
        self.add(&format!("{empty}:migrations"), read(Question::Migrations(query)));
        self.add(&format!("{empty}:settle"), settled(&empty, 1, done()));
        let key = format!("run/{run}/1");
        let intent = Intent::Command { key: key.clone(), argv: vec!["reboot".to_owned()], timeout_s: 60 };
        self.add(&format!("{run}:start"), started(&run, 1));
        self.add(&format!("{run}:intend"), intended(&run, 1, intent));
        for (name, began) in [("began", true), ("ended", false)] {
            let exit_code = (!began).then_some(0);
            let command = What::Command { key: key.clone(), host: host.to_owned(), began, exit_code };
            self.add(&format!("{run}:{name}"), Line::Seen(command));
        }
        self.add(&format!("{run}:settle"), settled(&run, 1, Outcome::Done(Done::Ran { output: Output::default() })));
        let starts = self.graph.steps.iter().map(|step| step.id.0.clone());
        let starts: Vec<String> = starts.filter(|id| id.starts_with(&format!("{host}/start/"))).collect();
        for step in starts {
            self.add(&format!("{step}:start"), started(&step, 1));
            self.add(&format!("{step}:settle"), settled(&step, 1, done()));
        }
        let restore = ServiceBefore { status: ServiceStatus::Enabled, reason: None, forced_down: Some(false) };
        let service_id = format!("service-of-{host}");
        let intent = Intent::Enable { host: host.to_owned(), service_id: service_id.clone(), restore };
        self.add(&format!("{enable}:start"), started(&enable, 1));
        self.add(&format!("{enable}:read"), read(Question::Services { host: Some(host.to_owned()) }));
        self.add(&format!("{enable}:intend"), intended(&enable, 1, intent));
        self.add(&format!("{enable}:ask"), asked(Ask::EnableService { host: host.to_owned(), service_id }));
        self.add(&format!("{enable}:row"), Line::Seen(What::Service(service(host))));
        self.add(&format!("{enable}:settle"), settled(&enable, 1, done()));
    }

    fn place(&self, name: &str) -> usize {
        self.lines.iter().position(|(known, _)| known == name).unwrap_or_else(|| panic!("no line {name}"))
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        let at = self.place(name);
        self.lines.remove(at);
        self
    }

    /// Only what comes up to this line.
    pub(super) fn until(mut self, name: &str) -> Self {
        let at = self.place(name);
        self.lines.truncate(at + 1);
        self
    }

    pub(super) fn then(mut self, name: &str, line: Line) -> Self {
        self.add(name, line);
        self
    }

    pub(super) fn after(mut self, name: &str, lines: Vec<Line>) -> Self {
        let at = self.place(name) + 1;
        for (index, line) in lines.into_iter().enumerate() {
            self.lines.insert(at + index, (format!("{name}+{index}"), line));
        }
        self
    }

    pub(super) fn before(mut self, name: &str, lines: Vec<Line>) -> Self {
        let at = self.place(name);
        for (index, line) in lines.into_iter().enumerate() {
            self.lines.insert(at + index, (format!("{name}-{index}"), line));
        }
        self
    }

    /// This line comes right after that one instead.
    pub(super) fn moved_after(mut self, name: &str, after: &str) -> Self {
        let at = self.place(name);
        let line = self.lines.remove(at);
        let to = self.place(after) + 1;
        self.lines.insert(to, line);
        self
    }

    pub(super) fn instead(mut self, name: &str, line: Line) -> Self {
        let at = self.place(name);
        self.lines[at].1 = line;
        self
    }

    /// One line a minute, so that nothing is excused by being fresh; what others do shows at once.
    pub(super) fn told(&self) -> Vec<Violation> {
        let (mut events, mut seen) = (Vec::new(), Vec::new());
        let (mut at_ms, mut theirs) = (0, false);
        for (_, line) in &self.lines {
            at_ms += if theirs { 0 } else { 60_000 };
            theirs = matches!(line, Line::Seen(What::Other { .. }));
            match line {
                Line::Seen(what) => seen.push(Seen { at_ms, what: what.clone() }),
                Line::Event(kind) => {
                    let seq = events.len() as u64 + 1;
                    events.push(Event { seq, at: epoch(), kind: kind.clone() });
                    seen.push(Seen { at_ms, what: What::Durable { events: seq } });
                }
            }
        }
        let (graph, start, secrets) = (&self.graph, &self.start, &self.secrets);
        check(&Story { graph, start, events: &events, seen: &seen, secrets })
    }

    /// Exactly these invariants are broken.
    pub(super) fn breaks(&self, expected: &[u8]) {
        let told = self.told();
        let mut numbers: Vec<u8> = told.iter().map(|violation| violation.invariant).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let lines: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(numbers, expected, "\n{}", lines.join("\n"));
    }
}
