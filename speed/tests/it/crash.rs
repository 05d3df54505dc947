//! Crashes at random moments, in a log and a store that fail at random: in the end each record is there exactly once.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use common::testing::store::Random;
use tokio_util::sync::CancellationToken;

use crate::world::{
    Kind::{self, *},
    NEVER, PARTITIONS, World, end_of, in_time,
};

const SEEDS: u64 = 16;
const LIVES_MAX: u64 = 8;

/// A future that is dropped after some polls, at whatever await point it is then.
struct Mortal<F> {
    inner: F,
    polls_left: u64,
}

impl<F: Future + Unpin> Future for Mortal<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == 0 {
            return Poll::Ready(None);
        }
        self.polls_left -= 1;
        Pin::new(&mut self.inner).poll(context).map(Some)
    }
}

/// What happened to the workers: a test of crashes in which nothing crashed would prove nothing.
#[derive(Debug, Default)]
struct Tally {
    killed: u64,
    gave_up: u64,
    caught_up: u64,
    fences: u64,
    commits: u64,
    faults: u64,
}

#[tokio::test]
async fn l2_l3_l5_each_record_exactly_once_whatever_crashes() {
    let mut tally = Tally::default();
    for seed in 0..SEEDS {
        lives(seed, &mut tally).await;
    }
    eprintln!("{tally:?}");
    let Tally { killed, gave_up, caught_up, fences, commits, faults } = tally;
    assert!([killed, gave_up, caught_up, fences, commits, faults].iter().all(|happened| *happened > 0));
}

async fn lives(seed: u64, tally: &mut Tally) {
    let mut random = Random::new(seed);
    let mut world = World::new();
    for life in 0..1 + random.below(LIVES_MAX) {
        eprintln!("seed {seed}, life {life}");
        in_time(live(&mut world, &mut random, seed * 1_000 + life, tally)).await;
        world.objects.calm();
        world.check().await;
    }
    let last = world.run().await;
    world.ends_well(last).await;
    tally.faults += world.objects.injected();
}

/// One worker, sometimes with a zombie beside it, from its start until it is killed or gives up on the store.
async fn live(world: &mut World, random: &mut Random, seed: u64, tally: &mut Tally) {
    let interval = [Duration::ZERO, Duration::from_millis(2), NEVER][random.below(3) as usize];
    let settings = world.settings(interval, 1 + random.below(6_000));
    let (worker, handle, mut listener) = world.worker(settings.clone()).await;
    let zombie = if random.below(3) == 0 { Some(world.run_with(settings).await) } else { None };
    world.log.fail_read(random.below(6));
    world.log.fail_trim(random.below(4));
    world.objects.fail_randomly(seed, [0, 50, 300, 950][random.below(4) as usize]);

    let mut puts_left = 1 + random.below(5);
    let mortal = Mortal { inner: Box::pin(worker.run(CancellationToken::new())), polls_left: 1 + random.below(60) };
    let log = world.log.clone();
    let idle = async {
        // Polled only once nothing more is put in: what is there then is the end.
        handle.flush_to(&end_of(&log).await).await
    };
    let (mut mortal, mut idle) = (pin!(mortal), pin!(idle));
    loop {
        tokio::select! {
            died = &mut mortal => {
                match died {
                    Some(outcome) => {
                        eprintln!("gave up: {}", outcome.unwrap_err());
                        tally.gave_up += 1;
                    }
                    None => tally.killed += 1,
                }
                break;
            }
            () = tokio::task::yield_now(), if puts_left > 0 => {
                puts_left -= 1;
                put_some(world, random).await;
            }
            () = listener.until(|_| true) => {}
            Ok(_) = &mut idle, if puts_left == 0 => {
                tally.caught_up += 1;
                break;
            }
        }
    }
    let stats = handle.stats();
    tally.fences += stats.fences;
    tally.commits += stats.commits;
    if let Some(zombie) = zombie {
        zombie.task.abort();
        // It may have given up before; either way it is gone.
        let _ = zombie.task.await;
    }
}

async fn put_some(world: &mut World, random: &mut Random) {
    let kinds: Vec<Kind> = (0..1 + random.below(9))
        .map(|_| [Event, Event, Event, DeadLetter, Tombstone][random.below(5) as usize])
        .collect();
    world.put(random.below(u64::from(PARTITIONS)) as u32, &kinds).await;
}
