//! Export: rows that are finished become a Delta table of their own, for other tools to read.
//!
//! Each export is one version that replaces all rows of the one before it: readers see one or the other.

use std::collections::HashMap;

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use deltalake::{
    DeltaTableBuilder, DeltaTableError,
    kernel::{
        Action, Add, MetadataExt, Remove, Snapshot as DeltaSnapshot, StructType,
        engine::arrow_conversion::TryIntoKernel as _, new_metadata,
    },
};
use futures::TryStreamExt;
use object_store::path::Path;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{
    Error,
    log::{commit_info, encode, entry_path},
    write,
};
use crate::{
    background,
    clock::{Clock, SystemClock},
    position::Version,
    store::Store,
};

/// The property of a table that says of what it is an export.
const EXPORT_OF: &str = "highwater.exportOf";

/// An export on its way. Nothing of it is seen before [`Self::finish`].
#[derive(Debug)]
pub struct Export {
    store: Store,
    what: String,
    schema: SchemaRef,
    id: String,
    adds: Vec<Add>,
}

impl Export {
    /// An export of `what`, rows of `schema`, to the root of `store`.
    #[must_use]
    pub fn new(store: &Store, what: &str, schema: &SchemaRef) -> Self {
        let id = Uuid::now_v7().to_string();
        Self { store: store.clone(), what: what.to_owned(), schema: SchemaRef::clone(schema), id, adds: Vec::new() }
    }

    /// Writes one file of rows, which are of the export's schema.
    ///
    /// # Errors
    /// [`Error::Table`], [`Error::Store`].
    pub async fn write(&mut self, rows: RecordBatch) -> Result<(), Error> {
        let (action, schema) = ("encode rows", SchemaRef::clone(&self.schema));
        let encode = move || write::file(&schema, None, &[rows]);
        let encoded = background::run(encode).await;
        let file = encoded.map_err(Error::table(action))?;
        let path = format!("part-{:05}-{}.parquet", self.adds.len(), self.id);
        let size = file.bytes.len() as i64;
        self.store.put(&Path::from(path.as_str()), file.bytes).await?;
        self.adds.push(Add {
            path,
            size,
            modification_time: SystemClock.now_us() / 1_000,
            data_change: true,
            stats: Some(file.stats),
            ..Add::default()
        });
        Ok(())
    }

    /// Makes the rows written the table's, in place of all that it had. Returns its version.
    ///
    /// # Errors
    /// [`Error::Table`] if there is a table that is no export of the same, [`Error::Store`] if another export was faster.
    pub async fn finish(self) -> Result<Version, Error> {
        let action = "write the exported table";
        let columns: StructType = self.schema.as_ref().try_into_kernel().map_err(Error::table(action))?;
        let (version, mut actions) = match self.before().await? {
            None => (Version(0), self.first(&columns)?),
            Some((before, removes)) => {
                let metadata = before.metadata().clone().with_schema(&columns).map_err(Error::table(action))?;
                let read = Version(before.version());
                let mut actions = vec![self.info(Some(read)), Action::Metadata(metadata)];
                actions.extend(removes.into_iter().map(Action::Remove));
                (read.next(), actions)
            }
        };
        actions.extend(self.adds.into_iter().map(Action::Add));
        self.store.put_if_absent(&entry_path(&Path::default(), version), encode(&actions)?).await?;
        Ok(version)
    }

    fn info(&self, read: Option<Version>) -> Action {
        commit_info("WRITE", read, HashMap::from([("mode".to_owned(), json!("Overwrite"))]), None)
    }

    fn first(&self, columns: &StructType) -> Result<Vec<Action>, Error> {
        let action = "make the exported table";
        let none: [&str; 0] = [];
        let metadata = new_metadata(columns, none, [(EXPORT_OF, self.what.as_str())]).map_err(Error::table(action))?;
        let metadata = metadata.with_name(self.what.clone()).map_err(Error::table(action))?;
        let protocol = serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2}));
        let protocol = Action::Protocol(protocol.map_err(Error::table(action))?);
        Ok(vec![self.info(None), protocol, Action::Metadata(metadata)])
    }

    /// The table that is there, and the removal of all its files.
    async fn before(&self) -> Result<Option<(DeltaSnapshot, Vec<Remove>)>, Error> {
        let action = "open the exported table";
        let location = Url::parse("memory:///").map_err(Error::table(action))?;
        let builder = DeltaTableBuilder::from_url(location.clone()).map_err(Error::table(action))?;
        let log_store = builder.with_storage_backend(self.store.objects(), location).build_storage();
        let log_store = log_store.map_err(Error::table(action))?;
        let snapshot = match DeltaSnapshot::try_new(log_store.as_ref(), None).await {
            Ok(snapshot) => snapshot,
            Err(DeltaTableError::NotATable(_)) => return Ok(None),
            Err(error) => return Err(Error::table(action)(error)),
        };
        let of = snapshot.metadata().configuration().get(EXPORT_OF);
        if of.is_none_or(|of| *of != self.what) {
            let message = format!("{} has a table that is no export of {}", self.store.url(), self.what);
            return Err(Error::table(action)(message));
        }
        let files: Vec<_> =
            snapshot.file_views(log_store.as_ref(), None).try_collect().await.map_err(Error::table(action))?;
        let remove = |view: &deltalake::kernel::LogicalFileView| Remove {
            path: view.path().to_string(),
            data_change: true,
            deletion_timestamp: Some(SystemClock.now_us() / 1_000),
            ..Remove::default()
        };
        let removes = files.iter().map(remove).collect();
        Ok(Some((snapshot, removes)))
    }
}
