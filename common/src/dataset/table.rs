//! The Delta table of one source: made, opened, checked against the source's schema, widened, checkpointed.
//!
//! deltalake reads what only a Delta implementation can be trusted with: protocol, schema, the list of live files, and it
//! writes checkpoints. The log's entries are read and written by [`super::log`], against exactly one version, so that
//! nothing commits on top of a version it has not seen. No handle of deltalake's outlives a call: a long-lived one slows
//! down as commits pile up.

use std::collections::HashMap;

use deltalake::{
    DeltaTableBuilder, DeltaTableError,
    kernel::{Action, DataType, MetadataExt, Snapshot as DeltaSnapshot, StructField, StructType, new_metadata},
    logstore::LogStoreRef,
};
use futures::TryStreamExt;
use object_store::path::Path;
use serde_json::json;
use url::Url;

use super::{
    DataFile, Error,
    log::{EVENT_DATE, commit_info, encode, entry_path, object_path},
};
use crate::{
    limits::CHECKPOINT_EVERY,
    names::SourceName,
    position::Version,
    schema::{ColumnType, KEY, OFFSET, PARTITION, Schema, TIMESTAMP, TOPIC},
    store::{self, Store},
};

/// The table features that this program keeps the rules of.
const FEATURES: [&str; 2] = ["appendOnly", "invariants"];

#[derive(Debug, Clone)]
pub(super) struct Table {
    store: Store,
    source: SourceName,
    columns: StructType,
    location: Url,
}

impl Table {
    pub(super) fn new(store: &Store, source: &SourceName, schema: &Schema) -> Result<Self, Error> {
        // Not where the table is, but its path within the store: deltalake is given the store's objects. Under `file:` it
        // would look for the path on the disk; under `memory:` it expects listings to be sorted, which the store's are.
        let location = format!("memory:///{}/", root(source));
        Ok(Self {
            store: store.clone(),
            source: source.clone(),
            columns: table_columns(schema).map_err(Error::table("map the schema"))?,
            location: Url::parse(&location).map_err(Error::table("name the table"))?,
        })
    }

    /// The table's directory in the store.
    pub(super) fn root(&self) -> Path {
        root(&self.source)
    }

