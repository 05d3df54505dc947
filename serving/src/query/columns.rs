//! Which columns an answer has, in which order, and finding them by name.

use common::{grain::Grain, measure::Measure, schema::ColumnType, suggest, view::View};

use super::{FieldError, Query, answer::ColumnInfo};

/// The column that marks the row of all groups that `top` does not keep.
pub(super) const OTHER: &str = "other";

/// What a measure of the range before is called: its name and this.
const BEFORE: &str = "_before";

/// The columns of an answer: the bucket, its end, the dimensions, whether it is the others', the measures, the same before.
pub(super) fn columns(
    query: &Query,
    view: &View,
    grain: Option<Grain>,
    dimensions: &[usize],
    measures: &[&Measure],
) -> Vec<ColumnInfo> {
    let bucket = grain.map(|_| ColumnInfo::key(&view.bucket_name, ColumnType::Timestamp));
    let end = grain.filter(|_| query.ends).map(|_| ColumnInfo::key(&end_name(view), ColumnType::Timestamp));
    let dimensions = dimensions.iter().map(|index| &view.dimensions[*index]);
    let dimensions = dimensions.map(|d| ColumnInfo::key(&d.name, d.column_type()));
    let other = query.top.as_ref().map(|_| ColumnInfo::key(OTHER, ColumnType::Bool));
    let now = measures.iter().map(|measure| ColumnInfo::of(measure, &view.states));
    let before = query.compare.iter().flat_map(|_| measures).map(|measure| {
        let info = ColumnInfo::of(measure, &view.states);
        ColumnInfo { name: format!("{}{BEFORE}", info.name), ..info }
    });
    bucket.into_iter().chain(end).chain(dimensions).chain(other).chain(now).chain(before).collect()
}

fn end_name(view: &View) -> String {
    format!("{}_end", view.bucket_name)
}

/// Notes what asks for a second column of a name that there is.
pub(super) fn check_names(query: &Query, view: &View, columns: &[ColumnInfo], errors: &mut Vec<FieldError>) {
    let end = end_name(view);
    let twice = |name: &str| columns.iter().filter(|column| column.name == name).count() > 1;
    let mut fault = |field: &str, name: &str| {
        errors.push(FieldError::new(field, format!("makes a second column `{name}`; ask one of them alone")));
    };
    if query.ends && twice(&end) {
        fault("ends", &end);
    }
    if query.top.is_some() && twice(OTHER) {
        fault("top", OTHER);
    }
    if query.compare.is_some()
        && let Some(column) = columns.iter().find(|c| c.name.ends_with(BEFORE) && twice(&c.name))
    {
        fault("compare", &column.name);
    }
}

/// The columns to order by, and whether the greatest comes first.
pub(super) fn order(query: &Query, columns: &[ColumnInfo], errors: &mut Vec<FieldError>) -> Vec<(usize, bool)> {
    let mut order = Vec::with_capacity(query.order_by.len());
    for (at, one) in query.order_by.iter().enumerate() {
        match columns.iter().position(|column| column.name == one.by) {
            Some(index) if !columns[index].ordered() => {
                let detail = format!("`{}` is {}, which has no order", one.by, columns[index].column_type);
                errors.push(FieldError::new(&format!("order_by/{at}/by"), detail));
            }
            Some(index) => order.push((index, one.desc)),
            None => {
                let hint = suggest::hint(&one.by, columns.iter().map(|c| c.name.as_str()));
                let detail = format!("`{}` is not a column of this answer{hint}", one.by);
                errors.push(FieldError::new(&format!("order_by/{at}/by"), detail));
            }
        }
    }
    order
}
