//! What every view needs to write text: safe names, display widths, durations, sizes, wrapping and tables.
//!
//! Names, reasons and faults come from a cloud's users. [`Page`] lets no control or direction-changing character of
//! theirs through and keeps every line within the width, so no view has to remember either.

use std::borrow::Cow;

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use crate::plan::Rung;

/// Below this, columns would be unreadable; a narrower terminal wraps.
const MIN_COLUMNS: usize = 60;
/// Wider lines are hard to follow with the eye, and nothing here needs more.
const MAX_COLUMNS: usize = 200;
/// A column of a table is never squeezed below this, so that nine of them still fit into [`MIN_COLUMNS`].
const MIN_CELL: usize = 4;
/// Names are users' input of up to 255 characters; this many columns tell them apart.
const NAME_COLUMNS: usize = 32;
/// Of an id: the first group of a uuid. It is enough to find a server by eye; full ids are given where one has to act.
const SHORT_ID: usize = 8;

/// How to write. Whether there may be colour is the caller's decision; everything is understandable without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub color: bool,
    /// Columns of the terminal, or what a log should be cut to.
    pub width: u16,
}

impl Default for Style {
    /// For files and pipes.
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

impl Style {
    pub(super) fn columns(self) -> usize {
        usize::from(self.width).clamp(MIN_COLUMNS, MAX_COLUMNS)
    }
}

/// What a piece of text means; only shown as colour beside words that say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Tone {
    /// The text between the escape codes of this tone, where there is colour.
    pub(super) fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
        };
        if color && !code.is_empty() && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Control characters could drive the reader's terminal; the others turn text around or hide in it.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with every unsafe character made visible: `\n`, `\x1b`, `\u{202e}`.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            unsafe_one if is_unsafe(unsafe_one) && u32::from(unsafe_one) < 0x100 => {
                safe.push_str(&format!("\\x{:02x}", u32::from(unsafe_one)));
            }
            unsafe_one if is_unsafe(unsafe_one) => safe.push_str(&format!("\\u{{{:x}}}", u32::from(unsafe_one))),
            other => safe.push(other),
        }
    }
    Cow::Owned(safe)
}

/// JSON with every unsafe character written as its escape: the same data, and harmless to a terminal. Outside strings
/// JSON has none but line breaks.
pub(super) fn clean_json(json: String) -> String {
    if !json.contains(|character| character != '\n' && is_unsafe(character)) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        if character != '\n' && is_unsafe(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text cut to this many columns, with `…` where something is missing.
pub(super) fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    // Characters without width (combining marks) could pile up without bound in one column.
    let most_chars = columns.saturating_mul(4);
    if width(text) <= columns && text.chars().nth(most_chars).is_none() {
        return Cow::Borrowed(text);
    }
    if columns == 0 {
        return Cow::Borrowed("");
    }
    let mut cut = String::new();
    for character in text.chars().take(most_chars) {
        cut.push(character);
        if width(&cut) >= columns {
            cut.pop();
            break;
        }
    }
    while width(&cut) >= columns && cut.pop().is_some() {}
    cut.push('…');
    Cow::Owned(cut)
}

/// The text cut or filled up to exactly this many columns.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let missing = columns.saturating_sub(width(&text));
    format!("{text}{}", " ".repeat(missing))
}

/// As [`pad`], filled up on the left: for numbers.
pub(super) fn pad_left(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let missing = columns.saturating_sub(width(&text));
    format!("{}{text}", " ".repeat(missing))
}

