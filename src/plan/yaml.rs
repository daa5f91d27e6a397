//! Text to a tree of values with places: the only file that knows a YAML crate.
//!
//! Two parsers read the same text. `saphyr-parser` gives every value its place and shows what is refused: duplicate
//! keys, anchors, tags, merge keys, further documents, too much of anything. `serde_yaml` gives the values. The two
//! trees are laid over each other, and where they differ the document is refused rather than one of them believed.
//!
//! Deliberately absent: what the keys mean.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as RawSpan, StrInput};
use serde_yaml::Value;

use super::diagnostic::{Diagnostic, Findings, Place, Source, Span};

/// A plan for ten thousand named hosts is a quarter of this; more is a wrong file.
pub(super) const BYTES_MAX: usize = 1024 * 1024;

/// The deepest place of a plan is 7 levels down; recursion over the tree is bounded by this.
const DEPTH_MAX: usize = 32;

/// Values in the document, keys included: what 1 MiB of host names comes to, several times over.
const NODES_MAX: usize = 200_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    /// Written without quotes, on one line: what other YAML readers may take for something else than text.
    pub(super) plain: bool,
    pub(super) tree: Tree,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(serde_yaml::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Already reported as refused; says nothing about its value.
    Refused,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) node: Node,
}

impl Tree {
    /// What it is, in a sentence: "expected text, found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Refused => "something refused",
        }
    }
}

/// The document as a tree, as far as it can be read, and what is wrong with its YAML.
pub(super) fn read(source: &Source<'_>, text: &str) -> (Option<Node>, Findings) {
    let start = Place { line: 1, column: 1 };
    let origin = Span { start, end: start };
    if text.len() > BYTES_MAX {
        let message = format!("a plan may have {BYTES_MAX} bytes, this file has {}", text.len());
        let mut found = Findings::default();
        found.add(|| source.diagnose(origin, "", message));
        return (None, found);
    }
    let mut builder = Builder::new(source);
    if let Err(fatal) = builder.run(text) {
        builder.found.add(|| *fatal);
        return (None, builder.found);
    }
    let Builder { root, mut found, .. } = builder;
    let Some(mut root) = root else {
        found.add(|| source.diagnose(origin, "", "the document is empty, a plan begins with `furlough: 1`"));
        return (None, found);
    };
    if found.is_empty() {
        match serde_yaml::from_str::<Value>(text) {
            Ok(value) => {
                if let Err(span) = overlay(&mut root, &value) {
                    let message = "this can be read in two ways as YAML";
                    let mut disagreement = source.diagnose(span, "", message);
                    disagreement.help = Some("write it more plainly: quote texts, one key on a line".to_owned());
                    found.add(|| disagreement);
                }
            }
            Err(error) => {
                let place = error.location().map_or(start, |at| Place { line: at.line(), column: at.column() });
                let span = Span { start: place, end: place };
                found.add(|| source.diagnose(span, "", format!("cannot be read as YAML: {error}")));
            }
        }
    } else {
        // Something is refused already, so that the values only serve to find further mistakes in the same reading.
        resolve_scalars(&mut root);
    }
    (Some(root), found)
}

/// Gives every scalar of `node` the value that serde_yaml read; the span of the first difference is the error.
fn overlay(node: &mut Node, value: &Value) -> Result<(), Span> {
    match (&mut node.tree, value) {
        (Tree::List(nodes), Value::Sequence(values)) if nodes.len() == values.len() => {
            nodes.iter_mut().zip(values).try_for_each(|(node, value)| overlay(node, value))
        }
        (Tree::Map(entries), Value::Mapping(values)) if entries.len() == values.len() => {
            entries.iter_mut().zip(values).try_for_each(|(entry, (key, value))| {
                if scalar_text(key, &entry.key) { overlay(&mut entry.node, value) } else { Err(entry.span) }
            })
        }
        (Tree::Text(raw), Value::String(text)) if raw == text => Ok(()),
        (Tree::Text(_), _) if !node.plain => Err(node.span),
        (Tree::Text(raw), Value::Null | Value::Bool(_) | Value::Number(_)) if resolve(raw) == *value => {
            node.tree = scalar(value);
            Ok(())
        }
        _ => Err(node.span),
    }
}

/// Whether a key that serde_yaml may have resolved to a number is the text that was written.
fn scalar_text(key: &Value, raw: &str) -> bool {
    match key {
        Value::String(text) => text == raw,
        other => resolve(raw) == *other,
    }
}

fn scalar(value: &Value) -> Tree {
    match value {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(*value),
        Value::Number(number) => Tree::Number(number.clone()),
        Value::String(text) => Tree::Text(text.clone()),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => Tree::Refused,
    }
}

/// The value of one plain scalar.
fn resolve(raw: &str) -> Value {
    serde_yaml::from_str(raw).unwrap_or_else(|_| Value::String(raw.to_owned()))
}

fn resolve_scalars(node: &mut Node) {
    match &mut node.tree {
        Tree::Text(raw) if node.plain => node.tree = scalar(&resolve(raw)),
        Tree::List(nodes) => nodes.iter_mut().for_each(resolve_scalars),
        Tree::Map(entries) => entries.iter_mut().for_each(|entry| resolve_scalars(&mut entry.node)),
        _ => {}
    }
}

/// A list or mapping whose end has not come yet.
#[derive(Debug)]
enum Open {
    List { start: Place, nodes: Vec<Node> },
    Map(OpenMap),
}

