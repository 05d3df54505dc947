//! `GET /v1/openapi.json`: the API as OpenAPI 3.1, made from the types and handlers themselves.

use std::sync::LazyLock;

use axum::http::{HeaderName, header};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{ingest, live, problem, query, sql, state};
use crate::query::Whole;

#[derive(OpenApi)]
#[openapi(
    info(title = "Highwater", description = "Views of live and stored events, merged", license(name = "Apache-2.0")),
    paths(
        query::query,
        query::view,
        sql::sql,
        live::live,
        state::views,
        state::status,
        state::live,
        state::ready,
        state::metrics,
        ingest::append,
        ingest::producer
    ),
    components(schemas(problem::Problem, Whole))
)]
struct Document;

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// `GET /v1/openapi.json`.
pub(super) async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], &TEXT)
}

fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).expect("the document is plain data with text keys");
    let properties = document["components"]["schemas"]["Query"]["properties"].take();
    let parameters = parameters(properties.as_object().unwrap_or(&Map::new()));
    document["components"]["schemas"]["Query"]["properties"] = properties;
    let link = &mut document["paths"]["/v1/views/{view}"]["get"]["parameters"];
    link.as_array_mut().expect("the link has its view as a parameter").extend(parameters);
    // Whatever comes is taken: what is no event becomes a dead letter.
    let bodies = &mut document["paths"]["/v1/sources/{source}/events"]["post"]["requestBody"]["content"];
    for (_, content) in bodies.as_object_mut().into_iter().flatten() {
        content["schema"] = json!({});
    }
    let problem = json!({
        "description": "A problem document (RFC 9457)",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    });
    for operation in operations(&mut document) {
        operation["responses"]["default"] = problem.clone();
    }
    document
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut())
}

/// The fields of a query as the parameters of a link: what is no plain value is text there.
fn parameters(fields: &Map<String, Value>) -> Vec<Value> {
    let parameter = |(name, field): (&String, &Value)| {
        let schema = match name.as_str() {
            "view" => return None,
            "limit" => json!({"type": "integer", "minimum": 1}),
            "ends" | "totals" | "paged" => json!({"type": "string", "enum": ["true", "false", ""]}),
            "fill" => json!({"type": "string", "enum": ["null", "zero", "previous"]}),
            "layer" => json!({"type": "string", "enum": ["merged", "batch", "live"]}),
            "top" => json!({"type": "string", "pattern": "^[1-9][0-9]{0,2},-?.+$"}),
            "from" | "to" => json!({"type": "string", "format": "date-time"}),
            _ => json!({"type": "string"}),
        };
        let mut parameter = json!({"name": name, "in": "query", "required": false, "schema": schema});
        if let Some(description) = field.get("description") {
            parameter["description"] = description.clone();
        }
        Some(parameter)
    };
    fields.iter().filter_map(parameter).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_reference_is_to_something_that_is_there() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let text = document.to_string();
        let references: Vec<&str> =
            text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(references.len() > 5);
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference} is not there");
        }
    }
}
