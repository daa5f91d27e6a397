//! What was seen of two real Novas, 34 (2.104) and 26, Zed (2.93), with fake hypervisors: the simulator has to have been
//! in these states, in this order. `tests/openstack` plays such scenarios on both when an OpenStack is installed.
//!
//! Each line was two readings, the row and then its newest record, so the record may be of a later moment than the row.

use super::*;
use Act::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// It begins SHUTOFF; the destination is disabled.
    Off,
    Closed,
    Live,
    Cold,
    Confirm,
    Revert,
    Stop,
    Start,
    Abort,
    Delete,
    /// Waits for VERIFY_RESIZE; for `running`; seconds.
    Verify,
    Running,
    Pass(u64),
    Kill(&'static str),
    Hang(&'static str),
    Return(&'static str),
}

struct Observed {
    what: &'static str,
    acts: &'static [Act],
    fate: Option<(AskKind, Fate)>,
    /// Stretches of lines, one after the other.
    newest: &'static [&'static [&'static str]],
    /// Where it differs.
    zed: Option<&'static [&'static [&'static str]]>,
}

/// A cold migration begins, on both.
const COLD: &[&str] = &[
    "RESIZE resize_prep h1 | pre-migrating",
    "RESIZE resize_prep h1 | pre-migrating>h2",
    "RESIZE resize_prep h1 | migrating>h2",
];
/// What it copied is on the destination.
const COPIED: &[&str] =
    &["RESIZE resize_migrating h1 | post-migrating>h2", "RESIZE resize_migrated h2 | post-migrating>h2"];
/// It waits for its confirm.
const WAITS: &[&str] = &["RESIZE resize_finish h2 | finished>h2", "VERIFY_RESIZE - h2 | finished>h2"];
/// Zed may not show `resize_finish`.
const WAITS_ZED: &[&str] = &["RESIZE resize_migrated h2 | finished>h2", "VERIFY_RESIZE - h2 | finished>h2"];
/// And has got it.
const CONFIRMED: &[&str] = &["VERIFY_RESIZE - h2 | confirming>h2", "VERIFY_RESIZE - h2 | confirmed>h2"];
/// A live migration, until it copies.
const LIVE: &[&str] = &[
    "MIGRATING migrating h1 | accepted",
    "MIGRATING migrating h1 | preparing>h2",
    "MIGRATING migrating h1 | running>h2",
];
/// The same on Zed.
const LIVE_ZED: &[&str] = &[
    "MIGRATING migrating h1 | accepted",
    "MIGRATING migrating h1 | accepted>h2",
    "MIGRATING migrating h1 | preparing>h2",
    "MIGRATING migrating h1 | running>h2",
];

const OBSERVED: &[Observed] = &[
    Observed {
        what: "a live migration",
        acts: &[Live],
        fate: None,
        newest: &[LIVE, &["ACTIVE - h2 | running>h2", "ACTIVE - h2 | completed>h2"]],
        zed: Some(&[LIVE_ZED, &["ACTIVE - h2 | running>h2", "ACTIVE - h2 | completed>h2"]]),
    },
    Observed {
        what: "one that fails halfway",
        acts: &[Live],
        fate: Some((AskKind::Live, Fate::Fails)),
        newest: &[LIVE, &["ACTIVE - h1 | failed>h2"]],
        zed: Some(&[LIVE_ZED, &["ACTIVE - h1 | failed>h2"]]),
    },
    Observed {
        what: "one that its destination refuses",
        acts: &[Live],
        fate: Some((AskKind::Live, Fate::PrecheckFails)),
        newest: &[&["MIGRATING migrating h1 | accepted", "MIGRATING migrating h1 | error", "ACTIVE - h1 | error"]],
        zed: None,
    },
    Observed {
        what: "one that fails while it is prepared",
        acts: &[Live],
        fate: Some((AskKind::Live, Fate::FailsPreparing)),
        newest: &[&[
            "MIGRATING migrating h1 | accepted",
            "MIGRATING migrating h1 | accepted>h2",
            "MIGRATING migrating h1 | preparing>h2",
            "MIGRATING migrating h1 | error>h2",
            "ACTIVE - h1 | failed>h2",
        ]],
        zed: Some(&[&[
            "MIGRATING migrating h1 | accepted",
            "MIGRATING migrating h1 | queued>h2",
            "MIGRATING migrating h1 | preparing>h2",
            "MIGRATING migrating h1 | error>h2",
            "MIGRATING migrating h1 | failed>h2",
            "ACTIVE - h1 | failed>h2",
        ]]),
    },
    Observed {
        what: "one that ends in ERROR on the source",
        acts: &[Live],
        fate: Some((AskKind::Live, Fate::ErrorsOnSource)),
        newest: &[LIVE, &["MIGRATING migrating h1 | error>h2", "ERROR - h1 | error>h2"]],
        zed: Some(&[LIVE_ZED, &["MIGRATING migrating h1 | error>h2", "ERROR - h1 | error>h2"]]),
    },
    Observed {
        what: "one that ends in ERROR on the destination",
        acts: &[Live],
        fate: Some((AskKind::Live, Fate::ErrorsOnDest)),
        newest: &[LIVE, &["ERROR - h2 | error>h2"]],
        zed: Some(&[&[
            "MIGRATING migrating h1 | accepted",
            "MIGRATING migrating h1 | queued>h2",
            "MIGRATING migrating h1 | preparing>h2",
            "MIGRATING migrating h1 | running>h2",
            "ERROR - h2 | running>h2",
            "ERROR - h2 | completed>h2",
        ]]),
    },
    Observed {
        what: "no host for a live migration",
        acts: &[Closed, Live],
        fate: None,
        newest: &[&["MIGRATING migrating h1 | accepted", "ACTIVE - h1 | error"]],
        zed: Some(&[&["MIGRATING migrating h1 | accepted", "MIGRATING migrating h1 | error", "ACTIVE - h1 | error"]]),
    },
    Observed {
        what: "no host for a cold migration",
        acts: &[Closed, Cold],
        fate: None,
        newest: &[&["RESIZE resize_prep h1 | pre-migrating", "RESIZE resize_prep h1 | error", "ACTIVE - h1 | error"]],
        zed: None,
    },
    Observed {
        what: "a cold migration and its confirm",
        acts: &[Cold, Verify, Confirm],
        fate: None,
        newest: &[COLD, COPIED, WAITS, CONFIRMED, &["ACTIVE - h2 | confirmed>h2"]],
        zed: Some(&[COLD, COPIED, WAITS_ZED, CONFIRMED, &["ACTIVE - h2 | confirmed>h2"]]),
    },
    Observed {
        what: "a cold migration and its revert",
        acts: &[Cold, Verify, Revert],
        fate: None,
        newest: &[
            COLD,
            COPIED,
            WAITS,
            &[
                "REVERT_RESIZE resize_reverting h2 | reverted>h2",
                "REVERT_RESIZE resize_reverting h1 | reverted>h2",
                "ACTIVE - h1 | reverted>h2",
            ],
        ],
        zed: Some(&[
            COLD,
            COPIED,
            WAITS_ZED,
            &[
                "REVERT_RESIZE resize_reverting h2 | reverted>h2",
                "REVERT_RESIZE resize_reverting h1 | reverted>h2",
                "ACTIVE - h1 | reverted>h2",
            ],
        ]),
    },
    Observed {
        what: "a cold migration that ends in ERROR on the source",
        acts: &[Cold],
        fate: Some((AskKind::Cold, Fate::ErrorsOnSource)),
        newest: &[
            COLD,
            &["RESIZE resize_migrating h1 | error>h2", "ERROR resize_migrating h1 | error>h2", "ERROR - h1 | error>h2"],
        ],
        zed: None,
    },
    Observed {
        what: "one that is rolled back",
        acts: &[Cold],
        fate: Some((AskKind::Cold, Fate::Fails)),
        newest: &[COLD, &["RESIZE resize_migrating h1 | error>h2", "ACTIVE - h1 | error>h2"]],
        zed: Some(&[&[
            "RESIZE resize_prep h1 | pre-migrating",
            "RESIZE resize_prep h1 | pre-migrating>h2",
            "RESIZE resize_prep h1 | error>h2",
            "ACTIVE - h1 | error>h2",
        ]]),
    },
    Observed {
        what: "a cold migration that ends in ERROR on the destination",
        acts: &[Cold],
        fate: Some((AskKind::Cold, Fate::ErrorsOnDest)),
        newest: &[
            COLD,
            COPIED,
            &[
                "RESIZE resize_finish h2 | post-migrating>h2",
                "ERROR resize_finish h2 | error>h2",
                "ERROR - h2 | error>h2",
            ],
        ],
        zed: Some(&[
            &["RESIZE resize_prep h1 | -"],
            COLD,
            COPIED,
            &[
                "RESIZE resize_finish h2 | post-migrating>h2",
                "ERROR resize_finish h2 | error>h2",
                "ERROR - h2 | error>h2",
            ],
        ]),
    },
    Observed {
        what: "a cold migration of a stopped one and its confirm",
        acts: &[Off, Cold, Verify, Confirm],
        fate: None,
        newest: &[COLD, COPIED, WAITS, CONFIRMED, &["SHUTOFF - h2 | confirmed>h2"]],
        zed: None,
    },
    Observed {
        what: "the source dies and comes back",
        acts: &[Live, Running, Kill("h1"), Pass(5), Return("h1")],
        fate: Some((AskKind::Live, Fate::Stalls)),
        newest: &[&["MIGRATING migrating h1 | running>h2", "ACTIVE - h1 | error>h2"]],
        zed: Some(&[&[
            "MIGRATING migrating h1 | running>h2",
            "MIGRATING migrating h1 | error>h2",
            "ACTIVE - h1 | error>h2",
        ]]),
    },
    Observed {
        what: "the destination dies and comes back",
        acts: &[Live, Running, Kill("h2"), Pass(80), Return("h2")],
        fate: None,
        newest: &[&["MIGRATING migrating h1 | running>h2", "ACTIVE - h2 | error>h2", "ERROR - h2 | error>h2"]],
        zed: Some(&[&[
            "MIGRATING migrating h1 | running>h2",
            "MIGRATING migrating h1 | completed>h2",
            "ACTIVE - h2 | completed>h2",
        ]]),
    },
    Observed {
        what: "a confirm while the source is dead",
        acts: &[Cold, Verify, Kill("h1"), Confirm, Pass(5), Return("h1")],
        fate: None,
        newest: &[&["VERIFY_RESIZE - h2 | confirming>h2", "ACTIVE - h2 | confirmed>h2"]],
        zed: None,
    },
    Observed {
        what: "a confirm while the source hangs",
        acts: &[Cold, Verify, Hang("h1"), Confirm, Pass(5), Return("h1")],
        fate: None,
        newest: &[CONFIRMED, &["ACTIVE - h2 | confirmed>h2"]],
        zed: None,
    },
    Observed {
        what: "a revert while the destination is dead",
        acts: &[Cold, Verify, Kill("h2"), Revert, Pass(5), Return("h2")],
        fate: None,
        newest: &[&["REVERT_RESIZE resize_reverting h2 | reverting>h2", "ACTIVE - h1 | reverted>h2"]],
        zed: None,
    },
    Observed {
        what: "deleted by its owner",
        acts: &[Live, Running, Delete],
        fate: Some((AskKind::Live, Fate::Stalls)),
        newest: &[&["ACTIVE deleting h1 | running>h2", "gone | running>h2", "gone | -"]],
        zed: None,
    },
    Observed {
        what: "an abort that is not obeyed",
        acts: &[Live, Running, Abort],
        fate: Some((AskKind::Abort, Fate::Ignored)),
        newest: &[&["MIGRATING migrating h1 | running>h2", "ACTIVE - h2 | running>h2", "ACTIVE - h2 | completed>h2"]],
        zed: None,
    },
    Observed {
        what: "stop",
        acts: &[Stop],
        fate: None,
        newest: &[&["ACTIVE powering-off h1 | -", "SHUTOFF - h1 | -"]],
        zed: None,
    },
    Observed {
        what: "start",
        acts: &[Off, Start],
        fate: None,
        newest: &[&["SHUTOFF powering-on h1 | -", "ACTIVE - h1 | -"]],
        zed: None,
    },
];

async fn until(sim: &Sim, what: impl Fn(&Sim) -> bool) {
    for _ in 0..4_000 {
        if what(sim) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came: {:?}", sim.migrations());
}

async fn act(sim: &Sim, act: Act) {
    let server = "s1".to_owned();
    let ask = match act {
        Live => live_to("s1", "h2"),
        Cold => Ask::ColdMigrate { server, host: Some("h2".to_owned()) },
        Confirm => confirm("s1"),
        Revert => Ask::RevertResize { server },
        Stop => stop("s1"),
        Start => Ask::Start { server },
        Abort => Ask::AbortMigration { server, migration_id: record(sim, "s1").id },
        Closed => disable("h2"),
        Off => return,
        Verify => return until(sim, |sim| row(sim, "s1").status == ServerStatus::VerifyResize).await,
        Running => {
            let runs = |sim: &Sim| sim.migrations().iter().any(|record| record.status == MigrationStatus::Running);
            return until(sim, runs).await;
        }
        Pass(seconds) => return pass(seconds).await,
        Delete => return sim.happen(Happening::Deletes { server }),
        Kill(host) => return sim.happen(Happening::ComputeDies { host: host.to_owned(), back_after_ms: None }),
        Hang(host) => return sim.happen(Happening::ComputeHangs { host: host.to_owned() }),
        Return(host) => return sim.happen(Happening::ComputeReturns { host: host.to_owned() }),
    };
    sim.ask(&ask).await.unwrap();
}

/// Row and newest record, at each change of either.
fn states(sim: &Sim) -> Vec<(String, String)> {
    let (mut row, mut record, mut states) = (String::new(), "-".to_owned(), Vec::new());
    sim.servers();
    for seen in sim.log().take() {
        match seen.what {
            What::Server(now) => {
                let (task, host) = (now.task_state.as_deref().unwrap_or("-"), now.host.as_deref().unwrap_or("-"));
                row = format!("{} {task} {host}", now.status);
            }
            What::ServerGone { .. } => {
                // its records go a moment later
                row = "gone".to_owned();
                states.push((row.clone(), record));
                record = "-".to_owned();
            }
            What::Migration(now) => {
                let dest = now.dest_host.map(|dest| format!(">{dest}")).unwrap_or_default();
                record = format!("{}{dest}", now.status);
            }
            _ => continue,
        }
        states.push((row.clone(), record.clone()));
    }
    states
}

#[tokio::test(start_paused = true)]
async fn what_two_real_novas_showed() {
    for observed in OBSERVED {
        for (minor, lines) in [(NEWEST, observed.newest), (93, observed.zed.unwrap_or(observed.newest))] {
            let lines = lines.concat();
            let off = observed.acts.contains(&Off);
            let one = if off { stopped("s1", "h1") } else { server("s1", "h1") };
            let mut it = scene(minor, &["h1", "h2", "h3"], vec![one]);
            let fate = observed.fate.map(|(ask, fate)| Scripted::Ask { ask, of: None, nth: 1, fate });
            it.faults.script = fate.into_iter().collect();
            let sim = start(it);
            for next in observed.acts {
                act(&sim, *next).await;
            }
            pass(90).await;
            let states = states(&sim);
            let mut from = 0;
            for line in &lines {
                let (row, record) = line.split_once(" | ").unwrap();
                let found = states.iter().skip(from).position(|state| state.0 == row).map(|steps| from + steps);
                let found = found.and_then(|at| Some(at + states.iter().skip(at).position(|state| state.1 == record)?));
                let told = || format!("{} at 2.{minor}: no `{line}` from {from} on in {states:#?}", observed.what);
                from = found.unwrap_or_else(|| panic!("{}", told()));
            }
            let (row, record) = lines[lines.len() - 1].split_once(" | ").unwrap();
            let last = states.last().unwrap();
            assert_eq!((last.0.as_str(), last.1.as_str()), (row, record), "{} at 2.{minor}", observed.what);
        }
    }
}

/// Three live migrations at once from one host, `max_concurrent_live_migrations` = 1.
#[tokio::test(start_paused = true)]
async fn three_at_once_as_two_real_novas_showed_them() {
    let newest: &[[&str; 3]] = &[
        ["accepted", "accepted", "accepted"],
        ["running", "queued", "queued"],
        ["completed", "preparing", "queued"],
        ["completed", "running", "queued"],
        ["completed", "completed", "running"],
        ["completed", "completed", "completed"],
    ];
    let zed = &[newest[..1].to_vec(), vec![["queued", "accepted", "accepted"]], newest[1..].to_vec()].concat();
    for (minor, seen) in [(NEWEST, newest), (93, zed)] {
        let mut it = scene(minor, &["h1", "h2"], ["a", "b", "c"].map(|id| server(id, "h1")).to_vec());
        // One after the other as the script that was seen asked, within a tenth of a second.
        it.habits.request_ms = [20, 30];
        let sim = start(it);
        for id in ["a", "b", "c"] {
            sim.ask(&live_to(id, "h2")).await.unwrap();
        }
        pass(90).await;
        sim.servers();
        let mut now = ["", "", ""].map(str::to_owned);
        let mut states = Vec::new();
        for entry in sim.log().take() {
            if let What::Migration(record) = entry.what {
                let index = ["a", "b", "c"].iter().position(|id| *id == record.server).unwrap();
                now[index] = record.status.to_string();
                states.push(now.clone());
            }
        }
        let mut left = seen.iter().peekable();
        for state in &states {
            if left.peek().is_some_and(|next| **next == [&state[0], &state[1], &state[2]]) {
                left.next();
            }
        }
        assert_eq!(left.next(), None, "2.{minor}: {states:#?}");
    }
}
