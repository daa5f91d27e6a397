//! One of everything that can be in a journal.

use jiff::Timestamp;

use crate::cloud::{BlockMigration, Microversion, PowerState, Refusal, ServerStatus, ServiceStatus};
use crate::compile::{
    Blocker, BlockerCode, Edge, GRAPH_VERSION, Graph, HostPlan, Phase, ServerPlan, Step, StepId, StepKind,
};
use crate::event::{
    Answer, Done, EVENT_VERSION, Ending, Event, EventKind, Intent, Leftover, LeftoverKind, Outcome, Output, RunId,
    ServerBefore, ServiceBefore,
};
use crate::plan::{
    Action, Command, Count, Destinations, Drain, Expr, Finish, HostSelector, Limits, LiveOptions, MoveTimeout,
    OnFailure, Pattern, Plan, Rung, Scope, ServerRule, Template, Wait, Waves,
};

pub fn run(name: &str) -> RunId {
    RunId(name.to_owned())
}

pub fn event(seq: u64, kind: EventKind) -> Event {
    let at = Timestamp::new(1_795_452_120, 5_000_000).unwrap() + jiff::SignedDuration::from_secs(seq as i64);
    Event { seq, at, kind }
}

pub fn noted(seq: u64, text: &str) -> Event {
    event(seq, EventKind::Noted { step: None, text: text.to_owned() })
}

pub fn begun(plan: &str) -> Event {
    let kind = EventKind::RunStarted {
        event_version: EVENT_VERSION,
        furlough: "0.1.0".into(),
        cloud: "lab".into(),
        plan_text: Some(format!("name: {plan}\n# ünïcode, \"quotes\"\n")),
        folder: "plans".into(),
        graph: Box::new(graph(plan)),
    };
    event(1, kind)
}

pub fn ended(seq: u64, ending: Ending) -> Event {
    event(seq, EventKind::RunEnded { ending, leftovers: vec![], requests: 12 })
}

pub fn resumed(seq: u64) -> Event {
    event(seq, EventKind::RunResumed { furlough: "0.1.0".into(), retry: vec![step("cmp-07/enable")] })
}

fn step(id: &str) -> StepId {
    StepId(id.to_owned())
}

fn plan(name: &str) -> Plan {
    let expr = |text| Expr::parse(text, Scope::Host).unwrap();
    let timeout = MoveTimeout { base_s: 120, per_gib_s: 10 };
    let wait = Wait { until: expr("host.service.state == 'up'"), timeout_s: 600 };
    let argv = vec![Template::parse("reboot").unwrap(), Template::parse("{{ host.name }}").unwrap()];
    let rule = ServerRule {
        when: Some(Expr::parse("server.flavor.memory_mib > 65536", Scope::Server).unwrap()),
        ladder: vec![Rung::Live, Rung::Cold, Rung::Stop, Rung::Leave],
        at: "drain.servers[0]".into(),
    };
    let selector = HostSelector {
        name: vec![Pattern::parse("cmp-0*").unwrap()],
        aggregate: Some("gen2".into()),
        zone: None,
        when: Some(expr("host.servers > 0")),
        at: "hosts[0]".into(),
    };
    Plan {
        name: name.to_owned(),
        cloud: Some("lab".into()),
        hosts: vec![selector],
        exclude: vec![],
        waves: Waves { max_hosts: Count::Percent(10), first: Some(Count::Hosts(1)) },
        drain: Drain {
            servers: vec![rule],
            destinations: Destinations::Scheduler,
            limits: Limits { cloud: 8, source: 2, destination: Some(2), queue_ahead: 1 },
            live: LiveOptions { block_migration: BlockMigration::Auto, stalled_after_s: 300, timeout },
            cold_timeout: timeout,
            power_timeout_s: 300,
            late_arrivals_s: 30,
        },
        maintain: vec![Action::Run(Command { argv, timeout_s: 900 })],
        verify: vec![Action::Wait(wait)],
        finish: Finish::Enable,
        on_failure: OnFailure::Hold,
    }
}

fn graph(name: &str) -> Graph {
    let server = ServerPlan {
        id: "9f2c".into(),
        name: "db-1".into(),
        host: "cmp-07".into(),
        status: ServerStatus::Other("NEW_WORD".into()),
        power_state: PowerState::Running,
        locked: Some(true),
        memory_mib: 4096,
        local_disk_gib: 20,
        group: Some("db".into()),
        ladder: vec![Rung::Live],
        why: "rule drain.servers[0]".into(),
    };
    let until = Expr::parse("host.service.state == 'up'", Scope::Host).unwrap();
    let argv = vec!["reboot".to_owned(), "cmp-07".to_owned()];
    let kinds = [
        ("disable", StepKind::Disable),
        ("list", StepKind::List),
        ("move/9f2c", StepKind::Move { server: "9f2c".into(), ladder: vec![Rung::Live] }),
        ("empty", StepKind::Empty),
        ("maintain/0", StepKind::Command { phase: Phase::Maintain, index: 0, argv, timeout_s: 900 }),
        ("verify/0", StepKind::Wait { phase: Phase::Verify, index: 0, until, timeout_s: 600 }),
        ("start/9f2c", StepKind::Start { server: "9f2c".into() }),
        ("enable", StepKind::Enable),
    ];
    let steps = kinds.into_iter().map(|(id, kind)| Step {
        id: step(&format!("cmp-07/{id}")),
        host: "cmp-07".into(),
        wave: 1,
        kind,
        needs: vec![step("cmp-07/disable")],
    });
    Graph {
        version: GRAPH_VERSION,
        id: "0123456789abcdef".into(),
        parent: Some(Edge { graph: "fedcba9876543210".into(), step: step("cmp-07/list") }),
        plan: plan(name),
        cloud: "lab".into(),
        microversion: Microversion::v2(96),
        read_at: Timestamp::UNIX_EPOCH,
        hosts: vec![HostPlan { name: "cmp-07".into(), wave: 1, zone: "nova".into(), disabled_before: None }],
        servers: vec![server],
        steps: steps.collect(),
        blockers: vec![Blocker {
            code: BlockerCode::HostDown,
            host: "cmp-08".into(),
            server: Some(("77aa".into(), "web".into())),
            cause: "its nova-compute is down".into(),
            remedy: "start it".into(),
        }],
        gaps: vec!["server groups: 403".into()],
    }
}

