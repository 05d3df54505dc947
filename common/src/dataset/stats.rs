//! The statistics of a data file, as its `add` action has them: how many rows, and the bounds of each column.

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch},
    compute::{cast, max, max_string, min, min_string},
    datatypes::{DataType, Float64Type, Int32Type, Int64Type, SchemaRef},
};
use serde_json::{Map, Value, json};

/// The longest text that goes into a file's statistics, in bytes: longer ones make the log large and skip little.
const STATS_TEXT_MAX: usize = 64;

/// Those of the file of `batches`, which have the columns of `schema`, as JSON.
pub(super) fn stats(schema: &SchemaRef, batches: &[RecordBatch]) -> String {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (index, field) in schema.fields().iter().enumerate() {
        let columns: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(index)).collect();
        let count: usize = columns.iter().map(|column| column.logical_null_count()).sum();
        nulls.insert(field.name().clone(), json!(count));
        if let Some((min, max)) = bounds(field.data_type(), &columns) {
            least.insert(field.name().clone(), min);
            greatest.insert(field.name().clone(), max);
        }
    }
    json!({"numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls}).to_string()
}

/// The least and the greatest value, for types and values whose bounds are exact in JSON.
fn bounds(data_type: &DataType, columns: &[&ArrayRef]) -> Option<(Value, Value)> {
    match data_type {
        DataType::Int32 => {
            let columns = columns.iter().map(|column| column.as_primitive::<Int32Type>());
            let (least, greatest): (Vec<_>, Vec<_>) = columns.map(|column| (min(column), max(column))).unzip();
            Some((json!(least.into_iter().flatten().min()?), json!(greatest.into_iter().flatten().max()?)))
        }
        DataType::Int64 => int_bounds(columns).map(|(least, greatest)| (json!(least), json!(greatest))),
        DataType::Timestamp(..) => {
            let columns: Vec<ArrayRef> =
                columns.iter().map(|column| cast(column, &DataType::Int64)).collect::<Result<_, _>>().ok()?;
            let (least, greatest) = int_bounds(&columns.iter().collect::<Vec<_>>())?;
            let text = |time_us| jiff::Timestamp::from_microsecond(time_us).ok().map(|time| json!(time.to_string()));
            Some((text(least)?, text(greatest)?))
        }
        DataType::Float64 => {
            let columns = columns.iter().map(|column| column.as_primitive::<Float64Type>());
            let bounds = columns.filter_map(|column| min(column).zip(max(column)));
            // In the total order a NaN is at one of the ends; JSON has none, so there are no bounds then.
            let (least, greatest) = bounds.reduce(|a, b| {
                (std::cmp::min_by(a.0, b.0, f64::total_cmp), std::cmp::max_by(a.1, b.1, f64::total_cmp))
            })?;
            (least.is_finite() && greatest.is_finite()).then(|| (json!(least), json!(greatest)))
        }
        DataType::Utf8 => {
            let bounds = columns.iter().filter_map(|column| text_bounds(column));
            let (least, greatest) = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
            let short = least.len() <= STATS_TEXT_MAX && greatest.len() <= STATS_TEXT_MAX;
            short.then(|| (json!(least), json!(greatest)))
        }
        _ => None,
    }
}

/// The least and the greatest text; of a dictionary those that occur, which may be few.
fn text_bounds(column: &ArrayRef) -> Option<(&str, &str)> {
    let Some(coded) = column.as_dictionary_opt::<Int32Type>() else {
        let texts = column.as_string::<i32>();
        return min_string(texts).zip(max_string(texts));
    };
    let texts = coded.values().as_string::<i32>();
    let mut occurs = vec![false; texts.len()];
    coded.keys().iter().flatten().for_each(|code| occurs[code as usize] = true);
    let texts = texts.iter().zip(occurs).filter_map(|(text, occurs)| text.filter(|_| occurs));
    texts.fold(None, |bounds: Option<(&str, &str)>, text| {
        let (least, greatest) = bounds.unwrap_or((text, text));
        Some((least.min(text), greatest.max(text)))
    })
}

fn int_bounds(columns: &[&ArrayRef]) -> Option<(i64, i64)> {
    let columns = columns.iter().map(|column| column.as_primitive::<Int64Type>());
    let bounds = columns.filter_map(|column: &Int64Array| min(column).zip(max(column)));
    bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}
