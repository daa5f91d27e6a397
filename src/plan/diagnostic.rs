//! What is wrong with a plan, and where: plain data first, and a rendering of it for a terminal without colour.

use std::fmt;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// Diagnostics kept of one document. More would only push the first ones, usually the cause of the rest, off the screen.
const DIAGNOSTICS_MAX: usize = 50;

/// Characters of a source line that are shown: a line may be as long as the document.
const SNIPPET_CHARS_MAX: usize = 120;

/// Characters of the line kept before the offending text when the line has to be cut.
const SNIPPET_CHARS_BEFORE: usize = 60;

/// Characters of the offending text that are kept.
const TEXT_CHARS_MAX: usize = 80;

/// Lines and columns count from 1, columns in characters, as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// From the first character to behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Place,
    pub(super) end: Place,
}

/// One mistake in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// The way to it through the document, `drain.servers[1].where`; empty for the document itself.
    pub path: String,
    /// The text the caret points at, shortened; empty where something is missing.
    pub text: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// The nearest known name, or what to write instead.
    pub help: Option<String>,
    /// Another place that belongs to it: where a key was given first.
    pub also: Option<(Place, String)>,
    pub snippet: Snippet,
}

/// The source line of a mistake, with what the caret underlines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// Tabs are single spaces here, and a long line is cut around the mistake.
    pub line: String,
    /// Terminal columns before the caret, and its width.
    pub caret_at: usize,
    pub caret_width: usize,
}

impl Diagnostic {
    /// As rustc shows it, ready for a terminal; ends without a line feed.
    pub fn render(&self) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let Snippet { line, caret_at, caret_width } = &self.snippet;
        let mut lines = vec![
            format!("error: {}", self.message),
            format!("{margin}--> {}:{}:{}", self.file, self.line, self.column),
            format!("{margin} |"),
            format!("{number} | {line}").trim_end().to_owned(),
            format!("{margin} | {}{}", " ".repeat(*caret_at), "^".repeat((*caret_width).max(1))),
        ];
        if let Some((place, note)) = &self.also {
            lines.push(format!("{margin} = note: {note} at {}:{}:{}", self.file, place.line, place.column));
        }
        if let Some(help) = &self.help {
            lines.push(format!("{margin} = help: {help}"));
        }
        lines.join("\n")
    }
}

/// Mistakes as they are found. Not in the order of the document, so that more are kept than are shown; those above that
/// are only counted, because a wrong file can have as many as it has values.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Diagnostic>,
    omitted: usize,
}

impl Findings {
    const KEPT_MAX: usize = 4 * DIAGNOSTICS_MAX;

    pub(super) fn add(&mut self, make: impl FnOnce() -> Diagnostic) {
        if self.kept.len() < Self::KEPT_MAX {
            self.kept.push(make());
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// Every mistake of one plan, in the order of the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanErrors {
    pub file: String,
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there are than are kept.
    pub omitted: usize,
}

impl PlanErrors {
    pub(super) fn new(file: &str, found: Findings) -> Self {
        let Findings { kept: mut diagnostics, omitted } = found;
        diagnostics.sort_by_key(|found| (found.line, found.column));
        let omitted = omitted + diagnostics.len().saturating_sub(DIAGNOSTICS_MAX);
        diagnostics.truncate(DIAGNOSTICS_MAX);
        Self { file: file.to_owned(), diagnostics, omitted }
    }

    /// All of them and a last line that counts them; ends without a line feed.
    pub fn render(&self) -> String {
        let mut parts: Vec<String> = self.diagnostics.iter().map(Diagnostic::render).collect();
        let count = self.diagnostics.len() + self.omitted;
        let mistakes = if count == 1 { "mistake" } else { "mistakes" };
        let shown = if self.omitted == 0 { String::new() } else { format!(", the first {DIAGNOSTICS_MAX} shown") };
        parts.push(format!("{count} {mistakes} in {}{shown}", self.file));
        parts.join("\n\n")
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for PlanErrors {}

/// The document as text, to cut snippets from.
#[derive(Debug)]
pub(super) struct Source<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, lines: text.lines().collect() }
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    /// Counting from 1; empty behind the end.
    fn line(&self, number: usize) -> &'a str {
        number.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or_default()
    }

    /// The source characters of a span, each with its place; line feeds included.
    pub(super) fn characters(&self, span: Span) -> impl Iterator<Item = (Place, char)> {
        (span.start.line..=span.end.line)
            .flat_map(move |line| {
                let text = self.line(line).chars().chain(std::iter::once('\n'));
                text.enumerate().map(move |(index, character)| (Place { line, column: index + 1 }, character))
            })
            .skip_while(move |(place, _)| *place < span.start)
            .take_while(move |(place, _)| *place < span.end)
    }

    /// Where the byte `offset` of a scalar's `text` stands in the document, the word there as the width.
    ///
    /// Quotes, escapes, folded line breaks and the indentation of block scalars are in the source and not in the text,
    /// so the two are walked side by side and what the text does not have is skipped. `None` if they do not meet.
    pub(super) fn span_in(&self, span: Span, text: &str, offset: usize) -> Option<Span> {
        let mut source = self.characters(span).peekable();
        match source.peek().map(|(_, first)| *first) {
            Some('"' | '\'') => _ = source.next(),
            Some('|' | '>') => while source.next_if(|(_, character)| *character != '\n').is_some() {},
            _ => {}
        }
        for (index, wanted) in text.char_indices() {
            let (start, _) = source.find(|(_, found)| *found == wanted || (wanted == ' ' && *found == '\n'))?;
            if index >= offset {
                let rest = text.get(index..).unwrap_or_default();
                let word = rest.chars().take_while(|it| it.is_alphanumeric() || *it == '_').count().max(1);
                let end = Place { line: start.line, column: start.column + word };
                return Some(Span { start, end });
            }
        }
        None
    }

    pub(super) fn diagnose(&self, span: Span, path: &str, message: impl Into<String>) -> Diagnostic {
        let Span { start, end } = span;
        let line = self.line(start.line);
        let last = if end.line == start.line { end.column } else { usize::MAX };
        let before = start.column.saturating_sub(1);
        let width = last.saturating_sub(start.column);
        let marked: String = line.chars().skip(before).take(width).collect();
        let marked = marked.trim_end();
        let cut =
            if line.chars().count() > SNIPPET_CHARS_MAX { before.saturating_sub(SNIPPET_CHARS_BEFORE) } else { 0 };
        let shown: String = line.chars().skip(cut).take(SNIPPET_CHARS_MAX).map(printable).collect();
        let room = SNIPPET_CHARS_MAX.saturating_sub(before - cut);
        let lead: String = shown.chars().take(before - cut).collect();
        let under: String = marked.chars().take(room).map(printable).collect();
        Diagnostic {
            file: self.file.to_owned(),
            line: start.line,
            column: start.column,
            path: path.to_owned(),
            text: marked.chars().take(TEXT_CHARS_MAX).collect(),
            message: message.into(),
            help: None,
            also: None,
            snippet: Snippet { line: shown, caret_at: lead.width(), caret_width: under.width().max(1) },
        }
    }
}

/// A tab would move the caret, and a control character the terminal.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}
