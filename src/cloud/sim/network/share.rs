//! Who gets how much of which link: max-min, worked out anew only for the copies that a change can reach.
//!
//! Deliberately absent: time, guests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::FlowId;

/// The links of one copy: out of a host, into another, and at most two of racks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Path {
    links: [usize; 4],
    length: usize,
}

impl Path {
    /// The first four.
    pub(super) fn of(links: &[usize]) -> Self {
        let mut path = Self::default();
        for (slot, &link) in path.links.iter_mut().zip(links) {
            *slot = link;
            path.length += 1;
        }
        path
    }

    pub(super) fn links(&self) -> &[usize] {
        self.links.get(..self.length).unwrap_or(&[])
    }
}

#[derive(Debug, Clone)]
struct Link {
    /// Bytes of guests per second.
    capacity: u64,
    of_host: bool,
    flows: BTreeSet<FlowId>,
}

#[derive(Debug, Clone)]
pub(super) struct Shares {
    fair: bool,
    loss_ppm: u64,
    /// In pairs: outward at an even index, the same wire inward after it.
    links: Vec<Link>,
    flows: BTreeMap<FlowId, (Path, u64)>,
}

/// The part of the network that a change can reach, with its links numbered from 0.
struct Part {
    flows: Vec<FlowId>,
    demands: Vec<Demand>,
    links: Vec<usize>,
    capacities: Vec<u64>,
}

/// One copy's links, as indices into the capacities, and what it can take at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    pub(super) path: Path,
    pub(super) ceiling: u64,
}

impl Shares {
    pub(super) const fn new(fair: bool, loss_ppm: u64) -> Self {
        Self { fair, loss_ppm, links: Vec::new(), flows: BTreeMap::new() }
    }

    /// A wire: the index of its outward link; the inward one is the next.
    pub(super) fn add_pair(&mut self, capacity: u64, of_host: bool) -> usize {
        let out = self.links.len();
        let link = Link { capacity, of_host, flows: BTreeSet::new() };
        self.links.extend([link.clone(), link]);
        out
    }

    pub(super) fn set_capacity(&mut self, out: usize, capacity: u64) {
        for link in self.links.iter_mut().skip(out).take(2) {
            link.capacity = capacity;
        }
    }

    pub(super) fn join(&mut self, flow: FlowId, path: Path, ceiling: u64) {
        for &link in path.links() {
            if let Some(link) = self.links.get_mut(link) {
                link.flows.insert(flow);
            }
        }
        self.flows.insert(flow, (path, ceiling));
    }

    /// False if it was not there.
    pub(super) fn leave(&mut self, flow: FlowId) -> bool {
        let Some((path, _)) = self.flows.remove(&flow) else { return false };
        for &link in path.links() {
            if let Some(link) = self.links.get_mut(link) {
                link.flows.remove(&flow);
            }
        }
        true
    }

    /// The rates of all copies that a change to these links can reach, in the order of their ids.
    pub(super) fn around(&self, path: &Path) -> Vec<(FlowId, u64)> {
        let mut part = self.part(path);
        let mut rates = self.share(&part);
        if self.loss_ppm > 0 && self.lose(&mut part, &rates) {
            rates = self.share(&part);
        }
        part.flows.into_iter().zip(rates).collect()
    }

    fn share(&self, part: &Part) -> Vec<u64> {
        if self.fair {
            return max_min(&part.capacities, &part.demands);
        }
        let capacity = |&link: &usize| part.capacities.get(link).copied().unwrap_or(0);
        let slowest = |demand: &Demand| demand.path.links().iter().map(capacity).min().unwrap_or(0);
        part.demands.iter().map(|demand| slowest(demand).min(demand.ceiling)).collect()
    }

