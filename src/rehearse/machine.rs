//! The operator's machine of a rehearsal: commands are not run. They take a time that is drawn, succeed or fail by
//! chance, and reboot their host where the plan waits for its service afterwards.
//!
//! Which commands reboot can only be guessed from the plan: one in `maintain` that is followed by a `wait` for
//! `host.service` would make no sense otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cloud::sim::{Log, Sim, What};
use crate::event::Output;
use crate::plan::{Action, Plan};
use crate::run::commands::{CommandError, CommandSpec, CommandState, Commands};

/// A process and its supervisor are there after about this long.
const START_MS: [u64; 2] = [5, 40];
/// Seconds before its end at which a command that reboots its host has done so: it returns while the host is going down.
const REBOOTS_BEFORE_END: Duration = Duration::from_secs(2);
/// The exit code of a command that the dice have fail.
const FAILED: i32 = 1;

/// How the operator's commands behave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandHabits {
    /// How long one takes, seconds; one whose timeout is shorter is ended by it.
    pub took_s: [u64; 2],
    /// The chance that one exits with 1, before it has done anything to the host.
    pub fails: f64,
    /// The chance that one goes on until its timeout.
    pub hangs: f64,
    /// The chance that nobody knows how one ended: this machine was restarted meanwhile.
    pub lost: f64,
}

impl Default for CommandHabits {
    fn default() -> Self {
        Self { took_s: [20, 90], fails: 0.0, hangs: 0.0, lost: 0.0 }
    }
}

/// Indices, from 1, of the commands in `maintain` that are taken to reboot their host.
pub(super) fn reboots(plan: &Plan) -> BTreeSet<u32> {
    let is_for_service =
        |action: &Action| matches!(action, Action::Wait(wait) if wait.until.as_str().contains("host.service"));
    let pairs = (1_u32..).zip(plan.maintain.windows(2));
    let reboots = pairs.filter(|(_, two)| matches!(two[0], Action::Run(_)) && is_for_service(&two[1]));
    reboots.map(|(index, _)| index).collect()
}

/// What is assumed of the plan's commands, for people.
pub fn assumed(plan: &Plan) -> Vec<String> {
    let commands = plan.maintain.iter().chain(&plan.verify).filter(|action| matches!(action, Action::Run(_))).count();
    let mut said = Vec::new();
    if commands > 0 {
        said.push("commands are not run: they take a time that is drawn, and end as the dice have it".to_owned());
    }
    for index in reboots(plan) {
        let action = usize::try_from(index - 1).ok().and_then(|at| plan.maintain.get(at));
        if let Some(Action::Run(command)) = action {
            let program = command.argv.first().map_or("", |word| word.as_str());
            said.push(format!(
                "maintain[{}], `{program}`, is taken to reboot its host: a wait for it follows",
                index - 1
            ));
        }
    }
    said
}

/// Commands under way and ended, by key.
pub(super) struct Machine {
    sim: Arc<Sim>,
    log: Log,
    habits: CommandHabits,
    reboots: BTreeSet<u32>,
    ran: Arc<Mutex<BTreeMap<String, Ran>>>,
}

#[derive(Debug, Clone)]
enum Ran {
    Running,
    Ended(CommandState),
}

impl Machine {
    pub(super) fn new(sim: &Arc<Sim>, habits: &CommandHabits, plan: &Plan) -> Self {
        let (sim, log) = (Arc::clone(sim), sim.log().clone());
        Self { sim, log, habits: habits.clone(), reboots: reboots(plan), ran: Arc::default() }
    }

