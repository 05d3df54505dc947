//! The arguments of aggregates that are literals: numbers and lists of them.

use sqlparser::ast::{Array, Expr, Spanned, UnaryOperator, Value, ValueWithSpan};

use crate::{
    expression::{Fault, unnested},
    measure::{DISTINCT_PRECISION, QUANTILES_RELATIVE_ERROR},
};

/// The elements of a list.
pub(super) fn elements(expr: &Expr) -> Option<&[Expr]> {
    match unnested(expr) {
        Expr::Array(Array { elem, .. }) => Some(elem),
        _ => None,
    }
}

/// A number as it is written, with its sign.
pub(super) fn number(expr: &Expr) -> Option<String> {
    match unnested(expr) {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            number(expr).map(|text| text.strip_prefix('-').map_or(format!("-{text}"), str::to_owned))
        }
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => Some(text.clone()),
        _ => None,
    }
}

/// A quantile.
pub(super) fn quantile_of(expr: &Expr) -> Result<f64, Fault> {
    let value = number(expr).and_then(|text| text.parse::<f64>().ok());
    value.filter(|quantile| (0.0..=1.0).contains(quantile)).ok_or_else(|| {
        Fault::new(expr.span(), "a quantile is a number from 0 to 1").help("0.95 is the 95th percentile")
    })
}

/// The relative error of a percentile.
pub(super) fn relative_error_of(expr: &Expr) -> Result<f64, Fault> {
    let value = number(expr).and_then(|text| text.parse::<f64>().ok());
    value.filter(|error| (0.0001..=0.5).contains(error)).ok_or_else(|| {
        Fault::new(expr.span(), "a relative error is a number from 0.0001 to 0.5")
            .help(format!("{QUANTILES_RELATIVE_ERROR} is the default: 1 % of the value"))
    })
}

/// The precision of a HyperLogLog.
pub(super) fn precision_of(expr: &Expr) -> Result<u8, Fault> {
    let value = number(expr).and_then(|text| text.parse::<u8>().ok());
    value.filter(|precision| (4..=16).contains(precision)).ok_or_else(|| {
        Fault::new(expr.span(), "a precision is a whole number from 4 to 16").help(format!(
            "{DISTINCT_PRECISION} is the default: an error of 1.6 %, at most 4 KiB a group; 2 more halve the error and take \
             four times the memory"
        ))
    })
}
