//! `highwater replay`: files, or the events of a dataset, go in as if their rows came in now, each row once however
//! often the replay is stopped and started again.
//!
//! Highwater itself remembers, together with the rows, how far a producer has come: a replay asks for the next row due and
//! goes on from there.

use std::{path::Path, str::FromStr, time::Duration};

use anyhow::Context;
use common::{
    decode::{Given, Rules},
    log::{
        ProducerRun,
        files::{Row, Rows},
        records::CONTENT_TYPE,
    },
    names::SourceName,
    pipeline::{Pipeline, Source},
    schema::{self, Origin},
};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::rows::{Selected, Times};
use self::{
    records::{FileEvents, Records, check, encoder},
    rows::{Body, Numbered},
};
use crate::{
    cli,
    client::{Client, NDJSON},
    house,
    output::say,
};

mod records;
mod rows;

/// Rows sent in one request at most: enough to make the fsync behind it cheap, few enough to keep a page lively.
const ROWS_A_REQUEST: usize = 5_000;

/// Bytes sent in one request at most, below the default `serving.body_limit`.
const BYTES_A_REQUEST: usize = 4 << 20;

/// While rows are paced by event time, what is due is sent this often.
const PACED_INTERVAL: Duration = Duration::from_millis(50);

/// How fast a replay goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// As fast as Highwater takes them.
    Max,
    /// So many times the speed of event time.
    Times(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let times = || text.strip_suffix('x')?.parse().ok().filter(|t: &f64| t.is_finite() && *t > 0.0);
        match text {
            "max" => Ok(Self::Max),
            _ => times()
                .map(Self::Times)
                .ok_or(format!("`{text}` is no rate: use `max`, or times event time, as `3600x`")),
        }
    }
}

/// What a replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Rows that Highwater took now.
    pub(crate) accepted: u64,
    /// Rows that were passed over because it had them already.
    pub(crate) before: u64,
}

/// When a row is due, for rows paced by event time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    started: Instant,
    origin_us: i64,
    times: f64,
}

impl Pace {
    /// A pace at which `origin_us` is due now.
    pub(crate) fn new(origin_us: i64, times: f64) -> Self {
        Self { started: Instant::now(), origin_us, times }
    }

    fn due(&self, event_time_us: i64) -> Instant {
        let ahead_us = event_time_us.saturating_sub(self.origin_us).max(0) as f64;
        self.started + Duration::from_secs_f64(ahead_us / 1e6 / self.times)
    }
}

/// Runs the command: all files, one after the other, then the dataset.
pub(crate) async fn replay(pipeline: &Path, options: cli::Replay, stop: CancellationToken) -> anyhow::Result<()> {
    let loaded = crate::check::load(pipeline)?;
    let names = || loaded.sources.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let source = loaded
        .sources
        .get(&options.source)
        .with_context(|| format!("no source `{}` in {}; there are: {}", options.source, pipeline.display(), names()))?;
    let client = options.reach.client_of(&loaded.serving)?;
    let given = Given { key: source.key.as_deref(), schema_id: options.schema_id, anew: options.anew };
    let to = To { client, source, given, times: Times::new(options.from, options.to), rate: options.rate, stop };
    for file in &options.files {
        let producer = match &options.producer {
            Some(name) => format!("{name}:{}", file.display()),
            None => producer(file)?,
        };
        let Replayed { accepted, before } = match lines_are_records(source) {
            true => to.lines(file, &producer).await?,
            false => to.records_of_file(file, &producer).await?,
        };
        say!("{}: {accepted} rows sent to {}, {before} were there before", file.display(), options.source)?;
    }
    if options.dataset {
        let Replayed { accepted, before } = to.dataset(&loaded, options.producer.as_deref()).await?;
        say!("dataset: {accepted} rows sent to {}, {before} were there before", options.source)?;
    }
    Ok(())
}

/// Whether a row of a file, as JSON, is all that a record of the source has: then it is sent as it is, broken or not.
fn lines_are_records(source: &Source) -> bool {
    let columns = source.rules.schema.columns();
    source.rules.format.is_plain_json() && columns.iter().all(|column| column.origin == Origin::Value)
}

/// Where a replay goes, and how.
struct To<'r> {
    client: Client,
    source: &'r Source,
    given: Given<'r>,
    times: Times,
    rate: Rate,
    stop: CancellationToken,
}

