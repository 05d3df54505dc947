//! What a query means: its names resolved to columns of the view's partials, or every fault named.

use std::{collections::BTreeMap, sync::Arc};

use common::{
    expression::Expression,
    grain::{Grain, Zone},
    measure::{Measure, StateSpec},
    names::ViewName,
    pipeline::QueryLimits,
    schema::ColumnType,
    suggest,
    view::{Dimension, View},
};
use jiff::Timestamp;

use super::{
    FieldError, Query,
    answer::ColumnInfo,
    columns::{check_names, columns, order},
    grain::{asked, timezone},
    groups::Rank,
    model::Fill,
    steps::{Shift, Steps},
};
use crate::tiers::{Layer, RollUp, Wanted};

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
    pub(crate) rank: Option<Rank>,
    pub(crate) shift: Option<Shift>,
    pub(crate) fill: Option<Fill>,
    pub(crate) having: Option<Expression>,
    pub(crate) totals: bool,
    /// Columns of the answer and whether the greatest comes first.
    pub(crate) order: Vec<(usize, bool)>,
    /// As asked.
    pub(crate) limit: Option<usize>,
    /// How many of the rows are passed over: those of the pages before.
    pub(crate) offset: usize,
    pub(crate) layer: Layer,
    pub(crate) columns: Vec<ColumnInfo>,
    pub(crate) limits: QueryLimits,
}

impl Plan {
    /// The plan of `query` over one of `views`.
    pub(crate) fn of(
        query: &Query,
        views: &BTreeMap<ViewName, Arc<View>>,
        limits: QueryLimits,
    ) -> Result<Self, Vec<FieldError>> {
        let Some(view) = views.get(query.view.as_str()) else {
            let hint = suggest::hint(&query.view, views.keys().map(ViewName::as_str));
            return Err(vec![FieldError::new("view", format!("there is no view `{}`{hint}", query.view))]);
        };
        let mut errors = Vec::new();
        let dimensions = dimensions(query, view, &mut errors);
        let measures = measures(query, view, &mut errors);
        let grain = noted(grain(query, view), &mut errors).flatten();
        let filter = noted(filter(query, view), &mut errors).flatten();
        let rank = noted(rank(query, &measures), &mut errors).flatten();
        let shift = noted(shift(query, view), &mut errors).flatten();
        check_together(query, limits, &mut errors);
        let columns = columns(query, view, grain, &dimensions, &measures);
        if columns.is_empty() && errors.is_empty() {
            errors.push(FieldError::new("measures", "asks no column: name a measure, a dimension or a grain"));
        }
        check_names(query, view, &columns, &mut errors);
        // Which columns there are is known only if all that were asked exist.
        let known = errors.is_empty();
        let order = if known { order(query, &columns, &mut errors) } else { Vec::new() };
        let having = if known { noted(having(query, &columns), &mut errors).flatten() } else { None };
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
            rank,
            shift,
            fill: query.fill,
            having,
            totals: query.totals,
            order,
            limit: query.limit,
            offset: 0,
            layer: query.layer,
            columns,
            limits,
            view: Arc::clone(view),
        })
    }

    /// The types of the answer's key: the bucket if there is a grain, then the dimensions asked.
    pub(crate) fn key_types(&self) -> Vec<ColumnType> {
        self.grain.map(|_| ColumnType::Timestamp).into_iter().chain(self.dimension_types()).collect()
    }

    /// The types of the dimensions asked.
    pub(crate) fn dimension_types(&self) -> impl Iterator<Item = ColumnType> {
        self.dimensions.iter().map(|index| self.view.dimensions[*index].column_type())
    }

    /// The roll-ups that answer this as well as all rows do, of the range asked or of one so much `before`.
    pub(crate) fn wanted(&self, before: Option<&Shift>) -> Wanted {
        let view = &self.view;
        let filtered = self.filter.iter().flat_map(Expression::columns);
        let filtered = filtered.filter_map(|name| view.dimensions.iter().position(|dimension| &dimension.name == name));
        let mut dimensions: Vec<usize> = self.dimensions.iter().copied().chain(filtered).collect();
        dimensions.sort_unstable();
        dimensions.dedup();
        let mut states = self.states.clone();
        states.sort_unstable();
        let roll_up = |grain| RollUp { grain, dimensions: dimensions.clone(), states: states.clone() };
        // Steps that are shifted to an earlier range need not be made of days.
        let days = if before.is_some() { None } else { self.days() };
        let fewer = dimensions.len() < view.dimensions.len();
        Wanted { coarse: days.map(roll_up), fine: fewer.then(|| roll_up(view.grain)) }
    }

    /// The days that the answer's steps are made of, if they are, and if days are coarser than the view's buckets.
    fn days(&self) -> Option<Grain> {
        let own = self.view.grain;
        let zone = self.grain.unwrap_or(own).zone();
        let day = zone.map_or(Grain::DAY, |zone| Grain::DAY.in_zone(zone));
        let day = own.coarsened(day).filter(|day| day.nominal_us() > own.nominal_us())?;
        self.grain.is_none_or(|grain| day.coarsened(grain) == Some(grain)).then_some(day)
    }

    /// The range of buckets that is merged, and the steps they fall in: those asked, or those so much `before`.
    pub(crate) fn range(&self, before: Option<&Shift>) -> (i64, i64, Option<Steps>) {
        let steps = self.grain.map(|grain| Steps::new(grain, self.view.grain, before.cloned()));
        let moved = |us: i64| before.filter(|_| us != i64::MIN && us != i64::MAX).map_or(us, |shift| shift.earlier(us));
        (moved(self.from_us), moved(self.to_us), steps)
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
                let hint = suggest::hint(name, names.iter().copied());
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
    condition("where", sql, &columns).map(Some)
}

