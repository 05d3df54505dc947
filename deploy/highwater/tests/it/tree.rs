//! The tree is the architecture: who may depend on whom, and what there may be only one of.

use cargo_metadata::{Metadata, MetadataCommand, Package};

const LAYERS: [&str; 3] = ["speed", "batch", "serving"];

fn metadata() -> Metadata {
    MetadataCommand::new().other_options(["--locked".to_owned()]).exec().expect("cargo reads this workspace")
}

fn dependencies(metadata: &Metadata, package: &str) -> Vec<String> {
    let is_it = |p: &&Package| p.name.as_str() == package;
    let package = metadata.workspace_packages().into_iter().find(is_it).expect("the package is in the workspace");
    package.dependencies.iter().map(|d| d.name.clone()).collect()
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
        ("sqlparser", vec!["common"]),
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
        let versions: Vec<String> =
            metadata.packages.iter().filter(|p| p.name.as_str() == name).map(|p| p.version.to_string()).collect();
        assert_eq!(versions.len(), 1, "{name} is in the tree as {versions:?}: see docs/decisions/0001-one-arrow.md");
    }
}
