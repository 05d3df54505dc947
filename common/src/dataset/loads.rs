//! Loads: historical files whose rows become events of the dataset without passing through a log.
//!
//! Each load has a partition of its own, far beyond those of logs, in which the offset of a row is its number in the file.
//! So a load is committed like any partition: its position moves in the commit that adds its rows (L2), two processes that
//! load the same file fence each other (L3), and what was loaded is not loaded again. Which partition a load has is a `txn`
//! action like a position, committed once, before its first row.

use std::{fmt, num::ParseIntError, str::FromStr};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::{Dataset, Error, Inner, Snapshot, commit::Proposal, log};
use crate::position::{Partition, Position};

/// The first partition of loads. No log has as many: Kafka's largest topics have some ten thousands.
pub const LOADS_FROM: Partition = Partition(1 << 30);

/// What tells one load from all others: a hash of what it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(u128);

impl LoadId {
    /// The load of what is named so: the same name, the same load.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(name.as_bytes()))
    }
}

impl fmt::Display for LoadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for LoadId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// The wish for a partition.
struct Reserving(LoadId);

#[async_trait]
impl Proposal for Reserving {
    async fn entry(&self, inner: &Inner, head: &Snapshot, id: &str) -> Result<Option<Bytes>, Error> {
        if head.loads.contains_key(&self.0) {
            return Ok(None);
        }
        let taken = head.loads.values().max();
        let partition = taken.map_or(LOADS_FROM, |last| Partition(last.0 + 1));
        log::load_entry(&inner.ids, head, id, self.0, partition).map(Some)
    }
}

impl Dataset {
    /// The partition of `load`, and how far it has come. A load that was never heard of is given one by a commit.
    ///
    /// # Errors
    /// [`Error::Schema`], [`Error::Table`], [`Error::Store`].
    pub async fn load(&self, load: LoadId) -> Result<(Partition, Position), Error> {
        if !self.snapshot().await?.loads.contains_key(&load) {
            let made = self.inner.commit(&Uuid::now_v7().to_string(), &Reserving(load)).await?;
            if let Some(commit) = made {
                self.checkpoint(&commit).await;
            }
        }
        let head = self.snapshot().await?;
        let partition = *head.loads.get(&load).ok_or("it was committed").map_err(Error::table("find a load"))?;
        Ok((partition, head.positions.get(&partition).copied().unwrap_or_default()))
    }
}