    /// Each change is one statement, so poison says nothing here.
    fn ran(&self) -> MutexGuard<'_, BTreeMap<String, Ran>> {
        self.ran.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the command ends and after how long.
    fn draw(&self, step: &str, timeout: Duration) -> (Duration, CommandState) {
        let draw = |what: &str| self.sim.next_draw(&format!("command {step} {what}"));
        let [from, to] = self.habits.took_s;
        let took = Duration::from_millis(draw("took").between([from.saturating_mul(1000), to.saturating_mul(1000)]));
        let (fails, hangs, lost) = (draw("fails"), draw("hangs"), draw("lost"));
        if lost.chance(self.habits.lost) {
            return (took, CommandState::Lost);
        }
        if hangs.chance(self.habits.hangs) || took > timeout {
            return (timeout, CommandState::TimedOut(output(None, "it was ended by its timeout")));
        }
        let (code, text) = match fails.chance(self.habits.fails) {
            true => (FAILED, "the dice had it fail"),
            false => (0, "not run"),
        };
        (took, CommandState::Exited(output(Some(code), text)))
    }

    fn reboots(&self, step: &str) -> bool {
        let index = step.rsplit_once("/maintain/").and_then(|(_, name)| name.strip_suffix("-run")?.parse().ok());
        index.is_some_and(|index: u32| self.reboots.contains(&index))
    }
}

fn output(exit_code: Option<i32>, what: &str) -> Output {
    Output { text: format!("rehearsed: {what}\n"), cut_bytes: 0, exit_code }
}

#[async_trait]
impl Commands for Machine {
    async fn start(&self, spec: &CommandSpec) -> Result<(), CommandError> {
        let of = |name: &str| spec.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let host = of("FURLOUGH_HOST").unwrap_or_default();
        let step = of("FURLOUGH_STEP").unwrap_or_default();
        let half = Duration::from_millis(self.sim.next_draw("command start").between(START_MS) / 2);
        tokio::time::sleep(half).await;
        let timeout = Duration::from_secs(spec.timeout_s);
        let (took, end) = self.draw(&step, timeout);
        {
            let mut ran = self.ran();
            if ran.contains_key(&spec.key) {
                return Err(CommandError::AlreadyStarted { key: spec.key.clone() });
            }
            ran.insert(spec.key.clone(), Ran::Running);
        }
        let (key, log) = (spec.key.clone(), self.log.clone());
        let told = |key: String, host: String, began, exit_code| What::Command { key, host, began, exit_code };
        log.push_with(self.sim.now_ms(), || told(key.clone(), host.clone(), true, None));
        let done = matches!(&end, CommandState::Exited(output) if output.exit_code == Some(0));
        let reboots = (done && self.reboots(&step)).then(|| took.saturating_sub(REBOOTS_BEFORE_END));
        let (sim, ran) = (Arc::clone(&self.sim), Arc::clone(&self.ran));
        // Like a supervisor, it outlives the process that started it; it ends by itself.
        tokio::spawn(async move {
            let began = Instant::now();
            if let Some(after) = reboots {
                tokio::time::sleep_until(began + after).await;
                sim.reboot(&host, None);
            }
            tokio::time::sleep_until(began + took).await;
            let code = match &end {
                CommandState::Exited(output) => output.exit_code,
                _ => None,
            };
            let mut ran = ran.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(ran.get(&key), Some(Ran::Running)) {
                ran.insert(key.clone(), Ran::Ended(end));
                log.push_with(sim.now_ms(), || told(key, host, false, code));
            }
        });
        tokio::time::sleep(half).await;
        Ok(())
    }

    async fn state(&self, key: &str) -> Result<CommandState, CommandError> {
        Ok(match self.ran().get(key) {
            None => CommandState::NeverStarted,
            Some(Ran::Running) => CommandState::Running,
            Some(Ran::Ended(end)) => end.clone(),
        })
    }

    async fn cancel(&self, key: &str) -> Result<(), CommandError> {
        let mut ran = self.ran();
        let Some(known) = ran.get_mut(key) else { return Err(CommandError::NeverStarted { key: key.to_owned() }) };
        if let Ran::Running = known {
            *known = Ran::Ended(CommandState::Exited(output(None, "it was cancelled")));
        }
        Ok(())
    }
}
