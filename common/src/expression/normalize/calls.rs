//! What has the form of a call: casts, parts of timestamps, trimming and functions.

use sqlparser::ast::{CastFormat, DataType, ExactNumberInfo, Expr, Function, Spanned, TrimWhereField};

use super::{
    super::{
        functions,
        syntax::{is_position, plain_arguments, string_literal},
    },
    Fault, Normalizer,
};
use crate::{measure::names, schema::ColumnType, suggest};

impl Normalizer<'_> {
    pub(super) fn cast(&mut self, expr: &Expr, to: &DataType, format: Option<&CastFormat>) -> Result<String, Fault> {
        let target = format.is_none().then(|| cast_target(to)).flatten().ok_or_else(|| {
            self.fault(format!("a cast to {to} is not known"))
                .help("casts are to BIGINT, DOUBLE, DECIMAL(precision, scale) and VARCHAR, and of timestamps to DATE")
        })?;
        let text = self.text(expr)?;
        if *to == DataType::Date {
            self.must_be(ColumnType::Timestamp, "a timestamp", &text)?;
        }
        Ok(format!("TRY_CAST({text} AS {target})"))
    }

    pub(super) fn extract(&mut self, field: &str, expr: &Expr) -> Result<String, Fault> {
        let field = field.to_ascii_uppercase();
        if !PARTS.contains(&field.as_str()) {
            let fault = self.fault(format!("a timestamp has no part {}", field.to_ascii_lowercase()));
            return Err(fault.help(format!("its parts are {}", PARTS.join(", ").to_ascii_lowercase())));
        }
        let text = self.text(expr)?;
        self.must_be(ColumnType::Timestamp, "a timestamp", &text)?;
        // Polars adds whole seconds and their fraction, and rounds twice.
        Ok(if field == "EPOCH" {
            format!("TRY_CAST({text} AS BIGINT) / 1000000")
        } else {
            format!("EXTRACT({field} FROM {text})")
        })
    }

    pub(super) fn trim(
        &mut self,
        expr: &Expr,
        side: Option<TrimWhereField>,
        what: Option<&Expr>,
        characters: Option<&[Expr]>,
    ) -> Result<String, Fault> {
        let what = match (what, characters) {
            (None, Some([only])) => Some(only),
            (what, None) => what,
            _ => return Err(self.fault("TRIM takes one string of characters")),
        };
        if what.is_some_and(|what| string_literal(what).is_none()) {
            return Err(self.fault("the characters of TRIM must be a string literal"));
        }
        let what = what.map(|what| self.text(what)).transpose()?;
        let text = self.text(expr)?;
        let text = match (side, what) {
            (None | Some(TrimWhereField::Both), None) => format!("TRIM({text})"),
            (None | Some(TrimWhereField::Both), Some(what)) => format!("TRIM(BOTH {what} FROM {text})"),
            (Some(TrimWhereField::Leading), None) => format!("ltrim({text})"),
            (Some(TrimWhereField::Leading), Some(what)) => format!("ltrim({text}, {what})"),
            (Some(TrimWhereField::Trailing), None) => format!("rtrim({text})"),
            (Some(TrimWhereField::Trailing), Some(what)) => format!("rtrim({text}, {what})"),
        };
        Ok(text)
    }

    pub(super) fn function(&mut self, function: &Function) -> Result<String, Fault> {
        let name = function.name.to_string();
        if function.over.is_some() {
            return Err(self.fault(format!("`{name}` OVER …: window functions are not allowed")));
        }
        if names::is_aggregate(&name) {
            let fault = self.fault(format!("`{name}` is an aggregate, which is not allowed inside an expression"));
            return Err(fault.help("an aggregate stands alone in a view's SELECT; compute with its answers"));
        }
        let arguments = plain_arguments(function).ok_or_else(|| {
            self.fault(format!("`{name}` takes its arguments only, without DISTINCT, FILTER, ORDER BY or names"))
        })?;
        if let (Some(part), [expr]) = (part_called(&name), arguments.as_slice()) {
            return self.extract(part, expr);
        }
        let known = functions::find(&name).ok_or_else(|| self.unknown_function(&name))?;
        match (known.name, arguments.as_slice()) {
            ("date_part", [part, expr]) => match string_literal(part) {
                Some((part, _)) => self.extract(part, expr),
                None => Err(self.fault("the first argument of date_part must be a string literal")),
            },
            ("if", [condition, then, otherwise]) => Ok(format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(condition)?,
                self.operand(then)?,
                self.operand(otherwise)?
            )),
            ("regexp_like", [_, pattern]) if string_literal(pattern).is_none() => {
                Err(self.fault("the pattern of regexp_matches must be a string literal"))
            }
            ("trim", [expr]) => self.trim(expr, None, None, None),
            ("trim", [expr, what]) => self.trim(expr, None, Some(what), None),
            _ => self.call(known.name, &arguments),
        }
    }

    fn unknown_function(&self, name: &str) -> Fault {
        let fault = self.fault(format!("there is no function `{name}`"));
        let fault = match suggest::nearest(&name.to_ascii_lowercase(), functions::names()) {
            Some(near) => fault.help(format!("did you mean `{near}`?")),
            None => fault,
        };
        fault.help(format!("scalar functions are {}", suggest::list(functions::names())))
    }

    pub(super) fn call(&mut self, name: &'static str, arguments: &[&Expr]) -> Result<String, Fault> {
        let known = functions::find(name).expect("callers pass names from the list of functions");
        if !known.arguments.contains(&arguments.len()) {
            let (least, most) = (known.arguments.start(), known.arguments.end());
            let count = if least == most { least.to_string() } else { format!("at least {least}") };
            return Err(self.fault(format!("`{name}` takes {count} arguments, not {}", arguments.len())));
        }
        if let Some(position) = known.positions.clone().filter_map(|at| arguments.get(at)).find(|a| !is_position(a)) {
            let fault = Fault::new(position.span(), format!("`{position}` is no whole number as `{name}` takes it"));
            return Err(fault.help("positions and lengths are literals of at most 9 digits"));
        }
        let arguments: Vec<String> = arguments.iter().map(|a| self.text(a)).collect::<Result<_, _>>()?;
        Ok(format!("{name}({})", arguments.join(", ")))
    }
}

