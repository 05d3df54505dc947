//! The tree is the architecture: who may depend on whom, and what there may be only one of.

use std::process::Command;

use serde_json::Value;

use crate::process::succeeds;

const LAYERS: [&str; 3] = ["speed", "batch", "serving"];

/// What cargo says of this workspace and all it depends on.
fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    serde_json::from_str(&succeeds(&mut cargo)).expect("cargo writes JSON")
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().expect("metadata has packages")
}

/// The names of the direct dependencies of a package of the workspace.
fn dependencies(metadata: &Value, package: &str) -> Vec<String> {
    let ours = |p: &&Value| p["name"] == package && p["source"].is_null();
    let package = packages(metadata).iter().find(ours).expect("the package is in the workspace");
    let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
    dependencies.iter().map(|d| d["name"].as_str().expect("a dependency has a name").to_owned()).collect()
}

#[test]
fn layers_meet_only_in_common() {
    let metadata = metadata();
    for layer in LAYERS {
        let others: Vec<_> = LAYERS.iter().filter(|l| **l != layer).collect();
        let found = dependencies(&metadata, layer);
        assert!(found.iter().any(|d| d == "common"), "{layer} does not depend on common");
        for other in others {
            assert!(!found.iter().any(|d| d == other), "{layer} depends on {other}: layers meet only in common");
        }
        assert!(!found.iter().any(|d| d == "highwater"), "{layer} depends on the program");
    }
    let common = dependencies(&metadata, "common");
    for layer in LAYERS {
        assert!(!common.iter().any(|d| d == layer), "common depends on {layer}: it knows no layer");
    }
}

#[test]
fn each_heavy_dependency_has_one_owner() {
    let metadata = metadata();
    for (dependency, owners) in [
        ("deltalake", vec!["common"]),
        ("fjall", vec!["common"]),
        ("axum", vec!["serving"]),
        // Views are read by the one, and what is asked of them in SQL by the other.
        ("sqlparser", vec!["common", "serving"]),
    ] {
        for package in ["common", "speed", "batch", "serving", "highwater"] {
            let has = dependencies(&metadata, package).iter().any(|d| d == dependency);
            assert!(!has || owners.contains(&package), "{package} depends on {dependency}, which {owners:?} owns");
        }
    }
}

#[test]
fn there_is_one_arrow_one_parquet_and_one_object_store() {
    let metadata = metadata();
    for name in ["arrow-array", "arrow-schema", "parquet", "object_store", "sqlparser"] {
        let versions: Vec<&Value> =
            packages(&metadata).iter().filter(|p| p["name"] == name).map(|p| &p["version"]).collect();
        assert_eq!(versions.len(), 1, "{name} is in the tree as {versions:?}: see docs/decisions/0001-one-arrow.md");
    }
}
