//! Buckets of time as SQL writes them: `date_trunc('day', t, 'America/New_York')`, or `time_bucket(INTERVAL '15 minutes', t)` with
//! an origin, an offset and a zone. `t AT TIME ZONE '…'` names the zone too.

use jiff::{civil::DateTime, tz::TimeZone};
use sqlparser::{
    ast::{DataType, Expr, Function, Interval, Spanned, TypedString, Value, ValueWithSpan},
    tokenizer::Span,
};

use super::{
    fault::{Fault, resolve, unknown_column},
    syntax::{plain_arguments, string_literal, unnested},
};
use crate::{
    grain::{DAY_US, Grain, Length, MONTH_DAYS_MIN, Step, TRUNCATIONS, Zone},
    limits::BUCKET_YEARS_MAX,
    schema::ColumnType,
    suggest,
};

/// Whether `expr` is meant as a bucket, allowed or not.
pub(crate) fn is_bucket(expr: &Expr) -> bool {
    match unnested(expr) {
        Expr::Function(function) => {
            let name = function.name.to_string();
            ["date_trunc", "time_bucket"].iter().any(|bucket| bucket.eq_ignore_ascii_case(&name))
        }
        Expr::AtTimeZone { timestamp, .. } => is_bucket(timestamp),
        _ => false,
    }
}

/// The column that `expr`, which [`is_bucket`], is a bucket of, and the grain it buckets by.
///
/// # Errors
/// What is wrong with it and what is allowed.
pub(crate) fn bucket(expr: &Expr, columns: &[(String, ColumnType)]) -> Result<(String, Grain), Fault> {
    Reader { columns }.bucket(expr)
}

struct Reader<'a> {
    columns: &'a [(String, ColumnType)],
}

/// What stands in a `time_bucket` after the time.
#[derive(Default)]
struct Rest {
    /// The start of some step, in clock time.
    origin_us: Option<i64>,
    /// How much later than usual steps start.
    offset: Option<Length>,
    zone: Option<Zone>,
}

impl Reader<'_> {
    fn fault(&self, span: Span, message: impl Into<String>) -> Fault {
        let time = self.time();
        Fault::new(span, message)
            .help(format!("a bucket is date_trunc('hour', {time}) or time_bucket(INTERVAL '15 minutes', {time}), say"))
    }

    /// A timestamp column, for examples.
    fn time(&self) -> &str {
        let times = self.columns.iter().find(|(_, column_type)| *column_type == ColumnType::Timestamp);
        times.map_or("t", |(name, _)| name)
    }

    fn bucket(&self, expr: &Expr) -> Result<(String, Grain), Fault> {
        match unnested(expr) {
            Expr::AtTimeZone { timestamp, time_zone } => {
                let (column, grain) = self.bucket(timestamp)?;
                if grain.in_zone(zone(time_zone)?) == grain {
                    return Ok((column, grain));
                }
                let fault =
                    Fault::new(time_zone.span(), "a bucket is a moment, and belongs to the zone it was made in");
                Err(fault.help(format!("write date_trunc('day', {column} AT TIME ZONE {time_zone})")))
            }
            Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("date_trunc") => {
                self.date_trunc(function)
            }
            Expr::Function(function) => self.time_bucket(function),
            other => Err(self.fault(other.span(), "this is no bucket")),
        }
    }

    fn date_trunc(&self, function: &Function) -> Result<(String, Grain), Fault> {
        let arguments = plain_arguments(function).unwrap_or_default();
        let ([step, time] | [step, time, _]) = arguments.as_slice() else {
            let message = "date_trunc takes a time step, a timestamp column and maybe a time zone";
            return Err(self.fault(function.span(), message));
        };
        let named = string_literal(step).map(|(text, _)| text.to_ascii_lowercase());
        let grain = named.filter(|name| TRUNCATIONS.contains(&name.as_str())).and_then(|name| Grain::named(&name));
        let grain = grain.ok_or_else(|| {
            Fault::new(step.span(), format!("{step} is not a time step of date_trunc"))
                .help(format!("its steps are {}", suggest::list(TRUNCATIONS)))
                .help(format!("time_bucket(INTERVAL '15 minutes', {}) has steps of any length", self.time()))
        })?;
        let named = arguments.get(2).map(|expr| zone(expr)).transpose()?;
        self.in_zone(grain, time, named)
    }

    fn time_bucket(&self, function: &Function) -> Result<(String, Grain), Fault> {
        let arguments = plain_arguments(function).unwrap_or_default();
        let [width, time, rest @ ..] = arguments.as_slice() else {
            let message =
                "time_bucket takes a width, a timestamp column, and maybe an origin or an offset and a time zone";
            return Err(self.fault(function.span(), message));
        };
        let length = interval(width).ok_or_else(|| {
            Fault::new(width.span(), format!("{width} is not the width of a bucket"))
                .help("a width is INTERVAL '15 minutes', '1 hour 30 minutes' or '2 months', say")
        })?;
        let grain = length.grain().ok_or_else(|| {
            Fault::new(width.span(), format!("no bucket can be as wide as {width}")).help(format!(
                "a width is more than nothing, at most {BUCKET_YEARS_MAX} years, and either months and years or weeks, days \
                 and parts of them"
            ))
        })?;
        let rest = self.rest(rest)?;
        self.in_zone(placed(grain, &rest, function.span())?, time, rest.zone)
    }

    fn rest(&self, arguments: &[&Expr]) -> Result<Rest, Fault> {
        let mut rest = Rest::default();
        for &argument in arguments {
            let twice = match unnested(argument) {
                Expr::TypedString(typed) => rest.origin_us.replace(origin(typed)?).is_some(),
                Expr::Interval(_) => {
                    let offset = interval(argument).ok_or_else(|| {
                        Fault::new(argument.span(), format!("{argument} is not an offset"))
                            .help("an offset is INTERVAL '6 hours', say: how much later than usual buckets start")
                    })?;
                    rest.offset.replace(offset).is_some()
                }
                _ => rest.zone.replace(zone(argument)?).is_some(),
            };
            if twice || (rest.origin_us.is_some() && rest.offset.is_some()) {
                let fault = Fault::new(argument.span(), format!("{argument} is one too many"));
                return Err(fault.help("time_bucket takes one origin or one offset, and one time zone"));
            }
        }
        Ok(rest)
    }

    /// `grain` over `time`, which must be a timestamp column, maybe in a zone.
    fn in_zone(&self, grain: Grain, time: &Expr, named: Option<Zone>) -> Result<(String, Grain), Fault> {
        let (time, named) = match unnested(time) {
            Expr::AtTimeZone { timestamp, time_zone } => match named {
                None => (&**timestamp, Some(zone(time_zone)?)),
                Some(_) => {
                    return Err(Fault::new(time_zone.span(), "the time zone is named twice").help("name it once"));
                }
            },
            _ => (time, named),
        };
        Ok((self.column(time)?, named.map_or(grain, |zone| grain.in_zone(zone))))
    }

    fn column(&self, time: &Expr) -> Result<String, Fault> {
        let wrong = "a bucket is of a timestamp column";
        match unnested(time) {
            Expr::Identifier(ident) => match resolve(ident, self.columns) {
                Some((name, ColumnType::Timestamp)) => Ok(name.clone()),
                Some(_) => Err(self.fault(ident.span, wrong)),
                None => Err(unknown_column(ident, self.columns)),
            },
            other => Err(self.fault(other.span(), wrong)),
        }
    }
}

