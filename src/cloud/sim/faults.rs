//! What goes wrong in a simulated cloud: by chance, each time there is an opportunity, and by script.

use serde::{Deserialize, Serialize};

/// Everything that may go wrong. A YAML file can be read into it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    pub chances: Chances,
    pub script: Vec<Scripted>,
}

impl Faults {
    /// Nothing goes wrong, and nobody else is at work.
    pub fn none() -> Self {
        Self::default()
    }

    /// A night as most are: some answers are lost, a migration in a hundred fails, owners go on with their lives.
    pub fn typical() -> Self {
        Self {
            chances: Chances {
                unreachable: 0.002,
                lost_before: 0.001,
                lost_after: 0.002,
                rate_limited: 0.002,
                slow: 0.01,
                outage: 0.000_3,
                stale: 0.002,
                live_precheck_fails: 0.01,
                live_fails: 0.005,
                live_stalls: 0.003,
                lags: 0.01,
                live_no_valid_host: 0.002,
                cold_rolls_back: 0.01,
                cold_errors: 0.002,
                late_arrival: 0.05,
                host_late: 0.02,
                others_per_hour: 4.0,
                ..Chances::default()
            },
            script: Vec::new(),
        }
    }

    /// A night in which everything that can go wrong does, somewhere.
    pub fn harsh() -> Self {
        Self {
            chances: Chances {
                unreachable: 0.02,
                unauthenticated: 0.000_5,
                garbled: 0.002,
                lost_before: 0.02,
                lost_after: 0.02,
                rate_limited: 0.01,
                slow: 0.05,
                outage: 0.002,
                stale: 0.02,
                live_precheck_fails: 0.05,
                live_no_valid_host: 0.02,
                live_fails: 0.03,
                live_errors: 0.01,
                live_stalls: 0.02,
                live_inverts: 0.002,
                lags: 0.05,
                abort_ignored: 0.2,
                cold_no_valid_host: 0.02,
                cold_rolls_back: 0.03,
                cold_errors: 0.02,
                confirm_errors: 0.01,
                power_ignored: 0.01,
                late_arrival: 0.3,
                compute_dies_per_hour: 0.02,
                compute_never_returns: 0.2,
                host_late: 0.1,
                host_never: 0.03,
                others_per_hour: 30.0,
            },
            script: Vec::new(),
        }
    }
}

/// Probabilities from 0 to 1, each for one opportunity, unless a field says otherwise. All 0 by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chances {
    /// A request or reading finds no connection: nothing was sent.
    pub unreachable: f64,
    /// A request or reading finds that Keystone takes its credentials no more.
    pub unauthenticated: f64,
    /// A reading is answered by something that is not Nova.
    pub garbled: f64,
    /// A request is lost before it arrives, and nobody can tell.
    pub lost_before: f64,
    /// A request arrives, and its answer is lost.
    pub lost_after: f64,
    /// A request is refused with 429 and left alone.
    pub rate_limited: f64,
    /// A request or reading takes seconds instead of milliseconds (`Habits::slow_ms`).
    pub slow: f64,
    /// A reading is the first of an outage of the API (`Habits::outage_ms`).
    pub outage: f64,
    /// A reading comes from a database replica that lags (`Habits::stale_ms`).
    pub stale: f64,
    /// A live migration that was accepted fails its pre-checks (below 2.34 it is refused with their words).
    pub live_precheck_fails: f64,
    /// The scheduler finds no host for a live migration although there is one: somebody else was faster.
    pub live_no_valid_host: f64,
    /// A live migration fails halfway; its server goes on running on the source.
    pub live_fails: f64,
    /// A live migration fails such that its server ends in ERROR.
    pub live_errors: f64,
    /// A live migration never converges: it ends only when it is aborted or its completion timeout is over.
    pub live_stalls: f64,
    /// A live migration whose record says `completed` while its server stays MIGRATING on the source for good, its guest
    /// on the destination: seen in the field, and for a person to untangle.
    pub live_inverts: f64,
    /// Row and record follow one another only after `Habits::lag_ms` instead of at once.
    pub lags: f64,
    /// The hypervisor does not obey an abort.
    pub abort_ignored: f64,
    /// The scheduler finds no host for a cold migration although there is one.
    pub cold_no_valid_host: f64,
    /// A cold migration fails in a way that Nova takes back: the server is on the source as before.
    pub cold_rolls_back: f64,
    /// A cold migration ends in ERROR, on the source or on the destination.
    pub cold_errors: f64,
    /// A confirm fails: the server ends in ERROR on the destination.
    pub confirm_errors: f64,
    /// A stop or start that was accepted comes to nothing: idle again, and as before.
    pub power_ignored: f64,
    /// A build scheduled before a host was disabled lands on it afterwards.
    pub late_arrival: f64,
    /// How often an hour the nova-compute of each host dies: a rate, not a probability.
    pub compute_dies_per_hour: f64,
    /// A nova-compute that died does not come back by itself.
    pub compute_never_returns: f64,
    /// A host that is rebooted needs many times as long as usual.
    pub host_late: f64,
    /// A host that is rebooted never comes back.
    pub host_never: f64,
    /// How often an hour somebody else does something anywhere in the cloud: a rate, not a probability.
    pub others_per_hour: f64,
}

