//! What becomes of one request or reading: the script's word first, then the dice.

use super::faults::{AskKind, Fate, Happening, ReadFate, ReadKind, Scripted};
use super::rng::Draw;
use super::world::World;
use crate::cloud::Ask;

/// The script, and how often each of its entries was met.
#[derive(Debug)]
pub(super) struct Script(Vec<(Scripted, u32)>);

fn is_about(of: Option<&String>, names: &[String]) -> bool {
    of.is_none_or(|of| names.contains(of))
}

impl Script {
    pub(super) fn new(entries: Vec<Scripted>) -> Self {
        Self(entries.into_iter().map(|entry| (entry, 0)).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn moments(&self) -> Vec<(u64, Happening)> {
        let moment = |(entry, _): &(Scripted, u32)| match entry {
            Scripted::At { at_ms, happens } => Some((*at_ms, happens.clone())),
            _ => None,
        };
        self.0.iter().filter_map(moment).collect()
    }

    pub(super) fn reads_stale(&self) -> bool {
        self.0.iter().any(|(entry, _)| matches!(entry, Scripted::Read { fate: ReadFate::Stale, .. }))
    }

    fn ask(&mut self, kind: AskKind, names: &[String]) -> Option<Fate> {
        let mut struck = None;
        for (entry, met) in &mut self.0 {
            if let Scripted::Ask { ask, of, nth, fate } = entry
                && *ask == kind
                && is_about(of.as_ref(), names)
            {
                *met += 1;
                if *met == *nth {
                    struck = struck.or(Some(*fate));
                }
            }
        }
        struck
    }

    /// What a request that Nova took brings about later.
    pub(super) fn arrived(&mut self, kind: AskKind, names: &[String]) -> Vec<(u64, Happening)> {
        let mut later = Vec::new();
        for (entry, met) in &mut self.0 {
            if let Scripted::After { ask, of, nth, after_ms, happens } = entry
                && *ask == kind
                && is_about(of.as_ref(), names)
            {
                *met += 1;
                if *met == *nth {
                    later.push((*after_ms, happens.clone()));
                }
            }
        }
        later
    }

    fn read(&mut self, kind: ReadKind) -> Option<ReadFate> {
        let mut struck = None;
        for (entry, met) in &mut self.0 {
            if let Scripted::Read { read, nth, times, fate } = entry
                && (*read == kind || *read == ReadKind::Any)
            {
                *met += 1;
                if (*nth..nth.saturating_add(*times)).contains(met) {
                    struck = struck.or(Some(*fate));
                }
            }
        }
        struck
    }
}

/// The one of several that a draw hits, or none.
pub(super) fn pick<T: Copy>(draw: Draw, of: &[(f64, T)]) -> Option<T> {
    let mut left = draw.unit();
    for (chance, what) in of {
        if left < *chance {
            return Some(*what);
        }
        left -= chance;
    }
    None
}

impl World {
    pub(super) fn request_fate(&mut self, ask: &Ask) -> Option<Fate> {
        let scripted = match self.script.is_empty() {
            true => None,
            false => {
                let names = self.names(ask);
                self.script.ask(super::api::kind_of(ask), &names)
            }
        };
        let subject = ask.server().unwrap_or_default();
        let draw = self.draws.next(&["request", super::word(ask), subject]);
        let chances = &self.chances;
        let of = [
            (chances.unreachable, Fate::Unreachable),
            (chances.unauthenticated, Fate::Unauthenticated),
            (chances.lost_before, Fate::LostBefore),
            (chances.lost_after, Fate::LostAfter),
            (chances.rate_limited, Fate::RateLimited),
            (chances.slow, Fate::Slow),
        ];
        if self.is_out() {
            // A proxy answers 503, which tells nothing; or nobody answers at all.
            let lost = self.draws.next(&["out"]).chance(0.5);
            return Some(if lost { Fate::LostBefore } else { Fate::Unreachable });
        }
        scripted.or_else(|| pick(draw, &of))
    }

    pub(super) fn is_out(&self) -> bool {
        self.now_ms < self.outage_until_ms
    }

    pub(super) fn reading_fate(&mut self, kind: ReadKind) -> Option<ReadFate> {
        let scripted = self.script.read(kind);
        let chances = self.chances;
        let of = [
            (chances.unreachable, ReadFate::Unreachable),
            (chances.unauthenticated, ReadFate::Unauthenticated),
            (chances.garbled, ReadFate::Garbled),
            (chances.slow, ReadFate::Slow),
            (chances.stale, ReadFate::Stale),
        ];
        let by_chance = pick(self.draws.next(&["reading"]), &of);
        if self.draws.next(&["outage"]).chance(chances.outage) {
            let for_ms = self.draws.next(&["outage-for"]).between(self.habits.outage_ms);
            self.outage(for_ms);
        }
        scripted.or(by_chance)
    }

    pub(super) fn outage(&mut self, for_ms: u64) {
        self.outage_until_ms = self.outage_until_ms.max(self.now_ms.saturating_add(for_ms));
        self.other(|| format!("the API answers nothing for {for_ms} ms"));
    }
}