/// `grain`, counted from the origin or with the offset of `rest`.
fn placed(grain: Grain, rest: &Rest, span: Span) -> Result<Grain, Fault> {
    let offset = rest.offset.unwrap_or_default();
    match grain.step() {
        Step::Width { width_us, origin_us } => {
            if offset.months != 0 {
                return Err(Fault::new(span, "an offset of months is for buckets of months"));
            }
            let origin_us = rest.origin_us.unwrap_or(origin_us + offset.us % width_us);
            Ok(Grain::fixed(width_us, origin_us))
        }
        Step::Months { count, origin, .. } => {
            let (month, shift_us) = match rest.origin_us {
                Some(origin_us) => Grain::month_of(origin_us),
                None => (origin + offset.months % count, offset.us),
            };
            if !(0..MONTH_DAYS_MIN * DAY_US).contains(&shift_us) {
                let fault = Fault::new(span, "some months would have no such bucket");
                return Err(fault.help(format!("buckets of months begin on one of the first {MONTH_DAYS_MIN} days")));
            }
            Ok(Grain::months(count, month, shift_us))
        }
    }
}

/// The zone that a string literal names.
pub(super) fn zone(expr: &Expr) -> Result<Zone, Fault> {
    let Some((name, span)) = string_literal(expr) else {
        let fault = Fault::new(expr.span(), format!("{expr} is not a time zone"));
        return Err(fault.help("a time zone is a string literal, as 'America/New_York'"));
    };
    Zone::named(name).ok_or_else(|| {
        let fault = Fault::new(span, format!("'{name}' is not a time zone"));
        let fault = match suggest::nearest(name, Zone::names()) {
            Some(near) => fault.help(format!("did you mean '{near}'?")),
            None => fault,
        };
        fault.help("time zones are those of the IANA database, as 'America/New_York' or 'UTC'")
    })
}

/// The length of `INTERVAL '15 minutes'`, `INTERVAL 15 MINUTE` or `'15 minutes'`.
fn interval(expr: &Expr) -> Option<Length> {
    let text = match unnested(expr) {
        Expr::Interval(Interval { value, leading_field, leading_precision: None, last_field: None, .. }) => {
            let amount = match unnested(value) {
                Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => number.clone(),
                literal => string_literal(literal)?.0.to_owned(),
            };
            leading_field.as_ref().map_or(amount.clone(), |unit| format!("{amount} {unit}"))
        }
        literal => string_literal(literal)?.0.to_owned(),
    };
    Length::parse(&text)
}

/// The clock time of `TIMESTAMP '…'` or `DATE '…'`.
fn origin(typed: &TypedString) -> Result<i64, Fault> {
    let text = match (&typed.data_type, &typed.value.value) {
        (DataType::Date | DataType::Timestamp(None, _), Value::SingleQuotedString(text)) => Some(text.trim()),
        _ => None,
    };
    let clock =
        text.and_then(|text| text.parse::<DateTime>().ok()).and_then(|clock| clock.to_zoned(TimeZone::UTC).ok());
    clock.map(|clock| clock.timestamp().as_microsecond()).ok_or_else(|| {
        Fault::new(typed.value.span, format!("{typed} is not an origin"))
            .help("an origin is TIMESTAMP '2000-01-01 06:00:00' or DATE '2000-01-01', by the clock of the time zone")
    })
}
