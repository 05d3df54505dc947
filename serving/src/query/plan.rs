//! What a query means: its names resolved to columns of the view's partials, or every fault named.

use std::{collections::BTreeMap, sync::Arc};

use common::{
    expression::Expression,
    grain::Grain,
    measure::{Measure, StateSpec},
    names::ViewName,
    schema::ColumnType,
    view::{Dimension, View},
};
use jiff::Timestamp;

use super::{
    FieldError, Query,
    answer::ColumnInfo,
    fields::suggest,
    grain::{asked, timezone},
};
use crate::tiers::Layer;

/// A query that can be executed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) view: Arc<View>,
    /// Buckets that start in `[from_us, to_us)`.
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    /// Its buckets are made of whole ones of the view, as far as that can be said before the rows are seen.
    pub(crate) grain: Option<Grain>,
    /// Whether the answer says where each step ends.
    pub(crate) ends: bool,
    /// Indices into the view's dimensions.
    pub(crate) dimensions: Vec<usize>,
    /// Indices into the view's states: those that the measures are finished from.
    pub(crate) states: Vec<usize>,
    /// The specs of `states`.
    pub(crate) specs: Vec<StateSpec>,
    /// The measures, whose indices are into `states`.
    pub(crate) measures: Vec<Measure>,
    pub(crate) filter: Option<Expression>,
    /// Columns of the answer and whether the greatest comes first.
    pub(crate) order: Vec<(usize, bool)>,
    /// As asked.
    pub(crate) limit: Option<usize>,
    pub(crate) layer: Layer,
    pub(crate) columns: Vec<ColumnInfo>,
}

impl Plan {
    /// The plan of `query` over one of `views`.
    pub(crate) fn of(query: &Query, views: &BTreeMap<ViewName, Arc<View>>) -> Result<Self, Vec<FieldError>> {
        let Some(view) = views.get(query.view.as_str()) else {
            let hint = suggest(&query.view, views.keys().map(ViewName::as_str));
            return Err(vec![FieldError::new("view", format!("there is no view `{}`{hint}", query.view))]);
        };
        let mut errors = Vec::new();
        let dimensions = dimensions(query, view, &mut errors);
        let measures = measures(query, view, &mut errors);
        let grain = noted(grain(query, view), &mut errors).flatten();
        let filter = noted(filter(query, view), &mut errors).flatten();
        let columns = columns(view, grain, query.ends, &dimensions, &measures);
        if columns.is_empty() && errors.is_empty() {
            errors.push(FieldError::new("measures", "asks no column: name a measure, a dimension or a grain"));
        }
        if query.ends && query.grain.is_none() {
            errors.push(FieldError::new("ends", "asks where steps end and no `grain` says which"));
        }
        let end = format!("{}_end", view.bucket_name);
        if query.ends && columns.iter().filter(|column| column.name == end).count() > 1 {
            errors.push(FieldError::new("ends", format!("makes a second column `{end}`; ask one of them alone")));
        }
        // Which columns there are is known only if all that were asked exist.
        let order = if errors.is_empty() { order(query, &columns, &mut errors) } else { Vec::new() };
        if !errors.is_empty() {
            return Err(errors);
        }
        let (states, measures) = project(&measures);
        Ok(Self {
            from_us: query.from.map_or(i64::MIN, ceil_us),
            to_us: query.to.map_or(i64::MAX, ceil_us),
            grain,
            ends: query.ends,
            dimensions,
            specs: states.iter().map(|index| view.states[*index].clone()).collect(),
            states,
            measures,
            filter,
            order,
            limit: query.limit,
            layer: query.layer,
            columns,
            view: Arc::clone(view),
        })
    }

    /// The types of the answer's key: the bucket if there is a grain, then the dimensions asked.
    pub(crate) fn key_types(&self) -> Vec<ColumnType> {
        let bucket = self.grain.as_ref().map(|_| ColumnType::Timestamp);
        let dimensions = self.dimensions.iter().map(|index| self.view.dimensions[*index].column_type());
        bucket.into_iter().chain(dimensions).collect()
    }
}

/// The first microsecond that is not before `time`: buckets start on whole microseconds.
fn ceil_us(time: Timestamp) -> i64 {
    let floor = time.as_microsecond();
    floor + i64::from(time.as_nanosecond() > i128::from(floor) * 1000)
}

