//! Reads the `txn` actions out of a checkpoint of the table's log.
//!
//! deltalake can be asked for one app id at a time only, and which partitions were ever committed is what is not known.

use arrow::{
    array::{Array, AsArray},
    datatypes::Int64Type,
};
use bytes::Bytes;
use object_store::path::Path;
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

use super::Error;
use crate::position::Version;

/// The file of a log that says which checkpoint was the last to be written. It may be behind.
pub(super) const HINT: &str = "_last_checkpoint";

/// The checkpoint that `hint`, the bytes of [`HINT`] in `log`, speaks of, if that is a single file.
pub(super) fn hinted(log: &Path, hint: &[u8]) -> Option<(Version, Path)> {
    let hint: serde_json::Value = serde_json::from_slice(hint).ok()?;
    let version = hint["version"].as_u64().filter(|_| hint.get("parts").is_none_or(serde_json::Value::is_null))?;
    Some((Version(version), log.clone().join(format!("{version:020}.checkpoint.parquet"))))
}

/// The newest checkpoint of `version` or before among the `paths` of a log: its version and its files. A checkpoint of
/// several files counts only if it has them all.
pub(super) fn newest(paths: &[Path], version: Version) -> Option<(Version, Vec<Path>)> {
    let mut checkpoints: std::collections::BTreeMap<(Version, u64), Vec<Path>> = Default::default();
    for path in paths {
        if let Some((of, parts)) = path.filename().and_then(parse).filter(|(of, _)| *of <= version) {
            checkpoints.entry((of, parts)).or_default().push(path.clone());
        }
    }
    let complete = checkpoints.into_iter().rev().find(|((_, parts), files)| files.len() as u64 == *parts);
    complete.map(|((of, _), files)| (of, files))
}

/// The version and the number of parts in a checkpoint file's name: `<version>.checkpoint.parquet` or
/// `<version>.checkpoint.<part>.<parts>.parquet`. Version 2 checkpoints are of tables that are not opened.
fn parse(name: &str) -> Option<(Version, u64)> {
    let (version, rest) = name.strip_suffix(".parquet")?.split_once(".checkpoint")?;
    let parts = match rest.strip_prefix('.') {
        None => 1,
        Some(parts) => parts.split_once('.')?.1.parse().ok()?,
    };
    Some((Version(version.parse().ok()?), parts))
}

/// Every `txn` action in one file of a checkpoint: app id and version.
pub(super) fn transactions(file: Bytes) -> Result<Vec<(String, i64)>, Error> {
    let corrupt = |message: &'static str| Error::table("read a checkpoint")(message);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(Error::table("read a checkpoint"))?;
    let Ok(column) = builder.schema().index_of("txn") else { return Ok(Vec::new()) };
    let mask = ProjectionMask::roots(builder.parquet_schema(), [column]);
    let reader = builder.with_projection(mask).build().map_err(Error::table("read a checkpoint"))?;
    let mut transactions = Vec::new();
    for batch in reader {
        let batch = batch.map_err(Error::table("read a checkpoint"))?;
        let actions = batch.column(0).as_struct_opt().ok_or_else(|| corrupt("txn is not a struct"))?;
        let app_ids = actions.column_by_name("appId").and_then(|column| column.as_string_opt::<i32>());
        let app_ids = app_ids.ok_or_else(|| corrupt("txn has no appId"))?;
        let versions = actions.column_by_name("version").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let versions = versions.ok_or_else(|| corrupt("txn has no version"))?;
        let rows = (0..actions.len()).filter(|&row| actions.is_valid(row));
        transactions.extend(rows.map(|row| (app_ids.value(row).to_owned(), versions.value(row))));
    }
    Ok(transactions)
}
