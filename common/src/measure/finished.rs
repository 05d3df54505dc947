//! Finishing: from the states of groups to the values that a query answers.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, ListArray, StructArray,
        TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field},
};

use super::{
    Error, Finish, StateFunction, StateSpec, WIDE_SUM,
    big::quotient,
    count, datasketches, distinct,
    finish::state_type,
    frequent, histogram, hyperloglog, ordered,
    pick::Layout,
    quantiles::Percentiles,
    spec::sum_width,
    squares, sum,
    value::ValueType,
    variance::{Units, WORDS, variance},
    wide::{FIXED_POINT, Wide},
};
use crate::schema::ColumnType;

/// The quantile of a sketch that is finished without one.
const MEDIAN: f64 = 0.5;

/// How many values a top k has that is finished without a number.
const TOP: usize = 10;

/// The finished values of a measure.
#[derive(Debug, Clone)]
pub struct Finished {
    /// One value a row of states, in the Arrow type of the measure's [`value_type`](super::Measure::value_type), null where
    /// there is none.
    pub values: ArrayRef,
    /// How many of the values are null only because an input was NaN, infinite or outside ±2^63, so that its sum is
    /// poisoned. An answer must warn of them.
    pub poisoned: usize,
}

/// See [`super::Measure::finish`].
pub(super) fn finish(finish: &Finish, specs: &[StateSpec], states: &[ArrayRef]) -> Result<Finished, Error> {
    let main = finish.main_state();
    let (spec, state) = (&specs[main], &states[main]);
    let counts = |at: usize| count::counts(&specs[at].name(), &states[at]);
    match *finish {
        Finish::State(_) | Finish::Distinct(_) => finish_state(spec, state),
        Finish::Avg { count, .. } if spec.input_type() == ColumnType::Timestamp => {
            mean_time(spec, state, counts(count)?)
        }
        Finish::Avg { count, .. } => average(spec, state, counts(count)?),
        Finish::Variance { sum, count, sample, root, .. } => {
            let pairs = with_counts(sums(&specs[sum], &states[sum])?, counts(count)?)?;
            variances(spec, state, pairs, sample, root)
        }
        Finish::Sketch(_) => sketch(spec, state),
        Finish::Percentile { quantile, .. } => percentile(spec, state, quantile),
        Finish::Percentiles { ref quantiles, .. } => percentiles(spec, state, quantiles),
        Finish::TopK { k, .. } => top(spec, state, k),
    }
}

fn exact(values: ArrayRef) -> Finished {
    Finished { values, poisoned: 0 }
}

fn finish_state(spec: &StateSpec, states: &ArrayRef) -> Result<Finished, Error> {
    match spec.function {
        StateFunction::Count | StateFunction::Min | StateFunction::Max => {
            let expected = spec.field().data_type().clone();
            if *states.data_type() != expected {
                return Err(Error::Type { column: spec.name(), got: states.data_type().clone(), expected });
            }
            Ok(exact(Arc::clone(states)))
        }
        StateFunction::Sum => finish_sum(spec, states),
        StateFunction::Squares => Err(Error::Type {
            column: spec.name(),
            got: states.data_type().clone(),
            expected: ColumnType::Double.arrow(),
        }),
        StateFunction::First | StateFunction::Last | StateFunction::ArgMin | StateFunction::ArgMax => {
            Layout::of(&spec.inputs).finish(&spec.name(), states).map(exact)
        }
        StateFunction::Distinct { precision } => {
            let sketches = distinct::sketches(&spec.name(), states)?;
            let estimate = |bytes| {
                let estimate = hyperloglog::estimate(bytes, precision)?;
                i64::try_from(estimate).map_err(|_| overflow(spec, "int"))
            };
            let estimates = sketches.iter().map(|bytes| estimate(bytes.unwrap_or_default()));
            Ok(exact(Arc::new(Int64Array::from(estimates.collect::<Result<Vec<_>, _>>()?))))
        }
        StateFunction::Quantiles { .. } => percentile(spec, states, MEDIAN),
        StateFunction::TopK => top(spec, states, TOP),
        StateFunction::Histogram(ref edges) => histogram::finish(&spec.name(), edges, states).map(exact),
    }
}

fn overflow(spec: &StateSpec, limit: &'static str) -> Error {
    Error::Overflow { state: spec.name(), limit }
}

/// The sums of a column, in units of the input's last digit (2^-64 of doubles); `None` of no inputs.
fn sums(spec: &StateSpec, states: &ArrayRef) -> Result<Vec<Option<Wide>>, Error> {
    let width = sum_width(spec.input_type());
    let sums = sum::sums(&spec.name(), states, width)?;
    let wide = |row| if width == WIDE_SUM { sum::wide_sum(sums, row) } else { sum::narrow_sum(sums, row).into() };
    Ok((0..sums.len()).map(|row| sums.is_valid(row).then(|| wide(row))).collect())
}

