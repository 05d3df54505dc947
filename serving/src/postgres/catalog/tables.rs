//! The tables of the catalogue: what Postgres' own say, of the views there are. All others that Postgres has are there too, and are
//! empty: nothing here has indexes, constraints, triggers or sequences.

use std::sync::Arc;

use common::{schema::ColumnType, view::View};
use pgwire::api::Type;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Facts,
    relation::{Column, Relation, Row},
    value::Value,
};
use crate::postgres::types::{self, Known};

/// The numbers that Postgres itself gives.
pub(super) const CATALOG: i64 = 11;
pub(super) const PUBLIC: i64 = 2200;
pub(super) const INFORMATION_SCHEMA: i64 = 13_000;
const OWNER: i64 = 10;
const DATABASE: i64 = 5;
const HEAP: i64 = 2;
/// Catalogue tables by number, which clients ask as `'pg_class'::regclass`.
const CLASSES: [(&str, i64); 8] = [
    ("pg_class", 1259),
    ("pg_type", 1247),
    ("pg_namespace", 2615),
    ("pg_attribute", 1249),
    ("pg_constraint", 2606),
    ("pg_database", 1262),
    ("pg_proc", 1255),
    ("pg_extension", 3079),
];

/// The first number that Postgres gives to what users make.
const FIRST: i64 = 16_384;

/// A view as a table.
#[derive(Debug)]
pub(in crate::postgres) struct Table {
    pub(super) oid: i64,
    pub(super) view: Arc<View>,
}

/// The tables of `views`, each with a number that depends on its name alone, as far as none has it already.
pub(super) fn tables(views: impl IntoIterator<Item = Arc<View>>) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for view in views {
        let mut oid = FIRST + (xxh3_64(view.name.as_str().as_bytes()) & 0x3fff_ffff) as i64;
        while tables.iter().any(|table| table.oid == oid) {
            oid += 1;
        }
        tables.push(Table { oid, view });
    }
    tables
}

/// The columns of a view as SQL knows them, with what is said of each.
fn columns(view: &View) -> Vec<(String, ColumnType, String)> {
    let bucket = (view.bucket_name.clone(), ColumnType::Timestamp, format!("bucket of {}", view.grain.name()));
    let dimensions = view.dimensions.iter().map(|d| (d.name.clone(), d.column_type(), "dimension".to_owned()));
    let measures = view.measures.iter().filter_map(|measure| {
        let exact = if measure.is_exact(&view.states) { "exact" } else { "approximate" };
        Some((
            measure.name.clone(),
            measure.value_type.scalar()?,
            format!("measure, {exact}; MEASURE({})", measure.name),
        ))
    });
    std::iter::once(bucket).chain(dimensions).chain(measures).collect()
}

/// The number of the relation called `name`.
pub(super) fn relation_oid(facts: &Facts, name: &str) -> Option<i64> {
    let name = name.trim_start_matches("pg_catalog.").trim_start_matches("public.").replace('"', "");
    let own = facts.tables.iter().find(|table| table.view.name.as_str() == name).map(|table| table.oid);
    own.or_else(|| CLASSES.iter().find(|(class, _)| *class == name).map(|(_, oid)| *oid))
}

/// The name of the relation of this number.
pub(super) fn relation_name(facts: &Facts, oid: i64) -> Option<String> {
    let own = facts.tables.iter().find(|table| table.oid == oid).map(|table| table.view.name.to_string());
    own.or_else(|| CLASSES.iter().find(|(_, class)| *class == oid).map(|(name, _)| (*name).to_owned()))
}

/// What is said of a relation, or of its column of this number.
pub(super) fn description(facts: &Facts, oid: i64, column: i64) -> Option<String> {
    let view = &facts.tables.iter().find(|table| table.oid == oid)?.view;
    match column {
        0 => Some(view.sql.clone()),
        column => columns(view).into_iter().nth(usize::try_from(column - 1).ok()?).map(|(_, _, said)| said),
    }
}

