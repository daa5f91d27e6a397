//! Plays a script on any cloud, looking at it all the time: one future acts, another one reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use furlough::cloud::{
    Accepted, Ask, BlockMigration, Cloud, CloudError, CloudErrorKind, ComputeService, Migration, MigrationQuery,
    Server, ServiceState,
};
use tokio::time::Instant;

use super::script::{Act, Deed, Part, Script, To, When};

/// A cloud, and what happens to it from outside its API.
#[async_trait]
pub trait Stage: Send + Sync {
    fn cloud(&self) -> &Arc<dyn Cloud>;
    /// Between two looks.
    fn pause(&self) -> Duration;
    /// `kill`, `start`, `pause` or `resume` the nova-compute of a host.
    async fn compute(&self, act: &'static str, host: &str);
    /// By its owner.
    async fn delete(&self, server: &str);
}

/// Who plays.
#[derive(Debug, Clone)]
pub struct Cast {
    pub servers: Vec<String>,
    pub source: String,
    pub dest: String,
    pub other: String,
    /// The scheduler may choose any host, so all but the source are one.
    pub chooses: bool,
    pub power: bool,
}

impl Cast {
    pub fn host(&self, part: Part) -> &str {
        match part {
            Part::Source => &self.source,
            Part::Dest => &self.dest,
            Part::Other => &self.other,
        }
    }

    fn part(&self, host: &str) -> &'static str {
        match host {
            _ if host == self.source => "source",
            _ if self.chooses => "away",
            _ if host == self.dest => "dest",
            _ if host == self.other => "other",
            _ => "elsewhere",
        }
    }

    /// `MIGRATING migrating source Running`.
    pub fn server_line(&self, server: Option<&Server>) -> String {
        let Some(server) = server else { return "gone".to_owned() };
        let (task, host) = (server.task_state.as_deref(), server.host.as_deref().map(|host| self.part(host)));
        let power = if self.power { format!(" {:?}", server.power_state) } else { String::new() };
        format!("{} {} {}{power}", server.status, task.unwrap_or("-"), host.unwrap_or("-"))
    }

    /// `running>dest`.
    pub fn record_line(&self, record: Option<&Migration>) -> String {
        let Some(record) = record else { return "-".to_owned() };
        let dest = record.dest_host.as_deref().map(|host| format!(">{}", self.part(host)));
        format!("{}{}", record.status, dest.unwrap_or_default())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Server,
    Record,
}

/// One reading of one server, or of its newest record.
#[derive(Debug, Clone)]
pub struct Read {
    pub at_ms: u64,
    pub of: Of,
    pub line: String,
}

/// What was seen, and how requests were answered.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// In the order of reading, for each server: row, record, row, record.
    pub reads: Vec<Vec<Read>>,
    pub answers: Vec<String>,
    /// The act whose moment did not come.
    pub stuck: Option<String>,
}

impl Story {
    fn last(&self, server: usize, of: Of) -> &str {
        self.reads[server].iter().rfind(|read| read.of == of).map_or("", |read| read.line.as_str())
    }

    fn is_settled(&self, server: usize) -> bool {
        const ENDS: [&str; 8] = ["-", "finished", "confirmed", "reverted", "completed", "failed", "error", "cancelled"];
        let (row, record) = (self.last(server, Of::Server), self.last(server, Of::Record));
        let idle = row.split(' ').nth(1) == Some("-");
        row == "gone" || (idle && ENDS.contains(&record.split('>').next().unwrap_or_default()))
    }
}

/// Above the 60 s of `rpc_response_timeout`, and what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(100);
/// How long everything has to stay as it is to be at its end.
const STILL: Duration = Duration::from_millis(1_200);

struct Player<'a> {
    stage: &'a dyn Stage,
    script: &'a Script,
    cast: &'a Cast,
    begun: Instant,
    story: Mutex<Story>,
    /// Accepted requests about servers: the place of its answer, the server, the request.
    taken: Mutex<Vec<(usize, String, String)>>,
}

