//! The kinds of steps, one file each. Every kind answers five questions: is it done already, what must be remembered
//! before acting, what is asked, what came of it, what undoes it.
//!
//! Deliberately absent: when a step may start, the journal, retries. A kind neither records nor waits by itself; the task
//! that carries it does.

mod cold;
mod command;
mod disable;
mod empty;
mod enable;
mod list;
mod live;
mod moving;
mod power;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::Instant;

use super::clock::Clock;
use super::commands::{CommandError, Commands};
use super::watch::{Want, Watch};
use crate::cloud::{Accepted, Cloud, CloudError, Server};
use crate::compile::{HostPlan, Step, StepKind};
use crate::event::{Answer, Done, Intent, Outcome, RunId};
use crate::plan::{Plan, Rung};

pub use moving::own_migration;

/// What a step's task has at hand.
pub struct Context {
    pub cloud: Arc<dyn Cloud>,
    pub watch: Arc<Watch>,
    pub commands: Arc<dyn Commands>,
    pub clock: Clock,
    pub run: RunId,
    pub plan: Arc<Plan>,
    pub step: Step,
    pub attempt: u32,
    pub host: Option<HostPlan>,
    /// When this run read the host back as disabled.
    pub disabled_at: Option<Timestamp>,
    /// What this run's disable of the host remembered.
    pub disabled: Option<Intent>,
    /// What this run's stop of the server remembered.
    pub stopped: Option<Intent>,
    /// The graph only gives this host back: it was another run that disabled it and stopped servers there.
    pub only_gives_back: bool,
    /// Servers that may be on the host when it is called empty, in any state.
    pub may_stay: BTreeSet<String>,
    /// Servers that this run stopped on the host: they may be there as long as they are off.
    pub stopped_here: BTreeSet<String>,
    /// How often each server was planned to leave the host, over all graphs of the run.
    pub moved: BTreeMap<String, u32>,
    /// Where commands run: the plan file's folder.
    pub folder: PathBuf,
    /// Set once the operator wants nothing new to be started.
    pub interrupted: tokio::sync::watch::Receiver<bool>,
}

impl Context {
    pub fn interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }
}

/// A request that was made, or may have been.
#[derive(Debug, Clone)]
pub struct Asked {
    pub intent: Intent,
    /// `None` when this process took it over from one that died before the answer was recorded.
    pub answer: Option<Answer>,
    /// When it was answered, or taken over: only what is read after that may be judged.
    pub at: Instant,
}

impl Asked {
    pub fn since_s(&self) -> u64 {
        self.at.elapsed().as_secs()
    }

    pub fn request_id(&self) -> Option<&str> {
        match &self.answer {
            Some(Answer::Accepted { request_id }) => request_id.as_deref(),
            _ => None,
        }
    }

    pub fn accepted(&self) -> bool {
        matches!(self.answer, Some(Answer::Accepted { .. }))
    }
}

/// What a look at a step's subject says.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing certain yet; look again after the next reading.
    Wait(Want),
    /// Nothing certain yet; look again after this many milliseconds.
    Pause(u64),
    /// The next request of the same attempt.
    Then(Intent),
    Settled(Outcome),
    /// Servers that no graph of this run holds. They become a child graph; then this is the outcome.
    Found {
        servers: Vec<Server>,
        then: Outcome,
    },
}

/// What has to be remembered before acting.
#[derive(Debug, Clone, PartialEq)]
pub enum Intended {
    /// Remember this, then ask.
    Ask(Intent),
    /// The step only looks: nothing is asked.
    Look,
    /// It cannot be asked as things stand.
    Settled(Outcome),
}

/// What compensates a step, from what its intent remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// It changed nothing.
    Nothing,
    /// This request takes it back.
    Ask(Intent),
    /// The server is moved back to this host by a migration of its own.
    MoveBack { server: String, to: String },
    /// It cannot be taken back, and why.
    Irrevocable(&'static str),
}

/// Why a step could not even look.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("the journal holds an intent that this step never makes: {0}; the journal is damaged")]
    Intent(String),
    #[error("{0}")]
    Facts(String),
}

fn unexpected(intent: &Intent) -> Trouble {
    Trouble::Intent(format!("{intent:?}"))
}

/// A kind of step. What is not said here is the answer of one that only looks.
#[async_trait]
pub trait Kind: Send {
    /// The wanted state is there: the step is done, and nothing is asked.
    async fn already(&mut self, _cx: &Context) -> Result<Option<Done>, Trouble> {
        Ok(None)
    }

    async fn intend(&mut self, _cx: &Context) -> Result<Intended, Trouble> {
        Ok(Intended::Look)
    }

    /// The one request.
    async fn act(&mut self, _cx: &Context, intent: &Intent) -> Result<Accepted, Trouble> {
        Err(unexpected(intent))
    }

    /// What a refusal of this request means; `None` when only looking can tell.
    fn refused(&self, _intent: &Intent, _trouble: &Trouble) -> Option<Outcome> {
        None
    }

    /// One look at what came of it. `asked` is absent for a step that only looks.
    async fn settle(&mut self, cx: &Context, asked: Option<&Asked>) -> Result<Verdict, Trouble>;

    /// What takes back the request with this intent, once it took effect.
    fn undo(&self, _intent: &Intent) -> Undo {
        Undo::Nothing
    }
}

/// The kind that carries out this step, by this rung of its ladder if it has one.
pub fn kind_of(step: &Step, rung: Option<Rung>) -> Box<dyn Kind> {
    match &step.kind {
        StepKind::Disable => Box::new(disable::Disable::default()),
        StepKind::List => Box::new(list::List),
        StepKind::Move { server, .. } => match rung {
            Some(Rung::Live) => Box::new(live::Live::new(server)),
            Some(Rung::Cold) => Box::new(cold::Cold::new(server)),
            Some(Rung::Stop) => Box::new(power::Stop::new(server)),
            Some(Rung::Leave) | None => Box::new(power::Leave),
        },
        StepKind::Empty => Box::new(empty::Empty::default()),
        StepKind::Command { argv, timeout_s, .. } => Box::new(command::Run::new(argv, *timeout_s)),
        StepKind::Wait { until, timeout_s, .. } => Box::new(wait::Wait::new(until, *timeout_s)),
        StepKind::Start { server } => Box::new(power::Start::new(server)),
        StepKind::Enable => Box::new(enable::Enable::default()),
    }
}

/// The one request of most kinds: what the intent says, asked of the cloud.
async fn ask(cx: &Context, ask: crate::cloud::Ask) -> Result<Accepted, Trouble> {
    Ok(cx.cloud.ask(&ask).await?)
}
