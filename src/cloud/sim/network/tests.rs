mod nights;

use std::collections::BTreeMap;

use super::*;

const HOSTS: [&str; 6] = ["h0", "h1", "h2", "h3", "h4", "h5"];

/// 1,000,000 bytes a second and host, no overhead, so that spans can be read off.
fn plain() -> NetworkHabits {
    NetworkHabits {
        host_mbit: 8,
        alpha: 1.0,
        beta_ms: 0,
        both_ways_loss: 0.0,
        max_downtime_ms: 100,
        ..NetworkHabits::default()
    }
}

/// h0 and h1 in r0, h2 and h3 in r1, the others in none.
fn racks() -> BTreeMap<String, String> {
    [("h0", "r0"), ("h1", "r0"), ("h2", "r1"), ("h3", "r1")].map(|(host, rack)| (host.into(), rack.into())).into()
}

fn network(habits: &NetworkHabits) -> Network {
    Network::new(habits, &racks()).unwrap()
}

const fn guest(memory_mib: u64, dirty_mib_per_s: f64) -> Guest {
    Guest { memory_mib, used: 1.0, dirty_mib_per_s, disk_gib: 0 }
}

/// Takes out everything that ends, in order.
fn ends(network: &mut Network) -> Vec<(u64, FlowId, Outcome)> {
    let mut ends = Vec::new();
    while let Some((at_ms, flow)) = network.next_end() {
        ends.push((at_ms, flow, network.end(flow, at_ms).unwrap()));
    }
    ends
}

mod habits {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_survive_json() {
        let habits = NetworkHabits::default();
        habits.check().unwrap();
        let json = serde_json::to_string(&habits).unwrap();
        assert_eq!(serde_json::from_str::<NetworkHabits>(&json).unwrap(), habits);
        assert_eq!(serde_json::from_str::<NetworkHabits>("{}").unwrap(), habits);
    }

    #[test]
    fn an_unknown_one_is_refused() {
        let error = serde_json::from_str::<NetworkHabits>(r#"{"host_gbit": 10}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `host_gbit`"), "{error}");
    }

    #[test]
    fn each_is_refused_out_of_its_range() {
        let with = |change: fn(&mut NetworkHabits)| {
            let mut habits = NetworkHabits::default();
            change(&mut habits);
            match Network::new(&habits, &BTreeMap::new()) {
                Err(NetworkError::OutOfRange { habit, .. }) => habit,
                other => panic!("{habits:?}: {other:?}"),
            }
        };
        assert_eq!(with(|habits| habits.host_mbit = 0), "host_mbit");
        assert_eq!(with(|habits| habits.host_mbit = u64::MAX), "host_mbit");
        assert_eq!(with(|habits| habits.rack_mbit = Some(0)), "rack_mbit");
        assert_eq!(with(|habits| habits.migration_mbit = Some(10_000_001)), "migration_mbit");
        assert_eq!(with(|habits| habits.alpha = 0.99), "alpha");
        assert_eq!(with(|habits| habits.alpha = f64::NAN), "alpha");
        assert_eq!(with(|habits| habits.beta_ms = 3_600_001), "beta_ms");
        assert_eq!(with(|habits| habits.both_ways_loss = 1.0), "both_ways_loss");
        assert_eq!(with(|habits| habits.max_downtime_ms = 0), "max_downtime_ms");
    }
}

mod alone {
    use super::*;

    /// Memory over rate, geometrically: (M/B)(1-λ^(k+1))/(1-λ) + beta, k = ceil(log_λ(B × downtime / M)).
    #[test]
    fn rounds_are_the_geometric_series() {
        for (memory_mib, dirty) in [(64, 0.0), (64, 0.1), (512, 0.4), (512, 0.8), (2048, 0.95)] {
            let habits = NetworkHabits { beta_ms: 700, ..plain() };
            let mut network = network(&habits);
            network.begin(1, "h0", "h2", guest(memory_mib, dirty), 5000).unwrap();
            let (memory, rate, dirty) = (memory_mib as f64 * 1_048_576.0, 1e6_f64, (dirty * 1_048_576.0).floor());
            let lambda = dirty / rate;
            let (mut left, mut seconds) = (memory, 0.0);
            let last = loop {
                seconds += left / rate;
                left *= lambda;
                if left <= rate * 0.1 {
                    break left / rate;
                }
            };
            let expected_ms = 5000.0 + 700.0 + (seconds + last) * 1000.0;
            let [(at_ms, 1, outcome)] = ends(&mut network)[..] else { panic!() };
            // Each round ends at a whole microsecond.
            let within_ms = 1.0 + expected_ms / 1e6;
            assert!(
                (at_ms as f64 - expected_ms).abs() <= within_ms,
                "{memory_mib} {dirty}: {at_ms}, not {expected_ms}"
            );
            assert!((outcome.downtime_ms as f64 - last * 1000.0).abs() <= 1.0);
            assert!(outcome.complete);
        }
    }

