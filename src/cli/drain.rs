use super::execute::{Consent, Output, Start, start};
use super::load::{compile_now, folder_of};
use super::{Failure, Surroundings};
use crate::plan::Rung;

#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    /// Compute hosts, by the names that `furlough hosts` shows.
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// The methods tried for each server, in order.
    #[arg(long, value_name = "METHODS", value_delimiter = ',', default_value = "live,cold")]
    ladder: Vec<Method>,
    /// Live and cold migrations away from one host at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    source: u32,
    /// Migrations in the whole cloud at once.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
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
        let plan = crate::plan::parse("drain", &text)?;
        let (cloud, graph) = compile_now(surroundings, &plan).await?;
        let folder = folder_of(std::path::Path::new("."))?;
        start(surroundings, Start { cloud, graph, plan_text: Some(text), folder }, &self.consent, &self.output).await
    }

    /// The plan an operator would have written for this, so that the journal and the report show one like any other.
    fn plan_text(&self) -> Result<String, Failure> {
        let unwritable = |error: serde_json::Error| Failure::failed(error.to_string());
        let globs: Vec<String> = self.hosts.iter().map(|host| globset::escape(host)).collect();
        let ladder: Vec<Rung> = self.ladder.iter().map(|&method| method.into()).collect();
        // Every JSON value is YAML.
        Ok(format!(
            "furlough: 1\nname: {}\nhosts: [{{name: {}}}]\nwaves: {{max_hosts: {}}}\ndrain:\n  servers: [{{ladder: {}}}]\n  \
             limits: {{cloud: {}, source: {}}}\nfinish: keep_disabled\n",
            serde_json::to_string(&format!("drain {}", self.hosts.join(" "))).map_err(unwritable)?,
            serde_json::to_string(&globs).map_err(unwritable)?,
            self.hosts.len(),
            serde_json::to_string(&ladder).map_err(unwritable)?,
            self.limit,
            self.source,
        ))
    }
}
