//! The life of one attempt at a step: already? intend, record, ask, record, look until it is settled, record. The same
//! for every kind; what differs is in `steps/`.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::steps::{self, Asked, Context, Intended, Kind, Trouble, Verdict};
use super::watch::{Following, Want};
use crate::cloud::{CloudErrorKind, Inventory, MigrationKind, MigrationStatus, Refusal, Server};
use crate::compile::StepKind;
use crate::event::{Answer, EventKind, Intent, Outcome, Progress};
use crate::plan::Rung;

/// How long a cloud that does not answer is asked again before the step is given up.
const CLOUD_PATIENCE: Duration = Duration::from_secs(3600);
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What a task tells the driver.
pub(super) enum Message {
    /// Make this durable, then answer. An error means that nothing new may be asked.
    Record {
        kind: EventKind,
        done: oneshot::Sender<Result<(), Stopped>>,
    },
    /// Servers that no graph holds: make them one. Answers the outcome that stands in its way, if one does.
    Extend {
        host: String,
        servers: Vec<Server>,
        inventory: Box<Inventory>,
        done: oneshot::Sender<Option<Outcome>>,
    },
    Progress(Progress),
}

/// The driver takes no more events: the journal failed, or it is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopped;

pub(super) struct Task {
    pub cx: Context,
    pub rung: Option<Rung>,
    /// A request that an earlier process intended: looked at, not asked again.
    pub adopt: Option<Asked>,
    pub out: mpsc::Sender<Message>,
    /// The record of this attempt's migration, as far as it was told.
    pub told: Told,
}

/// What the driver was told of the migration this attempt made.
#[derive(Default)]
pub(super) struct Told {
    pub made: Option<Intent>,
    pub migration_id: Option<u64>,
    pub to: bool,
    pub released: bool,
}

impl Task {
    /// Runs until the attempt is settled, or nothing new may be started.
    pub(super) async fn run(mut self) {
        // Stopped means that the driver knows: there is nobody left to tell.
        let _stopped = self.attempt().await;
    }

    async fn attempt(&mut self) -> Result<(), Stopped> {
        let mut kind = steps::kind_of(&self.cx.step, self.rung);
        let server = match &self.cx.step.kind {
            StepKind::Move { server, .. } | StepKind::Start { server } => Some(server.clone()),
            _ => None,
        };
        let _following: Option<Following> =
            server.as_ref().map(|server| self.cx.watch.follow(server, &self.cx.step.host));
        if let Some(server) = &server {
            self.cx.watch.bind(server, self.told.migration_id);
        }
        let asked = match self.adopt.take() {
            Some(asked) => match self.take_over(asked, server.as_deref()).await? {
                Some(asked) => Some(asked),
                None => return Ok(()),
            },
            None => match self.begin(kind.as_mut()).await? {
                Begun::Over => return Ok(()),
                Begun::Look => None,
                Begun::Ask(intent) => match self.ask(kind.as_mut(), intent).await? {
                    Some(asked) => Some(asked),
                    None => return Ok(()),
                },
            },
        };
        self.watch_it(kind.as_mut(), asked, server.as_deref()).await
    }

    /// Records that an answer was lost with the process that waited for it, and reads what the step is about. `None`
    /// when the cloud did not let itself be read, which settled the attempt.
    async fn take_over(&self, mut asked: Asked, server: Option<&str>) -> Result<Option<Asked>, Stopped> {
        if asked.answer.is_none() {
            let answer = Answer::Lost { cause: "the process that asked ended before it was recorded".to_owned() };
            let (step, attempt) = (self.cx.step.id.clone(), self.cx.attempt);
            self.record(EventKind::StepAnswered { step, attempt, answer: answer.clone() }).await?;
            asked.answer = Some(answer);
        }
        let Some(server) = server else { return Ok(Some(asked)) };
        let mut retry = Retry::new();
        while let Err(error) = self.cx.watch.adopt(server).await {
            if !retry.pause(self, &error.to_string(), true).await? {
                self.settled(gave_up(&Trouble::Cloud(error), true)).await?;
                return Ok(None);
            }
        }
        Ok(Some(asked))
    }

