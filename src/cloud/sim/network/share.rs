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

    fn links_mut(&mut self) -> &mut [usize] {
        self.links.get_mut(..self.length).unwrap_or(&mut [])
    }
}

#[derive(Debug, Clone)]
struct Link {
    /// Bytes of guests per second.
    capacity: u64,
    of_host: bool,
    flows: BTreeSet<FlowId>,
    /// What its flows would take if they were alone. Within the capacity, it bounds none of them.
    wanted: u64,
}

/// One copy's links, and what it can take at most if it is alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    pub(super) path: Path,
    pub(super) most: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Shares {
    fair: bool,
    loss_ppm: u64,
    /// In pairs: outward at an even index, the same wire inward after it.
    links: Vec<Link>,
    /// Each with its ceiling.
    flows: BTreeMap<FlowId, (Demand, u64)>,
}

/// Flows that a change can reach, and their links numbered from 0. A link that bounds any of them has all its flows here.
struct Part {
    flows: Vec<FlowId>,
    demands: Vec<Demand>,
    links: Vec<usize>,
    capacities: Vec<u64>,
}

impl Shares {
    pub(super) const fn new(fair: bool, loss_ppm: u64) -> Self {
        Self { fair, loss_ppm, links: Vec::new(), flows: BTreeMap::new() }
    }

    /// A wire: the index of its outward link; the inward one is the next.
    pub(super) fn add_pair(&mut self, capacity: u64, of_host: bool) -> usize {
        let out = self.links.len();
        let link = Link { capacity, of_host, flows: BTreeSet::new(), wanted: 0 };
        self.links.extend([link.clone(), link]);
        out
    }

    /// Gives a wire another capacity: the new rates of all it can reach, in the order of their ids.
    pub(super) fn set_capacity(&mut self, out: usize, capacity: u64) -> Vec<(FlowId, u64)> {
        let pair = self.links.iter().skip(out).take(2);
        let on_it: Vec<FlowId> = pair.flat_map(|link| link.flows.iter().copied()).collect();
        // What bounded before and what bounds afterwards.
        let mut reached = self.reached(&on_it);
        let ceilings: Vec<_> = on_it.iter().filter_map(|&flow| Some((flow, self.remove(flow)?))).collect();
        for link in self.links.iter_mut().skip(out).take(2) {
            link.capacity = capacity;
        }
        for (flow, (path, ceiling)) in ceilings {
            self.insert(flow, path, ceiling);
        }
        reached.extend(self.reached(&on_it));
        self.rates(&reached)
    }

    /// Adds a flow: the rates of all that this can reach, in the order of their ids.
    pub(super) fn join(&mut self, flow: FlowId, path: Path, ceiling: u64) -> Vec<(FlowId, u64)> {
        self.insert(flow, path, ceiling);
        self.rates(&self.reached(&[flow]))
    }

    /// Takes a flow out: the rates of all that this can reach, in the order of their ids. None if it was not there.
    pub(super) fn leave(&mut self, flow: FlowId) -> Option<Vec<(FlowId, u64)>> {
        let mut reached = self.reached(&[flow]);
        self.remove(flow)?;
        reached.remove(&flow);
        Some(self.rates(&reached))
    }

    fn insert(&mut self, flow: FlowId, path: Path, ceiling: u64) {
        let capacity = |&link: &usize| self.links.get(link).map_or(0, |link| link.capacity);
        let most = path.links().iter().map(capacity).min().unwrap_or(0).min(ceiling);
        for &link in path.links() {
            if let Some(link) = self.links.get_mut(link) {
                link.flows.insert(flow);
                link.wanted = link.wanted.saturating_add(most);
            }
        }
        self.flows.insert(flow, (Demand { path, most }, ceiling));
    }

    /// Its path and ceiling.
    fn remove(&mut self, flow: FlowId) -> Option<(Path, u64)> {
        let (Demand { path, most }, ceiling) = self.flows.remove(&flow)?;
        for &link in path.links() {
            if let Some(link) = self.links.get_mut(link) {
                link.flows.remove(&flow);
                link.wanted = link.wanted.saturating_sub(most);
            }
        }
        Some((path, ceiling))
    }