fn finish_sum(spec: &StateSpec, states: &ArrayRef) -> Result<Finished, Error> {
    let sums = sums(spec, states)?.into_iter();
    match state_type(spec).scalar() {
        Some(ColumnType::Double) => Ok(doubles(sums.map(|sum| sum.map(|sum| (sum, 1))), 1, -FIXED_POINT)),
        Some(decimal @ ColumnType::Decimal { precision, .. }) => {
            let limit = 10_i128.pow(u32::from(precision));
            let fits = |sum: Wide| sum.to_i128().filter(|sum| sum.unsigned_abs() < limit.unsigned_abs());
            let values = sums.map(|sum| sum.map(|s| fits(s).ok_or_else(|| overflow(spec, "decimal(38)"))).transpose());
            let values: Decimal128Array = values.collect::<Result<_, _>>()?;
            Ok(exact(Arc::new(values.with_data_type(decimal.arrow()))))
        }
        _ => {
            let fits = |sum: Wide| sum.to_i128().and_then(|sum| i64::try_from(sum).ok());
            let values = sums.map(|sum| sum.map(|s| fits(s).ok_or_else(|| overflow(spec, "int"))).transpose());
            Ok(exact(Arc::new(values.collect::<Result<Int64Array, _>>()?)))
        }
    }
}

/// What sums of such inputs count in.
fn units(input: ColumnType) -> Units {
    match input {
        ColumnType::Double => Units { scale: 1, exponent: -FIXED_POINT },
        ColumnType::Decimal { scale, .. } => Units { scale: 10_u128.pow(u32::from(scale)), exponent: 0 },
        _ => Units { scale: 1, exponent: 0 },
    }
}

/// The count beside a sum, which must be of something.
fn count_of_some(count: i64) -> Result<u64, Error> {
    let none = || Error::Corrupt { state: "count", message: format!("{count} beside a sum") };
    u64::try_from(count).ok().filter(|&count| count > 0).ok_or_else(none)
}

/// Each sum with its count; `None` of none.
fn with_counts(sums: Vec<Option<Wide>>, counts: &[i64]) -> Result<Vec<Option<(Wide, u64)>>, Error> {
    let pairs = sums.into_iter().zip(counts);
    pairs.map(|(sum, &n)| sum.map(|sum| count_of_some(n).map(|n| (sum, n))).transpose()).collect()
}

fn average(spec: &StateSpec, states: &ArrayRef, counts: &[i64]) -> Result<Finished, Error> {
    let Units { scale, exponent } = units(spec.input_type());
    let pairs = with_counts(sums(spec, states)?, counts)?;
    Ok(doubles(pairs.into_iter(), scale, exponent))
}

/// The mean of time stamps, rounded down to a microsecond.
fn mean_time(spec: &StateSpec, states: &ArrayRef, counts: &[i64]) -> Result<Finished, Error> {
    let mean = |(sum, count): (Wide, u64)| {
        let mean = sum.to_i128().map(|sum| sum.div_euclid(count.into()));
        mean.and_then(|mean| i64::try_from(mean).ok()).ok_or_else(|| overflow(spec, "timestamp"))
    };
    let pairs = with_counts(sums(spec, states)?, counts)?.into_iter();
    let means: TimestampMicrosecondArray = pairs.map(|pair| pair.map(mean).transpose()).collect::<Result<_, _>>()?;
    Ok(exact(Arc::new(means.with_timezone("UTC"))))
}

/// `sum / (count · scale) · 2^exponent` of each, rounded once; null of none and of poison.
fn doubles(sums: impl Iterator<Item = Option<(Wide, u64)>>, scale: u128, exponent: i32) -> Finished {
    let mut poisoned = 0;
    let values: Float64Array = sums
        .map(|sum| {
            let (sum, count) = sum?;
            if sum == Wide::POISON {
                poisoned += 1;
                return None;
            }
            Some(quotient(sum, count, scale, exponent))
        })
        .collect();
    Finished { values: Arc::new(values), poisoned }
}

