//! How fast records come out of a topic of a real broker, which shares the machine: 4 partitions, lz4, values of 180 bytes.
//!
//! Prints records a second, and how much of a core this process used meanwhile, librdkafka's threads included.

use std::time::Duration;

use bytes::Bytes;
use common::{
    log::{EventLog, LogEvent, NewRecord, kafka::Kafka},
    position::{Partition, Position},
    testing::kafka::Broker,
};

const RECORDS: u64 = 4_000_000;
const PARTITIONS: u32 = 4;
const VALUE_BYTES: usize = 180;
const ROUNDS: usize = 3;

fn main() {
    let Some(broker) = Broker::start(["--heap", "1g"]) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let kafka = Kafka::new(broker.settings()).expect("the settings are good");
        kafka.create_topic("bench", PARTITIONS, &[]).await.expect("the broker makes topics");
        let log = kafka.topic("bench", "bench").await.expect("the topic is there");
        fill(&log).await;
        for _ in 0..ROUNDS {
            let (took, used) = read(&log).await;
            let rate = RECORDS as f64 / took.as_secs_f64();
            println!("{rate:.0} records/s, {:.2} cores", used.as_secs_f64() / took.as_secs_f64());
        }
    });
}

/// Records like events: much of them alike, and a part that is not.
async fn fill(log: &impl EventLog) {
    let mut number = 0_u64;
    while number < RECORDS {
        let batch = (number..number + 50_000).map(|n| {
            let varying = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let text = format!(
                r#"{{"carrier":"UA","flight":{n},"tail_number":"N{varying}","departed_at":"2013-01-01T05:17:00Z","#
            );
            let value = format!("{text:<width$}}}", width = VALUE_BYTES - 1);
            NewRecord { value: Some(Bytes::from(value)), ..NewRecord::default() }
        });
        log.append(batch.collect(), None).await.expect("the broker takes records");
        number += 50_000;
    }
}

async fn read(log: &impl EventLog) -> (Duration, Duration) {
    let mut reader = log.subscribe().await.expect("the broker answers");
    let Ok(LogEvent::Assigned(partitions)) = reader.next().await else { panic!("nothing was assigned") };
    let (started, used) = (now(), cpu());
    for partition in partitions {
        reader.start(partition, Position(0)).await.expect("it is the log's start");
    }
    let mut read = 0;
    let mut newest: Vec<Option<Partition>> = Vec::new();
    while read < RECORDS {
        if let LogEvent::Records(run) = reader.next().await.expect("the broker answers") {
            read += run.records.len() as u64;
            newest.push(run.records.iter().last().map(|record| record.partition));
        }
    }
    let taken = (started.elapsed(), cpu().saturating_sub(used));
    reader.close().await;
    println!("{} runs", newest.len());
    taken
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The time that cores have worked for this process.
fn cpu() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills in what it is given, which is large enough.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let of = |time: libc::timeval| Duration::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64);
    of(usage.ru_utime) + of(usage.ru_stime)
}
