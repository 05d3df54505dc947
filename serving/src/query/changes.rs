//! What changed since an answer: the groups that anything read after it falls into.
//!
//! A token says how far the answer saw. What is after that is in pieces that the tiers keep: the segments of later commits and
//! the deltas of the tails. Where pieces are gone, since a generation has taken them in, what changed cannot be told, and the whole
//! answer is given (`reset`). A group may be told of though its values are the same; none is left out.

use std::{collections::HashSet, fmt::Write as _};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    row::OwnedRow,
};
use common::{
    measure::StateSpec,
    position::{Partition, Position, Positions, Version},
};

use super::{
    Error, FieldError,
    answer::{Changes, plain},
    execute::Table,
    groups::rows_of,
    plan::Plan,
};
use crate::{
    merge::Merge,
    tiers::{self, Layer, Seen, Tiers, Wanted},
};

/// Leaves those rows of `table` that may have changed since `token`; all of them, if that cannot be told.
pub(super) fn only_changed(plan: &Plan, tiers: &Tiers, token: &str, table: &mut Table) -> Result<Changes, Error> {
    let now = tiers.seen(&plan.view.name).expect("the plan is of a view that is served");
    let changes = |reset| Changes { token: text(&now, plan), reset };
    if token.is_empty() {
        return Ok(changes(true));
    }
    let seen = read(token, plan)?;
    let Some(pieces) = tiers.since(&plan.view.name, plan.layer, &seen) else { return Ok(changes(true)) };
    let changed = changed_keys(plan, &pieces)?;
    let keys = plan.key_types().len();
    if keys == 0 {
        if changed.is_none() {
            table.batch = table.batch.slice(0, 0);
        }
        return Ok(changes(false));
    }
    let changed = changed.unwrap_or_default();
    let mut columns = table.batch.columns().to_vec();
    if plan.ends {
        columns.remove(1);
    }
    let (_, rows) = rows_of(&columns[..keys])?;
    let kept = BooleanArray::from_iter(rows.iter().map(|row| Some(changed.contains(&row.owned()))));
    table.batch = filter_record_batch(&table.batch, &kept)?;
    Ok(changes(false))
}

/// The keys of the groups that the rows of `pieces` fall into; `None` if there are no rows.
fn changed_keys(plan: &Plan, pieces: &[&RecordBatch]) -> Result<Option<HashSet<OwnedRow>>, Error> {
    let (from_us, to_us, steps) = plan.range(None);
    let none: &[StateSpec] = &[];
    let mut merge = Merge::of(plan, steps, none, &[]);
    for piece in pieces {
        for slice in tiers::Table::from((*piece).clone()).slices(&plan.view, &Wanted::default(), from_us, to_us)? {
            merge.add(&slice)?;
        }
    }
    if merge.rows() == 0 {
        return Ok(None);
    }
    let (keys, _) = merge.take()?;
    let keys: Vec<ArrayRef> = keys.iter().map(plain).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Ok(Some(HashSet::new()));
    }
    let (_, rows) = rows_of(&keys)?;
    Ok(Some(rows.iter().map(|row| row.owned()).collect()))
}

/// `1.<view>.<generation>.<head>.<partition>:<position>.…`
fn text(seen: &Seen, plan: &Plan) -> String {
    let layer = match plan.layer {
        Layer::Merged => 'm',
        Layer::Batch => 'b',
        Layer::Live => 'l',
    };
    let mut text = format!("1{layer}.{}.{}.{}", plan.view.id, seen.generation.unwrap_or(0), seen.head.0);
    for (partition, position) in &seen.positions {
        write!(text, ".{}:{}", partition.0, position.0).expect("text takes all");
    }
    text
}

fn read(token: &str, plan: &Plan) -> Result<Seen, FieldError> {
    let wrong = |what: &str| FieldError::new("since", format!("{what}; send `\"\"` for a first one"));
    let parsed = || {
        let mut parts = token.split('.');
        let (form, view) = (parts.next()?, parts.next()?);
        let generation = parts.next()?.parse().ok()?;
        let head = Version(parts.next()?.parse().ok()?);
        let mut positions = Positions::new();
        for part in parts {
            let (partition, position) = part.split_once(':')?;
            positions.insert(Partition(partition.parse().ok()?), Position(position.parse().ok()?));
        }
        let generation = Some(generation).filter(|generation| *generation > 0);
        Some((form, view, Seen { generation, head, positions }))
    };
    let (form, view, seen) = parsed().ok_or_else(|| wrong("is no token of an answer's `changes`"))?;
    let now = text(&seen, plan);
    if !now.starts_with(&format!("{form}.{view}.")) {
        return Err(wrong("is the token of an answer of another view or layer"));
    }
    Ok(seen)
}