    #[test]
    fn overhead_unused_memory_disks_and_a_ceiling_count() {
        let took_ms = |habits: &NetworkHabits, guest: Guest| {
            let mut network = network(habits);
            network.begin(1, "h0", "h2", guest, 0).unwrap();
            network.next_end().unwrap().0
        };
        let idle = guest(1000, 0.0);
        assert_eq!(took_ms(&plain(), idle), 1_048_576);
        assert_eq!(took_ms(&NetworkHabits { alpha: 1.25, ..plain() }, idle), 1_310_720);
        assert_eq!(took_ms(&NetworkHabits { beta_ms: 7, ..plain() }, idle), 1_048_583);
        assert_eq!(took_ms(&NetworkHabits { migration_mbit: Some(4), ..plain() }, idle), 2_097_152);
        assert_eq!(took_ms(&NetworkHabits { rack_mbit: Some(2), ..plain() }, idle), 4_194_304);
        assert_eq!(took_ms(&plain(), Guest { used: 0.25, ..idle }), 262_144);
        assert_eq!(took_ms(&plain(), Guest { used: 0.0, ..idle }), 0);
        assert_eq!(took_ms(&plain(), Guest { disk_gib: 1, ..idle }), 1_048_576 + 1_073_742);
    }

    #[test]
    fn absurd_guests_neither_panic_nor_end() {
        let absurd = Guest { memory_mib: u64::MAX, used: f64::INFINITY, dirty_mib_per_s: f64::MAX, disk_gib: u64::MAX };
        let nothing = Guest { memory_mib: 1, used: f64::NAN, dirty_mib_per_s: f64::NAN, disk_gib: 0 };
        let mut network = network(&plain());
        network.begin(1, "h0", "h1", absurd, 0).unwrap();
        network.begin(2, "h2", "h2", nothing, 0).unwrap();
        assert_eq!(network.next_end(), Some((0, 2)));
        assert!(network.end(2, 0).unwrap().complete);
        assert_eq!(network.next_end().map(|(_, flow)| flow), None);
        assert!(network.progress(1, u64::MAX).is_some());
        assert!(!network.end(1, u64::MAX).unwrap().complete);
    }

    /// What is left shrinks within a round and jumps up to what was dirtied when the next begins.
    #[test]
    fn what_is_left_grows_again() {
        let mut network = network(&plain());
        network.begin(1, "h0", "h1", Guest { used: 0.5, ..guest(200, 0.5) }, 0).unwrap();
        let mib = |network: &mut Network, at_ms| {
            let left = network.progress(1, at_ms).unwrap();
            assert_eq!((left.memory_total_bytes, left.disk_total_bytes), (200 << 20, 0));
            left.memory_remaining_bytes as f64 / 1_048_576.0
        };
        // The first round is 100 MiB and takes 104.9 s; 52.4 MiB are dirty after it.
        assert_eq!(mib(&mut network, 0), 200.0);
        assert!((mib(&mut network, 52_429) - 100.0).abs() < 0.1);
        assert!(mib(&mut network, 104_850) < 0.1);
        assert!((mib(&mut network, 104_860) - 52.4).abs() < 0.1);
    }
}

mod never {
    use super::*;

    #[test]
    fn a_guest_that_dirties_faster_than_it_is_copied_ends_only_by_force() {
        for (how, downtime_ms) in [(Force::PostCopy, 0), (Force::Pause, 104_858)] {
            let mut network = network(&plain());
            network.begin(1, "h0", "h1", guest(100, 1.0), 0).unwrap();
            assert_eq!(network.next_end(), None);
            // Within the second round everything is dirty again.
            assert!(network.force(1, how, 150_000));
            assert_eq!(network.next_end(), Some((254_858, 1)));
            assert!(!network.force(1, how, 150_001));
            let outcome = network.end(1, 254_858).unwrap();
            assert!(outcome.complete);
            assert_eq!(outcome.downtime_ms, downtime_ms);
            assert_eq!(outcome.stopped_at_ms, (how == Force::Pause).then_some(150_000));
        }
    }

