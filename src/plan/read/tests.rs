use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::plan::{Pattern, parse, shape as table, yaml};

const EVERYTHING: &str = include_str!("../../../tests/plans/valid/everything.yaml");

fn host_plan(rest: &str) -> String {
    format!("furlough: 1\nname: x\nhosts: [{{name: a}}]\n{rest}")
}

#[test]
fn every_key_of_the_table_is_read_and_no_other() {
    let source = Source::new("plan.yaml", EVERYTHING);
    let (root, found) = yaml::read(&source, EVERYTHING);
    let mut reader = Reader::new(&source, found);
    reader.plan(&root.unwrap());
    assert!(reader.found.is_empty());
    let mut known = BTreeSet::new();
    table::walk(&PLAN, "", &mut |_, shape| {
        known.extend(shape.fields.iter().map(|field| (shape.what.to_owned(), field.key)))
    });
    assert_eq!(reader.asked, known);
}

#[test]
fn the_words_of_the_table_are_the_variants_of_the_document() {
    fn variants<T: schemars::JsonSchema>() -> BTreeSet<String> {
        fn collect(schema: &serde_json::Value, names: &mut BTreeSet<String>) {
            let each = |key: &str| schema.get(key).and_then(|list| list.as_array()).cloned().unwrap_or_default();
            names.extend(each("enum").iter().chain(schema.get("const")).map(|name| name.as_str().unwrap().to_owned()));
            for schema in each("oneOf") {
                collect(&schema, names);
            }
        }
        let mut names = BTreeSet::new();
        collect(schemars::schema_for!(T).as_value(), &mut names);
        names
    }
    let mut found: Vec<(String, BTreeSet<String>)> = Vec::new();
    table::walk(&PLAN, "", &mut |_, shape| {
        for field in shape.fields {
            if let Kind::Word { words, .. } | Kind::Words { words } = &field.kind {
                let usable = words.iter().filter(|word| word.instead.is_none());
                found.push((field.key.to_owned(), usable.map(|word| word.word.to_owned()).collect()));
            }
        }
    });
    let expected = [
        ("ladder", variants::<Rung>()),
        ("destinations", variants::<Destinations>()),
        ("block_migration", variants::<BlockMigration>()),
        ("finish", variants::<Finish>()),
        ("on_failure", variants::<OnFailure>()),
    ];
    let expected = expected.map(|(key, words)| (key.to_owned(), words));
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(expected));
}

#[test]
fn everything_comes_out_as_it_was_written() {
    let plan = parse("plan.yaml", EVERYTHING).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan).unwrap());
    let again: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(again, plan);
}

#[test]
fn what_is_left_out_has_the_documented_defaults() {
    let plan = parse("plan.yaml", &host_plan("")).unwrap();
    let minutes = |minutes: u64| minutes * 60;
    assert_eq!(plan.waves, Waves { max_hosts: Count::Hosts(1), first: None });
    assert_eq!(plan.drain.servers.len(), 1);
    assert_eq!(plan.drain.servers[0].ladder, [Rung::Live, Rung::Cold]);
    assert_eq!(plan.drain.limits, Limits { cloud: 20, source: 1, destination: None, queue_ahead: 2 });
    assert_eq!(plan.drain.live.block_migration, BlockMigration::Auto);
    assert_eq!(plan.drain.live.stalled_after_s, 90);
    assert_eq!(plan.drain.live.timeout, MoveTimeout { base_s: minutes(2), per_gib_s: 60 });
    assert_eq!(plan.drain.cold_timeout, MoveTimeout { base_s: minutes(5), per_gib_s: 120 });
    assert_eq!(plan.drain.power_timeout_s, minutes(5));
    assert_eq!((plan.finish, plan.on_failure), (Finish::Enable, OnFailure::Hold));
    assert_eq!((plan.cloud, plan.exclude.len(), plan.maintain.len(), plan.verify.len()), (None, 0, 0, 0));
    let part = parse("plan.yaml", &host_plan("drain: {live: {timeout: {base: 1h30m}}}\n")).unwrap();
    assert_eq!(part.drain.live.timeout, MoveTimeout { base_s: 5400, per_gib_s: 60 });
    let run = parse("plan.yaml", &host_plan("verify: [{run: {command: [./x]}}]\n")).unwrap();
    assert!(matches!(&run.verify[0], Action::Run(command) if command.timeout_s == minutes(30)));
}

#[test]
fn a_document_that_is_too_much_is_refused_quickly() {
    let refused = |text: &str| {
        let errors = parse("plan.yaml", text).unwrap_err();
        errors.diagnostics[0].message.clone()
    };
    assert!(refused(&"#".repeat(yaml::BYTES_MAX + 1)).starts_with("a plan may have 1048576 bytes"));
    assert_eq!(refused(&"[".repeat(1_000_000)), "not YAML: recursion limit exceeded");
    assert!(refused(&format!("{}1{}", "[".repeat(40), "]".repeat(40))).contains("nested more than"));
    assert!(refused(&"- ".repeat(500_000)).contains("nested more than"));
    assert!(refused(&format!("a: [{}]", "1,".repeat(400_000))).contains("200000 values"));
    let keys: String = (0..60_000).map(|key| format!("k{key}: 1\n")).collect();
    let errors = parse("plan.yaml", &keys).unwrap_err();
    assert_eq!((errors.diagnostics.len(), errors.omitted > 50_000), (50, true));
    assert!(errors.render().ends_with("mistakes in plan.yaml, the first 50 shown"));
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    let errors = parse("plan.yaml", bomb).unwrap_err();
    assert!(errors.diagnostics.iter().any(|found| found.message.starts_with("anchors")), "{errors}");
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let names: Vec<String> = (0..500).map(|name| format!("cmp-{name:03}")).collect();
    let text = format!("furlough: 1\nname: x\nhosts: [{{name: [{}, 12, z]}}]\n", names.join(", "));
    let errors = parse("plan.yaml", &text).unwrap_err();
    let found = &errors.diagnostics[0];
    let under: String =
        found.snippet.line.chars().skip(found.snippet.caret_at).take(found.snippet.caret_width).collect();
    assert_eq!((under.as_str(), found.text.as_str()), ("12", "12"));
    assert!(found.snippet.line.chars().count() <= 120);
}