fn condition(field: &str, sql: &str, columns: &[(String, ColumnType)]) -> Result<Expression, FieldError> {
    let condition = Expression::parse(sql, columns).map_err(|error| FieldError::new(field, error.to_string()))?;
    match condition.column_type() {
        ColumnType::Bool => Ok(condition),
        other => {
            Err(FieldError::new(field, format!("is of type {other}, must be a condition, which is true or false")))
        }
    }
}

/// The range to compare with; all faults of `compare`.
fn shift(query: &Query, view: &View) -> Result<Option<Shift>, FieldError> {
    let Some(text) = &query.compare else { return Ok(None) };
    let zone = query.timezone.as_deref().and_then(Zone::named).or(view.grain.zone());
    Shift::asked(text, query.from, query.to, zone).map(Some)
}

fn rank(query: &Query, measures: &[&Measure]) -> Result<Option<Rank>, FieldError> {
    let Some(top) = &query.top else { return Ok(None) };
    if query.dimensions.is_empty() {
        return Err(FieldError::new("top", "ranks groups, and no `dimensions` are asked"));
    }
    let fault = |detail: String| Err(FieldError::new("top/by", detail));
    match measures.iter().position(|measure| measure.name == top.by) {
        Some(measure) if measures[measure].value_type.scalar().is_none() => fault(format!("`{}` has no order", top.by)),
        Some(measure) => Ok(Some(Rank { n: top.n, measure, asc: top.asc })),
        None => {
            let hint = suggest::hint(&top.by, measures.iter().map(|measure| measure.name.as_str()));
            fault(format!("`{}` is not a measure of this answer{hint}", top.by))
        }
    }
}

/// The condition over the columns of the answer that have an order.
fn having(query: &Query, columns: &[ColumnInfo]) -> Result<Option<Expression>, FieldError> {
    let Some(sql) = &query.having else { return Ok(None) };
    let columns: Vec<(String, ColumnType)> =
        columns.iter().filter_map(|column| Some((column.name.clone(), column.scalar?))).collect();
    condition("having", sql, &columns).map(Some)
}

/// Notes what cannot be asked together.
fn check_together(query: &Query, limits: QueryLimits, errors: &mut Vec<FieldError>) {
    let mut fault = |field: &str, detail: &str| errors.push(FieldError::new(field, detail));
    if query.ends && query.grain.is_none() {
        fault("ends", "asks where steps end and no `grain` says which");
    }
    if query.fill.is_some() && query.grain.is_none() {
        fault("fill", "asks rows for steps and no `grain` says which");
    }
    if query.cursor.is_some() && !query.paged {
        fault("cursor", "is of a query with `paged`: send the same query again, and the cursor with it");
    }
    if let Some(limit) = query.limit.filter(|limit| *limit > limits.rows) {
        let rows = limits.rows;
        fault(
            "limit",
            &format!("is {limit}, must be from 1 to {rows} (`serving.query_rows`); ask more in pages, with `paged`"),
        );
    }
    if query.since.is_some() {
        let others = [
            ("top", query.top.is_some()),
            ("compare", query.compare.is_some()),
            ("fill", query.fill.is_some()),
            ("having", query.having.is_some()),
            ("limit", query.limit.is_some()),
            ("paged", query.paged),
        ];
        for (other, _) in others.iter().filter(|(_, asked)| *asked) {
            let detail = format!("tells which groups changed, and with `{other}` a change of one changes others");
            fault("since", &detail);
        }
    }
}

/// The states that `measures` need, and the measures finished from those alone.
pub(crate) fn project(measures: &[&Measure]) -> (Vec<usize>, Vec<Measure>) {
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
