//! The lane of one assigned partition: its tail, and the jobs that wait for it while a core is at work on it.
//!
//! A lane keeps the order of one partition; different lanes are worked on at the same time.

use std::mem;

use common::{
    limits::{LOG_RUN_BYTES_MAX, LOG_RUN_RECORDS_MAX},
    log::Records,
    position::Position,
};

use crate::{
    error::Error,
    tail::{Job, Tail},
};

/// Where the tail of a lane is.
#[derive(Debug)]
enum Seat {
    /// There is none: the partition's position has to be read first.
    Unlocated,
    /// There is none: the position is being read.
    Locating,
    /// Here, at rest.
    Resting(Box<Tail>),
    /// With a core that does its jobs.
    Working,
}

/// One assigned partition.
#[derive(Debug)]
pub(crate) struct Lane {
    epoch: u64,
    seat: Seat,
    queue: Vec<Job>,
    /// Whether somebody waits for what is queued: a delta or a commit.
    is_awaited: bool,
    /// The next offset that the log is to deliver.
    next: Position,
    /// How far the deltas of this epoch reach that went to the live feed.
    told: Position,
    /// Records in `queue`, and with a core.
    queued_bytes: u64,
    working_bytes: u64,
    /// What the tail held when it last rested.
    held_bytes: u64,
    /// Whether there are records since the last [`Job::Cut`] or [`Job::Seal`].
    uncut: bool,
    /// Whether there are records since the last [`Job::Seal`].
    unsealed: bool,
}

impl Lane {
    /// A lane whose position has to be read.
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            seat: Seat::Unlocated,
            queue: Vec::new(),
            is_awaited: false,
            next: Position::default(),
            told: Position::default(),
            queued_bytes: 0,
            working_bytes: 0,
            held_bytes: 0,
            uncut: false,
            unsealed: false,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn next(&self) -> Position {
        self.next
    }

    /// How far deltas were told; where the tail started if there were none.
    pub(crate) fn told(&self) -> Position {
        self.told
    }

    /// The delta that ends at `to` goes to the live feed.
    pub(crate) fn tell(&mut self, to: Position) {
        self.told = to;
    }

    pub(crate) fn is_unlocated(&self) -> bool {
        matches!(self.seat, Seat::Unlocated)
    }

    pub(crate) fn is_working(&self) -> bool {
        matches!(self.seat, Seat::Working)
    }

    /// Whether records may be pushed: the position is known and the log was told to start there.
    pub(crate) fn is_started(&self) -> bool {
        matches!(self.seat, Seat::Resting(_) | Seat::Working)
    }

    /// The position is being read from now on.
    pub(crate) fn locate(&mut self) {
        self.seat = Seat::Locating;
    }

    /// The position has to be read once more.
    pub(crate) fn unlocate(&mut self) {
        self.seat = Seat::Unlocated;
    }

    /// The log delivers from `next` on, into `tail`, whose first delta is to start at `committed`.
    pub(crate) fn start(&mut self, tail: Tail, committed: Position, next: Position) {
        self.next = next;
        self.told = committed;
        self.seat = Seat::Resting(Box::new(tail));
    }

    /// Takes a run of records.
    ///
    /// # Errors
    /// [`Error::Unchained`] if it does not follow the run before.
    pub(crate) fn push(&mut self, run: Records) -> Result<(), Error> {
        if run.range.from != self.next {
            return Err(Error::Unchained { partition: run.partition, expected: self.next, got: run.range });
        }
        if !run.range.is_empty() {
            self.next = run.range.to;
            let bytes = run.records.size();
            self.queued_bytes += bytes;
            self.uncut = true;
            self.unsealed = true;
            match self.queue.last_mut() {
                Some(Job::Read(before, bytes_before)) if fits(before, *bytes_before, &run, bytes) => {
                    before.range.to = run.range.to;
                    before.records.append(run.records);
                    *bytes_before += bytes;
                }
                _ => self.queue.push(Job::Read(run, bytes)),
            }
        }
        Ok(())
    }

    /// Asks for a delta, if there is anything for one.
    pub(crate) fn cut(&mut self) {
        if mem::take(&mut self.uncut) {
            self.is_awaited = true;
            self.queue.push(Job::Cut);
        }
    }

    /// Asks for what is to be committed; says whether there is anything.
    pub(crate) fn seal(&mut self) -> bool {
        self.uncut = false;
        let unsealed = mem::take(&mut self.unsealed);
        if unsealed {
            self.is_awaited = true;
            self.queue.push(Job::Seal);
        }
        unsealed
    }

