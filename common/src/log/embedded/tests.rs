//! The conformance suite on the embedded log, and what only it promises.
#![allow(clippy::unwrap_used, reason = "tests")]

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::testing::log::conformance::Subject;

struct InDirectory(TempDir);

#[async_trait]
impl Subject for InDirectory {
    async fn open(&self, partitions: u32) -> Arc<dyn EventLog> {
        let logs = EmbeddedLogs::open(self.0.path()).await.unwrap();
        Arc::new(logs.topic("departures", partitions).await.unwrap())
    }
}

crate::event_log_conformance!(InDirectory(TempDir::new().unwrap()));