#[test]
fn a_byte_order_mark_and_foreign_line_ends_are_read() {
    let text = host_plan("waves: {max_hosts: 2}\n").replace('\n', "\r\n");
    assert_eq!(parse("plan.yaml", &format!("\u{feff}{text}")).unwrap().waves.max_hosts, Count::Hosts(2));
}

#[test]
fn ten_thousand_named_hosts_are_read_in_no_time() {
    let names: Vec<String> = (0..10_000).map(|name| format!("cmp-{name:05}.example.org")).collect();
    let text = format!("furlough: 1\nname: x\nhosts: [{{name: [{}]}}]\n", names.join(", "));
    let plan = parse("plan.yaml", &text).unwrap();
    assert_eq!(plan.hosts[0].name.len(), 10_000);
    assert_eq!(plan.hosts[0].name[7], Pattern::parse("cmp-00007.example.org").unwrap());
}

#[test]
fn what_the_two_parsers_read_differently_is_refused() {
    let errors = parse("plan.yaml", &host_plan("cloud: '\u{2028} x'\n")).unwrap_err();
    assert_eq!(errors.diagnostics[0].message, "this can be read in two ways as YAML");
    assert_eq!((errors.diagnostics[0].line, errors.diagnostics[0].column), (4, 8));
}

/// Trees as a plan could have them: mappings with text keys, texts that look like anything.
fn trees() -> impl Strategy<Value = serde_json::Value> {
    let texts = prop_oneof![
        "[a-z][a-z0-9*-]{0,8}",
        "\\PC{0,12}",
        "[ \\n\\t'\"#:,{}&*!|>%@-]{0,6}",
        prop::sample::select(vec![
            "~",
            "yes",
            "no",
            "null",
            "true",
            "011",
            "0x1f",
            "1e3",
            "12:30",
            "<<",
            "",
            ".inf",
            "-",
            "2026-01-01"
        ])
        .prop_map(str::to_owned),
    ];
    // Line ends to YAML 1.1 and not to 1.2: the two parsers differ, and the document is refused.
    let texts = texts.prop_map(|text: String| text.replace(['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'], ""));
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i32>().prop_map(|value| json!(value)),
        texts.clone().prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| json!(values)),
            prop::collection::btree_map(texts.clone(), inner, 0..4).prop_map(|values| json!(values)),
        ]
    })
}

fn same(tree: &Tree, value: &serde_json::Value) -> bool {
    match (tree, value) {
        (Tree::Null, serde_json::Value::Null) => true,
        (Tree::Bool(one), serde_json::Value::Bool(other)) => one == other,
        (Tree::Number(one), serde_json::Value::Number(other)) => one.as_i64() == other.as_i64(),
        (Tree::Text(one), serde_json::Value::String(other)) => one == other,
        (Tree::List(nodes), serde_json::Value::Array(values)) => {
            nodes.len() == values.len() && nodes.iter().zip(values).all(|(node, value)| same(&node.tree, value))
        }
        (Tree::Map(entries), serde_json::Value::Object(values)) => {
            entries.len() == values.len()
                && entries.iter().all(|entry| values.get(&entry.key).is_some_and(|value| same(&entry.node.tree, value)))
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn both_parsers_see_the_same_tree(value in trees()) {
        for text in [serde_yaml::to_string(&value).unwrap(), serde_json::to_string(&value).unwrap()] {
            let source = Source::new("plan.yaml", &text);
            let (root, found) = yaml::read(&source, &text);
            prop_assert!(found.is_empty(), "{}", text);
            prop_assert!(same(&root.unwrap().tree, &value), "{}", text);
        }
    }

    #[test]
    fn no_text_makes_it_fail(text in "(furlough: 1\n)?(name: \\PC{0,9}\n)?[ \\na-z0-9:,'\"#{}\\[\\]&*!|>%@?~.<-]{0,60}") {
        _ = parse("plan.yaml", &text).map_err(|errors| errors.render());
    }

    #[test]
    fn no_change_of_a_plan_makes_it_fail(at in 0..EVERYTHING.len(), length in 0_usize..6, with in "[ \\n:{}\\[\\]\"'a-z0-9&*|>-]{0,4}") {
        let before: String = EVERYTHING.chars().take(at).collect();
        let after: String = EVERYTHING.chars().skip(at + length).collect();
        let text = format!("{before}{with}{after}");
        if let Err(errors) = parse("plan.yaml", &text) {
            prop_assert!(!errors.diagnostics.is_empty());
            for found in &errors.diagnostics {
                prop_assert!(found.line >= 1 && found.column >= 1, "{:?}", found);
                prop_assert!(found.render().lines().count() >= 5);
            }
        }
    }
}
