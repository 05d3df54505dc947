//! With which code a batch command ends: what a scheduler goes by.

use std::{fmt, process::ExitCode};

use batch::Outcome;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// An audit found a difference.
pub(crate) const DIFFERS: u8 = 3;
const OVERTAKEN: u8 = 4;
const BUSY: u8 = 5;
const UNFINISHED: u8 = 6;
const CANCELLED: u8 = 7;
/// `EX_TEMPFAIL` of sysexits.h.
const TRY_AGAIN: u8 = 75;

/// A command line that asks for what there is not.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The code of a run that ended.
pub(crate) fn of_outcome(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Published { .. } | Outcome::Unchanged { .. } => ExitCode::SUCCESS,
        Outcome::Superseded { .. } => OVERTAKEN.into(),
    }
}

/// The code of a command that failed.
pub(crate) fn of_error(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() {
        return USAGE.into();
    }
    let code = match error.downcast_ref::<batch::Error>() {
        Some(batch::Error::Run { .. } | batch::Error::Removed { .. }) => USAGE,
        Some(batch::Error::Busy { .. } | batch::Error::LeaseLost { .. }) => BUSY,
        Some(batch::Error::Unfinished { .. }) => UNFINISHED,
        Some(batch::Error::Cancelled) => CANCELLED,
        Some(batch::Error::Contended { .. }) => TRY_AGAIN,
        Some(error) if error.is_transient() => TRY_AGAIN,
        _ => FAILED,
    };
    code.into()
}
