//! Avro schemas (Apache Avro 1.12, "Schema Declaration") from their JSON, as far as reading needs them: types and names, not
//! documentation, defaults or the order of sorting.

use std::fmt;

use hashbrown::HashMap;
use serde_json::{Map, Value};

/// A type's number in its [`Schema`].
pub(super) type TypeId = usize;

/// A schema: its types, each named one once, so that types may contain themselves.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Schema {
    types: Vec<Type>,
    pub(super) root: TypeId,
}

/// One type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    Int(Logical),
    Long(Logical),
    Float,
    Double,
    Bytes(Logical),
    String,
    Fixed(usize, Logical),
    Enum(Vec<String>),
    Array(TypeId),
    Map(TypeId),
    Record(String, Vec<(String, TypeId)>),
    Union(Vec<TypeId>),
}

/// What a type's bytes mean beyond the type. Logical types that are not known, or that do not fit their type, count as none:
/// the specification says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logical {
    None,
    Decimal {
        precision: u32,
        scale: u32,
    },
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    /// A day, or a time of a day or without a zone: no instant.
    Local,
    Uuid,
}

impl Schema {
    /// The schema in `text`, which may use the types that `references` define, in an order in which each uses earlier ones.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in super::super) fn parse(text: &str, references: &[&str]) -> Result<Self, String> {
        let mut parser = Parser { types: Vec::new(), names: HashMap::new() };
        for reference in references {
            parser.text(reference)?;
        }
        let root = parser.text(text)?;
        Ok(Self { types: parser.types, root })
    }

    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// The type as it is named in messages.
    pub(super) fn describe(&self, id: TypeId) -> String {
        match self.get(id) {
            Type::Union(branches) => {
                let branches: Vec<String> = branches.iter().map(|&branch| self.describe(branch)).collect();
                format!("[{}]", branches.join(", "))
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, logical) = match self {
            Self::Null => ("null", Logical::None),
            Self::Boolean => ("boolean", Logical::None),
            Self::Int(logical) => ("int", *logical),
            Self::Long(logical) => ("long", *logical),
            Self::Float => ("float", Logical::None),
            Self::Double => ("double", Logical::None),
            Self::Bytes(logical) => ("bytes", *logical),
            Self::String => ("string", Logical::None),
            Self::Fixed(_, logical) => ("fixed", *logical),
            Self::Enum(_) => ("enum", Logical::None),
            Self::Array(_) => ("array", Logical::None),
            Self::Map(_) => ("map", Logical::None),
            Self::Record(name, _) => return write!(f, "record {name}"),
            Self::Union(_) => ("union", Logical::None),
        };
        match logical {
            Logical::None => f.write_str(name),
            Logical::Decimal { precision, scale } => write!(f, "{name} decimal({precision},{scale})"),
            Logical::TimestampMillis => write!(f, "{name} timestamp-millis"),
            Logical::TimestampMicros => write!(f, "{name} timestamp-micros"),
            Logical::TimestampNanos => write!(f, "{name} timestamp-nanos"),
            Logical::Local => write!(f, "{name} of a date or time without a zone"),
            Logical::Uuid => write!(f, "{name} uuid"),
        }
    }
}

struct Parser {
    types: Vec<Type>,
    /// The named types by their full names.
    names: HashMap<String, TypeId>,
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<TypeId, String> {
        // A registry gives a schema that is only a name without quotes, too.
        match serde_json::from_str(text) {
            Ok(value) => self.value(&value, ""),
            Err(_) if primitive(text.trim()).is_some() => self.value(&Value::String(text.trim().to_owned()), ""),
            Err(error) => Err(format!("it is not JSON: {error}")),
        }
    }

    fn push(&mut self, of: Type) -> TypeId {
        self.types.push(of);
        self.types.len() - 1
    }

