use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::*;
use crate::view::fixture::{any_graph, child, graph, is_harmless};

#[test]
fn hosts_are_clusters_and_needs_are_edges() {
    let mut graph = child();
    graph.steps.extend(crate::view::fixture::graph().steps.into_iter().take(2));
    insta::assert_snapshot!(dot(&graph), @r#"
    digraph furlough {
      rankdir=LR;
      node [shape=box, fontname="sans-serif"];
      label="kernel-reboot on prod";
      subgraph cluster_h0 {
        label="cmp-07, wave 1";
        s0 [label="web-9 (0a0b0c0d…)\nlive"];
        s1 [label="disable"];
        s2 [label="list"];
      }
      s1 -> s2;
    }
    "#);
}

#[test]
fn a_large_graph_has_one_node_a_host() {
    let drawing = Drawing::of(&graph(), 3);
    assert!(drawing.collapsed);
    let labels: Vec<_> = drawing.clusters.iter().flat_map(|cluster| &cluster.nodes).map(|node| &node.label).collect();
    assert_eq!(labels, ["cmp-07, wave 1\n2 servers, 8 steps", "cmp-08, wave 2\n1 server, 8 steps"]);
    assert_eq!(drawing.edges, [("h0".to_owned(), "h1".to_owned())]);
}

#[test]
fn a_graph_beyond_the_limit_is_drawn_by_host() {
    let mut large = graph();
    let step = large.steps[2].clone();
    large.steps.extend((0..MOST_STEPS).map(|n| Step { id: StepId(format!("cmp-07/move/{n}")), ..step.clone() }));
    let text = dot(&large);
    assert!(text.contains("h0 [label=\"cmp-07, wave 1\\n1502 servers, 1508 steps\"];"), "{text}");
    assert!(text.lines().count() < 10, "{text}");
}

/// What stands outside strings, and whether the last string is closed.
fn outside_strings(text: &str) -> (String, bool) {
    let (mut outside, mut inside, mut escaped) = (String::new(), false, false);
    for character in text.chars() {
        match (inside, escaped, character) {
            (true, true, _) => escaped = false,
            (true, false, '\\') => escaped = true,
            (_, _, '"') => inside = !inside,
            (false, _, other) => outside.push(other),
            (true, false, _) => {}
        }
    }
    (outside, !inside)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn names_stay_inside_their_labels(graph in any_graph()) {
        let text = dot(&graph);
        prop_assert!(is_harmless(&text));
        let (outside, closed) = outside_strings(&text);
        prop_assert!(closed && outside.is_ascii(), "{text}");
        let braces = |brace| outside.matches(brace).count();
        prop_assert!(braces('{') == braces('}'), "{text}");
    }
}
