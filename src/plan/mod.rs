//! What the operator writes: the plan document, its parsing with places, its diagnostics, expressions and templates.
//!
//! Deliberately absent: the cloud, time, I/O. A plan is read from text that the caller has; what a host or a server is
//! called in expressions is fixed by [`facts`], filled in by `compile`.

pub mod facts;

mod diagnostic;
mod document;
#[cfg(test)]
pub(crate) mod fixture;
mod read;
mod scalars;
mod schema;
mod shape;
mod text;
mod yaml;

pub use diagnostic::{Diagnostic, Place, PlanErrors, Snippet};
pub use document::{
    Action, Command, Count, Destinations, Drain, Finish, HostSelector, Limits, LiveOptions, MoveTimeout, OnFailure,
    Plan, Rung, ServerRule, Wait, Waves,
};
pub use schema::schema;
pub use text::{Expr, Facts, Pattern, Scope, Template, TextError};

/// Reads a plan from the text of a file; `file_name` only stands in the messages.
///
/// The error holds every mistake of the document, not just the first.
pub fn parse(file_name: &str, text: &str) -> Result<Plan, PlanErrors> {
    // Editors on other systems begin a file with a byte order mark; it is no part of the document.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = diagnostic::Source::new(file_name, text);
    let (root, found) = yaml::read(&source, text);
    let Some(root) = root else { return Err(PlanErrors::new(source.file(), found)) };
    let (plan, found) = read::read(&source, &root, found);
    if found.is_empty() { Ok(plan) } else { Err(PlanErrors::new(source.file(), found)) }
}
