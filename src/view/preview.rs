//! A compiled plan for people: what stands in the way, what moves in which wave and how, what follows on each host, what
//! has no undo, and the totals. Every server is named once.

use std::collections::{BTreeMap, BTreeSet};

use super::Style;
use super::text::{
    Page, Tone, clean, count, duration, mib, moment, pad, pad_left, rung, server, server_in_full, shell, width,
};
use crate::cloud::{PowerState, ServerStatus};
use crate::compile::{Blocker, BlockerCode, Graph, HostPlan, ServerPlan, Step, StepKind};
use crate::plan::{Finish, Rung};

/// Name and short id of a server, at most.
const SERVER_COLUMNS: usize = 44;

/// The graph as `plan` shows it.
pub fn preview(graph: &Graph, style: Style) -> String {
    let mut page = Page::new(style);
    heading(graph, &mut page);
    blockers(&graph.blockers, &mut page);
    gaps(&graph.gaps, &mut page);
    if graph.hosts.is_empty() {
        page.blank();
        page.line(Tone::Plain, "No host matches this plan: there is nothing to do.");
        return page.finish();
    }
    let rows = Rows::of(graph);
    let waves = graph.hosts.iter().map(|host| host.wave).max().unwrap_or(0);
    let mut servers: BTreeMap<&str, Vec<&ServerPlan>> = BTreeMap::new();
    for server in &graph.servers {
        servers.entry(&server.host).or_default().push(server);
    }
    let mut wave = None;
    for host in &graph.hosts {
        if wave != Some(host.wave) {
            wave = Some(host.wave);
            wave_heading(graph, host.wave, waves, &mut page);
        }
        let servers = servers.get(host.name.as_str()).map_or(&[][..], Vec::as_slice);
        host_servers(host, servers, &rows, &mut page);
    }
    stay(&graph.servers, &rows, &mut page);
    programs(graph, &mut page);
    no_undo(graph, &mut page);
    totals(graph, waves, &rows, &mut page);
    page.finish()
}

fn heading(graph: &Graph, page: &mut Page) {
    page.parts(&[
        (Tone::Strong, &format!("Plan {}", clean(&graph.plan.name))),
        (Tone::Plain, &format!(" on cloud {}", clean(&graph.cloud))),
    ]);
    let read = moment(graph.read_at);
    page.line(
        Tone::Dim,
        &format!("graph {}, compute microversion {}, as the cloud was at {read}", graph.id, graph.microversion),
    );
    if let Some(edge) = &graph.parent {
        page.line(Tone::Plain, &format!("Extends graph {} below {}.", edge.graph, edge.step));
    }
}

fn blockers(blockers: &[Blocker], page: &mut Page) {
    if blockers.is_empty() {
        return;
    }
    page.blank();
    let things = if blockers.len() == 1 { "1 thing stands" } else { &format!("{} things stand", blockers.len()) };
    page.wrapped("", Tone::Bad, &format!("BLOCKED: {things} in the way. Nothing is run until each is dealt with."));
    for blocker in blockers {
        page.blank();
        page.parts(&[
            (Tone::Plain, "  "),
            (Tone::Strong, &blocker.host),
            (Tone::Bad, &format!("  {}", blocker_word(blocker.code))),
        ]);
        if let Some((id, name)) = &blocker.server {
            page.wrapped("    server  ", Tone::Plain, &server_in_full(name, id));
        }
        page.wrapped("    cause   ", Tone::Plain, &blocker.cause);
        page.wrapped("    to do   ", Tone::Plain, &blocker.remedy);
    }
}

/// The same word as in JSON.
fn blocker_word(code: BlockerCode) -> &'static str {
    match code {
        BlockerCode::HostDown => "host-down",
        BlockerCode::NotVisible => "not-visible",
        BlockerCode::HypervisorUnsupported => "hypervisor-unsupported",
        BlockerCode::HeldByRun => "held-by-run",
        BlockerCode::ServerState => "server-state",
        BlockerCode::ServerBusy => "server-busy",
        BlockerCode::ForeignResize => "foreign-resize",
        BlockerCode::ServerGroup => "server-group",
        BlockerCode::ForeignMigration => "foreign-migration",
        BlockerCode::NoDestination => "no-destination",
        BlockerCode::NotHeld => "not-held",
        BlockerCode::ServerHardware => "server-hardware",
    }
}

fn gaps(gaps: &[String], page: &mut Page) {
    if gaps.is_empty() {
        return;
    }
    page.blank();
    page.line(Tone::Warn, "What could not be seen (what is missing there is not known):");
    for gap in gaps {
        page.wrapped("  - ", Tone::Plain, gap);
    }
}

