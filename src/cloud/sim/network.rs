//! How long copies take in a simulated cloud: the links between hosts, how migrations share them, and what is left of
//! each at any virtual millisecond. No events and no tasks: whoever keeps the time asks for the next end.
//!
//! The same calls give the same answers on any machine. Everything that is kept and compared is an integer: rates in
//! bytes per second, spans in milliseconds and microseconds, and volumes in millionths of a byte, so that a rate times a
//! span is exact and reading in between changes nothing. Floating point appears only where a figure enters, as one IEEE
//! multiplication or division (exact to the bit everywhere) that is cut to an integer at once.
//!
//! Deliberately absent: Nova's states, its queue and its timeouts, chance, latency of links, writes to a disk while it is
//! copied, and the contents of pages (what compresses is said by [`Guest::used`]).

mod flow;
mod share;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use flow::Flow;
use share::{Path, Shares};

/// A copy under way; the caller's number for it (a migration record's id).
pub type FlowId = u64;

/// How fast the wires are and how Nova's hypervisor copies over them.
///
/// `alpha`, `beta_ms` and `both_ways_loss` are fitted on measured live migrations of guests of 2 and 3 GB between KVM
/// hosts of Grid'5000 over 0.5 and 1 Gbit/s (btrplace/kherbache-thesis, `accuracy/real_executions_output`, 50 plans of
/// 10 migrations, 4 repeats). Fitted on the plans of odd numbers they are 3.2 % off per migration on the others, where
/// repeats of one migration differ by 1.5 %; `benches/calibrate` does it again. Nothing was measured at 10 Gbit/s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkHabits {
    /// Each host's link, as much out as in at the same time; Mbit/s, 1 to 10,000,000.
    pub host_mbit: u64,
    /// Each rack's uplink, likewise; Mbit/s, 1 to 10,000,000. Absent: racks bound nothing.
    pub rack_mbit: Option<u64>,
    /// What one migration gets at most (`live_migration_bandwidth`, or what one stream carries); Mbit/s, 1 to
    /// 10,000,000. Absent: what its links have.
    pub migration_mbit: Option<u64>,
    /// Migrations over one link share it, max-min. Otherwise each gets all of its slowest link, whoever else is there.
    pub fair: bool,
    /// Bytes on the wire for one byte of the guest; 1 to 10.
    pub alpha: f64,
    /// What a migration takes besides copying: connecting, switching, cleaning up. It follows the copy and takes no
    /// bandwidth. Milliseconds, up to an hour.
    pub beta_ms: u64,
    /// The share of its receiving rate that a host loses while it sends at its full rate: acknowledgements wait behind
    /// what is sent. In proportion when it sends less. 0 to 0.9.
    pub both_ways_loss: f64,
    /// `live_migration_downtime`: the guest is stopped once what is left can be copied within it. Milliseconds, 1 to
    /// an hour. Nova reaches it in ten steps; here it holds from the beginning.
    pub max_downtime_ms: u64,
}

impl Default for NetworkHabits {
    fn default() -> Self {
        Self {
            host_mbit: 10_000,
            rack_mbit: None,
            migration_mbit: None,
            fair: true,
            alpha: 1.04,
            beta_ms: 1_850,
            both_ways_loss: 0.1,
            max_downtime_ms: 500,
        }
    }
}

impl NetworkHabits {
    /// Whether every figure is in its range.
    pub fn check(&self) -> Result<(), NetworkError> {
        const HOUR_MS: u64 = 3_600_000;
        let within = |habit, given: f64, least: f64, most: f64| {
            if (least..=most).contains(&given) {
                Ok(())
            } else {
                Err(NetworkError::OutOfRange { habit, given, least, most })
            }
        };
        let mbit = |habit, given: u64| within(habit, given as f64, 1.0, 1e7);
        mbit("host_mbit", self.host_mbit)?;
        self.rack_mbit.map_or(Ok(()), |given| mbit("rack_mbit", given))?;
        self.migration_mbit.map_or(Ok(()), |given| mbit("migration_mbit", given))?;
        within("alpha", self.alpha, 1.0, 10.0)?;
        within("beta_ms", self.beta_ms as f64, 0.0, HOUR_MS as f64)?;
        within("both_ways_loss", self.both_ways_loss, 0.0, 0.9)?;
        within("max_downtime_ms", self.max_downtime_ms as f64, 1.0, HOUR_MS as f64)
    }

