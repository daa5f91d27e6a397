//! Checks a condition before anything is asked of a cloud: every name is known, every operator gets what it can work with,
//! and the whole can only be true or false. What it lets through cannot fail on the kinds of values, only on values that
//! are unknown, not numbers, or divided by zero.

use cel::Program;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr as Ast, IdedExpr, LiteralValue, SelectExpr, operators};

use super::vocabulary::{self, Record, Type};
use super::{Scope, TextError};
use crate::plan::scalars::{listed, nearest};

/// Loops inside loops: two of them over a server's metadata are thousands of turns already, for every server.
const LOOPS_MAX: usize = 2;

/// Tests of text that null fails instead of stopping the evaluation, with the id of their overload.
pub(super) const TEXT_TESTS: [(&str, &str); 3] =
    [("startsWith", "null_starts_with"), ("endsWith", "null_ends_with"), ("contains", "null_contains")];

/// Everything that can be called.
const FUNCTIONS: [&str; 13] = [
    "all",
    "contains",
    "double",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "has",
    "int",
    "map",
    "size",
    "startsWith",
    "string",
];

/// Part of a condition that may be null when it is evaluated.
#[derive(Debug, Clone)]
pub(super) struct Read {
    /// As the operator wrote it.
    pub(super) path: String,
    pub(super) expression: IdedExpr,
}

pub(super) fn check(program: &Program, text: &str, scope: Scope) -> Result<Vec<Read>, TextError> {
    let mut checker = Checker { program, text, scope, locals: Vec::new(), loops: 0, reads: Vec::new() };
    let root = program.expression();
    let found = checker.type_of(root)?;
    checker.condition(root, &found)?;
    Ok(checker.reads)
}

struct Checker<'a> {
    program: &'a Program,
    text: &'a str,
    scope: Scope,
    /// Names that comprehensions bind, innermost last.
    locals: Vec<(String, Type)>,
    loops: usize,
    reads: Vec<Read>,
}

type Checked = Result<Type, TextError>;

