//! Objects that try again what failed for a while, within bounds.
//!
//! It must never hide what a failure may have done: a put-if-absent that failed may have taken effect, so when a further
//! try finds the object there, the object is compared with what was to be written.

use std::{fmt, future::Future, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};
use tracing::warn;

/// How often to try, and how long to wait before the first further try; the wait doubles each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    pub(super) attempts: u32,
    pub(super) backoff: Duration,
}

impl Retry {
    /// Runs `operation` until it succeeds, fails for good, or has failed `attempts` times. It is told which try it is,
    /// counted from 0.
    async fn run<T, F>(self, path: &Path, mut operation: impl FnMut(u32) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempt = 0;
        loop {
            match operation(attempt).await {
                Err(error) if is_transient(&error) && attempt + 1 < self.attempts => {
                    warn!(%path, attempt, %error, "store failed, trying again");
                    tokio::time::sleep(self.backoff * 2_u32.pow(attempt)).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }
}

/// Whether another try may go better. Out of space is: somebody may be making room.
fn is_transient(error: &Error) -> bool {
    matches!(error, Error::Generic { .. })
}

/// The failure of a put that was refused because of another one, which then was not there. Another try may go better.
fn conflicting(refused: Error) -> Error {
    Error::Generic { store: "Retrying", source: Box::new(refused) }
}

/// `inner`, with failures tried again. Listings come sorted.
#[derive(Debug, Clone)]
pub(super) struct Retrying {
    inner: Arc<dyn ObjectStore>,
    retry: Retry,
}

impl Retrying {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, retry: Retry) -> Self {
        Self { inner, retry }
    }

    /// The object's bytes; a failure half-way through them is tried again too.
    pub(super) async fn get_bytes(&self, location: &Path) -> Result<Bytes> {
        self.retry.run(location, |_| async { self.inner.get(location).await?.bytes().await }).await
    }

    async fn put_if_absent(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = |attempt| {
            let (payload, options) = (payload.clone(), options.clone());
            async move {
                match self.inner.put_opts(location, payload.clone(), options).await {
                    Err(exists @ Error::AlreadyExists { .. }) => {
                        let there = match self.get_bytes(location).await {
                            // S3 also refuses a put because another one is on its way, which may fail: nobody has won yet.
                            Err(Error::NotFound { .. }) => return Err(conflicting(exists)),
                            there => there?,
                        };
                        let ours = attempt > 0 && Bytes::from(payload) == there;
                        if ours { Ok(PutResult { e_tag: None, version: None }) } else { Err(exists) }
                    }
                    done => done,
                }
            }
        };
        self.retry.run(location, put).await
    }

    fn listing(&self, prefix: Option<&Path>, offset: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix, offset) = (self.clone(), prefix.cloned(), offset.cloned());
        let listed = async move {
            let root = Path::default();
            let collect = |_| {
                let listing = match &offset {
                    Some(offset) => store.inner.list_with_offset(prefix.as_ref(), offset),
                    None => store.inner.list(prefix.as_ref()),
                };
                listing.try_collect::<Vec<_>>()
            };
            let mut objects = store.retry.run(prefix.as_ref().unwrap_or(&root), collect).await?;
            objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
            Ok::<_, Error>(stream::iter(objects.into_iter().map(Ok)))
        };
        listed.into_stream().try_flatten().boxed()
    }
}

impl fmt::Display for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Retrying {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode == PutMode::Create {
            return self.put_if_absent(location, payload, options).await;
        }
        self.retry.run(location, |_| self.inner.put_opts(location, payload.clone(), options.clone())).await
    }

    // The parts of an upload are not tried again: the caller still has them all, and starts over.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.retry.run(location, |_| self.inner.get_opts(location, options.clone())).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.retry.run(location, |_| self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Path| {
            let store = store.clone();
            async move {
                let delete = |attempt| {
                    let deleted = store.inner.delete(&location);
                    // A failed try may have removed it.
                    deleted.map(move |done| match done {
                        Err(Error::NotFound { .. }) if attempt > 0 => Ok(()),
                        done => done,
                    })
                };
                store.retry.run(&location, delete).await?;
                Ok(location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::default();
        self.retry.run(prefix.unwrap_or(&root), |_| self.inner.list_with_delimiter(prefix)).await
    }

    // Not tried again: after a failure only the caller can tell a copy that took effect from one that did not.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
