//! The lane of one assigned partition: its tail, and the jobs that wait for it while a core is at work on it.
//!
//! A lane keeps the order of one partition; different lanes are worked on at the same time.

use std::mem;

use common::{log::Records, position::Position};

use crate::{
    error::Error,
    tail::{Job, Tail, record_bytes},
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
            self.queued_bytes += run.records.iter().map(record_bytes).sum::<u64>();
            self.uncut = true;
            self.unsealed = true;
            self.queue.push(Job::Read(run));
        }
        Ok(())
    }

    /// Asks for a delta, if there is anything for one.
    pub(crate) fn cut(&mut self) {
        if mem::take(&mut self.uncut) {
            self.queue.push(Job::Cut);
        }
    }

    /// Asks for what is to be committed; says whether there is anything.
    pub(crate) fn seal(&mut self) -> bool {
        self.uncut = false;
        let unsealed = mem::take(&mut self.unsealed);
        if unsealed {
            self.queue.push(Job::Seal);
        }
        unsealed
    }

    /// Whether there are records that no commit was asked for.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.unsealed
    }

    /// The tail and all its jobs, if it rests and there are any.
    pub(crate) fn take_work(&mut self) -> Option<(Box<Tail>, Vec<Job>)> {
        if self.queue.is_empty() || !matches!(self.seat, Seat::Resting(_)) {
            return None;
        }
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
