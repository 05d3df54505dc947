//! Where an answer comes from: every answer says it, and says so if a part was missing (L6).

use std::collections::{BTreeMap, BTreeSet};

use common::{
    gap::Gap,
    names::{SourceName, ViewName},
    position::{Partition, Positions, Version},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Feed, Layer, SourceTiers, Tiers};
use crate::query::timestamp_text;

/// The provenance of an answer (L6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Provenance {
    /// The number of the generation shown; null before the first.
    pub generation: Option<u64>,
    /// By source, the dataset version that the generation covers for the view asked; null if it does not have the view.
    #[schema(value_type = HashMap<String, Option<u64>>)]
    pub mark: BTreeMap<SourceName, Option<Version>>,
    /// By source, the newest dataset version shown.
    #[schema(value_type = HashMap<String, u64>)]
    pub head: BTreeMap<SourceName, Version>,
    /// By source and partition, the position up to which every record is in the answer, and none from it on.
    #[schema(value_type = HashMap<String, HashMap<String, u64>>)]
    pub positions: BTreeMap<SourceName, Positions>,
    /// The newest time stamp of a record in the answer that came over the feed, RFC 3339; null if none did yet.
    pub as_of: Option<String>,
    /// Records that the log holds and that were not read yet; null if unknown.
    pub lag_records: Option<u64>,
    /// Whether nothing of what was asked for is missing.
    pub complete: bool,
    /// What is missing, and what else one should know, for a person.
    pub warnings: Vec<String>,
}

/// One source as `GET /v1/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SourceStatus {
    /// The source.
    #[schema(value_type = String)]
    pub name: SourceName,
    /// The dataset version that the generation covers; null if it does not have the source.
    #[schema(value_type = Option<u64>)]
    pub mark: Option<Version>,
    /// The newest dataset version shown.
    #[schema(value_type = u64)]
    pub head: Version,
    /// The position at the mark, by partition.
    #[schema(value_type = HashMap<String, u64>)]
    pub covered: Positions,
    /// The position that is durable in the dataset, by partition.
    #[schema(value_type = HashMap<String, u64>)]
    pub committed: Positions,
    /// The position up to which answers see, by partition.
    #[schema(value_type = HashMap<String, u64>)]
    pub positions: Positions,
    /// See [`Provenance::as_of`].
    pub as_of: Option<String>,
    /// See [`Provenance::lag_records`].
    pub lag_records: Option<u64>,
    /// Whether answers about the source's views from all layers miss nothing.
    pub complete: bool,
    /// What they miss.
    pub warnings: Vec<String>,
}

impl Tiers {
    /// The provenance of an answer about `view` from `layer`; `None` if there is no such view.
    #[must_use]
    pub fn provenance(&self, view: &ViewName, layer: Layer) -> Option<Provenance> {
        let (name, index) = self.views.get(view)?;
        let source = self.sources.get(name)?;
        let mark = source.batch[*index].mark;
        let live = layer != Layer::Batch;
        let mut warnings = if live { source.missing() } else { Vec::new() };
        if layer == Layer::Batch && mark.is_none() {
            warnings.push(match &self.generation {
                Some(generation) => format!("generation {} does not have view {view} yet", generation.number),
                None => format!("there is no generation yet, so the batch layer has nothing of view {view}"),
            });
        }
        let complete = warnings.is_empty();
        if let Some(gone) = source.batch[*index].kept.gone_before_us.map(timestamp_text) {
            warnings.push(format!("the history of view {view} before {gone} is not kept"));
        }
        let covered = || source.mark.as_ref().filter(|_| mark.is_some()).map(|m| m.positions.clone());
        Some(Provenance {
            generation: self.generation.as_ref().map(|g| g.number),
            mark: [(name.clone(), mark)].into(),
            head: [(name.clone(), source.head.version)].into(),
            positions: [(name.clone(), if live { source.reach() } else { covered().unwrap_or_default() })].into(),
            as_of: source.as_of_us.filter(|_| live).map(timestamp_text),
            lag_records: source.lag_records(),
            complete,
            warnings,
        })
    }

