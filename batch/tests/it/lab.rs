//! What every test here starts from: sources, views, events, a store in memory, and a gate to stop a run at.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    ops::Range,
    sync::{Arc, Mutex},
};

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    record_batch::RecordBatch,
};
use async_trait::async_trait;
use batch::{Batch, Engine, Watch};
use bytes::Bytes;
use common::{
    clock::Clock,
    dataset::{Append, Dataset},
    event::Counts,
    generation::{self, Generation},
    names::SourceName,
    pipeline::{Pipeline, Source},
    position::{OffsetRange, Partition, Position, Version},
    schema::Schema,
    store::Store,
    testing::{self, store::FaultyObjects},
    view::View,
};
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use tokio::sync::Semaphore;
use url::Url;

/// 2013-01-07, a Monday, in microseconds since 1970-01-01 UTC.
pub(crate) const MONDAY_US: i64 = 1_357_516_800_000_000;
pub(crate) const HOUR_US: i64 = 3_600_000_000;
pub(crate) const DAY_US: i64 = 24 * HOUR_US;

/// Views of the source `departures`, of every measure and every kind of chunk.
pub(crate) const VIEWS: [&str; 4] = [
    "CREATE VIEW by_minute AS SELECT date_trunc('minute', departed_at) AS minute, cancelled, count(*) AS departures, \
     max(seen_at) AS seen FROM departures GROUP BY minute, cancelled",
    "CREATE VIEW by_hour AS SELECT date_trunc('hour', departed_at) AS hour, carrier, origin, count(*) AS departures, \
     avg(delay_minutes) AS mean_delay, sum(distance) AS miles, sum(fare) AS fares, min(fare) AS cheapest, \
     approx_distinct(tail_number) AS aircraft, approx_percentile(delay_minutes, 0.9) AS p90_delay \
     FROM departures GROUP BY hour, carrier, origin",
    "CREATE VIEW by_day AS SELECT date_trunc('day', departed_at) AS day, carrier, count(delay_minutes) AS known, \
     sum(delay_minutes) AS minutes, avg(distance) AS mean_distance, min(tail_number) AS first_tail, \
     max(distance) AS farthest FROM departures WHERE delay_minutes > -10 GROUP BY day, carrier",
    "CREATE VIEW by_week AS SELECT date_trunc('week', departed_at) AS week, count(*) AS departures, \
     approx_distinct(carrier) AS carriers FROM departures GROUP BY week",
];

/// A departure, in short.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) departed_at: i64,
    pub(crate) carrier: Option<&'static str>,
    pub(crate) origin: Option<&'static str>,
    pub(crate) tail: Option<u16>,
    pub(crate) delay: Option<i64>,
    pub(crate) fare: Option<i128>,
    pub(crate) distance: Option<f64>,
    pub(crate) cancelled: Option<bool>,
}

/// A departure at `departed_at`, in microseconds after [`MONDAY_US`].
pub(crate) fn row(after_us: i64) -> Row {
    Row {
        departed_at: MONDAY_US + after_us,
        carrier: Some("UA"),
        origin: Some("JFK"),
        tail: Some(7),
        delay: Some(5),
        fare: Some(12_050),
        distance: Some(733.5),
        cancelled: Some(false),
    }
}

/// The rows as an event batch of partition 0; `offset` is that of the first.
pub(crate) fn events(schema: &Schema, rows: &[Row], offset: u64) -> RecordBatch {
    let texts =
        |text: fn(&Row) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(text).collect::<StringArray>()) };
    let times = |values: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    };
    let departed = || rows.iter().map(|r| Some(r.departed_at)).collect::<Vec<_>>();
    let fares: Decimal128Array = rows.iter().map(|r| r.fare).collect();
    let event_schema = schema.event_schema();
    let columns = event_schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "carrier" => texts(|r| r.carrier.map(str::to_owned)),
            "origin" => texts(|r| r.origin.map(str::to_owned)),
            "tail_number" => texts(|r| r.tail.map(|t| format!("N{t}"))),
            "delay_minutes" => Arc::new(rows.iter().map(|r| r.delay).collect::<Int64Array>()),
            "fare" => Arc::new(fares.clone().with_precision_and_scale(10, 2).unwrap()),
            "distance" => Arc::new(rows.iter().map(|r| r.distance).collect::<Float64Array>()),
            "cancelled" => Arc::new(rows.iter().map(|r| r.cancelled).collect::<BooleanArray>()),
            "departed_at" | "_timestamp" => times(departed()),
            "seen_at" => times(rows.iter().map(|r| r.delay.map(|d| r.departed_at + d * 60_000_000)).collect()),
            "_topic" => Arc::new(StringArray::from(vec!["departures"; rows.len()])),
            "_partition" => Arc::new(Int32Array::from(vec![0; rows.len()])),
            "_offset" => Arc::new(Int64Array::from_iter_values((offset as i64..).take(rows.len()))),
            "_key" => Arc::new(BinaryArray::from(vec![None::<&[u8]>; rows.len()])),
            other => panic!("the tests know no column {other}"),
        }
    });
    let columns = columns.collect();
    RecordBatch::try_new(Arc::clone(&event_schema), columns).unwrap()
}

