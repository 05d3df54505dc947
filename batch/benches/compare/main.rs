//! What `run`, beside this file, times of Highwater. Alone it is `cargo bench -p batch --bench compare -- COMMAND PIPELINE …`:
//!
//! - `load PIPELINE FOLDER [SEED]` commits the Parquet files in `FOLDER`, one commit each; with a seed, their batches in random
//!   order and in commits that are cut at random.
//! - `recompute PIPELINE` computes and publishes a generation.
//! - `show PIPELINE` reads it: files, groups and the sums of each measure and of its magnitude, as a line of JSON.
//! - `decode PIPELINE` decodes the columns that the views read, and does nothing with them.
//!
//! `PIPELINE` is a pipeline file of one source. Two threads do the work.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking and is not documented")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, BinaryArray, Float64Array, Int32Array, Int64Array, StringArray},
    compute::{cast, sum},
    datatypes::{DataType, Float64Type},
    record_batch::RecordBatch,
};
use batch::{Batch, Engine, Watch};
use common::{
    clock::SystemClock,
    dataset::{self, Append, Dataset},
    event::Counts,
    fold::Fold,
    generation,
    pipeline::{Pipeline, Source},
    position::{OffsetRange, Partition, Position},
    store::Store,
};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const THREADS: usize = 2;
const BATCH_ROWS: usize = 65_536;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["load", pipeline, folder] => load(&Run::open(pipeline).await, Path::new(folder), None).await,
        ["load", pipeline, folder, seed] => {
            load(&Run::open(pipeline).await, Path::new(folder), Some(seed.parse().unwrap())).await;
        }
        ["recompute", pipeline] => recompute(&Run::open(pipeline).await).await,
        ["show", pipeline] => show(&Run::open(pipeline).await).await,
        ["decode", pipeline] => decode(&Run::open(pipeline).await).await,
        _ => println!("compare: run batch/benches/compare/run, which calls this program"),
    }
}

/// A pipeline of one source, and its dataset.
struct Run {
    pipeline: Arc<Pipeline>,
    source: Source,
    store: Store,
    dataset: Dataset,
}

impl Run {
    async fn open(path: &str) -> Self {
        let pipeline = Pipeline::load(Path::new(path)).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let source = pipeline.sources.values().next().unwrap().clone();
        let store = Store::open(&pipeline.store).unwrap();
        let schema = Arc::clone(&source.rules.schema);
        let dataset =
            Dataset::open(&store, &pipeline.name, &source.name, schema, &source.rules.event_time).await.unwrap();
        Self { pipeline: Arc::new(pipeline), source, store, dataset }
    }
}

async fn load(run: &Run, folder: &Path, seed: Option<u64>) {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut position = 0;
    match seed {
        None => {
            for file in files {
                commit(run, read(&file), &mut position).await;
            }
        }
        Some(seed) => {
            let mut random = StdRng::seed_from_u64(seed);
            let mut batches: Vec<RecordBatch> = files.iter().flat_map(|file| read(file)).collect();
            batches.shuffle(&mut random);
            let largest = (2 * batches.len()).div_ceil(files.len());
            while !batches.is_empty() {
                let left = batches.len() - random.random_range(1..=largest).min(batches.len());
                commit(run, batches.split_off(left), &mut position).await;
            }
        }
    }
    println!("{position} events");
}

fn read(file: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    reader.with_batch_size(BATCH_ROWS).build().unwrap().map(Result::unwrap).collect()
}

/// Commits `rows` as the next events of partition 0.
async fn commit(run: &Run, rows: Vec<RecordBatch>, position: &mut u64) {
    let from = *position;
    let events = rows.iter().map(|batch| event_batch(&run.source, batch, position)).collect();
    let counts = Counts { events: *position - from, ..Counts::default() };
    let range = OffsetRange::new(Position(from), Position(*position));
    let partitions = BTreeMap::from([(Partition(0), (range, counts))]);
    run.dataset.append(Append { events, partitions }).await.unwrap();
}

/// `rows` with the columns that every event has.
fn event_batch(source: &Source, rows: &RecordBatch, position: &mut u64) -> RecordBatch {
    let count = rows.num_rows();
    let offsets = Int64Array::from_iter_values((*position as i64..).take(count));
    *position += count as u64;
    let own = source.rules.schema.columns().iter().map(|column| {
        let there = rows.column_by_name(&column.name).unwrap_or_else(|| panic!("no column {}", column.name));
        cast(there, &column.column_type.arrow()).unwrap()
    });
    let system: [ArrayRef; 5] = [
        Arc::new(StringArray::from_iter_values((0..count).map(|_| source.name.as_str()))),
        Arc::new(Int32Array::from(vec![0; count])),
        Arc::new(offsets),
        Arc::clone(rows.column_by_name(&source.rules.event_time).unwrap()),
        Arc::new(BinaryArray::from(vec![None; count])),
    ];
    RecordBatch::try_new(source.rules.schema.event_schema(), own.chain(system).collect()).unwrap()
}

async fn recompute(run: &Run) {
    let engine = Engine::new(NonZeroUsize::new(THREADS).unwrap()).unwrap();
    let batch = Batch::new(run.store.clone(), Arc::clone(&run.pipeline), engine, Arc::new(SystemClock));
    let report = batch.recompute(&Watch::default()).await.unwrap();
    println!("{}", serde_json::to_string(&report).unwrap());
}

async fn show(run: &Run) {
    let generation = generation::latest(&run.store).await.unwrap().unwrap();
    let mut views = serde_json::Map::new();
    for (name, files) in &generation.views {
        let view = &run.pipeline.views[name];
        let mut sums: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
        let mut add = |name, [sum, magnitude]: [f64; 2]| {
            let sums = sums.entry(name).or_default();
            *sums = [sums[0] + sum, sums[1] + magnitude];
        };
        for chunk in &files.chunks {
            let partial = generation::read_chunk(&run.store, view, chunk).await.unwrap();
            add("groups", [partial.num_rows() as f64; 2]);
            for measure in &view.measures {
                let finished = measure.finish(&view.states, &partial.columns()[1 + view.dimensions.len()..]).unwrap();
                let values = cast(&finished.values, &DataType::Float64).unwrap();
                let values = values.as_primitive::<Float64Type>();
                let total = |values: &Float64Array| sum(values).unwrap_or(0.0);
                add(&measure.name, [total(values), total(&values.unary(f64::abs))]);
            }
        }
        let files: Vec<&str> = files.chunks.iter().map(|chunk| chunk.path.as_ref()).collect();
        views.insert(name.to_string(), json!({"sums": sums, "files": files}));
    }
    println!("{}", serde_json::Value::Object(views));
}

async fn decode(run: &Run) {
    let views: Vec<_> = run.pipeline.views.values().cloned().collect();
    let columns = Fold::new(&views).columns();
    let head = run.dataset.snapshot().await.unwrap().version;
    let files = run.dataset.files(head).await.unwrap();
    let rows: usize = stream::iter(files)
        .map(|file| {
            let columns = &columns;
            async move {
                let mut events = run.dataset.events(&file, columns).await?;
                let mut rows = 0;
                while let Some(group) = events.next().await? {
                    let count = || group.map(|batch| batch.map(|batch| batch.num_rows())).sum::<Result<usize, _>>();
                    rows += tokio::task::spawn_blocking(count).await.unwrap()?;
                }
                Ok::<_, dataset::Error>(rows)
            }
        })
        .buffer_unordered(THREADS)
        .try_fold(0, |sum, rows| async move { Ok(sum + rows) })
        .await
        .unwrap();
    println!("{rows} rows");
}
