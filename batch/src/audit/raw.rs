//! Raw files as typed events, read by Polars alone: no decoder, log or dataset of ours in between.
//!
//! The files must be such that every row became an event; rows that did not would be counted here. All that `replay` reads
//! is read: NDJSON, CSV with a header (both also compressed), and Parquet. The whole of a file is in memory at once.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    ops::Range,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use common::{
    decode::Rules,
    position::{Partition, Position, Positions},
    schema::{Column, ColumnType, OFFSET, Origin, PARTITION, TimestampFormat},
    view::View,
};
use polars::prelude::{
    CsvReadOptions, DataFrame, DataType, Expr, IntoLazy, JsonFormat, JsonReader, LazyFrame, NULL, ParquetReader,
    PlRefPath, ScanArgsParquet, Schema, SerReader, StrptimeOptions, TimeUnit, TimeZone, UnionArgs, col, concat, lit,
    when,
};

use crate::Error;

/// The rows of `files` as events by `rules`: the source's own columns in their types.
///
/// # Errors
/// [`Error::Raw`] for a file of a kind not known or without a column that must be there, or for rules with paths, [`Error::Polars`].
pub fn scan(rules: &Rules, files: &[impl AsRef<Path>]) -> Result<LazyFrame, Error> {
    let frames: Vec<LazyFrame> = files.iter().map(|file| scan_file(rules, file.as_ref())).collect::<Result<_, _>>()?;
    if frames.is_empty() {
        return Ok(empty(&rules.schema.columns().iter().collect::<Vec<_>>()));
    }
    concat(frames, UnionArgs::default()).map_err(|source| Error::Polars { action: "concatenate raw files", source })
}

/// The events of a dataset's own files, whose bytes these are, by Polars' reader of Parquet alone: the columns that `view` reads.
/// Only events before these positions, and with a time in `window`, `[from, to)`.
///
/// # Errors
/// [`Error::Polars`].
pub(super) fn of_dataset(
    rules: &Rules,
    view: &View,
    files: Vec<Bytes>,
    before: Option<&Positions>,
    window: &Range<i64>,
) -> Result<LazyFrame, Error> {
    let read = |source| Error::Polars { action: "read a data file", source };
    let wanted = view.columns();
    let columns: Vec<&Column> = rules.schema.columns().iter().filter(|c| wanted.contains(c.name.as_str())).collect();
    let time = |us: i64| lit(us).cast(dtype(ColumnType::Timestamp));
    let at = || col(view.time_column.as_str());
    let mut frames = vec![empty(&columns)];
    for bytes in files {
        let mut reader = ParquetReader::new(Cursor::new(bytes));
        let there = reader.schema().map_err(read)?;
        let mut names: Vec<String> = columns.iter().map(|c| c.name.to_string()).filter(|n| there.contains(n)).collect();
        names.extend([PARTITION.to_owned(), OFFSET.to_owned()]);
        let mut frame = reader.with_columns(Some(names)).finish().map_err(read)?.lazy();
        let found = frame.collect_schema().map_err(read)?;
        if let Some(before) = before {
            let of = |(partition, end): (&Partition, &Position)| {
                let ours = col(PARTITION).cast(DataType::Int64).eq(lit(i64::from(partition.0)));
                ours.and(col(OFFSET).lt(lit(i64::try_from(end.0).unwrap_or(i64::MAX))))
            };
            frame = frame.filter(before.iter().map(of).fold(lit(false), Expr::or));
        }
        let typed = columns.iter().map(|column| match found.get(&column.name) {
            Some(from) => typed(column, from).alias(&*column.name),
            None => lit(NULL).cast(dtype(column.column_type)).alias(&*column.name),
        });
        frame = frame.select(typed.collect::<Vec<_>>());
        if window.start != i64::MIN {
            frame = frame.filter(at().gt_eq(time(window.start)));
        }
        if window.end != i64::MAX {
            frame = frame.filter(at().lt(time(window.end)));
        }
        frames.push(frame);
    }
    concat(frames, UnionArgs::default()).map_err(|source| Error::Polars { action: "concatenate raw files", source })
}

fn empty(columns: &[&Column]) -> LazyFrame {
    let schema: Schema = columns.iter().map(|c| ((&*c.name).into(), dtype(c.column_type))).collect();
    DataFrame::empty_with_schema(&schema).lazy()
}

