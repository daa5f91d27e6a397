use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::*;
use crate::view::fixture::{any_graph, child, graph, is_harmless};

#[test]
fn hosts_are_subgraphs_and_needs_are_arrows() {
    let mut small = child();
    small.steps.extend(graph().steps.into_iter().take(2));
    insta::assert_snapshot!(mermaid(&small), @r#"
    flowchart LR
      subgraph h0["cmp-07, wave 1"]
        s0["web-9 (0a0b0c0d…)<br/>live"]
        s1["disable"]
        s2["list"]
      end
      s1 --> s2
    "#);
}

#[test]
fn what_mermaid_or_html_would_read_is_escaped() {
    assert_eq!(quoted("a\"]<b>\n#1 `x`"), "\"a#34;#93;#60;b#62;<br/>#35;1 #96;x#96;\"");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn names_stay_inside_their_labels(graph in any_graph()) {
        let text = mermaid(&graph);
        prop_assert!(is_harmless(&text));
        for line in text.lines() {
            let quotes = line.matches('"').count();
            prop_assert!(quotes == 0 || quotes == 2 && line.ends_with("\"]"), "{line}");
        }
    }
}
