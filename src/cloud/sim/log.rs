//! The order of everything that happened in a rehearsal, in the cloud and beside it. Whoever judges a night reads this
//! and nothing else; so it holds what *was*, not what anybody could see.

use std::sync::{Arc, Mutex, PoisonError};

use crate::cloud::{Ask, ComputeService, Migration, MigrationQuery, Refusal, Server, ServerQuery};

/// A shared list of what happened, or nothing at all: cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct Log(Option<Arc<Mutex<Vec<Seen>>>>);

impl Log {
    pub fn recording() -> Self {
        Self(Some(Arc::default()))
    }

    /// Keeps nothing and costs nothing.
    pub fn off() -> Self {
        Self(None)
    }

    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Virtual milliseconds since the scene's epoch, and what happened then.
    pub fn push(&self, at_ms: u64, what: What) {
        if let Some(list) = &self.0 {
            list.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { at_ms, what });
        }
    }

    /// The same; the entry is made only when somebody records.
    pub fn push_with(&self, at_ms: u64, what: impl FnOnce() -> What) {
        if self.is_recording() {
            self.push(at_ms, what());
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.lock().unwrap_or_else(PoisonError::into_inner).len())
    }

    /// Puts an entry before those that came after the first `place`: a request before what it changed at once.
    pub(super) fn insert_with(&self, place: usize, at_ms: u64, what: impl FnOnce() -> What) {
        if let Some(list) = &self.0 {
            let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
            let place = place.min(list.len());
            list.insert(place, Seen { at_ms, what: what() });
        }
    }

    /// Everything so far, in the order it happened; the log begins anew.
    pub fn take(&self) -> Vec<Seen> {
        self.0
            .as_ref()
            .map_or_else(Vec::new, |list| std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Virtual milliseconds since the scene's epoch.
    pub at_ms: u64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A request of the run, at the moment Nova took it in, refused it, or it was lost on the way. `arrived`: Nova took
    /// it in or refused it itself, whether or not the answer came back.
    Asked {
        ask: Ask,
        arrived: bool,
        answer: Told,
    },
    /// A reading of the run, and whether it was answered.
    Read {
        what: Question,
        answered: bool,
    },
    /// A row as it is from now on: every change of the true state, whoever made it. A row is logged once at the start.
    Service(ComputeService),
    Server(Box<Server>),
    /// Deleted; its migration records went with it.
    ServerGone {
        id: String,
    },
    Migration(Migration),
    /// The guest itself executes or does not (downtime). Logged at each change; before the first, it executes exactly
    /// when its row's power state says so.
    Guest {
        server: String,
        running: bool,
    },
    /// Somebody else than this run did something: owner, admin, Nova itself (free text for people).
    Other {
        text: String,
    },
    /// Beside the cloud: a command began or ended on the operator's machine.
    Command {
        key: String,
        host: String,
        began: bool,
        exit_code: Option<i32>,
    },
    /// Beside the cloud: `killed`, `resumed`, `interrupted`, `ended`.
    Process {
        text: String,
    },
    /// Beside the cloud: so many of the run's events are on disk after this append.
    Durable {
        events: u64,
    },
}

/// What came back of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Accepted {
        request_id: Option<String>,
    },
    Refused {
        refusal: Refusal,
        message: String,
    },
    /// No answer, whatever became of the request.
    Lost,
    /// It never left for Nova: no connection, no token, or this release cannot do it.
    Unreachable,
}

/// What a reading asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    Inventory,
    Services { host: Option<String> },
    Servers(ServerQuery),
    Server { id: String },
    Migrations(MigrationQuery),
    LiveProgress { server: String },
    ActionFault { server: String, request_id: String },
}
