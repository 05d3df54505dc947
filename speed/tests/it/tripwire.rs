//! A kill at every write: the worker dies right before and right after each object that it puts.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use common::testing::store::FaultyObjects;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, path::Path,
};
use tokio_util::sync::CancellationToken;

use crate::world::{Kind::*, World};

/// On which side of a write the worker dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// Objects of which the writer never comes back from one put.
#[derive(Debug, Clone)]
pub(crate) struct Tripwire {
    objects: FaultyObjects,
    armed: Arc<Mutex<Option<(u64, Side)>>>,
    tripped: CancellationToken,
}

impl Tripwire {
    pub(crate) fn over(objects: FaultyObjects) -> Self {
        Self { objects, armed: Arc::default(), tripped: CancellationToken::new() }
    }

    /// Arms it for the `nth` put from now on (0 is the next one).
    pub(crate) fn arm(&self, nth: u64, side: Side) {
        *self.armed.lock().unwrap() = Some((nth, side));
    }

    pub(crate) fn disarm(&self) {
        *self.armed.lock().unwrap() = None;
    }

    /// Counts a put; says on which side of it to die, if it is the one.
    fn count(&self) -> Option<Side> {
        let mut armed = self.armed.lock().unwrap();
        match armed.as_mut() {
            Some((0, side)) => Some(*side),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    /// Waits until the put has begun that it is armed for.
    pub(crate) async fn tripped(&self) {
        self.tripped.cancelled().await;
    }

    async fn trip(&self) {
        self.tripped.cancel();
        std::future::pending().await
    }
}

impl fmt::Display for Tripwire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Tripwire {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let side = self.count();
        if side == Some(Side::Before) {
            self.trip().await;
        }
        let put = self.objects.put_opts(location, payload, options).await;
        if side == Some(Side::After) {
            self.trip().await;
        }
        put
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn l2_killed_before_and_after_every_write_each_record_counts_once() {
    let mut writes = 0;
    while killed_at(writes, Side::Before).await {
        assert!(killed_at(writes, Side::After).await, "the same write as before");
        writes += 1;
    }
    // Dead letters of two partitions, two days of events, the table's commit, a segment of each of two views.
    assert_eq!(writes, 7);
}

/// Kills a worker at the `nth` write and lets another one finish; whether there was an `nth` write.
async fn killed_at(nth: u64, side: Side) -> bool {
    let mut world = World::new();
    world.put(0, &[Event, DeadLetter, Event]).await;
    world.put(1, &[DeadLetter, Tombstone]).await;
    let running = world.run().await;
    running.read_all(&world).await;
    world.tripwire.arm(nth, side);
    let finished = async {
        running.catch_up(&world).await;
        // Answered only when the commit before it is through, segments and all.
        running.handle.flush().await.unwrap();
    };
    let killed = tokio::select! {
        () = world.tripwire.tripped.cancelled() => true,
        () = finished => false,
    };
    running.crash().await;
    world.tripwire.disarm();
    world.check().await;

    let next = world.run().await;
    world.ends_well(next).await;
    killed
}
