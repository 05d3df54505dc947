//! Columns to and from Polars, without copying: through the Arrow C data interface, which both libraries implement.
//!
//! The only `unsafe` code of the crate's expressions. Timestamps are UTC on both sides; Polars sees them without a time
//! zone, so that its SQL can compare them with literals.

use arrow::{
    array::{Array, ArrayRef, make_array},
    datatypes::DataType as ArrowType,
    error::ArrowError,
    ffi::{FFI_ArrowArray, from_ffi_and_data_type, to_ffi},
};
use polars::prelude::{CompatLevel, DataType, PlSmallStr, PolarsError, Series, TimeUnit};
use polars_arrow::{
    datatypes::{ArrowDataType, TimeUnit as PolarsArrowTimeUnit},
    ffi,
};

use crate::schema::{ColumnType, timestamp_type};

/// Why a column could not cross.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A column is not of the type it is said to be.
    #[error("column `{column}` is {got}, expected {expected}")]
    Type { column: String, got: ArrowType, expected: ArrowType },
    /// Arrow failed.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// Polars failed.
    #[error(transparent)]
    Polars(#[from] PolarsError),
}

/// The Polars type of a column.
pub(super) fn polars_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Int => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal(precision.into(), scale.into()),
        ColumnType::String => DataType::String,
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Timestamp => DataType::Datetime(TimeUnit::Microseconds, None),
    }
}

/// The Arrow type in which a column of this type goes to Polars, and Polars' name for it. Text goes as views, which is how
/// Polars keeps it.
fn crossing(column_type: ColumnType) -> (ArrowType, ArrowDataType) {
    match column_type {
        ColumnType::Int => (ArrowType::Int64, ArrowDataType::Int64),
        ColumnType::Double => (ArrowType::Float64, ArrowDataType::Float64),
        ColumnType::Decimal { precision, scale } => {
            (column_type.arrow(), ArrowDataType::Decimal(precision.into(), scale.into()))
        }
        ColumnType::String => (ArrowType::Utf8View, ArrowDataType::Utf8View),
        ColumnType::Bool => (ArrowType::Boolean, ArrowDataType::Boolean),
        // Microseconds UTC are the same numbers without a zone.
        ColumnType::Timestamp => (timestamp_type(), ArrowDataType::Timestamp(PolarsArrowTimeUnit::Microsecond, None)),
    }
}

/// `array`, of `column_type` (text in any of Arrow's encodings), as a Polars column of this name.
pub(super) fn to_polars(name: &str, array: &ArrayRef, column_type: ColumnType) -> Result<Series, Error> {
    let (arrow_type, polars_arrow_type) = crossing(column_type);
    let array = match column_type {
        // A dictionary's values or a column's text stay where they are: only the views are made.
        ColumnType::String => arrow::compute::cast(array, &arrow_type)?,
        // The dataset reads short decimals as 64 bits.
        ColumnType::Decimal { .. } if matches!(array.data_type(), ArrowType::Decimal64(..)) => {
            arrow::compute::cast(array, &arrow_type)?
        }
        _ => array.clone(),
    };
    if *array.data_type() != arrow_type {
        let (got, expected) = (array.data_type().clone(), arrow_type);
        return Err(Error::Type { column: name.to_owned(), got, expected });
    }
    let (exported, _) = to_ffi(&array.to_data())?;
    // SAFETY: both are the C data interface's `struct ArrowArray`, `#[repr(C)]` with the same fields; ownership moves with
    // the bytes, and Polars' drop calls arrow-rs's release callback once.
    let imported = unsafe { std::mem::transmute::<FFI_ArrowArray, ffi::ArrowArray>(exported) };
    // SAFETY: arrow-rs exported a valid array of `arrow_type`, whose layout is that of `polars_arrow_type`.
    let imported = unsafe { ffi::import_array_from_c(imported, polars_arrow_type)? };
    Ok(Series::from_arrow(name.into(), imported)?)
}

/// `series`, of the Polars type of `column_type`, in Arrow's type of it.
pub(super) fn from_polars(series: &Series, column_type: ColumnType) -> Result<ArrayRef, Error> {
    let (arrow_type, polars_arrow_type) = crossing(column_type);
    let array = series.rechunk().to_arrow(0, CompatLevel::newest());
    if *array.dtype() != polars_arrow_type {
        let polars =
            PolarsError::SchemaMismatch(format!("got {:?}, expected {polars_arrow_type:?}", array.dtype()).into());
        return Err(polars.into());
    }
    let exported = ffi::export_array_to_c(array);
    // SAFETY: as in `to_polars`, the other way round; arrow-rs's drop calls Polars' release callback once.
    let exported = unsafe { std::mem::transmute::<ffi::ArrowArray, FFI_ArrowArray>(exported) };
    // SAFETY: Polars exported a valid array of `polars_arrow_type`, whose layout is that of `arrow_type`.
    let data = unsafe { from_ffi_and_data_type(exported, arrow_type)? };
    let array = make_array(data);
    Ok(match column_type {
        ColumnType::String => arrow::compute::cast(&array, &ArrowType::Utf8)?,
        _ => array,
    })
}

/// The name of the one column of an expression's result.
pub(super) const RESULT: PlSmallStr = PlSmallStr::from_static("result");