fn wave_heading(graph: &Graph, wave: u32, waves: u32, page: &mut Page) {
    let hosts = graph.hosts.iter().filter(|host| host.wave == wave).count();
    let hosts = count(hosts, "host");
    page.blank();
    if graph.steps.iter().any(|step| matches!(step.kind, StepKind::Enable)) && !takes_out(graph) {
        page.line(Tone::Strong, &format!("Back into service: {hosts}"));
        return;
    }
    page.parts(&[
        (Tone::Strong, &format!("Wave {wave} of {waves}")),
        (Tone::Plain, &format!(": {hosts} out of service together")),
    ]);
}

/// Hosts are taken out of service, and not only put back.
fn takes_out(graph: &Graph) -> bool {
    graph.steps.iter().any(|step| matches!(step.kind, StepKind::Disable))
}

/// How servers are shown: in the same columns for every host, so that the eye can run down the page.
struct Rows<'a> {
    /// Only started again, because an earlier run stopped them.
    started: BTreeSet<&'a str>,
    server: usize,
    status: usize,
    memory: usize,
}

impl<'a> Rows<'a> {
    fn of(graph: &'a Graph) -> Self {
        let mut started: BTreeSet<&str> = BTreeSet::new();
        for step in &graph.steps {
            if let StepKind::Start { server } = &step.kind {
                started.insert(server);
            }
        }
        for step in &graph.steps {
            if let StepKind::Move { server, .. } = &step.kind {
                started.remove(server.as_str());
            }
        }
        let widest = |columns: &dyn Fn(&ServerPlan) -> usize| graph.servers.iter().map(columns).max().unwrap_or(0);
        Self {
            started,
            server: widest(&|plan| width(&server(&plan.name, &plan.id))).min(SERVER_COLUMNS),
            status: widest(&|plan| width(&clean(plan.status.as_str()))).min(20),
            memory: widest(&|plan| width(&mib(plan.memory_mib))),
        }
    }
}

/// The ladder of a server, and why.
type Treatment<'a> = (&'a [Rung], &'a str);

fn host_servers(host: &HostPlan, servers: &[&ServerPlan], rows: &Rows<'_>, page: &mut Page) {
    let memory = servers.iter().fold(0_u64, |sum, server| sum.saturating_add(server.memory_mib));
    page.blank();
    let holds = match servers.len() {
        0 => "no servers".to_owned(),
        servers => format!("{}, {}", count(servers, "server"), mib(memory)),
    };
    page.parts(&[
        (Tone::Plain, "  "),
        (Tone::Strong, &host.name),
        (Tone::Plain, &format!("  zone {}, {holds}", clean(&host.zone))),
    ]);
    if let Some(reason) = &host.disabled_before {
        let reason = if reason.is_empty() { "without a reason" } else { &format!("\"{}\"", clean(reason)) };
        page.wrapped("    ", Tone::Warn, &format!("Disabled before this run ({reason}), and stays so afterwards."));
    }
    // One heading for all that are done alike: a full host has few of them.
    let mut groups: Vec<(Treatment<'_>, Vec<&ServerPlan>)> = Vec::new();
    for server in servers {
        let key = (server.ladder.as_slice(), server.why.as_str());
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(server),
            None => groups.push((key, vec![server])),
        }
    }
    groups.sort_by_key(|((ladder, _), _)| ladder.first().copied().map_or(0, order));
    for ((ladder, why), members) in groups {
        let tone = if ladder.is_empty() { Tone::Bad } else { Tone::Plain };
        let restarted = members.iter().all(|server| rows.started.contains(server.id.as_str()));
        let method = if restarted { "start again".to_owned() } else { ladder_words(ladder) };
        page.wrapped("    ", tone, &format!("{}: {why}", method));
        for server in members {
            server_row(server, rows, page);
        }
    }
}

/// After what is blocked (0), the gentlest first.
fn order(rung: Rung) -> u8 {
    match rung {
        Rung::Live => 1,
        Rung::Cold => 2,
        Rung::Stop => 3,
        Rung::Leave => 4,
    }
}

fn ladder_words(ladder: &[Rung]) -> String {
    let word = |method: &Rung| match method {
        Rung::Cold => "cold (one-way)",
        Rung::Stop => "stop, start again afterwards",
        Rung::Leave => "stays on the host",
        Rung::Live => rung(Rung::Live),
    };
    if ladder.is_empty() { "BLOCKED".to_owned() } else { ladder.iter().map(word).collect::<Vec<_>>().join(", then ") }
}

