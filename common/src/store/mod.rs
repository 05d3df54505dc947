//! The store: one object store under one prefix, where the dataset, segments, generations and dead letters live.
//!
//! Every put is durable when it returns, and transient failures are tried again within bounds; both are done by wrappers
//! around the objects, so that a library that is handed [`Store::objects`] has them too.

mod durable;
mod options;
mod remote;
mod retry;

use std::{ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, memory::InMemory, path::Path};
use url::Url;

pub use self::options::Options;
use self::{
    durable::DurableFiles,
    options::Service,
    retry::{Retry, Retrying},
};
use crate::limits;

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
    /// A file on this machine could not be written.
    #[error("failed to keep {path} in a file")]
    File {
        /// The object.
        path: Path,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The store failed, after the tries that [`crate::limits`] allows. A put that failed may have taken effect.
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
    objects: Arc<Retrying>,
    local: Option<Arc<DurableFiles>>,
    url: Url,
}

/// An object, as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object.
    pub path: Path,
    /// Its size, in bytes.
    pub bytes: u64,
    /// What the store says of its content: another content has another.
    pub e_tag: Option<String>,
    /// When it was written, microseconds since 1970-01-01 UTC.
    pub modified_us: i64,
}

impl Listed {
    fn new(meta: ObjectMeta) -> Self {
        let modified_us = meta.last_modified.timestamp_micros();
        Self { path: meta.location, bytes: meta.size, e_tag: meta.e_tag, modified_us }
    }
}

