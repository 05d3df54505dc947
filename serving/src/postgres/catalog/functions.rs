//! Functions that clients call about the catalogue.

use pgwire::api::Type;

use super::{Engine, Facts, tables, value::Value};
use crate::postgres::{
    fault::Fault,
    types::{self, Known},
};

/// What we say to be: the version whose catalogue these tables are like.
pub(in crate::postgres) const VERSION: &str = "15.0";

/// The type of what the function `name` gives; `None` if there is no such function.
pub(super) fn result(name: &str) -> Option<Type> {
    Some(match name {
        "version"
        | "format_type"
        | "pg_get_expr"
        | "pg_get_viewdef"
        | "obj_description"
        | "col_description"
        | "shobj_description"
        | "pg_encoding_to_char"
        | "array_to_string"
        | "quote_ident"
        | "quote_literal"
        | "lower"
        | "upper"
        | "trim"
        | "btrim"
        | "ltrim"
        | "rtrim"
        | "concat"
        | "concat_ws"
        | "replace"
        | "left"
        | "right"
        | "substr"
        | "substring"
        | "split_part"
        | "coalesce"
        | "nullif"
        | "current_setting"
        | "set_config"
        | "pg_size_pretty"
        | "pg_get_constraintdef"
        | "pg_get_indexdef"
        | "pg_get_ruledef"
        | "pg_get_triggerdef"
        | "pg_get_functiondef"
        | "pg_get_function_result"
        | "pg_get_function_arguments"
        | "pg_get_function_identity_arguments"
        | "pg_get_serial_sequence"
        | "pg_get_statisticsobjdef_columns"
        | "pg_get_partkeydef"
        | "pg_get_partition_constraintdef"
        | "unnest"
        | "inet_server_addr"
        | "regexp_replace"
        | "to_char"
        | "greatest"
        | "least"
        | "pg_tablespace_location"
        | "txid_current_snapshot" => Type::TEXT,
        "current_schema"
        | "current_database"
        | "current_catalog"
        | "current_user"
        | "session_user"
        | "user"
        | "current_role"
        | "pg_get_userbyid"
        | "getdatabaseencoding"
        | "pg_client_encoding" => Type::NAME,
        "current_schemas" | "string_to_array" | "parse_ident" | "array_remove" | "array" => Type::TEXT_ARRAY,
        "array_lower"
        | "array_upper"
        | "array_length"
        | "cardinality"
        | "length"
        | "char_length"
        | "position"
        | "strpos"
        | "pg_backend_pid"
        | "generate_series"
        | "generate_subscripts"
        | "inet_server_port" => Type::INT4,
        "pg_table_size" | "pg_total_relation_size" | "pg_relation_size" | "pg_indexes_size" | "pg_database_size" => {
            Type::INT8
        }
        "to_regclass" => Type::REGCLASS,
        "to_regtype" => Type::REGTYPE,
        "json_build_object" | "row_to_json" | "to_json" => Type::JSON,
        "pg_is_in_recovery"
        | "pg_relation_is_publishable"
        | "has_table_privilege"
        | "has_schema_privilege"
        | "has_database_privilege"
        | "has_column_privilege"
        | "has_any_column_privilege"
        | "has_function_privilege"
        | "has_sequence_privilege"
        | "pg_has_role"
        | "pg_relation_is_updatable"
        | "pg_is_other_temp_schema"
        | "pg_advisory_unlock_all"
        | "starts_with" => Type::BOOL,
        name if name.starts_with("pg_") && name.ends_with("_is_visible") => Type::BOOL,
        _ => return None,
    })
}

