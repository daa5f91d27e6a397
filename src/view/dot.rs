//! A graph for Graphviz: a cluster for each host, an edge for each need. Beyond [`MOST_STEPS`] steps, one node a host.

use std::collections::HashMap;
use std::fmt::Write;

use super::text::{clean, count, duration, rung, server, shell};
use crate::compile::{Graph, Step, StepId, StepKind};

/// Beyond this Graphviz needs minutes, and nobody can read what it draws.
const MOST_STEPS: usize = 1_500;

/// The graph in the DOT language.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph furlough {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    let title = format!("{} on {}", graph.plan.name, graph.cloud);
    push(&mut text, format_args!("  label={};\n", quoted(&title)));
    let drawing = Drawing::of(graph, MOST_STEPS);
    for cluster in &drawing.clusters {
        if drawing.collapsed {
            for node in &cluster.nodes {
                push(&mut text, format_args!("  {} [label={}];\n", node.name, quoted(&node.label)));
            }
            continue;
        }
        push(&mut text, format_args!("  subgraph cluster_{} {{\n", cluster.name));
        push(&mut text, format_args!("    label={};\n", quoted(&cluster.label)));
        for node in &cluster.nodes {
            push(&mut text, format_args!("    {} [label={}];\n", node.name, quoted(&node.label)));
        }
        text.push_str("  }\n");
    }
    for (from, to) in &drawing.edges {
        push(&mut text, format_args!("  {from} -> {to};\n"));
    }
    text.push_str("}\n");
    text
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

/// A DOT string: only the quote and the backslash mean something in it.
fn quoted(label: &str) -> String {
    let lines: Vec<_> = label.split('\n').map(|line| clean(line).replace('\\', "\\\\").replace('"', "\\\"")).collect();
    format!("\"{}\"", lines.join("\\n"))
}

/// What is drawn, whatever the language: names are safe identifiers, labels are raw.
pub(super) struct Drawing {
    pub(super) collapsed: bool,
    pub(super) clusters: Vec<Cluster>,
    pub(super) edges: Vec<(String, String)>,
}

pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) nodes: Vec<Node>,
}

pub(super) struct Node {
    pub(super) name: String,
    pub(super) label: String,
}

impl Drawing {
    pub(super) fn of(graph: &Graph, most_steps: usize) -> Self {
        let collapsed = graph.steps.len() > most_steps;
        let mut order: Vec<&str> = Vec::new();
        let mut by_host: HashMap<&str, Vec<(usize, &Step)>> = HashMap::new();
        for (index, step) in graph.steps.iter().enumerate() {
            let steps = by_host.entry(&step.host).or_default();
            if steps.is_empty() {
                order.push(&step.host);
            }
            steps.push((index, step));
        }
        let waves: HashMap<&str, u32> = graph.hosts.iter().map(|host| (host.name.as_str(), host.wave)).collect();
        let clusters = order.iter().enumerate().map(|(number, host)| {
            let steps = by_host.get(host).map_or(&[][..], Vec::as_slice);
            let wave = waves.get(host).map(|wave| format!(", wave {wave}")).unwrap_or_default();
            let nodes = if collapsed {
                let moves = steps.iter().filter(|(_, step)| matches!(step.kind, StepKind::Move { .. })).count();
                vec![Node {
                    name: format!("h{number}"),
                    label: format!("{host}{wave}\n{}, {}", count(moves, "server"), count(steps.len(), "step")),
                }]
            } else {
                let node =
                    |(index, step): &(usize, &Step)| Node { name: format!("s{index}"), label: label(graph, step) };
                steps.iter().map(node).collect()
            };
            Cluster { name: format!("h{number}"), label: format!("{host}{wave}"), nodes }
        });
        let hosts: HashMap<&str, usize> = order.iter().enumerate().map(|(number, host)| (*host, number)).collect();
        Self { collapsed, clusters: clusters.collect(), edges: edges(graph, collapsed, &hosts) }
    }
}

fn edges(graph: &Graph, collapsed: bool, hosts: &HashMap<&str, usize>) -> Vec<(String, String)> {
    let index: HashMap<&StepId, usize> = graph.steps.iter().enumerate().map(|(at, step)| (&step.id, at)).collect();
    let mut edges = Vec::new();
    for (to, step) in graph.steps.iter().enumerate() {
        for from in step.needs.iter().filter_map(|need| index.get(need)) {
            if !collapsed {
                edges.push((format!("s{from}"), format!("s{to}")));
                continue;
            }
            let source = graph.steps.get(*from).and_then(|step| hosts.get(step.host.as_str()));
            if let (Some(source), Some(target)) = (source, hosts.get(step.host.as_str()))
                && source != target
            {
                edges.push((format!("h{source}"), format!("h{target}")));
            }
        }
    }
    if collapsed {
        edges.sort();
        edges.dedup();
    }
    edges
}

fn label(graph: &Graph, step: &Step) -> String {
    let name = |id: &str| {
        let plan = graph.servers.iter().find(|server| server.id == id);
        server(plan.map_or("", |plan| plan.name.as_str()), id)
    };
    match &step.kind {
        StepKind::Disable => "disable".to_owned(),
        StepKind::List => "list".to_owned(),
        StepKind::Move { server, ladder } => {
            let ladder = ladder.iter().map(|method| rung(*method)).collect::<Vec<_>>().join(", then ");
            format!("{}\n{ladder}", name(server))
        }
        StepKind::Empty => "empty".to_owned(),
        StepKind::Command { argv, timeout_s, .. } => format!("{}\nup to {}", shell(argv), duration(*timeout_s)),
        StepKind::Wait { until, timeout_s, .. } => {
            format!("wait until {}\nup to {}", until.as_str(), duration(*timeout_s))
        }
        StepKind::Start { server } => format!("start {}", name(server)),
        StepKind::Enable => "enable".to_owned(),
    }
}

#[cfg(test)]
mod tests;
