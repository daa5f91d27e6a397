//! A night drawn from one number: a small cloud, a plan for part of it, what goes wrong, and when the process dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::stage::Setting;
use crate::cloud::fixture::{epoch, host, in_state, inventory, record, server};
use crate::cloud::sim::{Faults, Habits, Happening, Scripted};
use crate::cloud::{
    Capabilities, GroupPolicy, Host, Inventory, Microversion, MigrationKind, MigrationStatus, Server, ServerGroup,
    ServerStatus, ServiceStatus,
};
use crate::compile::compile;
use crate::plan::fixture::plan;
use crate::plan::{
    Action, Command, Count, Expr, Finish, Limits, MoveTimeout, OnFailure, Plan, Rung, Scope, ServerRule, Template,
    Wait, Waves,
};
use crate::rehearse::machine::CommandHabits;
use crate::rehearse::{Kill, KillWhen};
use crate::run::Stop;

/// Chance from a number: splitmix64, so that a seed means the same on every machine.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Both ends included.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(super) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.between(0, of.len() as u64 - 1) as usize].clone()
    }
}

/// Everything about the night with this number. What cannot be run as planned (a blocker) is drawn again.
pub(super) fn draw(seed: u64) -> Setting {
    let mut dice = Dice::new(seed);
    for _ in 0..50 {
        let setting = once(seed, &mut dice);
        if setting.graph.blockers.is_empty() {
            return setting;
        }
    }
    panic!("seed {seed} draws nothing but nights that are blocked");
}

fn once(seed: u64, dice: &mut Dice) -> Setting {
    let newest = dice.one(&[12, 23, 25, 34, 53, 60, 65, 72, 79, 90, 96, 96, 96]);
    let mut secrets = Vec::new();
    let plan = the_plan(dice);
    let inventory = cloud(dice, newest, &mut secrets);
    let graph = compile(&plan, &inventory, "lab").unwrap();
    let (mut faults, calm) = match dice.between(0, 9) {
        0..=2 => (Faults::none(), true),
        3..=6 => (Faults::typical(), false),
        _ => (Faults::harsh(), false),
    };
    if !calm {
        faults.script = script(dice, &inventory);
    }
    let commands = CommandHabits {
        took_s: [1, dice.between(1, 90)],
        fails: if calm { 0.0 } else { dice.one(&[0.0, 0.05, 0.3]) },
        hangs: if calm { 0.0 } else { dice.one(&[0.0, 0.0, 0.05]) },
        lost: if calm { 0.0 } else { dice.one(&[0.0, 0.0, 0.05]) },
    };
    let habits = Habits {
        max_concurrent_live_migrations: dice.one(&[1, 1, 1, 2, 4]),
        resume_guests_state_on_host_boot: dice.percent(30),
        shared_storage: dice.percent(70),
        permit_post_copy: dice.percent(20),
        ..Habits::default()
    };
    let cuts = (0..dice.one(&[0, 0, 1, 1, 2, 3])).map(|_| cut(dice)).collect();
    let stops = match dice.between(0, 9) {
        0 => vec![(dice.between(1, 1_800) * 1000, Stop::Finish)],
        1 => vec![(dice.between(1, 1_800) * 1000, Stop::Leave)],
        _ => Vec::new(),
    };
    let (plan, inventory, graph) = (Arc::new(plan), Arc::new(inventory), Arc::new(graph));
    Setting { seed, calm, plan, inventory, graph, faults, habits, commands, cuts, stops, secrets }
}

/// What somebody else certainly does in this night, to what the plan is about.
fn script(dice: &mut Dice, inventory: &Inventory) -> Vec<Scripted> {
    let hosts: Vec<&str> =
        inventory.hosts.iter().map(|host| host.name.as_str()).filter(|name| name.starts_with('h')).collect();
    let on = |row: &&Server| row.host.as_deref().is_some_and(|on| on.starts_with('h'));
    let servers: Vec<&str> = inventory.servers.iter().filter(on).map(|row| row.id.as_str()).collect();
    let mut script = Vec::new();
    let at = |dice: &mut Dice, happens| {
        let at_ms = dice.one(&[0, 20_000, 200_000, 900_000]) + dice.between(0, 30_000);
        Scripted::At { at_ms, happens }
    };
    if dice.percent(15) {
        let (host, reason) = (dice.one(&hosts).to_owned(), "furlough 20260101-0000-aaaa: theirs".to_owned());
        script.push(at(dice, Happening::Disabled { host, reason }));
    }
    if dice.percent(5) {
        let host = dice.one(&hosts).to_owned();
        script.push(at(dice, Happening::Enabled { host }));
    }
    if dice.percent(5) {
        let (host, back_after_ms) = (dice.one(&hosts).to_owned(), dice.one(&[None, Some(100_000)]));
        script.push(at(dice, Happening::HostDies { host, back_after_ms }));
    }
    if !servers.is_empty() && dice.percent(30) {
        for _ in 0..dice.between(1, 2) {
            let (server, confirm_after_ms) = (dice.one(&servers).to_owned(), dice.one(&[None, None, Some(60_000)]));
            script.push(at(dice, Happening::Resizes { server, confirm_after_ms }));
        }
    }
    script
}

