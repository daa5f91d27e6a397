//! The same seed is the same night, also on another thread, also with a death in it.

use std::time::Duration;

use crate::event::{Ending, EventKind, Update};
use crate::plan::Plan;
use crate::rehearse::made_up::{Size, made_up};
use crate::rehearse::{Became, Conditions, Kill, KillWhen, Night, NightSetup, Nights, night, nights};

const PLAN: &str = "\
furlough: 1
name: test
hosts: [{aggregate: rack-a}]
waves: {max_hosts: 2, first: 1}
drain:
  servers:
    - where: server.metadata[\"evacuation\"] == \"stop\"
      ladder: [stop]
    - where: server.status == \"SHUTOFF\"
      ladder: [cold]
    - ladder: [live, cold]
  limits: {cloud: 6, source: 2, destination: 3, queue_ahead: 1}
maintain:
  - run: {command: [./reboot.sh], timeout: 10m}
  - wait: {until: host.service.state == \"up\", timeout: 20m}
on_failure: continue
";

fn setup(conditions: Conditions, seed: u64) -> NightSetup {
    let plan: Plan = crate::plan::parse("test", PLAN).unwrap();
    let made = made_up(Size { hosts: 12, servers_per_host: 6 }, 1, Some(&plan));
    let setup = NightSetup::new(plan, made.inventory, "made-up").unwrap();
    NightSetup {
        seed,
        faults: conditions.faults(),
        habits: conditions.habits,
        commands: conditions.commands,
        record: true,
        ..setup
    }
}

fn told(setup: &NightSetup) -> (Night, Vec<String>) {
    let mut lines = Vec::new();
    let night = night(setup, &mut |update: &Update| {
        lines.push(match update {
            Update::Event(event) => serde_json::to_string(event).unwrap(),
            Update::Progress(progress) => serde_json::to_string(progress).unwrap(),
        });
    })
    .unwrap();
    (night, lines)
}

/// Where two nights part, in words.
fn assert_same(one: &(Night, Vec<String>), other: &(Night, Vec<String>), what: &str) {
    for (at, (line, same)) in one.1.iter().zip(&other.1).enumerate() {
        assert_eq!(line, same, "{what}: update {at} of {}", one.1.len());
    }
    assert_eq!(one.1.len(), other.1.len(), "{what}");
    for (at, (seen, same)) in one.0.seen.iter().zip(&other.0.seen).enumerate() {
        assert_eq!(seen, same, "{what}: entry {at} of the log");
    }
    assert_eq!(one.0.seen.len(), other.0.seen.len(), "{what}");
    assert_eq!((one.0.took, &one.0.counts), (other.0.took, &other.0.counts), "{what}");
}

#[test]
fn a_quiet_night_ends_well() {
    let (night, lines) = told(&setup(Conditions::none(), 1));
    assert_eq!(night.ended.ending, Ending::Done, "{:#?}", night.ended);
    assert_eq!(night.ended.leftovers, Vec::new());
    assert!(lines.len() > 100);
    let rebooted = night.events.iter().filter(
        |event| matches!(&event.kind, EventKind::StepSettled { step, .. } if step.0.ends_with("maintain/2-wait")),
    );
    assert_eq!(rebooted.count(), 3);
    assert!(night.took > Duration::from_secs(3 * 120), "three reboots take their time: {:?}", night.took);
}

#[test]
fn the_same_seed_is_the_same_night_and_another_is_not() {
    for (conditions, seed) in [(Conditions::none(), 3), (Conditions::typical(), 4), (Conditions::harsh(), 5)] {
        let setup = setup(conditions, seed);
        let first = told(&setup);
        assert_same(&first, &told(&setup), "again");
        let elsewhere: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| told(&setup))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for other in &elsewhere {
            assert_same(&first, other, "on another thread");
        }
        let other = told(&NightSetup { seed: seed + 1, ..setup });
        assert_ne!(first.1, other.1);
    }
}

#[test]
fn a_night_with_a_death_in_it_is_the_same_each_time_and_ends_as_without() {
    let whole = told(&setup(Conditions::none(), 1)).0;
    for at in (1..=whole.appends).step_by(7) {
        for when in [KillWhen::Before, KillWhen::After, KillWhen::Full] {
            let kill = Kill { append: at, when, pause: Duration::from_secs(90) };
            let setup = NightSetup { kills: vec![kill], ..setup(Conditions::none(), 1) };
            let first = told(&setup);
            assert_eq!(first.0.ended.ending, Ending::Done, "{kill:?}: {:#?}", first.0.ended);
            assert_eq!(first.0.ended.leftovers, Vec::new(), "{kill:?}");
            if at % 3 == 0 {
                assert_same(&first, &told(&setup), "killed");
            }
        }
    }
}

#[test]
fn many_nights_come_in_the_order_of_their_seeds_and_say_the_same_each_time() {
    let setup = NightSetup { record: false, ..setup(Conditions::typical(), 1) };
    let tell = |threads| {
        let mut all = Nights::default();
        let mut seeds = Vec::new();
        crate::rehearse::nights::nights_on(threads, &setup, 10, 12, &mut |summary| {
            seeds.push(summary.seed);
            all.take(&setup, summary);
        });
        assert_eq!(seeds, (10..22).collect::<Vec<_>>());
        all
    };
    let one = tell(1);
    assert_eq!(one, tell(3));
    assert_eq!(one.nights, 12);
    assert!(one.endings.keys().all(|became| matches!(became, Became::Ended { .. })), "{:?}", one.endings);
    assert!(one.moves().median > 10 && one.requests().min > 20, "{one:?}");
    let mut none = 0;
    nights(&setup, 1, 0, &mut |_| none += 1);
    assert_eq!(none, 0);
}
