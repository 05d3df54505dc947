//! JSON into columns: a bet that the record is written like the ones before, with the general path as its judge.

use std::sync::Arc;

use super::{
    column::ColumnBuilder,
    fault::Fault,
    object::ObjectReader,
    scan::Raw,
    shape,
    speculate::{Progress, Speculator},
};
use crate::schema::Column;

/// Reads JSON objects.
#[derive(Debug)]
pub(super) struct Json {
    columns: Arc<[Column]>,
    pub(super) speculator: Speculator,
    objects: ObjectReader,
}

impl Json {
    /// A reader of these columns.
    pub(super) fn new(columns: Arc<[Column]>) -> Self {
        let nodes: Arc<[_]> = shape::tree(&columns).into();
        Self { columns, speculator: Speculator::new(Arc::clone(&nodes)), objects: ObjectReader::new(nodes) }
    }

    /// Appends what stands in `values` to the columns, which have `row` rows, as long as it is written as usual.
    pub(super) fn append_run<'v>(
        &mut self,
        values: impl Iterator<Item = &'v [u8]>,
        columns: &mut [ColumnBuilder],
        row: usize,
    ) -> Progress {
        self.speculator.read(values, columns, row)
    }

    /// Appends what stands in `value` to the columns. After an error some of them may have one row more.
    ///
    /// Nothing is taken for granted: this has the last word, and the words for what is wrong.
    pub(super) fn append(&mut self, value: &[u8], columns: &mut [ColumnBuilder]) -> Result<(), Fault> {
        let text = std::str::from_utf8(value).map_err(Fault::not_utf8)?;
        let values = self.objects.read(text).map_err(|error| Fault::syntax(error, text))?;
        for ((builder, column), value) in columns.iter_mut().zip(&*self.columns).zip(values) {
            if let Err(reason) = builder.append(value.map(|raw| raw.of(text))) {
                return Err(Fault::column(reason, column, found(*value, text)));
            }
        }
        Ok(())
    }

    /// What stands in `value`, which was read before, for the column of this number.
    pub(super) fn found(&mut self, value: &[u8], column: usize) -> String {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let values = self.objects.read(text).unwrap_or_default();
        found(values.get(column).copied().flatten(), text).to_owned()
    }
}

fn found(value: Option<Raw>, text: &str) -> &str {
    value.map_or("nothing", |raw| raw.quoted(text))
}
