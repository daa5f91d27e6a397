//! How long a copy takes, while nothing better is known: each flow has the link to itself.

use std::collections::BTreeMap;

/// What is copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    pub memory_mib: u64,
    pub dirty_mib_per_s: f64,
    pub disk_gib: u64,
}

/// 10 GbE at nine tenths.
const LINK_MIB_PER_S: f64 = 1_073.0;

#[derive(Debug, Default)]
pub(super) struct Network {
    /// Bytes at the beginning, when it began, when it ends (never, when the guest dirties faster than the link copies).
    flows: BTreeMap<u64, (u64, u64, Option<u64>)>,
}

impl Network {
    pub(super) fn begin(&mut self, flow: u64, _from: usize, _to: usize, guest: Guest, now_ms: u64) {
        let mib = guest.memory_mib + guest.disk_gib * 1024;
        let net = LINK_MIB_PER_S - guest.dirty_mib_per_s;
        let ends = (net > 1.0).then(|| now_ms + (mib as f64 / net * 1000.0).ceil() as u64 + 1);
        self.flows.insert(flow, (mib << 20, now_ms, ends));
    }

    pub(super) fn next_end(&mut self, _now_ms: u64) -> Option<(u64, u64)> {
        self.flows.iter().filter_map(|(flow, (_, _, ends))| Some(((*ends)?, *flow))).min()
    }

    pub(super) fn progress(&mut self, flow: u64, now_ms: u64) -> u64 {
        let Some((bytes, began, ends)) = self.flows.get(&flow).copied() else { return 0 };
        let Some(ends) = ends else { return bytes / 8 };
        let left = ends.saturating_sub(now_ms) as f64 / ends.saturating_sub(began).max(1) as f64;
        (bytes as f64 * left) as u64
    }

    pub(super) fn end(&mut self, flow: u64, _now_ms: u64) {
        self.flows.remove(&flow);
    }
}