impl Checker<'_> {
    fn error(&self, at: &IdedExpr, message: impl Into<String>) -> TextError {
        TextError::new(message.into()).at(self.start(at))
    }

    /// The offset at which an expression begins: cel keeps that of its operator.
    fn start(&self, expression: &IdedExpr) -> usize {
        let first = match &expression.expr {
            Ast::Call(CallExpr { target: Some(target), .. }) => Some(self.start(target)),
            Ast::Call(call) if is_infix(&call.func_name) => call.args.first().map(|first| self.start(first)),
            Ast::Select(select) if !select.test => Some(self.start(&select.operand)),
            Ast::Comprehension(all) => Some(self.start(&all.iter_range)),
            _ => None,
        };
        first.unwrap_or_else(|| self.offset(expression).unwrap_or(0))
    }

    fn offset(&self, expression: &IdedExpr) -> Option<usize> {
        let (start, _) = self.program.source_info().offset_for(expression.id)?;
        usize::try_from(start).ok()
    }

    /// Where the member's name stands: behind the dot, whose offset cel keeps.
    fn member_offset(&self, expression: &IdedExpr, name: &str) -> usize {
        let from = self.offset(expression).unwrap_or(0);
        let rest = self.text.get(from..).unwrap_or_default();
        rest.find(name).map_or(from, |within| from + within)
    }

    /// Where a function's name stands: before the bracket, whose offset cel keeps.
    fn function_offset(&self, expression: &IdedExpr, name: &str) -> usize {
        let bracket = self.offset(expression).unwrap_or(0);
        let before = self.text.get(..bracket).unwrap_or_default();
        before.rfind(name).unwrap_or(bracket)
    }

    fn type_of(&mut self, expression: &IdedExpr) -> Checked {
        let found = match &expression.expr {
            Ast::Literal(literal) => self.literal(expression, literal)?,
            Ast::Ident(name) => self.name(expression, name)?,
            Ast::Select(select) => return self.select(expression, select),
            Ast::Call(call) => return self.call(expression, call),
            Ast::List(list) => {
                let mut element = Type::Any;
                for item in &list.elements {
                    let found = self.type_of(item)?;
                    element = join(&element, &found).ok_or_else(|| {
                        let message = format!("{} and {} in one list", element.name(), found.name());
                        self.error(item, message)
                    })?;
                }
                Type::List(Box::new(element))
            }
            Ast::Comprehension(all) => return self.comprehension(expression, all),
            Ast::Map(_) | Ast::Struct(_) => {
                return Err(self.error(expression, "a mapping has no use in a condition"));
            }
            Ast::Unspecified => return Err(self.error(expression, "not a condition")),
        };
        Ok(found)
    }

    fn literal(&self, at: &IdedExpr, literal: &LiteralValue) -> Checked {
        Ok(match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Int(_) => Type::Int,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::String(_) => Type::Text,
            LiteralValue::Null => Type::Null,
            LiteralValue::UInt(_) => {
                return Err(self.error(at, "write the number without `u`: all facts are plain numbers"));
            }
            LiteralValue::Bytes(_) => return Err(self.error(at, "write the text without `b`: no fact is bytes")),
        })
    }

    fn name(&self, at: &IdedExpr, name: &str) -> Checked {
        if let Some((_, local)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return Ok(local.clone());
        }
        match (name, self.scope) {
            ("host", _) => return Ok(Type::Record(vocabulary::host())),
            ("server", Scope::Server) => return Ok(Type::Record(vocabulary::server())),
            ("server", Scope::Host) => {
                let error = self.error(at, "`server` is not known here: this is a condition about hosts");
                return Err(error.help("only `host` is; conditions about servers stand in `drain.servers`"));
            }
            _ => {}
        }
        let error = self.error(at, format!("unknown name `{name}`"));
        let roots: &[&'static Record] = match self.scope {
            Scope::Host => &[vocabulary::host()],
            Scope::Server => &[vocabulary::server(), vocabulary::host()],
        };
        let known = roots.iter().map(|root| root.path.as_str());
        let known = known.chain(self.locals.iter().map(|(local, _)| local.as_str()));
        Err(match (nearest(name, known), roots.iter().find(|root| root.members.contains_key(name))) {
            (Some(near), _) => error.help(format!("did you mean `{near}`?")),
            (None, Some(root)) => error.help(format!("did you mean `{}.{name}`?", root.path)),
            (None, None) => error.help(format!("text is quoted: \"{name}\"; facts begin with {}", {
                listed(roots.iter().map(|root| root.path.as_str()))
            })),
        })
    }

    fn select(&mut self, at: &IdedExpr, select: &SelectExpr) -> Checked {
        let operand = self.type_of(&select.operand)?;
        let found = self.member(at, &operand, &select.field, &select.operand)?;
        Ok(if select.test { Type::Bool } else { found })
    }

    fn member(&mut self, at: &IdedExpr, operand: &Type, name: &str, of: &IdedExpr) -> Checked {
        match operand {
            Type::Record(record) => match record.members.get(name) {
                Some(member) => {
                    if member.nullable {
                        self.remember(at);
                    }
                    Ok(member.type_of())
                }
                None => Err(self.unknown_member(at, record, name)),
            },
            Type::Map(element) => {
                self.remember(at);
                Ok((**element).clone())
            }
            Type::Any => Ok(Type::Any),
            other => {
                let message = format!("{} is {} and has no member `{name}`", self.shown(of), other.name());
                Err(TextError::new(message).at(self.member_offset(at, name)))
            }
        }
    }

    fn unknown_member(&self, at: &IdedExpr, record: &'static Record, name: &str) -> TextError {
        let error = TextError::new(format!("`{}.{name}` is not known", record.path)).at(self.member_offset(at, name));
        let elsewhere = || {
            let root = |root: &'static Record| root.paths_to(name).into_iter();
            let server = root(vocabulary::server()).filter(|_| self.scope == Scope::Server);
            let mut paths: Vec<String> = server.chain(root(vocabulary::host())).collect();
            // What is below the same name comes first: `server.vcpus` is more likely `server.flavor.vcpus`.
            paths.sort_by_key(|path| !path.starts_with(&record.path));
            paths.into_iter().next()
        };
        match nearest(name, record.names()) {
            Some(near) => error.help(format!("did you mean `{}.{near}`?", record.path)),
            None => match elsewhere() {
                Some(path) => error.help(format!("did you mean `{path}`?")),
                None => error.help(format!("known are {}", listed(record.names()))),
            },
        }
    }

    /// Keeps what may be null, if it does not depend on a loop's variable.
    fn remember(&mut self, expression: &IdedExpr) {
        let mut expression = expression.clone();
        if let Ast::Select(select) = &mut expression.expr {
            select.test = false;
        }
        if let Some(path) = path(&expression)
            && !self.locals.iter().any(|(local, _)| path.split(['.', '[']).next() == Some(local))
            && !self.reads.iter().any(|read| read.path == path)
        {
            self.reads.push(Read { path, expression });
        }
    }

    /// The expression in a message: its path, or what it is.
    fn shown(&self, expression: &IdedExpr) -> String {
        path(expression).map_or_else(|| "this".to_owned(), |path| format!("`{path}`"))
    }

    fn condition(&self, at: &IdedExpr, found: &Type) -> Result<(), TextError> {
        match found {
            Type::Bool | Type::Any => Ok(()),
            other => {
                let error = self.error(at, format!("{} is {}, not a condition", self.shown(at), other.name()));
                Err(match (other, path(at)) {
                    (Type::Int | Type::Double, Some(path)) => error.help(format!("compare it: `{path} > 0`")),
                    (Type::Text, Some(path)) => error.help(format!("compare it: `{path} == \"…\"`")),
                    (Type::List(_), Some(path)) => error.help(format!("look into it: `\"…\" in {path}`")),
                    _ => error.help("compare it with something"),
                })
            }
        }
    }

    fn call(&mut self, at: &IdedExpr, call: &CallExpr) -> Checked {
        if call.target.is_none() {
            match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::LOGICAL_AND | operators::LOGICAL_OR, args) => {
                    for arg in args {
                        let found = self.type_of(arg)?;
                        self.condition(arg, &found)?;
                    }
                    return Ok(Type::Bool);
                }
                (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [arg]) => {
                    let found = self.type_of(arg)?;
                    self.condition(arg, &found)?;
                    return Ok(Type::Bool);
                }
                (operators::CONDITIONAL, [condition, yes, no]) => {
                    let found = self.type_of(condition)?;
                    self.condition(condition, &found)?;
                    let (one, other) = (self.type_of(yes)?, self.type_of(no)?);
                    return join(&one, &other).ok_or_else(|| self.mismatch(yes, &one, "? :", no, &other));
                }
                (operators::INDEX, [of, index]) => return self.index(at, of, index),
                (operators::NEGATE, [arg]) => {
                    let found = self.type_of(arg)?;
                    return match found {
                        Type::Int | Type::Double | Type::Any => Ok(found),
                        other => Err(self.error(arg, format!("{} is {}, not a number", self.shown(arg), other.name()))),
                    };
                }
                (name, [left, right]) if is_infix(name) => return self.infix(name, left, right),
                _ => {}
            }
        }
        self.function(at, call)
    }

    fn index(&mut self, at: &IdedExpr, of: &IdedExpr, index: &IdedExpr) -> Checked {
        let operand = self.type_of(of)?;
        let by = self.type_of(index)?;
        match (&operand, &by) {
            (Type::Record(record), Type::Text) => match &index.expr {
                Ast::Literal(LiteralValue::String(name)) => self.member(at, &operand, name.inner(), of),
                _ => Err(self.error(index, format!("the members of `{}` are named, not looked up", record.path))),
            },
            (Type::Map(_), Type::Text) => self.member(at, &operand, "", of),
            (Type::List(element), Type::Int) => Ok((**element).clone()),
            (Type::Any, _) => Ok(Type::Any),
            (Type::List(_) | Type::Map(_) | Type::Record(_), _) => {
                let wanted = if matches!(operand, Type::List(_)) { "a whole number" } else { "text" };
                Err(self.error(index, format!("{} is indexed by {wanted}, not by {}", self.shown(of), by.name())))
            }
            _ => Err(self.error(of, format!("{} is {} and cannot be indexed", self.shown(of), operand.name()))),
        }
    }

    fn infix(&mut self, operator: &str, left: &IdedExpr, right: &IdedExpr) -> Checked {
        let (one, other) = (self.type_of(left)?, self.type_of(right)?);
        let sign = operator.trim_matches(['_', '@']);
        match operator {
            operators::EQUALS | operators::NOT_EQUALS => {
                if !comparable(&one, &other) {
                    return Err(self.mismatch(left, &one, sign, right, &other));
                }
                Ok(Type::Bool)
            }
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
                let ordered = |found: &Type| matches!(found, Type::Int | Type::Double | Type::Text | Type::Any);
                if !ordered(&one) || !ordered(&other) || !comparable(&one, &other) {
                    return Err(self.mismatch(left, &one, sign, right, &other));
                }
                Ok(Type::Bool)
            }
            operators::IN => match &other {
                Type::List(element) if comparable(&one, element) => Ok(Type::Bool),
                Type::Map(_) if fits(&one, &Type::Text) => Ok(Type::Bool),
                Type::Any => Ok(Type::Bool),
                Type::Text => {
                    let error = self.error(left, format!("{} is text, `in` looks into a list", self.shown(right)));
                    Err(error.help("write `text.contains(part)`"))
                }
                _ => Err(self.mismatch(left, &one, sign, right, &other)),
            },
            _ => match (&one, &other) {
                (Type::Any, found) | (found, Type::Any) if *found != Type::Null => Ok(Type::Any),
                (Type::Int, Type::Int) => Ok(Type::Int),
                (Type::Double, Type::Double) if operator != operators::MODULO => Ok(Type::Double),
                (Type::Text, Type::Text) if operator == operators::ADD => Ok(Type::Text),
                (Type::List(_), Type::List(_)) if operator == operators::ADD => {
                    join(&one, &other).ok_or_else(|| self.mismatch(left, &one, sign, right, &other))
                }
                _ => Err(self.mismatch(left, &one, sign, right, &other)),
            },
        }
    }

    fn mismatch(&self, left: &IdedExpr, one: &Type, sign: &str, right: &IdedExpr, other: &Type) -> TextError {
        let show = |expression: &IdedExpr, found: &Type| {
            path(expression).map_or_else(|| found.name().to_owned(), |path| format!("`{path}` ({})", found.name()))
        };
        let error =
            self.error(left, format!("`{sign}` does not go with {} and {}", show(left, one), show(right, other)));
        match (one, other) {
            (Type::Text, Type::Int) | (Type::Int, Type::Text) => {
                error.help("quote the number, or make one of the text: `int(…)`")
            }
            (Type::Int, Type::Double) | (Type::Double, Type::Int) => error.help("make both the same: `double(…)`"),
            (Type::Record(record), _) | (_, Type::Record(record)) => {
                error.help(format!("name one of its members: {}", listed(record.names())))
            }
            (Type::Null, _) | (_, Type::Null) => error.help("null can only be compared with `==` and `!=`"),
            _ => error,
        }
    }

    fn function(&mut self, at: &IdedExpr, call: &CallExpr) -> Checked {
        let name = call.func_name.as_str();
        let error = |message: String| TextError::new(message).at(self.function_offset(at, name));
        let misused = |written: String| error(format!("`{name}` cannot be used like this")).help(written);
        match name {
            // With the right arguments these are no calls any more, the parser has made loops of them.
            "all" | "exists" | "exists_one" | "filter" => {
                return Err(misused(format!("it is written `list.{name}(element, condition on element)`")));
            }
            "map" => return Err(misused("it is written `list.map(element, value)`".to_owned())),
            "has" => return Err(misused("it is written `has(server.metadata.key)`".to_owned())),
            "matches" => {
                let error = error("regular expressions are not part of conditions".to_owned());
                return Err(error.help("use `startsWith`, `endsWith`, `contains`, or globs under `name`"));
            }
            _ if !FUNCTIONS.contains(&name) => {
                let error = error(format!("unknown function `{name}`"));
                return Err(match nearest(name, FUNCTIONS) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help(format!("known are {}", listed(FUNCTIONS))),
                });
            }
            _ => {}
        }
        let parts = call.target.iter().map(AsRef::as_ref).chain(&call.args);
        let types = parts.map(|part| self.type_of(part)).collect::<Result<Vec<Type>, TextError>>()?;
        let text = |found: &Type| fits(found, &Type::Text);
        let number = |found: &Type| matches!(found, Type::Int | Type::Double | Type::Text | Type::Any);
        let member = call.target.is_some();
        match (name, types.as_slice()) {
            ("size", [Type::Text | Type::List(_) | Type::Map(_) | Type::Any]) => Ok(Type::Int),
            ("startsWith" | "endsWith" | "contains", [one, other]) if member && text(one) && text(other) => {
                Ok(Type::Bool)
            }
            ("int", [found]) if !member && number(found) => Ok(Type::Int),
            ("double", [found]) if !member && number(found) => Ok(Type::Double),
            ("string", [found]) if !member && (number(found) || *found == Type::Bool) => Ok(Type::Text),
            _ => {
                let error = TextError::new(format!("`{name}` cannot be used like this"));
                let error = error.at(self.function_offset(at, name));
                Err(match (name, types.first()) {
                    ("contains", Some(Type::List(_))) => error.help("lists are asked with `in`: `value in list`"),
                    ("size", _) => error.help("it is written `size(list)` or `size(text)`"),
                    ("int" | "double" | "string", _) => error.help(format!("it is written `{name}(value)`")),
                    _ => error.help(format!("it is written `text.{name}(part)`, both are text")),
                })
            }
        }
    }

    fn comprehension(&mut self, at: &IdedExpr, all: &ComprehensionExpr) -> Checked {
        let element = match self.type_of(&all.iter_range)? {
            Type::List(element) => *element,
            Type::Map(_) => Type::Text,
            Type::Any => Type::Any,
            other => {
                let range = &all.iter_range;
                return Err(self.error(range, format!("{} is {}, not a list", self.shown(range), other.name())));
            }
        };
        if matches!(all.iter_var.as_str(), "host" | "server") || all.iter_var2.is_some() {
            return Err(self.error(at, format!("`{}` cannot be the name of an element", all.iter_var)));
        }
        if self.loops >= LOOPS_MAX {
            return Err(self.error(at, format!("more than {LOOPS_MAX} loops one inside the other")));
        }
        let start = self.type_of(&all.accu_init)?;
        self.loops += 1;
        self.locals.push((all.accu_var.clone(), start.clone()));
        self.locals.push((all.iter_var.clone(), element));
        let step = self.type_of(&all.loop_cond).and_then(|_| self.type_of(&all.loop_step));
        self.locals.pop();
        self.locals.pop();
        self.loops -= 1;
        let step = step?;
        match start {
            // `map` and `filter` collect; `exists_one` counts and then compares.
            Type::List(_) => Ok(step),
            _ => {
                self.locals.push((all.accu_var.clone(), start));
                let result = self.type_of(&all.result);
                self.locals.pop();
                result
            }
        }
    }
}

