//! Partials: the table `bucket, dimensions…, states…` of one view over some set of events, and its file format.
//!
//! A canonical partial has one row per group and is sorted by bucket, then by the dimensions in order (nulls first, text
//! by bytes); so equal sets of events give equal bytes (L1). Nothing that differs between two runs may get into a file: no
//! time, no host, no random number.

mod file;

pub use self::file::{from_parquet, to_parquet};
use crate::{
    fold::{GroupTable, order_rows, take_partial},
    measure::Error,
    view::View,
};
use arrow::{
    array::{ArrayRef, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{DataType, SchemaRef},
    record_batch::RecordBatch,
};

/// Merges partials of `view` into one canonical partial.
///
/// # Errors
/// [`Error::Overflow`], [`Error::Corrupt`], [`Error::Null`], [`Error::Type`].
pub fn merge<'a>(view: &View, partials: impl IntoIterator<Item = &'a RecordBatch>) -> Result<RecordBatch, Error> {
    let schema = view.partial_schema();
    let keys = 1 + view.dimensions.len();
    let mut table = GroupTable::of(view);
    for partial in partials {
        let columns = columns(&schema, partial)?;
        table.merge(&columns[..keys], &columns[keys..])?;
    }
    take_partial(view, &mut table)
}

/// Puts partials of `view`, in any order and without a group in common, together into one canonical partial.
///
/// # Errors
/// [`Error::Overflow`], [`Error::Arrow`].
pub fn join(view: &View, partials: &[RecordBatch]) -> Result<RecordBatch, Error> {
    let all = concat_batches(&view.partial_schema(), partials)?;
    let order = order_rows(view, &all.columns()[..1 + view.dimensions.len()])?;
    Ok(take_record_batch(&all, &UInt32Array::from(order))?)
}

/// The columns of `partial`, if they are those of `schema`.
pub(crate) fn columns<'a>(schema: &SchemaRef, partial: &'a RecordBatch) -> Result<&'a [ArrayRef], Error> {
    for (at, expected) in schema.fields().iter().enumerate() {
        let got = partial.columns().get(at).filter(|_| partial.schema_ref().field(at).name() == expected.name());
        let got = got.map_or(&DataType::Null, |column| column.data_type());
        if got != expected.data_type() {
            let (column, expected) = (expected.name().clone(), expected.data_type().clone());
            return Err(Error::Type { column, got: got.clone(), expected });
        }
        if !expected.is_nullable() && partial.column(at).null_count() > 0 {
            return Err(Error::Null { column: expected.name().clone() });
        }
    }
    if let Some(more) = partial.schema_ref().fields().get(schema.fields().len()) {
        let (column, got) = (more.name().clone(), more.data_type().clone());
        return Err(Error::Type { column, got, expected: DataType::Null });
    }
    Ok(partial.columns())
}
