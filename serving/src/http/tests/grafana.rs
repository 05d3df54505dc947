//! The board and the alerts name metrics that there are.

use std::collections::BTreeSet;

use serde_json::Value;

const METRICS: &str = include_str!("../../../../docs/metrics.md");

/// All texts under the key `expr`.
fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("expr").and_then(Value::as_str));
            object.values().for_each(|value| expressions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[track_caller]
fn check(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap();
    let mut found = Vec::new();
    expressions(&value, &mut found);
    assert!(found.len() >= 5);
    for expression in found {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics: Vec<&str> = words.filter(|word| word.starts_with("highwater_")).collect();
        assert!(!metrics.is_empty(), "{expression}");
        for metric in metrics {
            let name = metric.trim_end_matches("_total").trim_end_matches("_bucket");
            assert!(METRICS.contains(&format!("`{name}`")), "{name} of {expression} is not in docs/metrics.md");
        }
    }
    value
}

#[test]
fn the_board_is_one_that_grafana_takes() {
    let board = check(include_str!("../../../../deploy/grafana/board.json"));
    assert!(board["schemaVersion"].is_u64() && board["uid"].is_string() && board["title"].is_string());
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    assert!(panels.iter().all(|panel| panel["gridPos"]["w"].is_u64() && panel["targets"][0]["refId"] == "A"));
}

#[test]
fn the_alerts_are_rules_that_grafana_provisions() {
    let alerts = check(include_str!("../../../../deploy/grafana/alerts.json"));
    assert_eq!(alerts["apiVersion"], 1);
    for rule in alerts["groups"][0]["rules"].as_array().unwrap() {
        let condition = &rule["condition"];
        assert!(rule["data"].as_array().unwrap().iter().any(|query| &query["refId"] == condition), "{rule}");
        assert!(rule["uid"].as_str().unwrap().len() <= 40 && rule["annotations"]["summary"].is_string());
    }
}
