//! Records with given values, and what has become of each of them.

use std::sync::Arc;

use arrow::{array::AsArray, datatypes::Int64Type};
use common::{
    event::{Decoded, Reason, Run},
    position::Partition,
    schema::OFFSET,
};

use crate::cell::Cell;

/// 2013-01-01T12:00:00Z, the time stamp of all records.
pub(crate) const NOON_US: i64 = 1_357_041_600_000_000;

/// What a record has become: an event of these cells, or a letter that names the reason and the column.
pub(crate) type Fate = Result<Vec<Cell>, (Reason, Option<String>)>;

/// Records with these values, whose offsets count from 0.
pub(crate) fn records<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Run {
    let mut run = Run::with_capacity(Arc::from("fuzz"), Partition(0), 0, 0);
    for (offset, value) in (0..).zip(values) {
        run.push(offset, NOON_US, None, Vec::new(), Some(value));
    }
    run
}

/// What became of each record of a run, in order. Events have this many columns before those that all sources have.
pub(crate) fn fates(decoded: &Decoded, columns: usize) -> Vec<Fate> {
    let events = &decoded.events;
    for (column, field) in events.columns().iter().zip(events.schema().fields()) {
        column.to_data().validate_full().unwrap_or_else(|fault| panic!("column {}: {fault}", field.name()));
    }
    let offsets = events.column_by_name(OFFSET).expect("events have offsets").as_primitive::<Int64Type>();
    let event = |row| {
        let cells: Fate = Ok(events.columns()[..columns].iter().map(|column| Cell::of(column, row)).collect());
        (offsets.value(row).unsigned_abs(), cells)
    };
    let letters = decoded.dead_letters.iter().map(|letter| {
        assert!(!letter.detail.is_empty(), "a letter says what is wrong");
        (letter.record.offset, Err((letter.reason, letter.column.clone())))
    });
    let mut fates: Vec<(u64, Fate)> = (0..events.num_rows()).map(event).chain(letters).collect();
    fates.sort_by_key(|(offset, _)| *offset);
    assert!(fates.iter().map(|(offset, _)| *offset).eq(0..fates.len() as u64), "L7: each record has one fate");
    fates.into_iter().map(|(_, fate)| fate).collect()
}
