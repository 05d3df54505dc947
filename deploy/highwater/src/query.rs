//! `highwater query`: flags become a query, the answer becomes a table.

use std::{io, path::Path};

use anyhow::Context;
use comfy_table::CellAlignment;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    cli::{Layer, Query, QueryFormat},
    output::{self, count, say},
};

/// An answer of the query API, as far as it is printed.
#[derive(Debug, Deserialize)]
struct Answer {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
    provenance: Value,
    stats: Value,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    column_type: String,
    #[serde(default)]
    relative_error: Option<f64>,
    #[serde(default)]
    error_of_total: Option<f64>,
}

/// Asks and prints.
pub(crate) async fn query(pipeline: &Path, query: Query) -> anyhow::Result<()> {
    let client = query.reach.client(pipeline)?;
    let body = client.query(&request(&query)).await?;
    if matches!(query.format, QueryFormat::Json) {
        say!("{}", std::str::from_utf8(&body)?)?;
        return Ok(());
    }
    let answer: Answer = serde_json::from_slice(&body).context("the answer is not one of the query API")?;
    match query.format {
        QueryFormat::Csv => print_csv(&answer)?,
        _ => print_table(&answer)?,
    }
    Ok(())
}

/// The body of `POST /v1/query`; what was left out is left out, so that the API's own defaults hold.
fn request(query: &Query) -> Value {
    let mut body = Map::new();
    body.insert("view".into(), json!(query.view));
    let texts = [
        ("from", &query.from),
        ("to", &query.to),
        ("grain", &query.grain),
        ("timezone", &query.timezone),
        ("where", &query.condition),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            body.insert(key.into(), json!(text));
        }
    }
    for (key, names) in [("dimensions", &query.dimensions), ("measures", &query.measures)] {
        if !names.is_empty() {
            body.insert(key.into(), json!(names));
        }
    }
    if !query.order_by.is_empty() {
        let order = query.order_by.iter().map(|column| match column.strip_prefix('-') {
            Some(column) => json!({"by": column, "desc": true}),
            None => json!({"by": column, "desc": false}),
        });
        body.insert("order_by".into(), order.collect());
    }
    if let Some(limit) = query.limit {
        body.insert("limit".into(), json!(limit));
    }
    if let Some(layer) = query.layer {
        let layer = match layer {
            Layer::Merged => "merged",
            Layer::Batch => "batch",
            Layer::Live => "live",
        };
        body.insert("layer".into(), json!(layer));
    }
    Value::Object(body)
}

/// One value as text: nothing for null, text without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn print_table(answer: &Answer) -> anyhow::Result<()> {
    let mut table = output::table();
    table.set_header(answer.columns.iter().map(|c| match (c.relative_error, c.error_of_total) {
        (Some(error), _) => format!("{} (±{:.1} %)", c.name, error * 100.0),
        (None, Some(error)) => format!("{} (+{:.2} % of all)", c.name, error * 100.0),
        (None, None) => c.name.clone(),
    }));
    for row in &answer.rows {
        table.add_row(row.iter().map(text));
    }
    for (index, column) in answer.columns.iter().enumerate() {
        let type_name = column.column_type.as_str();
        let numeric = ["int64", "float64", "decimal"].iter().any(|number| type_name.starts_with(number));
        if let Some(cells) = table.column_mut(index).filter(|_| numeric) {
            cells.set_cell_alignment(CellAlignment::Right);
        }
    }
    say!("{table}")?;
    say!("{}", provenance(answer))?;
    Ok(())
}

/// One line below the table: where the answer comes from (L6), and a line per warning.
fn provenance(answer: &Answer) -> String {
    let p = &answer.provenance;
    let generation = p["generation"].as_u64().map_or("no generation yet".to_owned(), |n| format!("generation {n}"));
    let complete = if p["complete"] == Value::Bool(true) { "complete" } else { "NOT complete" };
    let mut lines = vec![format!(
        "{}, {complete}; {generation}, mark {}, head {}, {} records behind; {} µs",
        count(answer.rows.len() as u64, "row"),
        p["mark"],
        p["head"],
        p["lag_records"],
        answer.stats["elapsed_us"],
    )];
    let warnings = p["warnings"].as_array().into_iter().flatten();
    lines.extend(warnings.map(|warning| format!("warning: {}", text(warning))));
    lines.join("\n")
}

fn print_csv(answer: &Answer) -> anyhow::Result<()> {
    let mut lines = csv::Writer::from_writer(io::stdout().lock());
    lines.write_record(answer.columns.iter().map(|c| &c.name)).map_err(io::Error::from)?;
    for row in &answer.rows {
        lines.write_record(row.iter().map(text)).map_err(io::Error::from)?;
    }
    lines.flush()?;
    Ok(())
}
