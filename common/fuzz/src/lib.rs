//! What must be true of any bytes that come as records: asked of inputs that libFuzzer makes up, guided by which code they
//! reach (`.ci/fuzz`), and of those in `seeds`, by a test.
//!
//! A function here takes an input and panics if something is not as it must be. It must never depend on anything else: an
//! input that failed once fails again.

mod cell;
mod formats;
mod json;
mod records;
mod schema;

pub use formats::formats;
pub use json::json;
