//! Cursors: the place in an answer that the next page starts at, and the tiers that its pages are answered from.
//!
//! All pages of an answer come from one set of tiers (L4), which is held as long as its generation is shown: of one generation
//! sets share nearly everything, while two generations would be held twice. Another process, or the next generation, does not know
//! the cursor any more, and says so.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use common::limits::CURSORS_HELD_MAX;
use xxhash_rust::xxh3::xxh3_64;

use super::{Error, FieldError, Query};
use crate::tiers::Tiers;

/// The sets of tiers that cursors hold.
#[derive(Debug)]
pub(crate) struct Pins {
    /// Tells the cursors of this process from those of others.
    process: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    last: u64,
    sets: VecDeque<(u64, Arc<Tiers>)>,
}

impl Default for Pins {
    fn default() -> Self {
        Self { process: RandomState::new().build_hasher().finish(), held: Mutex::default() }
    }
}

impl Pins {
    /// Lets go of all sets of other generations than that of `tiers`, which are shown now.
    pub(crate) fn keep_generation_of(&self, tiers: &Tiers) {
        let shown = tiers.generation().map(|generation| generation.number);
        self.held().sets.retain(|(_, held)| held.generation().map(|generation| generation.number) == shown);
    }

    /// The cursor of the rows of `query` from number `offset` on, as `tiers` have them. The set held longest without being asked
    /// is let go of where there are too many.
    pub(super) fn hold(&self, tiers: &Arc<Tiers>, query: &Query, offset: usize) -> String {
        let mut held = self.held();
        let known = held.sets.iter().position(|(_, set)| Arc::ptr_eq(set, tiers));
        let entry = known.and_then(|at| held.sets.remove(at));
        let (number, set) = entry.unwrap_or_else(|| {
            held.last += 1;
            (held.last, Arc::clone(tiers))
        });
        held.sets.push_back((number, set));
        if held.sets.len() > CURSORS_HELD_MAX {
            held.sets.pop_front();
        }
        let generation = tiers.generation().map_or(0, |generation| generation.number);
        format!("{:016x}-{number}-{generation}-{offset}-{:016x}", self.process, digest(query))
    }

    /// The tiers and the offset of `cursor`, if it is of `query`.
    pub(super) fn resume(&self, cursor: &str, query: &Query) -> Result<(Arc<Tiers>, usize), Error> {
        let parsed = || {
            let parts: Vec<&str> = cursor.split('-').collect();
            let [process, number, generation, offset, digest] = parts[..] else { return None };
            let hex = |text| u64::from_str_radix(text, 16).ok();
            let (number, generation) = (number.parse::<u64>().ok()?, generation.parse::<u64>().ok()?);
            Some((hex(process)?, number, generation, offset.parse::<usize>().ok()?, hex(digest)?))
        };
        let fault = |detail: &str| Error::from(FieldError::new("cursor", detail));
        let (process, number, generation, offset, of) = parsed().ok_or_else(|| fault("is no answer's `next`"))?;
        if of != digest(query) {
            return Err(fault("is of another query: all but the cursor has to be as it was asked for the first page"));
        }
        if process != self.process {
            return Err(Error::Gone(
                "the cursor is of a server that is not this one, or that was started again".to_owned(),
            ));
        }
        let held = self.held();
        match held.sets.iter().find(|(held, _)| *held == number) {
            Some((_, tiers)) => Ok((Arc::clone(tiers), offset)),
            None => Err(Error::Gone(format!("generation {generation}, which the cursor is of, is not held any more"))),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        // What is held is whole at any moment.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells one query from another, whatever its cursor.
fn digest(query: &Query) -> u64 {
    let query = Query { cursor: None, ..query.clone() };
    xxh3_64(&serde_json::to_vec(&query).expect("a query is plain data with text keys"))
}
