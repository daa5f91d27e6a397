//! What can go wrong between furlough and a cloud.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A failed call: which one, why, in the service's own words, and the request id to give to the cloud's operators.
#[derive(Debug, Clone, Error)]
#[error("{call}: {kind}{}", RequestId(.request_id.as_deref()))]
pub struct CloudError {
    /// Method and path, or the name of the action: `POST /servers/9f2c…/action os-migrateLive`. Never holds a secret.
    pub call: String,
    pub request_id: Option<String>,
    #[source]
    pub kind: CloudErrorKind,
}

struct RequestId<'a>(Option<&'a str>);

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(f, " (request id {id})"))
    }
}

#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum CloudErrorKind {
    /// The service answered and said no. Nothing was changed.
    #[error("refused with {status}: {message}")]
    Refused { status: u16, refusal: Refusal, message: String },

    /// The request may have been received, and its answer was not: the outcome is unknown until it is observed.
    #[error("the answer was lost ({cause}); the outcome is unknown")]
    Lost { cause: String },

    /// The request never reached the service, or a reading failed after its retries: nothing was changed.
    #[error("could not be reached: {cause}")]
    Unreachable { cause: String },

    /// Credentials were not accepted by Keystone, even fresh ones.
    #[error("not authenticated: {message}")]
    Unauthenticated { message: String },

    /// This release cannot do it.
    #[error("{what} needs compute microversion {needs}, and this cloud offers up to {has}")]
    TooOld { what: &'static str, needs: String, has: String },

    /// The service answered something that is not its API: a proxy's page, cut JSON, a wrong microversion.
    #[error("unexpected answer: {what}")]
    Protocol { what: String },

    /// clouds.yaml, secure.yaml or OS_* are wrong or incomplete; the message says which key of which file.
    #[error("{message}")]
    Config { message: String },
}

/// Why a request was refused, as far as HTTP status and text tell (texts: nova/exception.py, compute/common.py).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// 403: this user may never do it; going on would fail for every server.
    Forbidden,
    /// 404: no such server, host, service or migration.
    NotFound,
    /// 409 `task_state …`: another action of the same server is under way.
    Busy,
    /// 409 `vm_state …`: the server's state does not allow this action.
    WrongState,
    /// 409 `is locked`.
    Locked,
    /// 400 "No valid host was found".
    NoValidHost,
    /// 409/400: the nova-compute concerned is down.
    HostDown,
    /// 413 or 429, still refused after the waits that the service asked for.
    RateLimited,
    /// 400 or any other no.
    Other,
}

impl CloudError {
    /// True when the request may have taken effect although no answer says so.
    pub fn is_lost(&self) -> bool {
        matches!(self.kind, CloudErrorKind::Lost { .. })
    }

    /// The refusal, if the service answered and said no.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.kind {
            CloudErrorKind::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}
