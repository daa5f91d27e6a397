//! What the process was started in: variables, home, terminal. Everything else is handed what it needs from here.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Color, Failure, Global};
use crate::cloud::nova::{CloudConfig, Environment, Nova};
use crate::journal::Sqlite;
use crate::run::commands::Supervised;
use crate::view::Style;

/// Columns when standard output is no terminal.
const WIDTH: u16 = 100;

pub(super) struct Surroundings {
    pub global: Global,
    vars: BTreeMap<String, String>,
    home: Option<PathBuf>,
}

impl Surroundings {
    pub(super) fn of_process(global: Global) -> Self {
        // A variable that is no Unicode cannot be one of those furlough knows.
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { global, vars, home: std::env::home_dir() }
    }

    fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Requests and the like go to standard error, when they are asked for.
    pub(super) fn start_log(&self) {
        let filter = match (self.var("FURLOUGH_LOG"), self.global.verbose) {
            (Some(filter), _) => filter.to_owned(),
            (None, true) => "furlough=debug".to_owned(),
            (None, false) => return,
        };
        let log = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .with_target(false);
        // Only a second subscriber could make this fail, and there is none.
        let _second = log.try_init();
    }

    fn style(&self, terminal: bool) -> Style {
        let color = match self.global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && self.var("NO_COLOR").is_none() && self.var("TERM") != Some("dumb"),
        };
        // A terminal's own width; where there is none, COLUMNS or a width that fits a log.
        let columns = self.var("COLUMNS").and_then(|columns| columns.parse().ok());
        let width =
            columns.or_else(|| terminal.then(|| console::Term::stderr().size_checked()).flatten().map(|size| size.1));
        Style { color, width: width.unwrap_or(WIDTH) }
    }

    /// How to write to standard output.
    pub(super) fn out_style(&self) -> Style {
        self.style(std::io::stdout().is_terminal())
    }

    /// How to write to standard error.
    pub(super) fn err_style(&self) -> Style {
        self.style(std::io::stderr().is_terminal())
    }

    /// Bars can be drawn on standard error.
    pub(super) fn can_draw(&self) -> bool {
        std::io::stderr().is_terminal() && self.var("TERM") != Some("dumb") && self.var("CI").is_none()
    }

    /// Somebody can be asked.
    pub(super) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// The journal's file: `--journal`, or in `$XDG_STATE_HOME`.
    pub(super) fn journal_path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.global.journal {
            return Ok(path.clone());
        }
        let state = match (self.var("XDG_STATE_HOME"), &self.home) {
            (Some(state), _) => PathBuf::from(state),
            (None, Some(home)) => home.join(".local/state"),
            (None, None) => {
                return Err(Failure::usage("there is no home directory to keep the journal in")
                    .remedy("say where it is to be with --journal FILE"));
            }
        };
        Ok(state.join("furlough/journal.db"))
    }

    /// Opens the journal, making it when it is not there.
    pub(super) fn journal(&self) -> Result<Arc<Sqlite>, Failure> {
        Ok(Arc::new(Sqlite::open(&self.journal_path()?)?))
    }

    /// Opens the journal for looking.
    pub(super) fn journal_to_read(&self) -> Result<Arc<Sqlite>, Failure> {
        Ok(Arc::new(Sqlite::open_read_only(&self.journal_path()?)?))
    }

    /// Where the commands of runs keep their records: beside the journal.
    pub(super) fn commands(&self) -> Result<Supervised, Failure> {
        let mut folder = self.journal_path()?.into_os_string();
        folder.push(".commands");
        let exe = if Path::new("/proc/self/exe").exists() {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()?
        };
        Ok(Supervised::new(Path::new(&folder), &exe)?)
    }

    /// Connects to the cloud: the command line's, else the plan's, else what the environment says.
    pub(super) async fn connect(&self, of_plan: Option<&str>) -> Result<Arc<Nova>, Failure> {
        let cloud = self.global.cloud.as_deref().or(of_plan);
        let environment = Environment {
            vars: self.vars.clone(),
            home: self.home.clone(),
            working_dir: std::env::current_dir()?,
            read: &|path| std::fs::read(path),
        };
        let config = CloudConfig::load(cloud, &environment)?;
        for warning in &config.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(Arc::new(Nova::connect(config).await?))
    }
}
