//! A small cloud's plan and night, for the tests of all views; and arbitrary, hostile ones.

use jiff::Timestamp;
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{option, prop_oneof};

use super::Style;
use crate::cloud::{Microversion, PowerState, ServerStatus, ServiceStatus};
use crate::compile::{
    Blocker, BlockerCode, Edge, GRAPH_VERSION, Graph, HostPlan, Phase, ServerPlan, Step, StepId, StepKind,
};
use crate::event::{
    Answer, Done, EVENT_VERSION, Ending, Event, EventKind, Intent, Leftover, LeftoverKind, Outcome, Output, Progress,
    ServerBefore, ServiceBefore,
};
use crate::plan::{Drain, Expr, Limits, LiveOptions, MoveTimeout, Plan, Rung, Scope, fixture};

pub(super) const PLAIN: Style = Style { color: false, width: 100 };

pub(super) const WEB_3: &str = "9f2c1a07-5d0e-4a53-8b1c-0c9a4b1f6a11";
pub(super) const DB_1: &str = "1b6d2f40-77aa-4a6e-9f4e-52b3a1d2c322";
pub(super) const OLD: &str = "c0ffee00-1234-4bcd-8e9f-0123456789ab";
pub(super) const GPU: &str = "77777777-aaaa-4bbb-8ccc-dddddddddddd";

/// Seconds after the run began.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_452_127 + second).unwrap()
}

pub(super) fn plan() -> Plan {
    let plain = fixture::plan(&[], &[]);
    let timeout = MoveTimeout { base_s: 600, per_gib_s: 30 };
    let drain = Drain {
        servers: Vec::new(),
        limits: Limits { cloud: 4, ..plain.drain.limits },
        live: LiveOptions { stalled_after_s: 300, timeout, ..plain.drain.live },
        cold_timeout: timeout,
        late_arrivals_s: 60,
        ..plain.drain
    };
    Plan { name: "kernel-reboot".into(), cloud: Some("prod".into()), hosts: Vec::new(), drain, ..plain }
}

fn server(id: &str, name: &str, host: &str, ladder: &[Rung], why: &str) -> ServerPlan {
    ServerPlan {
        id: id.into(),
        name: name.into(),
        host: host.into(),
        status: ServerStatus::Active,
        power_state: PowerState::Running,
        locked: None,
        memory_mib: 8 * 1024,
        local_disk_gib: 0,
        group: None,
        apart: None,
        ladder: ladder.to_vec(),
        why: why.into(),
    }
}

fn id(text: &str) -> StepId {
    StepId(text.into())
}

/// The steps of one host, as they depend on each other.
fn steps(host: &str, wave: u32, servers: &[ServerPlan], after: &[StepId]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut push = |what: &str, kind: StepKind, needs: Vec<StepId>| {
        let step = id(&format!("{host}/{what}"));
        steps.push(Step { id: step.clone(), host: host.into(), wave, kind, needs });
        step
    };
    let disable = push("disable", StepKind::Disable, after.to_vec());
    let list = push("list", StepKind::List, vec![disable]);
    let mut moves = vec![list.clone()];
    for server in servers.iter().filter(|server| server.host == host && server.ladder != [Rung::Leave]) {
        let kind = StepKind::Move { server: server.id.clone(), ladder: server.ladder.clone() };
        moves.push(push(&format!("move/{}", server.id), kind, vec![list.clone()]));
    }
    let empty = push("empty", StepKind::Empty, moves);
    let argv = vec!["ssh".into(), host.into(), "sudo systemctl reboot".into()];
    let command = StepKind::Command { phase: Phase::Maintain, index: 0, argv, timeout_s: 600 };
    let command = push("maintain/0", command, vec![empty]);
    let until = Expr::parse("host.service.state == 'up'", Scope::Host).unwrap();
    let wait = StepKind::Wait { phase: Phase::Verify, index: 0, until, timeout_s: 900 };
    let mut last = push("verify/0", wait, vec![command]);
    for server in servers.iter().filter(|server| server.host == host && server.ladder.contains(&Rung::Stop)) {
        let kind = StepKind::Start { server: server.id.clone() };
        last = push(&format!("start/{}", server.id), kind, vec![last]);
    }
    push("enable", StepKind::Enable, vec![last]);
    steps
}

