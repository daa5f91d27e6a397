//! CEL conditions.
//!
//! CEL as its specification has it, less what a condition about hosts and servers has no use for (maps, bytes, types,
//! optional values, regular expressions), and with one rule of ours: *what is not there is null*, be it a metadata key
//! that nobody set or a fact this cloud does not show. Null equals only null, so it fails every test that names a
//! value (`==`, `in`, `startsWith`, `endsWith`, `contains` are false, `!=` is true); `has(x)` is `x != null`. An order
//! (`<`, `>=`), a sum or a bare condition on null is an error that names it: a host whose used vCPUs are unknown is not
//! a host with few of them.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, EntryExpr, Expr as Ast, IdedExpr, LiteralValue, operators};
use cel::common::types::{CelBool, Kind, NULL_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use serde::Serialize;

use super::check::{self, Read};
use super::{Scope, TextError, bounded, members};
use crate::plan::facts::{HostFacts, ServerFacts};

/// Brackets inside brackets. cel's parser takes about 130 KiB of stack for each unoptimised, so the bound is kept before
/// it is asked, and it is asked on a stack of its own.
const NESTING_MAX: usize = 32;
const PARSER_STACK_BYTES: usize = 16 * 1024 * 1024;

/// Operators above operators: evaluation recurses on the caller's stack, whatever that is.
const DEPTH_MAX: usize = 64;

/// A CEL condition.
#[derive(Clone)]
pub struct Expr {
    text: String,
    checked: Arc<Checked>,
}

#[derive(Debug)]
struct Checked {
    expression: IdedExpr,
    /// What may be null in it, to say what was when it cannot be decided.
    reads: Vec<Read>,
}

/// What is known about one host, and perhaps one server on it, ready to be asked many conditions.
///
/// A host's part is made once and the servers on it come one after the other: [`Facts::set_server`].
pub struct Facts {
    context: cel::Context<'static, 'static>,
    host: String,
    server: Option<String>,
}

/// The functions of conditions: the standard ones, and the tests of text that null fails.
static FUNCTIONS: LazyLock<Result<Arc<cel::Env>, cel::DeclarationError>> = LazyLock::new(|| {
    let mut env = cel::Env::stdlib();
    for (name, id) in check::TEXT_TESTS {
        env.add_member_overload(name, id, NULL_TYPE, vec![STRING_TYPE], |_| Ok(CowVal::owned(CelBool::from(false))))?;
        env.add_member_overload(name, &format!("{id}_null"), STRING_TYPE, vec![NULL_TYPE], |_| {
            Ok(CowVal::owned(CelBool::from(false)))
        })?;
    }
    Ok(Arc::new(env))
});

impl Facts {
    pub fn of_host(host: &HostFacts) -> Result<Self, TextError> {
        let functions = FUNCTIONS.as_ref().map_err(TextError::new)?;
        let mut context = cel::Context::with_env(Arc::clone(functions));
        context.add_variable_as_val("host", members::value(plain(host)?));
        Ok(Self { context, host: host.name.clone(), server: None })
    }

    /// The server that `server` means from now on; it is on the host these facts are of.
    pub fn set_server(&mut self, server: &ServerFacts) -> Result<(), TextError> {
        self.context.add_variable_as_val("server", members::value(plain(server)?));
        self.server = Some(server.id.clone());
        Ok(())
    }

    /// Whom they are about, for messages.
    fn subject(&self) -> String {
        self.server.as_ref().map_or_else(|| format!("host {}", self.host), |server| format!("server {server}"))
    }
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Facts").field(&self.subject()).finish()
    }
}

fn plain(facts: &impl Serialize) -> Result<serde_json::Value, TextError> {
    serde_json::to_value(facts).map_err(TextError::new)
}

impl Expr {
    /// Compiles and checks a condition: every name is known in this scope, and it can only come out true or false.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, TextError> {
        bounded(text)?;
        bounded_nesting(text)?;
        let program = compile(text)?;
        let reads = check::check(&program, text, scope)?;
        let mut expression = program.expression().clone();
        presence_as_not_null(&mut expression);
        Ok(Self { text: text.to_owned(), checked: Arc::new(Checked { expression, reads }) })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds. [`Facts`] are cheaper where several conditions are asked about one server, or several servers
    /// of one host.
    pub fn holds(&self, host: &HostFacts, server: Option<&ServerFacts>) -> Result<bool, TextError> {
        let mut facts = Facts::of_host(host)?;
        if let Some(server) = server {
            facts.set_server(server)?;
        }
        self.holds_for(&facts)
    }

    /// Whether it holds for these facts. An order or a sum of something unknown is an error that names it.
    pub fn holds_for(&self, facts: &Facts) -> Result<bool, TextError> {
        let why = match cel::Value::resolve_val(&self.checked.expression, &facts.context) {
            Ok(value) => match value.downcast_ref::<CelBool>() {
                Some(holds) => return Ok(*holds.inner()),
                None => format!("it came out as {}", value.get_type().name()),
            },
            Err(error) => error.to_string(),
        };
        let unknown = self.checked.reads.iter().find(|read| {
            cel::Value::resolve_val(&read.expression, &facts.context)
                .is_ok_and(|value| value.get_type().kind() == Kind::NullType)
        });
        let error = format!("`{}` cannot be decided for {}", self.text, facts.subject());
        Err(match unknown {
            Some(Read { path, .. }) => TextError::new(format!("{error}: `{path}` is not known there"))
                .help(format!("test it first: `{path} != null && …`")),
            None => TextError::new(format!("{error}: {why}")),
        })
    }
}

