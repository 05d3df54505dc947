//! What other tools read of a store, without our code: Python's deltalake, Polars and DuckDB.

use std::{path::Path, process::Command};

use common::testing::python;
use serde_json::{Value, json};

use crate::{
    commands::{shop, write},
    process::{fails, highwater, succeeds},
};

/// Prints what three tools find in the two tables whose paths they are given: a dataset, and an exported view.
const SCRIPT: &str = r#"
import json, sys
import deltalake, duckdb, polars

dataset, view = (deltalake.DeltaTable(path) for path in sys.argv[1:3])

events = dataset.to_pyarrow_table()
by_customer = events.group_by("customer").aggregate([("cents", "sum"), ("cents", "count")]).sort_by("customer")
of_deltalake = [[row["customer"], row["cents_count"], row["cents_sum"]] for row in by_customer.to_pylist()]

frame = polars.scan_delta(sys.argv[1]).group_by("customer").agg(polars.len().alias("n"), polars.col("cents").sum())
of_polars = [list(row) for row in frame.sort("customer").collect().rows()]

files = dataset.file_uris()
of_duckdb = duckdb.execute(
    "SELECT customer, count(*), sum(cents)::BIGINT FROM read_parquet(?) GROUP BY customer ORDER BY customer", [files]
).fetchall()

exported = polars.scan_delta(sys.argv[2]).group_by("customer").agg(polars.col("orders").sum(), polars.col("cents").sum())
of_view = [list(row) for row in exported.sort("customer").collect().rows()]
view_in_duckdb = duckdb.execute(
    "SELECT customer, sum(orders)::BIGINT, sum(cents)::BIGINT FROM read_parquet(?) GROUP BY customer ORDER BY customer",
    [view.file_uris()],
).fetchall()

print(json.dumps({
    "dataset": [of_deltalake, of_polars, [list(row) for row in of_duckdb]],
    "view": [of_view, [list(row) for row in view_in_duckdb]],
    "columns": [field.name for field in view.schema().fields],
    "version": view.version(),
}))
"#;

fn read(python: &Path, folder: &Path) -> Value {
    let tables = [folder.join("state/store/datasets/orders"), folder.join("out/sales")];
    let printed = succeeds(Command::new(python).args(["-c", SCRIPT]).args(tables).current_dir(folder));
    serde_json::from_str(&printed).expect("the script prints JSON")
}

#[test]
fn l1_other_tools_find_the_same_totals_in_the_dataset_and_in_an_exported_view() {
    let Some(python) = python::interpreter() else { return };
    let folder = shop();
    let run = |arguments: &[&str]| succeeds(highwater(arguments).current_dir(folder.path()));
    let export = |folder: &Path| succeeds(highwater(["export", "sales", "--to", "out/sales"]).current_dir(folder));
    run(&["load", "--source", "orders", "rows.ndjson"]);
    let refused = fails(highwater(["export", "sales", "--to", "out/sales"]).current_dir(folder.path()));
    assert!(refused.contains("advance first"), "{refused}");
    run(&["batch", "advance"]);
    assert!(export(folder.path()).contains("sales: 2 rows of generation 1 are version 0"));
    let found = read(python, folder.path());
    let totals = json!([["ann", 2, 350], ["bob", 1, 7]]);
    assert_eq!(found["dataset"], json!([totals, totals, totals]));
    assert_eq!(found["view"], json!([totals, totals]));
    assert_eq!(found["columns"], json!(["hour", "customer", "orders", "cents"]));

    // More events, files put together, one customer erased: what others read follows, and an export replaces the last.
    write(folder.path(), "more.ndjson", "{\"at\":\"2026-01-01T00:20:00Z\",\"customer\":\"bob\",\"cents\":3}\n");
    run(&["load", "--source", "orders", "more.ndjson"]);
    run(&["batch", "compact"]);
    run(&["erase", "--source", "orders", "--where", "customer = 'ann'"]);
    assert!(export(folder.path()).contains("are version 1"));
    let found = read(python, folder.path());
    let totals = json!([["bob", 2, 10]]);
    assert_eq!(found["dataset"], json!([totals, totals, totals]));
    assert_eq!((&found["view"], &found["version"]), (&json!([totals, totals]), &json!(1)));
}
