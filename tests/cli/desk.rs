//! A clean place to type at: a folder of its own, a home without anything, a fixed width, no colour.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::fake::Fake;

pub struct Desk {
    pub folder: TempDir,
    pub fake: Option<Fake>,
}

impl Desk {
    /// Without a cloud.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), fake: None }
    }

    /// With clouds `prod` (an administrator), `member`, `wrong` (of another password) and `nobody` (no Keystone there).
    pub fn with(fake: Fake) -> Self {
        let desk = Self { fake: None, ..Self::new() };
        let mut clouds = "clouds:\n".to_owned();
        for (name, user, password, url) in [
            ("prod", "op", "right", fake.url()),
            ("member", "member", "right", fake.url()),
            ("wrong", "op", "mistyped", fake.url()),
            ("nobody", "op", "right", "http://127.0.0.1:1".to_owned()),
        ] {
            writeln!(
                clouds,
                "  {name}:\n    auth: {{auth_url: '{url}', username: {user}, password: {password}, project_name: admin, \
                 user_domain_id: default, project_domain_id: default}}\n    region_name: one"
            )
            .unwrap();
        }
        desk.file("clouds.yaml", &clouds);
        Self { fake: Some(fake), ..desk }
    }

    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.file(name, &format!("#!/bin/sh\n{text}\n"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.folder.path().join(name), executable).unwrap();
    }

    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_furlough"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("COLUMNS", "100"), ("FURLOUGH_JOURNAL", "journal.db")])
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_DIRS", self.folder.path())
            .stdin(Stdio::null());
        if self.fake.is_some() {
            command.env("OS_CLOUD", "prod");
        }
        command
    }

    /// What is typed and everything that comes of it.
    pub fn furlough(&self, arguments: &str) -> String {
        shown(arguments, &self.command(arguments).output().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

pub fn shown(arguments: &str, output: &Output) -> String {
    let mut text = format!("$ furlough {arguments}\n");
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            write!(text, "---- {name}\n{}", String::from_utf8_lossy(bytes)).unwrap();
        }
    }
    let code = output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string());
    writeln!(text, "---- exit code {code}\n").unwrap();
    text
}

/// A snapshot without what is of the moment: folders, ports, times, durations, run and graph ids, numbers of requests.
macro_rules! snapshot {
    ($desk:expr, $text:expr) => {{
        let folder = regex_free($desk.folder().to_str().unwrap());
        insta::with_settings!({filters => vec![
            (folder.as_str(), "[FOLDER]"),
            (r"127\.0\.0\.1:\d{2,}", "[FAKE]"),
            (r"\b\d{8}-\d{4}-[0-9a-f]{4}\b", "[RUN]"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:[\d.]+Z", "[TIME]"),
            (r"\d{4}-\d\d-\d\d( \(UTC\)| \d\d:\d\d(:\d\d UTC)?)", "[TIME]"),
            (r"\b\d\d:\d\d:\d\dZ", "[TIME]"),
            (r" *\b\d+ s\b( +$)?", " [SECONDS]"),
            (r"\[SECONDS\] +", "[SECONDS] "),
            (r"(graph |.id.: .)[0-9a-f]{16}\b", "$1[GRAPH]"),
            (r"\b\d+ requests", "[N] requests"),
        ], omit_expression => true, prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!($text);
        });
    }};
}
pub(crate) use snapshot;

/// A path as a pattern of itself.
pub fn regex_free(path: &str) -> String {
    path.replace('.', r"\.")
}
