//! Why a batch run could not be done. Whatever it was, nothing of the run is visible to readers, and it may be run again.

use common::{
    names::{SourceName, ViewName},
    position::Version,
};

/// Why the batch layer could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] common::store::Error),
    /// A dataset failed.
    #[error(transparent)]
    Dataset(#[from] common::dataset::Error),
    /// A generation or one of its chunks could not be read or written.
    #[error(transparent)]
    Generation(#[from] common::generation::Error),
    /// A segment could neither be read nor folded again.
    #[error(transparent)]
    Segment(#[from] common::segment::Error),
    /// A historical file could not be read, or not to its end: what was read of it is loaded.
    #[error(transparent)]
    File(#[from] common::log::files::Error),
    /// Dead letters could not be read or written.
    #[error(transparent)]
    DeadLetter(#[from] common::dead_letter::Error),
    /// A condition is none over the source's columns, or could not be evaluated.
    #[error(transparent)]
    Condition(#[from] common::expression::Error),
    /// An erasure could not be brought to its end: events that it is about keep coming in. It may be asked for again.
    #[error("after {passes} passes there still are {events} such events in the dataset; do they keep coming in?")]
    NotErased {
        /// How often the dataset was gone through.
        passes: u32,
        /// How many events were found the last time.
        events: u64,
    },
    /// Folding, merging or decoding a partial failed.
    #[error(transparent)]
    Measure(#[from] common::measure::Error),
    /// A dataset is older than what a generation covers of it: it was replaced or rolled back under the generation. A
    /// person must decide which of the two is right.
    #[error(
        "dataset of {source_name} stands at version {head}, before the high-water mark {mark} of generation {generation}"
    )]
    BehindMark {
        /// The source.
        source_name: SourceName,
        /// The dataset's head.
        head: Version,
        /// The mark that the generation has.
        mark: Version,
        /// The generation's number.
        generation: u64,
    },
    /// A stretch of time of a view cannot be recomputed, because the last generation does not have the rest.
    #[error(
        "generation {generation} does not have view {view} of this definition: advance first, or recompute it whole"
    )]
    NotCovered {
        /// The view.
        view: ViewName,
        /// The generation.
        generation: u64,
    },
    /// A file of a dataset does not say which day's events it has, so it cannot be told which reduce tasks need them.
    #[error("{path} has no event date: its events have no time that a calendar has")]
    Undated {
        /// The file.
        path: String,
    },
    /// There is no such run or task in the store, or it is not one of this pipeline or this program.
    #[error("run {run}: {message}")]
    Run {
        /// The run, or the task, as given.
        run: String,
        /// What is wrong.
        message: String,
    },
    /// The run was removed while it was at work: another process has published it, events were erased, or it was taken for given up.
    #[error(
        "run {run} was removed meanwhile: it was published, events were erased, or it was taken for given up; plan it anew if need be"
    )]
    Removed {
        /// The run.
        run: String,
    },
    /// Tasks must be finished before the next step.
    #[error("run {run} has {count} unfinished tasks: {}{}", .tasks.join(" "), if .tasks.len() < *.count { " …" } else { "" })]
    Unfinished {
        /// The run.
        run: String,
        /// The first of the tasks.
        tasks: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// Another holds the lease: what is asked for is being done.
    #[error("the lease {name} is held by process {pid} of {host}: another run is at work")]
    Busy {
        /// The lease.
        name: String,
        /// The holder's machine.
        host: String,
        /// The holder.
        pid: u32,
        /// When the lease ends if the holder says nothing more, microseconds since 1970-01-01 UTC.
        ends_at_us: i64,
    },
    /// The lease was not renewed in time, and another has taken it.
    #[error("the lease {name} was lost to another run")]
    LeaseLost {
        /// The lease.
        name: String,
    },
    /// Groups could not be put aside in a temporary file, or read back.
    #[error("spilling to a temporary file failed; is there room where temporary files go ($TMPDIR)?")]
    Spill(#[source] std::io::Error),
    /// Other runs published first, every time.
    #[error("lost the race to publish {attempts} times in a row")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The run was cancelled between two tasks.
    #[error("the run was cancelled")]
    Cancelled,
    /// The thread pool could not be started.
    #[error("the engine could not start its threads")]
    Engine(#[from] rayon::ThreadPoolBuildError),
    /// A raw file cannot be audited.
    #[error("{path}: {message}")]
    Raw {
        /// The file as given.
        path: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// The audit cannot compute or compare a view.
    #[error("auditing view {view}: {message}")]
    Audit {
        /// The view.
        view: String,
        /// What is wrong.
        message: String,
    },
    /// Polars failed on what the audit asked.
    #[error("polars failed to {action}")]
    Polars {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The cause.
        #[source]
        source: polars::error::PolarsError,
    },
    /// Arrow failed.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Error {
    /// Whether something that was to be read was removed meanwhile, as an erasure does with what it replaces: a run that is
    /// planned anew reads what took its place.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        use common::{dataset, generation, segment};
        matches!(
            self,
            Self::Removed { .. }
                | Self::Dataset(dataset::Error::Gone { .. })
                | Self::Segment(segment::Error::Dataset(dataset::Error::Gone { .. }))
                | Self::Generation(generation::Error::Gone { .. })
        )
    }

    /// Whether the store failed in a way that another try, later, may not.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<object_store::Error>() {
                return matches!(error, object_store::Error::Generic { .. });
            }
            cause = error.source();
        }
        false
    }
}
