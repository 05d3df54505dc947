//! Swaps: files of a dataset are replaced by others, many at once and many in one commit.
//!
//! A kill leaves files that no version names, at most those of one commit; what was committed until then stays done.

use std::{collections::BTreeSet, pin::pin, sync::Arc};

use common::{
    dataset::{DataFile, Dataset, Rewrite, Swap, Why},
    limits::{REWRITE_BYTES_MAX, REWRITE_FILES_MAX},
};
use futures::{Stream, StreamExt, stream};
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, Watch};

/// How much of data files is decoded at the same time, at most, by [`weight`]; a heavier one is so alone. Decoded it is some times that.
pub(super) const DECODED_WEIGHT_MAX: u64 = 64 << 20;

/// What a row weighs at least, in bytes: decoded it is as wide as its columns, however closely it is packed in the file.
const ROW_WEIGHT_MIN: u64 = 64;

/// How much `file` is, in bytes, for those who decode it whole.
pub(super) fn weight(file: &DataFile) -> u64 {
    file.bytes.max(file.rows.saturating_mul(ROW_WEIGHT_MIN))
}

/// Room for files that are decoded whole.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(kibibytes(DECODED_WEIGHT_MAX) as usize)))
    }

    /// Waits until there is room for so much of files, and takes it.
    pub(super) async fn take(&self, weight: u64) -> OwnedSemaphorePermit {
        let taken = Arc::clone(&self.0).acquire_many_owned(kibibytes(weight.min(DECODED_WEIGHT_MAX))).await;
        taken.expect("nobody closes it")
    }
}

fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

/// Makes `swaps` commits of `dataset` as they come. Returns the files that were replaced: those of a swap that another rewrite
/// was faster with are not among them.
pub(super) async fn commit(
    dataset: &Dataset,
    why: Why,
    swaps: impl Stream<Item = Result<Swap, Error>>,
    watch: &Watch,
) -> Result<BTreeSet<Path>, Error> {
    let mut bundles = pin!(bundles(swaps, REWRITE_FILES_MAX, REWRITE_BYTES_MAX));
    let mut replaced = BTreeSet::new();
    while let Some(swaps) = bundles.next().await.transpose()? {
        watch.check()?;
        let made = dataset.rewrite(Rewrite { why, swaps, archive: None }).await?;
        replaced.extend(made.into_iter().flat_map(|commit| commit.removed));
    }
    Ok(replaced)
}

/// `swaps` in bundles: each ends with the swap that brings it to so many files, taken out and put in, or replaced bytes.
fn bundles(
    swaps: impl Stream<Item = Result<Swap, Error>>,
    files_max: usize,
    bytes_max: u64,
) -> impl Stream<Item = Result<Vec<Swap>, Error>> {
    stream::try_unfold(Box::pin(swaps.fuse()), move |mut swaps| async move {
        let (mut bundle, mut files, mut bytes) = (Vec::new(), 0, 0);
        while files < files_max && bytes < bytes_max {
            let Some(swap) = swaps.next().await.transpose()? else { break };
            files += swap.removed.len() + swap.added.len();
            bytes += swap.removed.iter().map(|file| file.bytes).sum::<u64>();
            bundle.push(swap);
        }
        Ok((!bundle.is_empty()).then_some((bundle, swaps)))
    })
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn a_commit_has_many_files_and_not_too_many() {
        let file = |bytes| DataFile { path: "x".into(), rows: 1, bytes };
        let swap = |files: &[u64]| Swap { removed: files.iter().copied().map(file).collect(), added: Vec::new() };
        let swaps = [swap(&[1]), swap(&[1, 1, 1]), swap(&[1]), swap(&[9, 2]), swap(&[30]), swap(&[1]), swap(&[2])];
        let bundled: Vec<_> = bundles(stream::iter(swaps.map(Ok)), 4, 10).try_collect().await.expect("no fault");
        let bytes = |swap: &Swap| swap.removed.iter().map(|file| file.bytes).sum::<u64>();
        let bytes: Vec<Vec<u64>> = bundled.iter().map(|swaps| swaps.iter().map(bytes).collect()).collect();
        assert_eq!(bytes, [vec![1, 3], vec![1, 11], vec![30], vec![1, 2]]);
        let failing = stream::iter([Ok(swap(&[1])), Err(Error::Cancelled)]);
        assert!(bundles(failing, 4, 10).try_collect::<Vec<_>>().await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_larger_than_the_room_is_decoded_alone() {
        let room = Room::new();
        let half = room.take(DECODED_WEIGHT_MAX / 2).await;
        let small = room.take(1).await;
        assert!(futures::poll!(pin!(room.take(DECODED_WEIGHT_MAX * 3))).is_pending());
        drop((half, small));
        let _large = room.take(DECODED_WEIGHT_MAX * 3).await;
        assert!(futures::poll!(pin!(room.take(1))).is_pending());
    }
}
