//! Workers and the broker killed, frozen, restarted and moved about under load: in the end there is exactly what the producer
//! was told is there, 0 lost, 0 doubled (L2, L3, L5 and L7 from the outside).
//!
//! A few rounds by default; `HIGHWATER_CRASH_ROUNDS` says how many. What is done in each round is repeated by its seed as far as
//! processes allow. Each worker's log is kept where the test fails, and a worker that ends by itself fails it at once.

use std::{
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use arrow::{array::AsArray, datatypes::Int64Type};
use bytes::Bytes;
use common::{
    dataset::Dataset,
    log::{
        EventLog, NewRecord, ProducerRun,
        kafka::{Kafka, Settings},
    },
    pipeline::Pipeline,
    store::Store,
    testing::kafka::Broker,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::runtime::Runtime;

use crate::{
    kafka::shop_on,
    process::{Server, highwater, send},
};

const TOPIC: &str = "orders.rounds";
const ROUNDS: u64 = Harm::ALL.len() as u64;
const WORKERS: usize = 2;

/// Orders of one append.
const APPEND: u64 = 500;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The dataset is looked at after pauses of this length: workers need the cores.
const PAUSE: Duration = Duration::from_millis(50);

/// A producer that appends orders 0, 1, 2, … without an end, each again until it is told that it is there.
struct Load {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(settings: Settings) -> Self {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (told, stopping) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let kafka = Kafka::new(settings).expect("the settings are good");
            Runtime::new().expect("a runtime starts").block_on(async {
                let log = kafka.topic(TOPIC, "producer").await.expect("the topic is there");
                while !stopping.load(Ordering::Relaxed) {
                    let first_row = told.load(Ordering::Relaxed);
                    let run = ProducerRun { producer: "shop".to_owned(), first_row };
                    let orders: Vec<NewRecord> = (first_row..first_row + APPEND).map(order).collect();
                    match log.append(orders, Some(run)).await {
                        Ok(_) => _ = told.fetch_add(APPEND, Ordering::Relaxed),
                        // It is told so until the broker is back.
                        Err(error) => println!("order {first_row} is not there yet: {error:?}"),
                    }
                }
            });
        });
        Self { acknowledged, stop, thread }
    }

    /// How many orders are there.
    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until more than `orders` are there.
    async fn exceed(&self, orders: u64) -> u64 {
        let exceeded = async {
            while self.acknowledged() <= orders {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, exceeded).await.expect("the broker takes no orders");
        self.acknowledged()
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the producer does not panic");
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// The number of an order is its price.
fn order(number: u64) -> NewRecord {
    let hour = number % 24;
    let value = format!(r#"{{"at":"2026-01-01T{hour:02}:06:00Z","customer":"c{}","cents":{number}}}"#, number % 7);
    NewRecord { value: Some(Bytes::from(value)), ..NewRecord::default() }
}

/// The dataset as the workers make it.
struct Books {
    dataset: Dataset,
}

impl Books {
    async fn open(pipeline: &Path) -> Self {
        let pipeline = pipeline.to_owned();
        // Polars types views, and will not do so on a thread that runs async tasks.
        let loaded = tokio::task::spawn_blocking(move || Pipeline::load(&pipeline)).await.expect("it does not panic");
        let pipeline = loaded.expect("the pipeline is valid");
        let (store, source) = (Store::open(&pipeline.store).expect("a folder"), &pipeline.sources["orders"]);
        let rules = &source.rules;
        let dataset =
            Dataset::open(&store, &pipeline.name, &source.name, Arc::clone(&rules.schema), &rules.event_time).await;
        Self { dataset: dataset.expect("the dataset opens") }
    }

    /// Waits until at least so many orders are committed, and says how many are. `workers` must not end meanwhile.
    async fn reach(&self, orders: u64, workers: &mut [Worker]) -> u64 {
        let reached = async {
            loop {
                let committed = self.dataset.snapshot().await.expect("the store is there").totals.records();
                if committed >= orders {
                    return committed;
                }
                workers.iter_mut().for_each(Worker::check);
                tokio::time::sleep(PAUSE).await;
            }
        };
        if let Ok(committed) = tokio::time::timeout(PATIENCE, reached).await {
            return committed;
        }
        let snapshot = self.dataset.snapshot().await.expect("the store is there");
        panic!("the workers do not come as far as {orders} orders: {snapshot:?}");
    }

    /// The prices of all orders, ascending.
    async fn prices(&self) -> Vec<i64> {
        let head = self.dataset.snapshot().await.expect("the store is there").version;
        let mut prices = Vec::new();
        for file in self.dataset.files(head).await.expect("the store is there") {
            for batch in self.dataset.read(&file, &["cents".to_owned()]).await.expect("the file is there") {
                let cents = batch.column_by_name("cents").expect("it was asked for").as_primitive::<Int64Type>();
                prices.extend_from_slice(cents.values());
            }
        }
        prices.sort_unstable();
        prices
    }
}

/// A worker, and which one it was.
struct Worker {
    number: u32,
    child: Child,
}

impl Worker {
    /// A worker ends only when it is told to.
    fn check(&mut self) {
        if let Some(status) = self.child.try_wait().expect("it can be asked") {
            panic!("worker {} has ended by itself: {status}", self.number);
        }
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("the child is waited for once");
    }
}

/// Workers, and the broker they read from.
struct Field {
    broker: Option<Broker>,
    data: PathBuf,
    settings: Settings,
    pipeline: PathBuf,
    workers: Vec<Worker>,
    /// How many workers were started.
    started: u32,
    partitions: u32,
}

impl Field {
    fn start_worker(&mut self) {
        self.started += 1;
        let log = std::fs::File::create(self.pipeline.with_file_name(format!("worker-{}.log", self.started)));
        let child = highwater(["speed", "--pipeline"])
            .arg(&self.pipeline)
            .env("HIGHWATER_LOG", "info,highwater=debug,common=debug,speed=debug,librdkafka=info")
            .stderr(Stdio::from(log.expect("the folder is writable")))
            .spawn();
        self.workers.push(Worker { number: self.started, child: child.expect("the program starts") });
    }

    /// One round of harm; `books` and `load` say when it has passed.
    fn harm(&mut self, what: Harm, worker: usize, runtime: &Runtime, books: &Books, load: &Load) {
        match what {
            Harm::Kill => {
                self.workers.swap_remove(worker).kill();
                if self.workers.len() < WORKERS {
                    self.start_worker();
                }
            }
            Harm::Freeze => {
                send(&self.workers[worker].child, "STOP");
                runtime.block_on(books.reach(load.acknowledged(), &mut self.workers));
                send(&self.workers[worker].child, "CONT");
            }
            Harm::Stop => {
                let mut stopped = self.workers.swap_remove(worker);
                send(&stopped.child, "TERM");
                assert!(stopped.child.wait().expect("it is waited for once").success(), "a worker did not stop well");
                self.start_worker();
            }
            Harm::Join => self.start_worker(),
            Harm::Broker => {
                self.broker = None;
                self.broker = Broker::start(["--data", self.data.to_str().expect("a path of this test")]);
            }
            Harm::Grow => {
                self.partitions += 1;
                let kafka = Kafka::new(self.settings.clone()).expect("the settings are good");
                runtime.block_on(kafka.grow_topic(TOPIC, self.partitions)).expect("the broker adds partitions");
            }
        }
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // Ended already, or the test has failed and the worker must not outlive it.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    Kill,
    Freeze,
    Stop,
    Join,
    Broker,
    Grow,
}

impl Harm {
    const ALL: [Self; 6] = [Self::Kill, Self::Freeze, Self::Broker, Self::Stop, Self::Join, Self::Grow];
}

fn from_environment<T: std::str::FromStr>(name: &str, otherwise: impl FnOnce() -> T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or_else(otherwise)
}

#[test]
fn l2_l3_l5_l7_nothing_is_lost_or_doubled_through_kills_freezes_restarts_and_rebalances() {
    let seed: u64 = from_environment("HIGHWATER_TEST_SEED", rand::random);
    let rounds: u64 = from_environment("HIGHWATER_CRASH_ROUNDS", || ROUNDS);
    println!("seed {seed} (HIGHWATER_TEST_SEED repeats it), {rounds} rounds");
    let mut random = StdRng::seed_from_u64(seed);

    let data = tempfile::tempdir().expect("a temporary folder");
    let Some(broker) = Broker::start(["--data", data.path().to_str().expect("a path of this test")]) else { return };
    let mut folder = shop_on(&broker, TOPIC, 3);
    // Removed when all went well.
    folder.disable_cleanup(true);
    println!("logs of workers are in {}", folder.path().display());
    let (settings, pipeline) = (broker.settings(), folder.path().join("pipeline.toml"));
    let runtime = Runtime::new().expect("a runtime starts");
    let books = runtime.block_on(Books::open(&pipeline));
    let load = Load::start(settings.clone());
    let mut field = Field {
        broker: Some(broker),
        data: data.path().to_owned(),
        settings,
        pipeline,
        workers: Vec::new(),
        started: 0,
        partitions: 3,
    };
    (0..WORKERS).for_each(|_| field.start_worker());
    runtime.block_on(books.reach(1, &mut field.workers));

    for round in 0..rounds {
        // The short form sees each harm in turn, from a random one on.
        let harm = Harm::ALL[(seed.wrapping_add(round) % Harm::ALL.len() as u64) as usize];
        let harm = if rounds > ROUNDS { Harm::ALL[random.random_range(0..Harm::ALL.len())] } else { harm };
        // A third worker is enough.
        let harm = if matches!(harm, Harm::Join) && field.workers.len() > WORKERS { Harm::Kill } else { harm };
        let worker = random.random_range(0..field.workers.len());
        let before = load.acknowledged();
        field.harm(harm, worker, &runtime, &books, &load);
        let due = runtime.block_on(load.exceed(before + APPEND));
        let committed = runtime.block_on(books.reach(due, &mut field.workers));
        println!("round {round}: {harm:?} of worker {worker}, {committed} of {due} committed");
    }

    let acknowledged = load.stop();
    assert_eq!(runtime.block_on(books.reach(acknowledged, &mut field.workers)), acknowledged, "L7: seed {seed}");
    let prices = runtime.block_on(books.prices());
    assert!(prices.iter().copied().eq(0..i64::try_from(acknowledged).expect("few")), "lost or doubled, seed {seed}");
    field.workers.drain(..).for_each(Worker::kill);

    let server = Server::start("run", folder.path());
    // It answers when it has read all commits.
    let arguments = ["query", "sales", "--format", "json", "--measures", "orders", "--url", &server.url()];
    let answer = loop {
        let output = highwater(arguments).current_dir(folder.path()).output().expect("the program starts");
        if output.status.success() {
            break serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("the answer is JSON");
        }
    };
    let rows = answer["rows"].as_array().expect("rows are an array");
    let orders: u64 = rows.iter().map(|row| row[0].as_u64().expect("a count")).sum();
    assert_eq!(orders, acknowledged, "seed {seed}: {answer:#}");
    server.stop("TERM");
    folder.disable_cleanup(false);
}
