//! Random nights, watched at every instant at which a rate can change, beside an oracle that fills links evenly.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::{collection, sample};

use super::*;

/// What a night does to a network, at how many milliseconds after the one before.
#[derive(Debug, Clone)]
enum Act {
    Begin { from: usize, to: usize, guest: Guest },
    Abort(sample::Index),
    Force(sample::Index, Force),
    Scale { wire: usize, eighths: u64 },
}

fn act() -> impl Strategy<Value = (u64, Act)> {
    let guest = (0_u64..64, 0_u64..=4, 0_u64..8, prop_oneof![9 => Just(0), 1 => Just(1_u64)]).prop_map(
        |(memory_mib, quarters, dirty, disk_gib)| Guest {
            memory_mib,
            used: quarters as f64 / 4.0,
            dirty_mib_per_s: dirty as f64 / 5.0,
            disk_gib,
        },
    );
    let begin = (0..HOSTS.len(), 0..HOSTS.len(), guest).prop_map(|(from, to, guest)| Act::Begin { from, to, guest });
    let force = prop_oneof![Just(Force::Pause), Just(Force::PostCopy)];
    let act = prop_oneof![
        10 => begin,
        2 => any::<sample::Index>().prop_map(Act::Abort),
        1 => (any::<sample::Index>(), force).prop_map(|(which, how)| Act::Force(which, how)),
        3 => (0..HOSTS.len() + 2, 1_u64..12).prop_map(|(wire, eighths)| Act::Scale { wire, eighths }),
    ];
    (0_u64..40_000, act)
}

fn some_habits() -> impl Strategy<Value = NetworkHabits> {
    let maybe = |range: std::ops::Range<u64>| prop_oneof![Just(None), range.prop_map(Some)];
    let alpha = (1_u64..80, 0_u64..40).prop_map(|(host_mbit, alpha)| (host_mbit, 1.0 + alpha as f64 / 100.0));
    (alpha, maybe(1..200), maybe(1..40), 0_u64..3000, prop_oneof![Just(0.0), Just(0.1), Just(0.35)], 1_u64..900)
        .prop_map(|((host_mbit, alpha), rack_mbit, migration_mbit, beta_ms, both_ways_loss, max_downtime_ms)| {
            let fair = true;
            NetworkHabits {
                host_mbit,
                rack_mbit,
                migration_mbit,
                fair,
                alpha,
                beta_ms,
                both_ways_loss,
                max_downtime_ms,
            }
        })
}

/// A flow as the tests follow it, by names of links of their own.
struct Followed {
    links: Vec<String>,
    guest: Guest,
    began_ms: u64,
    /// From rates and spans alone.
    sent_bytes: f64,
    at_least_s: f64,
}

/// One night, with everything that can be seen of it. The oracle knows names of links and figures, and none of the code.
struct Night<'a> {
    habits: &'a NetworkHabits,
    network: Network,
    factors: BTreeMap<String, f64>,
    followed: BTreeMap<FlowId, Followed>,
    now_ms: u64,
    ended: Vec<(u64, FlowId, Outcome)>,
    aborted: Vec<Outcome>,
    read_often: bool,
}

impl<'a> Night<'a> {
    fn new(habits: &'a NetworkHabits, read_often: bool) -> Self {
        let (factors, followed) = (BTreeMap::new(), BTreeMap::new());
        let (ended, aborted) = (Vec::new(), Vec::new());
        Self { habits, network: network(habits), factors, followed, now_ms: 0, ended, aborted, read_often }
    }

    fn live(mut self, acts: &[(u64, Act)]) -> Self {
        for (index, (after_ms, act)) in acts.iter().enumerate() {
            self.until(self.now_ms + after_ms);
            let flows: Vec<_> = self.followed.keys().copied().collect();
            match act {
                &Act::Begin { from, to, guest } => self.begin(index as u64, HOSTS[from], HOSTS[to], guest),
                Act::Abort(which) if !flows.is_empty() => {
                    let flow = *which.get(&flows);
                    self.followed.remove(&flow);
                    self.aborted.push(self.network.end(flow, self.now_ms).unwrap());
                }
                Act::Force(which, how) if !flows.is_empty() => {
                    self.network.force(*which.get(&flows), *how, self.now_ms);
                }
                Act::Scale { wire, eighths } => self.scale(*wire, *eighths as f64 / 8.0),
                Act::Abort(_) | Act::Force(..) => {}
            }
            self.look();
        }
        // What does not converge is forced, or there would be no end; once its disks are copied, which may take a while.
        for _ in 0..100 {
            self.until(self.now_ms + 5_000_000);
            for &flow in self.followed.keys() {
                self.network.force(flow, Force::PostCopy, self.now_ms);
            }
        }
        self.until(u64::MAX);
        assert!(self.followed.is_empty(), "some never end");
        self
    }