impl Engine<'_> {
    /// What the function `name` gives of `args`.
    pub(super) fn call(&self, name: &str, args: Vec<Value>) -> Result<Value, Fault> {
        let facts = self.facts;
        let text = |at: usize| args.get(at).and_then(Value::text);
        let int = |at: usize| args.get(at).and_then(Value::int);
        Ok(match name {
            "version" => format!("PostgreSQL {VERSION} (Highwater {})", env!("CARGO_PKG_VERSION")).into(),
            "current_schema" => "public".into(),
            "current_schemas" => {
                let with_catalog = args.first().is_some_and(Value::holds).then_some("pg_catalog");
                Value::Array(with_catalog.into_iter().chain(["public"]).map(Value::from).collect())
            }
            "current_database" | "current_catalog" => facts.database.as_str().into(),
            "current_user" | "session_user" | "user" | "current_role" | "pg_get_userbyid" => facts.user.as_str().into(),
            "getdatabaseencoding" | "pg_client_encoding" | "pg_encoding_to_char" => "UTF8".into(),
            "format_type" => int(0).map(|oid| format_type(oid, int(1))).into(),
            "obj_description" => int(0).and_then(|oid| tables::description(facts, oid, 0)).into(),
            "col_description" => int(0).zip(int(1)).and_then(|(oid, at)| tables::description(facts, oid, at)).into(),
            "pg_get_viewdef" => int(0).and_then(|oid| tables::description(facts, oid, 0)).into(),
            "to_regclass" => text(0).and_then(|name| tables::relation_oid(facts, &name)).into(),
            "to_regtype" => {
                let known = text(0).and_then(|name| Known::named(&name));
                known.map(|known| i64::from(known.oid)).into()
            }
            "array_to_string" => match (args.first(), text(1)) {
                (Some(Value::Null) | None, _) | (_, None) => Value::Null,
                (Some(array), Some(between)) => {
                    array.items().iter().filter_map(Value::text).collect::<Vec<_>>().join(&between).into()
                }
            },
            "string_to_array" => match (text(0), text(1)) {
                (Some(text), Some(between)) => Value::Array(text.split(between.as_str()).map(Value::from).collect()),
                _ => Value::Null,
            },
            "parse_ident" => match text(0) {
                Some(name) => Value::Array(name.split('.').map(|part| Value::from(part.trim_matches('"'))).collect()),
                None => Value::Null,
            },
            "array_remove" => match args.first() {
                Some(Value::Null) | None => Value::Null,
                Some(array) => {
                    Value::Array(array.items().into_iter().filter(|item| Some(item) != args.get(1)).collect())
                }
            },
            "array_lower" => args.first().filter(|array| !array.items().is_empty()).map(|_| 1_i64).into(),
            "array_upper" | "array_length" => {
                args.first().map(|array| array.items().len() as i64).filter(|length| *length > 0).into()
            }
            "cardinality" => args.first().map(|array| array.items().len() as i64).into(),
            "length" | "char_length" => text(0).map(|text| text.chars().count() as i64).into(),
            "quote_ident" => text(0).map(|name| quoted(&name)).into(),
            "quote_literal" => text(0).map(|text| format!("'{}'", text.replace('\'', "''"))).into(),
            "lower" => text(0).map(|text| text.to_lowercase()).into(),
            "upper" => text(0).map(|text| text.to_uppercase()).into(),
            "trim" | "btrim" => text(0).map(|text| text.trim().to_owned()).into(),
            "ltrim" => text(0).map(|text| text.trim_start().to_owned()).into(),
            "rtrim" => text(0).map(|text| text.trim_end().to_owned()).into(),
            "concat" => args.iter().filter_map(Value::text).collect::<String>().into(),
            "replace" => match (text(0), text(1), text(2)) {
                (Some(text), Some(what), Some(with)) => text.replace(&what, &with).into(),
                _ => Value::Null,
            },
            "left" => {
                text(0).zip(int(1)).map(|(text, n)| text.chars().take(n.max(0) as usize).collect::<String>()).into()
            }
            "starts_with" => text(0).zip(text(1)).map(|(text, start)| text.starts_with(&start)).into(),
            "split_part" => match (text(0), text(1), int(2)) {
                (Some(text), Some(between), Some(at)) => {
                    text.split(between.as_str()).nth((at - 1).max(0) as usize).unwrap_or_default().into()
                }
                _ => Value::Null,
            },
            "strpos" => text(0).zip(text(1)).map(|(t, w)| t.find(&w).map_or(0, |at| at as i64 + 1)).into(),
            "coalesce" => args.into_iter().find(|value| !value.is_null()).unwrap_or(Value::Null),
            "nullif" => match args.as_slice() {
                [a, b] if a.compared(b) == Some(std::cmp::Ordering::Equal) => Value::Null,
                [a, ..] => a.clone(),
                [] => Value::Null,
            },
            "current_setting" => {
                let name = text(0).unwrap_or_default().to_lowercase();
                match facts.settings.get(&name) {
                    Some(value) => value.as_str().into(),
                    None if args.get(1).is_some_and(Value::holds) => Value::Null,
                    None => {
                        return Err(Fault::new("42704", format!("unrecognized configuration parameter \"{name}\"")));
                    }
                }
            }
            // What is set so is told, and kept by nobody: a session's settings are set by SET.
            "set_config" => text(1).into(),
            "pg_size_pretty" => int(0).map(|bytes| format!("{bytes} bytes")).into(),
            "pg_table_size"
            | "pg_total_relation_size"
            | "pg_relation_size"
            | "pg_indexes_size"
            | "pg_database_size" => Value::Int(0),
            "pg_backend_pid" => Value::Int(i64::from(std::process::id())),
            "pg_is_in_recovery" | "pg_is_other_temp_schema" => false.into(),
            "pg_relation_is_publishable" | "pg_relation_is_updatable" => false.into(),
            "pg_advisory_unlock_all" => Value::Null,
            name if name.starts_with("has_") && name.ends_with("_privilege") => {
                let asked = args.last().and_then(Value::text).unwrap_or_default().to_lowercase();
                matches!(asked.as_str(), "select" | "usage" | "connect").into()
            }
            "pg_has_role" => true.into(),
            name if name.starts_with("pg_") && name.ends_with("_is_visible") => true.into(),
            // Of what there is none here: constraints, indexes, rules, defaults, sequences.
            name if name.starts_with("pg_get_") || result(name) == Some(Type::JSON) => Value::Null,
            "shobj_description" | "inet_server_addr" | "inet_server_port" | "pg_tablespace_location" => Value::Null,
            name => return Err(Fault::new("42883", format!("function {name} does not exist"))),
        })
    }
}