fn cut(dice: &mut Dice) -> Kill {
    let append = if dice.percent(70) { dice.between(1, 60) } else { dice.between(1, 300) };
    let when = dice.one(&[KillWhen::Before, KillWhen::After, KillWhen::After, KillWhen::Full]);
    let pause = Duration::from_millis(dice.one(&[0, 0, 300, 5_000, 70_000, 900_000]));
    Kill { append, when, pause }
}

const LADDERS: [&[Rung]; 9] = [
    &[Rung::Live],
    &[Rung::Live, Rung::Cold],
    &[Rung::Live, Rung::Cold, Rung::Stop],
    &[Rung::Live, Rung::Cold, Rung::Stop, Rung::Leave],
    &[Rung::Live, Rung::Leave],
    &[Rung::Cold],
    &[Rung::Cold, Rung::Stop],
    &[Rung::Stop],
    &[Rung::Stop, Rung::Leave],
];

fn the_plan(dice: &mut Dice) -> Plan {
    let mut plan = plan(&["h*"], dice.one(&LADDERS));
    if dice.percent(35) {
        let when = dice.one(&[
            "server.status == 'SHUTOFF'",
            "server.locked == true",
            "server.flavor.memory_mib > 4096",
            "server.metadata['tier'] == 'gold'",
        ]);
        let rule = ServerRule {
            when: Expr::parse(when, Scope::Server).ok(),
            ladder: dice.one(&LADDERS).to_vec(),
            at: "drain.servers[0]".to_owned(),
        };
        plan.drain.servers.insert(0, rule);
        plan.drain.servers[1].at = "drain.servers[1]".to_owned();
    }
    plan.waves = Waves {
        max_hosts: dice.one(&[Count::Hosts(1), Count::Hosts(1), Count::Hosts(2), Count::Hosts(3), Count::Percent(50)]),
        first: dice.one(&[None, None, Some(Count::Hosts(1))]),
    };
    plan.drain.limits = Limits {
        cloud: dice.between(1, 8) as u32,
        source: dice.between(1, 3) as u32,
        destination: dice.one(&[None, None, Some(1), Some(2), Some(4)]),
        queue_ahead: dice.between(0, 2) as u32,
    };
    let base_s = dice.one(&[60, 300, 900]);
    plan.drain.live.timeout = MoveTimeout { base_s, per_gib_s: dice.one(&[10, 60]) };
    plan.drain.live.stalled_after_s = dice.one(&[30, 60, 300]);
    plan.drain.cold_timeout = plan.drain.live.timeout;
    plan.drain.power_timeout_s = dice.one(&[60, 300]);
    plan.drain.late_arrivals_s = dice.one(&[0, 10, 30]);
    plan.maintain = (0..dice.between(0, 2)).map(|_| run(dice)).collect();
    if !plan.maintain.is_empty() && dice.percent(50) {
        plan.maintain.push(wait("host.service.state == 'up'", dice.one(&[600, 1800])));
    }
    plan.verify = (0..dice.one(&[0, 0, 1])).map(|_| run(dice)).collect();
    if dice.percent(10) {
        plan.verify.push(wait("host.service.state == 'up' && host.servers < 50", 900));
    }
    plan.finish = if dice.percent(80) { Finish::Enable } else { Finish::KeepDisabled };
    plan.on_failure = dice.one(&[OnFailure::Hold, OnFailure::Continue]);
    plan
}

fn run(dice: &mut Dice) -> Action {
    let argv = vec![Template::parse("mend").unwrap(), Template::parse("{{ host.name }}").unwrap()];
    Action::Run(Command { argv, timeout_s: dice.one(&[60, 600]) })
}

fn wait(until: &str, timeout_s: u64) -> Action {
    Action::Wait(Wait { until: Expr::parse(until, Scope::Host).unwrap(), timeout_s })
}

