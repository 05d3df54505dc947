//! The embedded log: durable, partitioned, append-only, group-committed with fsync, on fjall.

use std::path::Path;

use super::Error;

/// All embedded logs of one process: one database, one topic a source.
#[derive(Debug, Clone)]
pub struct EmbeddedLogs {}

/// One topic of [`EmbeddedLogs`].
#[derive(Debug)]
pub struct EmbeddedLog {}

impl EmbeddedLogs {
    /// Opens the database in `directory`, making it if it is not there. One process at a time.
    ///
    /// # Errors
    /// [`Error::Io`], also when another process has it open.
    pub async fn open(directory: &Path) -> Result<Self, Error> {
        let _ = directory;
        unimplemented!("log helper")
    }

    /// The topic `name` with this many partitions; made if it is not there. The number may grow, never shrink.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn topic(&self, name: &str, partitions: u32) -> Result<EmbeddedLog, Error> {
        let _ = (name, partitions);
        unimplemented!("log helper")
    }
}
