//! Every kind of step fails in every way it can, and is cut before and after each of its records. A new kind does not
//! compile without saying here what it asks and reads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::over;
use super::stage::{Played, Setting};
use crate::cloud::ServerStatus;
use crate::cloud::fixture::{host, in_state, inventory, server};
use crate::cloud::sim::{AskKind, Fate, Faults, Habits, Happening, ReadFate, ReadKind, Scripted, What};
use crate::compile::{StepId, StepKind, compile};
use crate::event::{Ending, EventKind};
use crate::plan::fixture::plan;
use crate::plan::{Action, Command, Count, Expr, Finish, Rung, Scope, Template, Wait};
use crate::rehearse::machine::CommandHabits;
use crate::rehearse::{Kill, KillWhen};

/// What a kind of step asks of the cloud, and what it reads.
struct Does {
    asks: &'static [AskKind],
    reads: &'static [ReadKind],
    runs: bool,
}

fn does(kind: &StepKind) -> Does {
    let of = |asks, reads| Does { asks, reads, runs: false };
    match kind {
        StepKind::Disable => of(&[AskKind::Disable], &[ReadKind::Services]),
        StepKind::List => of(&[], &[ReadKind::Servers, ReadKind::Migrations]),
        StepKind::Move { .. } => of(
            &[AskKind::Live, AskKind::Cold, AskKind::Confirm, AskKind::Stop, AskKind::Abort],
            &[ReadKind::Server, ReadKind::Servers, ReadKind::Migrations, ReadKind::LiveProgress, ReadKind::ActionFault],
        ),
        StepKind::Empty => of(&[], &[ReadKind::Servers, ReadKind::Migrations, ReadKind::Services, ReadKind::Inventory]),
        StepKind::Command { .. } => Does { asks: &[], reads: &[], runs: true },
        StepKind::Wait { .. } => of(&[], &[ReadKind::Services]),
        StepKind::Start { .. } => of(&[AskKind::Start], &[ReadKind::Server, ReadKind::Servers]),
        StepKind::Enable => of(&[AskKind::Enable], &[ReadKind::Services]),
    }
}

const FATES: [Fate; 22] = [
    Fate::Unreachable,
    Fate::Unauthenticated,
    Fate::LostBefore,
    Fate::LostAfter,
    Fate::Slow,
    Fate::RateLimited,
    Fate::Forbidden,
    Fate::NotFound,
    Fate::Busy,
    Fate::WrongState,
    Fate::Locked,
    Fate::NoValidHost,
    Fate::HostDown,
    Fate::Refused,
    Fate::NoValidHostLate,
    Fate::PrecheckFails,
    Fate::Fails,
    Fate::ErrorsOnSource,
    Fate::ErrorsOnDest,
    Fate::Stalls,
    Fate::PostCopy,
    Fate::Ignored,
];

const READ_FATES: [ReadFate; 6] = [
    ReadFate::Unreachable,
    ReadFate::Unauthenticated,
    ReadFate::Garbled,
    ReadFate::Slow,
    ReadFate::Stale,
    ReadFate::Forbidden,
];

/// A night in which every kind of step happens: one host of two servers that are moved live and cold and one that is
/// stopped, a command, a wait.
fn whole() -> Setting {
    let mut plan = plan(&["h*"], &[Rung::Live, Rung::Cold, Rung::Stop]);
    let rule = crate::plan::ServerRule {
        when: Expr::parse("server.name == 'name-of-s3'", Scope::Server).ok(),
        ladder: vec![Rung::Stop],
        at: "drain.servers[0]".to_owned(),
    };
    plan.drain.servers.insert(0, rule);
    plan.waves.max_hosts = Count::Hosts(1);
    plan.finish = Finish::Enable;
    let argv = vec![Template::parse("reboot").unwrap()];
    let until = Expr::parse("host.service.state == 'up'", Scope::Host).unwrap();
    plan.maintain = vec![Action::Run(Command { argv, timeout_s: 120 }), Action::Wait(Wait { until, timeout_s: 900 })];
    let hosts = ["d1", "d2", "h1", "h2"].map(host).to_vec();
    let servers = vec![
        server("s1", "h1"),
        in_state(server("s2", "h1"), ServerStatus::Shutoff),
        server("s3", "h1"),
        server("s4", "h2"),
    ];
    let inventory = inventory(hosts, servers);
    let graph = compile(&plan, &inventory, "lab").unwrap();
    assert!(graph.blockers.is_empty(), "{:?}", graph.blockers);
    Setting {
        seed: 7,
        calm: true,
        plan: Arc::new(plan),
        inventory: Arc::new(inventory),
        graph: Arc::new(graph),
        faults: Faults::none(),
        habits: Habits::default(),
        commands: CommandHabits { took_s: [5, 20], ..CommandHabits::default() },
        cuts: Vec::new(),
        stops: Vec::new(),
        secrets: Vec::new(),
    }
}

