use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::view::fixture::{any_graph, is_harmless};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_graph_can_be_read_back(graph in any_graph()) {
        let text = json(&graph).unwrap();
        prop_assert!(is_harmless(&text));
        prop_assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), graph);
    }
}
