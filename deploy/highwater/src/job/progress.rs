//! How far a job is: a bar on a terminal, a line now and then where there is none.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
};

use batch::{Phase, Update};
use indicatif::{ProgressBar, ProgressStyle};

/// Lines of one phase, at most about.
const LINES: u64 = 20;

/// What shows how far a job is.
pub(crate) enum Shown {
    Bar(ProgressBar),
    Lines,
}

impl Shown {
    /// What fits the standard error.
    pub(crate) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let template = "{prefix:>8} {bar:32} {pos} of {len} tasks, {elapsed} gone, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is constant and valid");
        Self::Bar(ProgressBar::new(0).with_style(style))
    }

    /// What a run tells its updates to.
    pub(crate) fn teller(&self) -> Arc<dyn Fn(Update) + Send + Sync> {
        match self {
            Self::Bar(bar) => {
                let bar = bar.clone();
                Arc::new(move |update| {
                    bar.set_prefix(update.phase.as_str());
                    bar.set_length(update.total);
                    bar.set_position(update.done);
                })
            }
            Self::Lines => {
                let last: Mutex<Option<(Phase, u64)>> = Mutex::default();
                Arc::new(move |update| {
                    let step = update.done * LINES / update.total.max(1);
                    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    if last.replace((update.phase, step)) != Some((update.phase, step)) {
                        eprintln!("{}: {} of {} tasks", update.phase.as_str(), update.done, update.total);
                    }
                })
            }
        }
    }

    /// Leaves nothing of a bar on the terminal.
    pub(crate) fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
