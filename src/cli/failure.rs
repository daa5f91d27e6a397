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

/// Before the first change: afterwards a cloud's error is an event of the run.
impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        let message = error.to_string();
        match &error.kind {
            CloudErrorKind::Config { message } => Self::usage(message.clone()),
            CloudErrorKind::Unauthenticated { .. } => Self::blocked(message).remedy(
                "check the user, project and password of this clouds.yaml entry; Keystone does not say which is wrong",
            ),
            CloudErrorKind::Refused { status: 403, .. } => {
                Self::blocked(message).remedy("furlough needs the admin role in the project of its credentials")
            }
            CloudErrorKind::Unreachable { .. } | CloudErrorKind::Lost { .. } => {
                Self::blocked(message).remedy("check auth_url, the region and the network; -v shows every request")
            }
            _ => Self::blocked(message),
        }
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
        let message = error.to_string();
        match error {
            JournalError::NoSuchRun { .. } => Self::usage(message),
            JournalError::RunHeld { .. } | JournalError::HostHeld { .. } => Self::blocked(message),
            _ => Self::failed(message),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}
