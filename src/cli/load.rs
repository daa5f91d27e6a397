//! Reads a plan or a compiled plan from a file and compiles it against the cloud.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Failure, Surroundings};
use crate::cloud::Cloud as _;
use crate::cloud::nova::Nova;
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
    let name = path.display().to_string();
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

fn read(path: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let name = path.display();
    let unreadable = |error: std::io::Error| Failure::usage(format!("cannot read {name}: {error}"));
    let mut bytes = Vec::new();
    let limit =
        if path.extension().is_some_and(|extension| extension == "json") { GRAPH_BYTES_MAX } else { PLAN_BYTES_MAX };
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).map_err(unreadable)?.take(limit + 1).read_to_end(&mut bytes)
    };
    let size = read.map_err(unreadable)?;
    if size as u64 > limit {
        return Err(Failure::usage(format!("{name} is larger than {limit} bytes")).remedy("is it a plan at all?"));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{name} is not UTF-8 text")))
}

/// The folder that a plan's commands run in: its own.
pub(super) fn folder_of(path: &Path) -> Result<PathBuf, Failure> {
    let folder = path.parent().filter(|_| path != Path::new("-")).filter(|folder| !folder.as_os_str().is_empty());
    Ok(std::path::absolute(folder.unwrap_or(Path::new(".")))?)
}

/// Takes a reading and compiles the plan against it.
pub(super) async fn compile_now(surroundings: &Surroundings, plan: &Plan) -> Result<(Arc<Nova>, Graph), Failure> {
    let cloud = surroundings.connect(plan.cloud.as_deref()).await?;
    let inventory = cloud.inventory().await?;
    let graph = compile(plan, &inventory, cloud.name())?;
    Ok((cloud, graph))
}