impl To<'_> {
    /// Sends the rows of a file as they are.
    async fn lines(&self, file: &Path, producer: &str) -> anyhow::Result<Replayed> {
        let rows = Selected::new(Rows::open(file, &self.source.rules)?, self.times);
        let total = rows.total();
        self.send(producer, rows, total).await
    }

    /// Sends the rows of a file as records of the source's format, with keys and headers. All are checked first.
    async fn records_of_file(&self, file: &Path, producer: &str) -> anyhow::Result<Replayed> {
        // Protected values are replaced where they are decoded, not here.
        let rules = Rules { protected: None, ..self.source.rules.clone() };
        let mut encoder = encoder(&rules, self.given).await?;
        for batch in FileEvents::open(file, &rules)? {
            let batch = self.times.of(&batch?, &rules.event_time)?;
            check(&mut encoder, &batch).await.with_context(|| format!("{}: nothing was sent", file.display()))?;
        }
        let records = Records::new(FileEvents::open(file, &rules)?, &encoder, &rules.event_time, self.times);
        self.send(producer, records, None).await
    }

    /// Sends the events of the source's dataset, date by date, as the records that they can have been. All are checked first.
    async fn dataset(&self, pipeline: &Pipeline, producer: Option<&str>) -> anyhow::Result<Replayed> {
        let rules = &self.source.rules;
        let mut encoder = encoder(rules, self.given).await?;
        let store = house::store(pipeline)?;
        let dataset = house::dataset(pipeline, &store, self.source).await?;
        let mut files = dataset.files(dataset.snapshot().await?.version).await?;
        files.retain(|file| self.times.touch(file.date()));
        let columns = rules.schema.columns().iter().map(|column| column.name.clone());
        let columns: Vec<String> = columns.chain([schema::KEY.to_owned()]).collect();
        for file in &files {
            let mut events = dataset.events(file, &columns).await?;
            while let Some(group) = events.next().await? {
                for batch in group {
                    let batch = self.times.of(&batch?, &rules.event_time)?;
                    check(&mut encoder, &batch).await.with_context(|| format!("{}: nothing was sent", file.path))?;
                }
            }
        }
        let mut all = Replayed::default();
        for file in &files {
            let name = producer.unwrap_or("replay");
            // The whole path: the files of one commit have the same name in the directories of their dates.
            let name = format!("{name}:{}", file.path);
            let events = dataset.events(file, &columns).await?.rest().await?.map(|batch| Ok(batch?));
            let records = Records::new(events, &encoder, &rules.event_time, self.times);
            let done = self.send(&name, records, self.times.all().then_some(file.rows)).await?;
            all.accepted += done.accepted;
            all.before += done.before;
            if self.stop.is_cancelled() {
                break;
            }
        }
        Ok(all)
    }

    async fn send(&self, producer: &str, rows: impl Numbered, total: Option<u64>) -> anyhow::Result<Replayed> {
        let bar = progress_bar(total, &self.source.name);
        let producer = self.times.producer(producer);
        let done = send(&self.client, &self.source.name, &producer, rows, self.rate, &bar, &self.stop).await;
        bar.finish_and_clear();
        done
    }
}

/// The name of a file's replay: the same file replayed again is the same producer, another file is another one.
pub(crate) fn producer(file: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(format!("replay:{name}:{bytes}"))
}

/// Sends what `producer` has not sent before, and returns when all of it is durable, or `stop` asks to.
pub(crate) async fn send(
    client: &Client,
    source: &SourceName,
    producer: &str,
    mut rows: impl Numbered,
    rate: Rate,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> anyhow::Result<Replayed> {
    let first = client.next_row(source, producer).await?;
    rows.skip_to(first)?;
    bar.set_position(first);
    let mut done = Replayed { accepted: 0, before: first };
    let mut request = Request::new(first, rows.body());
    let mut pace: Option<Pace> = None;
    for row in rows {
        let row = row?;
        if let (Rate::Times(times), Some(time)) = (rate, row.event_time_us) {
            let due = pace.get_or_insert_with(|| Pace::new(time, times)).due(time);
            if due > Instant::now() + PACED_INTERVAL {
                request.send(client, source, producer, bar, &mut done).await?;
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
        request.push(&row);
        if request.is_full() {
            request.send(client, source, producer, bar, &mut done).await?;
        }
        if stop.is_cancelled() {
            break;
        }
    }
    request.send(client, source, producer, bar, &mut done).await?;
    Ok(done)
}

/// Rows on their way.
struct Request {
    first_row: u64,
    rows: usize,
    is: Body,
    body: Vec<u8>,
}

impl Request {
    fn new(first_row: u64, is: Body) -> Self {
        Self { first_row, rows: 0, is, body: Vec::new() }
    }

    fn push(&mut self, row: &Row) {
        self.body.extend_from_slice(&row.value);
        if self.is == Body::Lines {
            self.body.push(b'\n');
        }
        self.rows += 1;
    }

    fn is_full(&self) -> bool {
        self.rows >= ROWS_A_REQUEST || self.body.len() >= BYTES_A_REQUEST
    }

    async fn send(
        &mut self,
        client: &Client,
        source: &SourceName,
        producer: &str,
        bar: &ProgressBar,
        done: &mut Replayed,
    ) -> anyhow::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let run = ProducerRun { producer: producer.to_owned(), first_row: self.first_row };
        let content_type = match self.is {
            Body::Lines => NDJSON,
            Body::Records => CONTENT_TYPE,
        };
        let accepted = client.append(source, content_type, std::mem::take(&mut self.body), &run).await?;
        done.accepted += accepted.accepted;
        done.before += accepted.duplicates;
        bar.inc(self.rows as u64);
        *self = Self::new(self.first_row + self.rows as u64, self.is);
        Ok(())
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn progress_bar(total: Option<u64>, source: &SourceName) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = "{prefix:>12} {bar:32} {human_pos} of {human_len} rows, {per_sec}, {eta} to go";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is constant and valid"));
    bar.with_prefix(source.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_max_or_times_event_time() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("3600x".parse(), Ok(Rate::Times(3600.0)));
        for wrong in ["", "x", "0x", "-1x", "infx", "3600", "fast"] {
            let message = wrong.parse::<Rate>().expect_err(wrong);
            assert!(message.contains("use `max`"), "{message}");
        }
    }
}