fn cloud(dice: &mut Dice, newest: u16, secrets: &mut Vec<String>) -> Inventory {
    let capabilities = Capabilities { newest: Microversion::v2(newest) };
    let (taken, others) = (dice.between(1, 4), dice.between(1, 4));
    let names = (1..=taken).map(|at| format!("h{at}")).chain((1..=others).map(|at| format!("d{at}")));
    let hosts: Vec<Host> = names.map(|name| one_host(dice, &name, newest)).collect();
    let mut servers = Vec::new();
    let mut migrations = Vec::new();
    for host in &hosts {
        let count = if host.name.starts_with('h') { dice.between(0, 6) } else { dice.between(0, 3) };
        for _ in 0..count {
            let id = format!("s{}", servers.len() + 1);
            let row = one_server(dice, &id, host, newest, secrets);
            if row.status == ServerStatus::VerifyResize {
                let (mut resize, id) = (record(0, &id, "d1", MigrationKind::Resize), migrations.len() as u64 + 1);
                // Its source is another host, or nobody could maintain that one.
                let from = hosts.iter().find(|other| other.name.starts_with('d') && other.name != host.name);
                let Some(from) = from else { continue };
                (resize.id, resize.status) = (id, MigrationStatus::Finished);
                (resize.source_host, resize.dest_host) = (Some(from.name.clone()), Some(host.name.clone()));
                if newest < 23 {
                    resize.kind = None;
                }
                migrations.push(resize);
            }
            servers.push(row);
        }
    }
    let groups = groups(dice, &servers);
    Inventory { capabilities, groups, migrations, read_at: epoch(), ..inventory(hosts, servers) }
}

fn one_host(dice: &mut Dice, name: &str, newest: u16) -> Host {
    let mut host = host(name);
    host.service.zone = if dice.percent(80) { "az1" } else { "az2" }.to_owned();
    if newest < 11 {
        host.service.forced_down = None;
    }
    if dice.percent(8) {
        host.service.status = ServiceStatus::Disabled;
        host.service.disabled_reason = dice.one(&[None, Some("bad memory".to_owned())]);
    }
    host
}

fn one_server(dice: &mut Dice, id: &str, host: &Host, newest: u16, secrets: &mut Vec<String>) -> Server {
    let status = match dice.between(0, 99) {
        0..=69 => ServerStatus::Active,
        70..=83 => ServerStatus::Shutoff,
        84..=88 => ServerStatus::Paused,
        89..=90 => ServerStatus::Suspended,
        91..=92 => ServerStatus::Rescue,
        93..=94 => ServerStatus::Shelved,
        95..=96 => ServerStatus::Error,
        _ => ServerStatus::VerifyResize,
    };
    let mut row = in_state(server(id, &host.name), status);
    row.zone = Some(host.service.zone.clone());
    row.locked = (newest >= 9).then(|| dice.percent(10));
    row.flavor.memory_mib = dice.one(&[512, 2048, 4096, 8192]);
    row.flavor.root_gib = dice.one(&[0, 10, 40]);
    row.image = dice.percent(50).then(|| "image-1".to_owned());
    if newest >= 96 && dice.percent(5) {
        row.pinned_zone = Some(host.service.zone.clone());
    }
    if dice.percent(30) {
        let secret = format!("planted-{id}-{:08x}", dice.between(0, u64::from(u32::MAX)));
        row.metadata = BTreeMap::from([("admin_pass".to_owned(), secret.clone())]);
        row.tags = vec![format!("token={secret}")];
        secrets.push(secret);
    }
    row.metadata.insert("tier".to_owned(), dice.one(&["gold", "tin"]).to_owned());
    row
}

fn groups(dice: &mut Dice, servers: &[Server]) -> Vec<ServerGroup> {
    if servers.len() < 2 || dice.percent(50) {
        return Vec::new();
    }
    // Members that the policy would not have put together are left out.
    let policy = dice.one(&[GroupPolicy::AntiAffinity, GroupPolicy::SoftAntiAffinity, GroupPolicy::Affinity]);
    let mut members: Vec<&Server> = Vec::new();
    for row in servers.iter().filter(|_| dice.percent(30)) {
        let apart = members.iter().all(|other| other.host != row.host);
        let together = members.iter().all(|other| other.host == row.host);
        let fits = match policy {
            GroupPolicy::AntiAffinity => apart,
            GroupPolicy::Affinity => together,
            _ => true,
        };
        if fits && members.len() < 3 {
            members.push(row);
        }
    }
    vec![ServerGroup {
        id: "group-1".to_owned(),
        name: "web".to_owned(),
        policy,
        max_server_per_host: 1,
        members: members.into_iter().map(|row| row.id.clone()).collect(),
    }]
}
