//! The dataset's log as this program reads and writes it: one entry a version, each a few lines of JSON.
//!
//! Positions, and the totals of what became of all records (L7), are `txn` actions, so that they move in the very step that
//! adds the files (L2) and outlive the entries in checkpoints.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use deltalake::kernel::{Action, Add, CommitInfo, Remove, Transaction};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Append, ArchiveId, Commit, DataFile, Error, LoadId, Rewrite, Snapshot, Why};
use crate::{
    clock::{Clock, SystemClock},
    event::Counts,
    names::SourceName,
    position::{OffsetRange, Partition, Position, Positions, Version},
};

/// The column that the table is partitioned by: the UTC date of the event time.
pub(super) const EVENT_DATE: &str = "event_date";

/// Where the date would stand in the path of a file whose events have none.
pub(super) const NO_DATE: &str = "__HIVE_DEFAULT_PARTITION__";

/// What stands under `highwater` in an entry's `commitInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Info {
    /// Tells this commit from every other, so that a writer that lost the answer knows its own.
    pub(super) commit: String,
    pub(super) partitions: BTreeMap<Partition, Moved>,
    /// Whether its files are of events that were there before, in other files: they are no part of the commit's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) rewrite: bool,
    /// What is kept of the events whose files it takes out of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) archive: Option<String>,
}

/// What one commit says of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moved {
    from: Position,
    to: Position,
    #[serde(flatten)]
    counts: Counts,
}

/// What a `txn` action of ours is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Position(Partition),
    Load(LoadId),
    Archive(ArchiveId),
    Erased,
    Events,
    DeadLetters,
    Tombstones,
}

/// The app ids of one source's `txn` actions: `highwater/<cluster>/<topic>/<partition>`; `…/load/<id>`, whose version is the
/// load's partition; `…/archive/<id>`, whose version is that of the commit; `…/erased`, whose version is that of the last
/// erasure; and `…/events`, `…/dead_letters` and `…/tombstones` for the totals.
#[derive(Debug, Clone)]
pub(super) struct AppIds {
    prefix: String,
}

impl AppIds {
    pub(super) fn new(cluster: &str, source: &SourceName) -> Self {
        Self { prefix: format!("highwater/{cluster}/{source}/") }
    }

    fn of(&self, subject: Subject) -> String {
        let prefix = &self.prefix;
        match subject {
            Subject::Position(partition) => format!("{prefix}{partition}"),
            Subject::Load(load) => format!("{prefix}load/{load}"),
            Subject::Archive(archive) => format!("{prefix}archive/{archive}"),
            Subject::Erased => format!("{prefix}erased"),
            Subject::Events => format!("{prefix}events"),
            Subject::DeadLetters => format!("{prefix}dead_letters"),
            Subject::Tombstones => format!("{prefix}tombstones"),
        }
    }

    fn subject(&self, app_id: &str) -> Option<Subject> {
        let subject = app_id.strip_prefix(&self.prefix)?;
        if let Some((kind, id)) = subject.split_once('/') {
            return match kind {
                "load" => id.parse().ok().map(Subject::Load),
                "archive" => id.parse().ok().map(Subject::Archive),
                _ => None,
            };
        }
        match subject {
            "erased" => Some(Subject::Erased),
            "events" => Some(Subject::Events),
            "dead_letters" => Some(Subject::DeadLetters),
            "tombstones" => Some(Subject::Tombstones),
            partition => partition.parse().ok().map(|partition| Subject::Position(Partition(partition))),
        }
    }

    /// Takes one `txn` action into `snapshot`, if it is ours.
    pub(super) fn apply(&self, snapshot: &mut Snapshot, app_id: &str, version: i64) {
        let (Some(subject), Ok(value)) = (self.subject(app_id), u64::try_from(version)) else { return };
        match subject {
            Subject::Position(partition) => {
                snapshot.positions.insert(partition, Position(value));
            }
            Subject::Load(load) => {
                if let Ok(partition) = u32::try_from(value) {
                    snapshot.loads.insert(load, Partition(partition));
                }
            }
            Subject::Archive(archive) => {
                snapshot.archives.insert(archive, Version(value));
            }
            Subject::Erased => snapshot.erased = Version(value),
            Subject::Events => snapshot.totals.events = value,
            Subject::DeadLetters => snapshot.totals.dead_letters = value,
            Subject::Tombstones => snapshot.totals.tombstones = value,
        }
    }