/// A clock that stands still at this time.
#[derive(Debug)]
pub(crate) struct Still(pub(crate) i64);

impl Clock for Still {
    fn now_us(&self) -> i64 {
        self.0
    }
}

fn memory() -> Url {
    Url::parse("memory:///").unwrap()
}

/// A store and a pipeline over it.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    pub(crate) batch: Batch,
    objects: Arc<dyn ObjectStore>,
}

/// The source `departures` under another name: other sources look the same.
pub(crate) fn source(name: &str) -> Source {
    Source { name: SourceName::new(name).unwrap(), ..testing::departures() }
}

impl Lab {
    /// The source `departures` with [`VIEWS`].
    pub(crate) fn new() -> Self {
        Self::with(&[source("departures")], &VIEWS)
    }

    pub(crate) fn with(sources: &[Source], views: &[&str]) -> Self {
        let pipeline = Pipeline {
            name: "test".to_owned(),
            store: memory(),
            store_options: Default::default(),
            kafka: None,
            feed_topic: None,
            log_directory: "unused".into(),
            commit_interval: jiff::SignedDuration::from_secs(10),
            commit_size: "64MiB".parse().unwrap(),
            serving: common::pipeline::Serving::default(),
            batch: common::pipeline::Batch::default(),
            sources: sources.iter().map(|s| (s.name.clone(), s.clone())).collect(),
            views: BTreeMap::new(),
            histories: BTreeMap::new(),
        };
        Self::of(pipeline).views(views)
    }

    /// This pipeline over an empty store.
    pub(crate) fn of(pipeline: Pipeline) -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let engine = Engine::new(NonZeroUsize::new(2).unwrap()).unwrap();
        let store = Store::over(Arc::clone(&objects), memory());
        let batch = Batch::new(store, Arc::new(pipeline), engine, Arc::new(Still(MONDAY_US)));
        Self { batch, objects }
    }

    /// The same store with other views.
    pub(crate) fn views(&self, sql: &[&str]) -> Self {
        let parsed = sql.iter().map(|sql| {
            let source = self.batch.pipeline.sources.values().find(|s| sql.contains(&format!("FROM {}", s.name)));
            // Views are typed by Polars, which must not run on a thread of the async runtime.
            let view = std::thread::scope(|s| s.spawn(|| testing::view(sql, source.unwrap())).join().unwrap());
            (view.name.clone(), view)
        });
        let pipeline = Pipeline { views: parsed.collect(), ..(*self.batch.pipeline).clone() };
        Self { batch: Batch { pipeline: Arc::new(pipeline), ..self.batch.clone() }, ..self.clone() }
    }

    /// The same store with another pipeline.
    pub(crate) fn with_pipeline(&self, pipeline: Pipeline) -> Self {
        Self { batch: Batch { pipeline: Arc::new(pipeline), ..self.batch.clone() }, ..self.clone() }
    }

    /// The same by the clock of the machine, which the times of objects are of; a lab's own stands still.
    pub(crate) fn by_the_clock(&self) -> Self {
        Self { batch: Batch { clock: Arc::new(common::clock::SystemClock), ..self.batch.clone() }, ..self.clone() }
    }

    /// The same at this time.
    pub(crate) fn at(&self, now_us: i64) -> Self {
        Self { batch: Batch { clock: Arc::new(Still(now_us)), ..self.batch.clone() }, ..self.clone() }
    }

    pub(crate) fn view(&self, name: &str) -> Arc<View> {
        Arc::clone(&self.batch.pipeline.views[name])
    }

    /// The same store behind a gate.
    pub(crate) fn behind(&self, gate: &Gate) -> Batch {
        self.over(Arc::new(Gated { inner: Arc::clone(&self.objects), gate: gate.clone() }))
    }

    /// The same store, which goes wrong as it is told.
    pub(crate) fn faulty(&self) -> (FaultyObjects, Batch) {
        let objects = FaultyObjects::over(Arc::clone(&self.objects));
        (objects.clone(), self.over(Arc::new(objects)))
    }

    fn over(&self, objects: Arc<dyn ObjectStore>) -> Batch {
        Batch { store: Store::over(objects, memory()), ..self.batch.clone() }
    }

    pub(crate) async fn dataset(&self, source: &str) -> Dataset {
        let source = &self.batch.pipeline.sources[source];
        let rules = &source.rules;
        let schema = Arc::clone(&rules.schema);
        Dataset::open(&self.batch.store, &self.batch.pipeline.name, &source.name, schema, &rules.event_time)
            .await
            .unwrap()
    }

    /// Commits `rows` to partition 0 of `departures`.
    pub(crate) async fn commit(&self, rows: &[Row]) -> Version {
        self.commit_to("departures", rows).await
    }

    pub(crate) async fn commit_to(&self, source: &str, rows: &[Row]) -> Version {
        let schema = &self.batch.pipeline.sources[source].rules.schema;
        let offset =
            self.dataset(source).await.snapshot().await.unwrap().positions.get(&Partition(0)).map_or(0, |p| p.0);
        self.append(source, events(schema, rows, offset)).await
    }

    /// Commits `events`, the next ones of partition 0, to `source`.
    pub(crate) async fn append(&self, source: &str, events: RecordBatch) -> Version {
        let dataset = self.dataset(source).await;
        let partition = Partition(0);
        let from = dataset.snapshot().await.unwrap().positions.get(&partition).copied().unwrap_or_default();
        let rows = events.num_rows() as u64;
        let covered = (OffsetRange::new(from, Position(from.0 + rows)), Counts { events: rows, ..Counts::default() });
        let append = Append { events: vec![events], partitions: BTreeMap::from([(partition, covered)]) };
        dataset.append(append).await.unwrap().version
    }

    pub(crate) async fn advance(&self) -> batch::Report {
        self.batch.advance(&Watch::default()).await.unwrap()
    }

    pub(crate) async fn recompute(&self) -> batch::Report {
        self.batch.recompute(&Watch::default()).await.unwrap()
    }

    pub(crate) async fn latest(&self) -> Option<Generation> {
        generation::latest(&self.batch.store).await.unwrap()
    }

    /// All objects below `generations`, with their bytes.
    pub(crate) async fn objects(&self) -> BTreeMap<String, Bytes> {
        let mut objects = BTreeMap::new();
        for path in self.batch.store.list(&Path::from("generations")).await.unwrap() {
            let bytes = self.batch.store.get(&path).await.unwrap().unwrap();
            objects.insert(path.to_string(), bytes);
        }
        objects
    }
}