fn is_infix(name: &str) -> bool {
    matches!(
        name,
        operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN
            | operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::CONDITIONAL
            | operators::INDEX
    )
}

/// Whether a value of the one kind may stand where the other is wanted.
fn fits(found: &Type, wanted: &Type) -> bool {
    found == wanted || *found == Type::Any || *wanted == Type::Any
}

/// The kind of a value that is of the one kind or the other, if there is one. `Any` only comes from an empty list.
fn join(one: &Type, other: &Type) -> Option<Type> {
    match (one, other) {
        (Type::Any | Type::Null, known) | (known, Type::Any | Type::Null) => Some(known.clone()),
        (Type::List(one), Type::List(other)) => Some(Type::List(Box::new(join(one, other)?))),
        (one, other) => (one == other).then(|| one.clone()),
    }
}

/// Whether `==` between them can ever be true.
fn comparable(one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Type::Record(_) | Type::Map(_), _) | (_, Type::Record(_) | Type::Map(_)) => false,
        (Type::Any | Type::Null, _) | (_, Type::Any | Type::Null) => true,
        (Type::Int | Type::Double, Type::Int | Type::Double) => true,
        (Type::List(one), Type::List(other)) => comparable(one, other),
        (one, other) => one == other,
    }
}

/// `host.service.state`, `server.metadata["evacuation"]`: how a chain of members is written.
fn path(expression: &IdedExpr) -> Option<String> {
    match &expression.expr {
        Ast::Ident(name) if !name.starts_with('@') => Some(name.clone()),
        Ast::Select(select) if !select.test => Some(format!("{}.{}", path(&select.operand)?, select.field)),
        Ast::Call(CallExpr { func_name, target: None, args }) if func_name == operators::INDEX => match args.as_slice()
        {
            [of, IdedExpr { expr: Ast::Literal(LiteralValue::String(key)), .. }] => {
                Some(format!("{}[{:?}]", path(of)?, key.inner()))
            }
            _ => None,
        },
        _ => None,
    }
}
