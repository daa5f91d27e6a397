use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::plan::facts::{FlavorFacts, HostFacts, ServerFacts};

fn host() -> HostFacts {
    HostFacts::sample()
}

fn server() -> ServerFacts {
    ServerFacts {
        id: "9f2c".to_owned(),
        name: "web-1".to_owned(),
        project_id: "p1".to_owned(),
        status: "ACTIVE".to_owned(),
        task_state: None,
        power_state: "RUNNING".to_owned(),
        zone: Some("az1".to_owned()),
        metadata: BTreeMap::from([("evacuation".to_owned(), "stop".to_owned()), ("tier".to_owned(), "3".to_owned())]),
        tags: vec!["gold".to_owned()],
        locked: None,
        config_drive: false,
        boot_from_volume: true,
        volumes: 2,
        group_policy: None,
        flavor: FlavorFacts {
            name: "m1.large".to_owned(),
            vcpus: 4,
            memory_mib: 8192,
            disk_gib: 0,
            extra_specs: BTreeMap::from([("hw:cpu_policy".to_owned(), "dedicated".to_owned())]),
        },
    }
}

fn holds(text: &str) -> Result<bool, TextError> {
    Expr::parse(text, Scope::Server)?.holds(&host(), Some(&server()))
}

/// The error and, with a caret, where it points.
fn pointed(text: &str, error: TextError) -> String {
    let before = error.offset.map(|offset| " ".repeat(text[..offset].chars().count()) + "^");
    let help = error.help.map(|help| format!("\n    help: {help}"));
    format!("{text}\n{}\n    {}{}", before.unwrap_or_default(), error.message, help.unwrap_or_default())
}

fn wrong(text: &str, scope: Scope) -> String {
    pointed(text, Expr::parse(text, scope).expect_err(text))
}

#[test]
fn facts_are_read_with_the_numbers_people_write() {
    for text in [
        "host.vcpus_used > 0",
        "host.vcpus - host.vcpus_used == 24",
        "double(host.vcpus_used) / double(host.vcpus) < 0.7",
        "host.service.state == 'up' && !host.service.forced_down",
        "'rack-a' in host.aggregates",
        "host.aggregates.exists(a, a == \"rack-a\")",
        "host.aggregates.all(a, a.startsWith(\"rack-\"))",
        "host.aggregates.filter(a, a != 'rack-a').size() == 0",
        "size(host.aggregates) == 1",
        "host.name < 'cmp-02'",
        "server.status in ['ACTIVE', 'SHUTOFF']",
        "server.flavor.extra_specs['hw:cpu_policy'] == 'dedicated'",
        "server.metadata.tier == '3' && int(server.metadata.tier) >= 3",
        "server.metadata.exists(key, key.startsWith('evac'))",
        "server.volumes > 1 ? server.boot_from_volume : false",
        "host[\"name\"] == 'cmp-01'",
    ] {
        assert_eq!(holds(text), Ok(true), "{text}");
    }
}

