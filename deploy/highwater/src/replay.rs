//! `highwater replay`: files go in as if their rows came in now, each row once however often the replay is stopped and
//! started again.
//!
//! Highwater itself remembers, together with the rows, how far a producer has come: a replay asks for the next row due and
//! goes on from there.

use std::{path::Path, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use common::{
    log::{
        ProducerRun,
        files::{self, Row, Rows},
    },
    names::SourceName,
    pipeline::{Pipeline, Source},
    schema::{self, Column, Origin},
};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{cli, client::Client, house, output::say};

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

/// The half-open stretch of event time that is replayed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Times {
    fn all(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Rows without a time that can be read are in no stretch.
    fn has(self, row: &Row) -> bool {
        let within = |time: i64| {
            let from = self.from.is_none_or(|from| time >= from.as_microsecond());
            from && self.to.is_none_or(|to| time < to.as_microsecond())
        };
        self.all() || row.event_time_us.is_some_and(within)
    }

    /// The name of a replay of these times: other times are other rows, with other numbers.
    fn producer(self, name: &str) -> String {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        if self.all() { name.to_owned() } else { format!("{name}:{}..{}", text(self.from), text(self.to)) }
    }
}

/// The rows of a file that are replayed, numbered without gaps.
pub(crate) struct Selected {
    rows: Rows,
    times: Times,
    next: u64,
}

impl Selected {
    pub(crate) fn new(rows: Rows, times: Times) -> Self {
        Self { rows, times, next: 0 }
    }

    /// How many rows there are, as far as that is known without reading.
    pub(crate) fn total(&self) -> Option<u64> {
        self.rows.total().filter(|_| self.times.all())
    }

    fn skip_to(&mut self, row: u64) -> Result<(), files::Error> {
        if self.times.all() {
            self.rows.skip_to(row)?;
            self.next = row;
        }
        while self.next < row {
            match self.next() {
                Some(passed) => _ = passed?,
                None => break,
            }
        }
        Ok(())
    }
}

impl Iterator for Selected {
    type Item = Result<Row, files::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = loop {
            match self.rows.next()? {
                Ok(row) if !self.times.has(&row) => {}
                found => break found,
            }
        };
        Some(row.map(|row| {
            let number = self.next;
            self.next += 1;
            Row { number, ..row }
        }))
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

/// Runs the command: all files, one after the other.
pub(crate) async fn replay(pipeline: &Path, options: cli::Replay, stop: CancellationToken) -> anyhow::Result<()> {
    let loaded = crate::check::load(pipeline)?;
    let names = || loaded.sources.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let source = loaded
        .sources
        .get(&options.source)
        .with_context(|| format!("no source `{}` in {}; there are: {}", options.source, pipeline.display(), names()))?;
    let client = Client::new(options.url, pipeline)?;
    let times = Times { from: options.from, to: options.to };
    for file in &options.files {
        let producer = match &options.producer {
            Some(name) => format!("{name}:{}", file.display()),
            None => producer(file)?,
        };
        let rows = Selected::new(Rows::open(file, &source.rules)?, times);
        let producer = times.producer(&producer);
        let bar = progress_bar(rows.total(), &source.name);
        let done = send(&client, &source.name, &producer, rows, options.rate, &bar, &stop).await?;
        bar.finish_and_clear();
        let Replayed { accepted, before } = done;
        say!("{}: {accepted} rows sent to {}, {before} were there before", file.display(), options.source)?;
    }
    if options.dataset {
        let done = of_dataset(&loaded, source, &client, times, &options.producer, options.rate, &stop).await?;
        let Replayed { accepted, before } = done;
        say!("dataset: {accepted} rows sent to {}, {before} were there before", options.source)?;
    }
    Ok(())
}

/// Sends the events of the source's dataset, date by date, as the records that they can have been.
async fn of_dataset(
    pipeline: &Pipeline,
    source: &Source,
    client: &Client,
    times: Times,
    producer: &Option<String>,
    rate: Rate,
    stop: &CancellationToken,
) -> anyhow::Result<Replayed> {
    let own_place =
        |column: &Column| column.origin == Origin::Value && column.path == schema::Path::member(&column.name);
    if let Some(column) = source.rules.schema.columns().iter().find(|column| !own_place(column)) {
        bail!(
            "column `{}` is not taken from the member of that name, so a record cannot be made of an event",
            column.name
        );
    }
    if source.rules.protected.is_some() {
        bail!("the dataset has protected columns: what the records were is not in it");
    }
    let store = house::store(pipeline)?;
    let dataset = house::dataset(pipeline, &store, source).await?;
    let head = dataset.snapshot().await?.version;
    let mut all = Replayed::default();
    for file in dataset.files(head).await? {
        let object = store.look(&file.path).await?.with_context(|| format!("{} is gone", file.path))?;
        let kept = tempfile::Builder::new().suffix(".parquet").tempfile()?;
        store.download(&object, kept.reopen()?).await?;
        let name = producer.as_deref().unwrap_or("replay");
        // The whole path: the files of one commit have the same name in the directories of their dates.
        let name = times.producer(&format!("{name}:{}", file.path));
        let rows = Selected::new(Rows::open(kept.path(), &source.rules.of_files())?, times);
        let bar = progress_bar(rows.total(), &source.name);
        let done = send(client, &source.name, &name, rows, rate, &bar, stop).await?;
        bar.finish_and_clear();
        all.accepted += done.accepted;
        all.before += done.before;
    }
    Ok(all)
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
    mut rows: Selected,
    rate: Rate,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> anyhow::Result<Replayed> {
    let first = client.next_row(source, producer).await?;
    rows.skip_to(first)?;
    bar.set_position(first);
    let mut done = Replayed { accepted: 0, before: first };
    let mut request = Request::new(first);
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
    lines: Vec<u8>,
}

impl Request {
    fn new(first_row: u64) -> Self {
        Self { first_row, rows: 0, lines: Vec::new() }
    }

    fn push(&mut self, row: &Row) {
        self.lines.extend_from_slice(&row.value);
        self.lines.push(b'\n');
        self.rows += 1;
    }

    fn is_full(&self) -> bool {
        self.rows >= ROWS_A_REQUEST || self.lines.len() >= BYTES_A_REQUEST
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
        let accepted = client.append(source, std::mem::take(&mut self.lines), &run).await?;
        done.accepted += accepted.accepted;
        done.before += accepted.duplicates;
        bar.inc(self.rows as u64);
        *self = Self::new(self.first_row + self.rows as u64);
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
