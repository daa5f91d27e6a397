//! `--json`: one JSON object a line for every update.
//!
//! `{"v":1,"type":"event","event":{"seq":…,"at":…,"kind":{…}}}` for what is journalled, in the journal's own form and
//! order; `{"v":1,"type":"progress","progress":{…}}` for how far a move is, which may be left out at any time.

use std::io::{self, Write};

use serde::Serialize;

use super::View;
use super::text::clean_json;
use crate::event::{Event, Progress, Update};

/// The format of these lines. Fields may be added to it; a change that breaks a reader raises it.
pub const NDJSON_VERSION: u32 = 1;

/// Writes updates as JSON lines.
#[derive(Debug)]
pub struct Ndjson<W> {
    out: W,
}

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a Progress>,
}

impl<W: Write> Ndjson<W> {
    pub fn new(out: W) -> Self {
        Self { out }
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> View for Ndjson<W> {
    /// Nothing to know: every line speaks for itself.
    fn catch_up(&mut self, _past: &[Event]) {}

    fn update(&mut self, update: &Update) -> io::Result<()> {
        let line = match update {
            Update::Event(event) => Line { v: NDJSON_VERSION, kind: "event", event: Some(event), progress: None },
            Update::Progress(progress) => {
                Line { v: NDJSON_VERSION, kind: "progress", event: None, progress: Some(progress) }
            }
        };
        let json = serde_json::to_string(&line).map_err(io::Error::other)?;
        writeln!(self.out, "{}", clean_json(json))?;
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