fn scripted(script: Vec<Scripted>) -> Setting {
    Setting { faults: Faults { script, ..Faults::none() }, calm: false, ..whole() }
}

/// What has to go wrong first, so that this request is made at all.
fn led_to_by(ask: AskKind) -> Vec<Scripted> {
    let of = Some("s1".to_owned());
    match ask {
        AskKind::Abort => vec![Scripted::Ask { ask: AskKind::Live, of, nth: 1, fate: Fate::Stalls }],
        _ => Vec::new(),
    }
}

/// Nights in which a step of this kind fails, and what they are called.
fn failures(kind: &StepKind) -> Vec<(String, Setting)> {
    let does = does(kind);
    let mut nights = Vec::new();
    for ask in does.asks {
        for fate in FATES {
            for times in [1, 4] {
                let mut script = led_to_by(*ask);
                script.extend((1..=times).map(|nth| Scripted::Ask { ask: *ask, of: None, nth, fate }));
                nights.push((format!("{ask:?} {fate:?}, {times} times"), scripted(script)));
            }
        }
    }
    for read in does.reads {
        for fate in READ_FATES {
            for (nth, times) in [(1, 1), (2, 3), (4, 400)] {
                let script = vec![Scripted::Read { read: *read, nth, times, fate }];
                nights.push((format!("reading {read:?} {fate:?} from {nth}, {times} times"), scripted(script)));
            }
        }
    }
    if does.runs {
        for (fails, hangs, lost) in [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5)] {
            let commands = CommandHabits { fails, hangs, lost, took_s: [5, 20] };
            nights.push((format!("commands {fails} {hangs} {lost}"), Setting { commands, calm: false, ..whole() }));
        }
    }
    for (name, happens) in happenings(kind) {
        for ask in [AskKind::Disable, AskKind::Live] {
            for after_ms in [1, 2_000, 20_000, 60_000] {
                let script = vec![Scripted::After { ask, of: None, nth: 1, after_ms, happens: happens.clone() }];
                nights.push((format!("{name}, {after_ms} ms after {ask:?}"), scripted(script)));
            }
        }
    }
    nights
}

/// What others do that concerns a kind of step.
fn happenings(kind: &StepKind) -> Vec<(&'static str, Happening)> {
    let (host, server) = ("h1".to_owned(), "s1".to_owned());
    match kind {
        StepKind::Disable | StepKind::Enable => vec![
            ("enabled", Happening::Enabled { host: host.clone() }),
            ("disabled", Happening::Disabled { host: host.clone(), reason: "dust".to_owned() }),
            (
                "taken by another run",
                Happening::Disabled { host: host.clone(), reason: "furlough 20260101-0000-aaaa: x".to_owned() },
            ),
            ("forced down", Happening::ForcedDown { host: host.clone(), down: true }),
            ("its nova-compute dies", Happening::ComputeDies { host, back_after_ms: Some(300_000) }),
        ],
        StepKind::List | StepKind::Empty => vec![
            ("a server arrives", Happening::Arrives { host: host.clone(), like: "s1".to_owned() }),
            ("a server is moved here", Happening::Migrates { server: "s4".to_owned(), to: Some(host) }),
            ("an outage", Happening::Outage { for_ms: 90_000 }),
        ],
        StepKind::Move { .. } | StepKind::Start { .. } => vec![
            ("its owner stops it", Happening::Stops { server: server.clone() }),
            ("its owner deletes it", Happening::Deletes { server: server.clone() }),
            ("its owner resizes it", Happening::Resizes { server: server.clone(), confirm_after_ms: None }),
            (
                "its owner resizes and confirms it",
                Happening::Resizes { server: server.clone(), confirm_after_ms: Some(40_000) },
            ),
            ("its owner pauses it", Happening::Pauses { server: server.clone() }),
            ("its owner locks it", Happening::Locks { server: server.clone() }),
            ("somebody else moves it", Happening::Migrates { server, to: None }),
            ("the stopped one is started", Happening::Starts { server: "s3".to_owned() }),
            ("the stopped one is deleted", Happening::Deletes { server: "s3".to_owned() }),
        ],
        StepKind::Command { .. } | StepKind::Wait { .. } => vec![
            ("the host dies", Happening::HostDies { host: host.clone(), back_after_ms: Some(200_000) }),
            ("the host dies for good", Happening::HostDies { host, back_after_ms: None }),
        ],
    }
}

