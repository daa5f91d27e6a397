//! Graphs, events and small data turned into text for people and machines: what a plan will do ([`preview`]), a run while
//! it goes on ([`Lines`], [`Bars`], [`Ndjson`]) and what became of it ([`report`], [`status`]).
//!
//! Deliberately absent: the engine, clouds, argv, the environment and the choice of colour or width: the caller brings a
//! [`Style`]. A view only reads; it never asks anything of what it shows. All counting is in [`Tally`], so that two views
//! of one run cannot disagree, and all text passes through `text`, so that a server's name cannot command a terminal.

mod bars;
mod dot;
#[cfg(test)]
mod fixture;
mod json;
mod lines;
mod listing;
mod mermaid;
mod ndjson;
mod nights;
mod preview;
mod progress;
mod report;
mod teller;
mod text;

use std::io;

pub use bars::Bars;
pub use dot::dot;
pub use json::json;
pub use lines::Lines;
pub use listing::{hosts, runs};
pub use mermaid::mermaid;
pub use ndjson::{NDJSON_VERSION, Ndjson};
pub use nights::{Rehearsed, nights, nights_json, rehearsed};
pub use preview::preview;
pub use progress::{
    Ended, HostPhase, HostTally, RunHead, ServerCounts, ServerState, ServerTally, StepCounts, StepState, StepTally,
    Tally,
};
pub use report::{Detail, report, status};
pub use text::Style;

use crate::event::{Event, Update};

/// Shows a run while it goes on.
pub trait View {
    /// Takes in what happened before this process (on resume), without showing it.
    fn catch_up(&mut self, past: &[Event]);

    /// # Errors
    /// When what it writes to is gone (a closed pipe, a full disk). The run itself need not stop for that.
    fn update(&mut self, update: &Update) -> io::Result<()>;

    /// Nothing more will come: bars are cleared, buffers are written out.
    ///
    /// # Errors
    /// As for [`View::update`].
    fn finish(&mut self) -> io::Result<()>;
}