/// What the aggregate `name` makes of `values`.
pub(super) fn aggregated(name: &str, values: Vec<Value>, separator: Option<&str>) -> Value {
    let present = || values.iter().filter(|value| !value.is_null());
    let by = |wanted: std::cmp::Ordering| {
        let first = |a: &Value, b: &Value| if b.compared(a) == Some(wanted) { b.clone() } else { a.clone() };
        present().cloned().reduce(|a, b| first(&a, &b)).unwrap_or(Value::Null)
    };
    match name {
        "count" => Value::Int(present().count() as i64),
        "min" => by(std::cmp::Ordering::Less),
        "max" => by(std::cmp::Ordering::Greater),
        "sum" => present().filter_map(Value::int).reduce(i64::saturating_add).into(),
        "bool_and" => present().map(Value::holds).reduce(|a, b| a && b).into(),
        "bool_or" => present().map(Value::holds).reduce(|a, b| a || b).into(),
        "string_agg" => {
            let texts: Vec<String> = present().filter_map(Value::text).collect();
            if texts.is_empty() { Value::Null } else { texts.join(separator.unwrap_or_default()).into() }
        }
        _ if values.is_empty() => Value::Null,
        _ => Value::Array(values),
    }
}

/// Whether numbers of this type stand for names.
pub(in crate::postgres) fn has_names(of: &Type) -> bool {
    matches!(*of, Type::REGCLASS | Type::REGTYPE | Type::REGNAMESPACE | Type::REGROLE)
}

/// The name that the number of this type stands for.
pub(in crate::postgres) fn name_of(facts: &Facts, of: &Type, oid: i64) -> String {
    let name = match *of {
        Type::REGCLASS => tables::relation_name(facts, oid),
        Type::REGTYPE => Some(format_type(oid, None)),
        Type::REGNAMESPACE => match oid {
            tables::CATALOG => Some("pg_catalog".to_owned()),
            tables::PUBLIC => Some("public".to_owned()),
            tables::INFORMATION_SCHEMA => Some("information_schema".to_owned()),
            _ => None,
        },
        _ => None,
    };
    name.unwrap_or_else(|| oid.to_string())
}

fn format_type(oid: i64, modifier: Option<i64>) -> String {
    let known = types::KNOWN.iter().find(|known| i64::from(known.oid) == oid);
    match (known, modifier) {
        (None, _) => "???".to_owned(),
        (Some(Known { name: "numeric", written, .. }), Some(modifier)) if modifier >= 4 => {
            let packed = modifier - 4;
            format!("{written}({},{})", packed >> 16, packed & 0x7ff)
        }
        (Some(known), _) => known.written.to_owned(),
    }
}

/// `name` as SQL has it, in quotes if it needs them.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && name.chars().all(plain) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