/// Where a run is stopped: before or after one of its puts below `generations`.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    stop: Arc<Mutex<Stop>>,
    stopped: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

#[derive(Debug)]
struct Stop {
    puts: usize,
    at: At,
}

/// One moment of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Just before the put of this number, counted from 0.
    Before(usize),
    /// Just after the put of this number: done, but the run does not know.
    After(usize),
    /// Just before the put of the manifest.
    Manifest,
}

impl Gate {
    pub(crate) fn new(at: At) -> Self {
        let stop = Stop { puts: 0, at };
        Self { stop: Arc::new(Mutex::new(stop)), stopped: Arc::new(Semaphore::new(0)), go: Arc::new(Semaphore::new(0)) }
    }

    /// Waits until the run is stopped here.
    pub(crate) async fn stopped(&self) {
        self.stopped.acquire().await.unwrap().forget();
    }

    /// Lets the run go on, to its end.
    pub(crate) fn open(&self) {
        self.go.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// How many puts below `generations` the run has begun.
    pub(crate) fn puts(&self) -> usize {
        self.stop.lock().unwrap().puts
    }

    async fn pass(&self, is_here: bool) {
        if is_here {
            self.stopped.add_permits(1);
            self.go.acquire().await.unwrap().forget();
        }
    }

    /// Counts a put, and tells whether to stop before and after it.
    fn count(&self, location: &Path) -> (bool, bool) {
        if !location.as_ref().starts_with("generations/") {
            return (false, false);
        }
        let mut stop = self.stop.lock().unwrap();
        let put = stop.puts;
        stop.puts += 1;
        let is_manifest = location.as_ref().ends_with(".json");
        (stop.at == At::Before(put) || (stop.at == At::Manifest && is_manifest), stop.at == At::After(put))
    }
}

#[derive(Debug)]
struct Gated {
    inner: Arc<dyn ObjectStore>,
    gate: Gate,
}

impl fmt::Display for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gated({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Gated {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (before, after) = self.gate.count(location);
        self.gate.pass(before).await;
        let done = self.inner.put_opts(location, payload, options).await;
        self.gate.pass(after).await;
        done
    }

    async fn put_multipart_opts(&self, to: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        panic!("the batch layer deletes nothing (L8)")
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
