//! What conditions say of the bucket alone: the range of buckets that is read at all.

use common::view::View;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use sqlparser::ast::{BinaryOperator, Expr, Value};

/// Buckets that start in `[from_us, to_us)`, microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
}

impl Range {
    /// All buckets.
    pub(super) const ALL: Self = Self { from_us: i64::MIN, to_us: i64::MAX };

    /// The buckets of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { from_us: self.from_us.max(other.from_us), to_us: self.to_us.min(other.to_us) }
    }

    /// The range that `condition` means, if it means a range of `view`'s buckets and nothing else.
    pub(super) fn of(condition: &Expr, view: &View) -> Option<Self> {
        match condition {
            Expr::Nested(inner) => Self::of(inner, view),
            Expr::Between { expr, negated: false, low, high } if is_bucket(expr, view) => {
                Some(Self { from_us: instant(low)?, to_us: instant(high)?.checked_add(1)? })
            }
            Expr::BinaryOp { left, op, right } if is_bucket(left, view) => Self::compared(op, instant(right)?),
            Expr::BinaryOp { left, op, right } if is_bucket(right, view) => {
                Self::compared(&turned(op)?, instant(left)?)
            }
            _ => None,
        }
    }

    /// The buckets that stand so to `us`.
    fn compared(op: &BinaryOperator, us: i64) -> Option<Self> {
        let after = us.checked_add(1)?;
        Some(match op {
            BinaryOperator::GtEq => Self { from_us: us, ..Self::ALL },
            BinaryOperator::Gt => Self { from_us: after, ..Self::ALL },
            BinaryOperator::Lt => Self { to_us: us, ..Self::ALL },
            BinaryOperator::LtEq => Self { to_us: after, ..Self::ALL },
            BinaryOperator::Eq => Self { from_us: us, to_us: after },
            _ => return None,
        })
    }
}

/// The operator that says the same of the other side.
fn turned(op: &BinaryOperator) -> Option<BinaryOperator> {
    Some(match op {
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Eq => BinaryOperator::Eq,
        _ => return None,
    })
}

fn is_bucket(expr: &Expr, view: &View) -> bool {
    match expr {
        Expr::Nested(inner) => is_bucket(inner, view),
        Expr::Identifier(name) => name.value.eq_ignore_ascii_case(&view.bucket_name),
        Expr::CompoundIdentifier(parts) => {
            parts.last().is_some_and(|name| name.value.eq_ignore_ascii_case(&view.bucket_name))
        }
        _ => false,
    }
}

/// The time that a literal says, as [`common::expression`] reads it: UTC where no offset is said.
fn instant(expr: &Expr) -> Option<i64> {
    let text = match expr {
        Expr::Nested(inner) => return instant(inner),
        Expr::Value(value) => &value.value,
        Expr::TypedString(typed) => &typed.value.value,
        _ => return None,
    };
    let (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) = text else { return None };
    let instant = text.trim().parse::<Timestamp>().ok();
    let instant =
        instant.or_else(|| Some(text.trim().parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))?;
    (instant.as_nanosecond() % 1_000 == 0).then(|| instant.as_microsecond())
}
