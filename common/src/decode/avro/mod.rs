//! Avro: values in its binary encoding, by the schema that they were written with.
//!
//! Values are read straight into the columns of a record. `arrow_avro`, which reads whole batches, cannot follow a path into
//! a map or to an element, cannot say which of a batch's records is broken and why, and gives no codes for text that
//! repeats; the tests hold this reader against it.

mod plan;
mod read;
mod schema;
mod write;

pub(super) use self::{plan::Plan, schema::Schema, write::spare};