    /// Bytes of guests per second over so many Mbit/s.
    fn bytes_per_s(&self, mbit: u64, factor: f64) -> u64 {
        // `as` saturates, and has NaN as 0.
        (mbit.saturating_mul(125_000) as f64 / self.alpha * factor) as u64
    }
}

/// Why a network cannot be made, or a copy not begun.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetworkError {
    #[error("the network's {habit} is {given}, and must be from {least} to {most}")]
    OutOfRange { habit: &'static str, given: f64, least: f64, most: f64 },
    #[error("copy {flow} is already under way; end it before it begins again")]
    UnderWay { flow: FlowId },
}

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guest {
    /// The flavor's.
    pub memory_mib: u64,
    /// The share of it that has to be copied, 0 to 1 (clamped): pages never touched cost nothing.
    pub used: f64,
    /// How fast it writes to pages that were copied, MiB/s; no more than the used memory gets dirty.
    pub dirty_mib_per_s: f64,
    /// Local disks copied before the memory; 0 on shared storage.
    pub disk_gib: u64,
}

/// What Nova shows of a migration (`GET /servers/{id}/migrations`). Memory is counted as QEMU does: unused pages go with
/// the used ones of the first round, and what was dirtied is added when a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    pub memory_total_bytes: u64,
    pub memory_remaining_bytes: u64,
    pub disk_total_bytes: u64,
    pub disk_remaining_bytes: u64,
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// It had ended. Otherwise it was aborted.
    pub complete: bool,
    /// When the guest was stopped for the last round or by [`Force::Pause`].
    pub stopped_at_ms: Option<u64>,
    /// From then until its last page was copied, or until the copy was aborted.
    pub downtime_ms: u64,
    /// Bytes of the guest, each as often as it was sent.
    pub copied_bytes: u64,
}

/// What Nova's `force_complete` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// The guest runs on the destination from now on, and its pages follow it (`live_migration_permit_post_copy`).
    PostCopy,
    /// The guest is stopped until everything is copied.
    Pause,
}