/// The table `name` of `pg_catalog` or `information_schema`.
pub(super) fn read(facts: &Facts, schema: Option<&str>, name: &str) -> Option<Relation> {
    let relation = match (schema, name) {
        (Some("information_schema"), "tables") => information_tables(facts),
        (Some("information_schema"), "columns") => information_columns(facts),
        (Some("information_schema"), "schemata") => schemata(facts),
        (Some("information_schema"), _) => Relation { vacant: vec![name.to_owned()], ..Relation::default() },
        (Some("pg_catalog") | None, "pg_namespace") => namespaces(),
        (Some("pg_catalog") | None, "pg_class") => classes(facts),
        (Some("pg_catalog") | None, "pg_attribute") => attributes(facts),
        (Some("pg_catalog") | None, "pg_type") => type_rows(),
        (Some("pg_catalog") | None, "pg_description") => descriptions(facts),
        (Some("pg_catalog") | None, "pg_database") => databases(facts),
        (Some("pg_catalog") | None, "pg_roles" | "pg_user" | "pg_authid") => roles(facts),
        (Some("pg_catalog") | None, "pg_am") => relation(
            &[("oid", Type::OID), ("amname", Type::NAME), ("amtype", Type::CHAR)],
            vec![vec![HEAP.into(), "heap".into(), "t".into()]],
        ),
        (Some("pg_catalog") | None, "pg_tables") => relation(
            &[("schemaname", Type::NAME), ("tablename", Type::NAME), ("tableowner", Type::NAME)],
            facts
                .tables
                .iter()
                .map(|t| vec!["public".into(), t.view.name.as_str().into(), facts.user.as_str().into()])
                .collect(),
        ),
        (Some("pg_catalog") | None, "pg_settings") => relation(
            &[("name", Type::TEXT), ("setting", Type::TEXT)],
            facts.settings.iter().map(|(name, value)| vec![name.as_str().into(), value.as_str().into()]).collect(),
        ),
        (Some("pg_catalog"), _) => Relation { vacant: vec![name.to_owned()], ..Relation::default() },
        (None, name) if name.starts_with("pg_") => Relation { vacant: vec![name.to_owned()], ..Relation::default() },
        _ => return None,
    };
    Some(relation.named(name, &[]))
}

fn relation(columns: &[(&str, Type)], rows: Vec<Row>) -> Relation {
    debug_assert!(rows.iter().all(|row| row.len() == columns.len()), "a value a column");
    let column = |(name, column_type): &(&str, Type)| Column {
        table: String::new(),
        name: (*name).to_owned(),
        column_type: column_type.clone(),
    };
    Relation { columns: columns.iter().map(column).collect(), rows, vacant: Vec::new() }
}

fn namespaces() -> Relation {
    let rows = [(CATALOG, "pg_catalog"), (PUBLIC, "public"), (INFORMATION_SCHEMA, "information_schema")];
    relation(
        &[("oid", Type::OID), ("nspname", Type::NAME), ("nspowner", Type::OID), ("nspacl", Type::TEXT_ARRAY)],
        rows.into_iter().map(|(oid, name)| vec![oid.into(), name.into(), OWNER.into(), Value::Null]).collect(),
    )
}

fn classes(facts: &Facts) -> Relation {
    let names = [
        ("oid", Type::OID),
        ("relname", Type::NAME),
        ("relnamespace", Type::OID),
        ("reltype", Type::OID),
        ("reloftype", Type::OID),
        ("relowner", Type::OID),
        ("relam", Type::OID),
        ("reltablespace", Type::OID),
        ("relpages", Type::INT4),
        ("reltuples", Type::FLOAT4),
        ("reltoastrelid", Type::OID),
        ("relhasindex", Type::BOOL),
        ("relisshared", Type::BOOL),
        ("relpersistence", Type::CHAR),
        ("relkind", Type::CHAR),
        ("relnatts", Type::INT2),
        ("relchecks", Type::INT2),
        ("relhasrules", Type::BOOL),
        ("relhastriggers", Type::BOOL),
        ("relhassubclass", Type::BOOL),
        ("relrowsecurity", Type::BOOL),
        ("relforcerowsecurity", Type::BOOL),
        ("relispopulated", Type::BOOL),
        ("relreplident", Type::CHAR),
        ("relispartition", Type::BOOL),
        ("relpartbound", Type::TEXT),
        ("relacl", Type::TEXT_ARRAY),
        ("reloptions", Type::TEXT_ARRAY),
    ];
    let row = |table: &Table| -> Row {
        let (no, none) = (|| Value::Bool(false), || Value::Int(0));
        vec![
            table.oid.into(),
            table.view.name.as_str().into(),
            PUBLIC.into(),
            none(),
            none(),
            OWNER.into(),
            HEAP.into(),
            none(),
            none(),
            Value::Double(-1.0),
            none(),
            no(),
            no(),
            "p".into(),
            "r".into(),
            Value::Int(columns(&table.view).len() as i64),
            none(),
            no(),
            no(),
            no(),
            no(),
            no(),
            true.into(),
            "n".into(),
            no(),
            Value::Null,
            Value::Null,
            Value::Null,
        ]
    };
    relation(&names, facts.tables.iter().map(row).collect())
}

