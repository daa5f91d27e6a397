//! What the twins go through, as data: how a server begins, what the lab's driver and the simulator are told to do to
//! it, and who does what when. `play` carries it out on either, `compare` judges.
//!
//! Deliberately absent: what must come of it. Nova says that; the simulator has to agree.

use furlough::cloud::BlockMigration;
use furlough::cloud::sim::{AskKind, Fate};

/// One scenario.
#[derive(Debug, Clone)]
pub struct Script {
    pub name: &'static str,
    /// The newest microversion that is offered; none is Nova's own.
    pub version: Option<&'static str>,
    /// One for each server, all on the source.
    pub servers: &'static [Begins],
    /// The lab driver's knobs (`lab/labdriver.py`), of the first server only.
    pub knobs: &'static [(&'static str, &'static str)],
    /// What corresponds to them in the simulator: the fate of the first request of this kind about the first server.
    pub fate: Option<(AskKind, Fate)>,
    /// How long a live migration copies, on both.
    pub copy_s: u64,
    pub acts: Vec<(When, Act)>,
    /// False where the lab's driver has no guest to tell a power state of, and a hypervisor would.
    pub power: bool,
    /// States of the simulator that last and yet need not be seen: the beginning of the line, and why.
    pub may_miss: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    Active,
    Shutoff,
    Paused,
    Locked,
}

/// A host by its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Source,
    Dest,
    Other,
}

