//! One line an event, for pipes and CI logs: time, wave, host, what it is about, what became of it. The first three
//! are of fixed width, so that they can be cut and grepped. Lines are never cut short: a log has no width.

use std::io::{self, Write};

use super::teller::{Level, Teller};
use super::{Style, View};
use crate::event::{Event, Update};

/// Writes events as lines.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    teller: Teller,
    least: Level,
}

impl<W: Write> Lines<W> {
    pub fn new(out: W, style: Style) -> Self {
        Self { out, teller: Teller::new(style.color), least: Level::Progress }
    }

    /// With a line for every request and answer as well.
    #[must_use]
    pub fn detailed(self) -> Self {
        Self { least: Level::Detail, ..self }
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> View for Lines<W> {
    fn catch_up(&mut self, past: &[Event]) {
        for event in past {
            self.teller.take(event);
        }
    }

    /// Progress has no line: it is for screens.
    fn update(&mut self, update: &Update) -> io::Result<()> {
        let Update::Event(event) = update else { return Ok(()) };
        for line in self.teller.tell(event, self.least) {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
