//! Protobuf: messages in its wire format, by the `.proto` file that they were written with.
//!
//! Messages are read straight into the columns of a record. A dynamic message of `prost_reflect` would be a map for each of
//! them; the tests hold this reader against it.

mod plan;
mod read;
mod schema;
mod wire;
mod write;

pub use self::schema::imports;
pub(super) use self::{
    plan::{Plan, first_that_fits},
    schema::File,
    write::write,
};
