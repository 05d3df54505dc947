//! Publish: the one step of a run that readers see, one put-if-absent of the manifest (L4).
//!
//! A generation never falls behind the one before it: the loser of a race gives way to a winner that covers it, and
//! otherwise carries its own work on to the heads before it tries again. Nothing is ever deleted here (L8).

use common::{
    generation::{self, Generation},
    store::Store,
};
use tracing::info;

use crate::{Error, Outcome, report::Kind};

/// What came of an attempt to publish.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The run has ended so.
    Ended(Outcome),
    /// The newest generation, this one, took the number but does not cover what was to be published.
    Overtaken(Generation),
}

/// Publishes `ours`, unless the generation before it, `newest`, says the same already. An advance gives way to a run that was
/// faster and covers as much; a recompute does not, since it may be there to replace what others only carry on.
///
/// # Errors
/// [`Error::Generation`].
pub async fn publish(
    store: &Store,
    kind: Kind,
    ours: &Generation,
    newest: Option<&Generation>,
) -> Result<Verdict, Error> {
    if let Some(newest) = newest
        && newest.marks == ours.marks
        && newest.views == ours.views
    {
        return Ok(Verdict::Ended(Outcome::Unchanged { generation: newest.number }));
    }
    match generation::publish(store, ours).await {
        Ok(()) => Ok(Verdict::Ended(Outcome::Published { generation: ours.number })),
        Err(generation::Error::Exists { .. }) => {
            let newest = generation::latest(store).await?;
            Ok(judge(kind, ours, newest.expect("a generation of our number exists, and generations are never removed")))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is to be done when `newest` was published first.
fn judge(kind: Kind, ours: &Generation, newest: Generation) -> Verdict {
    if *ours == newest {
        // The put was done, only its answer was lost, and the store's own second try found the first.
        Verdict::Ended(Outcome::Published { generation: ours.number })
    } else if kind == Kind::Advance && covers(&newest, ours) {
        info!(ours = ours.number, newest = newest.number, "another run has published what this one would");
        Verdict::Ended(Outcome::Superseded { generation: newest.number })
    } else {
        info!(ours = ours.number, newest = newest.number, "another run took the number, carrying on from our own work");
        Verdict::Overtaken(newest)
    }
}

/// Whether `theirs` has the same views as `ours`, up to the same marks or later ones.
fn covers(theirs: &Generation, ours: &Generation) -> bool {
    let views = ours.views.len() == theirs.views.len()
        && ours.views.iter().all(|(name, files)| theirs.views.get(name).is_some_and(|t| t.id == files.id));
    let marks = ours.marks.iter().all(|(s, mark)| theirs.marks.get(s).is_some_and(|t| t.version >= mark.version));
    views && marks
}
