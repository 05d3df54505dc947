//! Which states there are, of which inputs they can be made, and how they stand in a partial.

use arrow::datatypes::{DataType, Field};

use crate::{expression::Expression, schema::ColumnType};

/// Bytes of a sum of integers, or of decimals of at most [`NARROW_DIGITS`] digits: an i128, little-endian.
pub(super) const NARROW_SUM: i32 = 16;

/// Bytes of a sum of doubles or of wider decimals: 192 bits of two's complement, little-endian.
pub(super) const WIDE_SUM: i32 = 24;

/// Decimals of more digits than this are summed in 192 bits: only then can 2^63 of them not overflow.
const NARROW_DIGITS: u8 = 18;

/// The kinds of state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StateFunction {
    /// How many rows, or how many non-null inputs.
    Count,
    /// The exact sum of the non-null inputs; null of none.
    Sum,
    /// The least non-null input. Text by its bytes, false before true; of doubles, NaN is the greatest and -0.0 is 0.0.
    Min,
    /// The greatest non-null input, in the order of [`Self::Min`].
    Max,
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
}

impl StateFunction {
    /// Whether there is such a state of inputs of this type.
    #[must_use]
    pub fn admits(self, input: ColumnType) -> bool {
        match self {
            Self::Count | Self::Min | Self::Max | Self::Distinct { .. } => true,
            Self::Sum | Self::Quantiles { .. } => is_number(input),
        }
    }

    /// The types that [`Self::admits`], in words for a message.
    #[must_use]
    pub fn admitted(self) -> &'static str {
        match self {
            Self::Count | Self::Min | Self::Max | Self::Distinct { .. } => "any type",
            Self::Sum | Self::Quantiles { .. } => "int, double or decimal",
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
        let name = match self.function {
            StateFunction::Count => format!("count({input})"),
            StateFunction::Sum => format!("sum({input})"),
            StateFunction::Min => format!("min({input})"),
            StateFunction::Max => format!("max({input})"),
            StateFunction::Distinct { precision } => format!("distinct({input}, {precision})"),
            StateFunction::Quantiles { relative_error } => format!("quantiles({input}, {relative_error})"),
        };
        name + &self.filter_sql()
    }

    /// ` FILTER (WHERE …)`, or nothing.
    pub(crate) fn filter_sql(&self) -> String {
        self.filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", filter.sql())).unwrap_or_default()
    }

    /// The Arrow field of the state's column in a partial.
    #[must_use]
    pub fn field(&self) -> Field {
        let (data_type, nullable) = match self.function {
            StateFunction::Count => (DataType::Int64, false),
            StateFunction::Sum => (DataType::FixedSizeBinary(sum_width(self.input_type())), true),
            StateFunction::Min | StateFunction::Max => (self.input_type().arrow(), true),
            StateFunction::Distinct { .. } | StateFunction::Quantiles { .. } => (DataType::Binary, false),
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