/// The variances of inputs with these sums of squares, sums and counts; their roots if `root`.
fn variances(
    spec: &StateSpec,
    states: &ArrayRef,
    pairs: Vec<Option<(Wide, u64)>>,
    sample: bool,
    root: bool,
) -> Result<Finished, Error> {
    let words = squares::words(spec.input_type());
    let squares = sum::sums(&spec.name(), states, 8 * words as i32)?;
    let (units, mut poisoned) = (units(spec.input_type()), 0);
    let mut of = |row: usize, (sum, count): (Wide, u64)| {
        let squares = squares::sum_of_squares::<WORDS>(squares, row, words).filter(|_| sum != Wide::POISON);
        let Some(squares) = squares else {
            poisoned += 1;
            return Ok(None);
        };
        let variance = variance(count, sum, squares, units, sample);
        let variance = variance.map_err(|message| Error::Corrupt { state: "squares", message })?;
        Ok(variance.map(|variance| if root { variance.sqrt() } else { variance }))
    };
    let values = pairs.into_iter().enumerate().map(|(row, pair)| pair.map_or(Ok(None), |pair| of(row, pair)));
    let values: Float64Array = values.collect::<Result<_, Error>>()?;
    Ok(Finished { values: Arc::new(values), poisoned })
}

/// The quantiles of each group's sketch, all of one after those of the other; none of an empty one.
fn quantiles(spec: &StateSpec, states: &ArrayRef, quantiles: &[f64]) -> Result<Vec<Option<Vec<f64>>>, Error> {
    let StateFunction::Quantiles { relative_error } = spec.function else {
        return Err(Error::Type { column: spec.name(), got: states.data_type().clone(), expected: DataType::Binary });
    };
    let sketches = distinct::sketches(&spec.name(), states)?;
    let mut percentiles = Percentiles::new(spec.name(), relative_error, quantiles);
    sketches.iter().map(|bytes| percentiles.of(bytes.unwrap_or_default())).collect()
}

fn percentile(spec: &StateSpec, states: &ArrayRef, quantile: f64) -> Result<Finished, Error> {
    let values = quantiles(spec, states, &[quantile])?.into_iter().map(|values| values.map(|values| values[0]));
    Ok(exact(Arc::new(values.collect::<Float64Array>())))
}

fn percentiles(spec: &StateSpec, states: &ArrayRef, asked: &[f64]) -> Result<Finished, Error> {
    let values = quantiles(spec, states, asked)?;
    let nulls: NullBuffer = values.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let lengths = values.iter().map(|values| values.as_ref().map_or(0, Vec::len));
    let items: Float64Array = values.iter().flatten().flatten().copied().map(Some).collect();
    let list = list(ValueType::List(ColumnType::Double), lengths, Arc::new(items), Some(nulls))?;
    Ok(exact(list))
}

fn top(spec: &StateSpec, states: &ArrayRef, k: usize) -> Result<Finished, Error> {
    let (name, input) = (spec.name(), spec.input_type());
    let sketches = distinct::sketches(&name, states)?;
    let tops = sketches.iter().map(|bytes| frequent::top(&name, bytes.unwrap_or_default(), input, k));
    let tops = tops.collect::<Result<Vec<_>, _>>()?;
    let values = ordered::column("top_k", input, tops.iter().flatten().map(|&(value, _)| Some(value)))?;
    let counts: Int64Array = tops.iter().flatten().map(|&(_, count)| Some(count)).collect();
    let value_type = ValueType::Counts(input);
    let items = structs(value_type, vec![values, Arc::new(counts)])?;
    Ok(exact(list(value_type, tops.iter().map(Vec::len), items, None)?))
}

fn sketch(spec: &StateSpec, states: &ArrayRef) -> Result<Finished, Error> {
    let StateFunction::Distinct { precision } = spec.function else {
        return Err(Error::Type { column: spec.name(), got: states.data_type().clone(), expected: DataType::Binary });
    };
    let sketches = distinct::sketches(&spec.name(), states)?;
    let images = sketches.iter().map(|bytes| datasketches::image(bytes.unwrap_or_default(), precision));
    let images = images.collect::<Result<Vec<_>, _>>()?;
    Ok(exact(Arc::new(images.iter().map(Some).collect::<BinaryArray>())))
}

/// The item of a list type.
fn item(value_type: ValueType) -> Arc<Field> {
    match value_type.arrow() {
        DataType::List(item) => item,
        other => unreachable!("{value_type} is no list but {other}"),
    }
}

/// The items of a list type whose items have fields.
pub(super) fn structs(value_type: ValueType, columns: Vec<ArrayRef>) -> Result<ArrayRef, Error> {
    match item(value_type).data_type() {
        DataType::Struct(fields) => Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?)),
        other => unreachable!("an item of {value_type} is {other}"),
    }
}

/// The lists of these lengths of `items`.
pub(super) fn list(
    value_type: ValueType,
    lengths: impl IntoIterator<Item = usize>,
    items: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Error> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(ListArray::try_new(item(value_type), OffsetBuffer::from_lengths(lengths), items, nulls)?))
}
