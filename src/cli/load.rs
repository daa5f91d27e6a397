//! Reads a plan or a compiled plan from a file and compiles it against the cloud; names what no file names.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Failure, Surroundings};
use crate::cloud::nova::Nova;
use crate::cloud::{Cloud as _, Inventory};
use crate::compile::{Graph, compile};
use crate::plan::Plan;

/// A compiled plan is a few hundred bytes a step; this is room for the most steps a graph may have.
const GRAPH_BYTES_MAX: u64 = 1 << 30;
/// Far more than any plan; `plan::parse` has a narrower bound and says so in its own words.
const PLAN_BYTES_MAX: u64 = 16 << 20;

/// What a file held.
pub(super) enum Loaded {
    Plan { plan: Box<Plan>, text: String },
    Compiled(Box<Graph>),
}

/// Reads a file; `-` is standard input.
pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    let name = name_of(path);
    let text = read(path)?;
    // A plan is YAML that begins with its version; only a compiled plan begins like a JSON object.
    if text.trim_start().starts_with('{') {
        let graph = Graph::read(&text).map_err(|error| {
            Failure::usage(format!("{name}: {error}"))
                .remedy("a plan is YAML; a compiled plan comes from `furlough plan -o FILE`")
        })?;
        return Ok(Loaded::Compiled(Box::new(graph)));
    }
    let plan = crate::plan::parse(&name, &text)?;
    Ok(Loaded::Plan { plan: Box::new(plan), text })
}

/// What messages call it.
pub(super) fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn read(path: &Path) -> Result<String, Failure> {
    let name = name_of(path);
    let unreadable = |error: std::io::Error| Failure::usage(format!("cannot read {name}: {error}"));
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(unreadable)?)
    };
    let mut bytes = Vec::new();
    let mut source = source.take(PLAN_BYTES_MAX + 1);
    source.read_to_end(&mut bytes).map_err(unreadable)?;
    let mut limit = PLAN_BYTES_MAX;
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        limit = GRAPH_BYTES_MAX;
        source.set_limit(GRAPH_BYTES_MAX.saturating_sub(PLAN_BYTES_MAX));
        source.read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > limit {
        return Err(Failure::usage(format!("{name} is larger than {limit} bytes")).remedy("is it a plan at all?"));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{name} is not UTF-8 text")).remedy("a plan is a YAML file"))
}

/// The folder that a plan's commands run in: its own.
pub(super) fn folder_of(path: &Path) -> Result<PathBuf, Failure> {
    let folder = path.parent().filter(|_| path != Path::new("-")).filter(|folder| !folder.as_os_str().is_empty());
    std::path::absolute(folder.unwrap_or(Path::new(".")))
        .map_err(|error| Failure::usage(format!("the folder that commands are to run in is not known: {error}")))
}

/// Takes a reading and compiles the plan against it.
pub(super) async fn compile_now(surroundings: &Surroundings, plan: &Plan) -> Result<(Arc<Nova>, Graph), Failure> {
    let cloud = surroundings.connect(plan.cloud.as_deref()).await?;
    let inventory = read_cloud(&cloud).await?;
    let graph = compile(plan, &inventory, cloud.name())?;
    Ok((cloud, graph))
}

/// Takes a reading of everything.
pub(super) async fn read_cloud(cloud: &Nova) -> Result<Inventory, Failure> {
    cloud.inventory().await.map_err(|error| Failure::of_cloud(&error, cloud.name()))
}

/// Room for some hosts in the name of a run that no file names.
const NAME_CHARS: usize = 60;

/// `drain cmp-01 cmp-02 and 3 more`: the name of a run is in the disabled reason of each host, and short.
pub(super) fn name_by_hand(command: &str, hosts: &[String]) -> String {
    let mut name = command.to_owned();
    for (at, host) in hosts.iter().enumerate() {
        if at > 0 && name.chars().count() + host.chars().count() > NAME_CHARS {
            return format!("{name} and {} more", hosts.len() - at);
        }
        name.push_str(&format!(" {host}"));
    }
    name
}
