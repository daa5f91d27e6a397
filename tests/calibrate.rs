//! The simulated network beside measured live migrations: 50 plans of 10 migrations between 4 KVM hosts of Grid'5000, run
//! 4 times (btrplace/kherbache-thesis, `accuracy/`). Each run is replayed through [`Network`] with its recorded starts and
//! the topology's links; the constants are fitted on the plans of odd numbers and judged on the others.
//!
//! The measurements are not part of this repository (their licence does not allow it): `FURLOUGH_BENCH_DATA` names the
//! folder that holds `btrplace-migrations/g5k-50-plans` (JSON), `g5k-50-measured/1` to `4` (CSV) and
//! `g5k-50-topology-simgrid.xml`. `benches/calibrate` runs this.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test without its data has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use furlough::cloud::sim::network::{Guest, Network, NetworkHabits, Wire};
use serde_json::Value;

/// Mean absolute relative error per migration on the half that nothing was fitted on.
const ERROR_MAX: f64 = 0.058;
const PLANS: u64 = 50;
const REPEATS: u64 = 4;
/// How far the defaults may be from what is fitted.
const ALPHA_WITHIN: f64 = 0.005;
const BETA_WITHIN_MS: f64 = 100.0;
const LOSS_WITHIN: f64 = 0.01;

struct Copy {
    server: u64,
    from: usize,
    to: usize,
    /// Mbit/s that the plan gave it: the slower of its two links.
    mbit: u64,
    /// Seconds of the measuring machine's clock.
    start_s: u64,
    end_s: u64,
    memory_mib: u64,
    dirty_mib_per_s: f64,
}

impl Copy {
    fn took_s(&self) -> f64 {
        (self.end_s - self.start_s) as f64
    }
}

/// One plan, executed once.
struct Run {
    plan: u64,
    copies: Vec<Copy>,
}

struct Measured {
    /// Mbit/s of each host, by its number.
    links: Vec<u64>,
    runs: Vec<Run>,
}

#[test]
#[ignore = "needs measurements that are not in the repository: benches/calibrate runs it"]
fn the_network_beside_measured_migrations() {
    let folder = std::env::var_os("FURLOUGH_BENCH_DATA")
        .expect("FURLOUGH_BENCH_DATA is not set: name the folder that holds btrplace-migrations/");
    let measured = read(&Path::new(&folder).join("btrplace-migrations"));
    let half = |odd: bool| measured.runs.iter().filter(move |run| (run.plan % 2 == 1) == odd).collect::<Vec<_>>();
    let (training, held_out) = (half(true), half(false));
    let shipped = NetworkHabits::default();
    let fitted = fit(&measured.links, &training, true);
    let crossed = fit(&measured.links, &held_out, true);
    let without_loss = fit(&measured.links, &training, false);

    let mut table = String::new();
    let _ = writeln!(
        table,
        "{} runs, {} migrations; fitted on the plans of odd numbers\n\n{:<28} {:>8} {:>9} {:>15}",
        measured.runs.len(),
        measured.runs.iter().map(|run| run.copies.len()).sum::<usize>(),
        "constants",
        "alpha",
        "beta_ms",
        "both_ways_loss"
    );
    for (name, habits) in [
        ("fitted", &fitted),
        ("shipped as the default", &shipped),
        ("fitted on even numbers", &crossed),
        ("fitted without loss", &without_loss),
    ] {
        let _ =
            writeln!(table, "{name:<28} {:>8.4} {:>9} {:>15.3}", habits.alpha, habits.beta_ms, habits.both_ways_loss);
    }
    let _ = writeln!(
        table,
        "\n{:<28} {:>8} {:>9} {:>9} {:>9}",
        "mean abs. relative error", "count", "training", "held out", "bias"
    );
    for mbit in [500, 1000] {
        for memory_mib in [2000, 3000] {
            let of_class = |copy: &Copy| copy.mbit == mbit && copy.memory_mib == memory_mib;
            row(
                &mut table,
                &format!("{mbit} Mbit/s, {memory_mib} MiB"),
                &measured.links,
                &fitted,
                &training,
                &held_out,
                of_class,
            );
        }
    }
    row(&mut table, "fitted", &measured.links, &fitted, &training, &held_out, |_| true);
    row(&mut table, "shipped", &measured.links, &shipped, &training, &held_out, |_| true);
    row(&mut table, "fitted without loss", &measured.links, &without_loss, &training, &held_out, |_| true);
    let _ = writeln!(
        table,
        "\nnoise floor (each from the median of its {REPEATS} repeats): {:.2} % on the held-out half",
        100.0 * noise_floor(&held_out)
    );
    eprintln!("\n{table}");

    let error = mean(&errors(&measured.links, &fitted, &held_out, |_| true));
    let of_shipped = mean(&errors(&measured.links, &shipped, &held_out, |_| true));
    assert!(
        error <= ERROR_MAX,
        "the fitted model is {:.2} % off, and may be {:.1} %",
        100.0 * error,
        100.0 * ERROR_MAX
    );
    assert!(
        of_shipped <= ERROR_MAX,
        "the defaults are {:.2} % off, and may be {:.1} %",
        100.0 * of_shipped,
        100.0 * ERROR_MAX
    );
    let near = |one: f64, other: f64, within: f64| (one - other).abs() <= within;
    assert!(near(shipped.alpha, fitted.alpha, ALPHA_WITHIN), "alpha is no longer the one that is shipped");
    assert!(
        near(shipped.beta_ms as f64, fitted.beta_ms as f64, BETA_WITHIN_MS),
        "beta_ms is no longer the one shipped"
    );
    assert!(
        near(shipped.both_ways_loss, fitted.both_ways_loss, LOSS_WITHIN),
        "both_ways_loss is no longer the one shipped"
    );
}

