//! Reading single keys by the table: each method takes a key of a mapping, reports what is wrong with its value and gives
//! the value or its default.

use super::{Count, Expr, Kind, Node, Reader, Scope, Tree, shape};
use crate::plan::diagnostic::{Diagnostic, Span};
use crate::plan::scalars::{self, is_ambiguous, listed, nearest};
use crate::plan::shape::{Field, Rule, Shape, Word};
use crate::plan::yaml::Entry;
use crate::plan::{Pattern, Template, TextError};

/// A run's name stands in the disabled reason of every host, 255 characters in Nova, beside the run's id.
const TEXT_CHARS_MAX: usize = 200;

/// A mapping being read, or one that was left out and stands for its defaults.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    shape: &'static Shape,
    /// `None` where the mapping was left out, or was reported as something else.
    entries: Option<&'n [Entry]>,
    span: Span,
    path: String,
}

impl<'n> Fields<'n> {
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    pub(super) fn is_given(&self) -> bool {
        self.entries.is_some()
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries?.iter().find(|entry| entry.key == key)
    }
}

impl Reader<'_> {
    pub(super) fn report(&mut self, span: Span, path: &str, message: String, help: Option<String>) {
        let source = self.source;
        self.found.add(|| Diagnostic { help, ..source.diagnose(span, path, message) });
    }

    pub(super) fn report_value(&mut self, fields: &Fields<'_>, key: &str, message: String, help: Option<String>) {
        let span = fields.entry(key).map_or(fields.span, |entry| entry.node.span);
        self.report(span, &shape::join(&fields.path, key), message, help);
    }

    pub(super) fn asks(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<&'static Field> {
        #[cfg(test)]
        self.asked.insert((fields.shape.what.to_owned(), key));
        fields.shape.field(key)
    }

    /// The value of a key, unless it is missing or already refused.
    fn given<'n>(&mut self, fields: &Fields<'n>, key: &'static str) -> Option<&'n Entry> {
        self.asks(fields, key);
        fields.entry(key).filter(|entry| entry.node.tree != Tree::Refused)
    }

    /// Reports a value of the wrong kind. The caret stands at the value, or at the key where there is none.
    fn wrong(&mut self, fields: &Fields<'_>, entry: &Entry, expected: &str, help: Option<String>) {
        let span = if entry.node.tree == Tree::Null { entry.span } else { entry.node.span };
        let message = format!("`{}` must be {expected}, this is {}", entry.key, entry.node.tree.kind());
        self.report(span, &shape::join(&fields.path, &entry.key), message, help);
    }

    pub(super) fn root<'n>(&mut self, shape: &'static Shape, node: &'n Node) -> Fields<'n> {
        self.open(shape, node, node.span, String::new())
    }

    /// Opens a mapping and judges its keys together: unknown ones, missing ones, too many.
    fn open<'n>(&mut self, shape: &'static Shape, node: &'n Node, span: Span, path: String) -> Fields<'n> {
        let Tree::Map(entries) = &node.tree else {
            if node.tree != Tree::Refused {
                let keys = listed(shape.fields.iter().map(|field| field.key));
                let message = format!("{} must be a mapping, this is {}", shape.what, node.tree.kind());
                self.report(span, &path, message, Some(format!("its keys are {keys}")));
            }
            return Fields { shape, entries: None, span, path };
        };
        let fields = Fields { shape, entries: Some(entries), span, path };
        for entry in entries.iter().filter(|entry| shape.field(&entry.key).is_none()) {
            let message = format!("`{}` is not a key of {}", entry.key, shape.what);
            let source = self.source;
            self.found.add(|| Diagnostic {
                help: Some(unknown_help(shape, entry)),
                ..source.diagnose(entry.span, &shape::join(&fields.path, &entry.key), message)
            });
        }
        for field in shape.fields.iter().filter(|field| field.required && fields.entry(field.key).is_none()) {
            // The version has words of its own.
            if !matches!(field.kind, Kind::Version) {
                let message = format!("{} needs the key `{}`", shape.what, field.key);
                self.report(first_line(&fields), &fields.path, message, Some(lower_first(field.about)));
            }
        }
        let known = entries.iter().filter(|entry| shape.field(&entry.key).is_some()).count();
        let keys = || listed(shape.fields.iter().map(|field| field.key));
        match shape.rule {
            Rule::AtLeastOne if entries.is_empty() => {
                let message = format!("{} needs at least one of {}", shape.what, keys());
                self.report(fields.span, &fields.path, message, Some("every host is `name: \"*\"`".to_owned()));
            }
            Rule::ExactlyOne if known > 1 || entries.is_empty() => {
                let message = format!("{} is exactly one of {}", shape.what, keys());
                let help = "begin a new entry with `- ` for each".to_owned();
                self.report(fields.span, &fields.path, message, Some(help));
            }
            _ => {}
        }
        fields
    }

    pub(super) fn map<'n>(&mut self, parent: &Fields<'n>, key: &'static str) -> Fields<'n> {
        let field = self.asks(parent, key);
        let path = shape::join(&parent.path, key);
        match (field.map(|field| &field.kind), parent.entry(key)) {
            (Some(Kind::Map(shape)), Some(entry)) => {
                let span =
                    if matches!(entry.node.tree, Tree::Map(_) | Tree::Null) { entry.span } else { entry.node.span };
                self.open(shape, &entry.node, span, path)
            }
            (Some(Kind::Map(shape)), None) => Fields { shape, entries: None, span: parent.span, path },
            _ => Fields { shape: parent.shape, entries: None, span: parent.span, path },
        }
    }

    /// Reads every entry of a list of mappings.
    pub(super) fn list<T>(
        &mut self,
        parent: &Fields<'_>,
        key: &'static str,
        mut read: impl FnMut(&mut Self, &Fields<'_>) -> T,
    ) -> Vec<T> {
        let field = self.asks(parent, key);
        let (Some(Kind::List { of, may_be_empty }), Some(entry)) =
            (field.map(|field| &field.kind), self.given(parent, key))
        else {
            return Vec::new();
        };
        let Tree::List(nodes) = &entry.node.tree else {
            self.wrong(parent, entry, "a list", Some("begin each entry with `- `".to_owned()));
            return Vec::new();
        };
        if nodes.is_empty() && !may_be_empty {
            self.report(entry.node.span, &shape::join(&parent.path, key), format!("`{key}` is empty"), None);
        }
        let path = shape::join(&parent.path, key);
        let mut values = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let span = match &node.tree {
                Tree::Map(entries) => entries.first().map_or(node.span, |entry| entry.span),
                _ => node.span,
            };
            let fields = self.open(of, node, span, format!("{path}[{index}]"));
            values.push(read(self, &fields));
        }
        values
    }

    /// Text that every reader of YAML takes for text; the boolean says whether nothing was reported.
    fn text_of<'n>(&mut self, node: &'n Node, key: &str, path: &str, fallback: Span) -> Option<&'n str> {
        let span = if node.tree == Tree::Null { fallback } else { node.span };
        match &node.tree {
            Tree::Text(text) if node.plain && is_ambiguous(text) => {
                let message = format!("`{text}` is not text to every reader of YAML");
                self.report(span, path, message, Some(format!("quote it: \"{text}\"")));
                None
            }
            Tree::Text(text) if text.is_empty() => {
                self.report(span, path, format!("`{key}` is empty"), None);
                None
            }
            Tree::Text(text) => Some(text),
            Tree::Refused => None,
            other => {
                let written = self.source.diagnose(span, path, "").text;
                let help = match other {
                    Tree::Bool(_) | Tree::Number(_) => Some(format!("quote it: \"{written}\"")),
                    _ => None,
                };
                self.report(span, path, format!("`{key}` must be text, this is {}", other.kind()), help);
                None
            }
        }
    }

    pub(super) fn text(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<String> {
        let entry = self.given(fields, key)?;
        let path = shape::join(&fields.path, key);
        let text = self.text_of(&entry.node, key, &path, entry.span)?;
        if text.chars().count() > TEXT_CHARS_MAX || text.chars().any(char::is_control) {
            let message = format!("`{key}` must be one line of at most {TEXT_CHARS_MAX} characters");
            self.report(entry.node.span, &path, message, None);
        }
        Some(text.to_owned())
    }

    /// The texts of a list; a single one too where `single` allows it.
    fn texts<'n>(&mut self, fields: &Fields<'_>, entry: &'n Entry, single: bool) -> Vec<(&'n Node, &'n str, String)> {
        let path = shape::join(&fields.path, &entry.key);
        match &entry.node.tree {
            Tree::List(nodes) if nodes.is_empty() => {
                self.report(entry.node.span, &path, format!("`{}` is empty", entry.key), None);
                Vec::new()
            }
            Tree::List(nodes) => nodes
                .iter()
                .enumerate()
                .filter_map(|(index, node)| {
                    let path = format!("{path}[{index}]");
                    let what = format!("{}[{index}]", entry.key);
                    self.text_of(node, &what, &path, entry.span).map(|text| (node, text, path))
                })
                .collect(),
            _ if single => self
                .text_of(&entry.node, &entry.key, &path, entry.span)
                .map(|text| (&entry.node, text, path))
                .into_iter()
                .collect(),
            Tree::Text(_) => {
                let help = "write the program and each argument as an entry: no shell reads them".to_owned();
                self.wrong(fields, entry, "a list", Some(help));
                Vec::new()
            }
            _ => {
                self.wrong(fields, entry, "a list", None);
                Vec::new()
            }
        }
    }

    pub(super) fn patterns(&mut self, fields: &Fields<'_>, key: &'static str) -> Vec<Pattern> {
        let Some(entry) = self.given(fields, key) else { return Vec::new() };
        let texts = self.texts(fields, entry, true);
        texts.into_iter().filter_map(|(node, text, path)| self.checked(node, &path, Pattern::parse(text))).collect()
    }

    pub(super) fn templates(&mut self, fields: &Fields<'_>, key: &'static str) -> Vec<Template> {
        let Some(entry) = self.given(fields, key) else { return Vec::new() };
        let texts = self.texts(fields, entry, false);
        texts.into_iter().filter_map(|(node, text, path)| self.checked(node, &path, Template::parse(text))).collect()
    }

    pub(super) fn condition(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<Expr> {
        let scope = match self.asks(fields, key).map(|field| &field.kind) {
            Some(Kind::Condition(scope)) => *scope,
            _ => Scope::Host,
        };
        let entry = self.given(fields, key)?;
        let path = shape::join(&fields.path, key);
        if matches!(entry.node.tree, Tree::Bool(_)) {
            self.wrong(fields, entry, "a condition in quotes", Some(format!("leave `{key}` out to match always")));
            return None;
        }
        let text = self.text_of(&entry.node, key, &path, entry.span)?;
        self.checked(&entry.node, &path, Expr::parse(text, scope))
    }

    /// Reports an error inside a text where in the document it stands.
    fn checked<T>(&mut self, node: &Node, path: &str, parsed: Result<T, TextError>) -> Option<T> {
        let error = match parsed {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let text = if let Tree::Text(text) = &node.tree { text.as_str() } else { "" };
        let span = error.offset.and_then(|offset| self.source.span_in(node.span, text, offset)).unwrap_or(node.span);
        self.report(span, path, error.message, error.help);
        None
    }

    pub(super) fn duration(&mut self, fields: &Fields<'_>, key: &'static str) -> u64 {
        let Some(Kind::Duration { min_s, default_s }) = self.asks(fields, key).map(|field| &field.kind) else {
            return 0;
        };
        let Some(entry) = self.given(fields, key) else { return *default_s };
        match &entry.node.tree {
            Tree::Text(text) => match scalars::duration(text, *min_s) {
                Ok(seconds) => return seconds,
                Err(why) => {
                    let message = format!("`{text}` is not a duration for `{key}`: {why}");
                    self.report_value(
                        fields,
                        key,
                        message,
                        Some("write for instance `90s`, `5m` or `1h30m`".to_owned()),
                    );
                }
            },
            Tree::Number(number) => {
                self.wrong(
                    fields,
                    entry,
                    "a duration with its unit",
                    Some(format!("write `{number}s` or `{number}m`")),
                );
            }
            _ => self.wrong(fields, entry, "a duration", Some("write for instance `90s`, `5m` or `1h30m`".to_owned())),
        }
        *default_s
    }

    pub(super) fn whole(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<u32> {
        let Some(Kind::Whole { min, default }) = self.asks(fields, key).map(|field| &field.kind) else { return None };
        let Some(entry) = self.given(fields, key) else { return *default };
        match &entry.node.tree {
            Tree::Number(number) => match scalars::whole(number, *min) {
                Ok(number) => return Some(number),
                Err(range) => {
                    let message = format!("`{key}` must be a whole number {range}, this is {number}");
                    self.report_value(fields, key, message, None);
                }
            },
            _ => self.wrong(fields, entry, "a whole number", None),
        }
        *default
    }

    pub(super) fn count(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<Count> {
        let Some(Kind::Count { default }) = self.asks(fields, key).map(|field| &field.kind) else { return None };
        let default = default.map(Count::Hosts);
        let Some(entry) = self.given(fields, key) else { return default };
        let read = match &entry.node.tree {
            Tree::Number(number) => scalars::whole(number, 1).map(Count::Hosts),
            Tree::Text(text) => scalars::percent(text),
            _ => {
                self.wrong(fields, entry, "a number of hosts or a percentage", None);
                return default;
            }
        };
        match read {
            Ok(count) => Some(count),
            Err(why) => {
                let message = format!("`{key}` must be a number of hosts or a percentage: {why}");
                self.report_value(fields, key, message, Some("write for instance `3` or `25%`".to_owned()));
                default
            }
        }
    }

    pub(super) fn word(&mut self, fields: &Fields<'_>, key: &'static str) -> &'static str {
        let Some(Kind::Word { words, default }) = self.asks(fields, key).map(|field| &field.kind) else { return "" };
        let Some(entry) = self.given(fields, key) else { return default };
        let path = shape::join(&fields.path, key);
        match &entry.node.tree {
            Tree::Text(text) => self.known_word(words, text, entry.node.span, &path).unwrap_or(default),
            _ => {
                self.wrong(fields, entry, &format!("one of {}", usable(words)), None);
                default
            }
        }
    }

    pub(super) fn words(&mut self, fields: &Fields<'_>, key: &'static str) -> Vec<(&'static str, Span)> {
        let Some(Kind::Words { words }) = self.asks(fields, key).map(|field| &field.kind) else { return Vec::new() };
        let Some(entry) = self.given(fields, key) else { return Vec::new() };
        let path = shape::join(&fields.path, key);
        let Tree::List(nodes) = &entry.node.tree else {
            self.wrong(fields, entry, &format!("a list of {}", usable(words)), None);
            return Vec::new();
        };
        if nodes.is_empty() {
            self.report(entry.node.span, &path, format!("`{key}` is empty"), Some(format!("use {}", usable(words))));
        }
        let mut read: Vec<(&'static str, Span)> = Vec::new();
        for node in nodes {
            let Tree::Text(text) = &node.tree else {
                if node.tree != Tree::Refused {
                    let message = format!("`{key}` takes {}, this is {}", usable(words), node.tree.kind());
                    self.report(node.span, &path, message, None);
                }
                continue;
            };
            match self.known_word(words, text, node.span, &path) {
                Some(word) if read.iter().any(|(earlier, _)| *earlier == word) => {
                    self.report(node.span, &path, format!("`{word}` is in `{key}` twice"), None);
                }
                Some(word) => read.push((word, node.span)),
                None => {}
            }
        }
        read
    }

    fn known_word(&mut self, words: &'static [Word], text: &str, span: Span, path: &str) -> Option<&'static str> {
        match words.iter().find(|word| word.word == text) {
            Some(Word { word, instead: None, .. }) => Some(word),
            Some(Word { word, instead: Some(instead), .. }) => {
                let message = format!("`{word}` is not available yet in this version");
                self.report(span, path, message, Some(format!("use `{instead}`")));
                None
            }
            None => {
                let message = format!("`{text}` is not one of {}", usable(words));
                let near = nearest(text, words.iter().filter(|word| word.instead.is_none()).map(|word| word.word));
                self.report(span, path, message, near.map(|near| format!("did you mean `{near}`?")));
                None
            }
        }
    }
}

/// Where to point when something is missing from a mapping: its first line.
fn first_line(fields: &Fields<'_>) -> Span {
    fields.entries.and_then(<[Entry]>::first).filter(|_| fields.path.is_empty()).map_or(fields.span, |entry| entry.span)
}

fn usable(words: &'static [Word]) -> String {
    listed(words.iter().filter(|word| word.instead.is_none()).map(|word| word.word))
}

fn unknown_help(shape: &'static Shape, entry: &Entry) -> String {
    if entry.key == "<<" {
        return "merge keys are not read in a plan: write the keys out".to_owned();
    }
    if let Some(near) = nearest(&entry.key, shape.fields.iter().map(|field| field.key)) {
        return format!("did you mean `{near}`?");
    }
    match shape::homes(&entry.key).as_slice() {
        [] => format!("its keys are {}", listed(shape.fields.iter().map(|field| field.key))),
        homes if homes.iter().any(String::is_empty) => format!("`{}` stands at the top of the plan", entry.key),
        homes => format!("`{}` is a key of {}", entry.key, listed(homes.iter().map(String::as_str))),
    }
}

fn lower_first(sentence: &str) -> String {
    let mut characters = sentence.trim_end_matches('.').chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}