    fn value(&mut self, value: &Value, namespace: &str) -> Result<TypeId, String> {
        match value {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.value(branch, namespace));
                let branches = branches.collect::<Result<Vec<_>, _>>()?;
                Ok(self.push(Type::Union(branches)))
            }
            Value::Object(object) => self.object(object, namespace),
            other => Err(format!("{other} is no type")),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<TypeId, String> {
        if let Some(primitive) = primitive(name) {
            return Ok(self.push(primitive));
        }
        let known = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
        known.copied().ok_or_else(|| format!("{name} is no type that is known"))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let Some(Value::String(kind)) = object.get("type") else {
            let inner = object.get("type").ok_or("a type has no \"type\"")?;
            return self.value(inner, namespace);
        };
        match kind.as_str() {
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = array(object, "symbols")?.iter().map(|symbol| symbol.as_str().map(str::to_owned));
                let symbols = symbols.collect::<Option<Vec<_>>>().ok_or("the symbols of an enum are texts")?;
                self.define(object, namespace, Type::Enum(symbols)).map(|(id, _)| id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("a fixed has no size")?;
                let logical = match logical(object) {
                    logical @ Logical::Decimal { .. } => logical,
                    Logical::Uuid if size == 16 => Logical::Uuid,
                    _ => Logical::None,
                };
                self.define(object, namespace, Type::Fixed(size, logical)).map(|(id, _)| id)
            }
            "array" => {
                let items = self.value(object.get("items").ok_or("an array has no items")?, namespace)?;
                Ok(self.push(Type::Array(items)))
            }
            "map" => {
                let values = self.value(object.get("values").ok_or("a map has no values")?, namespace)?;
                Ok(self.push(Type::Map(values)))
            }
            name => {
                let logical = logical(object);
                let of = match (primitive(name), logical) {
                    (Some(Type::Int(_)), Logical::Local) => Type::Int(logical),
                    (Some(Type::Long(_)), Logical::Decimal { .. } | Logical::Uuid) => Type::Long(Logical::None),
                    (Some(Type::Long(_)), _) => Type::Long(logical),
                    (Some(Type::Bytes(_)), Logical::Decimal { .. }) => Type::Bytes(logical),
                    (Some(other), _) => other,
                    (None, _) => return self.named(name, namespace),
                };
                Ok(self.push(of))
            }
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let (id, namespace) = self.define(object, namespace, Type::Null)?;
        let mut fields: Vec<(String, TypeId)> = Vec::new();
        for field in array(object, "fields")? {
            let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
            let of = field.get("type").ok_or_else(|| format!("the field {name} has no type"))?;
            let of = self.value(of, &namespace).map_err(|error| format!("{name}: {error}"))?;
            fields.push((name.to_owned(), of));
        }
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        self.types[id] = Type::Record(name.to_owned(), fields);
        Ok(id)
    }

    /// Gives a named type its number, and the namespace of what is within.
    fn define(&mut self, object: &Map<String, Value>, namespace: &str, of: Type) -> Result<(TypeId, String), String> {
        let name = object.get("name").and_then(Value::as_str).ok_or_else(|| format!("a type {of} has no name"))?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, namespace);
        let inner = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let id = self.push(of);
        if self.names.insert(full.clone(), id).is_some() {
            return Err(format!("{full} is defined twice"));
        }
        Ok((id, inner))
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" => Type::Int(Logical::None),
        "long" => Type::Long(Logical::None),
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes(Logical::None),
        "string" => Type::String,
        _ => return None,
    })
}

fn logical(object: &Map<String, Value>) -> Logical {
    let number = |key| object.get(key).map_or(Some(0), |value: &Value| value.as_u64());
    match object.get("logicalType").and_then(Value::as_str).unwrap_or_default() {
        "decimal" => match (number("precision"), number("scale")) {
            (Some(precision @ 1..=1_000), Some(scale)) if scale <= precision => {
                Logical::Decimal { precision: precision as u32, scale: scale as u32 }
            }
            _ => Logical::None,
        },
        "timestamp-millis" => Logical::TimestampMillis,
        "timestamp-micros" => Logical::TimestampMicros,
        "timestamp-nanos" => Logical::TimestampNanos,
        "uuid" => Logical::Uuid,
        "date"
        | "time-millis"
        | "time-micros"
        | "local-timestamp-millis"
        | "local-timestamp-micros"
        | "local-timestamp-nanos" => Logical::Local,
        _ => Logical::None,
    }
}

fn array<'v>(object: &'v Map<String, Value>, key: &str) -> Result<&'v [Value], String> {
    object.get(key).and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| format!("a type has no {key}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn names_are_found_in_their_namespaces() {
        let text = r#"{"type": "record", "name": "shop.Order", "fields": [
            {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}},
            {"name": "parent", "type": ["null", "Order"]},
            {"name": "other", "type": "shop.Id"},
            {"name": "customer", "type": {"type": "record", "name": "Customer", "namespace": "people", "fields": [
                {"name": "order", "type": "shop.Order"}, {"name": "friend", "type": ["null", "Customer"]}]}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}}
        ]}"#;
        let schema = Schema::parse(text, &[]).unwrap();
        let Type::Record(name, fields) = schema.get(schema.root) else { panic!("{schema:?}") };
        assert_eq!(name, "shop.Order");
        let described: Vec<String> = fields.iter().map(|(_, of)| schema.describe(*of)).collect();
        let expected =
            ["fixed uuid", "[null, record shop.Order]", "fixed uuid", "record Customer", "bytes decimal(9,2)"];
        assert_eq!(described, expected);
    }

    #[test]
    fn references_define_what_a_schema_uses() {
        let customer = r#"{"type": "record", "name": "Customer", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}"#;
        let order = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "by", "type": "Customer"}]}"#;
        assert!(Schema::parse(order, &[customer]).is_ok());
        assert_eq!(Schema::parse(order, &[]).unwrap_err(), "by: Customer is no type that is known");
        assert!(Schema::parse("string", &[]).is_ok() && Schema::parse("\"long\"", &[]).is_ok());
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for text in [
            "",
            "{}",
            "7",
            "\"strin\"",
            r#"{"type": "record", "name": "a"}"#,
            r#"{"type": "record", "fields": []}"#,
            r#"{"type": "record", "name": "a", "fields": [{"name": "x"}]}"#,
            r#"{"type": "array"}"#,
            r#"{"type": "fixed", "name": "a"}"#,
            r#"{"type": "enum", "name": "a", "symbols": [1]}"#,
            r#"["null", {"type": "fixed", "name": "a", "size": 1}, {"type": "fixed", "name": "a", "size": 2}]"#,
        ] {
            assert!(Schema::parse(text, &[]).is_err(), "{text}");
        }
    }
}