    fn part(&self, path: &Path) -> Part {
        let mut links: BTreeMap<usize, usize> = BTreeMap::new();
        let mut flows: BTreeMap<FlowId, Demand> = BTreeMap::new();
        let mut open: Vec<usize> = path.links().to_vec();
        while let Some(index) = open.pop() {
            let Some(link) = self.links.get(index).filter(|_| !links.contains_key(&index)) else { continue };
            links.insert(index, 0);
            // What a host sends slows down what it receives.
            if self.loss_ppm > 0 && link.of_host {
                open.push(index ^ 1);
            }
            for id in &link.flows {
                if let Some(&(path, ceiling)) = self.flows.get(id).filter(|_| !flows.contains_key(id)) {
                    flows.insert(*id, Demand { path, ceiling });
                    open.extend(path.links());
                }
            }
        }
        for (position, local) in links.values_mut().enumerate() {
            *local = position;
        }
        for demand in flows.values_mut() {
            for link in &mut demand.path.links {
                *link = links.get(link).copied().unwrap_or(0);
            }
        }
        let capacity = |&link: &usize| self.links.get(link).map_or(0, |link| link.capacity);
        Part {
            capacities: links.keys().map(capacity).collect(),
            links: links.into_keys().collect(),
            demands: flows.values().copied().collect(),
            flows: flows.into_keys().collect(),
        }
    }

    /// Takes from each host that sends and receives its share of the inward capacity. False if there is none.
    fn lose(&self, part: &mut Part, rates: &[u64]) -> bool {
        let mut used = vec![0_u64; part.links.len()];
        for (demand, &rate) in part.demands.iter().zip(rates) {
            for &link in demand.path.links() {
                if let Some(used) = used.get_mut(link) {
                    *used = used.saturating_add(rate);
                }
            }
        }
        let mut any = false;
        // A pair is in the part as a whole, and its two links are neighbours: `links` is in the order of their indices.
        let pairs = part.links.windows(2).zip(used.windows(2)).enumerate();
        for (position, (links, used)) in pairs {
            let (&[out, into], &[sent, received]) = (links, used) else { continue };
            let Some(link) = self.links.get(out).filter(|link| link.of_host && out % 2 == 0 && into == out + 1) else {
                continue;
            };
            if sent == 0 || received == 0 || link.capacity == 0 {
                continue;
            }
            // Both links of a pair have the same capacity, so capacity × loss × sent / capacity is loss × sent.
            let lost = u128::from(self.loss_ppm) * u128::from(sent.min(link.capacity)) / 1_000_000;
            if let Some(capacity) = part.capacities.get_mut(position + 1) {
                *capacity = capacity.saturating_sub(u64::try_from(lost).unwrap_or(u64::MAX));
                any = true;
            }
        }
        any
    }
}

/// Max-min: no copy can get more except from one that has no more than it. To the byte per second below, since the share
/// of a link is cut to whole bytes.
pub(super) fn max_min(capacities: &[u64], demands: &[Demand]) -> Vec<u64> {
    struct Room {
        left: u64,
        flows: Vec<usize>,
        unset: u64,
    }
    impl Room {
        fn share(&self) -> Option<u64> {
            self.left.checked_div(self.unset)
        }
    }
    let mut rooms: Vec<Room> = capacities.iter().map(|&left| Room { left, flows: Vec::new(), unset: 0 }).collect();
    let links_of = |flow: usize| {
        // A ceiling is a link of its own, after all others.
        let demand = demands.get(flow);
        demand.into_iter().flat_map(|demand| demand.path.links().iter().copied()).chain([capacities.len() + flow])
    };
    rooms.extend(demands.iter().map(|demand| Room { left: demand.ceiling, flows: Vec::new(), unset: 0 }));
    for flow in 0..demands.len() {
        for link in links_of(flow) {
            if let Some(room) = rooms.get_mut(link) {
                room.flows.push(flow);
                room.unset += 1;
            }
        }
    }
    let mut rates = vec![None; demands.len()];
    // The share of a link never falls while others are filled, so an entry that is out of date is too low, and is put
    // back with what is true now.
    let mut tightest: BinaryHeap<Reverse<(u64, usize)>> =
        rooms.iter().enumerate().filter_map(|(link, room)| Some(Reverse((room.share()?, link)))).collect();
    while let Some(Reverse((share, link))) = tightest.pop() {
        let Some(room) = rooms.get_mut(link) else { continue };
        match room.share() {
            None => continue,
            Some(now) if now > share => {
                tightest.push(Reverse((now, link)));
                continue;
            }
            Some(_) => {}
        }
        for flow in std::mem::take(&mut room.flows) {
            if let Some(rate @ None) = rates.get_mut(flow) {
                *rate = Some(share);
                for link in links_of(flow) {
                    if let Some(room) = rooms.get_mut(link) {
                        room.left = room.left.saturating_sub(share);
                        room.unset -= 1;
                    }
                }
            }
        }
    }
    rates.into_iter().map(|rate| rate.unwrap_or(0)).collect()
}
