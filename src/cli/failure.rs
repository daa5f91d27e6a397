//! Why a subcommand ends without having done its work: the exit code, what happened, and what to do.

use crate::cloud::{CloudError, CloudErrorKind};
use crate::compile::{CompileError, GraphError};
use crate::journal::JournalError;
use crate::plan::PlanErrors;
use crate::run::RunError;

#[derive(Debug)]
pub(super) struct Failure {
    pub code: u8,
    message: String,
    remedy: Option<String>,
}

impl Failure {
    fn with(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: None }
    }

    /// Something failed on the way.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::with(1, message)
    }

    /// The plan or the command line is wrong.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::with(2, message)
    }

    /// Nothing was changed, because something is in the way.
    pub(super) fn blocked(message: impl Into<String>) -> Self {
        Self::with(3, message)
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Of a reading before the first change: afterwards a cloud's error is an event of the run.
    pub(super) fn of_cloud(error: &CloudError, cloud: &str) -> Self {
        let message = error.to_string();
        // `envvars` stands for the OS_* variables, which are no entry of a file.
        let entry = if cloud == "envvars" { "the OS_* variables".to_owned() } else { format!("cloud `{cloud}`") };
        match &error.kind {
            CloudErrorKind::Config { message } => Self::usage(message.clone()),
            CloudErrorKind::Unauthenticated { .. } => Self::blocked(message)
                .remedy(format!("check user, project and password, or the application credential, of {entry}")),
            CloudErrorKind::Refused { status: 403, .. } => Self::blocked(message)
                .remedy(format!("furlough needs the admin role, and the user of {entry} lacks it in its project")),
            CloudErrorKind::Unreachable { .. } | CloudErrorKind::Lost { .. } => Self::blocked(message)
                .remedy(format!("check auth_url and region of {entry}, and the network; -v shows every request")),
            _ => Self::blocked(message),
        }
    }

    /// For standard error, ending with a newline.
    pub(super) fn render(&self) -> String {
        let message = self.message.trim_end();
        let mut text =
            if message.starts_with("error") { format!("{message}\n") } else { format!("error: {message}\n") };
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("help: {remedy}\n"));
        }
        text
    }
}

impl From<PlanErrors> for Failure {
    fn from(errors: PlanErrors) -> Self {
        Self::usage(errors.render())
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<GraphError> for Failure {
    fn from(error: GraphError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Open { path, cause, remedy } => {
                Self::blocked(format!("journal {path}: {cause}")).remedy(remedy)
            }
            JournalError::HostHeld { host, run, cause, remedy } => {
                Self::blocked(format!("host {host} is held by run {run}, {cause}")).remedy(remedy)
            }
            JournalError::NoSuchRun { .. } => Self::usage(error.to_string()),
            JournalError::RunHeld { .. } | JournalError::Newer { .. } => Self::blocked(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::failed(error.to_string())
    }
}