fn row(
    table: &mut String,
    name: &str,
    links: &[u64],
    habits: &NetworkHabits,
    training: &[&Run],
    held_out: &[&Run],
    which: impl Fn(&Copy) -> bool + std::marker::Copy,
) {
    let judged = errors(links, habits, held_out, which);
    let _ = writeln!(
        table,
        "{name:<28} {:>8} {:>7.2} % {:>7.2} % {:>+7.2} %",
        judged.len(),
        100.0 * mean(&errors(links, habits, training, which)),
        100.0 * mean(&judged),
        100.0 * judged.iter().sum::<f64>() / judged.len() as f64
    );
}

/// Of what is signed: the mean of its sizes.
fn mean(errors: &[f64]) -> f64 {
    errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64
}

/// Relative error of each migration that is asked for.
fn errors(links: &[u64], habits: &NetworkHabits, runs: &[&Run], which: impl Fn(&Copy) -> bool) -> Vec<f64> {
    let mut errors = Vec::new();
    for run in runs {
        for (copy, took_s) in run.copies.iter().zip(replay(links, habits, run)) {
            if which(copy) {
                errors.push((took_s - copy.took_s()) / copy.took_s());
            }
        }
    }
    errors
}

/// How long each migration of a run takes over the simulated network when it starts as it did; seconds.
fn replay(links: &[u64], habits: &NetworkHabits, run: &Run) -> Vec<f64> {
    let fastest = *links.iter().max().unwrap();
    let habits = NetworkHabits { host_mbit: fastest, ..habits.clone() };
    let mut network = Network::new(&habits, &BTreeMap::new()).unwrap();
    let names: Vec<String> = (0..links.len()).map(|host| format!("node{host}")).collect();
    for (name, mbit) in names.iter().zip(links) {
        network.scale(Wire::Host(name), *mbit as f64 / fastest as f64, 0);
    }
    let first_s = run.copies.iter().map(|copy| copy.start_s).min().unwrap();
    let begin_ms = |copy: &Copy| (copy.start_s - first_s) * 1000;
    let mut order: Vec<usize> = (0..run.copies.len()).collect();
    order.sort_by_key(|&index| (run.copies[index].start_s, index));
    let mut took_s = vec![f64::NAN; run.copies.len()];
    let mut ended = |network: &mut Network, until_ms: u64| {
        while let Some((at_ms, flow)) = network.next_end().filter(|&(at_ms, _)| at_ms <= until_ms) {
            let index = usize::try_from(flow).unwrap();
            assert!(network.end(flow, at_ms).unwrap().complete);
            took_s[index] = (at_ms - begin_ms(&run.copies[index])) as f64 / 1000.0;
        }
    };
    for index in order {
        let copy = &run.copies[index];
        ended(&mut network, begin_ms(copy));
        let guest =
            Guest { memory_mib: copy.memory_mib, used: 1.0, dirty_mib_per_s: copy.dirty_mib_per_s, disk_gib: 0 };
        network.begin(index as u64, &names[copy.from], &names[copy.to], guest, begin_ms(copy)).unwrap();
    }
    ended(&mut network, u64::MAX);
    took_s
}