fn attributes(facts: &Facts) -> Relation {
    let names = [
        ("attrelid", Type::OID),
        ("attname", Type::NAME),
        ("atttypid", Type::OID),
        ("attstattarget", Type::INT4),
        ("attlen", Type::INT2),
        ("attnum", Type::INT2),
        ("attndims", Type::INT4),
        ("atttypmod", Type::INT4),
        ("attnotnull", Type::BOOL),
        ("atthasdef", Type::BOOL),
        ("attidentity", Type::CHAR),
        ("attgenerated", Type::CHAR),
        ("attisdropped", Type::BOOL),
        ("attislocal", Type::BOOL),
        ("attcollation", Type::OID),
        ("attstorage", Type::CHAR),
        ("attcompression", Type::CHAR),
        ("attacl", Type::TEXT_ARRAY),
        ("attoptions", Type::TEXT_ARRAY),
    ];
    let mut rows = Vec::new();
    for table in &facts.tables {
        for (at, (name, column_type, _)) in columns(&table.view).into_iter().enumerate() {
            let known = Known::of(&types::of(column_type));
            rows.push(vec![
                table.oid.into(),
                name.into(),
                i64::from(known.oid).into(),
                Value::Int(-1),
                i64::from(known.length).into(),
                Value::Int(at as i64 + 1),
                Value::Int(0),
                i64::from(types::modifier(column_type)).into(),
                false.into(),
                false.into(),
                "".into(),
                "".into(),
                false.into(),
                true.into(),
                Value::Int(0),
                if known.length < 0 { "x" } else { "p" }.into(),
                "".into(),
                Value::Null,
                Value::Null,
            ]);
        }
    }
    relation(&names, rows)
}

fn type_rows() -> Relation {
    let names = [
        ("oid", Type::OID),
        ("typname", Type::NAME),
        ("typnamespace", Type::OID),
        ("typowner", Type::OID),
        ("typlen", Type::INT2),
        ("typbyval", Type::BOOL),
        ("typtype", Type::CHAR),
        ("typcategory", Type::CHAR),
        ("typisdefined", Type::BOOL),
        ("typdelim", Type::CHAR),
        ("typrelid", Type::OID),
        ("typelem", Type::OID),
        ("typarray", Type::OID),
        ("typnotnull", Type::BOOL),
        ("typbasetype", Type::OID),
        ("typtypmod", Type::INT4),
        ("typcollation", Type::OID),
        ("typdefault", Type::TEXT),
    ];
    let row = |known: &Known| -> Row {
        vec![
            i64::from(known.oid).into(),
            known.name.into(),
            CATALOG.into(),
            OWNER.into(),
            i64::from(known.length).into(),
            (known.length > 0).into(),
            "b".into(),
            known.category.to_string().into(),
            true.into(),
            ",".into(),
            Value::Int(0),
            i64::from(known.item).into(),
            i64::from(known.array).into(),
            false.into(),
            Value::Int(0),
            Value::Int(-1),
            Value::Int(0),
            Value::Null,
        ]
    };
    relation(&names, types::KNOWN.iter().map(row).collect())
}

fn descriptions(facts: &Facts) -> Relation {
    let mut rows = Vec::new();
    for table in &facts.tables {
        for column in 0..=columns(&table.view).len() as i64 {
            let said = description(facts, table.oid, column);
            rows.push(vec![table.oid.into(), Value::Int(1259), column.into(), said.into()]);
        }
    }
    let names = [("objoid", Type::OID), ("classoid", Type::OID), ("objsubid", Type::INT4), ("description", Type::TEXT)];
    relation(&names, rows)
}

fn databases(facts: &Facts) -> Relation {
    let names = [
        ("oid", Type::OID),
        ("datname", Type::NAME),
        ("datdba", Type::OID),
        ("encoding", Type::INT4),
        ("datlocprovider", Type::CHAR),
        ("datistemplate", Type::BOOL),
        ("datallowconn", Type::BOOL),
        ("datconnlimit", Type::INT4),
        ("dattablespace", Type::OID),
        ("datcollate", Type::TEXT),
        ("datctype", Type::TEXT),
        ("daticulocale", Type::TEXT),
        ("datlocale", Type::TEXT),
        ("daticurules", Type::TEXT),
        ("datcollversion", Type::TEXT),
        ("datacl", Type::TEXT_ARRAY),
    ];
    let row = vec![
        DATABASE.into(),
        facts.database.as_str().into(),
        OWNER.into(),
        Value::Int(6),
        "c".into(),
        false.into(),
        true.into(),
        Value::Int(-1),
        Value::Int(1663),
        "C.UTF-8".into(),
        "C.UTF-8".into(),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    ];
    relation(&names, vec![row])
}

