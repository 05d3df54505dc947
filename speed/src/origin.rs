//! Whether the topic is the one that the dataset's positions are of: an offset says nothing of another topic (L7).

use std::sync::{Arc, OnceLock};

use common::{
    log::{self, EventLog},
    names::SourceName,
    origin::{self, Origin},
    store::Store,
};

use crate::{error::Error, retry::Retry};

/// What a worker knows of its topic. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    log: Arc<dyn EventLog>,
    store: Store,
    source: SourceName,
    retry: Retry,
    /// The topic that positions are of, once that was looked at.
    known: Arc<OnceLock<Origin>>,
}

impl Topic {
    pub(crate) fn new(log: Arc<dyn EventLog>, store: Store, source: SourceName, retry: Retry) -> Self {
        Self { log, store, source, retry, known: Arc::default() }
    }

    /// Checks that the topic is the one that was noted; notes it if none was, or if nothing `is_committed` of another.
    ///
    /// # Errors
    /// [`Error::OtherTopic`], [`Error::Record`], [`Error::Log`].
    pub(crate) async fn check_noted(&self, is_committed: bool) -> Result<(), Error> {
        let Some(found) = self.found_at_last().await? else { return Ok(()) };
        let mut failures = self.retry.failures();
        loop {
            let noted = match origin::read(&self.store, &self.source).await {
                Ok(Some(known)) if known == found => Ok(()),
                Ok(Some(known)) if is_committed => {
                    return Err(Error::OtherTopic { known: known.into(), found: found.into() });
                }
                Ok(_) => origin::write(&self.store, &self.source, &found).await,
                Err(error) => Err(error),
            };
            match noted {
                Ok(()) => break,
                Err(error) => failures.wait("note which topic is read", error).await?,
            }
        }
        self.check(found)
    }

    /// Checks that the topic still is the one that was read before: it may be deleted and made anew at any time.
    ///
    /// # Errors
    /// [`Error::OtherTopic`], [`Error::Log`].
    pub(crate) async fn check_same(&self) -> Result<(), Error> {
        self.found().await?.map_or(Ok(()), |found| self.check(found))
    }

    fn check(&self, found: Origin) -> Result<(), Error> {
        let known = self.known.get_or_init(|| found.clone());
        if *known == found {
            return Ok(());
        }
        Err(Error::OtherTopic { known: known.clone().into(), found: found.into() })
    }

    /// The topic that is there, if the log can say which it is.
    async fn found(&self) -> Result<Option<Origin>, log::Error> {
        let id = self.log.identity().await?;
        Ok(id.map(|id| Origin { topic: self.log.topic().to_owned(), id }))
    }

    async fn found_at_last(&self) -> Result<Option<Origin>, Error> {
        let mut failures = self.retry.failures();
        loop {
            match self.found().await {
                Err(error @ log::Error::Io { .. }) => failures.wait("read which topic is there", error).await?,
                found => return Ok(found?),
            }
        }
    }
}
