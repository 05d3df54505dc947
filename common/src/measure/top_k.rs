//! `top_k`: how often each value occurs, by group; see [`frequent`](super::frequent) for how that is kept.

use arrow::array::ArrayRef;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Error,
    accumulator::Accumulator,
    bytes::ByteColumn,
    distinct::sketches,
    frequent::{Counts, Encoded, number_of},
    input::{Input, Values},
    ordered,
    rows::Rows,
};
use crate::schema::ColumnType;

/// Counts of the values of each group.
#[derive(Debug)]
pub(super) struct TopK {
    name: String,
    value: ColumnType,
    groups: Vec<Counts>,
    /// Bytes that they hold, about.
    heap_bytes: usize,
}

impl TopK {
    pub(super) fn new(name: String, value: ColumnType) -> Self {
        Self { name, value, groups: Vec::new(), heap_bytes: 0 }
    }

    fn overflow(&self) -> Error {
        Error::Overflow { state: self.name.clone(), limit: "64 bits in one counter" }
    }

    fn merge_one(&mut self, group: usize, state: &[u8]) -> Result<(), Error> {
        let theirs = Encoded::read(state, self.value)?;
        self.groups[group].merge(&theirs).map_err(|_| self.overflow())
    }
}

impl Accumulator for TopK {
    fn update(&mut self, groups: usize, rows: Rows<'_>, inputs: &[&Input]) -> Result<(), Error> {
        let [input, partitions, offsets] = inputs else { unreachable!("a top k reads its input and the position") };
        let (Values::Int(partitions), Values::Int(offsets)) = (partitions.values(), offsets.values()) else {
            unreachable!("positions are ints")
        };
        self.groups.resize_with(groups, Counts::default);
        let (values, counts) = (input.values(), &mut self.groups[..]);
        let (mut bytes, mut over, mut grown) = (Vec::new(), false, 0);
        rows.for_each(input.nulls(), |row, group| {
            bytes.clear();
            ordered::write(values, row, &mut bytes);
            let number = number_of(partitions[row], offsets[row]);
            let counts = &mut counts[group];
            let before = counts.heap_bytes();
            over |= counts.add(xxh3_64(&bytes), &bytes, number, 1).is_err();
            grown += counts.heap_bytes().saturating_sub(before);
        });
        self.heap_bytes += grown;
        if over { Err(self.overflow()) } else { Ok(()) }
    }

    fn merge(&mut self, groups: usize, rows: Rows<'_>, states: &ArrayRef) -> Result<(), Error> {
        let states = sketches(&self.name, states)?;
        self.groups.resize_with(groups, Counts::default);
        let mut result = Ok(());
        rows.for_each(None, |row, group| {
            if result.is_ok() {
                let before = self.groups[group].heap_bytes();
                result = self.merge_one(group, states.value(row));
                self.heap_bytes += self.groups[group].heap_bytes().saturating_sub(before);
            }
        });
        result
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Counts>() + self.heap_bytes
    }

    fn take(&mut self, order: &[u32]) -> Result<ArrayRef, Error> {
        let mut column = ByteColumn::new(&self.name, order.len());
        for &group in order {
            let counts = std::mem::take(&mut self.groups[group as usize]);
            column.push(|bytes| counts.encode(bytes))?;
        }
        self.groups.clear();
        self.heap_bytes = 0;
        column.finish().into_binary()
    }
}
