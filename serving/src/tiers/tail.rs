//! The tail of one partition: the chain of deltas that answers show, and the newer chain that may replace it.
//!
//! An answer must never go backwards, double an event or lose one. So a chain is shown only from a position that is the end
//! of one of its deltas, and replaced only by a chain that has reached as far (DESIGN §5).

use std::sync::Arc;

use common::{
    feed::Delta,
    measure::Error,
    position::{OffsetRange, Partition, Position, Positions},
    view::View,
};

use super::{Table, stack::Stack};

/// Deltas of one epoch without a gap: the partials of `[from, to)`.
#[derive(Debug, Clone)]
struct Chain {
    epoch: u64,
    from: Position,
    /// The ends of the deltas, ascending; the last is how far the chain reaches.
    ends: Vec<Position>,
    /// The newest record time stamp that any of its deltas covered, also those cut off since.
    as_of_us: Option<i64>,
    /// By view, in the source's order.
    stacks: Vec<Stack>,
}

impl Chain {
    fn empty(epoch: u64, at: Position, views: &[Arc<View>]) -> Self {
        Self { epoch, from: at, ends: Vec::new(), as_of_us: None, stacks: views.iter().map(Stack::new).collect() }
    }

    fn to(&self) -> Position {
        self.ends.last().copied().unwrap_or(self.from)
    }

    fn push(&mut self, delta: Delta, views: &[Arc<View>]) -> Result<(), Error> {
        for (id, partial) in delta.partials {
            // A view that this process does not know is of another pipeline file: not asked for here.
            if let Some(index) = views.iter().position(|v| v.id == id) {
                self.stacks[index].push(delta.range.from.0, partial)?;
            }
        }
        self.ends.push(delta.range.to);
        self.as_of_us = self.as_of_us.max(delta.as_of_us);
        Ok(())
    }

    /// Whether the chain can be shown from `at` on: no delta straddles `at`, and none is missing before it.
    fn can_start(&self, at: Position) -> bool {
        at == self.from || at >= self.to() || self.ends.binary_search(&at).is_ok()
    }

    /// Drops what is before `at`, where [`Self::can_start`].
    fn cut(&mut self, at: Position) -> Result<(), Error> {
        debug_assert!(self.can_start(at), "a delta straddles the cut");
        for stack in &mut self.stacks {
            stack.drop_before(at.0)?;
        }
        self.ends.retain(|end| *end > at);
        self.from = at;
        Ok(())
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    shown: Chain,
    rising: Option<Chain>,
    /// How far any delta reached, shown or not.
    heard: Position,
}

/// Which chain of a tail is to be shown from a position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Shown,
    Rising,
}

impl Tail {
    /// A tail of nothing yet, whose first chain is of `epoch`.
    pub(super) fn new(epoch: u64, at: Position, views: &[Arc<View>]) -> Self {
        Self { shown: Chain::empty(epoch, at, views), rising: None, heard: at }
    }

    /// How far answers see.
    pub(super) fn reach(&self) -> Position {
        self.shown.to()
    }

    /// The newest record time stamp that is shown.
    pub(super) fn as_of_us(&self) -> Option<i64> {
        self.shown.as_of_us
    }

    /// What was heard of but cannot be shown, because something before it is missing.
    pub(super) fn withheld(&self) -> Option<OffsetRange> {
        (self.heard > self.reach()).then(|| OffsetRange::new(self.reach(), self.heard))
    }

    /// The tables of view number `index` that are shown.
    pub(super) fn runs(&self, index: usize) -> &[Table] {
        self.shown.stacks[index].runs()
    }

    /// The partials of view number `index` of the deltas shown that reach beyond `at`.
    pub(super) fn beyond(&self, index: usize, at: Position) -> impl Iterator<Item = &arrow::record_batch::RecordBatch> {
        let chain = &self.shown;
        // The delta that `at` lies in starts where the one before it ends.
        let starts = chain.ends.iter().take_while(|end| **end <= at).last().copied().unwrap_or(chain.from);
        chain.stacks[index].from(starts.0)
    }

    /// Takes in that deltas up to `to` were told of.
    pub(super) fn hear_of(&mut self, to: Position) {
        self.heard = self.heard.max(to);
    }

    /// Takes a delta in: at the end of the chain it follows, or as the start of a newer one. What is known already is passed over,
    /// and so is what a reader that has been replaced still tells: one of an older epoch, that is, unless it is ahead of all that
    /// is known. Then it is a newer reader whose clock is behind.
    pub(super) fn extend(&mut self, delta: Delta, views: &[Arc<View>]) -> Result<(), Error> {
        self.hear_of(delta.range.to);
        let (epoch, range) = (delta.epoch, delta.range);
        let rising_epoch = self.rising.as_ref().map(|rising| rising.epoch);
        let is_of_shown = epoch == self.shown.epoch && rising_epoch.is_none_or(|rising| rising <= epoch);
        if range.is_empty() || is_of_shown && range.to <= self.shown.to() {
            return Ok(());
        }
        if is_of_shown && range.from == self.shown.to() {
            return self.shown.push(delta, views);
        }
        match &mut self.rising {
            Some(rising) if epoch < rising.epoch => return Ok(()),
            Some(rising) if epoch == rising.epoch && range.to <= rising.to() => return Ok(()),
            Some(rising) if epoch == rising.epoch && range.from == rising.to() => return rising.push(delta, views),
            None if epoch < self.shown.epoch && range.to <= self.shown.to() => return Ok(()),
            _ => {}
        }
        let mut chain = Chain::empty(epoch, range.from, views);
        chain.push(delta, views)?;
        self.rising = Some(chain);
        Ok(())
    }

    /// Which chain can be shown from `at` on without going backwards; `None` if neither can yet.
    pub(super) fn choose(&self, at: Position) -> Option<Choice> {
        let rising = self.rising.as_ref().filter(|r| r.can_start(at) && r.to().max(at) >= self.reach());
        match rising {
            Some(_) => Some(Choice::Rising),
            None => self.shown.can_start(at).then_some(Choice::Shown),
        }
    }

    /// Shows the chosen chain, from `at` on.
    pub(super) fn settle(&mut self, choice: Choice, at: Position) -> Result<(), Error> {
        if choice == Choice::Rising
            && let Some(rising) = self.rising.take()
        {
            self.shown = rising;
        }
        self.shown.cut(at)
    }
}

/// Where the head leaves `partition`: where its tail is to start. 0 if it was never committed.
pub(super) fn base(positions: &Positions, partition: Partition) -> Position {
    positions.get(&partition).copied().unwrap_or_default()
}