async fn write_all(mut file: std::fs::File, bytes: Bytes) -> (std::fs::File, std::io::Result<()>) {
    let writing = tokio::task::spawn_blocking(move || {
        let written = std::io::Write::write_all(&mut file, &bytes);
        (file, written)
    });
    match writing.await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What can stand before the colon of a store's URL.
const KNOWN: &str = "file:, s3:, gs:, az:, abfss: or memory:";

impl Store {
    /// Opens the store at `url`: a `file:` URL (the directory is made); `s3:`, `gs:`, `az:` or `abfss:`, a bucket or container
    /// and a prefix in it, reached as the environment says; or `memory:` for tests (each open is a new, empty store).
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Io`].
    pub fn open(url: &Url) -> Result<Self, Error> {
        Self::open_with(url, &Options::default())
    }

    /// [`Self::open`] with these options, which go before the environment. No server is asked anything yet.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Io`].
    pub fn open_with(url: &Url, options: &Options) -> Result<Self, Error> {
        let retry = Retry { attempts: limits::STORE_ATTEMPTS_MAX, backoff: limits::STORE_BACKOFF };
        let (objects, local): (Arc<dyn ObjectStore>, _) = match (url.scheme(), Service::of(url)) {
            (_, Some(service)) => (remote::open(url, service, options, limits::STORE_BACKOFF)?, None),
            ("file", _) => {
                let files = Arc::new(DurableFiles::open(&directory(url)?).map_err(|source| Error::Io {
                    action: "open",
                    path: Path::default(),
                    source,
                })?);
                (Arc::clone(&files) as _, Some(files))
            }
            ("memory", _) => (Arc::new(InMemory::new()), None),
            (other, _) => {
                let message = format!("`{other}:` is not a store that is known; use {KNOWN}");
                return Err(Error::Url { url: url.to_string(), message });
            }
        };
        Ok(Self { objects: Arc::new(Retrying::new(objects, retry)), local, url: url.clone() })
    }

    /// [`Self::open_with`] for tests: as many tries, hardly a wait in between.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn open_impatient(url: &Url, options: &Options) -> Result<Self, Error> {
        match Service::of(url) {
            Some(service) => {
                let objects = remote::open(url, service, options, std::time::Duration::from_millis(1))?;
                Ok(Self::over(objects, url.clone()))
            }
            None => Self::open(url),
        }
    }

    /// A store over `objects`, for tests that inject faults: as many tries as [`Self::open`] makes, without a wait in
    /// between.
    #[must_use]
    pub fn over(objects: Arc<dyn ObjectStore>, url: Url) -> Self {
        let retry = Retry { attempts: limits::STORE_ATTEMPTS_MAX, backoff: std::time::Duration::ZERO };
        Self { objects: Arc::new(Retrying::new(objects, retry)), local: None, url }
    }

    /// The objects; paths are relative to the store's URL. They are as durable and as often tried as this store's own.
    #[must_use]
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects) as _
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
        match self.objects.get_bytes(path).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::Io { action: "read", path: path.clone(), source }),
        }
    }

    /// These ranges of the object at `path`, or `None` if there is no object. What is wanted of a service is put together where it is near
    /// in the object.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, Error> {
        match self.objects.get_ranges(path, ranges).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::Io { action: "read", path: path.clone(), source }),
        }
    }

    /// Whether there is an object at `path`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn contains(&self, path: &Path) -> Result<bool, Error> {
        match self.objects.head(path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(Error::Io { action: "look for", path: path.clone(), source }),
        }
    }

    /// Writes the object at `path`, replacing what is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        self.put_with(path, bytes, PutMode::Overwrite).await
    }

    /// Writes the object at `path` if there is none. When an earlier try of this very call may have written it, what is
    /// there is compared: the same bytes are ours.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`] (the object may have been written all the same).
    pub async fn put_if_absent(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        self.put_with(path, bytes, PutMode::Create).await
    }

    async fn put_with(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<(), Error> {
        match self.objects.put_opts(path, bytes.into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => Err(Error::Exists { path: path.clone() }),
            Err(source) => Err(Error::Io { action: "write", path: path.clone(), source }),
        }
    }

    /// Removes the object at `path`, if there is one. A removal is not durable: after a crash the object may be back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::Io { action: "remove", path: path.clone(), source }),
        }
    }

    /// The paths of all objects below `prefix`, however deep, ascending.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn list(&self, prefix: &Path) -> Result<Vec<Path>, Error> {
        let listed = self.objects.list(Some(prefix)).map_ok(|meta| meta.location).try_collect().await;
        listed.map_err(|source| Error::Io { action: "list", path: prefix.clone(), source })
    }

    /// The paths of the objects directly in `prefix`, ascending: none that is deeper.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn list_directly(&self, prefix: &Path) -> Result<Vec<Path>, Error> {
        let listed = self.objects.list_with_delimiter(Some(prefix)).await;
        let listed = listed.map_err(|source| Error::Io { action: "list", path: prefix.clone(), source })?;
        let mut paths: Vec<Path> = listed.objects.into_iter().map(|meta| meta.location).collect();
        paths.sort_unstable();
        Ok(paths)
    }

    /// All objects below `prefix`, however deep, by path.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn list_objects(&self, prefix: &Path) -> Result<Vec<Listed>, Error> {
        let listed = self.objects.list(Some(prefix)).map_ok(Listed::new).try_collect().await;
        listed.map_err(|source| Error::Io { action: "list", path: prefix.clone(), source })
    }

    /// What a listing would say of the object at `path`, or `None`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn look(&self, path: &Path) -> Result<Option<Listed>, Error> {
        match self.objects.head(path).await {
            // The path that was asked for: stores below a prefix may answer with the whole one.
            Ok(meta) => Ok(Some(Listed { path: path.clone(), ..Listed::new(meta) })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::Io { action: "look for", path: path.clone(), source }),
        }
    }

    /// Writes the bytes of `object` to `file`, a piece at a time: a large object is not held in memory.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`].
    pub async fn download(&self, object: &Listed, mut file: std::fs::File) -> Result<(), Error> {
        let mut from = 0;
        while from < object.bytes {
            let to = object.bytes.min(from + limits::STORE_PIECE_BYTES);
            let piece = self.objects.get_ranges(&object.path, std::slice::from_ref(&(from..to))).await;
            let failed = |source| Error::Io { action: "read", path: object.path.clone(), source };
            for bytes in piece.map_err(failed)? {
                let written;
                (file, written) = write_all(file, bytes).await;
                written.map_err(|source| Error::File { path: object.path.clone(), source })?;
            }
            from = to;
        }
        Ok(())
    }

    /// Removes what puts that were killed have left behind, if it was written before `before_us` (microseconds since 1970-01-01
    /// UTC): no listing shows it. Returns how many files. There is none on stores other than a local disk: services do away
    /// with uploads that were not finished by their own rules.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn remove_staged(&self, before_us: i64) -> Result<u64, Error> {
        let Some(files) = &self.local else { return Ok(0) };
        let removed = files.remove_staged(before_us).await;
        removed.map_err(|source| Error::Io { action: "remove staged files of", path: Path::default(), source })
    }

    /// Makes everything durable that can be seen directly in `prefix`. A put is durable when it returns, but one whose
    /// process was killed before it returned can be seen and yet be lost to a power failure: whoever goes on from what such
    /// a process left behind settles it first. Does nothing on stores other than a local disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn settle(&self, prefix: &Path) -> Result<(), Error> {
        let Some(files) = &self.local else { return Ok(()) };
        let settled = files.settle(prefix).await;
        settled.map_err(|source| Error::Io { action: "settle", path: prefix.clone(), source })
    }
}

fn directory(url: &Url) -> Result<PathBuf, Error> {
    url.to_file_path().map_err(|()| Error::Url {
        url: url.to_string(),
        message: "a file: url has an absolute path and no host, as file:///var/lib/highwater".to_owned(),
    })
}

#[cfg(test)]
mod tests;