/// Something whose bandwidth can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire<'a> {
    Host(&'a str),
    Rack(&'a str),
}

/// The links of a cloud and what is copied over them. Time never goes back: a call with an earlier instant than one
/// before it acts at the later of the two.
///
/// A change costs as much as there are copies that share links with it, directly or through others; reading the next
/// end costs nothing.
#[derive(Debug, Clone)]
pub struct Network {
    habits: NetworkHabits,
    max_downtime_us: u64,
    ceiling: u64,
    now_ms: u64,
    rack_of_host: BTreeMap<String, String>,
    /// The outward link of each host met so far; the inward one is the next.
    hosts: BTreeMap<String, usize>,
    racks: BTreeMap<String, usize>,
    shares: Shares,
    flows: BTreeMap<FlowId, Flow>,
    /// Ends of copying, as things stand.
    copied: BTreeSet<(u64, FlowId)>,
    /// Ends of flows whose copying has ended.
    over: BTreeSet<(u64, FlowId)>,
}

impl Network {
    /// `rack_of_host` need not have every host: one that is absent is in no rack, and no uplink bounds it.
    pub fn new(habits: &NetworkHabits, rack_of_host: &BTreeMap<String, String>) -> Result<Self, NetworkError> {
        habits.check()?;
        Ok(Self::unchecked(habits, rack_of_host))
    }

    /// The network of the default habits, which are in their ranges.
    pub fn by_default(rack_of_host: &BTreeMap<String, String>) -> Self {
        Self::unchecked(&NetworkHabits::default(), rack_of_host)
    }

    fn unchecked(habits: &NetworkHabits, rack_of_host: &BTreeMap<String, String>) -> Self {
        Self {
            max_downtime_us: habits.max_downtime_ms * 1000,
            ceiling: habits.migration_mbit.map_or(u64::MAX, |mbit| habits.bytes_per_s(mbit, 1.0)),
            now_ms: 0,
            rack_of_host: rack_of_host.clone(),
            hosts: BTreeMap::new(),
            racks: BTreeMap::new(),
            shares: Shares::new(habits.fair, (habits.both_ways_loss * 1e6) as u64),
            flows: BTreeMap::new(),
            copied: BTreeSet::new(),
            over: BTreeSet::new(),
            habits: habits.clone(),
        }
    }

    /// A guest begins to be copied. Hosts need not be known before.
    pub fn begin(&mut self, flow: FlowId, from: &str, to: &str, guest: Guest, now_ms: u64) -> Result<(), NetworkError> {
        if self.flows.contains_key(&flow) {
            return Err(NetworkError::UnderWay { flow });
        }
        self.advance(now_ms);
        let path = self.path(from, to);
        self.flows.insert(flow, Flow::new(&guest, self.max_downtime_us, self.now_us()));
        // A guest with nothing to copy needs no rate.
        self.schedule(flow);
        let rates = self.shares.join(flow, path, self.ceiling);
        self.rerate(rates);
        Ok(())
    }

    /// The copy that ends next if nothing begins, is scaled, forced or aborted before, and when: in the past if it has
    /// not been taken out with [`Self::end`]. None if nothing is copied, or nothing of it can ever end: a guest that
    /// dirties memory faster than it is copied, a link without bandwidth.
    pub fn next_end(&self) -> Option<(u64, FlowId)> {
        // No copy that goes on beyond the first end of copying can be over before the one that stopped there.
        let copied = self.copied.first().map(|&(at_ms, flow)| (at_ms.saturating_add(self.habits.beta_ms), flow));
        self.over.first().copied().or(copied)
    }

    /// Takes a copy out: one that has ended, or one that is aborted by it. None if there is no such copy.
    pub fn end(&mut self, flow: FlowId, now_ms: u64) -> Option<Outcome> {
        self.advance(now_ms);
        let now_us = self.now_us();
        let mut gone = self.flows.remove(&flow)?;
        gone.run(now_us);
        let complete = gone.due_ms.is_some_and(|due_ms| self.over.remove(&(due_ms, flow)) && due_ms <= self.now_ms);
        if let Some(rates) = self.shares.leave(flow) {
            if let Some(due_ms) = gone.due_ms {
                self.copied.remove(&(due_ms, flow));
            }
            self.rerate(rates);
        }
        Some(gone.outcome(complete))
    }

    /// What Nova does when it is told, or decides itself, that a migration has to end. False if it changes nothing: no
    /// such copy, one whose guest is stopped or beyond, or [`Force::PostCopy`] while its disks are copied.
    pub fn force(&mut self, flow: FlowId, how: Force, now_ms: u64) -> bool {
        self.advance(now_ms);
        let now_us = self.now_us();
        let Some(forced) = self.flows.get_mut(&flow) else { return false };
        forced.run(now_us);
        let changed = forced.force(how);
        if changed {
            self.schedule(flow);
        }
        changed
    }

    /// What is left of a copy. None if there is no such copy.
    pub fn progress(&mut self, flow: FlowId, now_ms: u64) -> Option<Remaining> {
        self.advance(now_ms);
        let now_us = self.now_us();
        let flow = self.flows.get_mut(&flow)?;
        flow.run(now_us);
        Some(flow.remaining())
    }

    /// For how long the guest has been stopped, so far or in the end. None if there is no such copy.
    pub fn downtime_ms(&mut self, flow: FlowId, now_ms: u64) -> Option<u64> {
        self.advance(now_ms);
        let now_us = self.now_us();
        let flow = self.flows.get_mut(&flow)?;
        flow.run(now_us);
        Some(flow.outcome(false).downtime_ms)
    }

    /// Bytes of the guest per second at the moment; 0 once it is copied. None if there is no such copy.
    pub fn rate(&self, flow: FlowId) -> Option<u64> {
        self.flows.get(&flow).map(|flow| flow.rate)
    }

    /// From now on a host's link or a rack's uplink has so many times what the habits say, both ways; a factor below 0
    /// or none at all is 0. False for a rack that bounds nothing.
    pub fn scale(&mut self, wire: Wire<'_>, factor: f64, now_ms: u64) -> bool {
        self.advance(now_ms);
        let (out, mbit) = match wire {
            Wire::Host(host) => (Some(self.host(host)), self.habits.host_mbit),
            Wire::Rack(rack) => {
                let known = self.rack_of_host.values().any(|one| one == rack);
                (if known { self.rack(rack) } else { None }, self.habits.rack_mbit.unwrap_or(0))
            }
        };
        let Some(out) = out else { return false };
        let rates = self.shares.set_capacity(out, self.habits.bytes_per_s(mbit, factor));
        self.rerate(rates);
        true
    }

    fn now_us(&self) -> u64 {
        self.now_ms.saturating_mul(1000)
    }

    /// Lets every copy whose copying ends by then leave its links at that instant.
    fn advance(&mut self, now_ms: u64) {
        while let Some(&(at_ms, flow)) = self.copied.first() {
            if at_ms > now_ms {
                break;
            }
            self.copied.remove(&(at_ms, flow));
            self.now_ms = self.now_ms.max(at_ms);
            let now_us = self.now_us();
            let rates = self.shares.leave(flow).unwrap_or_default();
            let Some(ended) = self.flows.get_mut(&flow) else { continue };
            ended.run(now_us);
            ended.rate = 0;
            let end_ms = at_ms.saturating_add(self.habits.beta_ms);
            ended.due_ms = Some(end_ms);
            self.over.insert((end_ms, flow));
            self.rerate(rates);
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    fn rerate(&mut self, rates: Vec<(FlowId, u64)>) {
        let now_us = self.now_us();
        for (id, rate) in rates {
            let Some(flow) = self.flows.get_mut(&id) else { continue };
            if flow.rate != rate {
                flow.run(now_us);
                flow.rate = rate;
                self.schedule(id);
            }
        }
    }

    /// Foresees the end of a flow's copying.
    fn schedule(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if let Some(due_ms) = flow.due_ms.take() {
            self.copied.remove(&(due_ms, id));
        }
        // One that could not be foreseen may turn out to be copied already: it leaves now.
        flow.due_ms = flow.copied_us().map(|us| us.div_ceil(1000).max(self.now_ms));
        if let Some(due_ms) = flow.due_ms {
            self.copied.insert((due_ms, id));
        }
    }

    fn path(&mut self, from: &str, to: &str) -> Path {
        let (out, into) = (self.host(from), self.host(to) + 1);
        let racks = (self.rack_of_host.get(from).cloned(), self.rack_of_host.get(to).cloned());
        if racks.0 == racks.1 {
            return Path::of(&[out, into]);
        }
        let up = racks.0.and_then(|rack| self.rack(&rack));
        let down = racks.1.and_then(|rack| self.rack(&rack)).map(|up| up + 1);
        match (up, down) {
            (Some(up), Some(down)) => Path::of(&[out, into, up, down]),
            (Some(one), None) | (None, Some(one)) => Path::of(&[out, into, one]),
            (None, None) => Path::of(&[out, into]),
        }
    }

    fn host(&mut self, host: &str) -> usize {
        if let Some(&out) = self.hosts.get(host) {
            return out;
        }
        let out = self.shares.add_pair(self.habits.bytes_per_s(self.habits.host_mbit, 1.0), true);
        self.hosts.insert(host.to_owned(), out);
        out
    }

    fn rack(&mut self, rack: &str) -> Option<usize> {
        let mbit = self.habits.rack_mbit?;
        if let Some(&out) = self.racks.get(rack) {
            return Some(out);
        }
        let out = self.shares.add_pair(self.habits.bytes_per_s(mbit, 1.0), false);
        self.racks.insert(rack.to_owned(), out);
        Some(out)
    }
}
