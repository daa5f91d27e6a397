//! Plans as operators write them: every playbook and every valid document is read, and every invalid one has its
//! rendered mistakes kept beside it.

use std::fs;
use std::path::{Path, PathBuf};

use furlough::plan;

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

#[test]
fn valid_documents_are_read() {
    for (name, text) in documents("tests/plans/valid") {
        if let Err(errors) = plan::parse(&name, &text) {
            panic!("{errors}");
        }
    }
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