    /// Whether there are records that no commit was asked for.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.unsealed
    }

    /// The tail and all its jobs, if it rests and somebody waits for them, or there are at least `bytes_min` to be read.
    pub(crate) fn take_work(&mut self, bytes_min: u64) -> Option<(Box<Tail>, Vec<Job>)> {
        let is_due = self.is_awaited || self.queued_bytes >= bytes_min;
        if self.queue.is_empty() || !is_due || !matches!(self.seat, Seat::Resting(_)) {
            return None;
        }
        self.is_awaited = false;
        let Seat::Resting(tail) = mem::replace(&mut self.seat, Seat::Working) else { return None };
        self.working_bytes = mem::take(&mut self.queued_bytes);
        Some((tail, mem::take(&mut self.queue)))
    }

    /// Takes the tail back.
    pub(crate) fn rest(&mut self, tail: Box<Tail>) {
        self.held_bytes = tail.bytes();
        self.working_bytes = 0;
        self.seat = Seat::Resting(tail);
    }

    /// The bytes of records that wait to be folded.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.queued_bytes + self.working_bytes
    }

    /// The bytes of events and dead letters that wait for a commit.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }
}

/// Whether `run` and the one before it together are no more than one run may be.
fn fits(before: &Records, bytes_before: u64, run: &Records, bytes: u64) -> bool {
    before.records.len() + run.records.len() <= LOG_RUN_RECORDS_MAX && bytes_before + bytes <= LOG_RUN_BYTES_MAX as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use common::{
        event::Record,
        position::{OffsetRange, Partition},
        telemetry::Telemetry,
        testing::departures,
    };

    use super::*;
    use crate::tail::{Recipe, Start};

    fn started() -> Lane {
        let source = departures();
        let metrics = Telemetry::new().ingest(&source.name);
        let recipe = Recipe { source: source.name, rules: source.rules, views: Arc::new([]), metrics };
        let (committed, next) = (Position(0), Position(0));
        let mut lane = Lane::new(1);
        let start = Start { partition: Partition(0), epoch: 1, committed, next };
        lane.start(Tail::new(&recipe, start, true), committed, next);
        lane
    }

    fn run(from: u64, records: u64, bytes: usize) -> Records {
        let value = Bytes::from(vec![b' '; bytes]);
        let record = |offset| Record {
            topic: "departures".into(),
            partition: Partition(0),
            offset,
            timestamp_us: 0,
            key: None,
            headers: Vec::new(),
            value: Some(value.clone()),
        };
        let range = OffsetRange::new(Position(from), Position(from + records));
        Records { partition: Partition(0), range, records: (from..from + records).map(record).collect() }
    }

    fn ranges(jobs: &[Job]) -> Vec<(u64, u64, usize)> {
        let range = |job: &Job| match job {
            Job::Read(run, _) => Some((run.range.from.0, run.range.to.0, run.records.len())),
            Job::Cut | Job::Seal => None,
        };
        jobs.iter().filter_map(range).collect()
    }

    #[test]
    fn runs_are_worked_on_together_as_far_as_one_run_may_reach() {
        let mut lane = started();
        let half = LOG_RUN_RECORDS_MAX as u64 / 2;
        lane.push(run(0, half, 1)).unwrap();
        lane.push(run(half, half, 1)).unwrap();
        lane.push(run(2 * half, 1, 1)).unwrap();
        lane.push(run(2 * half + 1, 1, LOG_RUN_BYTES_MAX)).unwrap();
        lane.cut();
        lane.push(run(2 * half + 2, 1, 1)).unwrap();
        let (_, jobs) = lane.take_work(u64::MAX).unwrap();
        let (full, end) = (2 * half, 2 * half + 2);
        let expected = [
            (0, full, LOG_RUN_RECORDS_MAX),
            (full, full + 1, 1),
            (full + 1, end, 1),
            // A delta ends where it was cut.
            (end, end + 1, 1),
        ];
        assert_eq!(ranges(&jobs), expected);
        assert!(matches!(jobs[3], Job::Cut));
    }

    #[test]
    fn a_core_is_asked_for_what_is_worth_it_or_waited_for() {
        let mut lane = started();
        lane.push(run(0, 1, 100)).unwrap();
        assert!(lane.take_work(1_000).is_none(), "little is left to grow");
        lane.push(run(1, 10, 100)).unwrap();
        let (tail, jobs) = lane.take_work(1_000).expect("enough is there");
        assert_eq!(ranges(&jobs), [(0, 11, 11)]);
        lane.push(run(11, 1, 100)).unwrap();
        lane.cut();
        assert!(lane.take_work(1_000).is_none(), "a core is at work on it");
        lane.rest(tail);
        assert!(lane.take_work(1_000).is_some(), "a delta is waited for");
    }
}