    /// Opens the table, making it if there is none and adding the columns it lacks; returns its version and its identity, which
    /// no other table has.
    pub(super) async fn open(&self) -> Result<(Version, String), Error> {
        self.store.settle(&self.root().join("_delta_log")).await?;
        loop {
            let Some(snapshot) = self.load(None).await? else {
                match self.create().await {
                    Ok(()) | Err(Error::Store(store::Error::Exists { .. })) => continue,
                    Err(error) => return Err(error),
                }
            };
            let missing = self.check(&snapshot)?;
            if missing.is_empty() {
                return Ok((Version(snapshot.version()), snapshot.metadata().id().to_owned()));
            }
            match self.widen(&snapshot, missing).await {
                Ok(()) | Err(Error::Store(store::Error::Exists { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks that the table at `version` still is one that this source's events fit in.
    pub(super) async fn verify(&self, version: Version) -> Result<(), Error> {
        let snapshot = self.load(Some(version)).await?;
        let snapshot = snapshot.ok_or("the table is gone").map_err(Error::table("open the table"))?;
        let missing = self.check(&snapshot)?;
        if missing.is_empty() { Ok(()) } else { Err(self.schema_error(&format!("lacks columns: {}", names(&missing)))) }
    }

    /// The live files at `version`, by path.
    pub(super) async fn files(&self, version: Version) -> Result<Vec<DataFile>, Error> {
        let snapshot = self.load(Some(version)).await?;
        let snapshot = snapshot.ok_or("the table is gone").map_err(Error::table("open the table"))?;
        let log_store = self.log_store()?;
        let listed: Vec<_> = snapshot
            .file_views(log_store.as_ref(), None)
            .try_collect()
            .await
            .map_err(Error::table("list the files"))?;
        let file = |view: &deltalake::kernel::LogicalFileView| {
            let path = object_path(&self.root(), &view.path()).map_err(Error::table("read a file's path"))?;
            let rows = view.num_records().ok_or_else(|| format!("{path} has no number of records in its statistics"));
            let rows = rows.map_err(Error::table("list the files"))? as u64;
            Ok(DataFile { path, rows, bytes: view.size().unsigned_abs() })
        };
        let mut files = listed.iter().map(file).collect::<Result<Vec<_>, Error>>()?;
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Writes a checkpoint of `version`.
    pub(super) async fn checkpoint(&self, version: Version) -> Result<(), Error> {
        let mut table = self.builder()?.build().map_err(Error::table("open the table"))?;
        table.load_version(version.0).await.map_err(Error::table("open the table"))?;
        deltalake::checkpoints::create_checkpoint(&table, None).await.map_err(Error::table("write a checkpoint"))
    }

    fn builder(&self) -> Result<DeltaTableBuilder, Error> {
        let builder = DeltaTableBuilder::from_url(self.location.clone()).map_err(Error::table("open the table"))?;
        Ok(builder.with_storage_backend(self.store.objects(), self.location.clone()))
    }

    fn log_store(&self) -> Result<LogStoreRef, Error> {
        self.builder()?.build_storage().map_err(Error::table("open the table"))
    }

    /// The table as deltalake sees it at `version` or the newest, or `None` if there is no table.
    async fn load(&self, version: Option<Version>) -> Result<Option<DeltaSnapshot>, Error> {
        let log_store = self.log_store()?;
        match DeltaSnapshot::try_new(log_store.as_ref(), version.map(|version| version.0)).await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(DeltaTableError::NotATable(_)) => Ok(None),
            Err(error) => Err(Error::table("open the table")(error)),
        }
    }

    /// Writes version 0. The log's entries are kept: segments are folded from them, and writers follow them.
    async fn create(&self) -> Result<(), Error> {
        let properties = [
            ("delta.checkpointInterval", CHECKPOINT_EVERY.to_string()),
            ("delta.enableExpiredLogCleanup", "false".to_owned()),
            ("delta.logRetentionDuration", "interval 3650 days".to_owned()),
        ];
        let action = "make the table";
        let metadata = new_metadata(&self.columns, [EVENT_DATE], properties).map_err(Error::table(action))?;
        let metadata = metadata.with_name(self.source.to_string()).map_err(Error::table(action))?;
        let protocol = serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2}));
        let actions = [
            commit_info("CREATE TABLE", None, HashMap::new(), None),
            Action::Protocol(protocol.map_err(Error::table(action))?),
            Action::Metadata(metadata),
        ];
        self.store.put_if_absent(&entry_path(&self.root(), Version(0)), encode(&actions)?).await?;
        tracing::info!(source = %self.source, "made the dataset");
        Ok(())
    }

    /// Adds `missing` to the columns of the table at `snapshot`.
    async fn widen(&self, snapshot: &DeltaSnapshot, missing: Vec<StructField>) -> Result<(), Error> {
        let action = "add columns to the table";
        let added = names(&missing);
        let columns = StructType::try_new(snapshot.schema().fields().cloned().chain(missing));
        let columns = columns.map_err(Error::table(action))?;
        let metadata = snapshot.metadata().clone().with_schema(&columns).map_err(Error::table(action))?;
        let read = Version(snapshot.version());
        let parameters = HashMap::from([("columns".to_owned(), json!(added))]);
        let actions = [commit_info("ADD COLUMNS", Some(read), parameters, None), Action::Metadata(metadata)];
        self.store.put_if_absent(&entry_path(&self.root(), read.next()), encode(&actions)?).await?;
        tracing::info!(source = %self.source, columns = added, "added columns to the dataset");
        Ok(())
    }

    /// The columns that the table lacks and may be given, or why events of this source do not fit in it.
    fn check(&self, snapshot: &DeltaSnapshot) -> Result<Vec<StructField>, Error> {
        self.check_protocol(snapshot)?;
        let partitioned_by = snapshot.metadata().partition_columns();
        if partitioned_by != [EVENT_DATE] {
            return Err(self.schema_error(&format!("is partitioned by {partitioned_by:?}, not by {EVENT_DATE}")));
        }
        let there = snapshot.schema();
        let mut faults = Vec::new();
        for column in there.fields() {
            match self.columns.field(column.name()) {
                None => faults.push(format!("{} is in the table, not in the source", column.name())),
                Some(ours) if kind(ours) != kind(column) => {
                    faults.push(format!(
                        "{} is {} in the table, {} in the source",
                        column.name(),
                        kind(column),
                        kind(ours)
                    ));
                }
                Some(_) if column.metadata().contains_key("delta.invariants") => {
                    faults.push(format!("{} has an invariant", column.name()));
                }
                Some(_) => {}
            }
        }
        let missing: Vec<_> = self.columns.fields().filter(|c| there.field(c.name()).is_none()).cloned().collect();
        for column in missing.iter().filter(|column| !column.is_nullable()) {
            faults.push(format!("{} is in the source, not in the table, and may not be null", column.name()));
        }
        if faults.is_empty() { Ok(missing) } else { Err(self.schema_error(&faults.join("; "))) }
    }

    fn check_protocol(&self, snapshot: &DeltaSnapshot) -> Result<(), Error> {
        let protocol = snapshot.protocol();
        let features = protocol.reader_features().unwrap_or_default().iter();
        let mut features = features.chain(protocol.writer_features().unwrap_or_default());
        if let Some(unknown) = features.find(|feature| !FEATURES.contains(&feature.as_ref())) {
            return Err(self.schema_error(&format!("needs the Delta feature {unknown}, which is not supported")));
        }
        let (reader, writer) = (protocol.min_reader_version(), protocol.min_writer_version());
        if matches!((reader, writer), (1, 1..=2) | (1 | 3, 7)) {
            return Ok(());
        }
        Err(self.schema_error(&format!("needs Delta reader {reader} and writer {writer}; 1 and 2 are supported")))
    }

    fn schema_error(&self, message: &str) -> Error {
        Error::Schema { source_name: self.source.clone(), message: message.to_owned() }
    }
}

fn root(source: &SourceName) -> Path {
    Path::from_iter(["datasets", source.as_str()])
}

/// Type and nullability as they stand in messages.
fn kind(column: &StructField) -> String {
    format!("{}{}", column.data_type(), if column.is_nullable() { " or null" } else { "" })
}

fn names(columns: &[StructField]) -> String {
    columns.iter().map(StructField::name).map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The table's columns: those of an event, and the date that the table is partitioned by.
fn table_columns(schema: &Schema) -> Result<StructType, impl std::error::Error + Send + Sync + 'static> {
    let own = schema.columns().iter().map(|column| (column.name.as_str(), column.column_type, column.nullable));
    let own = own.map(|(name, kind, nullable)| Ok(StructField::new(name, data_type(kind)?, nullable)));
    let system = [
        StructField::not_null(TOPIC, DataType::STRING),
        StructField::not_null(PARTITION, DataType::INTEGER),
        StructField::not_null(OFFSET, DataType::LONG),
        StructField::not_null(TIMESTAMP, DataType::TIMESTAMP),
        StructField::nullable(KEY, DataType::BINARY),
        // Null where an event has no time, or one that no calendar has.
        StructField::nullable(EVENT_DATE, DataType::DATE),
    ];
    StructType::try_new(own.collect::<Result<Vec<_>, DeltaTableError>>()?.into_iter().chain(system))
        .map_err(DeltaTableError::from)
}

fn data_type(column: ColumnType) -> Result<DataType, DeltaTableError> {
    Ok(match column {
        ColumnType::Int => DataType::LONG,
        ColumnType::Double => DataType::DOUBLE,
        ColumnType::Decimal { precision, scale } => DataType::decimal(precision, scale)?,
        ColumnType::String => DataType::STRING,
        ColumnType::Bool => DataType::BOOLEAN,
        ColumnType::Timestamp => DataType::TIMESTAMP,
    })
}