    /// These flows and all whose rates depend on theirs: by a link that bounds both, or by a host that sends the one and
    /// receives the other.
    fn reached(&self, from: &[FlowId]) -> BTreeSet<FlowId> {
        let mut reached = BTreeSet::new();
        let mut seen = vec![false; self.links.len()];
        let mut open: Vec<FlowId> = from.to_vec();
        while let Some(flow) = open.pop() {
            let Some((demand, _)) = self.flows.get(&flow).filter(|_| reached.insert(flow)) else { continue };
            for &index in demand.path.links() {
                let (Some(link), Some(seen)) = (self.links.get(index), seen.get_mut(index)) else { continue };
                if std::mem::replace(seen, true) {
                    continue;
                }
                let opposite = self.links.get(index ^ 1).filter(|_| self.loss_ppm > 0 && link.of_host);
                let both_ways = opposite.filter(|opposite| !opposite.flows.is_empty());
                if link.wanted > link.capacity {
                    open.extend(&link.flows);
                }
                // From there it comes back to this link's.
                open.extend(both_ways.iter().flat_map(|opposite| &opposite.flows));
            }
        }
        reached
    }

    fn rates(&self, flows: &BTreeSet<FlowId>) -> Vec<(FlowId, u64)> {
        let mut part = self.part(flows);
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
        part.demands.iter().map(|demand| slowest(demand).min(demand.most)).collect()
    }

    fn part(&self, flows: &BTreeSet<FlowId>) -> Part {
        let mut demands: Vec<Demand> = Vec::with_capacity(flows.len());
        demands.extend(flows.iter().filter_map(|flow| Some(self.flows.get(flow)?.0)));
        let mut links: Vec<usize> = demands.iter().flat_map(|demand| demand.path.links()).copied().collect();
        links.sort_unstable();
        links.dedup();
        for demand in &mut demands {
            for link in demand.path.links_mut() {
                *link = links.binary_search(link).unwrap_or(0);
            }
        }
        let capacities = links.iter().filter_map(|&link| Some(self.links.get(link)?.capacity)).collect();
        Part { flows: flows.iter().copied().collect(), demands, links, capacities }
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
        // A host that sends and receives has both its links here, as neighbours: `links` is in the order of indices.
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
    let links = |flow: usize| demands.get(flow).map_or(&[][..], |demand| demand.path.links());
    let mut rooms: Vec<Room> = capacities.iter().map(|&left| Room { left, flows: Vec::new(), unset: 0 }).collect();
    for flow in 0..demands.len() {
        for &link in links(flow) {
            if let Some(room) = rooms.get_mut(link) {
                room.flows.push(flow);
                room.unset += 1;
            }
        }
    }
    let mut rates = vec![None; demands.len()];
    let mut modest: Vec<(u64, usize)> = demands.iter().enumerate().map(|(flow, demand)| (demand.most, flow)).collect();
    modest.sort_unstable();
    let mut modest = modest.into_iter().peekable();
    // The share of a link never falls while others are filled, so an entry that is out of date is too low, and is put
    // back with what is true now.
    let share = |room: &Room| room.left.checked_div(room.unset);
    let mut tightest: BinaryHeap<Reverse<(u64, usize)>> =
        rooms.iter().enumerate().filter_map(|(link, room)| Some(Reverse((share(room)?, link)))).collect();
    while let Some(Reverse((least, link))) = tightest.pop() {
        let (rate, flows) = if let Some((most, flow)) = modest.next_if(|&(most, _)| most <= least) {
            // It can take no more than it would alone, and that is there for it.
            tightest.push(Reverse((least, link)));
            (most, vec![flow])
        } else {
            let Some(room) = rooms.get_mut(link) else { continue };
            match share(room) {
                None => continue,
                Some(now) if now > least => {
                    tightest.push(Reverse((now, link)));
                    continue;
                }
                Some(now) => (now, std::mem::take(&mut room.flows)),
            }
        };
        for flow in flows {
            let Some(unset @ None) = rates.get_mut(flow) else { continue };
            *unset = Some(rate);
            for &link in links(flow) {
                if let Some(room) = rooms.get_mut(link) {
                    room.left = room.left.saturating_sub(rate);
                    room.unset -= 1;
                }
            }
        }
    }
    rates.into_iter().map(|rate| rate.unwrap_or(0)).collect()
}
