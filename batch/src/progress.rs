//! How far a run is, told to whoever watches: a progress bar on a terminal, nothing in a test.

/// The steps of a run that take long enough to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Files and commits become partials.
    Map,
    /// Partials become chunk files.
    Reduce,
    /// Answers are compared.
    Audit,
}

impl Phase {
    /// The phase as a word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Reduce => "reduce",
            Self::Audit => "audit",
        }
    }
}

/// How far a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// The phase.
    pub phase: Phase,
    /// Tasks done.
    pub done: u64,
    /// Tasks in all.
    pub total: u64,
}

/// Counts the tasks of one phase and tells of each. The first update of a phase has those that were `before`.
pub(crate) struct Counter<'a> {
    tell: &'a (dyn Fn(Update) + Send + Sync),
    update: Update,
}

impl<'a> Counter<'a> {
    pub(crate) fn start(tell: &'a (dyn Fn(Update) + Send + Sync), phase: Phase, total: usize, before: usize) -> Self {
        let update = Update { phase, done: before as u64, total: total as u64 };
        tell(update);
        Self { tell, update }
    }

    pub(crate) fn done(&mut self) {
        self.update.done += 1;
        (self.tell)(self.update);
    }
}
