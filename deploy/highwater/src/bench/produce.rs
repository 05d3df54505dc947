//! `highwater bench produce`: real records with fresh times, at a chosen rate.

use std::{path::Path, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use common::{
    clock::{Clock, SystemClock},
    decode::{Format, Framing},
    log::{
        files::{Fresh, Rows},
        kafka::{Kafka, Progress},
    },
    pipeline::{Pipeline, Source},
};
use serde::Serialize;
use tokio::{runtime::Handle, sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    sender::{Http, Sender},
    watch::{self, Latency},
};
use crate::{cli, client::Client, house, output::say};

/// Rows kept in memory, to be sent again and again: enough that no page of them is alike.
const ROWS_MAX: usize = 200_000;

/// Records sent between two looks at the clock, however many are due.
const BURST: u64 = 1_000;

/// One record of so many is watched, and the last of each partition.
const WATCHED_EVERY: u64 = 97;

/// How fast records are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RecordRate {
    /// As fast as they are taken.
    Max,
    /// So many a second.
    PerSecond(f64),
}

impl FromStr for RecordRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = || text.replace('_', "").parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
        match text {
            "max" => Ok(Self::Max),
            _ => rate().map(Self::PerSecond).ok_or(format!("`{text}` is no rate: use `max`, or records a second")),
        }
    }
}

impl RecordRate {
    /// How many records are due after `elapsed`.
    fn due(self, elapsed: Duration) -> u64 {
        match self {
            Self::Max => u64::MAX,
            Self::PerSecond(rate) => (elapsed.as_secs_f64() * rate) as u64,
        }
    }
}

/// What was sent and what became of it.
#[derive(Debug, Serialize)]
struct Report {
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    bytes_per_second: f64,
    failed: u64,
    /// How old records were when answers showed them; null unless a view was watched.
    visible: Option<Latency>,
}

/// A record to send: its key, and its value but for the times.
struct Template {
    key: Option<Bytes>,
    value: Fresh,
}

/// When to stop sending.
struct End {
    at: Option<Duration>,
    count: u64,
    stop: CancellationToken,
}

/// Runs the command.
pub(crate) async fn produce(path: &Path, options: cli::Produce, stop: CancellationToken) -> anyhow::Result<()> {
    let pipeline = crate::check::load(path)?;
    let source = house::chosen(&pipeline, Some(&options.source))?[0];
    if !matches!(source.rules.format, Format::Json(Framing::None)) {
        bail!("the records of source `{}` are not plain JSON, which is all that can be made fresh", source.name);
    }
    let templates = templates(source, &options)?;
    let client = options.reach.client_of(&pipeline.serving)?;
    let sender = sender(&pipeline, source, client.clone(), options.create).await?;
    let lasting = options.lasting.map(|lasting| lasting.unsigned_abs());
    let end = End { at: lasting, count: options.count.unwrap_or(u64::MAX), stop };

    let (watched, watching) = mpsc::unbounded_channel();
    let watcher = options.watch.map(|view| {
        let source = source.name.clone();
        tokio::spawn(watch::watch(client, source, view, watching))
    });
    let rate = options.rate;
    let watches = watcher.is_some();
    let sending = tokio::task::spawn_blocking(move || {
        send(sender, &templates, rate, &end, |progress| {
            if watches {
                // The watcher has failed, and says why below.
                progress.watched.into_iter().for_each(|record| _ = watched.send(record));
            }
        })
    });
    let mut report = sending.await.context("sending panicked")??;
    if let Some(watcher) = watcher {
        report.visible = Some(watcher.await.context("watching panicked")??);
    }
    print(&report, options.json)
}

fn templates(source: &Source, options: &cli::Produce) -> anyhow::Result<Vec<Template>> {
    let key = source.key_path();
    let mut templates = Vec::new();
    for file in &options.files {
        for row in Rows::open(file, &source.rules)? {
            let value = row?.value;
            let key = key.as_ref().and_then(|path| path.text(&value));
            let fresh = Fresh::new(value, &source.rules.schema, &source.rules.event_time);
            templates.extend(fresh.map(|value| Template { key, value }));
            if templates.len() == ROWS_MAX {
                return Ok(templates);
            }
        }
    }
    if templates.is_empty() {
        bail!("no row of these files has an event time in `{}` that could be moved to now", source.rules.event_time);
    }
    Ok(templates)
}