/// One of each kind.
fn kinds() -> Vec<StepKind> {
    let graph = whole().graph;
    let mut seen = BTreeSet::new();
    graph.steps.iter().filter(|step| seen.insert(name(&step.kind))).map(|step| step.kind.clone()).collect()
}

fn name(kind: &StepKind) -> &'static str {
    match kind {
        StepKind::Disable => "disable",
        StepKind::List => "list",
        StepKind::Move { .. } => "move",
        StepKind::Empty => "empty",
        StepKind::Command { .. } => "command",
        StepKind::Wait { .. } => "wait",
        StepKind::Start { .. } => "start",
        StepKind::Enable => "enable",
    }
}

fn wrong(name: &str, played: &Played) -> Option<String> {
    let first = played.violations.first()?;
    Some(format!("{name}: {first}\n{}", played.told()))
}

/// Plays them on all cores; the first that breaks a promise is told, the others named.
fn play(nights: &[(String, Setting)], judge: impl Fn(&str, &Played) -> Option<String> + Sync) {
    let wrong = over(0, nights.len() as u64, |at| {
        let (name, setting) = &nights[usize::try_from(at).unwrap()];
        judge(name, &setting.play())
    });
    let all: Vec<&str> = wrong.values().filter_map(|text| text.lines().next()).collect();
    if let Some(first) = wrong.values().next() {
        panic!("{first}\n\n{} of {} nights break a promise:\n{}", wrong.len(), nights.len(), all.join("\n"));
    }
}

#[test]
fn all_kinds_are_here() {
    let here: Vec<&str> = kinds().iter().map(name).collect();
    assert_eq!(here.len(), 8, "{here:?}");
    let whole = whole().play();
    assert!(whole.violations.is_empty(), "{}\n{:?}", whole.told(), whole.violations);
    assert_eq!(whole.ending, Some(Ending::Done), "{}", whole.told());
}

#[test]
fn every_kind_fails_in_every_way_it_can() {
    let mut nights = Vec::new();
    for kind in kinds() {
        nights.extend(failures(&kind).into_iter().map(|(what, setting)| (format!("{}: {what}", name(&kind)), setting)));
    }
    assert!(nights.len() > 500, "{}", nights.len());
    play(&nights, wrong);
}

/// The appends, from 1, that hold an event of a step of this kind.
fn appends_of(played: &Played, of: &str) -> Vec<u64> {
    let steps: BTreeSet<&StepId> = played
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::RunStarted { graph, .. } | EventKind::GraphExtended { graph } => Some(&graph.steps),
            _ => None,
        })
        .flatten()
        .filter(|step| name(&step.kind) == of)
        .map(|step| &step.id)
        .collect();
    let mut appends = Vec::new();
    let (mut append, mut from) = (0, 0);
    for seen in &played.seen {
        let What::Durable { events } = seen.what else { continue };
        append += 1;
        let until = usize::try_from(events).unwrap();
        let own = |event: &crate::event::Event| event.kind.step().is_some_and(|step| steps.contains(step));
        if played.events[from..until].iter().any(own) {
            appends.push(append);
        }
        from = until;
    }
    appends
}

/// Where everything is: what must not depend on a kill.
fn state(played: &Played) -> Vec<String> {
    let began = whole().inventory;
    let servers = played.servers.iter().map(|row| {
        // Which destination the scheduler took depends on the moment, and so does where a new server ends.
        let on = match began.server(&row.id) {
            None => "some host",
            Some(was) if was.host == row.host => "where it began",
            Some(_) => "elsewhere",
        };
        format!("{} {} {:?} on {on} {:?} {:?}", row.id, row.status, row.power_state, row.task_state, row.locked)
    });
    let services = played.services.iter();
    let services =
        services.map(|row| format!("{} {:?} {:?} {:?}", row.host, row.status, row.disabled_reason, row.forced_down));
    servers.chain(services).collect()
}