    async fn begin(&self, kind: &mut dyn Kind) -> Result<Begun, Stopped> {
        let mut retry = Retry::new();
        loop {
            if self.cx.interrupted() {
                return Ok(Begun::Over);
            }
            let begun = match kind.already(&self.cx).await {
                Ok(Some(done)) => Ok(Intended::Settled(Outcome::Done(done))),
                Ok(None) => kind.intend(&self.cx).await,
                Err(trouble) => Err(trouble),
            };
            match begun {
                Ok(Intended::Ask(intent)) => return Ok(Begun::Ask(intent)),
                Ok(Intended::Look) => return Ok(Begun::Look),
                Ok(Intended::Settled(outcome)) => {
                    self.settled(outcome).await?;
                    return Ok(Begun::Over);
                }
                Err(trouble) => {
                    if is_final(&trouble) || !retry.pause(self, &trouble.to_string(), false).await? {
                        // Nothing was asked: a run that is stopped leaves it to the one that goes on.
                        if !is_final(&trouble) && self.cx.interrupted() {
                            return Ok(Begun::Over);
                        }
                        self.settled(gave_up(&trouble, false)).await?;
                        return Ok(Begun::Over);
                    }
                }
            }
        }
    }

    /// Records the intent, asks, records the answer. `None` when that settled the attempt.
    async fn ask(&mut self, kind: &mut dyn Kind, intent: Intent) -> Result<Option<Asked>, Stopped> {
        if self.cx.interrupted() && !finishes(&intent) {
            return Ok(None);
        }
        let (step, attempt) = (self.cx.step.id.clone(), self.cx.attempt);
        self.record(EventKind::StepIntended { step: step.clone(), attempt, intent: intent.clone() }).await?;
        if matches!(intent, Intent::Live { .. } | Intent::Cold { .. }) {
            self.told = Told { made: Some(intent.clone()), ..Told::default() };
        }
        let answered = kind.act(&self.cx, &intent).await;
        #[cfg(test)]
        let answered =
            if crate::run::sabotage::sends_again(&answered) { kind.act(&self.cx, &intent).await } else { answered };
        let at = Instant::now();
        let (answer, refusal) = match answered {
            Ok(accepted) => (Answer::Accepted { request_id: accepted.request_id }, None),
            Err(Trouble::Cloud(error)) if error.is_lost() => (Answer::Lost { cause: error.to_string() }, None),
            Err(trouble) => {
                let refusal = match &trouble {
                    Trouble::Cloud(error) => error.refusal(),
                    _ => None,
                };
                (Answer::Refused { message: trouble.to_string(), refusal }, kind.refused(&intent, &trouble))
            }
        };
        self.record(EventKind::StepAnswered { step, attempt, answer: answer.clone() }).await?;
        if let Some(outcome) = refusal {
            self.settled(outcome).await?;
            return Ok(None);
        }
        Ok(Some(Asked { intent, answer: Some(answer), at }))
    }

    async fn watch_it(
        &mut self,
        kind: &mut dyn Kind,
        mut asked: Option<Asked>,
        server: Option<&str>,
    ) -> Result<(), Stopped> {
        let mut retry = Retry::new();
        loop {
            if asked.is_none() && self.cx.interrupted() {
                return Ok(());
            }
            if let (Some(asked), Some(server)) = (&asked, server)
                && self.records_are_older(asked)
            {
                self.cx.watch.next(server, Want::Migration).await;
                continue;
            }
            let verdict = match kind.settle(&self.cx, asked.as_ref()).await {
                Ok(verdict) => verdict,
                Err(trouble) => {
                    if is_final(&trouble) || !retry.pause(self, &trouble.to_string(), asked.is_some()).await? {
                        if !is_final(&trouble) && asked.is_none() && self.cx.interrupted() {
                            return Ok(());
                        }
                        return self.settled(gave_up(&trouble, asked.is_some())).await;
                    }
                    continue;
                }
            };
            retry = Retry::new();
            if let Some(server) = server {
                self.tell(server).await?;
            }
            match verdict {
                Verdict::Settled(outcome) => return self.settled(outcome).await,
                Verdict::Found { servers, then } => return self.found(servers, then).await,
                Verdict::Then(intent) => match self.ask(kind, intent).await? {
                    Some(next) => asked = Some(next),
                    None => return Ok(()),
                },
                Verdict::Wait(want) => {
                    let mut interrupted = self.cx.interrupted.clone();
                    let was = self.cx.interrupted();
                    tokio::select! {
                        biased;
                        () = self.cx.watch.next(server.unwrap_or_default(), want) => {}
                        // Once only: a run that is stopped already waits for readings like any other.
                        _ = interrupted.changed(), if !was => {
                            // What waited in nova's queue at the last reading may be copied by now.
                            self.cx.watch.hurry();
                            self.cx.watch.next(server.unwrap_or_default(), want).await;
                        }
                    }
                }
                Verdict::Pause(pause_ms) => {
                    let mut interrupted = self.cx.interrupted.clone();
                    let was = self.cx.interrupted();
                    tokio::select! {
                        biased;
                        () = self.cx.clock.sleep(Duration::from_millis(pause_ms)) => {}
                        _ = interrupted.changed(), if !was => {}
                    }
                }
            }
        }
    }

