//! Queries as Postgres' clients write them, as our engine reads them: without the names of schemas, with parameters in their places, and
//! with casts of literals done.

use std::ops::ControlFlow;

use pgwire::api::Type;
use sqlparser::ast::{
    BinaryOperator, Expr, LimitClause, ObjectName, Query, Value, ValueWithSpan, VisitMut, VisitorMut, visit_expressions,
};

use super::{fault::Fault, types};

/// A parameter: its type, and its value as text.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) of: Type,
    pub(super) text: Option<String>,
}

/// The number of the parameter that `expr` is, from 0.
fn placeholder(expr: &Expr) -> Option<usize> {
    let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expr else { return None };
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// How many parameters `query` has.
pub(super) fn parameters(query: &Query) -> usize {
    let mut most = 0;
    let _ = visit_expressions(query, |expr| {
        most = most.max(placeholder(expr).map_or(0, |at| at + 1));
        ControlFlow::<()>::Continue(())
    });
    most
}

/// What the parameters of `query` are, as far as it says: those that are cast, compared with a column that `column` knows, or limit
/// rows. `said` are the client's own words, which count first; text is the rest.
pub(super) fn parameter_types(query: &Query, said: &[u32], column: &dyn Fn(&str) -> Option<Type>) -> Vec<Type> {
    let mut found: Vec<Option<Type>> = vec![None; parameters(query)];
    let mut note = |at: Option<usize>, of: Option<Type>| {
        if let Some(place) = at.and_then(|at| found.get_mut(at)) {
            *place = place.take().or(of);
        }
    };
    let of_column = |expr: &Expr| match expr {
        Expr::Identifier(name) => column(&name.value),
        Expr::CompoundIdentifier(parts) => column(&parts.last()?.value),
        _ => None,
    };
    let _ = visit_expressions(query, |expr| {
        match expr {
            Expr::Cast { expr, data_type, .. } => note(placeholder(expr), Some(types::named(&data_type.to_string()))),
            Expr::BinaryOp { left, op, right } if *op != BinaryOperator::StringConcat => {
                note(placeholder(left), of_column(right));
                note(placeholder(right), of_column(left));
            }
            Expr::Between { expr, low, high, .. } => {
                note(placeholder(low), of_column(expr));
                note(placeholder(high), of_column(expr));
            }
            Expr::InList { expr, list, .. } => list.iter().for_each(|item| note(placeholder(item), of_column(expr))),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
        note(limit.as_ref().and_then(placeholder), Some(Type::INT8));
        note(offset.as_ref().and_then(|offset| placeholder(&offset.value)), Some(Type::INT8));
    }
    let count = found.len().max(said.len());
    let one = |at: usize| {
        let said = said.get(at).filter(|oid| ![0, Type::UNKNOWN.oid()].contains(oid));
        said.and_then(|oid| Type::from_oid(*oid)).or_else(|| found.get(at).cloned().flatten()).unwrap_or(Type::TEXT)
    };
    (0..count).map(one).collect()
}

/// Puts `parameters` in their places.
pub(super) fn bind(query: &mut Query, parameters: &[Parameter]) -> Result<(), Fault> {
    struct Binder<'a>(&'a [Parameter]);
    impl VisitorMut for Binder<'_> {
        type Break = Fault;

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Fault> {
            let Some(at) = placeholder(expr) else { return ControlFlow::Continue(()) };
            match self.0.get(at).map(literal) {
                Some(Ok(value)) => {
                    *expr = value;
                    ControlFlow::Continue(())
                }
                Some(Err(fault)) => ControlFlow::Break(fault),
                None => ControlFlow::Break(Fault::new("42P02", format!("there is no parameter ${}", at + 1))),
            }
        }
    }
    match query.visit(&mut Binder(parameters)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(fault) => Err(fault),
    }
}

/// Parameters that stand for those not bound yet, so that the types of columns can be told.
pub(super) fn stand_ins(types: &[Type]) -> Vec<Parameter> {
    let text = |of: &Type| match *of {
        Type::BOOL => "true",
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::REGCLASS => "1",
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => "1.5",
        Type::TIMESTAMP | Type::TIMESTAMPTZ => "2000-01-01T00:00:00Z",
        Type::DATE => "2000-01-01",
        _ => "",
    };
    types.iter().map(|of| Parameter { of: of.clone(), text: Some(text(of).to_owned()) }).collect()
}

fn literal(parameter: &Parameter) -> Result<Expr, Fault> {
    let Some(text) = &parameter.text else { return Ok(Expr::value(Value::Null)) };
    let bad = || {
        let written = types::Known::of(&parameter.of).written;
        Fault::new("22P02", format!("invalid input syntax for type {written}: \"{text}\""))
    };
    Ok(match parameter.of {
        Type::BOOL => match text.as_str() {
            "t" | "true" | "1" | "on" | "yes" => Expr::value(Value::Boolean(true)),
            "f" | "false" | "0" | "off" | "no" => Expr::value(Value::Boolean(false)),
            _ => return Err(bad()),
        },
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
            number(text.trim().parse::<i64>().map_err(|_| bad())?.to_string())
        }
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
            let value = text.trim().parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(bad)?;
            number(if text.contains(['.', 'e', 'E']) { value.to_string() } else { text.trim().to_owned() })
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::DATE => string(&instant(text).ok_or_else(bad)?),
        _ => string(text),
    })
}

fn number(text: String) -> Expr {
    let negative = text.starts_with('-');
    let value = Expr::value(Value::Number(text, false));
    if negative { Expr::Nested(Box::new(value)) } else { value }
}