/// Two hosts in two waves with four servers, each done in another way.
pub(super) fn graph() -> Graph {
    let servers = vec![
        server(WEB_3, "web-3", "cmp-07", &[Rung::Live, Rung::Cold], "it runs, and nothing ties it to this host"),
        ServerPlan {
            status: ServerStatus::Shutoff,
            power_state: PowerState::Shutdown,
            memory_mib: 1536,
            local_disk_gib: 40,
            group: Some("db".into()),
            locked: Some(true),
            ..server(DB_1, "db-1", "cmp-07", &[Rung::Cold], "it is SHUTOFF, so only cold migration can move it")
        },
        server(OLD, "ビルド-\u{1b}[31mold", "cmp-08", &[Rung::Stop], "drain.servers[0] stops what has tag build"),
        server(GPU, "gpu", "cmp-08", &[Rung::Leave], "drain.servers[1] leaves servers with a PCI device"),
    ];
    let mut all = steps("cmp-07", 1, &servers, &[]);
    all.extend(steps("cmp-08", 2, &servers, &[id("cmp-07/enable")]));
    Graph {
        version: GRAPH_VERSION,
        id: "5e1f0c2a9b3d4e6f".into(),
        parent: None,
        plan: plan(),
        cloud: "prod".into(),
        microversion: Microversion::v2(90),
        read_at: at(-60),
        hosts: vec![
            HostPlan { name: "cmp-07".into(), wave: 1, zone: "nova".into(), disabled_before: None },
            HostPlan {
                name: "cmp-08".into(),
                wave: 2,
                zone: "nova".into(),
                disabled_before: Some("fan is loud, ticket 4711".into()),
            },
        ],
        servers,
        steps: all,
        blockers: Vec::new(),
        gaps: Vec::new(),
    }
}

/// The same with everything that can stand in its way.
pub(super) fn blocked_graph() -> Graph {
    let mut graph = graph();
    graph.blockers = vec![
        Blocker {
            code: BlockerCode::HostDown,
            host: "cmp-08".into(),
            server: None,
            cause: "its nova-compute was last seen at 16:02:11 UTC, so nothing can be migrated away from it".into(),
            remedy: "start nova-compute there, or leave the host out with `exclude`".into(),
        },
        Blocker {
            code: BlockerCode::ForeignResize,
            host: "cmp-07".into(),
            server: Some((DB_1.into(), "db-1".into())),
            cause: "a resize to m1.large waits for its confirm since 2026-11-20; it is not this run's to decide".into(),
            remedy: "let its owner confirm or revert it: `openstack server resize confirm`".into(),
        },
    ];
    if let Some(server) = graph.servers.get_mut(1) {
        server.ladder.clear();
    }
    graph.gaps = vec!["server groups: 403 Forbidden, so their policies are not known".into()];
    graph
}

/// A server that arrived after the plan was made.
pub(super) fn child() -> Graph {
    let id = "0a0b0c0d-0000-4000-8000-00000000beef";
    let new = server(id, "web-9", "cmp-07", &[Rung::Live], "it arrived after the plan was made");
    let step = Step {
        id: StepId(format!("cmp-07/move/{id}")),
        host: "cmp-07".into(),
        wave: 1,
        kind: StepKind::Move { server: id.into(), ladder: vec![Rung::Live] },
        needs: Vec::new(),
    };
    Graph {
        id: "c41d".into(),
        parent: Some(Edge { graph: graph().id, step: StepId("cmp-07/list".into()) }),
        servers: vec![new],
        steps: vec![step],
        hosts: graph().hosts.into_iter().take(1).collect(),
        ..graph()
    }
}

