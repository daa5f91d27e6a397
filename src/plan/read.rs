//! A tree of values to a [`Plan`], collecting every mistake on the way. A value that is wrong is reported and replaced by
//! its default so that reading goes on; a plan comes out only when nothing was reported.

mod fields;

use super::diagnostic::{Findings, Source};
use super::shape::{self, Kind, PLAN, VERSION};
use super::yaml::{Node, Tree};
use super::{
    Action, Command, Count, Destinations, Drain, Expr, Finish, HostSelector, Limits, LiveOptions, MoveTimeout,
    OnFailure, Plan, Rung, Scope, ServerRule, Wait, Waves,
};
use crate::cloud::BlockMigration;
use fields::Fields;

/// Reads the plan below `root`; mistakes are added to `found`, and the plan is only good if there are none.
pub(super) fn read(source: &Source<'_>, root: &Node, found: Findings) -> (Plan, Findings) {
    let mut reader = Reader::new(source, found);
    let plan = reader.plan(root);
    (plan, reader.found)
}

#[derive(Debug)]
struct Reader<'a> {
    source: &'a Source<'a>,
    found: Findings,
    /// Every key that was asked for, so that a test can lay them beside the table.
    #[cfg(test)]
    asked: std::collections::BTreeSet<(String, &'static str)>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source<'a>, found: Findings) -> Self {
        Self {
            source,
            found,
            #[cfg(test)]
            asked: std::collections::BTreeSet::new(),
        }
    }

    fn plan(&mut self, root: &Node) -> Plan {
        let readable = self.version(root);
        let nothing = Node { span: root.span, plain: false, tree: Tree::Refused };
        let fields = self.root(&PLAN, if readable { root } else { &nothing });
        self.asks(&fields, "furlough");
        Plan {
            name: self.text(&fields, "name").unwrap_or_default(),
            cloud: self.text(&fields, "cloud"),
            hosts: self.list(&fields, "hosts", Self::selector),
            exclude: self.list(&fields, "exclude", Self::selector),
            waves: self.waves(&fields),
            drain: self.drain(&fields),
            maintain: self.list(&fields, "maintain", Self::action).into_iter().flatten().collect(),
            verify: self.list(&fields, "verify", Self::action).into_iter().flatten().collect(),
            finish: match self.word(&fields, "finish") {
                "keep_disabled" => Finish::KeepDisabled,
                _ => Finish::Enable,
            },
            on_failure: match self.word(&fields, "on_failure") {
                "continue" => OnFailure::Continue,
                _ => OnFailure::Hold,
            },
        }
    }

    /// Whether this is a document of a version that can be read at all; if it is not, nothing else said about it would
    /// be worth reading.
    fn version(&mut self, root: &Node) -> bool {
        let Tree::Map(entries) = &root.tree else {
            if root.tree != Tree::Refused {
                let message =
                    format!("a plan is a mapping that begins with `furlough: {VERSION}`, this is {}", root.tree.kind());
                self.report(root.span, "", message, None);
            }
            return false;
        };
        let Some((index, entry)) = entries.iter().enumerate().find(|(_, entry)| entry.key == "furlough") else {
            let span = entries.first().map_or(root.span, |entry| entry.span);
            let help = format!("put `furlough: {VERSION}` on the first line");
            self.report(span, "", "the version of the document is missing".to_owned(), Some(help));
            return true;
        };
        if index > 0 {
            let help = "move it to the first line: it says how the rest is to be read".to_owned();
            self.report(entry.span, "furlough", "`furlough` must come first".to_owned(), Some(help));
        }
        match &entry.node.tree {
            Tree::Number(number) if number.as_u64() == Some(VERSION) => true,
            Tree::Number(number) if number.as_u64().is_some_and(|version| version > VERSION) => {
                let message = format!("this document is of version {number}, this furlough reads version {VERSION}");
                self.report(entry.node.span, "furlough", message, Some("use a newer furlough".to_owned()));
                false
            }
            Tree::Refused => true,
            other => {
                let message = format!("the version of the document is the number {VERSION}, this is {}", other.kind());
                self.report(entry.node.span, "furlough", message, Some(format!("write `furlough: {VERSION}`")));
                true
            }
        }
    }

    fn selector(&mut self, fields: &Fields<'_>) -> HostSelector {
        HostSelector {
            name: self.patterns(fields, "name"),
            aggregate: self.text(fields, "aggregate"),
            zone: self.text(fields, "zone"),
            when: self.condition(fields, "where"),
            at: fields.path().to_owned(),
        }
    }

    fn waves(&mut self, plan: &Fields<'_>) -> Waves {
        let fields = self.map(plan, "waves");
        let max_hosts = self.count(&fields, "max_hosts").unwrap_or(Count::Hosts(1));
        let first = self.count(&fields, "first");
        let larger = match (first, max_hosts) {
            (Some(Count::Hosts(first)), Count::Hosts(max)) => first > max,
            (Some(Count::Percent(first)), Count::Percent(max)) => first > max,
            // Of different kinds: which is larger depends on how many hosts there are.
            _ => false,
        };
        if larger {
            let message = "the first wave is larger than `max_hosts` allows".to_owned();
            let help = "the first wave is the canary: make it smaller, or leave `first` out".to_owned();
            self.report_value(&fields, "first", message, Some(help));
        }
        Waves { max_hosts, first }
    }

    fn drain(&mut self, plan: &Fields<'_>) -> Drain {
        let fields = self.map(plan, "drain");
        let servers = self.server_rules(&fields);
        // The only word so far; the table refuses every other.
        self.word(&fields, "destinations");
        let limits = self.map(&fields, "limits");
        let live = self.map(&fields, "live");
        let live_timeout = self.map(&live, "timeout");
        let cold = self.map(&fields, "cold");
        let cold_timeout = self.map(&cold, "timeout");
        Drain {
            servers,
            destinations: Destinations::Scheduler,
            limits: Limits {
                cloud: self.whole(&limits, "cloud").unwrap_or(1),
                source: self.whole(&limits, "source").unwrap_or(1),
                destination: self.whole(&limits, "destination"),
                queue_ahead: self.whole(&limits, "queue_ahead").unwrap_or(0),
            },
            live: LiveOptions {
                block_migration: match self.word(&live, "block_migration") {
                    "always" => BlockMigration::Always,
                    "never" => BlockMigration::Never,
                    _ => BlockMigration::Auto,
                },
                stalled_after_s: self.duration(&live, "stalled_after"),
                timeout: self.move_timeout(&live_timeout),
            },
            cold_timeout: self.move_timeout(&cold_timeout),
            power_timeout_s: self.duration(&fields, "power_timeout"),
            late_arrivals_s: self.duration(&fields, "late_arrivals"),
        }
    }

    fn move_timeout(&mut self, fields: &Fields<'_>) -> MoveTimeout {
        MoveTimeout { base_s: self.duration(fields, "base"), per_gib_s: self.duration(fields, "per_gib") }
    }

    fn server_rules(&mut self, drain: &Fields<'_>) -> Vec<ServerRule> {
        let mut catch_all: Option<String> = None;
        let mut unreachable = Vec::new();
        let mut last_condition = None;
        let rules = self.list(drain, "servers", |reader, fields| {
            let conditional = fields.entry("where").map(|entry| entry.span);
            if let Some(first) = &catch_all {
                unreachable.push((fields.span(), fields.path().to_owned(), first.clone()));
            } else if conditional.is_none() {
                catch_all = Some(fields.path().to_owned());
            }
            last_condition = conditional.map(|span| (span, fields.path().to_owned()));
            ServerRule {
                when: reader.condition(fields, "where"),
                ladder: reader.ladder(fields),
                at: fields.path().to_owned(),
            }
        });
        for (span, path, first) in unreachable {
            let message = format!("no server gets here: `{first}` has no `where` and takes them all");
            let help = "put the entry without `where` last".to_owned();
            self.report(span, &path, message, Some(help));
        }
        if let (None, Some((span, path))) = (&catch_all, last_condition) {
            let message = "the last entry must take every server, so it has no `where`".to_owned();
            let help = "add a last entry, for instance `- ladder: [live, cold]`".to_owned();
            self.report(span, &shape::join(&path, "where"), message, Some(help));
        }
        if rules.is_empty() {
            // Left out (or refused): live first, cold where live cannot be done.
            let at = format!("{} (default)", shape::join(drain.path(), "servers"));
            return vec![ServerRule { when: None, ladder: vec![Rung::Live, Rung::Cold], at }];
        }
        rules
    }

    fn ladder(&mut self, fields: &Fields<'_>) -> Vec<Rung> {
        let words = self.words(fields, "ladder");
        if let Some(index) = words.iter().position(|(word, _)| *word == "leave")
            && let Some((after, span)) = words.get(index + 1)
        {
            let message = format!("`{after}` is never tried: `leave` before it always succeeds");
            self.report(*span, &shape::join(fields.path(), "ladder"), message, Some("put `leave` last".to_owned()));
        }
        words
            .into_iter()
            .map(|(word, _)| match word {
                "live" => Rung::Live,
                "cold" => Rung::Cold,
                "stop" => Rung::Stop,
                _ => Rung::Leave,
            })
            .collect()
    }

    fn action(&mut self, fields: &Fields<'_>) -> Option<Action> {
        let run = self.map(fields, "run");
        let wait = self.map(fields, "wait");
        if run.is_given() {
            let argv = self.templates(&run, "command");
            return Some(Action::Run(Command { argv, timeout_s: self.duration(&run, "timeout") }));
        }
        if !wait.is_given() {
            return None;
        }
        let until = self.condition(&wait, "until");
        let timeout_s = self.duration(&wait, "timeout");
        until.map(|until| Action::Wait(Wait { until, timeout_s }))
    }
}

#[cfg(test)]
mod tests;
