//! A view of a million rows asked over HTTP while events come in: `cargo bench -p serving --bench query`.
//!
//! The question groups by one of three dimensions over a random range of days of a month. The load generator runs beside the
//! server, on the same cores. One line of JSON at the end has the figures; latencies are from the moment a request was due, so
//! one that had to wait for another counts its wait.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench measures time, and fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use common::{
    clock::SystemClock,
    expression::Expression,
    feed::{self, Delta, Notice},
    generation::{self, Generation, Mark, ViewFiles},
    grain::Grain,
    measure::{Finish, Measure, StateFunction, StateSpec},
    names::{SourceName, ViewName},
    position::{OffsetRange, Partition, Position, Positions, Version},
    schema::ColumnType,
    store::Store,
    telemetry::Telemetry,
    view::{Dimension, View, ViewId},
};
use serving::{Follower, Served, http};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

const START_US: i64 = 1_359_676_800_000_000;
const HOUR_US: i64 = 3_600_000_000;
const DAYS: i64 = 28;
/// Values of the three dimensions: 28 days of 24 hours of so many groups are a little over a million rows.
const VALUES: [usize; 3] = [16, 10, 10];
const CONNECTIONS: u64 = 16;
/// Rows of a delta, ten of which come in a second: 50,000 events a second, in one group each at worst.
const DELTA_ROWS: usize = 5_000;

fn view() -> Arc<View> {
    let column = |name: &str| Expression::column(name, ColumnType::String);
    let states = vec![
        StateSpec::new(StateFunction::Count, None),
        StateSpec::new(StateFunction::Max, [Expression::column("delay", ColumnType::Int)]),
    ];
    let measures = vec![
        Measure::new("departures", Finish::State(0), &states),
        Measure::new("greatest_delay", Finish::State(1), &states),
    ];
    Arc::new(View {
        name: ViewName::new("delays").unwrap(),
        id: ViewId::new("00000000000000b1"),
        source: source(),
        sql: String::new(),
        filter: None,
        bucket_name: "hour".to_owned(),
        time_column: "at".to_owned(),
        grain: Grain::HOUR,
        dimensions: ["carrier", "origin", "dest"]
            .map(|name| Dimension { name: name.to_owned(), input: column(name) })
            .to_vec(),
        states,
        measures,
    })
}

fn source() -> SourceName {
    SourceName::new("departures").unwrap()
}

/// The canonical partial of one event in each of the groups of `hours`.
fn partial(view: &View, hours: impl Iterator<Item = i64>, groups: usize) -> RecordBatch {
    let (mut times, mut dimensions) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for hour in hours {
        for group in 0..groups {
            times.push(START_US + hour * HOUR_US);
            let places = [group / 100, group / 10 % 10, group % 10];
            for (dimension, place) in dimensions.iter_mut().zip(places) {
                dimension.push(format!("{:02}", place));
            }
        }
    }
    let rows = times.len();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))];
    columns.extend(dimensions.map(|values| Arc::new(StringArray::from(values)) as ArrayRef));
    columns.push(Arc::new(Int64Array::from(vec![1; rows])));
    columns.push(Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| row % 180))));
    RecordBatch::try_new(view.partial_schema(), columns).unwrap()
}

/// Publishes the next generation, in weeks.
async fn publish(store: &Store, view: &Arc<View>, number: u64) {
    let groups = VALUES.iter().product();
    let mut chunks = Vec::new();
    for week in 0..DAYS / 7 {
        let hours = week * 7 * 24..(week + 1) * 7 * 24;
        // The last week is another each time, as if late events had come.
        let hours = hours.filter(|hour| week < 3 || *hour as u64 % 97 != number);
        let (from, to) = (START_US + week * 7 * 24 * HOUR_US, START_US + (week + 1) * 7 * 24 * HOUR_US);
        chunks.push(generation::write_chunk(store, view, from, to, &partial(view, hours, groups)).await.unwrap());
    }
    let files =
        ViewFiles { id: view.id.clone(), source: source(), sql: String::new(), kept: Default::default(), chunks };
    let generation = Generation {
        format: generation::FORMAT,
        number,
        created_at_us: START_US,
        marks: [(source(), Mark { version: Version(0), positions: Positions::new() })].into(),
        views: [(view.name.clone(), files)].into(),
    };
    generation::publish(store, &generation).await.unwrap();
}

