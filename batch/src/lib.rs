//! The batch layer: MapReduce over the immutable files of the datasets, ending in one published generation.
//!
//! A run reads as its rooms: [`plan`] says what is to be done, [`map`] brings one file or commit to the groups of its
//! views, [`gather`] holds those within a budget of memory ([`memory`] counts what else is held), [`reduce`] writes the
//! files of one chunk, [`publish`] makes the generation visible. [`Batch::recompute`] starts from raw files,
//! [`Batch::advance`] from the last generation; by the Lambda law both end in the same bytes (L1).
//! [`audit`] computes the views another way and compares. This layer knows `common` and no other layer.

pub mod advance;
pub mod audit;
pub mod chunk;
pub mod dates;
pub mod engine;
pub mod error;
pub mod gather;
pub mod groups;
mod history;
pub mod lease;
pub mod maintain;
pub mod map;
pub mod memory;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod recompute;
pub mod reduce;
pub mod report;
pub mod run;
pub mod scope;
pub mod spill;
pub mod states;
pub mod stored;

pub use engine::Engine;
pub use error::Error;
pub use progress::{Phase, Update};
pub use report::{Outcome, Report};
pub use run::{Batch, Watch};
pub use scope::{Request, Scope};