    /// The `txn` actions of a commit that moves these positions and after which the totals are these.
    fn transactions(&self, positions: &Positions, totals: Counts) -> Result<Vec<Action>, Error> {
        let positions = positions.iter().map(|(&partition, to)| (Subject::Position(partition), to.0));
        let totals = [
            (Subject::Events, totals.events),
            (Subject::DeadLetters, totals.dead_letters),
            (Subject::Tombstones, totals.tombstones),
        ];
        positions.chain(totals).map(|(subject, value)| self.transaction(subject, value)).collect()
    }

    fn transaction(&self, subject: Subject, value: u64) -> Result<Action, Error> {
        let version = i64::try_from(value).map_err(Error::table("number a transaction"))?;
        Ok(Action::Txn(Transaction::new(self.of(subject), version)))
    }
}

/// One entry of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// What we said of it, if it is an append of ours.
    pub(super) info: Option<Info>,
    /// Whether it changes the table's protocol, columns or properties.
    pub(super) redefines: bool,
    transactions: Vec<Transaction>,
    adds: Vec<Add>,
    /// The paths of the files that it takes out of the table.
    pub(super) removes: Vec<String>,
}

impl Entry {
    /// The entry of `version` with these bytes.
    pub(super) fn parse(version: Version, bytes: &Bytes) -> Result<Self, Error> {
        let actions = deltalake::logstore::get_actions(version.0, bytes);
        let mut entry = Self::default();
        for action in actions.map_err(Error::table("read a log entry"))? {
            match action {
                Action::Add(add) => entry.adds.push(add),
                Action::Txn(transaction) => entry.transactions.push(transaction),
                Action::Metadata(_) | Action::Protocol(_) => entry.redefines = true,
                Action::CommitInfo(mut info) => {
                    let ours = info.info.remove("highwater").map(serde_json::from_value).transpose();
                    entry.info = ours.map_err(Error::table("read a log entry"))?;
                }
                Action::Remove(remove) => entry.removes.push(remove.path),
                Action::Cdc(_) | Action::DomainMetadata(_) => {}
            }
        }
        Ok(entry)
    }

    /// Moves `snapshot` to this entry, of `version`.
    pub(super) fn apply(&self, ids: &AppIds, snapshot: &mut Snapshot, version: Version) {
        for transaction in &self.transactions {
            ids.apply(snapshot, &transaction.app_id, transaction.version);
        }
        snapshot.version = version;
    }

    /// Whether this entry is the commit with this identity.
    pub(super) fn is(&self, commit: &str) -> bool {
        self.info.as_ref().is_some_and(|info| info.commit == commit)
    }

    /// The entry as the commit of `version` of the table at `root`.
    pub(super) fn into_commit(self, version: Version, root: &Path) -> Result<Commit, Error> {
        let Some(info) = self.info else { return Ok(Commit { version, ..Commit::default() }) };
        let own = if info.rewrite { &[] } else { self.adds.as_slice() };
        let files = own.iter().map(|add| data_file(root, add)).collect::<Result<_, _>>()?;
        let range = |moved: &Moved| OffsetRange::new(moved.from, moved.to);
        let ranges = info.partitions.iter().map(|(&partition, moved)| (partition, range(moved))).collect();
        let positions = info.partitions.iter().map(|(&partition, moved)| (partition, moved.to)).collect();
        let counts = info.partitions.iter().map(|(&partition, moved)| (partition, moved.counts)).collect();
        let archive = info.archive.as_deref().and_then(|id| id.parse().ok());
        let removed = self.removes.iter().map(|path| object_path(root, path)).collect::<Result<_, _>>();
        let removed = removed.map_err(Error::table("read a file's path"))?;
        Ok(Commit { version, files, removed, positions, ranges, counts, archive })
    }
}

fn data_file(root: &Path, add: &Add) -> Result<DataFile, Error> {
    let stats = add.get_stats().map_err(Error::table("read a file's statistics"))?;
    let rows = stats.map(|stats| stats.num_records).ok_or("a file of ours has no number of records");
    Ok(DataFile {
        path: object_path(root, &add.path).map_err(Error::table("read a file's path"))?,
        rows: rows.map_err(Error::table("read a file's statistics"))?.unsigned_abs(),
        bytes: add.size.unsigned_abs(),
    })
}

/// The object of a file whose path in the table at `root` is `path`.
pub(super) fn object_path(root: &Path, path: &str) -> Result<Path, object_store::path::Error> {
    Path::parse(format!("{root}/{path}"))
}