    #[test]
    fn it_can_be_aborted_and_begin_again() {
        let mut network = network(&plain());
        network.begin(1, "h0", "h1", guest(100, 1.0), 0).unwrap();
        let error = network.begin(1, "h0", "h1", guest(1, 0.0), 1000).unwrap_err();
        assert_eq!(error, NetworkError::UnderWay { flow: 1 });
        let outcome = network.end(1, 10_000).unwrap();
        assert_eq!(outcome, Outcome { complete: false, stopped_at_ms: None, downtime_ms: 0, copied_bytes: 10_000_000 });
        assert_eq!(network.end(1, 10_000), None);
        network.begin(1, "h0", "h1", guest(100, 0.0), 10_000).unwrap();
        assert_eq!(network.next_end(), Some((114_858, 1)));
    }

    #[test]
    fn a_pause_while_disks_are_copied_lasts_until_the_end() {
        let mut network = network(&plain());
        network.begin(1, "h0", "h1", Guest { disk_gib: 1, ..guest(100, 1.0) }, 0).unwrap();
        assert!(!network.force(1, Force::PostCopy, 1000));
        assert!(network.force(1, Force::Pause, 1000));
        assert!(!network.force(1, Force::Pause, 2000));
        let (at_ms, _) = network.next_end().unwrap();
        assert_eq!(at_ms, 1_178_600);
        assert_eq!(network.downtime_ms(1, 3000), Some(2000));
        assert_eq!(network.end(1, at_ms).unwrap().downtime_ms, at_ms - 1000);
    }
}

mod shared {
    use super::*;

    #[test]
    fn two_share_and_the_second_gets_all_of_it_afterwards() {
        let mut network = network(&NetworkHabits { beta_ms: 500, ..plain() });
        let mega = |millions: u64| Guest { used: millions as f64 * 1e6 / 1_073_741_824.0, ..guest(1024, 0.0) };
        network.begin(1, "h0", "h1", mega(10), 0).unwrap();
        network.begin(2, "h0", "h2", mega(30), 0).unwrap();
        // 10 MB each by 20 s; then 20 MB alone. What follows the copy takes no bandwidth.
        let at: Vec<_> = ends(&mut network).iter().map(|&(at_ms, flow, _)| (at_ms, flow)).collect();
        assert_eq!(at, [(20_500, 1), (40_500, 2)]);
    }

    #[test]
    fn full_share_gives_each_its_slowest_link() {
        let mut network = network(&NetworkHabits { fair: false, rack_mbit: Some(4), ..plain() });
        network.begin(1, "h0", "h1", guest(100, 0.0), 0).unwrap();
        network.begin(2, "h0", "h1", guest(100, 0.0), 0).unwrap();
        network.begin(3, "h0", "h4", guest(100, 0.0), 0).unwrap();
        assert_eq!([1, 2, 3].map(|flow| network.rate(flow)), [Some(1_000_000), Some(1_000_000), Some(500_000)]);
    }

    #[test]
    fn a_link_halved_midway_takes_twice_as_long_from_there() {
        let mut network = network(&plain());
        network.begin(1, "h0", "h1", guest(100, 0.0), 0).unwrap();
        assert!(network.scale(Wire::Host("h1"), 0.5, 50_000));
        assert_eq!(network.next_end(), Some((50_000 + 2 * 54_858, 1)));
        assert!(network.scale(Wire::Host("h1"), 0.0, 60_000));
        assert_eq!(network.next_end(), None);
        assert!(network.scale(Wire::Host("h1"), 1.0, 70_000));
        assert_eq!(network.next_end(), Some((70_000 + 49_858, 1)));
        assert!(!network.scale(Wire::Rack("r0"), 0.5, 70_000), "racks bound nothing here");
        assert!(!network.scale(Wire::Rack("none"), 0.5, 70_000));
    }

