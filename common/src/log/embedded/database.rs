//! The only file that names fjall: where topics, partitions, records and producers stand in its database.
//!
//! Each partition has a keyspace of its own, `<topic>/<partition>`, from offset (8 bytes, big-endian) to record. Its tables
//! then are runs of offsets that never overlap, which are moved between levels, not merged, and dropped whole by a trim.
//! All else is in the keyspace `meta`:
//!
//! | key | value |
//! |---|---|
//! | `format` | version of this layout, 4 bytes little-endian |
//! | `topic/<topic>` | number of partitions, 4 bytes little-endian |
//! | `partition/<topic>/<partition>` | [`PartitionState`] |
//! | `producer/<topic>/<producer>` | the producer's next row, 8 bytes little-endian |
//!
//! Everything here blocks: it runs on the writer's thread or on a blocking pool, never on the async runtime.

use std::{fmt, path::Path, sync::Arc};

use fjall::{
    AbstractTree, Database as Fjall, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode,
    config::{BlockSizePolicy, FilterPolicy},
};

use super::codec::{Corrupt, PartitionState, decode_record};
use crate::{
    event::Run,
    limits::{LOG_CACHE_BYTES, LOG_JOURNAL_BYTES_MAX, LOG_RUN_BYTES_MAX, LOG_RUN_RECORDS_MAX, LOG_TABLE_BYTES},
    position::{OffsetRange, Partition},
};

/// Why the database failed. Shared, since all appends of a group fail for one cause.
#[derive(Debug, Clone)]
pub(super) struct Fault(Arc<dyn std::error::Error + Send + Sync>);

const FORMAT: u32 = 1;
/// Blocks are read in order, so larger ones than fjall's default cost nothing.
const BLOCK_BYTES: u32 = 32 << 10;

/// The database of all topics of a process.
#[derive(Clone)]
pub(super) struct Database {
    fjall: Fjall,
    meta: Keyspace,
}

/// The records of one partition.
#[derive(Clone)]
pub(super) struct Stored {
    database: Fjall,
    records: Keyspace,
}

/// Changes that become durable together or not at all.
pub(super) struct Batch {
    batch: OwnedWriteBatch,
    meta: Keyspace,
}

impl Database {
    /// Opens the database in `directory`; makes it if it is not there.
    pub(super) fn open(directory: &Path) -> Result<Self, OpenFault> {
        clear_unfinished(directory)?;
        let fjall = Fjall::builder(directory)
            .cache_size(LOG_CACHE_BYTES)
            .max_journaling_size(LOG_JOURNAL_BYTES_MAX)
            .worker_threads(2)
            .open();
        let fjall = match fjall {
            Err(fjall::Error::Locked) => return Err(OpenFault::Locked),
            other => other.map_err(Fault::new)?,
        };
        let meta = fjall.keyspace("meta", KeyspaceCreateOptions::default).map_err(Fault::new)?;
        let database = Self { fjall, meta };
        database.check_format()?;
        Ok(database)
    }

    fn check_format(&self) -> Result<(), Fault> {
        match self.get("format".to_owned())? {
            None => {
                let mut batch = self.batch();
                batch.batch.insert(&self.meta, "format", FORMAT.to_le_bytes());
                batch.commit()
            }
            Some(found) if found[..] == FORMAT.to_le_bytes() => Ok(()),
            Some(found) => Err(Fault::new(Corrupt::Format(found.to_vec()))),
        }
    }

    fn get(&self, key: String) -> Result<Option<fjall::Slice>, Fault> {
        self.meta.get(key).map_err(Fault::new)
    }

    /// The number of partitions of `topic`; 0 if it is not there.
    pub(super) fn partitions(&self, topic: &str) -> Result<u32, Fault> {
        let Some(count) = self.get(topic_key(topic))? else { return Ok(0) };
        let count = count[..].try_into().map_err(|_| Fault::new(Corrupt::Partition))?;
        Ok(u32::from_le_bytes(count))
    }

    /// The next row due from `producer`; 0 for one never heard of.
    pub(super) fn next_row(&self, topic: &str, producer: &str) -> Result<u64, Fault> {
        let Some(row) = self.get(producer_key(topic, producer))? else { return Ok(0) };
        let row = row[..].try_into().map_err(|_| Fault::new(Corrupt::Producer))?;
        Ok(u64::from_le_bytes(row))
    }

    /// A partition and what is known of it; made empty if it is not there.
    pub(super) fn partition(&self, topic: &str, partition: Partition) -> Result<(Stored, PartitionState), Fault> {
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(LOG_TABLE_BYTES)
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                // Filters are for looking up single keys, which nobody does here.
                .filter_policy(FilterPolicy::disabled())
        };
        let records = self.fjall.keyspace(&format!("{topic}/{partition}"), options).map_err(Fault::new)?;
        let stored = Stored { database: self.fjall.clone(), records };
        let state = match self.get(partition_key(topic, partition))? {
            Some(bytes) => PartitionState::decode(&bytes).map_err(Fault::new)?,
            None => PartitionState::default(),
        };
        stored.check(state)?;
        Ok((stored, state))
    }

    #[cfg(test)]
    pub(super) fn put_format(&self, format: u32) {
        self.meta.insert("format", format.to_le_bytes()).expect("the database is open");
    }

    /// An empty batch.
    pub(super) fn batch(&self) -> Batch {
        Batch { batch: self.fjall.batch().durability(Some(PersistMode::SyncAll)), meta: self.meta.clone() }
    }
}