#[test]
fn what_is_not_there_is_null_and_fails_every_test() {
    for (text, expected) in [
        ("server.metadata[\"owner\"] == \"me\"", false),
        ("server.metadata.owner == \"me\"", false),
        ("server.metadata[\"owner\"] != \"me\"", true),
        ("\"me\" == server.metadata[\"owner\"]", false),
        ("!(server.metadata[\"owner\"] == \"me\")", true),
        ("server.metadata[\"owner\"] == null", true),
        ("server.metadata[\"owner\"] in [\"me\", \"you\"]", false),
        ("server.metadata[\"owner\"].startsWith(\"m\")", false),
        ("server.metadata.owner.contains(\"m\") || server.metadata.owner.endsWith(\"m\")", false),
        ("\"owner\".startsWith(server.metadata.owner)", false),
        ("\"owner\" in server.metadata", false),
        ("\"evacuation\" in server.metadata", true),
        ("has(server.metadata.owner)", false),
        ("has(server.metadata.evacuation)", true),
        ("has(server.task_state)", false),
        ("has(server.zone)", true),
        ("server.task_state == null", true),
        ("server.locked == true", false),
        ("server.locked != true", true),
        ("server.metadata.owner == \"me\" || server.metadata.evacuation == \"stop\"", true),
        ("server.metadata.owner == \"me\" && server.metadata.evacuation == \"stop\"", false),
        // What decides on its own decides, on whichever side the unknown stands.
        ("server.locked || true", true),
        ("false && server.locked", false),
        ("server.locked && false", false),
        ("\"tier\" in server.metadata && int(server.metadata.tier) > 2", true),
        ("\"owner\" in server.metadata && int(server.metadata.owner) > 2", false),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn an_order_or_a_sum_of_the_unknown_is_an_error_that_names_it() {
    let unknown = HostFacts { vcpus_used: None, ..host() };
    for text in ["host.vcpus_used > 4", "host.vcpus - host.vcpus_used > 4", "4 < host.vcpus_used"] {
        let error = Expr::parse(text, Scope::Host).unwrap().holds(&unknown, None).unwrap_err();
        assert_eq!(
            error.message,
            format!("`{text}` cannot be decided for host cmp-01: `host.vcpus_used` is not known there")
        );
        assert!(error.help.unwrap().contains("host.vcpus_used != null"));
    }
    let guarded = Expr::parse("host.vcpus_used != null && host.vcpus_used > 4", Scope::Host).unwrap();
    assert_eq!(guarded.holds(&unknown, None), Ok(false));
    let error = holds("server.locked").unwrap_err();
    assert_eq!(error.message, "`server.locked` cannot be decided for server 9f2c: `server.locked` is not known there");
    let error = holds("int(server.metadata[\"owner\"]) > 2").unwrap_err();
    assert!(error.message.ends_with("`server.metadata[\"owner\"]` is not known there"), "{error}");
    assert!(holds("int(server.metadata.evacuation) > 2").unwrap_err().message.contains("cannot be decided"));
    assert!(holds("1 / (server.volumes - 2) > 0").unwrap_err().message.contains("cannot be decided"));
}

#[test]
fn facts_are_asked_many_times_and_the_server_can_change() {
    let stop = Expr::parse("server.metadata.evacuation == \"stop\"", Scope::Server).unwrap();
    let up = Expr::parse("host.service.state == \"up\"", Scope::Host).unwrap();
    let mut facts = Facts::of_host(&host()).unwrap();
    facts.set_server(&server()).unwrap();
    assert_eq!((stop.holds_for(&facts), up.holds_for(&facts)), (Ok(true), Ok(true)));
    facts.set_server(&ServerFacts { metadata: BTreeMap::new(), ..server() }).unwrap();
    assert_eq!((stop.holds_for(&facts), up.holds_for(&facts)), (Ok(false), Ok(true)));
}

#[test]
fn mistakes_in_conditions_are_found_before_anything_is_asked() {
    let hosts = [
        "host.vcpu_used > 0",
        "host.state == 'up'",
        "host.service.stat == 'up'",
        "host.service == 'up'",
        "host.name.first == 'c'",
        "host.vcpus_used",
        "host.name",
        "host.aggregates",
        "host",
        "server.status == 'ACTIVE'",
        "hots.name == 'x'",
        "vcpus_used > 1",
        "host.name == cmp-01",
        "host.name == 7",
        "host.vcpus > '7'",
        "host.vcpus > 0.5 * host.vcpus",
        "host.vcpus > 1u",
        "host.name && true",
        "'rack' in host.name",
        "host.aggregates.contains('rack-a')",
        "host.aggregates.exists(a, b == 'x')",
        "host.aggregates.exists(a, a > 3)",
        "host.aggregates.exists(a)",
        "host.name.exists(a, a == 'x')",
        "host.name.matches('c.*')",
        "host.name.startWith('c')",
        "lower(host.name) == 'x'",
        "host.name.startsWith(1)",
        "{'a': 1}.size() == 1",
        "host[host.name] == 'x'",
        "host['nmae'] == 'x'",
        "host.aggregates['x'] == 'x'",
        "has(host.nmae)",
        "host.vcpus == null || host.vcpus > null",
        "host.name = 'x'",
        "host.vcpus >",
        "host.name == 'x' and true",
        "(host.vcpus > 1",
        "host.name == “x”",
        "[1].all(a, [1].all(b, [1].all(c, true)))",
    ];
    let servers = [
        "server.metdata['x'] == 'y'",
        "server.metadata['n'] == 3",
        "server.vcpus > 1",
        "nmae == 'x'",
        "flavor.vcpus > 2",
    ];
    let hosts = hosts.iter().map(|text| wrong(text, Scope::Host));
    let servers = servers.iter().map(|text| wrong(text, Scope::Server));
    insta::assert_snapshot!(hosts.chain(servers).collect::<Vec<_>>().join("\n\n"));
}

#[test]
fn no_text_takes_the_stack_or_the_time() {
    for text in [
        "(".repeat(4000),
        "[".repeat(4000),
        format!("host{}", ".a".repeat(2000)),
        vec!["1"; 2000].join("+"),
        vec!["a"; 1000].join(" in "),
        vec!["true"; 800].join("=="),
        format!("{}1", "a?1:".repeat(1000)),
        format!("{}true{}", "(".repeat(30), ")".repeat(29)),
        "x".repeat(5000),
    ] {
        assert!(Expr::parse(&text, Scope::Server).is_err(), "{text}");
    }
    // The parser folds these, so that nothing is nested.
    assert!(Expr::parse(&format!("{}true", "!".repeat(4000)), Scope::Host).is_ok());
    assert!(Expr::parse(&format!("{}true{}", "(".repeat(32), ")".repeat(32)), Scope::Host).is_ok());
    let ids: Vec<String> = (0..50).map(|id| format!("\"{id:032x}\"")).collect();
    assert!(Expr::parse(&format!("server.project_id in [{}]", ids.join(", ")), Scope::Server).is_ok());
    assert!(Expr::parse(&vec!["host.name == 'x'"; 50].join(" || "), Scope::Host).is_ok());
}

#[test]
fn globs_match_whole_names() {
    let matches = |glob: &str, name: &str| Pattern::parse(glob).unwrap().matches(name);
    assert!(matches("cmp-0*", "cmp-07") && matches("cmp-[0-4]?", "cmp-31") && matches("{cmp,gpu}-1", "gpu-1"));
    assert!(matches("cmp-07", "cmp-07") && !matches("cmp-0", "cmp-07") && !matches("cmp-0*", "xcmp-07"));
    assert!(Pattern::parse("cmp-[0").is_err() && Pattern::parse(&"*".repeat(600)).is_err());
}

#[test]
fn templates_know_their_names_when_the_plan_is_read() {
    let render = |text: &str| Template::parse(text).unwrap().render(&host()).unwrap();
    assert_eq!(render("./reboot.sh"), "./reboot.sh");
    assert_eq!(render("{{ host.name }}:{{host.service.state}}"), "cmp-01:up");
    assert_eq!(render("{{ host.aggregates[0] }} <&>"), "rack-a <&>");
    assert_eq!(render("{{ host[\"name\"] }}"), "cmp-01");
    let wrong = |text: &str| pointed(text, Template::parse(text).expect_err(text));
    let mistakes = [
        "nmae {{ host.nmae }}",
        "{{ name }}",
        "{{ server.name }}",
        "{{ host.service.sate }}",
        "{{ host.name.first }}",
        "{{ host.name }",
        "{{ host.name | upper }}",
        "{{ host['nmae'] }}",
        "{% for a in host.aggregates %}{{ a }}{% endfor %}",
        "{{ host.name + }}",
        "{{ 'x' * 99999999999 }}",
    ];
    insta::assert_snapshot!(mistakes.map(wrong).join("\n\n"));
}

#[test]
fn a_fact_that_is_not_shown_never_becomes_a_word_in_a_command() {
    let template = Template::parse("{{ host.vcpus }}").unwrap();
    let error = template.render(&HostFacts { vcpus: None, ..host() }).unwrap_err();
    assert_eq!(error.message, "`{{ host.vcpus }}` for host cmp-01: the cloud does not show this fact");
}

#[test]
fn the_sample_knows_every_fact() {
    fn nulls(path: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::Null => panic!("{path} is null in the sample"),
            serde_json::Value::Object(members) => {
                members.iter().for_each(|(key, value)| nulls(&format!("{path}.{key}"), value))
            }
            _ => {}
        }
    }
    nulls("host", &serde_json::to_value(HostFacts::sample()).unwrap());
}

#[test]
fn texts_are_serialised_as_they_were_written() {
    let expression = Expr::parse("server.status == 'ACTIVE'", Scope::Server).unwrap();
    let text = serde_json::to_string(&expression).unwrap();
    assert_eq!(serde_json::from_str::<Expr>(&text).unwrap(), expression);
    assert!(serde_json::from_str::<Expr>("\"server.nope\"").is_err());
}

/// Conditions as people might write them: any member with any operator against any value.
fn conditions() -> impl Strategy<Value = String> {
    let facts = prop::sample::select(vec![
        "host.name",
        "host.zone",
        "host.aggregates",
        "host.service",
        "host.service.state",
        "host.service.forced_down",
        "host.vcpus",
        "host.vcpus_used",
        "server.status",
        "server.metadata",
        "server.metadata.tier",
        "server.task_state",
        "server.metadata[\"owner\"]",
        "server.tags",
        "server.locked",
        "server.volumes",
        "server.flavor.vcpus",
        "server.group_policy",
        "server.flavor.extra_specs",
        "server.boot_from_volume",
        "tag",
    ]);
    let values =
        prop::sample::select(vec!["1", "0", "0.5", "-2", "\"x\"", "\"3\"", "null", "true", "[\"x\"]", "[1, 2]", "[]"]);
    let operators = prop::sample::select(vec!["==", "!=", "<", ">=", "+", "-", "*", "/", "%", "in", "&&", "||"]);
    let calls = prop::sample::select(vec![
        "size(@)",
        "@.size()",
        "@.startsWith(\"x\")",
        "@.contains(\"x\")",
        "int(@)",
        "string(@)",
        "double(@)",
        "!@",
        "-@",
        "@[0]",
        "@[\"x\"]",
        "@.exists(tag, tag == \"x\")",
        "@.all(tag, tag)",
        "@.map(tag, size(tag))",
        "@.filter(tag, tag > 0)",
        "@.exists_one(tag, tag == 1)",
        "@ ? 1 : 2",
        "@ ? @ : false",
        "has(@)",
    ]);
    let leaf = prop_oneof![3 => facts.prop_map(str::to_owned), 1 => values.prop_map(str::to_owned)];
    leaf.prop_recursive(3, 12, 2, move |inner| {
        prop_oneof![
            (inner.clone(), operators.clone(), inner.clone())
                .prop_map(|(one, sign, other)| format!("({one}) {sign} ({other})")),
            (calls.clone(), inner).prop_map(|(call, on)| call.replace('@', &format!("({on})"))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What the check lets through comes out true or false when everything is known and is the number it should be.
    #[test]
    fn a_checked_condition_does_not_fail_on_kinds(text in conditions()) {
        let server = ServerFacts {
            task_state: Some("x".to_owned()),
            locked: Some(false),
            group_policy: Some("affinity".to_owned()),
            metadata: ["owner", "tier", "x"].map(|key| (key.to_owned(), "3".to_owned())).into(),
            flavor: FlavorFacts { extra_specs: BTreeMap::from([("x".to_owned(), "1".to_owned())]), ..server().flavor },
            ..server()
        };
        // Most are no condition by themselves; one of these makes one of them.
        for form in ["@", "(@) == (@)", "(@) in [@]", "(@) < (@)", "size(@) >= 0", "(@).exists(tag, true)"] {
            let Ok(expression) = Expr::parse(&form.replace('@', &text), Scope::Server) else { continue };
            if let Err(error) = expression.holds(&host(), Some(&server)) {
                let of_values = ["int", "double", "zero", "verflow", "out of bounds"];
                let excused = of_values.iter().any(|word| error.message.contains(word));
                prop_assert!(excused && !error.message.contains("overload"), "{}", error);
            }
        }
    }
}