    /// The link that h0's two share bounds them, then does not, then does again, for the sake of h2 alone.
    #[test]
    fn scaling_reaches_whom_it_frees_and_whom_it_bounds() {
        let mut network = network(&plain());
        network.begin(1, "h0", "h1", guest(100, 0.0), 0).unwrap();
        network.begin(2, "h0", "h2", guest(100, 0.0), 0).unwrap();
        network.scale(Wire::Host("h1"), 0.625, 0);
        let rates = |network: &Network| [1, 2].map(|flow| network.rate(flow).unwrap());
        assert_eq!(rates(&network), [500_000, 500_000]);
        network.scale(Wire::Host("h2"), 0.25, 0);
        assert_eq!(rates(&network), [625_000, 250_000]);
        network.scale(Wire::Host("h2"), 1.0, 0);
        assert_eq!(rates(&network), [500_000, 500_000]);
    }

    #[test]
    fn who_sends_receives_less() {
        let mut network = network(&NetworkHabits { both_ways_loss: 0.1, ..plain() });
        network.begin(1, "h0", "h1", guest(100, 0.0), 0).unwrap();
        network.begin(2, "h1", "h2", guest(50, 0.0), 0).unwrap();
        assert_eq!([1, 2].map(|flow| network.rate(flow)), [Some(900_000), Some(1_000_000)]);
        network.scale(Wire::Host("h2"), 0.5, 0);
        assert_eq!([1, 2].map(|flow| network.rate(flow)), [Some(950_000), Some(500_000)]);
        network.end(2, 0);
        assert_eq!(network.rate(1), Some(1_000_000));
    }
}

/// A fixed night, to the millisecond: what it gives here it gives everywhere.
#[test]
fn a_night_is_the_same_on_every_machine() {
    let habits = NetworkHabits { host_mbit: 1000, rack_mbit: Some(1500), ..NetworkHabits::default() };
    let mut network = network(&habits);
    for flow in 0..60_u64 {
        let step = usize::try_from(flow).unwrap();
        let (from, to) = (HOSTS[step % 6], HOSTS[(step * 5 + 1) % 6]);
        let one = Guest { used: 0.7, ..guest(512 + flow * 37 % 2048, flow as f64 / 37.0) };
        network.begin(flow, from, to, one, flow * 900).unwrap();
    }
    network.scale(Wire::Rack("r1"), 0.3, 60_000);
    let ends = ends(&mut network);
    let digest = ends.iter().fold(0_u64, |digest, (at_ms, flow, outcome)| {
        [*at_ms, *flow, outcome.copied_bytes, outcome.downtime_ms]
            .iter()
            .fold(digest, |digest, figure| digest.wrapping_mul(1_000_003).wrapping_add(*figure))
    });
    assert_eq!((ends.len(), ends.last().map(|end| end.0), digest), (60, Some(340372), 4309436178560441777));
}

/// `cargo test --release --lib network -- --ignored --nocapture` says what nights cost.
#[test]
#[ignore = "a measurement, which wants a release build"]
fn what_nights_cost() {
    const COPIES: usize = 2000;
    let hosts: Vec<String> = (0..200).map(|host| format!("cmp-{host:03}")).collect();
    let racks = hosts.iter().map(|host| (host.clone(), host[..6].to_owned())).collect();
    let bound = NetworkHabits { rack_mbit: Some(40_000), ..NetworkHabits::default() };
    for (habits, at_once) in [NetworkHabits::default(), bound].iter().flat_map(|one| [1, 10, 40, 500].map(|n| (one, n)))
    {
        let from = std::time::Instant::now();
        let mut network = Network::new(habits, &racks).unwrap();
        let (mut begun, mut under_way, mut now_ms) = (0_usize, 0, 0);
        while begun < COPIES || under_way > 0 {
            while under_way < at_once && begun < COPIES {
                let (from, to) = (&hosts[begun * 7 % 100], &hosts[100 + begun * 31 % 100]);
                network.begin(begun as u64, from, to, guest(4096 + begun as u64 % 4096, 40.0), now_ms).unwrap();
                (begun, under_way) = (begun + 1, under_way + 1);
            }
            let (at_ms, flow) = network.next_end().unwrap();
            assert!(network.end(flow, at_ms).unwrap().complete);
            (now_ms, under_way) = (at_ms, under_way - 1);
        }
        let (took, racks, virtual_s) = (from.elapsed(), habits.rack_mbit.is_some(), now_ms / 1000);
        eprintln!("{COPIES} copies, {at_once} at once, racks that bound: {racks}: {took:?}, {virtual_s} virtual s");
    }
}
