//! The store: one object store under one prefix, where the dataset, segments, generations and dead letters live.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, path::Path};
use url::Url;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL names no store that is known.
    #[error("store url {url}: {message}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A put-if-absent found the object there.
    #[error("{path} exists already")]
    Exists {
        /// The object.
        path: Path,
    },
    /// The store failed, after the tries that [`crate::limits`] allows.
    #[error("store failed to {action} {path}")]
    Io {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The object.
        path: Path,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
}

/// An object store under one prefix. Every put is durable when it returns (on a local disk: fsync of file and directory);
/// transient failures are tried again within bounds.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    url: Url,
}

impl Store {
    /// Opens the store at `url`: a `file:` URL (the directory is made), or `memory:` for tests.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Io`].
    pub fn open(url: &Url) -> Result<Self, Error> {
        let _ = url;
        unimplemented!("dataset helper")
    }

    /// A store over `objects`, for tests that inject faults.
    #[must_use]
    pub fn over(objects: Arc<dyn ObjectStore>, url: Url) -> Self {
        Self { objects, url }
    }

    /// The objects; paths are relative to the store's URL.
    #[must_use]
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects)
    }

    /// Where the store is.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The object at `path`, or `None`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn get(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        let _ = path;
        unimplemented!("dataset helper")
    }

    /// Writes the object at `path`, replacing what is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        let _ = (path, bytes);
        unimplemented!("dataset helper")
    }

    /// Writes the object at `path` if there is none.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub async fn put_if_absent(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        let _ = (path, bytes);
        unimplemented!("dataset helper")
    }

    /// The paths of all objects below `prefix`, ascending.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn list(&self, prefix: &Path) -> Result<Vec<Path>, Error> {
        let _ = prefix;
        unimplemented!("dataset helper")
    }
}