/// A host that an earlier run left out of service, with a server it had stopped.
pub(super) fn put_back() -> Graph {
    let mut graph = graph();
    graph.plan.name = "enable".into();
    graph.hosts = vec![HostPlan { name: "cmp-08".into(), wave: 1, zone: "nova".into(), disabled_before: None }];
    graph.servers.retain(|server| server.id == OLD);
    for server in &mut graph.servers {
        (server.ladder, server.status) = (vec![Rung::Leave], ServerStatus::Shutoff);
        (server.power_state, server.why) = (PowerState::Shutdown, "it was stopped by furlough".into());
    }
    graph.steps.retain(|step| step.host == "cmp-08" && matches!(step.kind, StepKind::Start { .. } | StepKind::Enable));
    graph
}

fn before(server: &str) -> ServerBefore {
    ServerBefore {
        id: server.into(),
        name: "web-3".into(),
        host: "cmp-07".into(),
        status: ServerStatus::Active,
        power_state: PowerState::Running,
        locked: None,
        memory_mib: 8192,
        local_disk_gib: 0,
    }
}

/// Numbers and times events.
#[derive(Default)]
pub(super) struct Night {
    pub(super) events: Vec<Event>,
}

impl Night {
    pub(super) fn push(&mut self, second: i64, kind: EventKind) -> &mut Self {
        self.events.push(Event { seq: self.events.len() as u64 + 1, at: at(second), kind });
        self
    }

    pub(super) fn start(&mut self, second: i64, step: &str, attempt: u32, rung: Option<Rung>) -> &mut Self {
        self.push(second, EventKind::StepStarted { step: id(step), attempt, rung })
    }

    pub(super) fn settle(&mut self, second: i64, step: &str, attempt: u32, outcome: Outcome) -> &mut Self {
        self.push(second, EventKind::StepSettled { step: id(step), attempt, outcome })
    }

    pub(super) fn done(&mut self, second: i64, step: &str, done: Done) -> &mut Self {
        self.start(second, step, 1, None).settle(second + 2, step, 1, Outcome::Done(done))
    }
}

pub(super) fn seen(what: &str) -> Done {
    Done::Seen { what: what.into() }
}

pub(super) fn started() -> EventKind {
    EventKind::RunStarted {
        event_version: EVENT_VERSION,
        furlough: "0.1.0".into(),
        cloud: "prod".into(),
        plan_text: None,
        folder: "plans".into(),
        graph: Box::new(graph()),
    }
}

/// The whole night: the first host goes well after a second attempt, the second one's command fails.
pub(super) fn night() -> Vec<Event> {
    let (web, db, old) = (format!("cmp-07/move/{WEB_3}"), format!("cmp-07/move/{DB_1}"), format!("cmp-08/move/{OLD}"));
    let live = Intent::Live { server: before(WEB_3), to: None, newest_migration: Some(801) };
    let moved = |to: &str, by| Outcome::Done(Done::Moved { to: to.into(), by, warning: None });
    let mut night = Night::default();
    night.push(0, started());
    night.done(1, "cmp-07/disable", seen("disabled"));
    night.done(4, "cmp-07/list", Done::Listed { servers: 2, new: 0 });
    night.start(7, &web, 1, Some(Rung::Live));
    night.push(7, EventKind::StepIntended { step: id(&web), attempt: 1, intent: live });
    let accepted = Answer::Accepted { request_id: Some("req-4a1e".into()) };
    night.push(8, EventKind::StepAnswered { step: id(&web), attempt: 1, answer: accepted });
    night.push(9, EventKind::MoveSeen { step: id(&web), attempt: 1, migration_id: 812, to: Some("cmp-11".into()) });
    let failed = Outcome::Retryable {
        reason: "the live migration ended as `failed`".into(),
        fault: Some("Live Migration failure: operation failed: guest CPU doesn't match".into()),
        again_after_s: None,
    };
    night.settle(37, &web, 1, failed);
    night.start(38, &web, 2, Some(Rung::Cold));
    night.push(39, EventKind::MoveSeen { step: id(&web), attempt: 2, migration_id: 813, to: Some("cmp-12".into()) });
    night.push(90, EventKind::MoveReleased { step: id(&web), attempt: 2 });
    night.settle(98, &web, 2, moved("cmp-12", Rung::Cold));
    night.start(99, &db, 1, Some(Rung::Cold));
    night.push(
        99,
        EventKind::StepAnswered {
            step: id(&db),
            attempt: 1,
            answer: Answer::Lost { cause: "connection reset".into() },
        },
    );
    night.settle(170, &db, 1, moved("cmp-11", Rung::Cold));
    night.done(171, "cmp-07/empty", seen("seen empty twice"));
    night.start(175, "cmp-07/maintain/0", 1, None);
    night.settle(375, "cmp-07/maintain/0", 1, Outcome::Done(Done::Ran { output: Output::default() }));
    night.done(376, "cmp-07/verify/0", seen("holds"));
    night.done(380, "cmp-07/enable", seen("enabled"));
    night.done(383, "cmp-08/disable", Done::Already { what: "it was disabled before".into() });
    night.done(386, "cmp-08/list", Done::Listed { servers: 2, new: 0 });
    night.start(389, &old, 1, Some(Rung::Stop));
    night.settle(395, &old, 1, Outcome::Done(Done::Stopped));
    night.done(396, "cmp-08/empty", seen("nothing more is to leave"));
    night.push(398, EventKind::Noted { step: None, text: "the cloud did not answer for 20 s".into() });
    night.start(400, "cmp-08/maintain/0", 1, None);
    night.settle(
        403,
        "cmp-08/maintain/0",
        1,
        Outcome::Failed {
            reason: "the command exited with 255".into(),
            fault: None,
            remedy: "see to the host, then `furlough resume --retry`".into(),
            output: Some(Output {
                text: "Connecting…\nssh: connect to host cmp-08 port 22: \u{1b}]0;owned\u{7}No route to host\n".into(),
                cut_bytes: 0,
                exit_code: Some(255),
            }),
        },
    );
    night.push(404, ended(Ending::Failed));
    night.events
}

