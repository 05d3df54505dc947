//! How much of a view's history is kept, and how finely: what is older than the view says is rolled up to a coarser grain, or gone.
//!
//! Rolling up is a homomorphism of partials: rolling up what was merged is merging what was rolled up, in any order. So generations of
//! a view whose older history is rolled up obey the Lambda law (L1) like all others, late events included.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray},
    datatypes::TimestampMicrosecondType,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{grain::Grain, measure::Error, partial, view::View};

/// What the pipeline file says of a view's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// How long buckets stay as they are.
    pub keep: SignedDuration,
    /// The name of the grain that older ones are rolled up to; they go if `None`.
    pub roll_up: Option<String>,
}

/// How much of a view's history a generation has. The default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Buckets that start before this time, microseconds since 1970-01-01 UTC, are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_before_us: Option<i64>,
    /// Older buckets that are there, but coarser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled: Option<Rolled>,
}

/// Buckets that were rolled up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolled {
    /// All that start before this time, microseconds since 1970-01-01 UTC: a bucket of the coarser grain begins here.
    pub before_us: i64,
    /// The coarser grain's name, on the clock of the view's own.
    pub grain: String,
}

/// The grain that `name` means for a view of `own` grain, if its buckets are made of whole ones of that, and longer.
#[must_use]
pub fn coarser(own: Grain, name: &str) -> Option<Grain> {
    let named = Grain::named(name)?;
    let asked = own.zone().map_or(named, |zone| named.in_zone(zone));
    own.coarsened(asked).filter(|grain| grain.nominal_us() > own.nominal_us())
}

impl Kept {
    /// Whether everything is kept as it is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// The time from which on everything is kept as it is; the least there is if that is all.
    #[must_use]
    pub fn whole_from_us(&self) -> i64 {
        let rolled = self.rolled.as_ref().map(|rolled| rolled.before_us);
        rolled.max(self.gone_before_us).unwrap_or(i64::MIN)
    }

    /// The grain of what was rolled up in `view`, and the time before which that is so.
    #[must_use]
    pub fn rolled(&self, view: &View) -> Option<(i64, Grain)> {
        let rolled = self.rolled.as_ref()?;
        Some((rolled.before_us, coarser(view.grain, &rolled.grain)?))
    }

    /// The bucket in which the groups of the bucket of `view` that starts at `bucket_us` are kept; `None` if they are gone.
    #[must_use]
    pub fn bucket(&self, view: &View, bucket_us: i64) -> Option<i64> {
        let bucket_us = match self.rolled(view) {
            Some((before_us, grain)) if bucket_us < before_us => grain.bucket(bucket_us),
            _ => bucket_us,
        };
        self.gone_before_us.is_none_or(|gone_us| bucket_us >= gone_us).then_some(bucket_us)
    }

    /// What is kept once `history` is applied at `now_us` to what this is: never less is rolled up or gone than before, and a roll-up
    /// never becomes finer.
    #[must_use]
    pub fn aged(&self, view: &View, history: &History, now_us: i64) -> Self {
        let keep_us = i64::try_from(history.keep.as_micros()).unwrap_or(i64::MAX);
        let since_us = now_us.saturating_sub(keep_us);
        let Some(name) = &history.roll_up else {
            // Where a bucket begins, of the coarser ones too.
            let since_us = match self.rolled(view) {
                Some((before_us, grain)) if since_us < before_us => grain.bucket(since_us),
                _ => view.grain.bucket(since_us),
            };
            let rolled = self.rolled.clone().filter(|rolled| rolled.before_us > since_us);
            return Self { gone_before_us: self.gone_before_us.max(Some(since_us)), rolled };
        };
        let before = self.rolled(view);
        let finer = |(_, there): (i64, Grain)| {
            coarser(view.grain, name).is_some_and(|asked| there.coarsened(asked) != Some(asked))
        };
        let name = if before.is_some_and(finer) { &self.rolled.as_ref().expect("it was found").grain } else { name };
        let Some(grain) = coarser(view.grain, name) else { return self.clone() };
        let before_us = grain.bucket(since_us);
        if before.is_some_and(|(there_us, _)| before_us < there_us) {
            // What is between is of the grain that it has.
            return self.clone();
        }
        Self { rolled: Some(Rolled { before_us, grain: name.clone() }), ..self.clone() }
    }