fn string(text: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(text.replace('\'', "''")))
}

/// A time as clients write it, as our engine reads it: UTC, in RFC 3339 without a zone.
fn instant(text: &str) -> Option<String> {
    let text = text.trim();
    // `+00` is an offset to Postgres, and to nobody else.
    let completed = match text.len().checked_sub(3).filter(|at| text.is_char_boundary(*at)).map(|at| &text[at..]) {
        Some(hours) if text.len() > 10 && hours.starts_with(['+', '-']) => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let time = completed.parse::<jiff::Timestamp>().ok();
    let time = time.or_else(|| {
        let civil = completed.parse::<jiff::civil::DateTime>().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })?;
    let written = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    Some(match time.subsec_nanosecond() / 1000 {
        0 => written,
        micros => format!("{written}.{micros:06}"),
    })
}

/// Makes of `query` one that our engine reads.
pub(super) fn plain(query: &mut Query) {
    let _ = query.visit(&mut Plain);
}

struct Plain;

impl VisitorMut for Plain {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        let parts = name.0.len();
        if parts >= 2 && name.0[parts - 2].to_string().replace('"', "") == "public" {
            name.0.drain(..parts - 1);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            // `public.view.column`
            Expr::CompoundIdentifier(parts) if parts.len() > 2 => drop(parts.drain(..parts.len() - 2)),
            Expr::Cast { expr: inner, data_type, .. } => {
                let of = types::named(&data_type.to_string());
                if let Some(text) = text_of(inner)
                    && let Ok(value) = literal(&Parameter { of: of.clone(), text: Some(text) })
                {
                    *expr = value;
                } else if matches!(of, Type::TIMESTAMPTZ) {
                    // All times are UTC here.
                    *data_type = sqlparser::ast::DataType::Timestamp(None, sqlparser::ast::TimezoneInfo::None);
                }
            }
            Expr::TypedString(typed) => {
                let of = types::named(&typed.data_type.to_string());
                if let Value::SingleQuotedString(text) = &typed.value.value
                    && let Ok(value) = literal(&Parameter { of, text: Some(text.clone()) })
                {
                    *expr = value;
                }
            }
            // Times that name their offset are written without it, since Polars' have none.
            Expr::Value(value) => {
                if let Value::SingleQuotedString(text) = &mut value.value
                    && text.len() > 18
                    && text.as_bytes().get(4) == Some(&b'-')
                    && let Some(plain) = instant(text)
                {
                    *text = plain;
                }
            }
            Expr::Function(function)
                if function.name.0.len() == 2 && function.name.0[0].to_string().eq_ignore_ascii_case("pg_catalog") =>
            {
                function.name.0.remove(0);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The text or number that `expr` is.
fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => text_of(inner),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.replace("''", "'")),
            Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{super::statement, *};

    fn query(sql: &str) -> Query {
        match statement::statements(sql).unwrap().pop().unwrap() {
            statement::Statement::Query(query) => *query,
            other => panic!("{other:?} is no query"),
        }
    }

    #[test]
    fn parameters_have_the_types_of_what_they_stand_beside() {
        let query = query(
            "SELECT $5::float8 FROM v WHERE hour >= $1 AND v.origin IN ($2, 'x') AND n < $3 AND $4 = f(x) LIMIT $6",
        );
        let column = |name: &str| match name {
            "hour" => Some(Type::TIMESTAMPTZ),
            "origin" => Some(Type::TEXT),
            "n" => Some(Type::INT8),
            _ => None,
        };
        let expected = [Type::TIMESTAMPTZ, Type::TEXT, Type::INT8, Type::TEXT, Type::FLOAT8, Type::INT8];
        assert_eq!(parameter_types(&query, &[], &column), expected);
        assert_eq!(parameter_types(&query, &[0, 1043], &column)[1], Type::VARCHAR);
    }

    #[test]
    fn queries_are_made_plain() {
        for (sql, plain_sql) in [
            ("SELECT public.v.n FROM public.v", "SELECT v.n FROM v"),
            ("SELECT 'a'::VARCHAR, '5'::int, '1.50'::numeric", "SELECT 'a', 5, 1.5"),
            ("SELECT '2013-02-01 00:00:00+00'::timestamptz", "SELECT '2013-02-01 00:00:00'"),
            ("SELECT x WHERE t > '2013-02-01T02:00:00+02:00'", "SELECT x WHERE t > '2013-02-01 00:00:00'"),
            ("SELECT pg_catalog.lower(x)", "SELECT lower(x)"),
        ] {
            let mut query = query(sql);
            plain(&mut query);
            assert_eq!(query.to_string(), plain_sql);
        }
    }

    #[test]
    fn what_is_bound_is_never_read_as_sql() {
        let mut query = query("SELECT $1, $2");
        let text = |text: &str| Parameter { of: Type::TEXT, text: Some(text.to_owned()) };
        bind(&mut query, &[text("it's"), Parameter { of: Type::INT8, text: Some("-3".to_owned()) }]).unwrap();
        assert_eq!(query.to_string(), "SELECT 'it''s', (-3)");
        let wrong = Parameter { of: Type::INT8, text: Some("1 OR 1".to_owned()) };
        assert_eq!(bind(&mut super::tests::query("SELECT $1"), &[wrong]).unwrap_err().code, "22P02");
        assert_eq!(bind(&mut super::tests::query("SELECT $2"), &[text("")]).unwrap_err().code, "42P02");
    }
}
