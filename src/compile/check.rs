//! What makes a graph sound, its content hash, and its saved form.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{GRAPH_VERSION, Graph, Step, StepId, StepKind};

/// A thousand hosts of two hundred servers are 200,000 moves; more than this is a plan to be cut into several.
pub const MAX_STEPS: usize = 300_000;

/// Every `list` needs every `disable` of its wave, so edges grow with the square of a wave: this allows one of about
/// a thousand hosts, in some hundred MB.
pub const MAX_NEEDS: usize = 2_000_000;

/// Hex digits of a graph's id: 64 bits tell apart what one operator ever compiles.
const ID_DIGITS: usize = 16;

/// Longest loop printed whole; what is beyond it is counted.
const MAX_LOOP_PRINTED: usize = 20;

/// What is wrong with a graph, whether compiled or read back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GraphError {
    #[error("the plan makes more than {MAX_STEPS} steps; cut it into several plans of fewer hosts")]
    TooManySteps,

    #[error("the plan makes more than {MAX_NEEDS} dependencies between steps; make its waves smaller")]
    TooManyNeeds,

    #[error("two steps are both called {0}")]
    DuplicateStep(StepId),

    #[error("step {step} needs {need}, which is not in the graph")]
    UnknownNeed { step: StepId, need: StepId },

    #[error("step {step} is about server {server}, which the graph does not list")]
    UnknownServer { step: StepId, server: String },

    #[error("steps wait for each other in a circle: {0}")]
    Cycle(String),

    #[error("step {step} stands before {need}, which it needs")]
    Order { step: StepId, need: StepId },

    #[error("the compiled plan is of format {found}, and this furlough reads up to {GRAPH_VERSION}; use a newer one")]
    Newer { found: u32 },

    #[error("this is not a compiled plan: {0}")]
    Malformed(String),

    #[error(
        "the compiled plan was changed after it was written (its id is {id}, its content {content}); compile again"
    )]
    Altered { id: String, content: String },

    #[error("the graph cannot be written: {0}")]
    Unwritable(String),
}

impl Graph {
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }

    /// The steps as nodes, in their order; each edge leads from what is needed to what needs it. A need that is not in
    /// the graph makes no edge: [`Graph::check`] refuses it.
    pub fn to_petgraph(&self) -> DiGraph<&Step, ()> {
        let mut graph = DiGraph::with_capacity(self.steps.len(), 0);
        let nodes: HashMap<&StepId, NodeIndex> =
            self.steps.iter().map(|step| (&step.id, graph.add_node(step))).collect();
        for step in &self.steps {
            let Some(&to) = nodes.get(&step.id) else { continue };
            for need in &step.needs {
                if let Some(&from) = nodes.get(need) {
                    graph.add_edge(from, to, ());
                }
            }
        }
        graph
    }

    /// Whether the steps are sound: few enough, named once, in order, without a loop, and about servers that are listed.
    pub fn check(&self) -> Result<(), GraphError> {
        if self.steps.len() > MAX_STEPS {
            return Err(GraphError::TooManySteps);
        }
        if self.steps.iter().map(|step| step.needs.len()).sum::<usize>() > MAX_NEEDS {
            return Err(GraphError::TooManyNeeds);
        }
        let mut places = HashMap::with_capacity(self.steps.len());
        for (place, step) in self.steps.iter().enumerate() {
            if places.insert(&step.id, place).is_some() {
                return Err(GraphError::DuplicateStep(step.id.clone()));
            }
        }
        let mut early = None;
        for (place, step) in self.steps.iter().enumerate() {
            for need in &step.needs {
                match places.get(need) {
                    None => return Err(GraphError::UnknownNeed { step: step.id.clone(), need: need.clone() }),
                    Some(&needed) if needed >= place && early.is_none() => early = Some((step, need)),
                    Some(_) => {}
                }
            }
        }
        // Steps that all stand after what they need cannot form a loop, so the search is for the broken case alone.
        if let Some((step, need)) = early {
            return Err(match self.a_loop() {
                Some(text) => GraphError::Cycle(text),
                None => GraphError::Order { step: step.id.clone(), need: need.clone() },
            });
        }
        self.check_servers()
    }

    fn check_servers(&self) -> Result<(), GraphError> {
        let listed: HashSet<&str> = self.servers.iter().map(|server| server.id.as_str()).collect();
        for step in &self.steps {
            if let StepKind::Move { server, .. } | StepKind::Start { server } = &step.kind
                && !listed.contains(server.as_str())
            {
                return Err(GraphError::UnknownServer { step: step.id.clone(), server: server.clone() });
            }
        }
        Ok(())
    }

    /// One loop of steps, in words, if there is any.
    fn a_loop(&self) -> Option<String> {
        let graph = self.to_petgraph();
        let tangle = tarjan_scc(&graph)
            .into_iter()
            .find(|nodes| nodes.len() > 1 || nodes.first().is_some_and(|&node| graph.contains_edge(node, node)))?;
        let members: HashSet<NodeIndex> = tangle.iter().copied().collect();
        let mut walked: Vec<NodeIndex> = Vec::new();
        let mut at = tangle.iter().copied().min()?;
        // Every member has a neighbour within the tangle, so the walk meets itself again within its size.
        let start = loop {
            if let Some(start) = walked.iter().position(|&node| node == at) {
                break start;
            }
            walked.push(at);
            at = graph.neighbors(at).filter(|node| members.contains(node)).min()?;
        };
        let round = walked.get(start..)?;
        let mut names: Vec<String> = round
            .iter()
            .take(MAX_LOOP_PRINTED)
            .filter_map(|&node| Some(graph.node_weight(node)?.id.to_string()))
            .collect();
        if round.len() > MAX_LOOP_PRINTED {
            names.push(format!("… {} more …", round.len() - MAX_LOOP_PRINTED));
        }
        names.push(names.first()?.clone());
        Some(names.join(" → "))
    }

    /// Checks the graph and gives it the id that its content has.
    pub(super) fn seal(mut self) -> Result<Self, GraphError> {
        self.check()?;
        self.id = self.content_id()?;
        Ok(self)
    }

    /// SHA-256 over the JSON with an empty id: fields stand in the order of their declaration and maps are sorted, so
    /// equal graphs have equal text.
    fn content_id(&mut self) -> Result<String, GraphError> {
        let id = std::mem::take(&mut self.id);
        let mut hash = HashWriter(Sha256::new());
        let written = serde_json::to_writer(&mut hash, self);
        self.id = id;
        written.map_err(|error| GraphError::Unwritable(error.to_string()))?;
        let hex: String = hash.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(hex.chars().take(ID_DIGITS).collect())
    }

    /// The saved form: JSON.
    pub fn write(&self) -> Result<String, GraphError> {
        serde_json::to_string_pretty(self).map_err(|error| GraphError::Unwritable(error.to_string()))
    }

    /// Reads the saved form back; one of a newer format, or one that was edited, is refused.
    pub fn read(text: &str) -> Result<Self, GraphError> {
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        let malformed = |error: serde_json::Error| GraphError::Malformed(error.to_string());
        let Format { version } = serde_json::from_str(text).map_err(malformed)?;
        if version > GRAPH_VERSION {
            return Err(GraphError::Newer { found: version });
        }
        let mut graph: Self = serde_json::from_str(text).map_err(malformed)?;
        let content = graph.content_id()?;
        if content != graph.id {
            return Err(GraphError::Altered { id: graph.id, content });
        }
        graph.check()?;
        Ok(graph)
    }
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