    /// No records were read since the move was answered. Below 2.25 a move may take two requests, of which the first
    /// leaves a failed record: without the second one's it would be taken for the end of the move.
    fn records_are_older(&self, asked: &Asked) -> bool {
        let a_move = matches!(asked.intent, Intent::Live { .. } | Intent::Cold { .. });
        a_move && self.cx.watch.migrations_as_of().is_some_and(|as_of| as_of < asked.at)
    }

    /// Tells which record the move has, where it goes, and when its slot is free; and how far it is.
    async fn tell(&mut self, server: &str) -> Result<(), Stopped> {
        let seen = self.cx.watch.seen(server);
        #[cfg(test)]
        if crate::run::Sabotage::TellsTheRow.is_on() {
            self.record(EventKind::Noted { step: None, text: format!("{:?}", seen.server) }).await?;
        }
        let record = match &self.told.made {
            Some(Intent::Live { server, newest_migration, .. }) => {
                steps::own_migration(&seen, server, *newest_migration, &MigrationKind::Live)
            }
            Some(Intent::Cold { server, newest_migration, .. }) => {
                steps::own_migration(&seen, server, *newest_migration, &MigrationKind::Cold)
            }
            Some(Intent::Confirm { migration_id, .. } | Intent::Abort { migration_id, .. }) => {
                steps::record(&seen, *migration_id)
            }
            _ => None,
        };
        let Some(record) = record.cloned() else { return Ok(()) };
        let (step, attempt) = (self.cx.step.id.clone(), self.cx.attempt);
        let news = self.told.migration_id != Some(record.id) || (record.dest_host.is_some() && !self.told.to);
        if news {
            self.told.migration_id = Some(record.id);
            self.cx.watch.bind(server, Some(record.id));
            self.told.to = record.dest_host.is_some();
            let (migration_id, to) = (record.id, record.dest_host.clone());
            self.record(EventKind::MoveSeen { step: step.clone(), attempt, migration_id, to }).await?;
        }
        let free = record.status.is_terminal() || record.status == MigrationStatus::Finished;
        if free && !self.told.released {
            self.told.released = true;
            self.record(EventKind::MoveReleased { step: step.clone(), attempt }).await?;
        }
        let progress = seen.progress.filter(|progress| progress.migration_id == record.id);
        let update = Progress {
            step,
            server: server.to_owned(),
            server_name: seen.server.map(|row| row.name.clone()).unwrap_or_default(),
            status: record.status.to_string(),
            memory_total_bytes: progress.as_ref().and_then(|progress| progress.memory_total_bytes),
            memory_remaining_bytes: progress.as_ref().and_then(|progress| progress.memory_remaining_bytes),
            disk_total_bytes: progress.as_ref().and_then(|progress| progress.disk_total_bytes),
            disk_remaining_bytes: progress.as_ref().and_then(|progress| progress.disk_remaining_bytes),
        };
        // Lossy by design: a driver that is busy shows the next one.
        let _full = self.out.try_send(Message::Progress(update));
        Ok(())
    }

