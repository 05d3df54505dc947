//! Reading a question: from JSON, or from the parameters of an address. Every field whose shape is wrong is named; whether the
//! names in it exist is not looked at here.

use common::{limits::TOP_GROUPS_MAX, suggest};
use serde_json::{Map, Value, json};

use super::{
    Error, FieldError, Query,
    fields::Fields,
    model::{Fill, OrderBy, Top},
};
use crate::tiers::Layer;

const FIELDS: [&str; 20] = [
    "view",
    "from",
    "to",
    "grain",
    "timezone",
    "ends",
    "dimensions",
    "measures",
    "where",
    "top",
    "compare",
    "fill",
    "having",
    "totals",
    "order_by",
    "limit",
    "layer",
    "since",
    "paged",
    "cursor",
];

impl Query {
    /// Reads a query from JSON.
    ///
    /// # Errors
    /// [`Error::Json`] if it is not JSON, [`Error::Invalid`] with every field whose shape is wrong.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        Self::from_value(&serde_json::from_slice(body)?)
    }

    /// Reads a query about `view` from the parameters of an address, decoded. They are the fields of the JSON: lists have commas,
    /// a column of `order_by` is descending with a `-` before it, and `top` is as `5,departures` or `5,-departures`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every parameter that is wrong.
    pub fn from_parameters<'a>(
        view: &str,
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut fields = Map::from_iter([("view".to_owned(), json!(view))]);
        let mut errors = Vec::new();
        for (name, text) in parameters {
            if fields.contains_key(name) {
                let detail = if name == "view" { "is in the path" } else { "is there twice" };
                errors.push(FieldError::new(name, detail));
            }
            fields.insert(name.to_owned(), of_text(name, text));
        }
        match Self::from_value(&Value::Object(fields)) {
            Ok(query) if errors.is_empty() => Ok(query),
            Err(Error::Invalid(more)) => Err(Error::Invalid(errors.into_iter().chain(more).collect())),
            Ok(_) => Err(Error::Invalid(errors)),
            Err(other) => Err(other),
        }
    }

    fn from_value(value: &Value) -> Result<Self, Error> {
        let mut fields = Fields::of(value, "", &FIELDS)?;
        let query = Self {
            view: fields.required_string("view"),
            from: instant(&mut fields, "from"),
            to: instant(&mut fields, "to"),
            grain: fields.string("grain"),
            timezone: fields.string("timezone"),
            ends: fields.bool("ends"),
            dimensions: fields.strings("dimensions").unwrap_or_default(),
            measures: fields.strings("measures"),
            filter: fields.string("where"),
            top: top(&mut fields),
            compare: fields.string("compare"),
            fill: fill(&mut fields),
            having: fields.string("having"),
            totals: fields.bool("totals"),
            order_by: order_by(&mut fields),
            limit: fields.count("limit", usize::MAX),
            layer: layer(&mut fields),
            since: fields.string("since"),
            paged: fields.bool("paged"),
            cursor: fields.string("cursor"),
        };
        if let (Some(from), Some(to)) = (query.from, query.to)
            && to <= from
        {
            fields.fault("to", format!("must be after `from`, {from}; the range is [from, to)"));
        }
        if fields.errors.is_empty() { Ok(query) } else { Err(Error::Invalid(fields.errors)) }
    }
}

/// The parameter `name` as the JSON it stands for. What is no number or no truth value stays text, and is named as wrong later.
fn of_text(name: &str, text: &str) -> Value {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    match name {
        "dimensions" | "measures" => parts().collect(),
        "order_by" => parts().map(|part| ordered(part, "by", "desc")).collect(),
        "top" => match text.split_once(',') {
            Some((n, by)) => {
                let mut top = ordered(by.trim().trim_start_matches('-'), "by", "asc");
                top["n"] = number(n.trim());
                top["asc"] = json!(by.trim().starts_with('-'));
                top
            }
            None => json!(text),
        },
        "limit" => number(text),
        "ends" | "totals" | "paged" => match text {
            "true" | "" => json!(true),
            "false" => json!(false),
            other => json!(other),
        },
        _ => json!(text),
    }
}

fn number(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
}

