//! Why a plan cannot be compiled at all. What merely stands in the way of a host or a server is a
//! [`super::Blocker`] instead: those are found all at once.

use thiserror::Error;

use super::GraphError;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// `what` is the part of the entry that matched nothing: `zone az3`.
    #[error("{at}: {what} matches no host of this cloud{}", did_you_mean(.nearest.as_deref()))]
    NoMatch { at: String, what: String, nearest: Option<String> },

    #[error("every host that `hosts` selects is excluded again, so there is nothing to do; narrow `exclude`")]
    AllExcluded,

    #[error("no compute host is named {host}{}", did_you_mean(.nearest.as_deref()))]
    UnknownHost { host: String, nearest: Option<String> },

    /// `subject` is `host cmp-01` or `server web-1 (9f2c…) on cmp-01`.
    #[error("{at}: `{text}` cannot be decided for {subject}: {why}")]
    Expression { at: String, text: String, subject: String, why: String },

    #[error("{at}: `{text}` cannot be filled in for host {host}: {why}")]
    Template { at: String, text: String, host: String, why: String },

    #[error("no rule of drain.servers speaks of server {server}; end the list with a rule without `when`")]
    NoRule { server: String },

    #[error("graph {graph} does not empty host {host}, so nothing found there can be added to it")]
    NotInGraph { graph: String, host: String },

    #[error(transparent)]
    Graph(#[from] GraphError),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; the nearest name there is `{name}`"))
}

/// A name at least this alike is worth suggesting; below it a suggestion is noise (Jaro–Winkler, 0 to 1).
const ALIKE: f64 = 0.75;

/// The known name most like this one; of two equally alike, the first.
pub(super) fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut best: Option<(f64, &str)> = None;
    for name in known {
        let alike = strsim::jaro_winkler(wanted, name);
        if alike >= ALIKE && best.is_none_or(|(most, _)| alike > most) {
            best = Some((alike, name));
        }
    }
    best.map(|(_, name)| name.to_owned())
}
