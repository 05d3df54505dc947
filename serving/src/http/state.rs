//! What there is and how it stands: `GET /v1/views`, `/v1/status`, `/livez`, `/readyz`.

use axum::{Json, extract::State};
use common::{
    grain::Zone,
    measure::{Finish, Measure, StateFunction},
    names::{SourceName, ViewName},
    view::{Dimension, View, ViewId},
};
use serde::Serialize;

use super::{Api, problem::Problem, query::not_ready};
use crate::{
    query::{ColumnInfo, timestamp_text},
    tiers::SourceStatus,
};

/// The views there are.
#[derive(Debug, Serialize)]
pub(super) struct Views {
    views: Vec<ViewInfo>,
}

#[derive(Debug, Serialize)]
struct ViewInfo {
    name: ViewName,
    id: ViewId,
    source: SourceName,
    /// The name of its time step, as a query may ask it.
    grain: String,
    /// About how long a step is: months, and days of a time zone, are not all equal.
    grain_us: i64,
    /// The time zone by whose clock its steps are cut.
    timezone: &'static str,
    /// The name of the bucket column in answers.
    bucket: String,
    dimensions: Vec<ColumnInfo>,
    measures: Vec<MeasureInfo>,
    sql: String,
}

#[derive(Debug, Serialize)]
struct MeasureInfo {
    #[serde(flatten)]
    column: ColumnInfo,
    /// Whether the values of two sets of events add up to that of both: of counts and sums.
    additive: bool,
}

impl MeasureInfo {
    fn of(measure: &Measure, view: &View) -> Self {
        let additive = match measure.finish {
            Finish::State(state) => matches!(view.states[state].function, StateFunction::Count | StateFunction::Sum),
            _ => false,
        };
        Self { column: ColumnInfo::of(measure, &view.states), additive }
    }
}

impl ViewInfo {
    fn of(view: &View) -> Self {
        let dimension = |dimension: &Dimension| ColumnInfo::key(&dimension.name, dimension.column_type());
        Self {
            name: view.name.clone(),
            id: view.id.clone(),
            source: view.source.clone(),
            grain: view.grain.name(),
            grain_us: view.grain.nominal_us(),
            timezone: view.grain.zone().map_or("UTC", Zone::name),
            bucket: view.bucket_name.clone(),
            dimensions: view.dimensions.iter().map(dimension).collect(),
            measures: view.measures.iter().map(|measure| MeasureInfo::of(measure, view)).collect(),
            sql: view.sql.clone(),
        }
    }
}

/// `GET /v1/views`.
pub(super) async fn views(State(api): State<Api>) -> Json<Views> {
    Json(Views { views: api.served.views().values().map(|view| ViewInfo::of(view)).collect() })
}

/// How the tiers stand.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// The generation shown; null before the first.
    generation: Option<GenerationInfo>,
    sources: Vec<SourceStatus>,
}

#[derive(Debug, Serialize)]
struct GenerationInfo {
    number: u64,
    created_at: String,
}

/// `GET /v1/status`.
pub(super) async fn status(State(api): State<Api>) -> Result<Json<Status>, Problem> {
    let tiers = api.served.tiers().ok_or_else(not_ready)?;
    let generation =
        tiers.generation().map(|g| GenerationInfo { number: g.number, created_at: timestamp_text(g.created_at_us) });
    Ok(Json(Status { generation, sources: tiers.status() }))
}

/// `GET /livez`: the process answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// `GET /readyz`: caught up, so answers can be given.
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    api.served.tiers().map(|_| "ready\n").ok_or_else(not_ready)
}
