use super::*;
use crate::event::LeftoverKind;
use crate::rehearse::made_up::{Size, made_up};
use crate::rehearse::{NightSetup, Summary};

fn some() -> Nights {
    let plan = crate::plan::parse("test", "furlough: 1\nname: test\nhosts: [{name: cmp-01}]\n").unwrap();
    let made = made_up(Size { hosts: 3, servers_per_host: 40 }, 1, Some(&plan));
    let setup = NightSetup::new(plan, made.inventory, "lab").unwrap();
    let server = setup.graph.servers[0].id.clone();
    let mut nights = Nights::default();
    for seed in 5..205 {
        let became = match seed {
            17 => Became::Broken { error: "two\u{1b}[31m lines\nof it".to_owned() },
            _ if seed % 40 == 0 => Became::Ended {
                ending: "failed",
                exit_code: 1,
                leftovers: vec![LeftoverKind::HostDisabled, LeftoverKind::StepFailed],
            },
            _ => Became::Ended { ending: "done", exit_code: 0, leftovers: Vec::new() },
        };
        let down_ms = if seed == 77 { 754_321 } else { seed };
        nights.take(
            &setup,
            &Summary {
                seed,
                became,
                took_ms: seed * 60_000,
                waves: seed % 3,
                moves: 40,
                requests: 900 + seed,
                downtime_ms: vec![(server.clone(), down_ms)],
            },
        );
    }
    nights
}

fn of(again: &[String]) -> Rehearsed<'_> {
    Rehearsed { plan: "reboot rack a", cloud: "prod", first_seed: 5, again }
}

#[test]
fn nights_say_how_they_ended_and_how_to_see_it() {
    let again = ["furlough", "rehearse", "my plan.yaml", "--from", "a/rather/long/path/to/a/snapshot/of/prod.json"];
    let again = again.map(str::to_owned);
    insta::assert_snapshot!(nights(&some(), &of(&again), Style { color: false, width: 70 }), @r"
    200 nights of reboot rack a on cloud prod, seeds 5 to 204

    OF A NIGHT     LEAST      MEDIAN  9 IN 10 WITHIN        MOST
    duration       5 min  1 h 45 min      3 h 05 min  3 h 24 min
    waves              0           1               2           2
    servers moved     40          40              40          40
    requests         905        1005            1085        1104

    Downtime of a server:  median 0 s, 99 in 100 within 126 ms, at the
                           most 12 min 34 s: app-01
                           (f679bf82-f646-41a1-b4b8-f365a7391077) in the
                           night of seed 77

    How they ended, and a night of each kind to look at:

         194  done
              furlough rehearse 'my plan.yaml' --from a/rather/long/path/to/a/snapshot/of/prod.json --seed 5

           5  failed; left: host-disabled, step-failed
              furlough rehearse 'my plan.yaml' --from a/rather/long/path/to/a/snapshot/of/prod.json --seed 40

           1  broken: two\x1b[31m lines\nof it
              furlough rehearse 'my plan.yaml' --from a/rather/long/path/to/a/snapshot/of/prod.json --seed 17

    This was a rehearsal in virtual time: no cloud was asked anything, and
    no command was run.
    ");
}

#[test]
fn the_same_as_json() {
    let again = ["furlough".to_owned(), "rehearse".to_owned(), "p.yaml".to_owned()];
    let text = nights_json(&some(), &of(&again));
    assert!(!text.contains('\u{1b}'), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["nights"], 200);
    assert_eq!(value["took_ms"]["max"], 204 * 60_000);
    assert_eq!((&value["endings"][1]["seed"], &value["endings"][1]["nights"]), (&40.into(), &5.into()));
    assert_eq!(value["endings"][1]["leftovers"][0], "host-disabled");
    assert_eq!(value["endings"][2]["error"], "two\u{1b}[31m lines\nof it");
    assert_eq!(value["worst_downtime"]["seed"], 77);
}

#[test]
fn no_night_is_no_mistake() {
    let text = nights(&Nights::default(), &of(&[]), Style::default());
    assert!(text.starts_with("0 nights"), "{text}");
    assert!(text.contains("no server of the plan was down"), "{text}");
}

#[test]
fn times_of_every_size() {
    let rows = [(0, "0 s"), (999, "999 ms"), (1_000, "1.0 s"), (59_999, "59.9 s"), (60_000, "1 min")];
    for (ms, words) in rows {
        assert_eq!(milliseconds(ms), words);
    }
}
