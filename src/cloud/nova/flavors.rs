//! The flavors of releases below 2.47, where a server only refers to its flavor, and the flavor may be gone.

use std::collections::HashMap;

use tokio::sync::Mutex;

use super::version::Pins;
use super::wire::{self, ExtraSpecs, FlavorRow, has_next};
use super::{Nova, Request};
use crate::cloud::{CloudError, Flavor, Refusal};

/// Rows asked for at once; Nova's own limit is 1000 (`[api] max_limit`).
const PAGE: usize = 1000;
/// More flavors than this no cloud has; a list that goes on is going round in circles.
const PAGES_MAX: usize = 100;

/// Flavors by id. `None` is one that was looked for and is gone. A flavor never changes its size, so what is known stays.
#[derive(Debug, Default)]
pub(super) struct Flavors(Mutex<HashMap<String, Option<Flavor>>>);

impl Nova {
    /// Looks up these flavors: the list once for all, and again only for an id that was never seen.
    pub(super) async fn flavors(&self, ids: &[&str]) -> Result<HashMap<String, Flavor>, CloudError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut known = self.flavors.0.lock().await;
        if ids.iter().any(|id| !known.contains_key(*id)) {
            for row in self.list_flavors().await? {
                let id = row.id.clone();
                if ids.contains(&id.as_str()) && !known.contains_key(&id) {
                    let extra_specs = self.extra_specs(&id).await?;
                    known.insert(id, Some(Flavor { extra_specs, ..Flavor::from(row) }));
                }
            }
            for id in ids {
                known.entry((*id).to_owned()).or_insert(None);
            }
        }
        Ok(ids.iter().filter_map(|id| Some(((*id).to_owned(), known.get(*id)?.clone()?))).collect())
    }

    async fn list_flavors(&self) -> Result<Vec<FlavorRow>, CloudError> {
        let mut rows: Vec<FlavorRow> = Vec::new();
        for _ in 0..PAGES_MAX {
            let marker = rows.last().map(|row| row.id.clone());
            let (page, _): (wire::Flavors, _) = self
                .read(Pins::FLAVORS, "listing flavors", |version| {
                    // `None`, in this word, means public and private ones (flavors.py `_parse_is_public`).
                    let request = Request::get(version, ["flavors", "detail"]).with("is_public", "None");
                    let request = request.with("limit", PAGE.to_string());
                    marker.iter().fold(request, |request, marker| request.with("marker", marker.clone()))
                })
                .await?;
            let last = page.flavors.is_empty() || !has_next(&page.flavors_links);
            rows.extend(page.flavors);
            if last {
                break;
            }
        }
        Ok(rows)
    }

    async fn extra_specs(&self, id: &str) -> Result<std::collections::BTreeMap<String, String>, CloudError> {
        let specs = self.read(Pins::FLAVORS, "reading extra specs", |version| {
            Request::get(version, ["flavors", id, "os-extra_specs"])
        });
        match specs.await {
            Ok((specs, _)) => Ok(ExtraSpecs::into_texts(specs)),
            // Deleted since it was listed.
            Err(error) if error.refusal() == Some(Refusal::NotFound) => Ok(Default::default()),
            Err(error) => Err(error),
        }
    }
}