fn server_row(plan: &ServerPlan, rows: &Rows<'_>, page: &mut Page) {
    let mut notes = Vec::new();
    if plan.local_disk_gib > 0 {
        notes.push(format!("{} GiB local disk", plan.local_disk_gib));
    }
    if let Some(group) = &plan.group {
        notes.push(format!("group {}", clean(group)));
    }
    if plan.locked == Some(true) {
        notes.push("locked".to_owned());
    }
    let expected = match plan.status {
        ServerStatus::Active => plan.power_state == PowerState::Running,
        ServerStatus::Shutoff => plan.power_state == PowerState::Shutdown,
        _ => true,
    };
    if !expected {
        notes.push(format!("power state {}", power_word(plan.power_state)));
    }
    page.line(
        Tone::Plain,
        &format!(
            "      {}  {}  {}  {}",
            pad(&server(&plan.name, &plan.id), rows.server),
            pad(&clean(plan.status.as_str()), rows.status),
            pad_left(&mib(plan.memory_mib), rows.memory),
            notes.join(", ")
        ),
    );
}

/// As the openstack client shows it.
fn power_word(state: PowerState) -> &'static str {
    match state {
        PowerState::NoState => "NOSTATE",
        PowerState::Running => "Running",
        PowerState::Paused => "Paused",
        PowerState::Shutdown => "Shutdown",
        PowerState::Crashed => "Crashed",
        PowerState::Suspended => "Suspended",
        PowerState::Unknown => "unknown",
    }
}

/// Servers that the plan leaves are named again, together: their owners have to be told.
fn stay(servers: &[ServerPlan], rows: &Rows<'_>, page: &mut Page) {
    let stays =
        |server: &&ServerPlan| server.ladder.as_slice() == [Rung::Leave] && !rows.started.contains(server.id.as_str());
    let left: Vec<_> = servers.iter().filter(stays).collect();
    if left.is_empty() {
        return;
    }
    page.blank();
    let servers = count(left.len(), "server");
    page.wrapped("", Tone::Warn, &format!("{servers} left on a host during its maintenance, as the plan has it:"));
    for plan in left {
        page.wrapped(&format!("  {}  ", clean(&plan.host)), Tone::Plain, &server_in_full(&plan.name, &plan.id));
    }
}

/// What happens on each host, said once for all hosts on which it is the same.
fn programs(graph: &Graph, page: &mut Page) {
    let mut steps: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in &graph.steps {
        steps.entry(&step.host).or_default().push(step);
    }
    let mut programs: Vec<(Program, Vec<&str>)> = Vec::new();
    for host in &graph.hosts {
        let program = Program::of(graph, host, steps.get(host.name.as_str()).map_or(&[][..], Vec::as_slice));
        match programs.iter_mut().find(|(known, _)| known.is_like(&program)) {
            Some((known, hosts)) => {
                hosts.push(&host.name);
                if known.lines.len() < program.lines.len() {
                    *known = program;
                }
            }
            None => programs.push((program, vec![&host.name])),
        }
    }
    programs.retain(|(program, _)| !program.lines.is_empty());
    for (program, hosts) in programs {
        page.blank();
        if hosts.len() == graph.hosts.len() && hosts.len() > 1 {
            page.line(Tone::Strong, "On every host, in this order:");
        } else {
            page.wrapped("On ", Tone::Strong, &format!("{}, in this order:", hosts.join(", ")));
        }
        for (index, (_, line)) in program.lines.iter().enumerate() {
            page.wrapped(&format!("{:>4}. ", index + 1), Tone::Plain, line);
        }
    }
}

/// What happens on one host, in order.
struct Program {
    /// The first is false for what only hosts with such servers have.
    lines: Vec<(bool, String)>,
}

impl Program {
    fn of(graph: &Graph, host: &HostPlan, steps: &[&Step]) -> Self {
        let mut lines: Vec<(bool, String)> = Vec::new();
        for step in steps {
            let line = program_line(step, host);
            // All the moves of a host are one line.
            if !lines.contains(&line) || matches!(step.kind, StepKind::Command { .. } | StepKind::Wait { .. }) {
                lines.push(line);
            }
        }
        if !steps.is_empty() && graph.plan.finish == Finish::KeepDisabled {
            let line = "it stays out of service (finish: keep_disabled); `furlough enable` puts it back";
            lines.push((true, line.to_owned()));
        }
        Self { lines }
    }

    fn is_like(&self, other: &Self) -> bool {
        let always = |program: &'_ Self| -> Vec<String> {
            program.lines.iter().filter(|(always, _)| *always).map(|(_, line)| line.clone()).collect()
        };
        always(self) == always(other)
    }
}

