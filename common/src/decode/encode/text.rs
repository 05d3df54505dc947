//! Values as text: JSON objects and lines of CSV.

use serde_json::{Map, Number, Value};

use super::{
    Unwritable,
    cell::{Cell, Placed, rfc3339},
};
use crate::{
    decode::CsvLayout,
    schema::{Column, Step},
};

/// How many elements a list may have that is written for one column in it: the others are nulls.
const ELEMENTS_MAX: usize = 10_000;

/// Checks that an object can have all of `columns` where their paths lead.
pub(super) fn placeable(columns: &[Column]) -> Result<(), Unwritable> {
    let mut object = Value::Null;
    for column in columns {
        let refuse = |why| Unwritable::column(column, format!("at {} {why}", column.path));
        if column.path.steps().iter().any(|step| matches!(step, Step::Index(index) if *index >= ELEMENTS_MAX)) {
            return Err(refuse("there would be a list of more elements than can be written"));
        }
        let put = put(&mut object, column.path.steps(), Value::Bool(true));
        put.ok_or_else(|| refuse("there is an object for it and a list for another column, or the other way round"))?;
    }
    Ok(())
}

/// The event as an object; what is null is left out.
pub(super) fn json(event: &Placed<'_>) -> Vec<u8> {
    let mut object = Value::Object(Map::new());
    for (column, cell) in event.columns.iter().zip(event.cells) {
        if let Some(value) = value(*cell) {
            put(&mut object, column.path.steps(), value).expect("it was checked that there is a place");
        }
    }
    object.to_string().into_bytes()
}

/// Puts `value` where `steps` lead; `None` if something else is there.
fn put(at: &mut Value, steps: &[Step], value: Value) -> Option<()> {
    let Some((step, rest)) = steps.split_first() else {
        *at = value;
        return Some(());
    };
    match step {
        Step::Name(name) => {
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
            put(at.as_object_mut()?.entry(name.as_str()).or_insert(Value::Null), rest, value)
        }
        Step::Index(index) => {
            if at.is_null() {
                *at = Value::Array(Vec::new());
            }
            let elements = at.as_array_mut()?;
            if elements.len() <= *index {
                elements.resize(index + 1, Value::Null);
            }
            put(&mut elements[*index], rest, value)
        }
    }
}

fn value(cell: Cell<'_>) -> Option<Value> {
    Some(match cell {
        Cell::Null => return None,
        Cell::Int(value) => value.into(),
        Cell::Double(value) => Value::Number(Number::from_f64(value)?),
        // In quotes: no reader takes it for a double.
        Cell::Decimal { .. } => cell.text()?.into(),
        Cell::Text(text) => text.into(),
        Cell::Bool(value) => value.into(),
        Cell::Time(at_us, format) => match format.count(at_us).and_then(|count| i64::try_from(count).ok()) {
            Some(count) => count.into(),
            None => rfc3339(at_us).into(),
        },
    })
}

/// The event as a line without a line break; fields that no column is taken from are empty.
pub(super) fn csv(event: &Placed<'_>, layout: &CsvLayout) -> Vec<u8> {
    let mut fields = vec![String::new(); layout.fields.len()];
    for (column, cell) in event.columns.iter().zip(event.cells) {
        let at = layout.field(&column.path).expect("the pipeline file has a field for each column");
        fields[at] = cell.text().unwrap_or_default();
    }
    let mut writer = csv::WriterBuilder::new().delimiter(layout.delimiter).buffer_capacity(256).from_writer(Vec::new());
    writer.write_record(&fields).expect("writing to memory cannot fail");
    let mut line = writer.into_inner().expect("writing to memory cannot fail");
    line.pop();
    line
}