/// The parts of a timestamp that EXTRACT knows.
const PARTS: &[&str] =
    &["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DOY", "DOW", "ISODOW", "HOUR", "MINUTE", "SECOND", "EPOCH"];

/// The part of a timestamp that the function `name` gives, as `hour(t)`.
fn part_called(name: &str) -> Option<&'static str> {
    let name = match name.to_ascii_uppercase().as_str() {
        "DAYOFMONTH" => "DAY",
        "DAYOFWEEK" | "WEEKDAY" => "DOW",
        "DAYOFYEAR" => "DOY",
        "WEEKOFYEAR" => "WEEK",
        other => PARTS.iter().find(|part| **part == other)?,
    };
    Some(name)
}

fn cast_target(to: &DataType) -> Option<String> {
    let name = match to {
        DataType::Int(None) | DataType::Integer(None) | DataType::BigInt(None) | DataType::Int64 => "BIGINT",
        DataType::Double(ExactNumberInfo::None)
        | DataType::DoublePrecision
        | DataType::Float(ExactNumberInfo::None) => "DOUBLE",
        DataType::Date => "DATE",
        DataType::Varchar(None) | DataType::Text | DataType::String(None) => "VARCHAR",
        DataType::Decimal(info) | DataType::Numeric(info) => return decimal_target(info),
        _ => return None,
    };
    Some(name.to_owned())
}

fn decimal_target(info: &ExactNumberInfo) -> Option<String> {
    let (precision, scale) = match *info {
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, u64::try_from(scale).ok()?),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::None => return None,
    };
    ((1..=38).contains(&precision) && scale <= precision).then(|| format!("DECIMAL({precision}, {scale})"))
}