fn scan_file(rules: &Rules, file: &Path) -> Result<LazyFrame, Error> {
    let wrong = |message: String| Error::Raw { path: file.display().to_string(), message };
    let read = |source| Error::Polars { action: "read a raw file", source };
    let columns = rules.schema.columns();
    if !rules.format.is_plain_json() {
        return Err(wrong(format!("the source takes {}, which the audit does not read", rules.format.name())));
    }
    let is_member = |column: &&Column| column.origin == Origin::Value && column.path.is_member(&column.name);
    if let Some(column) = columns.iter().find(|column| !is_member(column)) {
        return Err(wrong(format!(
            "column {} stands at {} of the record's {:?}, which the audit does not follow",
            column.name, column.path, column.origin
        )));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let mut frame = match plain.rsplit_once('.').map(|(_, extension)| extension) {
        Some("ndjson" | "jsonl") => {
            let schema: Schema = columns.iter().map(|c| ((&*c.name).into(), json_dtype(c))).collect();
            let reader = JsonReader::new(Cursor::new(text(file).map_err(|error| wrong(error.to_string()))?));
            let reader = reader.with_json_format(JsonFormat::JsonLines).with_schema(Arc::new(schema));
            reader.finish().map_err(read)?.lazy()
        }
        Some("csv") => {
            let text = Cursor::new(text(file).map_err(|error| wrong(error.to_string()))?);
            let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
            options.into_reader_with_file_handle(text).finish().map_err(read)?.lazy()
        }
        Some("parquet") if plain == name => {
            let path = file.to_str().ok_or_else(|| wrong("the path is not UTF-8".to_owned()))?;
            let options = ScanArgsParquet { glob: false, ..ScanArgsParquet::default() };
            LazyFrame::scan_parquet(PlRefPath::new(path), options).map_err(read)?
        }
        _ => {
            return Err(wrong("allowed are .ndjson, .jsonl and .csv (also with .gz or .zst), and .parquet".to_owned()));
        }
    };
    let found = frame.collect_schema().map_err(read)?;
    let typed = columns.iter().map(|column| match found.get(&column.name) {
        Some(from) => Ok(typed(column, from).alias(&*column.name)),
        None if column.nullable => Ok(lit(NULL).cast(dtype(column.column_type)).alias(&*column.name)),
        None => Err(wrong(format!("there is no column {}, which may not be null", column.name))),
    });
    let typed: Vec<Expr> = typed.collect::<Result<_, _>>()?;
    Ok(frame.select(typed))
}

/// The whole text of a file, decompressed by its name's ending.
fn text(path: &Path) -> io::Result<Vec<u8>> {
    let file = BufReader::new(File::open(path)?);
    let mut text = Vec::new();
    match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => flate2::bufread::MultiGzDecoder::new(file).read_to_end(&mut text)?,
        Some("zst") => zstd::Decoder::with_buffer(file)?.read_to_end(&mut text)?,
        _ => { file }.read_to_end(&mut text)?,
    };
    Ok(text)
}

/// The Polars type of a column's values.
pub(super) fn dtype(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Int => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal(precision.into(), scale.into()),
        ColumnType::String => DataType::String,
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Timestamp => DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)),
    }
}

/// How a column is taken from JSON: numbers that must stay exact as their text.
fn json_dtype(column: &Column) -> DataType {
    match (column.column_type, column.timestamp_format) {
        (ColumnType::Decimal { .. }, _) | (ColumnType::Timestamp, TimestampFormat::Rfc3339) => DataType::String,
        (ColumnType::Timestamp, _) => DataType::Int64,
        (other, _) => dtype(other),
    }
}

/// The column in its own type, from what the file has.
fn typed(column: &Column, from: &DataType) -> Expr {
    let raw = col(&*column.name);
    match (column.column_type, from) {
        // A time without a zone is UTC.
        (ColumnType::Timestamp, DataType::Datetime(_, _)) => raw.strict_cast(dtype(ColumnType::Timestamp)),
        (ColumnType::Timestamp, DataType::String) if column.timestamp_format == TimestampFormat::Rfc3339 => {
            rfc3339(raw)
        }
        (ColumnType::Timestamp, _) => epoch(raw.strict_cast(DataType::Int64), column.timestamp_format),
        (ColumnType::Bool, DataType::String) => when(raw.clone().eq(lit("true")))
            .then(lit(true))
            .when(raw.eq(lit("false")))
            .then(lit(false))
            .otherwise(lit(NULL)),
        (other, _) => raw.strict_cast(dtype(other)),
    }
}

fn rfc3339(text: Expr) -> Expr {
    let options = StrptimeOptions { format: Some("%+".into()), ..StrptimeOptions::default() };
    text.str().to_datetime(Some(TimeUnit::Microseconds), Some(TimeZone::UTC), options, lit("raise"))
}

/// Time from a number of units since 1970-01-01 UTC; what is finer than a microsecond is cut off towards the past.
fn epoch(number: Expr, format: TimestampFormat) -> Expr {
    let micros = match format {
        TimestampFormat::Seconds => number * lit(1_000_000_i64),
        TimestampFormat::Millis => number * lit(1_000_i64),
        TimestampFormat::Micros | TimestampFormat::Rfc3339 => number,
        TimestampFormat::Nanos => number.floor_div(lit(1_000_i64)),
    };
    micros.cast(dtype(ColumnType::Timestamp))
}