fn ordered(part: &str, by: &str, flag: &str) -> Value {
    match part.strip_prefix('-') {
        Some(part) => json!({by: part, flag: true}),
        None => json!({by: part, flag: false}),
    }
}

fn instant(fields: &mut Fields<'_>, name: &str) -> Option<jiff::Timestamp> {
    let text = fields.string(name)?;
    match text.parse() {
        Ok(instant) => Some(instant),
        Err(error) => {
            fields.fault(name, format!("`{text}` is not an RFC 3339 time such as 2013-02-01T00:00:00Z: {error}"));
            None
        }
    }
}

/// One of `values` by its name; the first if there is none or a wrong one, which is noted.
fn choice<T: Copy>(fields: &mut Fields<'_>, name: &str, what: &str, values: &[(&str, T)]) -> Option<T> {
    let text = fields.string(name)?;
    let found = values.iter().find(|(value, _)| *value == text);
    if found.is_none() {
        let hint = suggest::hint(&text, values.iter().map(|(value, _)| *value));
        fields.fault(name, format!("`{text}` is not {what}{hint}"));
    }
    found.map(|(_, value)| *value)
}

fn layer(fields: &mut Fields<'_>) -> Layer {
    let layers = [("merged", Layer::Merged), ("batch", Layer::Batch), ("live", Layer::Live)];
    choice(fields, "layer", "a layer", &layers).unwrap_or_default()
}

fn fill(fields: &mut Fields<'_>) -> Option<Fill> {
    let fills = [("null", Fill::Null), ("zero", Fill::Zero), ("previous", Fill::Previous)];
    choice(fields, "fill", "a fill", &fills)
}

fn top(fields: &mut Fields<'_>) -> Option<Top> {
    let value = fields.value("top")?;
    match Fields::of(value, "top", &["n", "by", "asc"]) {
        Ok(mut one) => {
            if one.value("n").is_none() {
                one.fault("n", format!("is missing, must be a whole number from 1 to {TOP_GROUPS_MAX}"));
            }
            let n = one.count("n", TOP_GROUPS_MAX).unwrap_or_default();
            let top = Top { n, by: one.required_string("by"), asc: one.bool("asc") };
            fields.errors.append(&mut one.errors);
            Some(top)
        }
        Err(error) => {
            fields.errors.push(error);
            None
        }
    }
}

fn order_by(fields: &mut Fields<'_>) -> Vec<OrderBy> {
    let mut order = Vec::new();
    for (index, value) in fields.array("order_by").unwrap_or_default().iter().enumerate() {
        match Fields::of(value, &format!("order_by/{index}"), &["by", "desc"]) {
            Ok(mut one) => {
                order.push(OrderBy { by: one.required_string("by"), desc: one.bool("desc") });
                fields.errors.append(&mut one.errors);
            }
            Err(error) => fields.errors.push(error),
        }
    }
    order
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn parameters_mean_what_the_json_does() {
        let parameters = [
            ("from", "2013-02-01T00:00:00Z"),
            ("grain", "day"),
            ("dimensions", "carrier, origin"),
            ("measures", "departures"),
            ("order_by", "-departures,carrier"),
            ("top", "5,departures"),
            ("limit", "7"),
            ("totals", "true"),
            ("fill", "zero"),
        ];
        let json = json!({
            "view": "delays", "from": "2013-02-01T00:00:00Z", "grain": "day", "dimensions": ["carrier", "origin"],
            "measures": ["departures"], "order_by": [{"by": "departures", "desc": true}, {"by": "carrier"}],
            "top": {"n": 5, "by": "departures"}, "limit": 7, "totals": true, "fill": "zero"
        });
        let read = Query::from_parameters("delays", parameters).unwrap();
        assert_eq!(read, Query::from_json(json.to_string().as_bytes()).unwrap());
    }

    #[test]
    fn wrong_parameters_are_named() {
        let parameters = [
            ("limit", "many"),
            ("totals", "perhaps"),
            ("view", "x"),
            ("top", "5"),
            ("grain", "day"),
            ("grain", "week"),
        ];
        let Err(Error::Invalid(errors)) = Query::from_parameters("delays", parameters) else { panic!("it is valid") };
        let mut pointers: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["#/grain", "#/limit", "#/top", "#/totals", "#/view"]);
    }
}