/// Waits until the hosts of the cast are seen as up: what an earlier script killed may have been started just now.
pub async fn ready(cloud: &Arc<dyn Cloud>, cast: &Cast) {
    let begun = Instant::now();
    loop {
        let rows = cloud.services(None).await.expect("the services");
        let mine = rows.iter().filter(|row| [&cast.source, &cast.dest, &cast.other].contains(&&row.host));
        if mine.clone().all(|row| row.state == ServiceState::Up) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "not up: {:?}", mine.collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Plays the script to its end.
pub async fn play(stage: &dyn Stage, script: &Script, cast: &Cast) -> Story {
    let story = Story { reads: vec![Vec::new(); cast.servers.len()], ..Story::default() };
    let (story, taken) = (Mutex::new(story), Mutex::default());
    let player = Player { stage, script, cast, begun: Instant::now(), story, taken };
    let acting = async {
        // every server has been seen as it begins
        while player.story().reads.iter().any(|reads| reads.len() < 2) {
            tokio::time::sleep(stage.pause()).await;
        }
        player.act_all().await;
    };
    tokio::select! {
        () = acting => {}
        () = player.watch() => {}
    }
    player.ask_why().await;
    player.story.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Player<'_> {
    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn watch(&self) {
        let cloud = self.stage.cloud();
        loop {
            for (index, id) in self.cast.servers.iter().enumerate() {
                let row = cloud.server(id).await.unwrap_or_else(|e| panic!("{}: {e}", self.script.name));
                self.note(index, Of::Server, self.cast.server_line(row.as_ref()));
                let query = MigrationQuery { server: Some(id.clone()), newest: Some(1), ..MigrationQuery::default() };
                let rows = cloud.migrations(&query).await.unwrap_or_else(|e| panic!("{}: {e}", self.script.name)).rows;
                let newest = rows.iter().max_by_key(|record| record.id);
                self.note(index, Of::Record, self.cast.record_line(newest));
            }
            tokio::time::sleep(self.stage.pause()).await;
        }
    }

    fn note(&self, server: usize, of: Of, line: String) {
        let at_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.story().reads[server].push(Read { at_ms, of, line });
    }

    async fn act_all(&self) {
        for (when, act) in self.script.acts.iter().copied().chain([(When::Settled, Act::Nothing)]) {
            if !self.comes(when).await {
                self.story().stuck = Some(format!("{when:?} did not come, for {act:?}"));
                return;
            }
            self.act(act).await;
        }
    }

    async fn comes(&self, when: When) -> bool {
        if let When::After(ms) = when {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            return true;
        }
        let begun = Instant::now();
        let mut since = None;
        while begun.elapsed() < PATIENCE {
            let (is_so, lasts) = match when {
                When::Now | When::After(_) => return true,
                When::Record(server, status) => {
                    (self.story().last(server, Of::Record).split('>').next() == Some(status), Duration::ZERO)
                }
                When::Idle(server, status) => {
                    (self.story().last(server, Of::Server).starts_with(&format!("{status} - ")), Duration::ZERO)
                }
                When::Gone(server) => (self.story().last(server, Of::Server) == "gone", Duration::ZERO),
                When::Settled => {
                    let story = self.story();
                    ((0..story.reads.len()).all(|server| story.is_settled(server)), STILL)
                }
                When::Service(part, state) => {
                    let service = self.service(part).await;
                    (format!("{:?}", service.state).to_lowercase() == state, Duration::ZERO)
                }
            };
            let from = is_so.then(|| since.unwrap_or_else(Instant::now));
            if from.is_some_and(|from| from.elapsed() >= lasts) {
                return true;
            }
            since = from;
            tokio::time::sleep(self.stage.pause() / 2).await;
        }
        false
    }

    async fn service(&self, part: Part) -> ComputeService {
        let rows = self.stage.cloud().services(Some(self.cast.host(part))).await;
        rows.unwrap_or_else(|e| panic!("{}: {e}", self.script.name)).remove(0)
    }

    async fn act(&self, act: Act) {
        match act {
            Act::Ask(server, deed) => {
                let id = self.cast.servers[server].clone();
                let ask = self.ask_of(&id, deed).await;
                let answer = self.stage.cloud().ask(&ask).await;
                let line = format!("{server} {deed:?}: {}", word(&answer));
                let mut story = self.story();
                if let Ok(Accepted { request_id: Some(request) }) = answer {
                    let taken = (story.answers.len(), id, request);
                    self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(taken);
                }
                story.answers.push(line);
            }
            Act::Disable(part, reason) => {
                let row = self.service(part).await;
                self.set(row, Some(reason)).await;
            }
            Act::Enable(part) => {
                let row = self.service(part).await;
                self.set(row, None).await;
            }
            Act::Service(part) => {
                let row = self.service(part).await;
                let reason = row.disabled_reason.as_deref().unwrap_or("-");
                let line = format!("{part:?} {:?} {:?} forced {:?} `{reason}`", row.status, row.state, row.forced_down);
                self.story().answers.push(line);
            }
            Act::OnlyOpen(part) => self.open(Some(self.cast.host(part)), false).await,
            Act::AllClosed => self.open(None, false).await,
            Act::AllOpen => self.open(None, true).await,
            Act::Delete(server) => self.stage.delete(&self.cast.servers[server]).await,
            Act::Kill(part) => self.stage.compute("kill", self.cast.host(part)).await,
            Act::Start(part) => self.stage.compute("start", self.cast.host(part)).await,
            Act::Hang(part) => self.stage.compute("pause", self.cast.host(part)).await,
            Act::Resume(part) => self.stage.compute("resume", self.cast.host(part)).await,
            Act::Nothing => {}
        }
    }

    async fn set(&self, row: ComputeService, reason: Option<&str>) {
        let (host, service_id) = (row.host, row.id);
        let ask = match reason {
            Some(reason) => Ask::DisableService { host, service_id, reason: reason.to_owned() },
            None => Ask::EnableService { host, service_id },
        };
        let answer = self.stage.cloud().ask(&ask).await;
        self.story().answers.push(format!("service: {}", word(&answer)));
    }

    async fn open(&self, only: Option<&str>, all: bool) {
        let rows = self.stage.cloud().services(None).await;
        for row in rows.unwrap_or_else(|e| panic!("{}: {e}", self.script.name)) {
            let opens = all || only == Some(row.host.as_str());
            self.set(row, (!opens).then_some("twins: closed")).await;
        }
    }

    async fn ask_of(&self, id: &str, deed: Deed) -> Ask {
        let server = id.to_owned();
        let to = |to| match to {
            To::Any => None,
            To::Host(part) => Some(self.cast.host(part).to_owned()),
            To::Unknown => Some("nosuch".to_owned()),
        };
        match deed {
            Deed::Live(host) => Ask::LiveMigrate { server, host: to(host), block_migration: BlockMigration::Auto },
            Deed::LiveBlock(host, block_migration) => Ask::LiveMigrate { server, host: to(host), block_migration },
            Deed::Cold(host) => Ask::ColdMigrate { server, host: to(host) },
            Deed::Confirm => Ask::ConfirmResize { server },
            Deed::Revert => Ask::RevertResize { server },
            Deed::Stop => Ask::Stop { server },
            Deed::Start => Ask::Start { server },
            Deed::AbortUnknown => Ask::AbortMigration { server, migration_id: 999_999 },
            Deed::Abort => {
                let query = MigrationQuery { server: Some(id.to_owned()), ..MigrationQuery::default() };
                let rows = self.stage.cloud().migrations(&query).await;
                let rows = rows.unwrap_or_else(|e| panic!("{}: {e}", self.script.name)).rows;
                let newest = rows.iter().map(|record| record.id).max().unwrap_or(999_999);
                Ask::AbortMigration { server, migration_id: newest }
            }
        }
    }

    /// Whether Nova says anything of why a request failed that it had accepted.
    async fn ask_why(&self) {
        let taken = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        let mut told = BTreeMap::new();
        for (place, server, request) in taken {
            let fault = self.stage.cloud().action_fault(&server, &request).await;
            told.insert(
                place,
                match fault {
                    Ok(Some(_)) => ", and why it failed is told",
                    Ok(None) => "",
                    Err(_) => ", and why it failed cannot be asked",
                },
            );
        }
        let mut story = self.story();
        for (place, words) in told {
            story.answers[place].push_str(words);
        }
    }
}

fn word(answer: &Result<Accepted, CloudError>) -> String {
    match answer {
        Ok(_) => "accepted".to_owned(),
        Err(CloudError { kind: CloudErrorKind::Refused { status, refusal, .. }, .. }) => {
            format!("{status} {refusal:?}")
        }
        Err(error) if error.is_lost() => "lost".to_owned(),
        Err(CloudError { kind: CloudErrorKind::TooOld { what, needs, .. }, .. }) => format!("{what} needs {needs}"),
        Err(error) => error.to_string(),
    }
}
