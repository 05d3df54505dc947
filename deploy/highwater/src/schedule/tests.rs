//! What comes when, by a clock that a test sets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, num::NonZeroUsize};

use batch::{
    Engine,
    maintain::load::{File, Loader},
};
use common::{
    generation,
    pipeline::Pipeline,
    store::Store,
    telemetry::Telemetry,
    testing::{clock::HandClock, store::FaultyObjects},
    verdict,
};
use serving::Follower;

use super::*;

const PIPELINE: &str = r#"
name = "night"
[store]
url = "file:unused"
[log]
directory = "unused"
[batch]
advance_every = "5m"
compact_from = 2
recompute = "30 2 * * *"
audit = "0 * * * *"
timezone = "Europe/Berlin"
[sources.departures]
partitions = 1
event_time = "departed_at"
[sources.departures.columns]
departed_at = "timestamp"
carrier = "string"
"#;

const VIEW: &str = "CREATE VIEW by_hour AS SELECT date_trunc('hour', departed_at) AS hour, carrier, count(*) AS n \
                    FROM departures GROUP BY hour, carrier;";

/// 2026-01-15T00:00:00Z, one o'clock in Berlin.
const MIDNIGHT_US: i64 = 1_768_435_200_000_000;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A schedule of five jobs that waits for its clock.
struct Night {
    schedule: Schedule,
    clock: HandClock,
    objects: FaultyObjects,
    tasks: JoinSet<anyhow::Result<()>>,
    folder: tempfile::TempDir,
    loads: u32,
}

