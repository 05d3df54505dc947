//! Brokers that come and go under a reader and a writer.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
};

use super::lab::{Lab, Reader, new, texts};
use crate::{
    log::{Error, EventLog, LogEvent, ProducerRun, kafka::Settings},
    position::Position,
    testing::kafka::Broker,
};

/// Two brokers, in folders that they are started from again.
struct Cluster {
    folder: tempfile::TempDir,
    /// The controller is on the first.
    first: Option<Broker>,
    second: Option<Broker>,
}

impl Cluster {
    fn start() -> Option<Self> {
        let mut cluster = Self { folder: tempfile::tempdir().unwrap(), first: None, second: None };
        cluster.start_first()?;
        cluster.start_second();
        Some(cluster)
    }

    fn start_first(&mut self) -> Option<()> {
        let data = self.folder.path().join("1");
        self.first = Some(Broker::start(["--data", data.to_str().unwrap(), "--replication", "2"])?);
        Some(())
    }

    fn start_second(&mut self) {
        let data = self.folder.path().join("2");
        let controller = self.first.as_ref().unwrap().controller();
        let options =
            ["--data", data.to_str().unwrap(), "--replication", "2", "--node", "2", "--controller", controller];
        self.second = Broker::start(options);
    }
}

/// A topic that was read to its end before the disk of the first broker had it.
struct Unlucky {
    _lab: Lab,
    reader: Reader,
    file: PathBuf,
    kept_bytes: u64,
}

impl Unlucky {
    async fn new(cluster: &Cluster, settings: Settings) -> Self {
        let lab = Lab::on(settings, "unlucky", 1, &[]).await;
        let file = cluster.folder.path().join(format!("1/log/{}-0/00000000000000000000.log", lab.topic));
        lab.append(&["kept"]).await;
        let kept_bytes = fs::metadata(&file).unwrap().len();
        lab.append(&["lost"]).await;
        let mut reader = lab.reader().await;
        reader.up_to(4).await;
        Self { _lab: lab, reader, file, kept_bytes }
    }

    /// The broker is down, as after its machine has failed.
    fn lose(&self) {
        OpenOptions::new().write(true).open(&self.file).unwrap().set_len(self.kept_bytes).unwrap();
    }

    /// What the reader says of it.
    async fn told(mut self) -> Error {
        loop {
            match self.reader.next().await {
                Ok(LogEvent::Records(run)) => panic!("{run:?}"),
                // A coordinator that was away may have the group join anew.
                Ok(LogEvent::Assigned(_) | LogEvent::Revoked(_)) => {}
                Err(error) => return error,
            }
        }
    }
}

/// Numbers that are appended, each once, however the brokers are.
struct Counter {
    lab: Lab,
    next: u64,
}

impl Counter {
    /// Appends ten numbers; sends them again until they are there.
    async fn append(&mut self) {
        let run = ProducerRun { producer: "counter".to_owned(), first_row: self.next };
        let records: Vec<_> = (self.next..self.next + 10).map(|number| new(&number.to_string())).collect();
        while self.lab.log.append(records.clone(), Some(run.clone())).await.is_err() {}
        self.next += 10;
    }

    /// Reads all that was appended and not read yet.
    async fn read(&self, reader: &mut Reader, read: &mut Vec<String>) {
        while (read.len() as u64) < self.next {
            match reader.next().await.unwrap() {
                LogEvent::Records(run) => read.extend(texts(&run.records.to_records()).into_iter().map(str::to_owned)),
                // A coordinator that was away may have the group join anew.
                LogEvent::Assigned(partitions) => {
                    for partition in partitions {
                        let position = reader.at.get(&partition).copied().unwrap_or(Position(0));
                        reader.start(partition, position.0).await;
                    }
                }
                LogEvent::Revoked(_) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_leaders_change_and_all_brokers_go_and_nothing_is_doubled_or_lost_in_silence() {
    let Some(mut cluster) = Cluster::start() else { return };
    let settings = cluster.first.as_ref().unwrap().settings();
    let both = format!("{},{}", settings.brokers(), cluster.second.as_ref().unwrap().address());
    let settings = settings.at(&both);
    let lab = Lab::on(settings.clone(), "failover", 4, &[]).await;
    let mut reader = lab.reader().await;
    let mut counter = Counter { lab, next: 0 };
    let unlucky = Unlucky::new(&cluster, settings).await;
    let mut read = Vec::new();
    counter.append().await;
    counter.read(&mut reader, &mut read).await;

    // The partitions that the second one leads move to the first.
    cluster.second = None;
    counter.append().await;
    counter.read(&mut reader, &mut read).await;

    // Nobody is there, and then everybody again.
    cluster.first = None;
    unlucky.lose();
    cluster.start_first();
    cluster.start_second();
    counter.append().await;
    counter.read(&mut reader, &mut read).await;

    let mut numbers: Vec<u64> = read.iter().map(|number| number.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    let told = unlucky.told().await;
    assert!(matches!(told, Error::Truncated { position: Position(4), .. }), "{told:?}");
}