pub(super) fn ended(ending: Ending) -> EventKind {
    let leftover = |kind, server: Option<(&str, &str)>, what: &str, remedy: &str| Leftover {
        kind,
        host: "cmp-08".into(),
        server: server.map(|(id, name)| (id.into(), name.into())),
        what: what.into(),
        remedy: remedy.into(),
    };
    EventKind::RunEnded {
        ending,
        leftovers: vec![
            leftover(LeftoverKind::HostDisabled, None, "still out of service", "resume the run, or `furlough enable`"),
            leftover(
                LeftoverKind::ServerState,
                Some((OLD, "ビルド-\u{1b}[31mold")),
                "SHUTOFF, and it was ACTIVE",
                "resume the run, or start it once the host is up",
            ),
            leftover(
                LeftoverKind::StepFailed,
                None,
                "`ssh cmp-08 'sudo systemctl reboot'` exited with 255",
                "see to the host, then resume the run",
            ),
            leftover(LeftoverKind::LeftByPlan, Some((GPU, "gpu")), "left in place by drain.servers[1]", "nothing"),
        ],
        requests: 214,
    }
}

pub(super) fn progress(remaining_mib: u64) -> Progress {
    Progress {
        step: id(&format!("cmp-07/move/{WEB_3}")),
        server: WEB_3.into(),
        server_name: "web-3".into(),
        status: "running".into(),
        memory_total_bytes: Some(8 << 30),
        memory_remaining_bytes: Some(remaining_mib << 20),
        disk_total_bytes: None,
        disk_remaining_bytes: None,
    }
}

/// Names as users give them, and as attackers do.
pub(super) fn hostile() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        Just("\u{1b}[2J".to_owned()),
        Just("\u{9b}31m".to_owned()),
        Just("\u{202e}evil\u{2066}".to_owned()),
        Just("line\nbreak\r\t".to_owned()),
        Just("\"]; x -> y; [\\".to_owned()),
        Just("日本語サーバー".to_owned()),
        Just("e\u{301}\u{301}\u{301}".to_owned()),
        Just("👩\u{200d}🚀".to_owned()),
        "[a-z0-9. -]{0,40}",
        any::<String>(),
    ];
    prop::collection::vec(parts, 0..4).prop_map(|parts| parts.concat())
}