/// The path of the entry of `version`, of the table at `root`.
pub(super) fn entry_path(root: &Path, version: Version) -> Path {
    root.clone().join("_delta_log").join(format!("{version:020}.json"))
}

/// The entry that commits `append` with `files` on top of `head`.
pub(super) fn append_entry(
    ids: &AppIds,
    head: &Snapshot,
    commit: &str,
    append: &Append,
    files: &[Add],
) -> Result<Bytes, Error> {
    let mut totals = head.totals;
    let mut positions = Positions::new();
    let mut partitions = BTreeMap::new();
    for (&partition, &(range, counts)) in &append.partitions {
        totals += counts;
        positions.insert(partition, range.to);
        partitions.insert(partition, Moved { from: range.from, to: range.to, counts });
    }
    let parameters = HashMap::from([
        ("mode".to_owned(), json!("Append")),
        ("partitionBy".to_owned(), json!(format!("[\"{EVENT_DATE}\"]"))),
    ]);
    let info = Info { commit: commit.to_owned(), partitions, rewrite: false, archive: None };
    let mut actions = vec![commit_info("WRITE", Some(head.version), parameters, Some(ours(info)?))];
    actions.extend(ids.transactions(&positions, totals)?);
    actions.extend(files.iter().cloned().map(Action::Add));
    encode(&actions)
}

/// The entry that gives `load` its partition, on top of `head`.
pub(super) fn load_entry(
    ids: &AppIds,
    head: &Snapshot,
    commit: &str,
    load: LoadId,
    partition: Partition,
) -> Result<Bytes, Error> {
    let nothing = Moved { from: Position(0), to: Position(0), counts: Counts::default() };
    let partitions = BTreeMap::from([(partition, nothing)]);
    let info = Info { commit: commit.to_owned(), partitions, rewrite: false, archive: None };
    let parameters = HashMap::from([("load".to_owned(), json!(load.to_string()))]);
    let mut actions = vec![commit_info("WRITE", Some(head.version), parameters, Some(ours(info)?))];
    actions.push(ids.transaction(Subject::Position(partition), 0)?);
    actions.push(ids.transaction(Subject::Load(load), partition.0.into())?);
    encode(&actions)
}

/// The entry that replaces files by others, on top of `head`. Positions and totals stay.
pub(super) fn rewrite_entry(
    ids: &AppIds,
    head: &Snapshot,
    commit: &str,
    rewrite: &Rewrite,
    removed: Vec<Remove>,
    added: Vec<Add>,
) -> Result<Bytes, Error> {
    let archive = rewrite.archive.map(|id| id.to_string());
    let info = Info { commit: commit.to_owned(), partitions: BTreeMap::new(), rewrite: true, archive };
    let operation = match rewrite.why {
        Why::Compaction => "OPTIMIZE",
        Why::Retention | Why::Erasure => "DELETE",
    };
    let mut actions = vec![commit_info(operation, Some(head.version), HashMap::new(), Some(ours(info)?))];
    if rewrite.why == Why::Erasure {
        actions.push(ids.transaction(Subject::Erased, head.version.next().0)?);
    }
    if let Some(archive) = rewrite.archive {
        actions.push(ids.transaction(Subject::Archive(archive), head.version.next().0)?);
    }
    actions.extend(removed.into_iter().map(Action::Remove));
    actions.extend(added.into_iter().map(Action::Add));
    encode(&actions)
}

fn ours(info: Info) -> Result<serde_json::Value, Error> {
    serde_json::to_value(info).map_err(Error::table("write a log entry"))
}

/// The `commitInfo` of an entry. Its time is for people: nothing depends on it.
pub(super) fn commit_info(
    operation: &str,
    read: Option<Version>,
    parameters: HashMap<String, serde_json::Value>,
    ours: Option<serde_json::Value>,
) -> Action {
    Action::CommitInfo(CommitInfo {
        timestamp: Some(SystemClock.now_us() / 1_000),
        operation: Some(operation.to_owned()),
        operation_parameters: Some(parameters),
        read_version: read.map(|version| version.0),
        is_blind_append: Some(operation == "WRITE"),
        engine_info: Some(concat!("highwater/", env!("CARGO_PKG_VERSION")).to_owned()),
        info: ours.map(|ours| ("highwater".to_owned(), ours)).into_iter().collect(),
        ..CommitInfo::default()
    })
}

/// The bytes of an entry with these actions.
pub(super) fn encode(actions: &[Action]) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, action).map_err(Error::table("write a log entry"))?;
        bytes.push(b'\n');
    }
    Ok(bytes.into())
}
