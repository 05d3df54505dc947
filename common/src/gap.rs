//! Gaps that were recorded: offsets that the log had forgotten before they were committed, where the source says
//! `on_gap = "record"` and reading went on (DESIGN §5).
//!
//! An object a gap, `gaps/<source>/<partition>/<from>-<to>.json`, written before the position passes it. Nothing is ever
//! deleted: every answer of the source names what it misses.

use bytes::Bytes;
use object_store::path::Path;

use crate::{
    names::SourceName,
    position::{OffsetRange, Partition, Position},
    store::{Error, Store},
};

/// Offsets of one partition that were never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The partition.
    pub partition: Partition,
    /// What is lost, at most: offsets need not have had records.
    pub range: OffsetRange,
}

/// Records `gap` of `source`, whose records are in `topic`. Recording it again changes nothing.
///
/// # Errors
/// [`Error`].
pub async fn record(store: &Store, source: &SourceName, topic: &str, gap: Gap) -> Result<(), Error> {
    let OffsetRange { from, to } = gap.range;
    let path = directory(source).join(gap.partition.to_string()).join(format!("{from}-{to}.json"));
    let text = serde_json::json!({ "topic": topic, "partition": gap.partition, "from": from, "to": to });
    store.put(&path, Bytes::from(text.to_string())).await
}

/// The gaps of `source`, by partition and offset. Of those that start at the same offset, the longest: the log had
/// forgotten more before reading went on.
///
/// # Errors
/// [`Error`].
pub async fn read(store: &Store, source: &SourceName) -> Result<Vec<Gap>, Error> {
    let mut gaps: Vec<Gap> = store.list(&directory(source)).await?.iter().filter_map(parse).collect();
    gaps.sort_by_key(|gap| (gap.partition, gap.range.from, std::cmp::Reverse(gap.range.to)));
    gaps.dedup_by_key(|gap| (gap.partition, gap.range.from));
    Ok(gaps)
}

fn directory(source: &SourceName) -> Path {
    Path::from("gaps").join(source.as_str())
}

/// The gap whose object is at `path`; what else someone puts there is none.
fn parse(path: &Path) -> Option<Gap> {
    let mut parts = path.as_ref().rsplit('/');
    let (from, to) = parts.next()?.strip_suffix(".json")?.split_once('-')?;
    let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
    let partition = Partition(parts.next()?.parse().ok()?);
    (from <= to).then(|| Gap { partition, range: OffsetRange::new(Position(from), Position(to)) })
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[tokio::test]
    async fn gaps_are_kept_and_grow() {
        let store = Store::open(&Url::parse("memory:").expect("a URL")).expect("memory is there");
        let source = SourceName::new("orders").expect("a name");
        let gap = |partition, from, to| Gap {
            partition: Partition(partition),
            range: OffsetRange::new(Position(from), Position(to)),
        };
        assert_eq!(read(&store, &source).await.expect("memory"), []);
        for gap in [gap(10, 4, 7), gap(2, 30, 31), gap(10, 4, 12), gap(10, 4, 7)] {
            record(&store, &source, "orders", gap).await.expect("memory");
        }
        assert_eq!(read(&store, &source).await.expect("memory"), [gap(2, 30, 31), gap(10, 4, 12)]);
    }
}