fn any_rung() -> impl Strategy<Value = Rung> {
    prop_oneof![Just(Rung::Live), Just(Rung::Cold), Just(Rung::Stop), Just(Rung::Leave)]
}

/// Few ids, so that events meet steps.
fn any_id() -> impl Strategy<Value = StepId> {
    let known = prop::sample::select(graph().steps.into_iter().map(|step| step.id).collect::<Vec<_>>());
    prop_oneof![8 => known, 1 => (0..6_u32).prop_map(|n| id(&format!("step-{n}"))), 1 => hostile().prop_map(StepId)]
}

fn any_kind() -> impl Strategy<Value = StepKind> {
    let until = Expr::parse("host.service.state == 'up'", Scope::Host).unwrap();
    prop_oneof![
        Just(StepKind::Disable),
        Just(StepKind::List),
        Just(StepKind::Empty),
        Just(StepKind::Enable),
        (server_id(), prop::collection::vec(any_rung(), 0..3))
            .prop_map(|(server, ladder)| StepKind::Move { server, ladder }),
        server_id().prop_map(|server| StepKind::Start { server }),
        (prop::collection::vec(hostile(), 0..3), any::<u64>()).prop_map(|(argv, timeout_s)| StepKind::Command {
            phase: Phase::Maintain,
            index: 0,
            argv,
            timeout_s
        }),
        Just(StepKind::Wait { phase: Phase::Verify, index: 1, until, timeout_s: 5 }),
    ]
}

fn server_id() -> impl Strategy<Value = String> {
    prop_oneof![Just(WEB_3.to_owned()), Just(DB_1.to_owned()), Just(OLD.to_owned()), hostile()]
}

fn any_host() -> impl Strategy<Value = String> {
    prop_oneof![Just("cmp-07".to_owned()), Just("cmp-08".to_owned()), hostile()]
}

/// Graphs that no compiler would make.
pub(super) fn any_graph() -> impl Strategy<Value = Graph> {
    let hosts = (any_host(), 0..4_u32, hostile(), option::of(hostile()))
        .prop_map(|(name, wave, zone, disabled_before)| HostPlan { name, wave, zone, disabled_before });
    let servers =
        (server_id(), hostile(), any_host(), prop::collection::vec(any_rung(), 0..3), hostile(), any::<u64>())
            .prop_map(|(id, name, host, ladder, why, size)| ServerPlan {
                status: ServerStatus::from(name.clone()),
                memory_mib: size,
                local_disk_gib: size / 3,
                group: Some(why.clone()),
                locked: Some(true),
                ..server(&id, &name, &host, &ladder, &why)
            });
    let steps = (any_id(), any_host(), 0..4_u32, any_kind(), prop::collection::vec(any_id(), 0..3))
        .prop_map(|(id, host, wave, kind, needs)| Step { id, host, wave, kind, needs });
    let blockers = (any_host(), option::of((server_id(), hostile())), hostile(), hostile()).prop_map(
        |(host, server, cause, remedy)| Blocker { code: BlockerCode::ServerBusy, host, server, cause, remedy },
    );
    (
        prop::collection::vec(hosts, 0..4),
        prop::collection::vec(servers, 0..6),
        prop::collection::vec(steps, 0..10),
        prop::collection::vec(blockers, 0..3),
        prop::collection::vec(hostile(), 0..2),
        option::of((hostile(), any_id())),
        hostile(),
    )
        .prop_map(|(hosts, servers, steps, blockers, gaps, parent, name)| Graph {
            parent: parent.map(|(graph, step)| Edge { graph, step }),
            plan: Plan { name: name.clone(), ..plan() },
            cloud: name,
            hosts,
            servers,
            steps,
            blockers,
            gaps,
            ..graph()
        })
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let output = (hostile(), any::<u64>(), option::of(any::<i32>())).prop_map(|(text, cut_bytes, exit_code)| Output {
        text,
        cut_bytes,
        exit_code,
    });
    prop_oneof![
        hostile().prop_map(|what| Outcome::Done(Done::Already { what })),
        hostile().prop_map(|what| Outcome::Done(Done::Seen { what })),
        (hostile(), any_rung(), option::of(hostile())).prop_map(|(to, by, warning)| Outcome::Done(Done::Moved {
            to,
            by,
            warning
        })),
        Just(Outcome::Done(Done::Stopped)),
        Just(Outcome::Done(Done::Started)),
        Just(Outcome::Done(Done::Gone)),
        (hostile(), option::of(hostile()), option::of(any::<u64>()))
            .prop_map(|(reason, fault, again_after_s)| { Outcome::Retryable { reason, fault, again_after_s } }),
        Just(Outcome::Done(Done::Left)),
        (hostile(), hostile(), output).prop_map(|(reason, remedy, output)| Outcome::Failed {
            reason,
            fault: None,
            remedy,
            output: Some(output)
        }),
        (hostile(), hostile()).prop_map(|(reason, remedy)| Outcome::Unknown { reason, remedy }),
    ]
}

