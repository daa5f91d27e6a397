//! Who may start now: the slots that moves take in the cloud, at their source and at their destination. Pure.
//!
//! A move holds its slots from the moment it is started until its migration record is terminal (released) or it is
//! settled, whichever is seen first.

use std::collections::HashMap;

use crate::plan::{Limits, Rung};

/// What a move is to the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    server: String,
    source: String,
    rung: Rung,
    /// Known once Nova's record names it.
    to: Option<String>,
}

/// The slots taken.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: Limits,
    /// Live migrations that may wait in Nova's queue behind each source's running ones.
    queue_ahead: u32,
    taken: HashMap<usize, Slot>,
    /// The step that moves each server, until it is settled.
    servers: HashMap<String, usize>,
    /// Servers of hard anti-affinity groups, of which one moves at a time; and the step that moves one of each.
    group_of: HashMap<String, String>,
    groups: HashMap<String, usize>,
    per_source: HashMap<String, PerSource>,
    per_destination: HashMap<String, u32>,
    /// Moves whose destination is not known yet: each might go to any host.
    unplaced: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct PerSource {
    live: u32,
    cold: u32,
}

impl Admission {
    /// `can_withdraw`: the release can take back a queued live migration (2.65), without which nothing is queued ahead.
    pub fn new(limits: Limits, can_withdraw: bool) -> Self {
        let queue_ahead = if can_withdraw { limits.queue_ahead } else { 0 };
        Self {
            limits,
            queue_ahead,
            taken: HashMap::new(),
            servers: HashMap::new(),
            group_of: HashMap::new(),
            groups: HashMap::new(),
            per_source: HashMap::new(),
            per_destination: HashMap::new(),
            unplaced: 0,
        }
    }

    /// This server is in this hard anti-affinity group.
    pub fn keep_apart(&mut self, server: &str, group: &str) {
        self.group_of.insert(server.to_owned(), group.to_owned());
    }

    /// No other step is at this server, nor moves another member of its group.
    pub fn is_free(&self, server: &str) -> bool {
        let group_is_free = || self.group_of.get(server).is_none_or(|group| !self.groups.contains_key(group));
        !self.servers.contains_key(server) && group_is_free()
    }

    /// Whether one more move of this kind may start from this host beside those that have.
    pub fn has_room(&self, source: &str, rung: Rung) -> bool {
        #[cfg(test)]
        if crate::run::Sabotage::NoLimits.is_on() {
            return true;
        }
        if rung == Rung::Leave {
            return true;
        }
        if self.taken.len() >= self.limits.cloud as usize {
            return false;
        }
        // A stop copies nothing: only the cloud's limit concerns it.
        if rung == Rung::Stop {
            return true;
        }
        let at = self.per_source.get(source).copied().unwrap_or_default();
        let allowed = match rung {
            // Nova queues live migrations behind live ones only.
            Rung::Live if at.cold == 0 => self.limits.source.saturating_add(self.queue_ahead),
            _ => self.limits.source,
        };
        at.live + at.cold < allowed && self.destination_has_room()
    }

    /// With the scheduler choosing, any destination may be chosen: one more is safe only if even the fullest one, with
    /// every unplaced move besides, stays below the limit.
    fn destination_has_room(&self) -> bool {
        let Some(limit) = self.limits.destination else { return true };
        let fullest = self.per_destination.values().copied().max().unwrap_or(0);
        fullest + self.unplaced < limit
    }

    /// Takes the slots. `key` is the step's.
    pub fn take(&mut self, key: usize, server: &str, source: &str, rung: Rung) {
        if rung == Rung::Leave || self.taken.contains_key(&key) {
            return;
        }
        self.servers.insert(server.to_owned(), key);
        if let Some(group) = self.group_of.get(server) {
            self.groups.insert(group.clone(), key);
        }
        match rung {
            Rung::Live => {
                self.per_source.entry(source.to_owned()).or_default().live += 1;
                self.unplaced += 1;
            }
            Rung::Cold => {
                self.per_source.entry(source.to_owned()).or_default().cold += 1;
                self.unplaced += 1;
            }
            Rung::Stop | Rung::Leave => {}
        }
        let slot = Slot { server: server.to_owned(), source: source.to_owned(), rung, to: None };
        self.taken.insert(key, slot);
    }

    /// Nova's record names the destination.
    pub fn placed(&mut self, key: usize, to: &str) {
        let Some(slot) = self.taken.get_mut(&key) else { return };
        if slot.to.is_some() || slot.rung == Rung::Stop {
            return;
        }
        slot.to = Some(to.to_owned());
        self.unplaced -= 1;
        *self.per_destination.entry(to.to_owned()).or_default() += 1;
    }

    /// Gives the slots back. The server stays taken until [`Admission::settled`].
    pub fn release(&mut self, key: usize) {
        let Some(slot) = self.taken.remove(&key) else { return };
        if slot.rung == Rung::Stop {
            return;
        }
        if let Some(at) = self.per_source.get_mut(&slot.source) {
            match slot.rung {
                Rung::Live => at.live -= 1,
                _ => at.cold -= 1,
            }
        }
        match slot.to {
            None => self.unplaced -= 1,
            Some(to) => {
                if let Some(count) = self.per_destination.get_mut(&to) {
                    *count -= 1;
                    if *count == 0 {
                        self.per_destination.remove(&to);
                    }
                }
            }
        }
    }

    /// The attempt has ended: the server may be asked again.
    pub fn settled(&mut self, key: usize, server: &str) {
        self.release(key);
        if self.servers.get(server) == Some(&key) {
            self.servers.remove(server);
        }
        if let Some(group) = self.group_of.get(server)
            && self.groups.get(group) == Some(&key)
        {
            self.groups.remove(group);
        }
    }

    /// Gives everything back: what is in flight is taken anew when a run is resumed.
    pub fn clear(&mut self) {
        let group_of = std::mem::take(&mut self.group_of);
        *self = Self { queue_ahead: self.queue_ahead, group_of, ..Self::new(self.limits.clone(), false) };
    }

    /// Nova ran more at once than `source` allows, so its queue is wider than the plan's limit: nothing more is queued
    /// ahead in this run.
    pub fn stop_queueing(&mut self) {
        self.queue_ahead = 0;
    }
}
