//! How old records are when answers show them: from the log's time stamp to the first answer whose provenance says that it
//! has the record.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use anyhow::Context;
use common::{
    clock::{Clock, SystemClock},
    log::kafka::Acknowledged,
    names::{SourceName, ViewName},
    position::{Partition, Positions},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::client::Client;

/// Time between the begins of two questions, unless an answer takes longer.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// How long the last records may take before they count as not seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The span of event time that is asked for: as a dashboard of the last hour.
const ASKED_US: i64 = 3_600_000_000;

/// How long records took until an answer showed them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Latency {
    /// Records watched that were seen.
    pub(super) records: u64,
    /// Records watched that no answer showed within [`PATIENCE`] of the end.
    pub(super) unseen: u64,
    /// Answers given meanwhile.
    pub(super) answers: u64,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// The part of an answer that is looked at.
#[derive(Debug, Deserialize)]
struct Answer {
    provenance: Provenance,
}

#[derive(Debug, Deserialize)]
struct Provenance {
    positions: BTreeMap<SourceName, Positions>,
}

/// Asks `view` again and again until `records` ends and all of them were seen.
pub(super) async fn watch(
    client: Client,
    source: SourceName,
    view: ViewName,
    mut records: UnboundedReceiver<Acknowledged>,
) -> anyhow::Result<Latency> {
    let mut waiting: BTreeMap<Partition, VecDeque<Acknowledged>> = BTreeMap::new();
    let mut ages_us: Vec<i64> = Vec::new();
    let mut answers = 0;
    let mut give_up: Option<Instant> = None;
    let mut turns = interval(ASK_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        while let Ok(record) = records.try_recv() {
            waiting.entry(record.partition).or_default().push_back(record);
        }
        if records.is_closed() && records.is_empty() {
            let give_up = *give_up.get_or_insert_with(|| Instant::now() + PATIENCE);
            if waiting.values().all(VecDeque::is_empty) || Instant::now() > give_up {
                break;
            }
        }
        let positions = ask(&client, &source, &view).await?;
        let now_us = SystemClock.now_us();
        answers += 1;
        for (partition, waiting) in &mut waiting {
            let Some(visible) = positions.get(partition) else { continue };
            while waiting.front().is_some_and(|record| record.position < *visible) {
                ages_us.extend(waiting.pop_front().map(|record| now_us - record.timestamp_us));
            }
        }
    }
    let unseen = waiting.values().map(VecDeque::len).sum::<usize>() as u64;
    Ok(latency(ages_us, unseen, answers))
}

/// What the answer to a question about the last hour shows, by partition.
async fn ask(client: &Client, source: &SourceName, view: &ViewName) -> anyhow::Result<Positions> {
    let from_us = SystemClock.now_us() - ASKED_US;
    let from = Timestamp::from_microsecond(from_us - from_us.rem_euclid(ASKED_US)).context("the clock is off")?;
    let body = client.query(&json!({ "view": view, "from": from.to_string() })).await?;
    let mut answer: Answer = serde_json::from_slice(&body).context("the answer is not as expected")?;
    Ok(answer.provenance.positions.remove(source).unwrap_or_default())
}

fn latency(mut ages_us: Vec<i64>, unseen: u64, answers: u64) -> Latency {
    ages_us.sort_unstable();
    let quantile = |q: f64| {
        // The nearest rank: the smallest age that a share of `q` does not exceed.
        let rank = (q * ages_us.len() as f64).ceil() as usize;
        ages_us.get(rank.saturating_sub(1)).map_or(0.0, |us| *us as f64 / 1000.0)
    };
    Latency {
        records: ages_us.len() as u64,
        unseen,
        answers,
        p50_ms: quantile(0.5),
        p90_ms: quantile(0.9),
        p99_ms: quantile(0.99),
        max_ms: quantile(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ages_of_records() {
        let latency = latency((1..=200).rev().map(|ms| ms * 1000).collect(), 3, 9);
        let Latency { records, unseen, p50_ms, p90_ms, p99_ms, max_ms, .. } = latency;
        assert_eq!((records, unseen), (200, 3));
        assert_eq!([p50_ms, p90_ms, p99_ms, max_ms], [100.0, 180.0, 198.0, 200.0]);
    }
}
