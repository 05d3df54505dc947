//! The embedded log: appends answered after their fsync, by how many records an append has, alone and with others at once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::log::{
    EventLog, NewRecord,
    embedded::{EmbeddedLog, EmbeddedLogs},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The size of a flight in JSON.
const VALUE_BYTES: usize = 240;

async fn open(directory: &TempDir) -> Arc<EmbeddedLog> {
    let logs = EmbeddedLogs::open(directory.path()).await.expect("the directory is new");
    Arc::new(logs.topic("departures", 4).await.expect("the topic is new"))
}

async fn trim(log: &EmbeddedLog) {
    for partition in log.partitions().await.expect("the log is open") {
        let bounds = log.bounds(partition).await.expect("it is one of the log's");
        log.trim(partition, bounds.to).await.expect("the log is open");
    }
}

/// `appenders` at once append `records` each, `rounds` times.
async fn append(log: &Arc<EmbeddedLog>, appenders: usize, records: &[NewRecord], rounds: u64) {
    let tasks: Vec<_> = (0..appenders)
        .map(|_| {
            let (log, records) = (Arc::clone(log), records.to_vec());
            tokio::spawn(async move {
                for _ in 0..rounds {
                    log.append(records.clone(), None).await.expect("the disk has room");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("an appender does not panic");
    }
}

fn appends(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let mut group = criterion.benchmark_group("log append");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    for (records, appenders) in [(1, 1), (1, 64), (100, 1), (100, 16), (10_000, 1), (10_000, 4)] {
        let record = NewRecord { value: Some(Bytes::from(vec![b'x'; VALUE_BYTES])), ..NewRecord::default() };
        let batch = vec![record; records];
        let directory = TempDir::new().expect("there is room for files");
        let log = runtime.block_on(open(&directory));
        let elements = (records * appenders) as u64;
        group.throughput(Throughput::ElementsAndBytes { elements, bytes: elements * VALUE_BYTES as u64 });
        group.bench_function(BenchmarkId::new(format!("{appenders} at once"), records), |bencher| {
            bencher.iter_custom(|rounds| {
                runtime.block_on(async {
                    let took = timed(append(&log, appenders, &batch, rounds)).await;
                    trim(&log).await;
                    took
                })
            });
        });
    }
    group.finish();
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = std::time::Instant::now();
    work.await;
    start.elapsed()
}

criterion_group!(benches, appends);
criterion_main!(benches);