    /// The provenance of an answer from all layers about several views together.
    #[must_use]
    pub fn provenance_of<'a>(&self, views: impl IntoIterator<Item = &'a ViewName>) -> Provenance {
        let mut whole = Provenance {
            generation: self.generation.as_ref().map(|g| g.number),
            mark: BTreeMap::new(),
            head: BTreeMap::new(),
            positions: BTreeMap::new(),
            as_of: None,
            lag_records: None,
            complete: true,
            warnings: Vec::new(),
        };
        for one in views.into_iter().filter_map(|view| self.provenance(view, Layer::Merged)) {
            for (source, mark) in one.mark {
                // What the generation covers of all of them is what it covers of the least.
                let least = whole.mark.get(&source).map_or(mark, |known| (*known).min(mark));
                whole.mark.insert(source, least);
            }
            whole.head.extend(one.head);
            whole.positions.extend(one.positions);
            whole.as_of = whole.as_of.max(one.as_of);
            whole.lag_records = whole.lag_records.max(one.lag_records);
            whole.complete &= one.complete;
            let new: Vec<String> = one.warnings.into_iter().filter(|w| !whole.warnings.contains(w)).collect();
            whole.warnings.extend(new);
        }
        whole
    }

    /// What answers from all layers miss and will have, each named: see [`crate::Served::lacks`].
    pub(crate) fn missing_for_now(&self) -> Vec<String> {
        self.sources.values().flat_map(|source| source.missing_for_now()).collect()
    }

    /// How every source stands.
    #[must_use]
    pub fn status(&self) -> Vec<SourceStatus> {
        self.sources.values().map(|source| source.status()).collect()
    }
}

impl SourceTiers {
    fn status(&self) -> SourceStatus {
        let warnings = self.missing();
        SourceStatus {
            name: self.name.clone(),
            mark: self.mark.as_ref().map(|m| m.version),
            head: self.head.version,
            covered: self.mark.as_ref().map(|m| m.positions.clone()).unwrap_or_default(),
            committed: self.head.positions.clone(),
            positions: self.reach(),
            as_of: self.as_of_us.map(timestamp_text),
            lag_records: self.lag_records(),
            complete: warnings.is_empty(),
            warnings,
        }
    }

    /// What the segments and tails miss, each named; empty if nothing (L6).
    fn missing(&self) -> Vec<String> {
        let mut missing = self.missing_for_good();
        missing.extend(self.missing_for_now());
        missing
    }

    /// What is missing however long one waits: what this process was not given, and what the log had dropped.
    fn missing_for_good(&self) -> Vec<String> {
        let (name, head) = (&self.name, self.head.version);
        let absent = (self.feed == Feed::Absent).then(|| {
            format!(
                "there is no live feed here: events of {name} that were not committed by version {head} are missing"
            )
        });
        let gap = |Gap { partition, range }: &Gap| {
            format!("offsets {range} of {name} partition {partition} were gone from the log before they were read")
        };
        absent.into_iter().chain(self.gaps.iter().map(gap)).collect()
    }

    /// What is missing until it is read, or told of again.
    fn missing_for_now(&self) -> Vec<String> {
        let (name, head) = (&self.name, self.head.version);
        let mut missing = Vec::new();
        match self.feed {
            Feed::Absent => {}
            Feed::Behind => missing.push(format!(
                "the live feed is still being read: events of {name} that were not committed by version {head} are missing"
            )),
            Feed::Silent => missing.push(format!(
                "the live feed has not spoken of {name} yet: events that were not committed by version {head} are missing"
            )),
            Feed::Ended => missing.push(format!(
                "the live feed has ended: events of {name} that came after its end and were not committed by version \
                 {head} are missing"
            )),
            Feed::Heard if self.silent.is_empty() => {}
            Feed::Heard => missing.push(format!(
                "nobody tells of {name} partitions {} at present: events that were not told of or committed are missing",
                list(&self.silent)
            )),
        }
        for (partition, tail) in &self.tails {
            if let Some(range) = tail.withheld() {
                missing.push(format!(
                    "the tail of {name} partition {partition} has a gap: offsets {range} are missing until they are committed"
                ));
            }
        }
        for (partition, range) in self.held_back() {
            missing.push(format!(
                "commits of {name} after version {head} are held back until another tail has reached them: offsets {range} of \
                 partition {partition} are missing"
            ));
        }
        missing
    }
}

fn list(partitions: &BTreeSet<Partition>) -> String {
    partitions.iter().map(Partition::to_string).collect::<Vec<_>>().join(", ")
}
