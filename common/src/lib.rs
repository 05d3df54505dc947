//! What both layers of Highwater share: the vocabulary, the algebra of views, the fold kernel, the
//! log, the dataset and the generations.
//!
//! This crate knows no layer. `speed`, `batch` and `serving` know this crate and never each other.

pub mod limits;
pub mod names;

pub mod event;
pub mod position;
pub mod schema;

pub mod suggest;

pub mod expression;
pub mod fold;
pub mod grain;
pub mod history;
pub mod measure;
pub mod partial;
pub mod verdict;
pub mod view;

pub mod pipeline;

pub mod dead_letter;
pub mod decode;
pub mod log;
pub mod registry;

pub mod background;

pub mod archive;
pub mod dataset;
pub mod feed;
pub mod gap;
pub mod generation;
pub mod origin;
pub mod segment;
pub mod store;

pub mod clock;
pub mod telemetry;
pub mod testing;
