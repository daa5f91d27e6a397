//! Finds, reads and merges the files (openstacksdk `loader.py`).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Environment, wrong};
use crate::cloud::CloudError;

/// No clouds.yaml is this long; a device or a log given by mistake is.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Variables that choose or locate and do not by themselves make an `envvars` cloud.
const SELECTORS: [&str; 5] =
    ["OS_CLOUD", "OS_REGION_NAME", "OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE", "OS_CLOUD_NAME"];
/// `OS_*` variables of test and log tooling, which openstacksdk leaves out too.
const FOREIGN_PREFIXES: [&str; 3] = ["OS_TEST", "OS_STD", "OS_LOG"];

/// A YAML value with scalars as text and keys with `_` for `-`. No `Debug`: passwords are in it.
#[derive(Clone)]
pub(super) enum Node {
    Empty,
    Text(String),
    List(Vec<Self>),
    Map(Tree),
}

pub(super) type Tree = BTreeMap<String, Node>;

impl Node {
    fn from_yaml(value: serde_yaml::Value) -> Self {
        match value {
            serde_yaml::Value::Null => Self::Empty,
            serde_yaml::Value::Bool(flag) => Self::Text(flag.to_string()),
            serde_yaml::Value::Number(number) => Self::Text(number.to_string()),
            serde_yaml::Value::String(text) => Self::Text(text),
            serde_yaml::Value::Sequence(items) => Self::List(items.into_iter().map(Self::from_yaml).collect()),
            serde_yaml::Value::Mapping(map) => Self::Map(
                map.into_iter()
                    .filter_map(|(key, value)| match Self::from_yaml(key) {
                        Self::Text(key) => Some((key, Self::from_yaml(value))),
                        _ => None,
                    })
                    .collect(),
            ),
            serde_yaml::Value::Tagged(tagged) => Self::from_yaml(tagged.value),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Keys with `_` for `-`, all the way down (`auth-url`); cloud names are not touched by this.
    fn with_plain_keys(self) -> Self {
        match self {
            Self::Map(map) => {
                Self::Map(map.into_iter().map(|(key, node)| (key.replace('-', "_"), node.with_plain_keys())).collect())
            }
            Self::List(items) => Self::List(items.into_iter().map(Self::with_plain_keys).collect()),
            other => other,
        }
    }
}

/// Lays `over` on `base`; maps are merged, anything else is replaced.
pub(super) fn merge(base: &mut Tree, over: Tree) {
    for (key, node) in over {
        match (base.get_mut(&key), node) {
            (Some(Node::Map(below)), Node::Map(above)) => merge(below, above),
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

/// Everything the search found.
pub(super) struct Sources {
    /// The clouds.yaml in use.
    pub path: Option<PathBuf>,
    /// The clouds of the files, secure.yaml laid over.
    pub clouds: BTreeMap<String, Tree>,
    pub profiles: BTreeMap<String, Tree>,
    /// Name and keys of the cloud that `OS_*` describes.
    pub env_cloud: Option<(String, Tree)>,
    /// Where clouds.yaml was looked for.
    pub searched: Vec<PathBuf>,
    pub warnings: Vec<String>,
}

impl Sources {
    pub(super) fn read(environment: &Environment<'_>) -> Result<Self, CloudError> {
        let mut warnings = Vec::new();
        let dirs = directories(environment);
        let searched = candidates(environment, &dirs, "clouds", Some("OS_CLIENT_CONFIG_FILE"));
        let named = first_file(environment, &searched, &mut warnings)?;
        let secure = candidates(environment, &dirs, "secure", Some("OS_CLIENT_SECURE_FILE"));
        let secure = first_file(environment, &secure, &mut warnings)?;
        let public = candidates(environment, &dirs, "clouds-public", None);
        let public = first_file(environment, &public, &mut warnings)?;

        let path = named.as_ref().map(|(path, _)| path.clone());
        let mut content = named.map(|(_, content)| content).unwrap_or_default();
        let secure_path = secure.as_ref().map(|(path, _)| path.clone());
        merge(&mut content, secure.map(|(_, content)| content).unwrap_or_default());
        let shown = path.clone().or(secure_path).unwrap_or_default();
        let clouds = section(content, "clouds", &shown)?;
        let (public_path, public) = public.unwrap_or_default();
        let profiles = section(public, "public-clouds", &public_path)?;

        let env_cloud = env_cloud(environment);
        if let Some((name, _)) = &env_cloud
            && clouds.contains_key(name)
        {
            return Err(wrong(format!(
                "{} has a cloud named `{name}`, and the OS_* variables make one of that name too; rename it, or set \
                 OS_CLOUD_NAME to another name",
                shown.display()
            )));
        }
        Ok(Self { path, clouds, profiles, env_cloud, searched, warnings })
    }

    pub(super) fn names(&self) -> Vec<String> {
        let env = self.env_cloud.iter().map(|(name, _)| name.clone());
        self.clouds.keys().cloned().chain(env).collect()
    }

    /// The file to name in a message.
    pub(super) fn shown_path(&self) -> String {
        self.path.as_ref().map_or_else(|| "clouds.yaml".to_owned(), |path| path.display().to_string())
    }
}

/// The directories searched, in order.
fn directories(environment: &Environment<'_>) -> Vec<PathBuf> {
    let var = |name: &str| environment.vars.get(name).filter(|value| !value.is_empty());
    let home = var("SNAP_REAL_HOME").map(PathBuf::from).or_else(|| environment.home.clone());
    let dot_config = home.map(|home| home.join(".config"));
    let site = var("XDG_CONFIG_DIRS").and_then(|dirs| dirs.split(':').next()).unwrap_or("/etc/xdg");
    let mut dirs = vec![environment.working_dir.clone()];
    dirs.extend(var("XDG_CONFIG_HOME").map(PathBuf::from).map(|dir| dir.join("openstack")));
    dirs.extend(dot_config.map(|dir| dir.join("openstack")));
    dirs.push(Path::new(site).join("openstack"));
    dirs.push(PathBuf::from("/etc/openstack"));
    dirs.dedup();
    dirs
}

fn candidates(environment: &Environment<'_>, dirs: &[PathBuf], stem: &str, var: Option<&str>) -> Vec<PathBuf> {
    let chosen = var.and_then(|var| environment.vars.get(var)).filter(|path| !path.is_empty());
    let chosen = chosen.map(|path| expand(environment, path));
    let searched =
        dirs.iter().flat_map(|dir| ["yaml", "yml", "json"].map(|suffix| dir.join(format!("{stem}.{suffix}"))));
    chosen.into_iter().chain(searched).collect()
}

/// `~` and relative paths.
pub(super) fn expand(environment: &Environment<'_>, path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), &environment.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => environment.working_dir.join(path),
    }
}

fn first_file(
    environment: &Environment<'_>,
    paths: &[PathBuf],
    warnings: &mut Vec<String>,
) -> Result<Option<(PathBuf, Tree)>, CloudError> {
    for path in paths {
        match (environment.read)(path) {
            Ok(content) => return Ok(Some((path.clone(), parse(path, &content)?))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                warnings.push(format!("{} may not be read and was passed over", path.display()));
            }
            Err(error) => return Err(wrong(format!("{} cannot be read: {error}", path.display()))),
        }
    }
    Ok(None)
}

fn parse(path: &Path, content: &[u8]) -> Result<Tree, CloudError> {
    let bad = |what: String| wrong(format!("{}: {what}", path.display()));
    if content.len() > FILE_BYTES_MAX {
        return Err(bad(format!("is longer than {FILE_BYTES_MAX} bytes, which no such file is")));
    }
    // JSON is YAML, so one reader serves all three suffixes.
    let mut value = serde_yaml::Value::deserialize(serde_yaml::Deserializer::from_slice(content))
        .map_err(|error| bad(format!("is not YAML: {error}")))?;
    value.apply_merge().map_err(|error| bad(format!("has a wrong `<<` merge: {error}")))?;
    match Node::from_yaml(value) {
        Node::Map(tree) => Ok(tree),
        Node::Empty => Ok(Tree::new()),
        _ => Err(bad("must be a mapping with the key `clouds`".to_owned())),
    }
}

fn section(mut content: Tree, key: &str, path: &Path) -> Result<BTreeMap<String, Tree>, CloudError> {
    let entries = match content.remove(key) {
        None | Some(Node::Empty) => Tree::new(),
        Some(Node::Map(entries)) => entries,
        Some(_) => return Err(wrong(format!("{}: `{key}` must be a mapping of names to clouds", path.display()))),
    };
    entries
        .into_iter()
        .map(|(name, node)| match node.with_plain_keys() {
            Node::Map(tree) => Ok((name, tree)),
            Node::Empty => Ok((name, Tree::new())),
            _ => Err(wrong(format!("{}: `{key}.{name}` must be a mapping", path.display()))),
        })
        .collect()
}

fn env_cloud(environment: &Environment<'_>) -> Option<(String, Tree)> {
    let ours: Vec<_> = environment
        .vars
        .iter()
        .filter(|(key, _)| key.starts_with("OS_") && !FOREIGN_PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
        .collect();
    if ours.iter().all(|(key, _)| SELECTORS.contains(&key.as_str())) {
        return None;
    }
    let name = environment.vars.get("OS_CLOUD_NAME").filter(|name| !name.is_empty());
    let tree = ours
        .into_iter()
        .filter(|(key, _)| *key != "OS_CLOUD")
        .filter_map(|(key, value)| Some((key.strip_prefix("OS_")?.to_ascii_lowercase(), Node::Text(value.clone()))))
        .collect();
    Some((name.cloned().unwrap_or_else(|| "envvars".to_owned()), tree))
}