async fn sender(
    pipeline: &Pipeline,
    source: &Source,
    client: Client,
    partitions: Option<u32>,
) -> anyhow::Result<Sender> {
    let (Some(topic), Some(settings)) = (&source.kafka, &pipeline.kafka) else {
        return Ok(Sender::Http(Box::new(Http::new(client, source.name.clone(), Handle::current()))));
    };
    let kafka = Kafka::new(settings.clone())?;
    if let Some(partitions) = partitions {
        kafka.create_topic(&topic.name, partitions, &[]).await?;
    }
    let log = kafka.topic(&topic.name, &pipeline.group(source)).await?;
    Ok(Sender::Kafka(kafka.stream(&log).await?))
}

/// Sends until `end`, and tells `progress` meanwhile. Blocks.
fn send(
    mut sender: Sender,
    templates: &[Template],
    rate: RecordRate,
    end: &End,
    mut told: impl FnMut(Progress),
) -> anyhow::Result<Report> {
    let (mut sent, mut bytes) = (0_u64, 0_u64);
    let mut value = Vec::new();
    let started = Instant::now();
    let mut turns = templates.iter().cycle();
    while sent < end.count && !end.stop.is_cancelled() && end.at.is_none_or(|at| started.elapsed() < at) {
        let due = rate.due(started.elapsed()).min(end.count).saturating_sub(sent).min(BURST);
        // The times of one burst are alike but for its order, which they keep.
        let now_us = SystemClock.now_us();
        for template in turns.by_ref().take(usize::try_from(due).unwrap_or(usize::MAX)) {
            value.clear();
            template.value.write(now_us, &mut value);
            sender.send(template.key.as_deref(), &value, sent % WATCHED_EVERY == 0)?;
            sent += 1;
            bytes += value.len() as u64;
        }
        sender.pause(if due < BURST { sender.tick() } else { Duration::ZERO })?;
        told(sender.progress());
    }
    sender.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    let mut progress = sender.progress();
    // Who sees these has seen all.
    progress.watched.extend(progress.last.values());
    let (acknowledged, failed, failure) = (progress.acknowledged, progress.failed, progress.failure.clone());
    told(progress);
    if let Some(failure) = failure {
        eprintln!("{failed} of {sent} records were given up: {failure}");
    }
    Ok(Report {
        records: acknowledged,
        bytes,
        seconds,
        records_per_second: acknowledged as f64 / seconds,
        bytes_per_second: bytes as f64 / seconds,
        failed,
        visible: None,
    })
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        say!("{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    let Report { records, seconds, records_per_second, bytes_per_second, .. } = report;
    let megabytes = bytes_per_second / 1e6;
    say!("{records} records in {seconds:.1} s: {records_per_second:.0} records/s, {megabytes:.1} MB/s")?;
    if let Some(Latency { records, unseen, p50_ms, p90_ms, p99_ms, max_ms, .. }) = &report.visible {
        say!(
            "visible after: p50 {p50_ms:.0} ms, p90 {p90_ms:.0} ms, p99 {p99_ms:.0} ms, max {max_ms:.0} ms ({records} records watched)"
        )?;
        if *unseen > 0 {
            say!("{unseen} records watched were not visible at the end")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_max_or_records_a_second() {
        assert_eq!("max".parse(), Ok(RecordRate::Max));
        assert_eq!("143_199".parse(), Ok(RecordRate::PerSecond(143_199.0)));
        assert_eq!(RecordRate::PerSecond(1000.0).due(Duration::from_millis(1500)), 1500);
        for wrong in ["", "0", "-1", "inf", "100x", "fast"] {
            assert!(wrong.parse::<RecordRate>().expect_err(wrong).contains("use `max`"), "{wrong}");
        }
    }
}