/// Compiles on a stack that is large enough for what [`NESTING_MAX`] lets through.
fn compile(text: &str) -> Result<cel::Program, TextError> {
    let parse = || match cel::Program::compile(text) {
        Ok(program) if depth_exceeds(program.expression(), DEPTH_MAX) => {
            Err(TextError::new(format!("it has more than {DEPTH_MAX} operators one inside the other")))
        }
        Ok(program) => Ok(program),
        Err(errors) => Err(syntax_error(text, &errors)),
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES).spawn_scoped(scope, parse);
        let thread = thread.map_err(|error| TextError::new(format!("no thread to read it on: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(TextError::new("cannot be read as a condition")))
    })
}

/// The first of cel's complaints, in words that do not presume its grammar; its columns count characters.
fn syntax_error(text: &str, errors: &cel::ParseErrors) -> TextError {
    let Some(first) = errors.errors.first() else { return TextError::new("not a condition") };
    let line = usize::try_from(first.pos.0).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(first.pos.1).unwrap_or(1).saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(before..).unwrap_or_default();
    let offset = before + rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset);
    let offset = offset.min(text.trim_end().len().saturating_sub(1));
    let found = first.msg.trim_start_matches("Syntax error: ");
    let found = found.split(" expecting {").next().unwrap_or(found).replace("'<EOF>'", "the end");
    let found =
        ["token recognition error at:", "mismatched input", "extraneous input", "no viable alternative at input"]
            .iter()
            .find_map(|words| found.strip_prefix(words))
            .map_or_else(|| found.clone(), |what| format!("unexpected {}", what.trim()));
    let here = text.get(offset..).unwrap_or_default();
    if found == "unexpected the end" {
        return TextError::new("not a condition: it ends too early").at(offset);
    }
    let error = TextError::new(format!("not a condition: {found}")).at(offset);
    if here.starts_with('=') && !here.starts_with("==") {
        return error.help("equality is written `==`");
    }
    if here.starts_with(['“', '”', '‘', '’']) {
        return error.help("use the plain quotes \" or '");
    }
    match here.split(|it: char| !it.is_alphanumeric()).next() {
        Some("and" | "AND") => error.help("write `&&`"),
        Some("or" | "OR") => error.help("write `||`"),
        Some("not" | "NOT") => error.help("write `!`"),
        _ => error,
    }
}

/// Refuses deep brackets before the recursive parser sees them. Brackets in quoted text are counted too, which only
/// makes the bound a little stricter.
fn bounded_nesting(text: &str) -> Result<(), TextError> {
    let mut depth = 0_usize;
    for (offset, character) in text.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Err(TextError::new(format!("it has more than {NESTING_MAX} brackets inside brackets")).at(offset));
        }
    }
    Ok(())
}

/// The expressions directly below one.
pub(super) fn children(ast: &Ast) -> Vec<&IdedExpr> {
    match ast {
        Ast::Call(call) => call.target.iter().map(AsRef::as_ref).chain(&call.args).collect(),
        Ast::Select(select) => vec![&select.operand],
        Ast::List(list) => list.elements.iter().collect(),
        Ast::Comprehension(all) => {
            vec![&all.iter_range, &all.accu_init, &all.loop_cond, &all.loop_step, &all.result]
        }
        Ast::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Ast::Struct(value) => value.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Ast::Ident(_) | Ast::Literal(_) | Ast::Unspecified => Vec::new(),
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn depth_exceeds(expression: &IdedExpr, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    children(&expression.expr).into_iter().any(|child| depth_exceeds(child, depth))
}

/// CEL's `has(a.b)` asks whether there is a member; here every member is there and null stands for one that is not.
fn presence_as_not_null(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Ast::Call(call) => {
            call.target.iter_mut().map(AsMut::as_mut).chain(&mut call.args).for_each(presence_as_not_null)
        }
        Ast::Select(select) => presence_as_not_null(&mut select.operand),
        Ast::List(list) => list.elements.iter_mut().for_each(presence_as_not_null),
        Ast::Comprehension(all) => {
            presence_as_not_null(&mut all.iter_range);
            presence_as_not_null(&mut all.loop_step);
        }
        // Maps and structs are refused by the check.
        _ => {}
    }
    if let Ast::Select(select) = &mut expression.expr
        && select.test
    {
        select.test = false;
        let member = IdedExpr { id: expression.id, expr: std::mem::take(&mut expression.expr) };
        let null = IdedExpr { id: expression.id, expr: Ast::Literal(LiteralValue::Null) };
        let func_name = operators::NOT_EQUALS.to_owned();
        expression.expr = Ast::Call(CallExpr { func_name, target: None, args: vec![member, null] });
    }
}