fn program_line(step: &Step, host: &HostPlan) -> (bool, String) {
    let line = match &step.kind {
        StepKind::Disable => "disable its compute service and read that back".to_owned(),
        StepKind::List => "list its servers again; what arrived meanwhile is added to the plan".to_owned(),
        StepKind::Move { .. } => return (false, "move its servers, if it has any, as above".to_owned()),
        StepKind::Empty => "see twice in a row that nothing more is to leave it".to_owned(),
        StepKind::Command { argv, timeout_s, .. } => {
            let command = place_host(&shell(argv), &host.name);
            format!("run: {command} (up to {}; no undo)", duration(*timeout_s))
        }
        StepKind::Wait { until, timeout_s, .. } => {
            format!("wait until {} (up to {})", until.as_str(), duration(*timeout_s))
        }
        StepKind::Start { .. } => return (false, "start the servers again that were stopped, if any".to_owned()),
        StepKind::Enable => "give its compute service back exactly as it was before".to_owned(),
    };
    (true, line)
}

/// The command with `{host}` where the host's name stands as a word, so that it reads the same for all hosts.
fn place_host(command: &str, host: &str) -> String {
    if host.is_empty() {
        return command.to_owned();
    }
    let part_of_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut placed = String::with_capacity(command.len());
    let mut rest = command;
    while let Some((before, after)) = rest.split_once(host) {
        placed.push_str(before);
        let joined_before = placed.ends_with(part_of_word);
        let joined_after = after.starts_with(part_of_word);
        placed.push_str(if joined_before || joined_after { host } else { "{host}" });
        rest = after;
    }
    placed.push_str(rest);
    placed
}

fn no_undo(graph: &Graph, page: &mut Page) {
    let any = |rung: Rung| graph.servers.iter().any(|server| server.ladder.contains(&rung));
    let mut notes: Vec<&str> = Vec::new();
    if any(Rung::Live) {
        notes.push("A server that was moved stays where it went: nothing is moved back at the end.");
    }
    if any(Rung::Cold) {
        notes.push(
            "A cold migration is confirmed as soon as it has ended, and that is one-way: the copy on the old host is \
             gone.",
        );
    }
    if graph.steps.iter().any(|step| matches!(step.kind, StepKind::Command { .. })) {
        notes.push("What a command has done cannot be undone by furlough.");
    }
    if notes.is_empty() {
        return;
    }
    page.blank();
    page.line(Tone::Strong, "What has no undo:");
    for note in notes {
        page.wrapped("  - ", Tone::Plain, note);
    }
}

fn totals(graph: &Graph, waves: u32, rows: &Rows<'_>, page: &mut Page) {
    let planned = || graph.servers.iter().filter(|server| !rows.started.contains(server.id.as_str()));
    let by = |wanted: fn(&[Rung]) -> bool| planned().filter(|server| wanted(&server.ladder)).count();
    let live = by(|ladder| ladder.first() == Some(&Rung::Live));
    let fallback = by(|ladder| ladder.first() == Some(&Rung::Live) && ladder.len() > 1);
    let methods = [
        (
            live,
            if fallback > 0 { format!("live ({fallback} with another method to fall back on)") } else { "live".into() },
        ),
        (by(|ladder| ladder.first() == Some(&Rung::Cold)), "cold".to_owned()),
        (by(|ladder| ladder.first() == Some(&Rung::Stop)), "stopped and started again".to_owned()),
        (by(|ladder| ladder.first() == Some(&Rung::Leave)), "left in place".to_owned()),
        (graph.servers.len() - planned().count(), "started again".to_owned()),
        (by(<[Rung]>::is_empty), "BLOCKED".to_owned()),
    ];
    let methods: Vec<_> =
        methods.iter().filter(|(servers, _)| *servers > 0).map(|(servers, word)| format!("{servers} {word}")).collect();
    let moving = graph.servers.iter().filter(|server| matches!(server.ladder.first(), Some(Rung::Live | Rung::Cold)));
    let (memory, disk) = moving.fold((0_u64, 0_u64), |(memory, disk), server| {
        (memory.saturating_add(server.memory_mib), disk.saturating_add(server.local_disk_gib))
    });
    page.blank();
    page.parts(&[
        (Tone::Strong, "Total  "),
        (Tone::Plain, &count(graph.hosts.len(), "host")),
        (Tone::Plain, &format!(" in {}, ", count(usize::try_from(waves).unwrap_or(usize::MAX), "wave"))),
        (Tone::Plain, &count(graph.servers.len(), "server")),
    ]);
    if !methods.is_empty() {
        page.wrapped("       ", Tone::Plain, &methods.join(", "));
    }
    if memory > 0 {
        let disk = if disk > 0 { format!(" and {disk} GiB of local disk") } else { String::new() };
        page.wrapped("       ", Tone::Plain, &format!("{} of memory{disk} to move", mib(memory)));
    }
    if !graph.blockers.is_empty() {
        let blockers = count(graph.blockers.len(), "blocker");
        page.line(Tone::Bad, &format!("       {blockers}: see the top"));
    }
}

#[cfg(test)]
mod tests;