    fn begin(&mut self, flow: FlowId, from: &str, to: &str, guest: Guest) {
        let racks = racks();
        let mut links = vec![format!("{from} out"), format!("{to} in")];
        if racks.get(from) != racks.get(to) && self.habits.rack_mbit.is_some() {
            links.extend(racks.get(from).map(|rack| format!("{rack} out")));
            links.extend(racks.get(to).map(|rack| format!("{rack} in")));
        }
        let bytes = (guest.memory_mib << 20) as f64 * guest.used + (guest.disk_gib << 30) as f64;
        // Factors go up to 11/8.
        let at_least_s = bytes / (self.habits.host_mbit as f64 * 125_000.0 / self.habits.alpha * 1.375);
        self.network.begin(flow, from, to, guest, self.now_ms).unwrap();
        self.followed.insert(flow, Followed { links, guest, began_ms: self.now_ms, sent_bytes: 0.0, at_least_s });
    }

    fn scale(&mut self, wire: usize, factor: f64) {
        let name = HOSTS.get(wire).copied().unwrap_or(if wire == HOSTS.len() { "r0" } else { "r1" });
        let wire = if wire < HOSTS.len() { Wire::Host(name) } else { Wire::Rack(name) };
        if self.network.scale(wire, factor, self.now_ms) {
            self.factors.insert(format!("{name} out"), factor);
            self.factors.insert(format!("{name} in"), factor);
        }
    }

    /// Goes on, stopping wherever a rate can change.
    fn until(&mut self, until_ms: u64) {
        loop {
            let copied_ms = self.network.copied.first().map(|&(at_ms, _)| at_ms);
            let end = self.network.next_end();
            let next_ms = copied_ms.into_iter().chain(end.map(|(at_ms, _)| at_ms)).min();
            let Some(next_ms) = next_ms.filter(|&next_ms| next_ms <= until_ms) else { break };
            self.pass(next_ms);
            if let Some((at_ms, flow)) = end.filter(|&(at_ms, _)| at_ms == next_ms) {
                let outcome = self.network.end(flow, at_ms).unwrap();
                self.judge(at_ms, flow, outcome);
                self.ended.push((at_ms, flow, outcome));
            } else {
                self.network.advance(next_ms);
            }
            self.look();
        }
        if until_ms < u64::MAX {
            self.pass(until_ms);
        }
    }

    fn pass(&mut self, to_ms: u64) {
        for (&id, flow) in &mut self.followed {
            flow.sent_bytes += self.network.rate(id).unwrap() as f64 * (to_ms - self.now_ms) as f64 / 1000.0;
        }
        if self.read_often {
            for third in 1..=3 {
                let at_ms = self.now_ms + (to_ms - self.now_ms) * third / 3;
                for &id in self.followed.keys() {
                    let left = self.network.progress(id, at_ms).unwrap();
                    assert!(left.memory_remaining_bytes <= left.memory_total_bytes);
                    assert!(left.disk_remaining_bytes <= left.disk_total_bytes);
                    assert!(self.network.downtime_ms(id, at_ms).is_some());
                }
            }
        }
        self.now_ms = to_ms;
    }

    fn judge(&mut self, at_ms: u64, id: FlowId, outcome: Outcome) {
        let flow = self.followed.remove(&id).unwrap();
        assert!(outcome.complete, "{id} was announced");
        let memory = ((flow.guest.memory_mib << 20) as f64 * flow.guest.used) as u64;
        assert!(outcome.copied_bytes >= memory + (flow.guest.disk_gib << 30), "every byte at least once");
        // It ends within a millisecond that counts as a whole, and a round within a microsecond; but the last, and what
        // is forced, a round takes longer than the downtime.
        let (sent, copied) = (flow.sent_bytes, outcome.copied_bytes as f64);
        let most_in_1_ms = self.habits.host_mbit as f64 * 125.0 * 1.375 + 2.0;
        let within = most_in_1_ms + sent / (self.habits.max_downtime_ms * 1000) as f64;
        assert!((sent - copied).abs() <= within, "{id} had room for {sent} and sent {copied}");
        let took_s = (at_ms - flow.began_ms - self.habits.beta_ms) as f64 / 1000.0;
        assert!(took_s >= flow.at_least_s - 1e-6, "faster than its links");
        assert!(self.ended.last().is_none_or(|&(before_ms, ..)| before_ms <= at_ms), "ends are in order");
    }