/// Breaks prose at spaces into lines of at most this many columns; longer words are cut apart.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word = clean(word);
        let gap = usize::from(!line.is_empty());
        if width(&line) + gap + width(&word) <= columns {
            line.push_str(if gap == 1 { " " } else { "" });
            line.push_str(&word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for character in word.chars() {
            line.push(character);
            if width(&line) > columns && line.chars().nth(1).is_some() {
                line.pop();
                lines.push(std::mem::replace(&mut line, character.to_string()));
            }
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// `1 server`, `3 servers`.
pub(super) fn count(number: usize, word: &str) -> String {
    match (number, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {word}s"),
    }
}

/// `12 s`, `3 min 20 s`, `1 h 05 min`, `2 d 3 h`.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 if seconds.is_multiple_of(60) => format!("{minutes} min"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 if minutes % 60 == 0 => format!("{hours} h"),
        3_600..86_400 => format!("{hours} h {:02} min", minutes % 60),
        _ if hours % 24 == 0 => format!("{days} d"),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Whole seconds from one moment to a later one; 0 when the clock went back.
pub(super) fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

/// `16:42:07Z`: UTC, as run ids and Nova's own logs have it.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

pub(super) fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// `2026-11-23 16:42:07 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `512 MiB`, `8 GiB`, `1.5 TiB`.
pub(super) fn mib(mib: u64) -> String {
    const UNITS: [(&str, u64); 2] = [("TiB", 1024 * 1024), ("GiB", 1024)];
    for (unit, size) in UNITS {
        if mib >= size {
            let tenths = u128::from(mib) * 10 / u128::from(size);
            return if mib.is_multiple_of(size) || tenths >= 1_000 {
                format!("{} {unit}", mib / size)
            } else {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{mib} MiB")
}

pub(super) fn bytes(bytes: u64) -> String {
    if bytes >= 1024 * 1024 { mib(bytes / (1024 * 1024)) } else { format!("{} KiB", bytes / 1024) }
}

/// The first group of a uuid, `9f2c1a07…`.
pub(super) fn short_id(id: &str) -> String {
    let mut short: String = id.chars().take(SHORT_ID).collect();
    if id.chars().nth(SHORT_ID).is_some() {
        short.push('…');
    }
    clean(&short).into_owned()
}

/// `web-3 (9f2c1a07…)`.
pub(super) fn server(name: &str, id: &str) -> String {
    if name.is_empty() { short_id(id) } else { format!("{} ({})", fit(&clean(name), NAME_COLUMNS), short_id(id)) }
}

/// `web-3 (9f2c1a07-…)` with the whole id: for where someone has to type it.
pub(super) fn server_in_full(name: &str, id: &str) -> String {
    format!("{} ({})", fit(&clean(name), NAME_COLUMNS), clean(id))
}

/// An argument list as one would type it into a shell.
pub(super) fn shell(argv: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    let quoted = argv.iter().map(|argument| {
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.clone()
        } else {
            format!("'{}'", clean(argument).replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The word the plan has for it.
pub(super) fn rung(rung: Rung) -> &'static str {
    match rung {
        Rung::Live => "live",
        Rung::Cold => "cold",
        Rung::Stop => "stop",
        Rung::Leave => "leave",
    }
}

/// Lines of text under construction.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    style: Style,
}

impl Page {
    pub(super) fn new(style: Style) -> Self {
        Self { text: String::new(), style }
    }

    pub(super) fn columns(&self) -> usize {
        self.style.columns()
    }

    pub(super) fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    pub(super) fn line(&mut self, tone: Tone, text: &str) {
        self.parts(&[(tone, text)]);
    }

    /// One line, made safe and cut to the width: the only way into a page.
    pub(super) fn parts(&mut self, parts: &[(Tone, &str)]) {
        let mut left = self.columns();
        let last = parts.iter().rposition(|(_, text)| !text.trim_end().is_empty());
        for (index, (tone, text)) in parts.iter().enumerate() {
            let text = match last {
                Some(last) if index < last => text,
                Some(last) if index == last => text.trim_end(),
                _ => break,
            };
            let text = clean(text);
            let text = fit(&text, left);
            left -= width(&text).min(left);
            self.text.push_str(&tone.paint(&text, self.style.color));
        }
        self.text.push('\n');
    }

    /// A command to be copied, behind a lead: made safe, and never cut or broken, however narrow the page is.
    pub(super) fn command(&mut self, lead: &str, command: &str) {
        let command = clean(command);
        self.text.push_str(&format!("{lead}{}\n", Tone::Strong.paint(&command, self.style.color)));
    }

    /// Prose behind a lead, its further lines indented as far as the lead is wide.
    pub(super) fn wrapped(&mut self, lead: &str, tone: Tone, text: &str) {
        let indent = width(lead);
        let columns = self.columns().saturating_sub(indent).max(MIN_CELL);
        for (index, line) in wrap(text, columns).iter().enumerate() {
            let blank = " ".repeat(indent);
            self.parts(&[(Tone::Plain, if index == 0 { lead } else { &blank }), (tone, line)]);
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Rows under headings, as wide as their contents and never wider than the page.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<(Tone, String)>>,
}

/// Heading, side, and the width below which it is only cut when nothing else can be: run ids have to be typed again.
type Column = (&'static str, Align, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

impl Table {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<(Tone, String)>) {
        self.rows.push(cells.into_iter().map(|(tone, text)| (tone, clean(&text).into_owned())).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn write(&self, page: &mut Page, indent: usize) {
        let widths = self.widths(page.columns().saturating_sub(indent));
        let headings: Vec<_> = self.columns.iter().map(|(title, ..)| (Tone::Dim, (*title).to_owned())).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut parts = vec![(Tone::Plain, " ".repeat(indent))];
            for ((cell, (_, align, _)), columns) in row.iter().zip(&self.columns).zip(&widths) {
                let text = match align {
                    Align::Left => pad(&cell.1, *columns),
                    Align::Right => pad_left(&cell.1, *columns),
                };
                parts.push((cell.0, text));
                parts.push((Tone::Plain, "  ".to_owned()));
            }
            page.parts(&parts.iter().map(|(tone, text)| (*tone, text.as_str())).collect::<Vec<_>>());
        }
    }

    /// As wide as the contents; where that is too wide, the widest column gives way first, down to its least width, and
    /// then the last one: what a row is about stands first.
    fn widths(&self, available: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(title, ..)| width(title)).collect();
        for row in &self.rows {
            for (column, (_, text)) in widths.iter_mut().zip(row) {
                *column = (*column).max(width(text)).min(MAX_COLUMNS);
            }
        }
        let gaps = 2 * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > available {
            let columns = widths.iter_mut().zip(&self.columns);
            let above = columns.filter(|(width, column)| **width > column.2.max(MIN_CELL)).map(|(width, _)| width);
            let Some(widest) = above.max() else { break };
            *widest -= 1;
        }
        while widths.iter().sum::<usize>() + gaps > available {
            let Some(last) = widths.iter_mut().rfind(|width| **width > MIN_CELL) else { break };
            *last -= 1;
        }
        widths
    }
}

#[cfg(test)]
mod tests;
