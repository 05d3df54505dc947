//! Columns that stand around a record's value and key: headers, and where and when the log has it.

use super::{
    column::{ColumnBuilder, Typed},
    fault::Fault,
    text,
};
use crate::{
    event::RecordRef,
    schema::{Column, Origin},
};

/// One such column.
#[derive(Debug)]
pub(super) struct Around {
    column: Column,
    pub(super) builder: ColumnBuilder,
}

impl Around {
    /// The column; one that is `required` takes no null, whatever it says itself.
    pub(super) fn new(column: &Column, required: bool) -> Self {
        Self { column: column.clone(), builder: ColumnBuilder::new(column, required) }
    }

    /// Appends what `record` has of it.
    #[inline]
    pub(super) fn append(&mut self, record: &RecordRef<'_>) -> Result<(), Fault> {
        let Self { column, builder } = self;
        let typed = match &column.origin {
            Origin::Header(name) => return append_header(column, builder, record, name),
            Origin::Topic => Typed::Text(record.topic),
            Origin::Partition => Typed::Int(record.partition.0.into()),
            Origin::Offset => i64::try_from(record.offset).map_or(Typed::Large(record.offset), Typed::Int),
            Origin::Timestamp => Typed::Instant(Some(record.timestamp_us)),
            Origin::Value | Origin::Key => unreachable!("a column of the value or the key has a part"),
        };
        builder.append_typed(typed).map_err(|reason| Fault::column(reason, column, &typed.shown()))
    }
}

/// Of headers with the same name the last one counts, as for Kafka's own `lastHeader`.
fn append_header(
    column: &Column,
    builder: &mut ColumnBuilder,
    record: &RecordRef<'_>,
    name: &str,
) -> Result<(), Fault> {
    let header = record.headers.iter().rev().find(|(other, _)| other == name);
    let text = header.map(|(_, bytes)| std::str::from_utf8(bytes)).transpose();
    let text = text.map_err(|_| Fault::malformed(format!("the header {name} is not UTF-8")))?;
    let appended = builder.append(text.map(|text| text::value(column, text)));
    appended.map_err(|reason| Fault::column(reason, column, text.unwrap_or("nothing")))
}
