//! Crashes of the real process: this test binary starts itself as a child that appends until it is killed.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use super::*;

/// Tells a child where its log is; without it [`child`] is an empty test.
const DIRECTORY: &str = "HIGHWATER_TEST_LOG";
/// Tells a child what to do.
const TASK: &str = "HIGHWATER_TEST_LOG_TASK";

const PRODUCERS: u64 = 4;
const PARTITIONS: u32 = 2;
const ROWS: u64 = 10;

/// What a child does. As a test of its own, nothing.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    match std::env::var(TASK).unwrap().as_str() {
        "append for ever" => runtime.block_on(append_for_ever(directory.as_ref())),
        "fill the disk" => runtime.block_on(fill_the_disk(directory.as_ref())),
        task => panic!("unknown task {task}"),
    }
}

/// Starts this binary again with `task`, through a shell that runs `prelude` first.
fn start(directory: &Path, task: &str, prelude: &str) -> (Child, BufReader<ChildStdout>) {
    let name = format!("{}::child", module_path!().split_once("::").unwrap().1);
    let mut child = Command::new("sh")
        .args(["-c", &format!("{prelude}exec \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads", "1"])
        .env(DIRECTORY, directory)
        .env(TASK, task)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

async fn append_for_ever(directory: &Path) {
    say("opening");
    let log = Arc::new(departures(directory, PARTITIONS).await);
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let name = producer.to_string();
                let mut row = log.next_row(&name).await.unwrap();
                loop {
                    let run = ProducerRun { producer: name.clone(), first_row: row };
                    log.append((row..row + ROWS).map(|row| numbered(producer, row)).collect(), Some(run))
                        .await
                        .unwrap();
                    row += ROWS;
                    say(&format!("acknowledged {producer} {row}"));
                }
            })
        })
        .collect();
    // They end only by a failure, which ends the child too.
    futures::future::try_join_all(producers).await.unwrap();
}

/// A record that says who sent it, padded so that tables and journals change while the child runs.
fn numbered(producer: u64, row: u64) -> NewRecord {
    let value = format!("{producer} {row} {:01$}", 0, 4000);
    NewRecord { value: Some(value.into()), ..NewRecord::default() }
}

/// What is known of the log from outside: what the children said, and what was read after them.
#[derive(Default)]
struct Seen {
    acknowledged: [u64; PRODUCERS as usize],
    read: [Vec<u64>; PRODUCERS as usize],
    positions: [u64; PARTITIONS as usize],
}

impl Seen {
    fn hear(&mut self, line: &str) -> bool {
        let Some(line) = line.strip_prefix("acknowledged ") else { return false };
        let (producer, row) = line.split_once(' ').unwrap();
        self.acknowledged[producer.parse::<usize>().unwrap()] = row.parse().unwrap();
        true
    }

    /// Reads on where the last round ended, then trims what was read, but for the odd partition every other time.
    async fn read_on(&mut self, directory: &Path, round: usize) {
        let log = departures(directory, PARTITIONS).await;
        let mut reader = log.subscribe().await.unwrap();
        reader.next().await.unwrap();
        for partition in (0..PARTITIONS).map(Partition) {
            let position = &mut self.positions[partition.0 as usize];
            let bounds = log.bounds(partition).await.unwrap();
            assert!(bounds.from.0 <= *position && *position <= bounds.to.0, "{bounds} lost {position}");
            reader.start(partition, Position(*position)).await.unwrap();
            while *position < bounds.to.0 {
                let LogEvent::Records(run) = reader.next().await.unwrap() else { panic!("records were due") };
                assert_eq!((run.partition, run.range.from.0), (partition, *position));
                *position = run.range.to.0;
                for record in run.records {
                    let value = String::from_utf8(record.value.unwrap().into()).unwrap();
                    let mut words = value.split(' ').map(|word| word.parse::<u64>().unwrap());
                    self.read[words.next().unwrap() as usize].push(words.next().unwrap());
                }
            }
            if partition.0 == 0 || round.is_multiple_of(2) {
                log.trim(partition, Position(*position)).await.unwrap();
            }
        }
        for (producer, rows) in self.read.iter().enumerate() {
            assert_eq!(log.next_row(&producer.to_string()).await.unwrap(), rows.len() as u64);
        }
    }

