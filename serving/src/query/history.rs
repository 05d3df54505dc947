//! What can be asked of history that was rolled up to a coarser grain, or is gone. A bucket cannot be split: a question that would is
//! refused, as one below the grain of the view is. What is gone is left out, also where late events of it wait for the next
//! generation, and the answer's provenance says from when on there is something.

use common::{grain::Grain, history::Kept};

use super::{FieldError, plan::Plan, timestamp_text};

/// Fits `plan` to how much is kept of its view's history.
///
/// # Errors
/// What is asked of rolled up history and cannot be answered.
pub(super) fn fit(plan: &mut Plan, kept: &Kept) -> Result<(), FieldError> {
    if let Some(gone_us) = kept.gone_before_us {
        plan.from_us = plan.from_us.max(gone_us);
    }
    let Some((before_us, rolled)) = kept.rolled(&plan.view) else { return Ok(()) };
    let ranges = [Some(plan.range(None)), plan.shift.as_ref().map(|shift| plan.range(Some(shift)))];
    for (at, (from_us, to_us, _)) in ranges.into_iter().flatten().enumerate() {
        if from_us >= before_us || from_us >= to_us {
            continue;
        }
        let compared = at > 0;
        for (field, us) in [("from", from_us), ("to", to_us)] {
            if us != i64::MIN && us < before_us && !rolled.begins_at(us) {
                return Err(refused(if compared { "compare" } else { field }, &timestamp_text(us), before_us, rolled));
            }
        }
        let whole = |grain: Grain| !compared && rolled.zone() == grain.zone() && rolled.coarsened(grain) == Some(grain);
        if let Some(grain) = plan.grain.filter(|grain| !whole(*grain)) {
            let field = if compared { "compare" } else { "grain" };
            return Err(refused(field, &format!("a {grain}"), before_us, rolled));
        }
    }
    Ok(())
}

fn refused(field: &str, asked: &str, before_us: i64, rolled: Grain) -> FieldError {
    let before = timestamp_text(before_us);
    let detail = format!(
        "{asked} may cut a bucket: the view's history before {before} is kept by {rolled} only; ask that grain or one made of it, or \
         from {before} on"
    );
    FieldError::new(field, detail)
}
