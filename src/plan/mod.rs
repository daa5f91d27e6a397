//! What the operator writes: the plan document, its parsing with places, its diagnostics, expressions and templates.
//!
//! Deliberately absent: the cloud, time, I/O. A plan is read from text that the caller has; what a host or a server is
//! called in expressions is fixed by [`facts`], filled in by `compile`.

pub mod facts;

mod document;
mod text;

pub use document::{
    Action, Command, Count, Destinations, Drain, Finish, HostSelector, Limits, LiveOptions, MoveTimeout, OnFailure,
    Plan, Rung, ServerRule, Wait, Waves,
};
pub use text::{Expr, Pattern, Scope, Template, TextError};
