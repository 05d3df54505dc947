//! What a run is asked for: an advance, or a recompute of some views and of some time.

use std::{collections::BTreeSet, ops::Range};

use common::{names::ViewName, view::View};
use serde::{Deserialize, Serialize};

use crate::{chunk, report::Kind};

/// What a run is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Request {
    /// The last generation and the commits since.
    Advance,
    /// What is in this scope, from raw files.
    Recompute(Scope),
}

impl Request {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Advance => Kind::Advance,
            Self::Recompute(_) => Kind::Recompute,
        }
    }
}

/// Some views and some stretch of time. The default is all views, all the time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The views; all if empty.
    pub views: BTreeSet<ViewName>,
    /// Only buckets that start at this time or later, microseconds since 1970-01-01 UTC.
    pub from_us: Option<i64>,
    /// Only buckets that start before this time, microseconds since 1970-01-01 UTC.
    pub to_us: Option<i64>,
}

impl Scope {
    /// Whether it is everything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.views.is_empty() && !self.is_ranged()
    }

    /// Whether it is a part of the time only.
    #[must_use]
    pub fn is_ranged(&self) -> bool {
        self.from_us.is_some() || self.to_us.is_some()
    }

    /// Whether it has this view.
    #[must_use]
    pub fn has(&self, view: &ViewName) -> bool {
        self.views.is_empty() || self.views.contains(view)
    }

    /// The buckets of `view` in it, by their starts, `[from, to)`.
    #[must_use]
    pub fn buckets(&self, view: &View) -> Range<i64> {
        // A bucket is in if its start is.
        let first = |us: i64| first_bucket(view, us);
        self.from_us.map_or(i64::MIN, first)..self.to_us.map_or(i64::MAX, first)
    }

    /// The time chunks of `view` that have a bucket in it, by their starts, `[from, to)`.
    #[must_use]
    pub fn chunks(&self, view: &View) -> Range<i64> {
        let (buckets, chunk) = (self.buckets(view), chunk::of(view));
        let from = if buckets.start == i64::MIN { i64::MIN } else { chunk.bucket(buckets.start) };
        let to = if buckets.end == i64::MAX { i64::MAX } else { chunk.interval(buckets.end - 1).1 };
        from..to
    }
}

/// The start of the first bucket of `view` that begins at `us` or later.
#[must_use]
pub fn first_bucket(view: &View, us: i64) -> i64 {
    let (start, end) = view.grain.interval(us);
    if start == us { start } else { end }
}