impl Batch {
    pub(super) fn put_record(&mut self, stored: &Stored, offset: u64, record: Vec<u8>) {
        self.batch.insert(&stored.records, offset.to_be_bytes(), record);
    }

    pub(super) fn put_partition(&mut self, topic: &str, partition: Partition, state: PartitionState) {
        self.batch.insert(&self.meta, partition_key(topic, partition), state.encode());
    }

    pub(super) fn put_producer(&mut self, topic: &str, producer: &str, next_row: u64) {
        self.batch.insert(&self.meta, producer_key(topic, producer), next_row.to_le_bytes());
    }

    pub(super) fn put_topic(&mut self, topic: &str, partitions: u32) {
        self.batch.insert(&self.meta, topic_key(topic), partitions.to_le_bytes());
    }

    /// Makes everything in the batch durable. After an error nothing of it is seen by readers, and fjall takes no more
    /// batches until the database is opened again: what the disk kept is not known.
    pub(super) fn commit(self) -> Result<(), Fault> {
        self.batch.commit().map_err(Fault::new)
    }
}

impl Stored {
    /// The newest record stands just before the next offset: trims leave it. Anything else means that state and records
    /// were not written by one batch.
    fn check(&self, state: PartitionState) -> Result<(), Fault> {
        let found = match self.records.last_key_value() {
            Some(last) => Some(offset_of(&last.key().map_err(Fault::new)?)?),
            None => None,
        };
        match state.next.checked_sub(1) {
            expected if expected == found => Ok(()),
            expected => Err(Fault::new(Corrupt::Offset { expected, found })),
        }
    }

    /// Records from the start of `range` on, at most to its end and within [`crate::limits`]. `None` if the first is not
    /// there.
    pub(super) fn read(
        &self,
        topic: &Arc<str>,
        partition: Partition,
        range: OffsetRange,
    ) -> Result<Option<Run>, Fault> {
        let mut run = Run::with_capacity(Arc::clone(topic), partition, 0, 0);
        let mut bytes = 0;
        let keys = range.from.0.to_be_bytes()..range.to.0.to_be_bytes();
        for (due, item) in (range.from.0..).zip(self.records.range(keys)) {
            let (key, value) = item.into_inner().map_err(Fault::new)?;
            let found = offset_of(&key)?;
            if found != due && run.is_empty() {
                return Ok(None);
            }
            if found != due {
                return Err(Fault::new(Corrupt::Offset { expected: Some(due), found: Some(found) }));
            }
            bytes += value.len();
            if !run.is_empty() && bytes > LOG_RUN_BYTES_MAX {
                break;
            }
            decode_record(&mut run, due, &value).map_err(Fault::new)?;
            if run.len() == LOG_RUN_RECORDS_MAX {
                break;
            }
        }
        Ok((!run.is_empty()).then_some(run))
    }

    /// Writes what is in memory to a table, as happens by itself after [`LOG_TABLE_BYTES`].
    #[cfg(test)]
    pub(super) fn write_table(&self) {
        self.records.rotate_memtable_and_wait().expect("the database is open");
    }

    /// Gives back the disk space of tables that hold nothing but offsets before `state.start`, which must be durable.
    ///
    /// Writes nothing for it but the list of tables. The newest record stays even if it is trimmed: fjall keeps journals
    /// until it sees a table (or a filled memtable) with a record as new as theirs.
    pub(super) fn drop_trimmed(&self, state: PartitionState) -> Result<(), Fault> {
        let before = state.start.min(state.next.saturating_sub(1)).to_be_bytes();
        // These calls of the tree below are hidden in fjall's documentation. It has no others for ranges.
        let tree = &self.records.tree;
        if !tree.current_version().iter_tables().any(|table| table.metadata.key_range.max()[..] < before[..]) {
            return Ok(());
        }
        tree.drop_range(..before).map_err(Fault::new)?;
        // The files go when no version of the tree lists them. Old versions are for snapshots, which nobody takes here, and
        // would else stay until the next table is written.
        tree.get_version_history_lock()
            .maintenance(self.records.path(), self.database.visible_seqno())
            .map_err(Fault::new)
    }
}

/// Why the database could not be opened.
pub(super) enum OpenFault {
    /// Another process has it open.
    Locked,
    /// All else.
    Fault(Fault),
}

impl From<Fault> for OpenFault {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Removes what a crash left of a database whose making was not finished, which fjall would refuse to open: it writes the
/// file `version` last, and nothing is stored before.
fn clear_unfinished(directory: &Path) -> Result<(), OpenFault> {
    let version = directory.join("version");
    let journal = directory.join("0.jnl");
    let finished = version.metadata().is_ok_and(|version| version.len() > 0);
    let stored = directory.join("keyspaces").read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if finished || stored || !journal.exists() {
        return Ok(());
    }
    let lock = std::fs::File::open(directory.join("lock")).map_err(Fault::new)?;
    lock.try_lock().map_err(|_| OpenFault::Locked)?;
    for file in [journal, version] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Fault::new(error).into()),
            _ => {}
        }
    }
    Ok(())
}

fn topic_key(topic: &str) -> String {
    format!("topic/{topic}")
}

fn partition_key(topic: &str, partition: Partition) -> String {
    format!("partition/{topic}/{partition}")
}

fn producer_key(topic: &str, producer: &str) -> String {
    format!("producer/{topic}/{producer}")
}

fn offset_of(key: &[u8]) -> Result<u64, Fault> {
    let key = key.try_into().map_err(|_| Fault::new(Corrupt::Key))?;
    Ok(u64::from_be_bytes(key))
}

impl Fault {
    pub(super) fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({})", &**self.records.name())
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}
