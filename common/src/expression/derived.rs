//! Parts of expressions that Polars has no words for. They are computed here, a row at a time, and Polars sees them as columns
//! named by their SQL: the buckets of a timestamp column, and what the clock of a time zone shows.

use std::{ops::ControlFlow, sync::Arc};

use arrow::{
    array::{ArrayRef, PrimitiveArray, cast::AsArray},
    datatypes::TimestampMicrosecondType,
};
use sqlparser::{
    ast::{Expr, Ident, Spanned, visit_expressions_mut},
    dialect::GenericDialect,
    parser::Parser,
};

use super::{
    bucket::{bucket, is_bucket, zone},
    engine::Cause,
    fault::{Fault, resolve, unknown_column},
    identifier,
    syntax::unnested,
};
use crate::{
    grain::{Grain, Zone},
    schema::ColumnType,
};

/// A timestamp computed from a timestamp column.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// The column.
    pub column: String,
    /// How.
    pub how: How,
}

/// How a derived timestamp is computed. Null gives null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// The start of the bucket that the time falls in.
    Bucket(Grain),
    /// What the clock of the zone shows at the time, as if it were UTC.
    Clock(Zone),
}

/// The timestamp column that `expr`, a bucket or an `AT TIME ZONE`, is about, and what is derived from it; nothing for what
/// the clock of UTC shows, which is the column itself.
pub(super) fn read(expr: &Expr, columns: &[(String, ColumnType)]) -> Result<(String, Option<How>), Fault> {
    if is_bucket(expr) {
        let (column, grain) = bucket(expr, columns)?;
        return Ok((column, Some(How::Bucket(grain))));
    }
    let Expr::AtTimeZone { timestamp, time_zone } = unnested(expr) else {
        return Err(Fault::new(expr.span(), format!("`{expr}` is not allowed here")));
    };
    let zone = zone(time_zone)?;
    let fault = |span| {
        Fault::new(span, "AT TIME ZONE is for timestamp columns")
            .help("write column AT TIME ZONE 'America/New_York', say")
    };
    let Expr::Identifier(ident) = unnested(timestamp) else { return Err(fault(timestamp.span())) };
    let (column, column_type) = resolve(ident, columns).ok_or_else(|| unknown_column(ident, columns))?;
    if *column_type != ColumnType::Timestamp {
        return Err(fault(ident.span));
    }
    Ok((column.clone(), (!zone.is_utc()).then_some(How::Clock(zone))))
}

impl Derived {
    /// Its one spelling, which nothing around it can tear apart.
    pub(super) fn sql(&self) -> String {
        let column = identifier(&self.column);
        match self.how {
            How::Bucket(grain) => grain.sql(&column),
            How::Clock(zone) => format!("({column} AT TIME ZONE '{}')", zone.name()),
        }
    }

    /// The name of the column that Polars sees.
    #[must_use]
    pub fn name(&self) -> String {
        self.sql()
    }

    /// The column that Polars sees.
    pub(super) fn input(&self) -> (String, ColumnType) {
        (self.name(), ColumnType::Timestamp)
    }

    /// Its values, from those of its column.
    pub(super) fn values(&self, times: &ArrayRef) -> Result<ArrayRef, Cause> {
        let times = times
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| format!("column `{}` is {}, expected a timestamp", self.column, times.data_type()))?;
        let each = |value: &mut dyn FnMut(i64) -> i64| -> PrimitiveArray<TimestampMicrosecondType> {
            times.iter().map(|time| time.map(&mut *value)).collect()
        };
        let values = match self.how {
            How::Bucket(grain) => {
                let mut buckets = grain.buckets();
                each(&mut |time| buckets.start(time))
            }
            How::Clock(zone) => {
                let mut clock = zone.clock();
                each(&mut |time| clock.shown(time))
            }
        };
        Ok(Arc::new(values.with_timezone("UTC")))
    }
}

/// `sql`, normalised, as Polars reads it, and the derived columns that it reads besides `columns`.
pub(super) fn split(sql: &str, columns: &[(String, ColumnType)]) -> Result<(String, Vec<Derived>), String> {
    let mut derived = Vec::new();
    if !["date_trunc(", "time_bucket(", " AT TIME ZONE "].iter().any(|part| sql.contains(part)) {
        return Ok((sql.to_owned(), derived));
    }
    let mut parser = Parser::new(&GenericDialect).try_with_sql(sql).map_err(|error| error.to_string())?;
    let mut expr = parser.parse_expr().map_err(|error| error.to_string())?;
    let _ = visit_expressions_mut(&mut expr, |part| {
        if (is_bucket(part) || matches!(part, Expr::AtTimeZone { .. }))
            && let Ok((column, Some(how))) = read(part, columns)
        {
            let found = Derived { column, how };
            *part = Expr::Identifier(Ident::with_quote('"', found.name()));
            if !derived.contains(&found) {
                derived.push(found);
            }
        }
        ControlFlow::<()>::Continue(())
    });
    Ok((expr.to_string(), derived))
}