impl Night {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("views")).unwrap();
        fs::write(folder.path().join("views/by_hour.sql"), VIEW).unwrap();
        let path = folder.path().join("pipeline.toml");
        fs::write(&path, PIPELINE).unwrap();
        // Views are typed by Polars, which must not run on a thread of the async runtime.
        let loaded = tokio::task::spawn_blocking(move || Pipeline::load(&path));
        let pipeline = Arc::new(loaded.await.unwrap().expect("the pipeline is valid"));
        let (clock, objects) = (HandClock::at(MIDNIGHT_US), FaultyObjects::in_memory());
        let store = Store::over(Arc::new(objects.clone()), "memory:///".parse().unwrap());
        let engine = Engine::new(NonZeroUsize::MIN).unwrap();
        let batch = Batch::new(store, Arc::clone(&pipeline), engine, Arc::new(clock.clone()));
        let served = Arc::new(Served::new(pipeline.views.clone()));
        let (timer, stop) = (Arc::new(clock.clone()), CancellationToken::new());
        let schedule = Schedule { batch, served, timer, stop };
        let mut tasks = JoinSet::new();
        schedule.clone().start(&mut tasks);
        clock.asleep(5).await;
        Self { schedule, clock, objects, tasks, folder, loads: 0 }
    }

    /// Has the tiers read, so that there is something to audit.
    async fn serve(&mut self) {
        let Schedule { batch, served, stop, .. } = self.schedule.clone();
        let follower = Follower {
            datasets: crate::house::datasets(&batch.pipeline, &batch.store).await.unwrap(),
            store: batch.store,
            cache: None,
            served: Arc::clone(&served),
            feed: None,
            clock: batch.clock,
            metrics: Telemetry::new().serving(),
            poll_interval: Duration::from_secs(1),
        };
        self.tasks.spawn(async move { Ok(follower.run(stop).await?) });
        served.wait_until(|_| true).await;
    }

    /// One more commit, of one event.
    async fn commit(&mut self) {
        let Batch { store, pipeline, .. } = &self.schedule.batch;
        let source = &pipeline.sources["departures"];
        let path = self.folder.path().join("history.ndjson");
        fs::write(&path, "{\"departed_at\":\"2026-01-14T08:00:00Z\",\"carrier\":\"UA\"}\n").unwrap();
        self.loads += 1;
        let (name, identity) = ("history.ndjson".to_owned(), self.loads.to_string());
        let loader = Loader {
            source: source.name.clone(),
            rules: source.rules.clone(),
            dataset: crate::house::dataset(pipeline, store, source).await.unwrap(),
            store: store.clone(),
            commit_bytes: 1 << 20,
        };
        let file = File { path, name, identity, timestamp_us: MIDNIGHT_US };
        assert_eq!(loader.load(&file, &|_| (), &CancellationToken::new()).await.unwrap().counts.events, 1);
    }

    /// Lets time pass, and waits until all turns that were due are over.
    async fn pass(&self, time: Duration) {
        self.clock.pass(time);
        self.clock.asleep(5).await;
    }

    /// How many turns each job has had: each takes the next lease of its name.
    async fn turns(&self) -> BTreeMap<String, u64> {
        let mut turns = BTreeMap::new();
        for path in self.schedule.batch.store.list(&"leases".into()).await.unwrap() {
            let parts: Vec<_> = path.parts().map(|part| part.as_ref().to_owned()).collect();
            if let Some(fence) = parts[2].strip_suffix(".json") {
                turns.insert(parts[1].clone(), fence.parse().unwrap());
            }
        }
        turns
    }

    async fn generation(&self) -> Option<u64> {
        generation::latest(&self.schedule.batch.store).await.unwrap().map(|newest| newest.number)
    }

    /// How many files the dataset has.
    async fn files(&self) -> usize {
        let Batch { store, pipeline, .. } = &self.schedule.batch;
        let dataset = crate::house::dataset(pipeline, store, &pipeline.sources["departures"]).await.unwrap();
        dataset.files(dataset.snapshot().await.unwrap().version).await.unwrap().len()
    }

    async fn stop(mut self) {
        self.schedule.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

fn turns<const N: usize>(of: [(&str, u64); N]) -> BTreeMap<String, u64> {
    of.map(|(job, turns)| (job.to_owned(), turns)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_has_its_turn_when_it_is_due_and_not_before() {
    let mut night = Night::start().await;
    night.commit().await;
    night.commit().await;
    night.serve().await;
    night.pass(5 * MINUTE - Duration::from_secs(1)).await;
    assert_eq!((night.turns().await, night.generation().await), (turns([]), None));
    night.pass(Duration::from_secs(1)).await;
    assert_eq!((night.turns().await, night.generation().await), (turns([("advance", 1)]), Some(1)));
    assert_eq!(night.files().await, 2);
    night.pass(5 * MINUTE).await;
    assert_eq!((night.turns().await, night.files().await), (turns([("advance", 2), ("compact", 1)]), 1));
    // A machine that slept has one turn of each, not all that it missed.
    night.pass(50 * MINUTE).await;
    assert_eq!(night.turns().await, turns([("advance", 3), ("compact", 2), ("audit", 1)]));
    let verdict = verdict::latest(&night.schedule.batch.store).await.unwrap().unwrap();
    assert!(verdict.equal && verdict.views["by_hour"].cells > 0, "{verdict:?}");
    // Half past two in Berlin is half past one by UTC.
    night.pass(30 * MINUTE - Duration::from_secs(1)).await;
    assert_eq!(night.turns().await.get("recompute"), None);
    night.pass(Duration::from_secs(1)).await;
    assert_eq!(night.turns().await.get("recompute"), Some(&1));
    for (hours, recomputes, cleans) in [(4_u32, 1, 0), (1, 1, 1), (18, 1, 2), (1, 2, 2), (6, 2, 3)] {
        night.pass(hours * HOUR).await;
        let now = night.turns().await;
        let of = |job| now.get(job).copied().unwrap_or(0);
        assert_eq!((of("recompute"), of("clean")), (recomputes, cleans), "{hours} hours later");
    }
    night.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_fails_is_tried_again_at_the_next_and_stops_no_other_job() {
    let mut night = Night::start().await;
    night.commit().await;
    // Nothing is served, so that every audit fails.
    for hour in 1..=3_u64 {
        night.pass(HOUR).await;
        let turns = night.turns().await;
        assert_eq!((turns["audit"], turns["advance"], turns["compact"]), (hour, hour, hour));
    }
    assert_eq!(night.generation().await, Some(1));
    assert!(verdict::latest(&night.schedule.batch.store).await.unwrap().is_none());
    // A store that takes nothing fails all of them, and the next turns are there all the same.
    night.commit().await;
    night.objects.refuse();
    night.pass(HOUR).await;
    night.objects.calm();
    assert_eq!(night.generation().await, Some(1));
    night.pass(5 * MINUTE).await;
    assert_eq!(night.generation().await, Some(2));
    night.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_another_process_is_at_is_left_to_it() {
    let mut night = Night::start().await;
    night.commit().await;
    night.commit().await;
    night.serve().await;
    let Batch { store, clock, .. } = night.schedule.batch.clone();
    let due = [("advance", 5 * MINUTE), ("compact", 10 * MINUTE), ("audit", HOUR), ("recompute", HOUR + 30 * MINUTE)];
    let mut now = Duration::ZERO;
    for (job, at) in due.into_iter().chain([("clean", 6 * HOUR)]) {
        let before = at - Duration::from_secs(1);
        night.pass(before - now).await;
        now = at;
        let held = Lease::take(&store, &clock, job, Owner::this_process()).await.unwrap();
        night.pass(Duration::from_secs(1)).await;
        assert_eq!(night.turns().await[job], held.fence(), "{job}");
        match job {
            "advance" => assert_eq!(night.generation().await, None),
            "compact" => assert_eq!(night.files().await, 2),
            "audit" => assert_eq!(verdict::latest(&store).await.unwrap(), None),
            _ => {}
        }
        held.give_back().await.unwrap();
    }
    // Two processes with the same schedule make one generation of what is there.
    night.commit().await;
    let (mut other, made) = (JoinSet::new(), night.generation().await.unwrap());
    night.schedule.clone().start(&mut other);
    night.clock.asleep(10).await;
    night.clock.pass(5 * MINUTE);
    night.clock.asleep(10).await;
    assert_eq!(night.generation().await, Some(made + 1));
    night.stop().await;
    other.join_all().await;
}