/// Deltas of new events, ten a second, until the end.
async fn ingest(feed: feed::Sender, view: Arc<View>, stop: CancellationToken) {
    let mut turns = tokio::time::interval(Duration::from_millis(100));
    let mut from = 0;
    while !stop.is_cancelled() {
        turns.tick().await;
        let rows = partial(&view, [DAYS * 24 - 1 + from as i64 / 500_000].into_iter(), 1600);
        let range = OffsetRange::new(Position(from), Position(from + DELTA_ROWS as u64));
        from += DELTA_ROWS as u64;
        let partials = vec![(view.id.clone(), rows)];
        let (oldest_us, as_of_us, partition) = (Some(START_US), Some(START_US), Partition(0));
        let delta = Delta { source: source(), partition, epoch: 1, range, oldest_us, as_of_us, partials };
        if feed.send(Notice::Delta(delta)).await.is_err() {
            return;
        }
    }
}

/// Asks over one connection, each time when it is due, and says how long each answer took, in microseconds.
async fn ask(address: std::net::SocketAddr, seed: u64, every: Duration, requests: u64) -> Vec<u64> {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.set_nodelay(true).unwrap();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut took = Vec::with_capacity(requests as usize);
    let (begin, mut answer) = (Instant::now(), vec![0; 64 << 10]);
    for turn in 0..requests {
        let due = begin + every * turn as u32;
        tokio::time::sleep_until(due.into()).await;
        let (a, b) = (next(DAYS as u64) + 1, next(DAYS as u64) + 1);
        let (from, to) = (a.min(b), a.max(b));
        let dimension = ["carrier", "origin", "dest"][next(3) as usize];
        let until = if to == 28 { "2013-03-01".to_owned() } else { format!("2013-02-{:02}", to + 1) };
        let request = format!(
            "GET /v1/views/delays?from=2013-02-{from:02}T00:00:00Z&to={until}T00:00:00Z&dimensions={dimension} HTTP/1.1\r\n\
             host: bench\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut length = 0;
        loop {
            length += connection.read(&mut answer[length..]).await.unwrap();
            if whole(&answer[..length]) {
                break;
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
        took.push(due.elapsed().as_micros() as u64);
    }
    took
}

/// Whether an answer has come whole.
fn whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    answer.len() == end + 4 + length.parse::<usize>().unwrap()
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::main]
async fn main() {
    let (rate, seconds) = (number("BENCH_RATE", 2_000), number("BENCH_SECONDS", 20));
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&url::Url::from_directory_path(directory.path()).unwrap()).unwrap();
    let view = view();
    publish(&store, &view, 1).await;
    let served = Arc::new(Served::new([(view.name.clone(), Arc::clone(&view))].into()));
    let (feed, receiver) = feed::channel();
    let (telemetry, stop) = (Telemetry::new(), CancellationToken::new());
    let follower = Follower {
        store: store.clone(),
        datasets: BTreeMap::new(),
        served: Arc::clone(&served),
        feed: Some(feed::Listener::Local(receiver)),
        clock: Arc::new(SystemClock),
        metrics: telemetry.serving(),
        poll_interval: Duration::from_secs(1),
    };
    let following = tokio::spawn(follower.run(stop.clone()));
    served.wait_until(|_| true).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(http::serve(
        listener,
        http::router(Arc::clone(&served), telemetry),
        http::Door::default(),
        stop.clone(),
    ));
    let feeding = tokio::spawn(ingest(feed, Arc::clone(&view), stop.clone()));

    let swaps = Arc::new(AtomicU64::new(0));
    let swapping = tokio::spawn({
        let (stop, swaps, view) = (stop.clone(), Arc::clone(&swaps), Arc::clone(&view));
        async move {
            let every = Duration::from_secs(number("BENCH_SWAP_SECONDS", 5));
            for generation in 2.. {
                tokio::select! {
                    () = tokio::time::sleep(every) => publish(&store, &view, generation).await,
                    () = stop.cancelled() => return,
                }
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let every = Duration::from_secs(CONNECTIONS) / u32::try_from(rate).unwrap();
    let warm = (0..CONNECTIONS).map(|seed| tokio::spawn(ask(address, seed, every, rate / CONNECTIONS)));
    futures::future::join_all(warm).await;
    let begin = Instant::now();
    let asking =
        (0..CONNECTIONS).map(|seed| tokio::spawn(ask(address, seed + 100, every, rate * seconds / CONNECTIONS)));
    let mut took: Vec<u64> = futures::future::join_all(asking).await.into_iter().flat_map(Result::unwrap).collect();
    let elapsed = begin.elapsed().as_secs_f64();
    stop.cancel();
    let _ = tokio::join!(following, serving, feeding, swapping);
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    println!(
        "{}",
        serde_json::json!({
            "bench": "query", "view_rows": DAYS as usize * 24 * VALUES.iter().product::<usize>(), "requests": took.len(),
            "requests_per_second": (took.len() as f64 / elapsed) as u64, "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99),
            "p999_us": at(0.999), "max_us": at(1.0), "swaps": swaps.load(Ordering::Relaxed),
        })
    );
}
