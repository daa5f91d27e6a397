use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

use super::vocabulary::{self, Kind, Record};
use super::{TextError, bounded};
use crate::plan::facts::HostFacts;
use crate::plan::scalars::{listed, nearest};

/// Instructions one rendering may take: a few names and texts are tens, a loop without end is stopped.
const FUEL: u64 = 10_000;

/// A minijinja text over host facts, strict: an unknown name is an error when the plan is read, and a fact that the
/// cloud does not show is an error when it is rendered, never the word `none` in a command.
#[derive(Clone)]
pub struct Template {
    text: String,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text)?;
        if let Some(offset) = text.find("{%") {
            let error = TextError::new("only `{{ … }}` is read in a plan, not `{% … %}`").at(offset);
            return Err(error.help("put decisions into the script, or into a `where`"));
        }
        let environment = environment();
        let template = environment.template_from_str(text).map_err(|error| syntax_error(text, &error))?;
        for path in sorted(template.undeclared_variables(true)) {
            known(text, &path)?;
        }
        // Finds what the names alone do not show: an unknown filter, a member of something that has none.
        let sample = minijinja::context! { host => minijinja::value::Serde(HostFacts::sample()) };
        template.render(sample).map_err(|error| syntax_error(text, &error))?;
        Ok(Self { text: text.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn render(&self, host: &HostFacts) -> Result<String, TextError> {
        environment()
            .render_str(&self.text, minijinja::context! { host => minijinja::value::Serde(host) })
            .map_err(|error| TextError::new(format!("`{}` for host {}: {}", self.text, host.name, cause(&error))))
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(|out, state, value| {
        if value.is_none() {
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "the cloud does not show this fact"));
        }
        minijinja::escape_formatter(out, state, value)
    });
    environment
}

fn cause(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

fn syntax_error(text: &str, error: &minijinja::Error) -> TextError {
    let offset = text.find("{{");
    TextError { offset, ..TextError::new(format!("not a template: {}", cause(error))) }
}

fn sorted(names: std::collections::HashSet<String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names
}

/// Walks `host.service.state` through the vocabulary.
fn known(text: &str, path: &str) -> Result<(), TextError> {
    let mut names = path.split('.');
    let root = names.next().unwrap_or_default();
    let mut record: &'static Record = vocabulary::host();
    if root != record.path {
        let error = TextError::new(format!("unknown name `{root}`")).at(offset_of(text, root));
        return Err(match record.members.contains_key(root) {
            true => error.help(format!("did you mean `host.{root}`?")),
            false => error.help("templates speak of `host` only"),
        });
    }
    for name in names {
        let Some(member) = record.members.get(name) else {
            let error = TextError::new(format!("`{}.{name}` is not known", record.path)).at(offset_of(text, name));
            return Err(match nearest(name, record.names()) {
                Some(near) => error.help(format!("did you mean `{}.{near}`?", record.path)),
                None => error.help(format!("known are {}", listed(record.names()))),
            });
        };
        match &member.kind {
            Kind::Record(inner) => record = inner,
            // What is below a list or a text, rendering the sample shows.
            Kind::Plain(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Where a name is used first: as a whole word inside of braces.
fn offset_of(text: &str, name: &str) -> usize {
    let open = text.find("{{").unwrap_or(0);
    let boundary = |character: Option<char>| !character.is_some_and(|it| it.is_alphanumeric() || it == '_');
    text.match_indices(name)
        .map(|(offset, _)| offset)
        .find(|offset| {
            let before = text.get(..*offset).and_then(|before| before.chars().next_back());
            let after = text.get(offset + name.len()..).and_then(|after| after.chars().next());
            *offset > open && boundary(before) && boundary(after)
        })
        .unwrap_or(open)
}