fn any_event_kind() -> impl Strategy<Value = EventKind> {
    let started = any_graph().prop_map(|graph| match started() {
        EventKind::RunStarted { event_version, furlough, cloud, plan_text, folder, .. } => {
            EventKind::RunStarted { event_version, furlough, cloud, plan_text, folder, graph: Box::new(graph) }
        }
        other => other,
    });
    let disable = hostile().prop_map(|reason| Intent::Disable {
        host: reason.clone(),
        service_id: "1".into(),
        before: ServiceBefore { status: ServiceStatus::Enabled, reason: None, forced_down: None },
        reason,
    });
    prop_oneof![
        1 => started,
        1 => any_graph().prop_map(|graph| EventKind::GraphExtended { graph: Box::new(graph) }),
        2 => prop::collection::vec(any_id(), 0..3)
            .prop_map(|retry| EventKind::RunResumed { furlough: "0.1.0".into(), retry }),
        8 => (any_id(), any::<u32>(), option::of(any_rung()))
            .prop_map(|(step, attempt, rung)| EventKind::StepStarted { step, attempt, rung }),
        2 => (any_id(), disable).prop_map(|(step, intent)| EventKind::StepIntended { step, attempt: 1, intent }),
        2 => (any_id(), hostile()).prop_map(|(step, cause)| EventKind::StepAnswered {
            step,
            attempt: 1,
            answer: Answer::Lost { cause }
        }),
        2 => (any_id(), option::of(hostile()))
            .prop_map(|(step, to)| EventKind::MoveSeen { step, attempt: 1, migration_id: 7, to }),
        1 => any_id().prop_map(|step| EventKind::MoveReleased { step, attempt: 1 }),
        1 => any_id().prop_map(|step| EventKind::PauseEnded { step }),
        8 => (any_id(), any_outcome()).prop_map(|(step, outcome)| EventKind::StepSettled { step, attempt: 1, outcome }),
        1 => (option::of(any_id()), hostile()).prop_map(|(step, text)| EventKind::Noted { step, text }),
        1 => hostile().prop_map(|by| EventKind::Interrupted { by }),
        1 => any_host().prop_map(|host| EventKind::QueueingStopped { host }),
        1 => prop_oneof![Just(Ending::Done), Just(Ending::Failed), Just(Ending::Interrupted)].prop_map(ended),
    ]
}

/// What no executor would write; half of it begins as a run should.
pub(super) fn any_events() -> impl Strategy<Value = Vec<Event>> {
    (any::<bool>(), prop::collection::vec((any_event_kind(), -500..5_000_i64), 0..30)).prop_map(|(proper, kinds)| {
        let mut night = Night::default();
        if proper {
            night.push(0, started());
        }
        for (kind, second) in kinds {
            night.push(second, kind);
        }
        night.events
    })
}

/// Whether a terminal would take any of it for a command, or turn it around. Line breaks are ours.
pub(super) fn is_harmless(text: &str) -> bool {
    text.chars()
        .all(|c| c == '\n' || !(c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')))
}

/// The text without the colours that views give it.
pub(super) fn without_color(text: &str) -> String {
    ["0", "1", "2", "31", "32", "33"]
        .iter()
        .fold(text.to_owned(), |text, code| text.replace(&format!("\u{1b}[{code}m"), ""))
}
