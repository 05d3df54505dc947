//! What the cache holds, and what becomes of files that are damaged, too many, or of an earlier process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, thread};

use bytesize::ByteSize;
use common::{position::Positions, store::Store, telemetry::Telemetry};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::*;
use crate::{
    Served,
    query::{Query, answer},
    testing::{HOUR_US, START_US, commit, events_before, fold, generation, positions, source, views, views_by_name},
    tiers::{Change, Chunk, Feed, Table, Tiers, coded, in_range},
};

const DAY_US: i64 = 24 * HOUR_US;

/// A store with a view's chunks, one a day, and a directory for a cache of them.
struct House {
    runtime: Runtime,
    store: Store,
    view: Arc<View>,
    chunks: Vec<generation::Chunk>,
    partials: Vec<RecordBatch>,
    directory: TempDir,
    telemetry: Telemetry,
}

impl House {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let store = Store::open(&Url::parse("memory:").unwrap()).unwrap();
        let view = views().remove(0);
        let (_, all) = fold(&events_before(&positions(&[(0, 4000), (1, 2000)]))).remove(0);
        let (mut chunks, mut partials) = (Vec::new(), Vec::new());
        for day in 0..4 {
            let (from_us, to_us) = (START_US + day * DAY_US, START_US + (day + 1) * DAY_US);
            let partial = in_range(&all, from_us, to_us);
            let chunk = generation::write_chunk(&store, &view, from_us, to_us, &partial);
            chunks.push(runtime.block_on(chunk).unwrap());
            partials.push(partial);
        }
        let (directory, telemetry) = (tempfile::tempdir().unwrap(), Telemetry::new());
        Self { runtime, store, view, chunks, partials, directory, telemetry }
    }

    fn cache(&self, bytes: u64) -> Result<Arc<Cache>, Error> {
        let _within = self.runtime.enter();
        Cache::open(self.directory.path(), ByteSize(bytes), &self.store, self.telemetry.serving())
    }

    fn cached(&self, cache: &Arc<Cache>) -> Vec<Arc<Cached>> {
        self.chunks.iter().map(|chunk| Cached::new(cache, &self.view, chunk)).collect()
    }

    /// What a chunk's rows have to be.
    fn rows(&self, at: usize) -> RecordBatch {
        coded(&self.view, &self.partials[at]).unwrap()
    }

    /// Tiers that show a generation of chunks with these tables.
    fn tiers(&self, tables: impl IntoIterator<Item = Table>) -> Arc<Tiers> {
        let first = positions(&[(0, 30), (1, 25)]);
        let mut loaded = generation(1, 1, &first, &["delays", "totals"]);
        let of_view = loaded.sources.get_mut(&source()).unwrap().iter_mut().find(|of| of.view == self.view.id).unwrap();
        let chunk = |(chunk, table): (&generation::Chunk, Table)| Chunk {
            path: chunk.path.clone(),
            from_us: chunk.from_us,
            to_us: chunk.to_us,
            table,
        };
        of_view.batch.chunks = self.chunks.iter().zip(tables).map(chunk).collect();
        let none = Change::Commit(source(), commit(1, &Positions::new(), &first));
        let empty = Tiers::new(&views_by_name().into_values().collect::<Vec<_>>(), Feed::Silent);
        Arc::new(empty.apply(none).unwrap().apply(Change::Generation(loaded)).unwrap())
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "arrow")).collect()
    }

    fn counted(&self, metric: &str) -> u64 {
        let text = self.telemetry.text();
        let line = text.lines().find(|line| line.starts_with(&format!("highwater_{metric}")));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

/// Questions that take all of a view's states: from roll-ups, and from all rows.
fn questions() -> Vec<Query> {
    let ask = |json: serde_json::Value| Query::from_json(json.to_string().as_bytes()).unwrap();
    let time = |hours: i64| crate::query::timestamp_text(START_US + hours * HOUR_US);
    vec![
        ask(serde_json::json!({"view": "delays", "dimensions": ["carrier"]})),
        ask(
            serde_json::json!({"view": "delays", "dimensions": ["carrier", "origin"], "grain": "hour", "from": time(5), "to": time(71)}),
        ),
        ask(
            serde_json::json!({"view": "delays", "where": "origin = 'JFK'", "grain": "day", "from": time(30), "to": time(31)}),
        ),
    ]
}

fn ask(tiers: &Arc<Tiers>, question: &Query) -> RecordBatch {
    answer(&Served::new(views_by_name()), tiers, question, &CancellationToken::new()).unwrap().rows
}

#[test]
fn l1_a_view_larger_than_its_cache_is_answered_as_from_memory() {
    let house = House::new();
    let cache = house.cache(1).unwrap();
    let held = house.tiers((0..4).map(|at| house.rows(at).into()));
    let mapped = house.tiers(house.cached(&cache).into_iter().map(Table::from));
    for _ in 0..3 {
        for question in questions() {
            assert_eq!(ask(&mapped, &question), ask(&held, &question), "{question:?}");
            assert_eq!(house.files().len(), 1, "one chunk is kept whatever the budget, and no more");
        }
    }
    assert!(house.counted("cache_evictions_total") >= 6);
    assert_eq!(house.counted("cache_bytes"), fs::metadata(&house.files()[0]).unwrap().len());
}

#[test]
fn eviction_takes_nothing_from_those_who_read() {
    let house = House::new();
    let cache = house.cache(1).unwrap();
    let chunks = house.cached(&cache);
    let first = chunks[0].rows().unwrap();
    thread::scope(|threads| {
        for thread in 0..4 {
            let (house, chunks) = (&house, &chunks);
            threads.spawn(move || {
                for turn in 0..24 {
                    let at = (turn * (thread + 1) + thread) % chunks.len();
                    assert_eq!(chunks[at].rows().unwrap(), house.rows(at));
                }
            });
        }
    });
    // Its file is long gone, the rows are not.
    assert_eq!(first, house.rows(0));
    assert_eq!(house.files().len(), 1);
}

#[test]
fn what_is_asked_for_least_goes_first() {
    let house = House::new();
    let chunks = house.cached(&house.cache(u64::MAX).unwrap());
    chunks.iter().for_each(|chunk| drop(chunk.rows().unwrap()));
    let bytes = house.counted("cache_bytes");
    drop(chunks);
    // Room for all but one: the first is asked for again before the last comes.
    let chunks = house.cached(&house.cache(bytes - 1).unwrap());
    for at in [0, 1, 2, 0, 3] {
        chunks[at].rows().unwrap();
    }
    assert_eq!(chunks.iter().map(|chunk| chunk.is_mapped()).collect::<Vec<_>>(), [true, false, true, true]);
}

#[test]
fn a_damaged_file_is_made_anew_and_never_answered_from() {
    let house = House::new();
    let whole = {
        let cache = house.cache(u64::MAX).unwrap();
        house.cached(&cache)[0].rows().unwrap();
        fs::read(&house.files()[0]).unwrap()
    };
    let path = house.files().remove(0);
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let mut damages: Vec<Vec<u8>> =
        [0, 1, 20, whole.len() / 2, whole.len() - 1].map(|to| whole[..to].to_vec()).to_vec();
    damages.extend([0, 9, whole.len() / 3, whole.len() - 40, whole.len() - 12, whole.len() - 1].map(flipped));
    damages.push([&whole[..], b"more"].concat());
    for (number, damaged) in damages.into_iter().enumerate() {
        fs::write(&path, damaged).unwrap();
        let cache = house.cache(u64::MAX).unwrap();
        assert_eq!(house.cached(&cache)[0].rows().unwrap(), house.rows(0), "damage {number}");
        assert_eq!(fs::read(&path).unwrap(), whole, "damage {number}");
    }
    assert_eq!(house.counted("cache_loads_total{from=\"disk\"}"), 0);
}

#[test]
fn files_outlive_the_process_and_are_of_one_at_a_time() {
    let house = House::new();
    let cache = house.cache(u64::MAX).unwrap();
    let chunks = house.cached(&cache);
    chunks[1].rows().unwrap();
    let error = house.cache(u64::MAX).unwrap_err().to_string();
    assert!(error.contains("serving.cache") && error.contains("another process"), "{error}");
    drop((cache, chunks));
    let unfinished = house.directory.path().join("half").with_extension(UNFINISHED);
    fs::write(&unfinished, b"half").unwrap();
    let cache = house.cache(u64::MAX).unwrap();
    assert!(!unfinished.exists());
    assert_eq!(house.cached(&cache)[1].rows().unwrap(), house.rows(1));
    assert_eq!(
        (house.counted("cache_loads_total{from=\"disk\"}"), house.counted("cache_loads_total{from=\"store\"}")),
        (1, 1)
    );
}

#[test]
fn rows_lie_where_they_are_mapped() {
    let house = House::new();
    let rows = house.cached(&house.cache(u64::MAX).unwrap())[0].rows().unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = |at: usize| {
        maps.lines().filter(|line| line.contains(&*house.directory.path().to_string_lossy())).any(|line| {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let address = |text| usize::from_str_radix(text, 16).unwrap();
            (address(from)..address(to)).contains(&at)
        })
    };
    for column in rows.columns() {
        for buffer in column.to_data().buffers() {
            assert!(buffer.is_empty() || mapped(buffer.as_ptr() as usize), "{} is copied", column.data_type());
        }
    }
}

#[test]
fn a_disk_that_takes_nothing_makes_answers_slow_and_not_wrong() {
    let house = House::new();
    let cache = house.cache(u64::MAX).unwrap();
    // A directory is in the way of the file.
    let chunk = house.cached(&cache).remove(0);
    fs::create_dir_all(house.directory.path().join(chunk.name()).with_extension("arrow").join("in the way")).unwrap();
    assert_eq!(chunk.rows().unwrap(), house.rows(0));
    assert!(!chunk.is_mapped());
    assert!(Path::exists(house.directory.path()));
}

/// Three chunks are asked for, the second of which cannot be had yet; `leave` is called when that is waited for. Says whether the third
/// was read.
fn goes_on_after(house: &House, ask: impl FnOnce(Arc<Tiers>) -> Box<dyn FnOnce()>) -> bool {
    let chunks = house.cached(&house.cache(u64::MAX).unwrap());
    let tiers = house.tiers(chunks.iter().map(|chunk| Table::from(Arc::clone(chunk))));
    let held = chunks[1].mapping.lock().unwrap();
    let leave = ask(Arc::clone(&tiers));
    while !chunks[0].is_mapped() {
        thread::yield_now();
    }
    leave();
    drop(held);
    // The query holds the tiers as long as it is under way.
    while Arc::strong_count(&tiers) > 1 {
        thread::yield_now();
    }
    chunks[2].is_mapped()
}

#[test]
fn a_query_under_way_stops_when_it_is_cancelled() {
    let house = House::new();
    let cancelled = CancellationToken::new();
    let (answered, answers) = std::sync::mpsc::channel();
    let read = goes_on_after(&house, |tiers| {
        let token = cancelled.clone();
        thread::spawn(move || {
            let served = Served::new(views_by_name());
            let answer = answer(&served, &tiers, &questions()[1], &token);
            drop(tiers);
            answered.send(matches!(answer, Err(crate::query::Error::Cancelled))).unwrap();
        });
        Box::new(move || cancelled.cancel())
    });
    assert_eq!((answers.recv().unwrap(), read), (true, false));
}

#[test]
fn a_query_under_way_stops_when_its_client_goes() {
    use tower::ServiceExt;
    let house = House::new();
    let read = goes_on_after(&house, |tiers| {
        let served = Arc::new(Served::new(views_by_name()));
        served.show(tiers);
        let router = crate::http::router(Arc::clone(&served), Telemetry::new());
        let request =
            axum::http::Request::get("/v1/views/delays?grain=hour&dimensions=carrier").body(axum::body::Body::empty());
        let asking = house.runtime.spawn(router.oneshot(request.unwrap()));
        let runtime = house.runtime.handle().clone();
        Box::new(move || {
            asking.abort();
            assert!(runtime.block_on(asking).unwrap_err().is_cancelled());
            // What is served next takes nothing from the query, whose tiers only it has then.
            served.show(Arc::new(Tiers::new(&views_by_name().into_values().collect::<Vec<_>>(), Feed::Silent)));
        })
    });
    assert!(!read);
}
