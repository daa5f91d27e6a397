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
    pub(super) fn start_log(&self) -> Result<(), Failure> {
        let Some(filter) = self.log_filter() else { return Ok(()) };
        let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
            Failure::usage(format!("FURLOUGH_LOG is no filter: {error}"))
                .remedy("`debug` logs every request, `trace` all")
        })?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .with_target(false)
            // It would print them, and panic where standard error is gone.
            .log_internal_errors(false);
        // Only a second subscriber could make this fail, and there is none.
        let _second = log.try_init();
        Ok(())
    }

    fn log_filter(&self) -> Option<&str> {
        self.var("FURLOUGH_LOG").or(self.global.verbose.then_some("furlough=debug"))
    }

    fn style(&self, term: &console::Term) -> Style {
        let terminal = term.is_term();
        let color = match self.global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && self.var("NO_COLOR").is_none() && self.var("TERM") != Some("dumb"),
        };
        // A terminal's own width; where there is none, COLUMNS or a width that fits a log.
        let columns = self.var("COLUMNS").and_then(|columns| columns.parse().ok());
        let width = columns.or_else(|| term.size_checked().map(|size| size.1));
        Style { color, width: width.unwrap_or(WIDTH) }
    }

    /// How to write to standard output.
    pub(super) fn out_style(&self) -> Style {
        self.style(&console::Term::stdout())
    }

    /// How to write to standard error.
    pub(super) fn err_style(&self) -> Style {
        self.style(&console::Term::stderr())
    }

    /// Bars can be drawn on standard error. A log between them would tear them apart.
    pub(super) fn can_draw(&self) -> bool {
        let dumb = self.var("TERM") == Some("dumb") || self.var("CI").is_some();
        std::io::stderr().is_terminal() && !dumb && self.log_filter().is_none()
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

    /// Opens the journal for looking; `None` when there is none yet.
    pub(super) fn journal_to_read(&self) -> Result<Option<Arc<Sqlite>>, Failure> {
        let path = self.journal_path()?;
        match path.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(Arc::new(Sqlite::open_read_only(&path)?))),
            Err(error) => Err(Failure::blocked(format!("journal {}: {error}", path.display()))
                .remedy("see that its directory is one, and that both belong to you; --journal names another")),
        }
    }

    /// What to say where a run was asked for and there is no journal.
    pub(super) fn no_journal(&self) -> Result<Failure, Failure> {
        let path = self.journal_path()?;
        Ok(Failure::usage(format!("there is no journal at {} yet, so there are no runs", path.display()))
            .remedy("the first run makes it; --journal or FURLOUGH_JOURNAL names another"))
    }

    /// Where the commands of runs keep their records: beside the journal.
    pub(super) fn commands(&self) -> Result<Supervised, Failure> {
        let mut folder = self.journal_path()?.into_os_string();
        folder.push(".commands");
        let exe = if Path::new("/proc/self/exe").exists() {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe().map_err(|error| nowhere(&error))?
        };
        Supervised::new(Path::new(&folder), &exe).map_err(|error| nowhere(&error))
    }

    /// Connects to the cloud: the command line's, else the plan's, else what the environment says.
    pub(super) async fn connect(&self, of_plan: Option<&str>) -> Result<Arc<Nova>, Failure> {
        let cloud = self.global.cloud.as_deref().or(of_plan);
        let environment = Environment {
            vars: self.vars.clone(),
            home: self.home.clone(),
            working_dir: std::env::current_dir().map_err(|error| nowhere(&error))?,
            read: &|path| std::fs::read(path),
        };
        let config = CloudConfig::load(cloud, &environment).map_err(|error| {
            let failure = Failure::of_cloud(&error, cloud.unwrap_or_default());
            match CloudConfig::names(&environment) {
                Ok(names) if names.is_empty() => failure.remedy(
                    "put your clouds.yaml into ~/.config/openstack/, name it in OS_CLIENT_CONFIG_FILE, or source an \
                     openrc file; `openstack server list` reads the same",
                ),
                _ => failure,
            }
        })?;
        for warning in &config.warnings {
            super::tell(&format!("warning: {warning}\n"));
        }
        let name = config.name.clone();
        let nova = Nova::connect(config).await.map_err(|error| Failure::of_cloud(&error, &name))?;
        Ok(Arc::new(nova))
    }
}

/// The process has lost its folder or its own program.
fn nowhere(error: &std::io::Error) -> Failure {
    Failure::blocked(format!("the working directory or furlough's own file cannot be found: {error}"))
        .remedy("change to a directory that exists, and try again")
}