/// The least mean absolute relative error, by going along one constant after the other in steps that get finer, down to
/// what 1,000 migrations timed in whole seconds can tell.
fn fit(links: &[u64], runs: &[&Run], with_loss: bool) -> NetworkHabits {
    let score = |habits: &NetworkHabits| mean(&errors(links, habits, runs, |_| true));
    let mut best = NetworkHabits { alpha: 1.1, beta_ms: 1000, both_ways_loss: 0.0, ..NetworkHabits::default() };
    let loss = if with_loss { 0.01 } else { 0.0 };
    let mut least = score(&best);
    for step in [8.0, 4.0, 2.0, 1.0] {
        // Alpha and beta trade against each other, so there is a step for both at once.
        let steps = [(0.005, 0.0, 0.0), (0.0, 50.0, 0.0), (0.0, 0.0, loss), (0.005, -150.0, 0.0)];
        loop {
            let before = least;
            for (alpha, beta_ms, loss) in steps {
                for sign in [step, -step] {
                    let mut next = best.clone();
                    next.alpha = (next.alpha + sign * alpha).max(1.0);
                    next.beta_ms = (next.beta_ms as f64 + sign * beta_ms).max(0.0) as u64;
                    next.both_ways_loss = (next.both_ways_loss + sign * loss).clamp(0.0, 0.9);
                    let error = score(&next);
                    if error < least {
                        (best, least) = (next, error);
                    }
                }
            }
            if least >= before {
                break;
            }
        }
    }
    best
}

/// What no model that knows only the plan can be better than: each migration from the median of its repeats.
fn noise_floor(runs: &[&Run]) -> f64 {
    let mut repeats: BTreeMap<(u64, u64), Vec<f64>> = BTreeMap::new();
    for run in runs {
        for copy in &run.copies {
            repeats.entry((run.plan, copy.server)).or_default().push(copy.took_s());
        }
    }
    let mut errors = Vec::new();
    for took in repeats.values_mut() {
        took.sort_by(f64::total_cmp);
        let median = f64::midpoint(took[(took.len() - 1) / 2], took[took.len() / 2]);
        errors.extend(took.iter().map(|one| (one - median) / median));
    }
    mean(&errors)
}

fn read(folder: &Path) -> Measured {
    let text = |path: &str| {
        let path = folder.join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut runs = Vec::new();
    for plan in 1..=PLANS {
        let document: Value = serde_json::from_str(&text(&format!("g5k-50-plans/random.{plan}.json"))).unwrap();
        let guests = &document["origin"]["attributes"]["vms"];
        for repeat in 1..=REPEATS {
            let rows = text(&format!("g5k-50-measured/{repeat}/micro_random.{plan}.csv"));
            let copies: Vec<Copy> = rows.lines().skip(1).map(|row| copy(row, guests)).collect();
            assert_eq!(copies.len(), 10, "plan {plan}, repeat {repeat}");
            runs.push(Run { plan, copies });
        }
    }
    Measured { links: links(&text("g5k-50-topology-simgrid.xml")), runs }
}

/// `{action=migrate(vm=vm#7, from=node#3, to=node#2, bw=1000)};1436473952;1436473986;1`
fn copy(row: &str, guests: &Value) -> Copy {
    let [action, start, end, _] = row.split(';').collect::<Vec<_>>()[..] else { panic!("not a row: {row}") };
    let number = |key: &str| -> u64 {
        let (_, rest) = action.split_once(key).unwrap_or_else(|| panic!("no {key} in {action}"));
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let server = number("vm=vm#");
    let guest = &guests[server.to_string()];
    Copy {
        server,
        from: number("from=node#").try_into().unwrap(),
        to: number("to=node#").try_into().unwrap(),
        mbit: number("bw="),
        start_s: start.parse().unwrap(),
        end_s: end.parse().unwrap(),
        // Stated as 2,000 and 3,000 of guests of 2 and 3 GB, whose sizes are powers of two.
        memory_mib: guest["memUsed"].as_u64().unwrap(),
        dirty_mib_per_s: guest["dirtyRate"].as_f64().unwrap(),
    }
}

/// Mbit/s of the hosts, in their order in the topology, each with a link of its name.
fn links(topology: &str) -> Vec<u64> {
    let attribute = |line: &str, name: &str| -> Option<String> {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let tagged = |tag: &'static str| topology.lines().filter(move |line| line.trim_start().starts_with(tag));
    let bytes_per_s: BTreeMap<String, u64> = tagged("<link ")
        .map(|line| (attribute(line, " id").unwrap(), attribute(line, "bandwidth").unwrap().parse().unwrap()))
        .collect();
    tagged("<host ").map(|line| bytes_per_s[&format!("{}link", attribute(line, " id").unwrap())] / 125_000).collect()
}
