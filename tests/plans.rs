//! Plans as operators write them: every playbook and every valid document is read, and every invalid one has its
//! rendered mistakes kept beside it.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its documents has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use furlough::plan;
use serde_json::Value;

fn documents(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    assert!(!paths.is_empty(), "no documents in {}", folder.display());
    paths
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

fn as_json(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// JSON is YAML; the version has to come first, which JSON's own order of keys would not keep.
fn as_yaml(document: &Value) -> String {
    let mut members = document.as_object().unwrap().clone();
    let version = members.remove("furlough").map(|version| format!("\"furlough\": {version}, ")).unwrap_or_default();
    let rest: Vec<String> =
        members.iter().map(|(key, value)| format!("{}: {value}", Value::from(key.as_str()))).collect();
    format!("{{{version}{}}}", rest.join(", "))
}

#[test]
fn playbooks_and_valid_documents_are_read_and_the_schema_agrees() {
    let schema = plan::schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, text) in [documents("playbooks"), documents("tests/plans/valid")].concat() {
        if let Err(errors) = plan::parse(&name, &text) {
            panic!("{errors}");
        }
        if let Err(error) = validator.validate(&as_json(&text)) {
            panic!("{name}: {error} at {}", error.instance_path());
        }
    }
}

#[test]
fn playbooks_say_when_to_use_them_what_they_will_not_do_and_what_to_edit() {
    for (name, text) in documents("playbooks") {
        let comment: String = text.lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n");
        for part in ["When to use it", "What it will not do", "What to edit"] {
            assert!(comment.contains(part), "{name} does not say: {part}");
        }
    }
}

/// Every mapping of a document, as JSON pointers.
fn mappings(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.to_owned());
            members.iter().for_each(|(key, value)| mappings(value, &format!("{at}/{key}"), found));
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| mappings(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// One value against another, and what stands inside of texts: JSON Schema has no words for it.
fn only_the_reader_can_judge(message: &str) -> bool {
    ["no server gets here", "the last entry must take every server"].iter().any(|known| message.starts_with(known))
}

#[test]
fn a_key_is_known_to_the_reader_exactly_where_it_is_known_to_the_schema() {
    let validator = jsonschema::validator_for(&plan::schema()).unwrap();
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/valid/everything.yaml")).unwrap();
    let mut document = as_json(&text);
    // What the conditions say is no matter here, and thousands of readings are faster without compiling them.
    for condition in ["/hosts/1/where", "/drain/servers/0/where", "/drain/servers/1/where", "/maintain/1/wait/until"] {
        *document.pointer_mut(condition).unwrap() = Value::from("true");
    }
    let mut places = Vec::new();
    mappings(&document, "", &mut places);
    assert!(plan::parse("plan.yaml", &as_yaml(&document)).is_ok());
    let mut judged = 0;
    for place in &places {
        let keys: Vec<String> = document.pointer(place).unwrap().as_object().unwrap().keys().cloned().collect();
        for key in &keys {
            // Left out, misspelt, of another kind, and in another place: whatever it is, both must say the same.
            let mut without = document.clone();
            let value = without.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(key).unwrap();
            let mut misspelt = without.clone();
            misspelt.pointer_mut(place).unwrap()[format!("{key}x")] = value.clone();
            let mut odd = document.clone();
            odd.pointer_mut(place).unwrap()[key] = Value::Bool(true);
            let mut elsewhere = vec![without, misspelt, odd];
            for other in &places {
                let mut document = document.clone();
                document.pointer_mut(other).unwrap()[key] = value.clone();
                elsewhere.push(document);
            }
            for changed in elsewhere {
                judged += 1;
                let read = plan::parse("plan.yaml", &as_yaml(&changed));
                let known = match &read {
                    Ok(_) => true,
                    Err(errors) => errors.diagnostics.iter().all(|found| only_the_reader_can_judge(&found.message)),
                };
                assert_eq!(known, validator.is_valid(&changed), "{place}/{key}\n{changed:#}\n{read:?}");
            }
        }
    }
    assert!(judged > 1000, "{judged}");
}

#[test]
fn invalid_documents_are_refused_with_places() {
    for (name, text) in documents("tests/plans/invalid") {
        let errors = plan::parse(&name, &text).expect_err(&name);
        let snapshot = name.trim_end_matches(".yaml").to_owned();
        insta::with_settings!({snapshot_path => "plans/invalid", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(snapshot, errors.render());
        });
    }
}
