use super::execute::{Consent, Output, Start, start};
use super::load::{compile_now, folder_of, name_by_hand};
use super::{Failure, Surroundings};
use crate::plan::Rung;

/// What a plan's limits may be; the plan says so again, but not in terms of the option.
const AT_ONCE: std::ops::RangeInclusive<i64> = 1..=100_000;

const HELP: &str = "\
The hosts are disabled, then emptied, and stay out of service until `furlough enable`. It is a run like any \
other: shown before it begins, journalled, resumed with `furlough resume`.

Examples:
  furlough drain cmp-07
  furlough drain cmp-07 cmp-08 --source 2
  furlough drain cmp-07 --ladder live               # what cannot be moved live stops the drain
  furlough drain cmp-07 --ladder live,cold,leave    # what cannot be moved is left where it is
  furlough drain cmp-07 --ladder live,stop --yes";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Drain {
    /// Compute hosts, by the names that `furlough hosts` shows.
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// The methods tried for each server, in order.
    #[arg(long, value_name = "METHODS", value_delimiter = ',', default_value = "live,cold")]
    ladder: Vec<Method>,
    /// Live and cold migrations away from one host at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(AT_ONCE))]
    source: u32,
    /// Migrations in the whole cloud at once.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(AT_ONCE))]
    limit: u32,
    /// How long after a host was disabled servers already on their way may still arrive there.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    late_arrivals: String,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// Live migration.
    Live,
    /// Cold migration, confirmed.
    Cold,
    /// Stopped and left on the host.
    Stop,
    /// Left as it is.
    Leave,
}

impl From<Method> for Rung {
    fn from(method: Method) -> Self {
        match method {
            Method::Live => Self::Live,
            Method::Cold => Self::Cold,
            Method::Stop => Self::Stop,
            Method::Leave => Self::Leave,
        }
    }
}

impl Drain {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let text = self.plan_text()?;
        let mut plan = crate::plan::parse("the plan made of this command line", &text)?;
        for entry in &mut plan.hosts {
            "the command line".clone_into(&mut entry.at);
        }
        let (cloud, graph) = compile_now(surroundings, &plan).await?;
        let folder = folder_of(std::path::Path::new("."))?;
        let ready = Start { cloud, graph, plan_text: Some(text), folder, inherits: Vec::new() };
        start(surroundings, ready, &self.consent, &self.output).await
    }

    /// The plan an operator would have written for this, so that the journal and the report show one like any other.
    fn plan_text(&self) -> Result<String, Failure> {
        let unwritable = |error: serde_json::Error| Failure::failed(error.to_string());
        let globs: Vec<String> = self.hosts.iter().map(|host| globset::escape(host)).collect();
        let ladder: Vec<Rung> = self.ladder.iter().map(|&method| method.into()).collect();
        // Every JSON value is YAML.
        Ok(format!(
            "furlough: 1\nname: {}\nhosts: [{{name: {}}}]\nwaves: {{max_hosts: {}}}\ndrain:\n  servers: [{{ladder: {}}}]\n  \
             limits: {{cloud: {}, source: {}}}\n  late_arrivals: {}\nfinish: keep_disabled\n",
            serde_json::to_string(&name_by_hand("drain", &self.hosts)).map_err(unwritable)?,
            serde_json::to_string(&globs).map_err(unwritable)?,
            self.hosts.len(),
            serde_json::to_string(&ladder).map_err(unwritable)?,
            self.limit,
            self.source,
            serde_json::to_string(&self.late_arrivals).map_err(unwritable)?,
        ))
    }
}
