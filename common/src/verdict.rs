//! Verdicts: what the last audits found, kept in the store so that whoever serves can show it. `audits/<time>.json`.

use std::collections::BTreeMap;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::{
    names::ViewName,
    store::{self, Store},
};

const DIRECTORY: &str = "audits";

/// Verdicts that are kept.
const KEPT: usize = 20;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// When the audit began, microseconds since 1970-01-01 UTC.
    pub at_us: i64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Whether nothing differed.
    pub equal: bool,
    /// Only buckets that start at this time or later were audited; all if `None`.
    pub from_us: Option<i64>,
    /// Only buckets that start before this time were audited; all if `None`.
    pub to_us: Option<i64>,
    /// By view.
    pub views: BTreeMap<ViewName, ViewVerdict>,
    /// The whole report, as `highwater batch audit --json` prints it.
    pub report: serde_json::Value,
}

/// What an audit found in one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewVerdict {
    /// Values compared.
    pub cells: u64,
    /// Values that differ.
    pub differences: u64,
    /// Buckets that begin before this time were not compared: their raw events are gone, or rolled up. `None` if all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out_before_us: Option<i64>,
}

/// Keeps `verdict`, and removes old ones.
///
/// # Errors
/// [`store::Error`].
pub async fn keep(store: &Store, verdict: &Verdict) -> Result<(), store::Error> {
    let mut json = serde_json::to_vec(verdict).expect("plain data with text keys");
    json.push(b'\n');
    store.put(&Path::from_iter([DIRECTORY, &format!("{:020}.json", verdict.at_us)]), json.into()).await?;
    let kept = store.list_directly(&Path::from(DIRECTORY)).await?;
    for old in kept.iter().rev().skip(KEPT) {
        store.delete(old).await?;
    }
    Ok(())
}

/// The newest verdict; `None` if there was no audit yet, or only of another release.
///
/// # Errors
/// [`store::Error`].
pub async fn latest(store: &Store) -> Result<Option<Verdict>, store::Error> {
    let Some(path) = store.list_directly(&Path::from(DIRECTORY)).await?.pop() else { return Ok(None) };
    Ok(store.get(&path).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[tokio::test]
    async fn the_newest_is_found_and_old_ones_go() {
        let store = Store::open(&"memory:///".parse().unwrap()).unwrap();
        assert_eq!(latest(&store).await.unwrap(), None);
        let verdict = |at_us| Verdict {
            at_us,
            elapsed_ms: 1,
            equal: true,
            from_us: None,
            to_us: Some(5),
            views: BTreeMap::new(),
            report: serde_json::json!({}),
        };
        for at_us in 0..30 {
            keep(&store, &verdict(at_us)).await.unwrap();
        }
        assert_eq!(latest(&store).await.unwrap(), Some(verdict(29)));
        assert_eq!(store.list(&Path::from(DIRECTORY)).await.unwrap().len(), KEPT);
    }
}
