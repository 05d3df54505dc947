//! How much of a view's history a run keeps: what the last generation has, and which chunks change when it is to be less.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use common::{
    generation::{Chunk, Generation},
    history::Kept,
    view::View,
};

use crate::{Scope, chunk, dates};

/// How much of the history of `view` this generation has: all that it will have, if it does not have the view.
pub(crate) fn of(generation: Option<&Generation>, view: &View) -> Kept {
    generation.and_then(|generation| generation.of(&view.id)).map(|files| files.kept.clone()).unwrap_or_default()
}

/// The chunks of `view` that a recompute of `scope` makes anew. Of what was rolled up it is all or nothing: a coarser bucket is in
/// the chunk that it starts in, and made of events of others.
pub(crate) fn anew(scope: &Scope, view: &View, history: &Kept) -> Range<i64> {
    let chunks = scope.chunks(view);
    let whole_us = history.whole_from_us();
    if chunks.start >= whole_us {
        return chunks;
    }
    i64::MIN..chunks.end.max(chunk::of(view).interval(whole_us).1)
}

/// The starts of the chunks of `view` that change when not `before` but `after` is kept of the history: of those among `chunks` that
/// are old enough, and of those that their coarser buckets start in.
pub(crate) fn aged(view: &View, chunks: &BTreeMap<i64, Vec<Chunk>>, before: &Kept, after: &Kept) -> BTreeSet<i64> {
    if before == after {
        return BTreeSet::new();
    }
    let older = chunks.keys().copied().filter(|from_us| *from_us < after.whole_from_us());
    // Only what a coarser grain takes the place of changes everywhere.
    let same_grain = before.rolled.as_ref().map(|r| &r.grain) == after.rolled.as_ref().map(|r| &r.grain);
    let settled_us =
        if same_grain && before.gone_before_us == after.gone_before_us { before.whole_from_us() } else { i64::MIN };
    let ends_later = |from_us: &i64| chunks[from_us].first().is_some_and(|chunk| chunk.to_us > settled_us);
    let mut aged: BTreeSet<i64> = older.filter(ends_later).collect();
    let times = aged.iter().filter_map(|from_us| chunks[from_us].first()).map(|chunk| chunk.from_us..chunk.to_us);
    let coarser: Vec<i64> = times.flat_map(|times| dates::chunks(view, after, &times)).collect();
    aged.extend(coarser);
    aged
}
