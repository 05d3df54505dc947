//! Which states there are, of which inputs they can be made, and how they stand in a partial.

use arrow::datatypes::{DataType, Field};

use super::{Edges, squares};
use crate::{expression::Expression, schema::ColumnType};

/// The precision of a HyperLogLog by default: 2^12 registers, a relative standard error of 1.6 %, at most 4 KiB a group.
pub(crate) const DISTINCT_PRECISION: u8 = 12;

/// The relative error of a percentile by default.
pub(crate) const QUANTILES_RELATIVE_ERROR: f64 = 0.01;

/// Bytes of a sum of integers, or of decimals of at most [`NARROW_DIGITS`] digits: an i128, little-endian.
pub(super) const NARROW_SUM: i32 = 16;

/// Bytes of a sum of doubles or of wider decimals: 192 bits of two's complement, little-endian.
pub(super) const WIDE_SUM: i32 = 24;

/// Decimals of more digits than this are summed in 192 bits: only then can 2^63 of them not overflow.
const NARROW_DIGITS: u8 = 18;

/// The kinds of state.
#[derive(Debug, Clone, PartialEq)]
pub enum StateFunction {
    /// How many rows, or how many non-null inputs.
    Count,
    /// The exact sum of the non-null inputs; null of none.
    Sum,
    /// The exact sum of the non-null inputs' squares; null of none.
    Squares,
    /// The least non-null input. Text by its bytes, false before true; of doubles, NaN is the greatest and -0.0 is 0.0.
    Min,
    /// The greatest non-null input, in the order of [`Self::Min`].
    Max,
    /// The non-null input of the first event by time, partition and offset, which are further inputs; null of none.
    First,
    /// The non-null input of the last such event.
    Last,
    /// The input of the event whose further input is least, and of those the least; null if either is null in all.
    ArgMin,
    /// The input of the event whose further input is greatest, and of those the greatest.
    ArgMax,
    /// HyperLogLog of the non-null inputs with 2^`precision` registers.
    Distinct {
        /// 4 to 16; the relative standard error is 1.04 / sqrt(2^precision).
        precision: u8,
    },
    /// DDSketch of the non-null inputs.
    Quantiles {
        /// The relative error bound, 0.0001 to 0.5.
        relative_error: f64,
    },
    /// Counts of the non-null inputs by value: exact while there are few values, then sketched. Partition and offset are further
    /// inputs.
    TopK,
    /// Counts of the non-null inputs between edges.
    Histogram(Edges),
}

impl StateFunction {
    /// Whether there is such a state of inputs of this type.
    #[must_use]
    pub fn admits(&self, input: ColumnType) -> bool {
        match self {
            Self::Count | Self::Min | Self::Max | Self::Distinct { .. } | Self::TopK => true,
            Self::First | Self::Last | Self::ArgMin | Self::ArgMax => true,
            Self::Sum => is_number(input) || input == ColumnType::Timestamp,
            Self::Squares | Self::Quantiles { .. } | Self::Histogram(_) => is_number(input),
        }
    }

    /// The types that [`Self::admits`], in words for a message.
    #[must_use]
    pub fn admitted(&self) -> &'static str {
        match self {
            Self::Count | Self::Min | Self::Max | Self::Distinct { .. } | Self::TopK => "any type",
            Self::First | Self::Last | Self::ArgMin | Self::ArgMax => "any type",
            Self::Sum | Self::Squares | Self::Quantiles { .. } | Self::Histogram(_) => "int, double or decimal",
        }
    }
}

fn is_number(input: ColumnType) -> bool {
    matches!(input, ColumnType::Int | ColumnType::Double | ColumnType::Decimal { .. })
}

/// One state column of a view: a function, what of, and of which events.
#[derive(Debug, Clone, PartialEq)]
pub struct StateSpec {
    /// What is kept.
    pub function: StateFunction,
    /// Of what: none is `count(*)`, and of no other function.
    pub inputs: Vec<Expression>,
    /// Of which of the view's events; of all if `None`. A condition.
    pub filter: Option<Expression>,
}