    /// `partial`, a canonical one of `view`, with what this says rolled up or left out: canonical too. CPU work.
    ///
    /// # Errors
    /// A measure's, if states do not merge.
    pub fn apply(&self, view: &Arc<View>, partial: RecordBatch) -> Result<RecordBatch, Error> {
        let buckets = partial.column(0).as_primitive::<TimestampMicrosecondType>().values().clone();
        let older = buckets.partition_point(|bucket| *bucket < self.whole_from_us());
        if older == 0 {
            return Ok(partial);
        }
        let mut places = Vec::with_capacity(older);
        for bucket in &buckets[..older] {
            places.push(self.bucket(view, *bucket));
        }
        let first = places.iter().position(Option::is_some).unwrap_or(older);
        let starts: TimestampMicrosecondArray =
            places[first..].iter().map(|place| Some(place.unwrap_or_default())).collect();
        let rolled = partial.slice(first, older - first);
        let mut columns: Vec<ArrayRef> = rolled.columns().to_vec();
        columns[0] = Arc::new(starts.with_timezone("UTC"));
        let rolled = RecordBatch::try_new(rolled.schema(), columns)?;
        partial::merge(view, [&rolled, &partial.slice(older, partial.num_rows() - older)])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{fold::Fold, testing};

    const HOUR_US: i64 = 3_600_000_000;
    const DAY_US: i64 = 24 * HOUR_US;

    fn view() -> Arc<View> {
        let sql = "CREATE VIEW by_hour AS SELECT date_trunc('hour', departed_at) AS hour, carrier, \
                   count(*) AS departures, sum(delay_minutes) AS delay, approx_distinct(delay_minutes) AS delays \
                   FROM departures GROUP BY hour, carrier";
        std::thread::scope(|s| s.spawn(|| testing::view(sql, &testing::departures())).join().unwrap())
    }

    fn partial(view: &Arc<View>, rows: &[(i64, u8)]) -> RecordBatch {
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0 * HOUR_US / 2));
        let carriers: StringArray = rows.iter().map(|row| Some(format!("C{}", row.1))).collect();
        let delays = Int64Array::from_iter_values(rows.iter().map(|row| row.0 * 7 % 31));
        let columns: [(&str, ArrayRef); 3] = [
            ("departed_at", Arc::new(times.with_timezone("UTC"))),
            ("carrier", Arc::new(carriers)),
            ("delay_minutes", Arc::new(delays)),
        ];
        let mut fold = Fold::new(std::slice::from_ref(view));
        fold.fold(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        fold.take().unwrap().remove(0)
    }

    fn history(hours: i64, roll_up: Option<&str>) -> History {
        History { keep: SignedDuration::from_hours(hours), roll_up: roll_up.map(str::to_owned) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn l1_rolling_up_and_merging_are_the_same_in_any_order(
            a in vec((0..400_i64, 0..3_u8), 0..40),
            b in vec((0..400_i64, 0..3_u8), 0..40),
            first in 0..200_i64,
            more in 0..100_i64,
            roll_up in prop::sample::select(vec![Some("day"), Some("6h"), None]),
        ) {
            let view = view();
            let early = Kept::default().aged(&view, &history(0, roll_up), first * HOUR_US);
            let late = early.aged(&view, &history(0, roll_up), (first + more) * HOUR_US);
            let whole = partial(&view, &[a.clone(), b.clone()].concat());
            let expected = late.apply(&view, whole).unwrap();
            // One part was rolled up before and the other comes late.
            let old = early.apply(&view, partial(&view, &a)).unwrap();
            let merged = partial::merge(&view, [&old, &partial(&view, &b)]).unwrap();
            prop_assert_eq!(&late.apply(&view, merged).unwrap(), &expected);
            let apart = [late.apply(&view, old).unwrap(), late.apply(&view, partial(&view, &b)).unwrap()];
            prop_assert_eq!(&partial::merge(&view, &apart).unwrap(), &expected);
        }
    }

    #[test]
    fn history_only_grows_coarser_and_shorter() {
        let view = view();
        let at = |kept: &Kept, roll_up, hours: i64| kept.aged(&view, &history(24, roll_up), hours * HOUR_US);
        let rolled = at(&Kept::default(), Some("day"), 61);
        assert_eq!(rolled.rolled(&view), Some((DAY_US, Grain::DAY)));
        assert_eq!(at(&rolled, Some("day"), 30), rolled, "the clock went back");
        assert_eq!(at(&rolled, Some("6h"), 80).rolled.unwrap().grain, "day", "what is coarse cannot become fine");
        assert_eq!(at(&rolled, Some("week"), 480).rolled.unwrap().grain, "week");
        let gone = at(&rolled, None, 100);
        assert_eq!((gone.gone_before_us, gone.rolled.clone()), (Some(76 * HOUR_US), None));
        assert_eq!((gone.bucket(&view, 75 * HOUR_US), gone.bucket(&view, 76 * HOUR_US)), (None, Some(76 * HOUR_US)));
        assert_eq!(coarser(Grain::DAY, "hour"), None);
        assert_eq!(coarser(Grain::DAY, "day"), None);
    }
}
