//! One value of an event on its way into a record, and all of them where their paths lead.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use jiff::Timestamp;

use super::super::shape::{Node, Target};
use crate::schema::{Column, ColumnType, TimestampFormat};

/// A column's value in one event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::decode) enum Cell<'e> {
    Null,
    Int(i64),
    Double(f64),
    Decimal {
        unscaled: i128,
        scale: u8,
    },
    Text(&'e str),
    Bool(bool),
    /// Microseconds since 1970-01-01 UTC, and how the source writes it.
    Time(i64, TimestampFormat),
}

impl<'e> Cell<'e> {
    /// What `array`, which has the values of `column` in its type, has in `row`.
    pub(super) fn of(column: &Column, array: &'e ArrayRef, row: usize) -> Self {
        if array.is_null(row) {
            return Self::Null;
        }
        match column.column_type {
            ColumnType::Int => Self::Int(array.as_primitive::<Int64Type>().value(row)),
            ColumnType::Double => Self::Double(array.as_primitive::<Float64Type>().value(row)),
            ColumnType::Decimal { scale, .. } => {
                Self::Decimal { unscaled: array.as_primitive::<Decimal128Type>().value(row), scale }
            }
            ColumnType::String => Self::Text(array.as_string::<i32>().value(row)),
            ColumnType::Bool => Self::Bool(array.as_boolean().value(row)),
            ColumnType::Timestamp => {
                Self::Time(array.as_primitive::<TimestampMicrosecondType>().value(row), column.timestamp_format)
            }
        }
    }

    /// As text, without quotes; `None` if it is null.
    pub(in crate::decode) fn text(self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Int(value) => value.to_string(),
            // With the fewest digits that tell it from its neighbours.
            Self::Double(value) => format!("{value:e}"),
            Self::Decimal { unscaled, scale } => decimal(unscaled, scale),
            Self::Text(text) => text.to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Time(at_us, format) => format.count(at_us).map_or_else(|| rfc3339(at_us), |count| count.to_string()),
        })
    }

    /// As a whole number; `None` if it is none.
    pub(in crate::decode) fn whole(self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(value.into()),
            // 2^63: up to there a whole double fits.
            Self::Double(value) if value.trunc() == value && value.abs() <= 9_223_372_036_854_775_808.0 =>
            {
                #[allow(clippy::cast_possible_truncation, reason = "a whole number of 64 bits")]
                Some(value as i128)
            }
            Self::Decimal { .. } => self.unscaled(0),
            Self::Time(at_us, format) => format.count(at_us),
            _ => None,
        }
    }

    /// As a count of the last of `scale` decimal places; `None` if it is no decimal, or has more places.
    pub(in crate::decode) fn unscaled(self, to: u32) -> Option<i128> {
        let Self::Decimal { unscaled, scale } = self else { return None };
        let power = |places: u32| 10_i128.checked_pow(places);
        match to.checked_sub(scale.into()) {
            Some(more) => unscaled.checked_mul(power(more)?),
            None => {
                let unit = power(u32::from(scale) - to)?;
                (unscaled % unit == 0).then_some(unscaled / unit)
            }
        }
    }
}

/// A time as RFC 3339 has it. Beyond what that can say it is something that no decoder takes.
pub(in crate::decode) fn rfc3339(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map_or_else(|_| format!("{at_us} µs"), |time| time.to_string())
}

fn decimal(unscaled: i128, scale: u8) -> String {
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, places) = digits.split_at(digits.len() - usize::from(scale));
    let sign = if unscaled < 0 { "-" } else { "" };
    if places.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{places}") }
}

/// The values of one event, by where they stand in its record's value.
#[derive(Debug, Clone, Copy)]
pub(in crate::decode) struct Placed<'e> {
    /// The tree of the columns' paths.
    pub(in crate::decode) nodes: &'e [Node],
    pub(in crate::decode) columns: &'e [Column],
    /// The value of each column.
    pub(in crate::decode) cells: &'e [Cell<'e>],
}

impl<'e> Placed<'e> {
    /// Whether nothing stands there.
    pub(in crate::decode) fn is_null(&self, target: Option<Target>) -> bool {
        match target {
            None => true,
            Some(Target::Column(column)) => self.cells[column] == Cell::Null,
            Some(Target::Node(node)) => self.nodes[node].columns.iter().all(|column| self.cells[*column] == Cell::Null),
        }
    }

    /// The column that stands there, or the first within.
    pub(in crate::decode) fn column(&self, target: Target) -> &'e Column {
        match target {
            Target::Column(column) => &self.columns[column],
            Target::Node(node) => &self.columns[self.nodes[node].columns[0]],
        }
    }

    /// The node that stands there; `None` if nothing, or a column does.
    pub(in crate::decode) fn node(&self, target: Option<Target>) -> Option<&'e Node> {
        match target? {
            Target::Node(node) => Some(&self.nodes[node]),
            Target::Column(_) => None,
        }
    }

    /// How many elements a list must have for all that are not null.
    pub(in crate::decode) fn elements(&self, node: &Node) -> usize {
        let there = node.elements.iter().filter(|(_, target)| !self.is_null(Some(*target)));
        there.map(|(index, _)| index + 1).max().unwrap_or(0)
    }

    /// The members of an object that are not null, by name.
    pub(in crate::decode) fn members(&self, node: &'e Node) -> Vec<(&'e [u8], Target)> {
        let there = node.names.iter().filter(|(_, target)| !self.is_null(Some(**target)));
        let mut members: Vec<_> = there.map(|(name, target)| (name.as_slice(), *target)).collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        members
    }
}