impl StateSpec {
    /// The state of these inputs, of all events.
    pub fn new(function: StateFunction, inputs: impl IntoIterator<Item = Expression>) -> Self {
        Self { function, inputs: inputs.into_iter().collect(), filter: None }
    }

    /// What the state is about; `None` of `count(*)`.
    #[must_use]
    pub fn input(&self) -> Option<&Expression> {
        self.inputs.first()
    }

    /// The expressions it reads: its inputs and its filter.
    pub fn reads(&self) -> impl Iterator<Item = &Expression> {
        self.inputs.iter().chain(&self.filter)
    }

    /// The name of the state's column in a partial, as `sum(delay_minutes)`, or `count(*) FILTER (WHERE cancelled)`.
    #[must_use]
    pub fn name(&self) -> String {
        let input = self.input().map_or("*", Expression::sql);
        let name = match &self.function {
            StateFunction::Count => format!("count({input})"),
            StateFunction::Sum => format!("sum({input})"),
            StateFunction::Min => format!("min({input})"),
            StateFunction::Max => format!("max({input})"),
            StateFunction::Squares => format!("squares({input})"),
            StateFunction::First => format!("first({input})"),
            StateFunction::Last => format!("last({input})"),
            StateFunction::ArgMin => format!("arg_min({input}, {})", self.order_sql()),
            StateFunction::ArgMax => format!("arg_max({input}, {})", self.order_sql()),
            StateFunction::Distinct { precision } => format!("distinct({input}, {precision})"),
            StateFunction::Quantiles { relative_error } => format!("quantiles({input}, {relative_error})"),
            StateFunction::TopK => format!("top_k({input})"),
            StateFunction::Histogram(edges) => format!("histogram({input}, {})", edges.sql()),
        };
        name + &self.filter_sql()
    }

    /// What an `arg_min` or `arg_max` is ordered by.
    fn order_sql(&self) -> &str {
        self.inputs.get(1).map_or("", Expression::sql)
    }

    /// ` FILTER (WHERE …)`, or nothing.
    pub(crate) fn filter_sql(&self) -> String {
        self.filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", filter.sql())).unwrap_or_default()
    }

    /// The Arrow field of the state's column in a partial.
    #[must_use]
    pub fn field(&self) -> Field {
        let (data_type, nullable) = match &self.function {
            StateFunction::Count => (DataType::Int64, false),
            StateFunction::Sum => (DataType::FixedSizeBinary(sum_width(self.input_type())), true),
            StateFunction::Squares => (DataType::FixedSizeBinary(8 * squares::words(self.input_type()) as i32), true),
            StateFunction::Min | StateFunction::Max => (self.input_type().arrow(), true),
            StateFunction::First | StateFunction::Last | StateFunction::ArgMin | StateFunction::ArgMax => {
                (DataType::Binary, true)
            }
            StateFunction::Distinct { .. } | StateFunction::Quantiles { .. } | StateFunction::TopK => {
                (DataType::Binary, false)
            }
            StateFunction::Histogram(edges) => (DataType::FixedSizeBinary(edges.width()), false),
        };
        Field::new(self.name(), data_type, nullable)
    }

    /// The type of the input; of `count(*)`, an int.
    pub(crate) fn input_type(&self) -> ColumnType {
        self.input().map_or(ColumnType::Int, Expression::column_type)
    }
}

/// How many bytes a sum of such inputs takes: enough that no sum of fewer than 2^63 of them overflows in between.
pub(super) fn sum_width(input: ColumnType) -> i32 {
    match input {
        ColumnType::Double => WIDE_SUM,
        ColumnType::Decimal { precision, .. } if precision > NARROW_DIGITS => WIDE_SUM,
        _ => NARROW_SUM,
    }
}