    /// Every row that was acknowledged is there; every row that is there is there once, none is missing before it, and no
    /// append is there by half.
    fn check(&mut self) {
        for (acknowledged, rows) in self.acknowledged.iter().zip(&mut self.read) {
            rows.sort_unstable();
            assert!(rows.iter().copied().eq(0..rows.len() as u64), "rows are missing or there twice");
            assert!(
                rows.len() as u64 >= *acknowledged,
                "{acknowledged} rows were acknowledged, {} are there",
                rows.len()
            );
            assert_eq!(rows.len() as u64 % ROWS, 0, "an append is there by half");
        }
    }
}

/// L2 and L7: a process that is killed with SIGKILL at any moment, also while it opens its log, loses no record it has
/// acknowledged, and those that its producers send again are there once.
#[tokio::test(flavor = "multi_thread")]
async fn l2_l7_acknowledged_records_survive_sigkill_once() {
    let directory = TempDir::new().unwrap();
    let mut seen = Seen::default();
    for round in 0..24_usize {
        // Some die as they open, most in the middle of appending.
        let lines = if round.is_multiple_of(6) { 0 } else { (round * 37) % 160 + 1 };
        let (mut child, output) = start(directory.path(), "append for ever", "");
        let mut heard = 0;
        let mut killed = false;
        for line in output.lines() {
            let line = line.unwrap();
            heard += usize::from(seen.hear(&line));
            if !killed && heard >= lines && (heard > 0 || line.ends_with("opening")) {
                child.kill().unwrap();
                killed = true;
            }
        }
        assert!(killed, "the child ended by itself in round {round}");
        child.wait().unwrap();
        seen.read_on(directory.path(), round).await;
        seen.check();
    }
    assert!(seen.acknowledged.iter().all(|rows| *rows > 0));
}

async fn fill_the_disk(directory: &Path) {
    let log = departures(directory, 1).await;
    let run = |first_row| Some(ProducerRun { producer: "p".to_owned(), first_row });
    log.append(records(2, 100), run(0)).await.unwrap();
    let failed = log.append(records(24, 4 << 20), run(2)).await;
    assert!(matches!(failed, Err(Error::Io { action: "append", .. })), "{failed:?}");
    assert_eq!(log.bounds(Partition(0)).await.unwrap().to, Position(2));
    assert_eq!(log.next_row("p").await.unwrap(), 2);
    // fjall does not know any more what the disk has: it takes nothing until it is opened again.
    let failed = log.append(records(1, 1), run(2)).await.unwrap_err();
    assert_eq!(std::error::Error::source(&failed).unwrap().to_string(), "FjallError: Poisoned");
    let mut reader = log.subscribe().await.unwrap();
    reader.next().await.unwrap();
    reader.start(Partition(0), Position(0)).await.unwrap();
    assert!(matches!(reader.next().await.unwrap(), LogEvent::Records(run) if run.records.len() == 2));
    say("failed as it should");
}

/// L2: an append that the disk has no room for fails whole, offsets do not move, and after a restart the log goes on.
#[tokio::test]
async fn l2_a_full_disk_fails_the_append_whole() {
    let directory = TempDir::new().unwrap();
    // No file may be larger than 80 MiB (in blocks of 512 bytes): enough for the journal to be made, not for the append.
    let limit = "trap '' XFSZ; ulimit -f 163840; ";
    let (mut child, output) = start(directory.path(), "fill the disk", limit);
    let lines: Vec<String> = output.lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with("failed as it should")), "{lines:?}");
    let log = departures(directory.path(), 1).await;
    assert_eq!(log.bounds(Partition(0)).await.unwrap().to, Position(2));
    let run = Some(ProducerRun { producer: "p".to_owned(), first_row: 2 });
    assert_eq!(log.append(records(24, 1000), run).await.unwrap().duplicates, 0);
    assert_eq!(log.bounds(Partition(0)).await.unwrap().to, Position(26));
}