fn noted<T>(result: Result<T, FieldError>, errors: &mut Vec<FieldError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

fn dimensions(query: &Query, view: &View, errors: &mut Vec<FieldError>) -> Vec<usize> {
    let names: Vec<&str> = view.dimensions.iter().map(|d| d.name.as_str()).collect();
    resolve("dimensions", "dimension", &query.dimensions, &names, errors)
}

fn measures<'v>(query: &Query, view: &'v View, errors: &mut Vec<FieldError>) -> Vec<&'v Measure> {
    let Some(asked) = &query.measures else { return view.measures.iter().collect() };
    let names: Vec<&str> = view.measures.iter().map(|m| m.name.as_str()).collect();
    let found = resolve("measures", "measure", asked, &names, errors);
    found.into_iter().map(|index| &view.measures[index]).collect()
}

fn resolve(field: &str, what: &str, asked: &[String], names: &[&str], errors: &mut Vec<FieldError>) -> Vec<usize> {
    let mut found = Vec::with_capacity(asked.len());
    for (at, name) in asked.iter().enumerate() {
        let pointer = format!("{field}/{at}");
        match names.iter().position(|candidate| candidate == name) {
            Some(index) if found.contains(&index) => {
                errors.push(FieldError::new(&pointer, format!("{what} `{name}` is asked twice")));
            }
            Some(index) => found.push(index),
            None => {
                let hint = suggest(name, names.iter().copied());
                errors.push(FieldError::new(&pointer, format!("the view has no {what} `{name}`{hint}")));
            }
        }
    }
    found
}

fn grain(query: &Query, view: &View) -> Result<Option<Grain>, FieldError> {
    let named = query.timezone.as_deref().map(timezone).transpose()?;
    let zone = named.or(view.grain.zone());
    query.grain.as_deref().map(|name| asked(name, zone, view.grain)).transpose()
}

fn filter(query: &Query, view: &View) -> Result<Option<Expression>, FieldError> {
    let Some(sql) = &query.filter else { return Ok(None) };
    let columns: Vec<(String, ColumnType)> =
        view.dimensions.iter().map(|d| (d.name.clone(), Dimension::column_type(d))).collect();
    let filter = Expression::parse(sql, &columns).map_err(|error| FieldError::new("where", error.to_string()))?;
    match filter.column_type() {
        ColumnType::Bool => Ok(Some(filter)),
        other => {
            Err(FieldError::new("where", format!("is of type {other}, must be a condition, which is true or false")))
        }
    }
}

fn columns(
    view: &View,
    grain: Option<Grain>,
    ends: bool,
    dimensions: &[usize],
    measures: &[&Measure],
) -> Vec<ColumnInfo> {
    let bucket = grain.map(|_| ColumnInfo::key(&view.bucket_name, ColumnType::Timestamp));
    let end = format!("{}_end", view.bucket_name);
    let end = grain.filter(|_| ends).map(|_| ColumnInfo::key(&end, ColumnType::Timestamp));
    let dimensions = dimensions.iter().map(|index| &view.dimensions[*index]);
    let dimensions = dimensions.map(|d| ColumnInfo::key(&d.name, d.column_type()));
    let measures = measures.iter().map(|measure| ColumnInfo::of(measure, &view.states));
    bucket.into_iter().chain(end).chain(dimensions).chain(measures).collect()
}

fn order(query: &Query, columns: &[ColumnInfo], errors: &mut Vec<FieldError>) -> Vec<(usize, bool)> {
    let mut order = Vec::with_capacity(query.order_by.len());
    for (at, one) in query.order_by.iter().enumerate() {
        match columns.iter().position(|column| column.name == one.by) {
            Some(index) if !columns[index].ordered => {
                let detail = format!("`{}` is {}, which has no order", one.by, columns[index].column_type);
                errors.push(FieldError::new(&format!("order_by/{at}/by"), detail));
            }
            Some(index) => order.push((index, one.desc)),
            None => {
                let hint = suggest(&one.by, columns.iter().map(|c| c.name.as_str()));
                let detail = format!("`{}` is not a column of this answer{hint}", one.by);
                errors.push(FieldError::new(&format!("order_by/{at}/by"), detail));
            }
        }
    }
    order
}

/// The states that `measures` need, and the measures finished from those alone.
fn project(measures: &[&Measure]) -> (Vec<usize>, Vec<Measure>) {
    let mut states = Vec::new();
    let mut index = |state: usize| {
        states.iter().position(|s| *s == state).unwrap_or_else(|| {
            states.push(state);
            states.len() - 1
        })
    };
    let measures = measures
        .iter()
        .map(|measure| {
            let finish = measure.finish.renumbered(&mut index);
            Measure { finish, ..Measure::clone(measure) }
        })
        .collect();
    (states, measures)
}