    async fn found(&mut self, servers: Vec<Server>, then: Outcome) -> Result<(), Stopped> {
        let mut retry = Retry::new();
        let inventory = loop {
            match self.cx.cloud.inventory().await {
                Ok(inventory) => break inventory,
                Err(error) => {
                    if !retry.pause(self, &error.to_string(), false).await? {
                        if self.cx.interrupted() {
                            return Ok(());
                        }
                        return self.settled(gave_up(&Trouble::Cloud(error), false)).await;
                    }
                }
            }
        };
        let (done, answer) = oneshot::channel();
        let host = self.cx.step.host.clone();
        let message = Message::Extend { host, servers, inventory: Box::new(inventory), done };
        self.out.send(message).await.map_err(|_| Stopped)?;
        let in_the_way = answer.await.map_err(|_| Stopped)?;
        self.settled(in_the_way.unwrap_or(then)).await
    }

    async fn settled(&self, outcome: Outcome) -> Result<(), Stopped> {
        let (step, attempt) = (self.cx.step.id.clone(), self.cx.attempt);
        self.record(EventKind::StepSettled { step, attempt, outcome }).await
    }

    async fn record(&self, kind: EventKind) -> Result<(), Stopped> {
        let (done, durable) = oneshot::channel();
        #[cfg(test)]
        if crate::run::sabotage::hurries(&kind) {
            return self.out.send(Message::Record { kind, done }).await.map_err(|_| Stopped);
        }
        self.out.send(Message::Record { kind, done }).await.map_err(|_| Stopped)?;
        durable.await.map_err(|_| Stopped)?
    }
}

enum Begun {
    Over,
    Look,
    Ask(Intent),
}

/// A request that ends something under way: made even when the operator wants nothing new.
fn finishes(intent: &Intent) -> bool {
    matches!(intent, Intent::Confirm { .. } | Intent::Abort { .. })
}

/// Asking again would bring the same.
fn is_final(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Cloud(error) => match error.kind {
            CloudErrorKind::Refused { refusal, .. } => {
                matches!(refusal, Refusal::Forbidden | Refusal::WrongState | Refusal::NotFound)
            }
            CloudErrorKind::TooOld { .. } | CloudErrorKind::Config { .. } | CloudErrorKind::Unauthenticated { .. } => {
                true
            }
            _ => false,
        },
        Trouble::Command(_) => false,
        Trouble::Intent(_) | Trouble::Facts(_) => true,
    }
}

fn gave_up(trouble: &Trouble, asked: bool) -> Outcome {
    let remedy = "when the cloud answers again, resume: it is looked at afresh".to_owned();
    if asked {
        return Outcome::Unknown { reason: trouble.to_string(), remedy };
    }
    Outcome::Failed { reason: trouble.to_string(), fault: None, remedy, output: None }
}

/// Pauses between attempts at reading, bounded in all.
struct Retry {
    since: Instant,
    pause: Duration,
    told: bool,
}

impl Retry {
    fn new() -> Self {
        Self { since: Instant::now(), pause: RETRY_MIN, told: false }
    }

    /// Waits before the next attempt; false when there should be none. What has been `asked` is looked at even while
    /// nothing new is started.
    async fn pause(&mut self, task: &Task, why: &str, asked: bool) -> Result<bool, Stopped> {
        if self.since.elapsed() >= CLOUD_PATIENCE || (task.cx.interrupted() && !asked) {
            return Ok(false);
        }
        if !self.told {
            self.told = true;
            let step = Some(task.cx.step.id.clone());
            task.record(EventKind::Noted { step, text: format!("{why}; asking again") }).await?;
        }
        let mut interrupted = task.cx.interrupted.clone();
        tokio::select! {
            biased;
            () = task.cx.clock.sleep(self.pause) => {}
            _ = interrupted.changed(), if !asked => {}
        }
        self.pause = (self.pause * 2).min(RETRY_MAX);
        Ok(true)
    }
}

/// What an adopted attempt made, so that its record is told from others'.
pub(super) fn made_by(intents: &[Intent]) -> Option<Intent> {
    let made = |intent: &&Intent| matches!(intent, Intent::Live { .. } | Intent::Cold { .. });
    intents.iter().rev().find(made).or_else(|| intents.last()).cloned()
}
