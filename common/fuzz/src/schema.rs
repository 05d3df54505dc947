//! Columns by a byte each, so that any bytes are a schema.

use common::schema::{Column, ColumnType, Path, Range, TimestampFormat};

/// The most columns of a schema: more would only take time.
const COLUMNS_MAX: usize = 24;

/// The name of a member that is always written with escapes.
const ESCAPED: &str = "\"\\";

/// Where columns may stand. None of them lies within another.
const PLACES: [&str; 16] = [
    "$.a",
    "$.b",
    "$.aa",
    "$['']",
    "$['é']",
    ESCAPED,
    "$['sixteen and more']",
    "$['a name that is longer than the window of 32 bytes']",
    "$.c.x",
    "$.c.y",
    "$.c.c.x",
    "$.c.l[1][0]",
    "$.l[0]",
    "$.l[1]",
    "$.l[2].x",
    "$.m[0][0]",
];

const TYPES: [fn(&mut Column); 16] = [
    |_| {},
    |column| column.nullable = true,
    |column| {
        column.nullable = true;
        column.range = Some(Range::Int { min: -9, max: 100 });
    },
    |column| nullable(column, ColumnType::Double),
    |column| {
        nullable(column, ColumnType::Double);
        column.range = Some(Range::Double { min: -1.0, max: 1.5 });
    },
    |column| nullable(column, ColumnType::Decimal { precision: 10, scale: 2 }),
    |column| nullable(column, ColumnType::Decimal { precision: 38, scale: 19 }),
    |column| nullable(column, ColumnType::Decimal { precision: 18, scale: 0 }),
    |column| column.column_type = ColumnType::String,
    |column| nullable(column, ColumnType::String),
    |column| nullable(column, ColumnType::Bool),
    |column| time(column, TimestampFormat::Rfc3339),
    |column| time(column, TimestampFormat::Seconds),
    |column| time(column, TimestampFormat::Millis),
    |column| time(column, TimestampFormat::Micros),
    |column| time(column, TimestampFormat::Nanos),
];

fn nullable(column: &mut Column, column_type: ColumnType) {
    (column.nullable, column.column_type) = (true, column_type);
}

fn time(column: &mut Column, format: TimestampFormat) {
    nullable(column, ColumnType::Timestamp);
    column.timestamp_format = format;
}

/// `at`, the event time, which is written in `format`; and for each byte of `choice` a column: its lower half says where, its
/// upper half of which type.
pub(crate) fn columns(format: TimestampFormat, choice: &[u8]) -> Vec<Column> {
    let at = Column { timestamp_format: format, ..Column::new("at", ColumnType::Timestamp) };
    let mut columns = vec![at];
    for byte in choice.iter().take(COLUMNS_MAX) {
        let place = PLACES[usize::from(byte % 16)];
        if columns.iter().all(|column| column.name != place) {
            columns.push(column(place, TYPES[usize::from(byte / 16)]));
        }
    }
    columns
}

/// A column that has its place as its name.
fn column(place: &str, set_type: fn(&mut Column)) -> Column {
    let path = match place {
        // No path can write it.
        ESCAPED => Path::member(ESCAPED),
        place => Path::parse(place).expect("it is a path"),
    };
    let mut column = Column { path, ..Column::new(place, ColumnType::Int) };
    set_type(&mut column);
    column
}