/// What nova took in, however often it was asked.
fn taken(played: &Played) -> Vec<String> {
    let mut taken: Vec<String> = played
        .seen
        .iter()
        .filter_map(|seen| match &seen.what {
            What::Asked { ask, arrived: true, answer }
                if !matches!(answer, crate::cloud::sim::Told::Refused { .. }) =>
            {
                Some(format!("{ask:?}"))
            }
            What::Command { host, began: true, .. } => Some(format!("command on {host}")),
            _ => None,
        })
        .collect();
    taken.sort();
    taken
}

/// Nights that end well whatever is cut, so that the same end is due.
fn to_be_cut() -> Vec<(&'static str, Setting)> {
    let ask = |ask, nth, fate| Scripted::Ask { ask, of: None, nth, fate };
    vec![
        ("all goes well", whole()),
        (
            "answers are lost",
            scripted(vec![
                ask(AskKind::Disable, 1, Fate::LostAfter),
                ask(AskKind::Live, 1, Fate::LostAfter),
                ask(AskKind::Cold, 1, Fate::LostAfter),
                ask(AskKind::Confirm, 1, Fate::LostAfter),
                ask(AskKind::Stop, 1, Fate::LostAfter),
                ask(AskKind::Start, 1, Fate::LostAfter),
                ask(AskKind::Enable, 1, Fate::LostAfter),
            ]),
        ),
        ("a live migration stalls", scripted(vec![ask(AskKind::Live, 1, Fate::Stalls)])),
        (
            "a server arrives",
            scripted(vec![Scripted::After {
                ask: AskKind::Disable,
                of: Some("h1".to_owned()),
                nth: 1,
                after_ms: 3_000,
                happens: Happening::Arrives { host: "h1".to_owned(), like: "s1".to_owned() },
            }]),
        ),
    ]
}

/// How a process ends, and how long after it the run is taken up again. The operator of one that could not write comes
/// back when he has made room.
const ENDS: [(KillWhen, u64); 5] = [
    (KillWhen::Before, 0),
    (KillWhen::Before, 200_000),
    (KillWhen::After, 0),
    (KillWhen::After, 200_000),
    (KillWhen::Full, 0),
];

#[test]
fn every_kind_is_cut_before_and_after_each_of_its_records() {
    let mut nights = Vec::new();
    let mut wholes = Vec::new();
    let mut cut_kinds = BTreeSet::new();
    for (what, setting) in to_be_cut() {
        let whole = setting.play();
        assert!(whole.violations.is_empty(), "{what}: {:?}\n{}", whole.violations, whole.told());
        assert_eq!(whole.ending, Some(Ending::Done), "{what}\n{}", whole.told());
        for kind in kinds() {
            let appends = appends_of(&whole, name(&kind));
            if !appends.is_empty() {
                cut_kinds.insert(name(&kind));
            }
            for append in appends {
                for (when, pause_ms) in ENDS {
                    let kill = Kill { append, when, pause: Duration::from_millis(pause_ms) };
                    let cut = Setting { cuts: vec![kill], ..setting.clone() };
                    let name =
                        format!("{}: {what}, cut at {append} ({when:?}), resumed after {pause_ms} ms", name(&kind));
                    nights.push((name, cut));
                    wholes.push((state(&whole), whole.ending, taken(&whole)));
                }
            }
        }
    }
    assert_eq!(cut_kinds.len(), 8, "{cut_kinds:?}");
    let at = |name: &str| nights.iter().position(|(known, _)| known == name).unwrap();
    play(&nights, |name, played| {
        if let Some(wrong) = wrong(name, played) {
            return Some(wrong);
        }
        let (state_of_whole, ending, taken_by_whole) = &wholes[at(name)];
        let differs = |what: &str, one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug| {
            Some(format!("{name}: {what} is otherwise than without the cut: {one:?}, and {other:?}\n{}", played.told()))
        };
        if played.ending != *ending {
            return differs("the ending", &played.ending, ending);
        }
        if state(played) != *state_of_whole {
            return differs("the state", &state(played), state_of_whole);
        }
        let calm = name.contains("all goes well") || name.contains("answers are lost");
        if calm && taken(played) != *taken_by_whole {
            return differs("what was taken", &taken(played), taken_by_whole);
        }
        None
    });
}