fn roles(facts: &Facts) -> Relation {
    let names = [
        ("oid", Type::OID),
        ("rolname", Type::NAME),
        ("rolsuper", Type::BOOL),
        ("rolinherit", Type::BOOL),
        ("rolcreaterole", Type::BOOL),
        ("rolcreatedb", Type::BOOL),
        ("rolcanlogin", Type::BOOL),
        ("rolreplication", Type::BOOL),
        ("rolbypassrls", Type::BOOL),
        ("rolconnlimit", Type::INT4),
        ("rolvaliduntil", Type::TEXT),
        ("usename", Type::NAME),
        ("usesuper", Type::BOOL),
        ("usesysid", Type::OID),
    ];
    let (no, user) = (|| Value::Bool(false), || Value::from(facts.user.as_str()));
    let row = vec![
        OWNER.into(),
        user(),
        no(),
        true.into(),
        no(),
        no(),
        true.into(),
        no(),
        no(),
        Value::Int(-1),
        Value::Null,
        user(),
        no(),
        OWNER.into(),
    ];
    relation(&names, vec![row])
}

fn information_tables(facts: &Facts) -> Relation {
    let names = [
        ("table_catalog", Type::NAME),
        ("table_schema", Type::NAME),
        ("table_name", Type::NAME),
        ("table_type", Type::VARCHAR),
        ("is_insertable_into", Type::VARCHAR),
        ("is_typed", Type::VARCHAR),
    ];
    let row = |table: &Table| -> Row {
        let (catalog, name) = (facts.database.as_str().into(), table.view.name.as_str().into());
        vec![catalog, "public".into(), name, "BASE TABLE".into(), "NO".into(), "NO".into()]
    };
    relation(&names, facts.tables.iter().map(row).collect())
}

fn schemata(facts: &Facts) -> Relation {
    let names = [("catalog_name", Type::NAME), ("schema_name", Type::NAME), ("schema_owner", Type::NAME)];
    let row = |schema: &str| vec![facts.database.as_str().into(), schema.into(), facts.user.as_str().into()];
    relation(&names, ["pg_catalog", "public", "information_schema"].map(row).to_vec())
}

fn information_columns(facts: &Facts) -> Relation {
    let names = [
        ("table_catalog", Type::NAME),
        ("table_schema", Type::NAME),
        ("table_name", Type::NAME),
        ("column_name", Type::NAME),
        ("ordinal_position", Type::INT4),
        ("column_default", Type::VARCHAR),
        ("is_nullable", Type::VARCHAR),
        ("data_type", Type::VARCHAR),
        ("character_maximum_length", Type::INT4),
        ("character_octet_length", Type::INT4),
        ("numeric_precision", Type::INT4),
        ("numeric_precision_radix", Type::INT4),
        ("numeric_scale", Type::INT4),
        ("datetime_precision", Type::INT4),
        ("interval_type", Type::VARCHAR),
        ("collation_name", Type::NAME),
        ("domain_name", Type::NAME),
        ("udt_catalog", Type::NAME),
        ("udt_schema", Type::NAME),
        ("udt_name", Type::NAME),
        ("is_identity", Type::VARCHAR),
        ("is_generated", Type::VARCHAR),
        ("is_updatable", Type::VARCHAR),
    ];
    let mut rows = Vec::new();
    for table in &facts.tables {
        for (at, (name, column_type, _)) in columns(&table.view).into_iter().enumerate() {
            let known = Known::of(&types::of(column_type));
            let (precision, radix, scale) = match column_type {
                ColumnType::Int => (Some(64), Some(2), Some(0)),
                ColumnType::Double => (Some(53), Some(2), None),
                ColumnType::Decimal { precision, scale } => {
                    (Some(i64::from(precision)), Some(10), Some(i64::from(scale)))
                }
                _ => (None, None, None),
            };
            let parts = (column_type == ColumnType::Timestamp).then_some(6_i64);
            rows.push(vec![
                facts.database.as_str().into(),
                "public".into(),
                table.view.name.as_str().into(),
                name.into(),
                Value::Int(at as i64 + 1),
                Value::Null,
                "YES".into(),
                known.written.into(),
                Value::Null,
                Value::Null,
                precision.into(),
                radix.into(),
                scale.into(),
                parts.into(),
                Value::Null,
                Value::Null,
                Value::Null,
                facts.database.as_str().into(),
                "pg_catalog".into(),
                known.name.into(),
                "NO".into(),
                "NEVER".into(),
                "NO".into(),
            ]);
        }
    }
    relation(&names, rows)
}
