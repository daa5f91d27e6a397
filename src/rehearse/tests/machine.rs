//! The operator's machine: commands take their time, end once, and are found again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cloud::sim::{Faults, Habits, Log, Scene, Sim, What};
use crate::plan::Plan;
use crate::rehearse::machine::{CommandHabits, Machine, assumed};
use crate::rehearse::made_up::{Size, made_up};
use crate::run::commands::{CommandError, CommandSpec, CommandState, Commands as _};

fn plan(maintain: &str) -> Plan {
    let text = format!("furlough: 1\nname: test\nhosts: [{{name: cmp-01}}]\nmaintain:\n{maintain}");
    crate::plan::parse("test", &text).unwrap()
}

const REBOOTS: &str = "  - run: {command: [./prepare.sh], timeout: 1h}\n  - run: {command: [./reboot.sh], timeout: 1h}\n  \
                       - wait: {until: host.service.state == \"up\", timeout: 20m}\n  - run: {command: [./check.sh], \
                       timeout: 1h}\n";

fn sim(seed: u64) -> Arc<Sim> {
    let inventory = made_up(Size { hosts: 3, servers_per_host: 1 }, 1, None).inventory;
    let epoch = inventory.read_at;
    let scene =
        Scene { name: "lab".to_owned(), inventory, epoch, seed, habits: Habits::default(), faults: Faults::none() };
    Sim::new(scene, Log::recording())
}

fn spec(step: &str) -> CommandSpec {
    CommandSpec {
        key: format!("run/{step}/1"),
        argv: vec!["./x".to_owned()],
        timeout_s: 300,
        env: vec![("FURLOUGH_HOST".to_owned(), "cmp-01".to_owned()), ("FURLOUGH_STEP".to_owned(), step.to_owned())],
        cwd: PathBuf::new(),
    }
}

async fn ended(machine: &Machine, key: &str) -> (CommandState, Duration) {
    let began = Instant::now();
    loop {
        match machine.state(key).await.unwrap() {
            CommandState::Running => sleep(Duration::from_millis(100)).await,
            state => return (state, began.elapsed()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_takes_its_time_and_is_started_once() {
    let sim = sim(1);
    let habits = CommandHabits { took_s: [30, 40], ..CommandHabits::default() };
    let machine = Machine::new(&sim, &habits, &plan(REBOOTS));
    let spec = spec("cmp-01/maintain/2-run");
    assert_eq!(machine.state(&spec.key).await.unwrap(), CommandState::NeverStarted);
    machine.start(&spec).await.unwrap();
    assert!(matches!(machine.start(&spec).await, Err(CommandError::AlreadyStarted { .. })));
    let (state, took) = ended(&machine, &spec.key).await;
    let CommandState::Exited(output) = state else { panic!("{state:?}") };
    assert_eq!(output.exit_code, Some(0));
    assert!((29..=41).contains(&took.as_secs()), "{took:?}");
    assert!(matches!(machine.start(&spec).await, Err(CommandError::AlreadyStarted { .. })));
    let seen = sim.log().take();
    let told: Vec<_> = seen
        .iter()
        .filter_map(|seen| match &seen.what {
            What::Command { began, exit_code, host, .. } => Some((host.as_str(), *began, *exit_code)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("cmp-01", true, None), ("cmp-01", false, Some(0))]);
}

type IsExpected = fn(&CommandState) -> bool;

#[tokio::test(start_paused = true)]
async fn commands_fail_hang_and_are_lost_by_chance() {
    let rows: [(CommandHabits, IsExpected); 4] = [
        (
            CommandHabits { fails: 1.0, ..CommandHabits::default() },
            |state| matches!(state, CommandState::Exited(output) if output.exit_code == Some(1)),
        ),
        (CommandHabits { hangs: 1.0, ..CommandHabits::default() }, |state| matches!(state, CommandState::TimedOut(_))),
        (CommandHabits { lost: 1.0, ..CommandHabits::default() }, |state| *state == CommandState::Lost),
        (CommandHabits { took_s: [301, 301], ..CommandHabits::default() }, |state| {
            matches!(state, CommandState::TimedOut(_))
        }),
    ];
    for (habits, expected) in rows {
        let machine = Machine::new(&sim(1), &habits, &plan(REBOOTS));
        let spec = spec("cmp-01/verify/1-run");
        machine.start(&spec).await.unwrap();
        let (state, took) = ended(&machine, &spec.key).await;
        assert!(expected(&state), "{habits:?}: {state:?}");
        assert!(took.as_secs() <= 300, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_command_stays_cancelled() {
    let machine = Machine::new(&sim(1), &CommandHabits::default(), &plan(REBOOTS));
    let spec = spec("cmp-01/verify/1-run");
    assert!(matches!(machine.cancel(&spec.key).await, Err(CommandError::NeverStarted { .. })));
    machine.start(&spec).await.unwrap();
    machine.cancel(&spec.key).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    let CommandState::Exited(output) = machine.state(&spec.key).await.unwrap() else { panic!() };
    assert_eq!(output.exit_code, None);
}

#[test]
fn what_is_assumed_of_commands_is_said() {
    let said = assumed(&plan(REBOOTS));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].starts_with("maintain[1], `./reboot.sh`, is taken to reboot its host"), "{said:?}");
    let other = "  - wait: {until: host.servers == 0, timeout: 20m}\n  - run: {command: [./x.sh], timeout: 1h}\n";
    assert_eq!(assumed(&plan(other)).len(), 1);
    assert_eq!(assumed(&plan("  - wait: {until: host.servers == 0, timeout: 20m}\n")), Vec::<String>::new());
}