/// When the next act begins; the numbers are indexes of servers.
#[derive(Debug, Clone, Copy)]
pub enum When {
    Now,
    After(u64),
    /// The newest record has this status.
    Record(usize, &'static str),
    /// The server shows this status, and is idle.
    Idle(usize, &'static str),
    /// The server is not there any more.
    Gone(usize),
    /// Every server is gone, or idle with its newest record at an end.
    Settled,
    /// The host's service is seen as `up` or `down`.
    Service(Part, &'static str),
}

#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// A request about a server, and how it is answered.
    Ask(usize, Deed),
    /// A host is disabled with this reason; enabled.
    Disable(Part, &'static str),
    Enable(Part),
    /// What is read of a host's service.
    Service(Part),
    /// Every host but this one is disabled; every host; none.
    OnlyOpen(Part),
    AllClosed,
    AllOpen,
    // others, outside the API of the run
    /// The owner deletes a server.
    Delete(usize),
    /// A nova-compute is killed; started; stopped by a signal; and goes on.
    Kill(Part),
    Start(Part),
    Hang(Part),
    Resume(Part),
    Nothing,
}

#[derive(Debug, Clone, Copy)]
pub enum Deed {
    Live(To),
    LiveBlock(To, BlockMigration),
    Cold(To),
    Confirm,
    Revert,
    Stop,
    Start,
    /// The newest record; one that is not there.
    Abort,
    AbortUnknown,
}

#[derive(Debug, Clone, Copy)]
pub enum To {
    Any,
    Host(Part),
    Unknown,
}

const DEST: To = To::Host(Part::Dest);

fn script(name: &'static str, servers: &'static [Begins], acts: Vec<(When, Act)>) -> Script {
    Script { name, version: None, servers, knobs: &[], fate: None, copy_s: 2, acts, power: true, may_miss: &[] }
}

impl Script {
    /// The scheduler chooses a host at least once.
    pub fn chooses(&self) -> bool {
        let any = |deed| matches!(deed, Deed::Live(To::Any) | Deed::LiveBlock(To::Any, _) | Deed::Cold(To::Any));
        self.acts.iter().any(|(_, act)| matches!(act, Act::Ask(_, deed) if any(*deed)))
    }

    /// It closes hosts that others would need.
    pub fn closes(&self) -> bool {
        self.acts.iter().any(|(_, act)| matches!(act, Act::AllClosed | Act::OnlyOpen(_)))
    }

    /// About how long it takes on the lab, seconds.
    pub fn cost_s(&self) -> u64 {
        let of = |(when, act): &(When, Act)| {
            let waits = match when {
                When::After(ms) => ms / 1000,
                When::Service(..) => 15,
                When::Settled | When::Idle(..) => self.copy_s + 2,
                When::Now | When::Record(..) | When::Gone(_) => 0,
            };
            waits + if matches!(act, Act::Kill(_) | Act::Start(_)) { 5 } else { 0 }
        };
        6 + self.acts.iter().map(of).sum::<u64>() + self.servers.len() as u64 * self.copy_s
    }
}

const ONE: &[Begins] = &[Begins::Active];

fn live(then: Vec<(When, Act)>) -> Vec<(When, Act)> {
    [vec![(When::Now, Act::Ask(0, Deed::Live(DEST)))], then].concat()
}

fn cold(then: Vec<(When, Act)>) -> Vec<(When, Act)> {
    [vec![(When::Now, Act::Ask(0, Deed::Cold(DEST)))], then].concat()
}

/// Every scenario.
pub fn all() -> Vec<Script> {
    let older = older().into_iter().map(|(version, script)| Script { version: Some(version), ..script });
    newest().into_iter().chain(choosing()).chain(older).collect()
}

fn newest() -> Vec<Script> {
    use Act as A;
    use When as W;
    let (src, dst) = (Part::Source, Part::Dest);
    let ask = |deed| A::Ask(0, deed);
    let verify = W::Idle(0, "VERIFY_RESIZE");
    vec![
        Script {
            copy_s: 8,
            ..script(
                "the destination dies in mid-live",
                ONE,
                live(vec![
                    (W::Record(0, "running"), A::Kill(dst)),
                    // the source waits for rpc_response_timeout, 60 s
                    (W::After(80_000), A::Start(dst)),
                    (W::After(10_000), A::Nothing),
                ]),
            )
        },
        script(
            "nothing is moved off a host that is seen as down",
            &[Begins::Active, Begins::Active, Begins::Active],
            vec![
                (W::Now, A::Ask(0, Deed::Cold(DEST))),
                (verify, A::Kill(src)),
                (W::Service(src, "down"), A::Ask(0, Deed::Confirm)),
                (W::Now, A::Ask(1, Deed::Cold(DEST))),
                (W::Now, A::Ask(1, Deed::Live(DEST))),
                (W::Idle(1, "ACTIVE"), A::Service(src)),
                (W::Now, A::Ask(2, Deed::Stop)),
                (W::After(2_000), A::Start(src)),
                (W::Service(src, "up"), A::Ask(0, Deed::Confirm)),
            ],
        ),
        Script {
            knobs: &[("live_stuck", "1")],
            fate: Some((AskKind::Live, Fate::Stalls)),
            ..script(
                "the source dies in mid-live and comes back",
                ONE,
                live(vec![
                    (W::Record(0, "running"), A::Nothing),
                    (W::After(1_000), A::Kill(src)),
                    (W::After(1_000), A::Ask(0, Deed::Abort)),
                    (W::After(1_000), A::Start(src)),
                    // the abort reaches it once it serves again
                    (W::Settled, A::Nothing),
                    (W::After(8_000), A::Nothing),
                ]),
            )
        },
        script(
            "confirmed while the source is dead",
            ONE,
            cold(vec![
                (verify, A::Kill(src)),
                (W::After(500), ask(Deed::Confirm)),
                (W::After(500), ask(Deed::Confirm)),
                (W::After(500), A::Start(src)),
            ]),
        ),
        script(
            "reverted while the destination is dead",
            ONE,
            cold(vec![(verify, A::Kill(dst)), (W::After(500), ask(Deed::Revert)), (W::After(1_000), A::Start(dst))]),
        ),
        script(
            "confirmed while the source hangs",
            ONE,
            cold(vec![(verify, A::Hang(src)), (W::After(300), ask(Deed::Confirm)), (W::After(2_000), A::Resume(src))]),
        ),
        Script {
            copy_s: 3,
            ..script(
                "the source hangs in mid-live",
                ONE,
                live(vec![
                    (W::Record(0, "running"), A::Nothing),
                    (W::After(500), A::Hang(src)),
                    (W::After(5_000), A::Resume(src)),
                ]),
            )
        },
        script(
            "stopped while its host hangs",
            ONE,
            vec![
                (W::Now, A::Hang(src)),
                (W::After(300), ask(Deed::Stop)),
                (W::After(2_000), A::Resume(src)),
                (W::Settled, ask(Deed::Start)),
            ],
        ),
        Script {
            copy_s: 4,
            ..script(
                "three from one host, which has one slot",
                &[Begins::Active, Begins::Active, Begins::Active],
                vec![
                    (W::Now, A::Ask(0, Deed::Live(DEST))),
                    // who comes first of several at once is chance on either
                    (W::Record(0, "running"), A::Ask(1, Deed::Live(DEST))),
                    (W::Record(1, "queued"), A::Ask(2, Deed::Live(DEST))),
                ],
            )
        },
        Script {
            knobs: &[("live_stuck", "1")],
            fate: Some((AskKind::Live, Fate::Stalls)),
            ..script(
                "a queued one is withdrawn, then the one before it",
                &[Begins::Active, Begins::Active],
                vec![
                    (W::Now, A::Ask(0, Deed::Live(DEST))),
                    (W::Record(0, "running"), A::Ask(1, Deed::Live(DEST))),
                    (W::Record(1, "queued"), A::Nothing),
                    (W::After(1_000), A::Ask(1, Deed::Abort)),
                    (W::Record(1, "cancelled"), A::Ask(0, Deed::Abort)),
                ],
            )
        },
        script("live", ONE, live(vec![])),
        script("live of a paused one", &[Begins::Paused], live(vec![])),
        script("live of a locked one", &[Begins::Locked], live(vec![])),
        Script {
            knobs: &[("live_fail", "check_dest")],
            fate: Some((AskKind::Live, Fate::PrecheckFails)),
            ..script("live refused by the destination after the 202", ONE, live(vec![]))
        },
        Script {
            knobs: &[("live_fail", "check_source")],
            fate: Some((AskKind::Live, Fate::PrecheckFails)),
            ..script("live refused by the source after the 202", ONE, live(vec![]))
        },
        script(
            "live and cold to a disabled host",
            ONE,
            vec![
                (W::Now, A::Disable(dst, "twins: broken fan")),
                (W::Now, A::Service(dst)),
                (W::Now, ask(Deed::Live(DEST))),
                (W::Settled, ask(Deed::Cold(DEST))),
                (W::Settled, A::Enable(dst)),
                (W::Now, A::Service(dst)),
            ],
        ),
        Script {
            knobs: &[("live_fail", "during")],
            fate: Some((AskKind::Live, Fate::Fails)),
            ..script("live that fails halfway", ONE, live(vec![]))
        },
        Script {
            knobs: &[("live_fail", "pre")],
            fate: Some((AskKind::Live, Fate::FailsPreparing)),
            ..script("live that fails while it is prepared", ONE, live(vec![]))
        },
        Script {
            knobs: &[("live_fail", "error")],
            fate: Some((AskKind::Live, Fate::ErrorsOnSource)),
            ..script("live that ends in ERROR on the source", ONE, live(vec![(W::Settled, ask(Deed::Stop))]))
        },
        Script {
            knobs: &[("live_fail", "post_dest")],
            power: false,
            fate: Some((AskKind::Live, Fate::ErrorsOnDest)),
            ..script("live that ends in ERROR on the destination", ONE, live(vec![(W::Settled, ask(Deed::Live(DEST)))]))
        },
        Script {
            knobs: &[("live_stuck", "1")],
            fate: Some((AskKind::Live, Fate::Stalls)),
            ..script(
                "live that is stuck, then aborted",
                ONE,
                live(vec![
                    (W::Record(0, "running"), A::Nothing),
                    (W::After(3_000), ask(Deed::AbortUnknown)),
                    (W::Now, ask(Deed::Abort)),
                    (W::Settled, ask(Deed::Abort)),
                ]),
            )
        },
        Script {
            knobs: &[("live_ignore_abort", "1")],
            fate: Some((AskKind::Abort, Fate::Ignored)),
            copy_s: 4,
            ..script(
                "an abort that the hypervisor does not obey",
                ONE,
                live(vec![(W::Record(0, "running"), ask(Deed::Abort))]),
            )
        },
        Script {
            knobs: &[("live_stuck", "1")],
            fate: Some((AskKind::Live, Fate::Stalls)),
            ..script(
                "deleted in mid-live",
                ONE,
                live(vec![
                    (W::Record(0, "running"), A::Nothing),
                    (W::After(1_000), A::Delete(0)),
                    (W::Gone(0), A::Nothing),
                ]),
            )
        },
        Script {
            copy_s: 4,
            ..script(
                "others while one is under way",
                ONE,
                live(vec![
                    (W::Record(0, "running"), ask(Deed::Live(DEST))),
                    (W::Now, ask(Deed::Cold(DEST))),
                    (W::Now, ask(Deed::Stop)),
                    (W::Now, ask(Deed::Confirm)),
                    (W::Now, ask(Deed::Start)),
                ]),
            )
        },
        script(
            "cold and its confirm",
            ONE,
            cold(vec![
                (verify, ask(Deed::Live(DEST))),
                (W::Now, ask(Deed::Cold(DEST))),
                (W::Now, ask(Deed::Stop)),
                (W::Now, ask(Deed::Confirm)),
                // by somebody else, who was not the first
                (W::Now, ask(Deed::Confirm)),
                (W::Settled, ask(Deed::Confirm)),
            ]),
        ),
        script("cold and its revert", ONE, cold(vec![(verify, ask(Deed::Revert)), (W::Settled, ask(Deed::Revert))])),
        script("cold of a stopped one", &[Begins::Shutoff], cold(vec![(verify, ask(Deed::Confirm))])),
        script("cold of a stopped one, reverted", &[Begins::Shutoff], cold(vec![(verify, ask(Deed::Revert))])),
        script("deleted in VERIFY_RESIZE", ONE, cold(vec![(verify, A::Delete(0)), (W::Gone(0), A::Nothing)])),
        Script {
            knobs: &[("cold_fail", "source")],
            fate: Some((AskKind::Cold, Fate::ErrorsOnSource)),
            ..script("cold that ends in ERROR on the source", ONE, cold(vec![]))
        },
        Script {
            knobs: &[("cold_fail", "rollback")],
            fate: Some((AskKind::Cold, Fate::Fails)),
            ..script("cold that is rolled back", ONE, cold(vec![]))
        },
        Script {
            knobs: &[("cold_fail", "dest")],
            fate: Some((AskKind::Cold, Fate::ErrorsOnDest)),
            ..script("cold that ends in ERROR on the destination", ONE, cold(vec![]))
        },
        Script {
            knobs: &[("confirm_fail", "1")],
            fate: Some((AskKind::Confirm, Fate::Fails)),
            ..script("a confirm that fails", ONE, cold(vec![(verify, ask(Deed::Confirm))]))
        },
        script(
            "stop and start",
            ONE,
            vec![
                (W::Now, ask(Deed::Start)),
                (W::Now, ask(Deed::Stop)),
                (W::Settled, ask(Deed::Stop)),
                (W::Now, ask(Deed::Start)),
            ],
        ),
        Script {
            knobs: &[("power_off_fail", "1")],
            fate: Some((AskKind::Stop, Fate::Ignored)),
            ..script("a stop that comes to nothing", ONE, vec![(W::Now, ask(Deed::Stop))])
        },
        script(
            "refused at once",
            &[Begins::Active, Begins::Shutoff, Begins::Paused],
            vec![
                (W::Now, ask(Deed::Live(To::Unknown))),
                (W::Now, ask(Deed::Cold(To::Unknown))),
                (W::Now, ask(Deed::Cold(To::Host(src)))),
                (W::Now, ask(Deed::Confirm)),
                (W::Now, ask(Deed::Revert)),
                (W::Now, ask(Deed::AbortUnknown)),
                (W::Now, A::Ask(1, Deed::Live(DEST))),
                (W::Now, A::Ask(1, Deed::Stop)),
                (W::Now, A::Ask(2, Deed::Cold(DEST))),
                (W::Now, A::Ask(2, Deed::Stop)),
                (W::Now, A::Ask(2, Deed::Start)),
                (W::Now, ask(Deed::Live(To::Host(src)))),
            ],
        ),
    ]
}

/// What needs every host.
fn choosing() -> Vec<Script> {
    use When as W;
    let any = |deed| Act::Ask(0, deed);
    vec![script(
        "a disabled host is never chosen",
        ONE,
        vec![
            (W::Now, Act::OnlyOpen(Part::Other)),
            (W::Now, any(Deed::Live(To::Any))),
            (W::Settled, Act::AllClosed),
            (W::Now, any(Deed::Live(To::Any))),
            (W::Settled, any(Deed::Cold(To::Any))),
            (W::Settled, Act::AllOpen),
        ],
    )]
}

/// At older microversions; the microversion, and what it goes through.
fn older() -> Vec<(&'static str, Script)> {
    use Act as A;
    use When as W;
    let any = Deed::LiveBlock(To::Any, BlockMigration::Always);
    let ask = |deed| A::Ask(0, deed);
    vec![
        ("2.12", script("live at 2.12", ONE, vec![(W::Now, ask(any))])),
        (
            "2.12",
            Script {
                knobs: &[("live_fail", "check_dest")],
                fate: Some((AskKind::Live, Fate::PrecheckFails)),
                ..script("live refused by every destination at 2.12", ONE, vec![(W::Now, ask(any))])
            },
        ),
        (
            "2.12",
            script(
                "cold and its confirm at 2.12",
                ONE,
                vec![(W::Now, ask(Deed::Cold(To::Any))), (W::Idle(0, "VERIFY_RESIZE"), ask(Deed::Confirm))],
            ),
        ),
        (
            "2.12",
            script(
                "what 2.12 cannot do",
                ONE,
                vec![
                    (W::Now, ask(Deed::Live(DEST))),
                    (W::Now, ask(Deed::Cold(DEST))),
                    (W::Now, ask(Deed::AbortUnknown)),
                    (W::Now, A::Disable(Part::Dest, "twins: 2.12")),
                    (W::Now, A::Service(Part::Dest)),
                    (W::Now, A::Enable(Part::Dest)),
                    (W::Now, A::Service(Part::Dest)),
                ],
            ),
        ),
        (
            "2.33",
            Script {
                knobs: &[("live_fail", "check_dest")],
                fate: Some((AskKind::Live, Fate::PrecheckFails)),
                ..script("live refused by its destination at 2.33", ONE, live(vec![]))
            },
        ),
        (
            "2.33",
            script(
                "live to a disabled host at 2.33",
                ONE,
                vec![
                    (W::Now, A::Disable(Part::Dest, "twins: 2.33")),
                    (W::Now, ask(Deed::Live(DEST))),
                    (W::Settled, A::Enable(Part::Dest)),
                ],
            ),
        ),
        (
            "2.64",
            Script {
                knobs: &[("live_stuck", "1")],
                fate: Some((AskKind::Live, Fate::Stalls)),
                ..script(
                    "a queued one cannot be withdrawn at 2.64",
                    &[Begins::Active, Begins::Active],
                    vec![
                        (W::Now, A::Ask(0, Deed::Live(DEST))),
                        (W::Record(0, "running"), A::Ask(1, Deed::Live(DEST))),
                        (W::Record(1, "queued"), A::Ask(1, Deed::Abort)),
                        (W::Now, A::Ask(0, Deed::Abort)),
                    ],
                )
            },
        ),
    ]
}
