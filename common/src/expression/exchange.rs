//! Columns for Polars and from it, for whoever runs more of Polars' SQL than one expression.

use arrow::array::ArrayRef;
use polars::prelude::{Column, DataType, Series, TimeUnit};

use super::{
    Error, bridge,
    engine::{self, Cause},
};
use crate::schema::ColumnType;

/// `array`, of `column_type` (text in any of Arrow's encodings), as a column of this name. Timestamps are UTC and have no zone
/// there.
///
/// # Errors
/// [`Error::Evaluation`] if the array is of another type.
pub fn to_polars(name: &str, array: &ArrayRef, column_type: ColumnType) -> Result<Column, Error> {
    let failed = |source: Cause| Error::Evaluation { sql: name.to_owned(), source };
    Ok(bridge::to_polars(name, array, column_type).map_err(|error| failed(error.into()))?.into())
}

/// `column` in Arrow, with its type. Smaller numbers are widened, dates are timestamps at midnight, and what is null throughout
/// is text.
///
/// # Errors
/// [`Error::Evaluation`] if it is of a type that no column can have.
pub fn from_polars(column: &Column) -> Result<(ArrayRef, ColumnType), Error> {
    let failed = |source: Cause| Error::Evaluation { sql: column.name().to_string(), source };
    let series = column.as_materialized_series();
    let wider = match series.dtype() {
        DataType::Null => DataType::String,
        DataType::UInt64 => DataType::Int64,
        DataType::Duration(_) => DataType::Int64,
        other => {
            let column_type = engine::column_type(other).map_err(|message| failed(message.into()))?;
            bridge::polars_type(column_type)
        }
    };
    let wide: Series = match series.dtype() {
        DataType::Duration(TimeUnit::Microseconds) => series.to_physical_repr().into_owned(),
        _ => series.strict_cast(&wider).map_err(|error| failed(error.into()))?,
    };
    let column_type = engine::column_type(wide.dtype()).map_err(|message| failed(message.into()))?;
    let array = bridge::from_polars(&wide, column_type).map_err(|error| failed(error.into()))?;
    Ok((array, column_type))
}
