//! Runs a command of the operator's. It belongs to a supervisor process of its own, so it outlives this one and is found
//! again by its key; it is never run a second time on a guess.

use async_trait::async_trait;

use super::{Asked, Context, Intended, Kind, Trouble, Undo, Verdict};
use crate::cloud::Accepted;
use crate::event::{Done, Intent, Outcome};
use crate::run::commands::{CommandSpec, CommandState};

/// Between looks at a running command.
const LOOK_AGAIN_MS: u64 = 500;
/// A start that a dead process intended, and that left nothing, never happened.
const NEVER_STARTED_AFTER_S: u64 = 3;

pub(super) struct Run {
    argv: Vec<String>,
    timeout_s: u64,
}

impl Run {
    pub(super) fn new(argv: &[String], timeout_s: u64) -> Self {
        Self { argv: argv.to_vec(), timeout_s }
    }
}

#[async_trait]
impl Kind for Run {
    async fn intend(&mut self, cx: &Context) -> Result<Intended, Trouble> {
        Ok(Intended::Ask(Intent::Command {
            key: format!("{}/{}/{}", cx.run, cx.step.id, cx.attempt),
            argv: self.argv.clone(),
            timeout_s: self.timeout_s,
        }))
    }

    async fn act(&mut self, cx: &Context, intent: &Intent) -> Result<Accepted, Trouble> {
        let Intent::Command { key, argv, timeout_s } = intent else { return Err(super::unexpected(intent)) };
        let env = vec![
            ("FURLOUGH_RUN".to_owned(), cx.run.0.clone()),
            ("FURLOUGH_HOST".to_owned(), cx.step.host.clone()),
            ("FURLOUGH_STEP".to_owned(), cx.step.id.0.clone()),
        ];
        let spec =
            CommandSpec { key: key.clone(), argv: argv.clone(), timeout_s: *timeout_s, env, cwd: cx.folder.clone() };
        cx.commands.start(&spec).await?;
        Ok(Accepted::default())
    }

    fn refused(&self, _intent: &Intent, trouble: &Trouble) -> Option<Outcome> {
        Some(Outcome::Failed {
            reason: trouble.to_string(),
            fault: None,
            remedy: "mend that, then resume: the command has not been run".to_owned(),
            output: None,
        })
    }

    async fn settle(&mut self, cx: &Context, asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let Some(asked) = asked else { return Ok(Verdict::Pause(0)) };
        let Intent::Command { key, timeout_s, .. } = &asked.intent else {
            return Err(super::unexpected(&asked.intent));
        };
        let outcome = match cx.commands.state(key).await? {
            CommandState::Running => return Ok(Verdict::Pause(LOOK_AGAIN_MS)),
            CommandState::NeverStarted if asked.since_s() < NEVER_STARTED_AFTER_S => {
                return Ok(Verdict::Pause(LOOK_AGAIN_MS));
            }
            CommandState::NeverStarted => {
                Outcome::Retryable { reason: "it was never started".to_owned(), fault: None, again_after_s: Some(0) }
            }
            CommandState::Exited(output) if output.exit_code == Some(0) => Outcome::Done(Done::Ran { output }),
            CommandState::Exited(output) => Outcome::Failed {
                reason: match output.exit_code {
                    Some(code) => format!("`{}` exited with {code}", self.argv.join(" ")),
                    None => format!("`{}` did not run to an exit", self.argv.join(" ")),
                },
                fault: None,
                remedy: "see its output; when what it was to do is mended, resume runs it again".to_owned(),
                output: Some(output),
            },
            CommandState::TimedOut(output) => Outcome::Failed {
                reason: format!("`{}` was ended after {timeout_s} s", self.argv.join(" ")),
                fault: None,
                remedy: "see its output; raise its timeout or mend what it waits for, then resume runs it again"
                    .to_owned(),
                output: Some(output),
            },
            CommandState::Lost => Outcome::Failed {
                reason: format!("how `{}` ended is not known: this machine stopped while it ran", self.argv.join(" ")),
                fault: None,
                remedy: "see by hand what it did; resume runs it again from its beginning".to_owned(),
                output: None,
            },
        };
        Ok(Verdict::Settled(outcome))
    }

    fn undo(&self, intent: &Intent) -> Undo {
        match intent {
            Intent::Command { .. } => Undo::Irrevocable("what a command did only its author can take back"),
            _ => Undo::Nothing,
        }
    }
}
