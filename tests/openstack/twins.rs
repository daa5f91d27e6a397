//! The simulator against the real Nova: the same scripts are played on both, through the same trait, and what is seen
//! has to be the same.
//!
//! `script` says what is played, `play` plays it on any cloud, `stage` has the two stages, `compare` judges. Where they
//! differ, the simulator is wrong. Four lanes of three hosts each play at the same time; the simulator plays each
//! script afterwards in virtual time, from the inventory that was read of the lab.

mod compare;
mod play;
mod script;
mod stage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use furlough::cloud::nova::{CloudConfig, Environment, Nova as RealNova};
use furlough::cloud::{Cloud, Microversion};

use crate::nova::RUNTIME;
use crate::on_both_releases;
use crate::proxy::Proxy;
use crate::scenario::{Scenario, Server};
use play::Cast;
use script::{Begins, Script};
use stage::Real;

on_both_releases!(the_simulator_does_as_nova_does);

/// Of three hosts each.
const LANES: usize = 4;

/// A script, its servers and the lab as its microversion shows it.
struct Part<'a> {
    script: &'a Script,
    cast: Cast,
    real: Arc<Real>,
}

fn the_simulator_does_as_nova_does(lab: &Scenario<'_>) {
    let begun = Instant::now();
    // by a part of its name, when one is to be looked at alone
    let only = std::env::var("FURLOUGH_TWINS").unwrap_or_default();
    let scripts: Vec<Script> = script::all().into_iter().filter(|script| script.name.contains(&only)).collect();
    let mut proxies = Vec::new();
    let (parts, behind) = prepare(lab, &scripts, &mut proxies);
    println!("{} scripts are ready after {:.0} s", parts.len(), begun.elapsed().as_secs_f64());

    let mut found = BTreeMap::new();
    let (apart, together): (Vec<_>, Vec<_>) = parts.iter().partition(|part| !part.script.chooses());
    let (alone, together): (Vec<_>, Vec<_>) = together.into_iter().partition(|part| part.script.closes());
    for parts in [apart, alone, together] {
        found.extend(play_on_lanes(&parts, behind));
    }
    println!("all are played after {:.0} s", begun.elapsed().as_secs_f64());
    let differ: Vec<String> =
        found.iter().filter_map(|(name, text)| Some(format!("{name}\n{}", text.as_ref()?))).collect();
    assert!(differ.is_empty(), "{} of {} scripts differ:\n\n{}", differ.len(), found.len(), differ.join("\n"));
}

/// Each lane at the same time, each of its scripts after the other.
fn play_on_lanes(parts: &[&Part<'_>], behind: Microversion) -> BTreeMap<&'static str, Option<String>> {
    let mut lanes: BTreeMap<&str, Vec<&Part<'_>>> = BTreeMap::new();
    for part in parts {
        lanes.entry(&part.cast.source).or_default().push(part);
    }
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for lane in lanes.values() {
            let found = &found;
            scope.spawn(move || {
                for part in lane {
                    let difference = compare_one(part, behind);
                    found.lock().unwrap().insert(part.script.name, difference);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn compare_one(part: &Part<'_>, behind: Microversion) -> Option<String> {
    let Part { script, cast, real } = part;
    let begun = Instant::now();
    let (inventory, seen) = RUNTIME.block_on(async {
        play::ready(&real.cloud, cast).await;
        (real.cloud.inventory().await.expect("an inventory of the lab"), play::play(&**real, script, cast).await)
    });
    let took = begun.elapsed();
    let (simulated, states) = stage::simulate(script, cast, &inventory, behind);
    let difference = compare::differences(script, &seen, &simulated, &states);
    let verdict = if difference.is_some() { "differs" } else { "alike" };
    let states: usize = states.iter().map(Vec::len).sum();
    let reads: usize = seen.reads.iter().map(Vec::len).sum();
    println!("{verdict:<8} {:>5.1} s  {states:>3} states, {reads:>4} readings  {}", took.as_secs_f64(), script.name);
    difference
}

/// Boots every script's servers at once. The costliest scripts are given to lanes first, each to the one with the least
/// to do.
fn prepare<'a>(lab: &Scenario<'_>, scripts: &'a [Script], proxies: &mut Vec<Proxy>) -> (Vec<Part<'a>>, Microversion) {
    let straight = Arc::new(connect(lab, None));
    let behind = straight.cloud.capabilities().newest;
    let mut through = BTreeMap::from([(None, straight)]);
    for version in scripts.iter().filter_map(|script| script.version) {
        through.entry(Some(version)).or_insert_with(|| {
            let proxy = Proxy::start(lab.nova.url.trim_end_matches("/v2.1"));
            proxy.cap(version);
            let real = Arc::new(connect(lab, Some(&proxy)));
            proxies.push(proxy);
            real
        });
    }

    let mut order: Vec<&Script> = scripts.iter().collect();
    order.sort_by_key(|script| std::cmp::Reverse(script.cost_s()));
    let mut busy_s = [0; LANES];
    let (mut parts, mut wanted) = (Vec::new(), Vec::new());
    for (index, script) in order.into_iter().enumerate() {
        let lane = (0..LANES).min_by_key(|lane| busy_s[*lane]).unwrap_or_default();
        busy_s[lane] += script.cost_s();
        let host = |number: usize| format!("cmp{:02}", lane * 3 + number);
        for (number, begins) in script.servers.iter().enumerate() {
            let server = Server::new(&format!("twin-{index:02}-{number}"), &host(1));
            let server = match begins {
                Begins::Active => server,
                Begins::Shutoff => server.shutoff(),
                Begins::Paused => server.paused(),
                Begins::Locked => server.locked(),
            };
            let server = server.knob("live_seconds", &script.copy_s.to_string());
            // a disk of 1 GiB is two thirds of what a live migration copies
            let server = server.knob("cold_seconds", &format!("{:.1}", script.copy_s as f64 * 2.0 / 3.0));
            let knobs = script.knobs.iter().filter(|_| number == 0);
            wanted.push(knobs.fold(server, |server, (name, value)| server.knob(name, value)));
        }
        let (chooses, power) = (script.chooses() && !script.closes(), script.power);
        let cast = Cast { servers: Vec::new(), source: host(1), dest: host(2), other: host(3), chooses, power };
        parts.push(Part { script, cast, real: Arc::clone(&through[&script.version]) });
    }
    let mut ids = lab.boot(&wanted).into_iter();
    for part in &mut parts {
        part.cast.servers = ids.by_ref().take(part.script.servers.len()).collect();
    }
    (parts, behind)
}

/// The lab through furlough's own client, straight or through a proxy.
fn connect(lab: &Scenario<'_>, proxy: Option<&Proxy>) -> Real {
    let dir = lab.lab.dir.clone();
    let vars = BTreeMap::from([("OS_CLIENT_CONFIG_FILE".to_owned(), dir.join("clouds.yaml").display().to_string())]);
    let read = |path: &std::path::Path| std::fs::read(path);
    let environment = Environment { vars, home: None, working_dir: dir.clone(), read: &read };
    let mut config = CloudConfig::load(Some("lab"), &environment).expect("the lab's clouds.yaml");
    config.compute_endpoint = proxy.map(|proxy| format!("{}/v2.1", proxy.url()).parse().expect("the proxy's address"));
    let cloud: Arc<dyn Cloud> = Arc::new(RUNTIME.block_on(RealNova::connect(config)).expect("the lab"));
    Real { cloud, release: lab.lab.release, dir, url: lab.nova.url.clone(), token: lab.nova.new_token() }
}