#[derive(Debug)]
struct OpenMap {
    start: Place,
    entries: Vec<Entry>,
    /// Every key and where it was given, so that a long mapping is not searched for each of its keys.
    seen: HashMap<String, Place>,
    /// A key whose value has not come yet; without text where it was not one word.
    key: Option<(Option<String>, Span)>,
}

/// Builds the tree of places from parser events; scalars keep the text that was written.
#[derive(Debug)]
struct Builder<'a> {
    source: &'a Source<'a>,
    found: Findings,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

/// Boxed, because a diagnostic is large and the good way is the usual one.
type Fatal = Box<Diagnostic>;

impl<'a> Builder<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        Self { source, found: Findings::default(), open: Vec::new(), root: None, nodes: 0, documents: 0 }
    }

    fn run(&mut self, text: &str) -> Result<(), Fatal> {
        let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, raw) = event.map_err(|error| {
                let place = Place { line: error.marker().line(), column: error.marker().col() + 1 };
                let message = format!("not YAML: {}", error.info());
                let mut fatal = self.source.diagnose(Span { start: place, end: place }, "", message);
                if text.lines().any(|line| line.trim_start_matches(' ').starts_with('\t')) {
                    fatal.help = Some("indent with spaces, YAML takes no tabs".to_owned());
                }
                Box::new(fatal)
            })?;
            let span = places(raw);
            match event {
                Event::DocumentStart(_) => {
                    self.documents += 1;
                    if self.documents > 1 {
                        return Err(self.fatal(span, "a plan is one document, here a second one begins", None));
                    }
                }
                other => self.event(other, span)?,
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_anchor_and_tag(anchor, tag.as_deref(), span);
                self.value(span, style == ScalarStyle::Plain, Tree::Text(text.into_owned()))
            }
            Event::Alias(_) => {
                let mut refused = self.source.diagnose(span, "", "aliases (`*name`) are not read in a plan");
                refused.help = Some("write the value out where it is needed".to_owned());
                self.found.add(|| refused);
                self.value(span, true, Tree::Refused)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_anchor_and_tag(anchor, tag.as_deref(), span);
                self.begin(Open::List { start: span.start, nodes: Vec::new() }, span)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_anchor_and_tag(anchor, tag.as_deref(), span);
                let map = OpenMap { start: span.start, entries: Vec::new(), seen: HashMap::new(), key: None };
                self.begin(Open::Map(map), span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                match self.open.pop() {
                    Some(Open::List { start, nodes }) => self.place(node(start, span, Tree::List(nodes))),
                    Some(Open::Map(map)) => self.place(node(map.start, span, Tree::Map(map.entries))),
                    None => {}
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fatal(&self, span: Span, message: &str, help: Option<&str>) -> Fatal {
        let mut fatal = self.source.diagnose(span, "", message);
        fatal.help = help.map(str::to_owned);
        Box::new(fatal)
    }

    fn refuse_anchor_and_tag(&mut self, anchor: usize, tag: Option<&saphyr_parser::Tag>, span: Span) {
        if anchor != 0 {
            let mut refused = self.source.diagnose(span, "", "anchors (`&name`) are not read in a plan");
            refused.help = Some("write the value out where it is needed".to_owned());
            self.found.add(|| refused);
        }
        if let Some(tag) = tag {
            let message = format!("tags are not read in a plan, found `{}{}`", tag.handle, tag.suffix);
            self.found.add(|| self.source.diagnose(span, "", message));
        }
    }

    fn count(&mut self, span: Span) -> Result<(), Fatal> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("a plan may have {NODES_MAX} values, here is one more");
            return Err(self.fatal(span, &message, None));
        }
        Ok(())
    }

    fn begin(&mut self, open: Open, span: Span) -> Result<(), Fatal> {
        self.count(span)?;
        if self.open.len() >= DEPTH_MAX {
            let message = format!("lists and mappings are nested more than {DEPTH_MAX} deep here");
            return Err(self.fatal(span, &message, None));
        }
        self.open.push(open);
        Ok(())
    }

    fn value(&mut self, span: Span, plain: bool, tree: Tree) -> Result<(), Fatal> {
        self.count(span)?;
        self.place(Node { span, plain, tree });
        Ok(())
    }

    /// Puts a finished value where it belongs: a key, a value of a key, an entry of a list, or the document.
    fn place(&mut self, node: Node) {
        let map = match self.open.last_mut() {
            None => {
                self.root = Some(node);
                return;
            }
            Some(Open::List { nodes, .. }) => {
                nodes.push(node);
                return;
            }
            Some(Open::Map(map)) => map,
        };
        match map.key.take() {
            None => {
                let text = if let Tree::Text(text) = node.tree { Some(text) } else { None };
                map.key = Some((text, node.span));
            }
            Some((None, span)) => {
                self.found.add(|| self.source.diagnose(span, "", "a key is one word, not a list or a mapping"));
            }
            Some((Some(key), span)) => match map.seen.insert(key.clone(), span.start) {
                None => map.entries.push(Entry { key, span, node }),
                Some(first) => {
                    map.seen.insert(key.clone(), first);
                    let mut twice = self.source.diagnose(span, "", format!("the key `{key}` is given twice"));
                    twice.also = Some((first, "given first".to_owned()));
                    twice.help = Some("YAML would silently keep only one of them: join the two".to_owned());
                    self.found.add(|| twice);
                }
            },
        }
    }
}

fn node(start: Place, end: Span, tree: Tree) -> Node {
    Node { span: Span { start, end: end.end }, plain: false, tree }
}

fn places(raw: RawSpan) -> Span {
    let place = |marker: saphyr_parser::Marker| Place { line: marker.line().max(1), column: marker.col() + 1 };
    Span { start: place(raw.start), end: place(raw.end) }
}