fn intents() -> Vec<Intent> {
    let before = ServiceBefore { status: ServiceStatus::Enabled, reason: Some("was".into()), forced_down: Some(false) };
    let server = ServerBefore {
        id: "9f2c".into(),
        name: "db-1".into(),
        host: "cmp-07".into(),
        status: ServerStatus::Active,
        power_state: PowerState::Running,
        locked: None,
        memory_mib: 4096,
        local_disk_gib: 20,
    };
    let (host, service_id) = ("cmp-07".to_owned(), "42".to_owned());
    let reason = "furlough 20261123-1642-9f2c".to_owned();
    vec![
        Intent::Disable { host: host.clone(), service_id: service_id.clone(), before: before.clone(), reason },
        Intent::Enable { host, service_id, restore: before },
        Intent::Live { server: server.clone(), to: None, newest_migration: Some(u64::MAX) },
        Intent::Cold { server: server.clone(), to: Some("cmp-09".into()), newest_migration: None },
        Intent::Confirm { server: server.clone(), migration_id: 7 },
        Intent::Abort { server: server.clone(), migration_id: 7, why: "no progress for 300 s".into(), again: false },
        Intent::Stop { server: server.clone() },
        Intent::Start { server },
        Intent::Command { key: "r/cmp-07/maintain/0/1".into(), argv: vec!["reboot".into()], timeout_s: 900 },
    ]
}

fn answers() -> Vec<Answer> {
    vec![
        Answer::Accepted { request_id: Some("req-1".into()) },
        Answer::Refused { message: "No valid host was found".into(), refusal: Some(Refusal::NoValidHost) },
        Answer::Lost { cause: "connection reset".into() },
    ]
}

fn outcomes() -> Vec<Outcome> {
    let output = Output { text: "line\n\u{fffd}\u{0}".into(), cut_bytes: u64::MAX, exit_code: Some(-1) };
    let remedy = "look".to_owned();
    let reason = "it failed".to_owned();
    let done = [
        Done::Already { what: "disabled".into() },
        Done::Seen { what: "empty".into() },
        Done::Listed { servers: 3, new: 1 },
        Done::Moved { to: "cmp-09".into(), by: Rung::Cold, warning: Some("slow".into()) },
        Done::Stopped,
        Done::Left,
        Done::Started,
        Done::Gone,
        Done::Ran { output: output.clone() },
    ];
    let mut outcomes: Vec<_> = done.into_iter().map(Outcome::Done).collect();
    outcomes.push(Outcome::Retryable {
        reason: reason.clone(),
        fault: Some("NoValidHost".into()),
        again_after_s: Some(15),
    });
    outcomes.push(Outcome::Failed {
        reason: reason.clone(),
        fault: None,
        remedy: remedy.clone(),
        output: Some(output),
    });
    outcomes.push(Outcome::Unknown { reason, remedy });
    outcomes
}

/// A run in which every variant of everything occurs once. `names_of` in the fixture's test knows how many there are.
pub fn everything() -> Vec<Event> {
    let id = || step("cmp-07/move/9f2c");
    let mut kinds = vec![
        EventKind::GraphExtended { graph: Box::new(graph("child")) },
        EventKind::StepStarted { step: id(), attempt: 1, rung: Some(Rung::Live) },
        EventKind::MoveSeen { step: id(), attempt: 1, migration_id: 7, to: Some("cmp-09".into()) },
        EventKind::MoveReleased { step: id(), attempt: 1 },
        EventKind::QueueingStopped { host: "cmp-07".into() },
        EventKind::Noted { step: Some(id()), text: "the cloud does not answer".into() },
        EventKind::Interrupted { by: "SIGINT".into() },
        resumed(0).kind,
    ];
    kinds.extend(intents().into_iter().map(|intent| EventKind::StepIntended { step: id(), attempt: 1, intent }));
    kinds.extend(answers().into_iter().map(|answer| EventKind::StepAnswered { step: id(), attempt: 1, answer }));
    kinds.extend(outcomes().into_iter().map(|outcome| EventKind::StepSettled { step: id(), attempt: 1, outcome }));
    let leftover = |kind| Leftover {
        kind,
        host: "cmp-07".into(),
        server: Some(("9f2c".into(), "db-1".into())),
        what: "still there".into(),
        remedy: "move it".into(),
    };
    let leftovers = [
        LeftoverKind::HostDisabled,
        LeftoverKind::ServerNotMoved,
        LeftoverKind::ServerState,
        LeftoverKind::UnconfirmedResize,
        LeftoverKind::Unknown,
        LeftoverKind::StepFailed,
        LeftoverKind::LeftByPlan,
    ];
    kinds.push(EventKind::RunEnded {
        ending: Ending::Failed,
        leftovers: leftovers.into_iter().map(leftover).collect(),
        requests: 41,
    });
    kinds.push(EventKind::PauseEnded { step: id() });
    let rest = kinds.into_iter().zip(2..).map(|(kind, seq)| event(seq, kind));
    std::iter::once(begun("kernel")).chain(rest).collect()
}
