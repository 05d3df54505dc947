//! How tasks are named on command lines and in lines that a scheduler hands on: `<run>/m12`, `<run>/r7`.

use std::{fmt, str::FromStr};

use crate::Error;

/// What kind of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// Files or a commit become partials.
    Map,
    /// Partials become the files of a chunk.
    Reduce,
}

/// A task of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The run.
    pub run: String,
    /// The kind.
    pub kind: TaskKind,
    /// Its number among those of its kind, from 0.
    pub index: usize,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            TaskKind::Map => 'm',
            TaskKind::Reduce => 'r',
        };
        write!(f, "{}/{letter}{}", self.run, self.index)
    }
}

/// Also of a line with a key before it, as Hadoop Streaming hands them on: what stands after the last tab counts.
impl FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (run, task) = text.rsplit('\t').next()?.trim().split_once('/')?;
            let kind = match task.get(..1)? {
                "m" => TaskKind::Map,
                "r" => TaskKind::Reduce,
                _ => return None,
            };
            let is_name = !run.is_empty() && run.bytes().all(|b| b.is_ascii_hexdigit());
            is_name.then_some(Self { run: run.to_owned(), kind, index: task[1..].parse().ok()? })
        };
        let message = "a task is written as RUN/m0 or RUN/r0".to_owned();
        parse().ok_or_else(|| Error::Run { run: text.to_owned(), message })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_read_as_it_is_written_and_behind_a_key() {
        let task = Task { run: "0af".to_owned(), kind: TaskKind::Map, index: 12 };
        assert_eq!(task.to_string(), "0af/m12");
        for text in ["0af/m12", "0af/m12\r", "4711\t0af/m12"] {
            assert_eq!(text.parse::<Task>().unwrap(), task);
        }
        for wrong in ["", "0af", "0af/x1", "0af/m", "../m1", "0af/m-1"] {
            assert!(wrong.parse::<Task>().unwrap_err().to_string().contains("RUN/m0"), "{wrong}");
        }
    }
}