/// One thing that is certain to happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scripted {
    /// The n-th request of this kind about this server or host (any, when none is named).
    Ask {
        ask: AskKind,
        /// Id or name of a server, or name of a host.
        #[serde(default)]
        of: Option<String>,
        /// From 1.
        #[serde(default = "first")]
        nth: u32,
        fate: Fate,
    },
    /// The n-th reading of this kind, and the following, `times` in all.
    Read {
        read: ReadKind,
        #[serde(default = "first")]
        nth: u32,
        #[serde(default = "first")]
        times: u32,
        fate: ReadFate,
    },
    /// So many virtual milliseconds after the scene's epoch.
    At { at_ms: u64, happens: Happening },
    /// So long after the n-th request of a kind arrived.
    After {
        ask: AskKind,
        #[serde(default)]
        of: Option<String>,
        #[serde(default = "first")]
        nth: u32,
        after_ms: u64,
        happens: Happening,
    },
}

fn first() -> u32 {
    1
}

/// Kinds of [`Ask`](crate::cloud::Ask).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskKind {
    Disable,
    Enable,
    Live,
    Cold,
    Confirm,
    Revert,
    Stop,
    Start,
    Abort,
}

/// Kinds of readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadKind {
    Any,
    Inventory,
    Services,
    Servers,
    Server,
    Migrations,
    LiveProgress,
    ActionFault,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Unreachable,
    Unauthenticated,
    LostBefore,
    LostAfter,
    /// Answered after `Habits::slow_ms`.
    Slow,
    RateLimited,
    Forbidden,
    /// 404 for a server, host or migration that is there.
    NotFound,
    Busy,
    WrongState,
    Locked,
    NoValidHost,
    HostDown,
    /// 400 with a text that is none of the others'.
    Refused,
    /// Accepted, and the scheduler finds no host (below the release's 202: refused).
    NoValidHostLate,
    /// Accepted, and the pre-checks fail (live; below 2.34: refused).
    PrecheckFails,
    /// Accepted, and fails halfway: live back on the source, cold rolled back.
    Fails,
    /// A live migration that is accepted, and fails while its destination prepares for it.
    FailsPreparing,
    /// Accepted, and ends in ERROR on the source.
    ErrorsOnSource,
    /// Accepted, and ends in ERROR on the destination.
    ErrorsOnDest,
    /// A live migration that never converges.
    Stalls,
    /// A live migration whose record is completed and whose server never follows.
    Inverts,
    /// A live migration that goes over to post-copy.
    PostCopy,
    /// An abort, stop or start that is accepted and comes to nothing.
    Ignored,
}

/// What becomes of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFate {
    Unreachable,
    Unauthenticated,
    Garbled,
    Slow,
    Stale,
    Forbidden,
}

/// Something that happens in the cloud by itself or by somebody else's hand. Servers by id or name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Happening {
    /// A nova-compute dies, its guests run on; it comes back after so long, or never.
    ComputeDies {
        host: String,
        #[serde(default)]
        back_after_ms: Option<u64>,
    },
    /// A nova-compute hangs: it neither reports nor does anything, and goes on where it was when it returns.
    ComputeHangs {
        host: String,
    },
    /// A nova-compute that died is started, or one that hangs goes on; one that runs is left alone.
    ComputeReturns {
        host: String,
    },
    /// A host loses power, its guests with it; it comes back after so long, or never.
    HostDies {
        host: String,
        #[serde(default)]
        back_after_ms: Option<u64>,
    },
    /// An admin disables a host, enables it, or forces it down or up.
    Disabled {
        host: String,
        reason: String,
    },
    Enabled {
        host: String,
    },
    ForcedDown {
        host: String,
        down: bool,
    },
    /// Owners.
    Stops {
        server: String,
    },
    Starts {
        server: String,
    },
    Deletes {
        server: String,
    },
    /// Resizes it (to the same flavor, elsewhere) and leaves it in VERIFY_RESIZE, for good or for so long.
    Resizes {
        server: String,
        #[serde(default)]
        confirm_after_ms: Option<u64>,
    },
    Pauses {
        server: String,
    },
    Locks {
        server: String,
    },
    /// Somebody else's live migration; to a chosen host or the scheduler's choice.
    Migrates {
        server: String,
        #[serde(default)]
        to: Option<String>,
    },
    /// A server like this one is built onto a host, enabled or not (it was scheduled before).
    Arrives {
        host: String,
        like: String,
    },
    /// The API answers nothing for so long: readings fail once their attempts are used up, requests are lost or find
    /// no connection.
    Outage {
        for_ms: u64,
    },
}