    /// Rates are what filling all links evenly gives, and no link carries more than it can.
    fn look(&self) {
        let capacity = |link: &str| {
            let mbit = if link.starts_with('h') { self.habits.host_mbit } else { self.habits.rack_mbit.unwrap() };
            mbit as f64 * 125_000.0 / self.habits.alpha * self.factors.get(link).copied().unwrap_or(1.0)
        };
        let flows: BTreeMap<FlowId, &[String]> = self
            .followed
            .iter()
            .filter(|(id, _)| self.network.shares_has(**id))
            .map(|(&id, flow)| (id, &flow.links[..]))
            .collect();
        let mut capacities: BTreeMap<&str, f64> = BTreeMap::new();
        for link in flows.values().copied().flatten() {
            capacities.insert(link, capacity(link));
        }
        let ceiling = self.habits.migration_mbit.map_or(f64::MAX, |mbit| mbit as f64 * 125_000.0 / self.habits.alpha);
        let mut expected = water_filled(&capacities, &flows, ceiling);
        let carried = |rates: &BTreeMap<FlowId, f64>, link: &str| -> f64 {
            flows.iter().filter(|(_, links)| links.iter().any(|one| one == link)).map(|(id, _)| rates[id]).sum()
        };
        let less: Vec<(&str, f64)> = capacities
            .keys()
            .filter_map(|link| {
                let out = link.strip_suffix(" in").filter(|host| host.starts_with('h'))?;
                Some((*link, self.habits.both_ways_loss * carried(&expected, &format!("{out} out"))))
            })
            .collect();
        for (link, lost) in less {
            *capacities.get_mut(link).unwrap() -= lost;
        }
        expected = water_filled(&capacities, &flows, ceiling);

        let rates: BTreeMap<_, _> = flows.keys().map(|&id| (id, self.network.rate(id).unwrap() as f64)).collect();
        for (id, &rate) in &rates {
            let expected = expected[id];
            // Shares are cut to whole bytes, which adds up over the links that depend on each other.
            assert!((rate - expected).abs() <= 40.0, "{id} has {rate}, and its share is {expected}");
        }
        for (link, &capacity) in &capacities {
            let carried = carried(&rates, link);
            assert!(carried <= capacity + 40.0 * self.habits.both_ways_loss, "{link}: {carried} of {capacity}");
        }
    }
}

/// All rates grow together; whoever meets a full link, or its ceiling, stops.
fn water_filled(
    capacities: &BTreeMap<&str, f64>,
    flows: &BTreeMap<FlowId, &[String]>,
    ceiling: f64,
) -> BTreeMap<FlowId, f64> {
    let mut rates: BTreeMap<FlowId, f64> = flows.keys().map(|&id| (id, 0.0)).collect();
    let mut growing: Vec<FlowId> = flows.keys().copied().collect();
    while !growing.is_empty() {
        let uses = |id: &FlowId, link: &str| flows[id].iter().any(|one| one == link);
        let room = |rates: &BTreeMap<FlowId, f64>, link: &str| {
            capacities[link] - rates.iter().filter(|(id, _)| uses(id, link)).map(|(_, rate)| rate).sum::<f64>()
        };
        let step = capacities
            .keys()
            .filter_map(|link| {
                let count = growing.iter().filter(|id| uses(id, link)).count();
                (count > 0).then(|| room(&rates, link) / count as f64)
            })
            .chain(growing.iter().map(|id| ceiling - rates[id]))
            .fold(f64::MAX, f64::min)
            .max(0.0);
        for id in &growing {
            *rates.get_mut(id).unwrap() += step;
        }
        let full = |id: &FlowId| ceiling - rates[id] <= 1e-3 || flows[id].iter().any(|link| room(&rates, link) <= 1e-3);
        growing = growing.iter().copied().filter(|id| !full(id)).collect();
    }
    rates
}

impl Network {
    /// Whether a flow still takes bandwidth.
    fn shares_has(&self, flow: FlowId) -> bool {
        self.shares.clone().leave(flow).is_some()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_nights_share_fairly_and_lose_no_byte(
        habits in some_habits(), acts in collection::vec(act(), 1..60),
    ) {
        let night = Night::new(&habits, false).live(&acts);
        let begun = acts.iter().filter(|(_, act)| matches!(act, Act::Begin { .. })).count();
        prop_assert_eq!(night.ended.len() + night.aborted.len(), begun);
    }

    #[test]
    fn reading_changes_nothing_and_the_same_night_is_the_same(
        habits in some_habits(), acts in collection::vec(act(), 1..40),
    ) {
        let (quiet, read) = (Night::new(&habits, false).live(&acts), Night::new(&habits, true).live(&acts));
        prop_assert_eq!(quiet.ended, read.ended);
        prop_assert_eq!(quiet.aborted, read.aborted);
    }

    #[test]
    fn a_guest_that_dirties_less_is_never_slower(
        memory_mib in 1_u64..4096, dirty in 0_u64..100, less in 0_u64..100, max_downtime_ms in 1_u64..2000,
    ) {
        let took_ms = |dirty: u64| {
            let mut network = network(&NetworkHabits { max_downtime_ms, host_mbit: 800, ..plain() });
            network.begin(1, "h0", "h1", guest(memory_mib, dirty as f64), 0).unwrap();
            network.next_end().map_or(u64::MAX, |(at_ms, _)| at_ms)
        };
        let (less, more) = (took_ms(dirty.min(less)), took_ms(dirty));
        // One round more or less is within the downtime.
        prop_assert!(less <= more.saturating_add(max_downtime_ms), "{less} {more}");
    }
}
