//! What there is and how it stands: `GET /v1/views`, `/v1/status`, `/livez`, `/readyz`, `/metrics`.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderName, header::CONTENT_TYPE},
};
use common::{
    grain::{Grain, Zone},
    measure::{Finish, Measure, StateFunction},
    names::{SourceName, ViewName},
    telemetry,
    view::{Dimension, View, ViewId},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, access::Asker, problem::Problem, query::not_ready};
use crate::{
    query::{ColumnInfo, timestamp_text},
    tiers::SourceStatus,
};

/// The views there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Views {
    views: Vec<ViewInfo>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ViewInfo {
    #[schema(value_type = String)]
    name: ViewName,
    #[schema(value_type = String)]
    id: ViewId,
    #[schema(value_type = String)]
    source: SourceName,
    /// The name of its time step, as a query may ask it.
    grain: String,
    /// The steps that a chart of it may have, finest first: its own, and usual ones made of those.
    grains: Vec<GrainInfo>,
    /// The time zone by whose clock its steps are cut.
    timezone: &'static str,
    /// The name of the bucket column in answers.
    bucket: String,
    dimensions: Vec<ColumnInfo>,
    measures: Vec<MeasureInfo>,
    sql: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct MeasureInfo {
    #[serde(flatten)]
    column: ColumnInfo,
    /// Whether the values of two sets of events add up to that of both: of counts and sums.
    additive: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct GrainInfo {
    name: String,
    /// About how long a step is: months, and days of a time zone, are not all equal.
    nominal_us: i64,
}

/// The view's own grain, and the usual ones in its time zone that are made of it.
fn grains(own: Grain) -> Vec<GrainInfo> {
    let usual = ["minute", "5 minutes", "15 minutes", "hour", "6 hours", "day", "week", "month", "quarter", "year"];
    let usual = usual.into_iter().filter_map(Grain::named);
    let usual = usual.map(|grain| own.zone().map_or(grain, |zone| grain.in_zone(zone)));
    let coarser = usual.filter(|grain| grain.nominal_us() > own.nominal_us() && own.coarsened(*grain).is_some());
    std::iter::once(own)
        .chain(coarser)
        .map(|grain| GrainInfo { name: grain.name(), nominal_us: grain.nominal_us() })
        .collect()
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
            grains: grains(view.grain),
            timezone: view.grain.zone().map_or("UTC", Zone::name),
            bucket: view.bucket_name.clone(),
            dimensions: view.dimensions.iter().map(dimension).collect(),
            measures: view.measures.iter().map(|measure| MeasureInfo::of(measure, view)).collect(),
            sql: view.sql.clone(),
        }
    }
}

/// What there is to ask.
#[utoipa::path(get, path = "/v1/views", responses((status = 200, description = "The views", body = Views)))]
pub(super) async fn views(State(api): State<Api>, asker: Option<Extension<Asker>>) -> Json<Views> {
    let asker = Asker::of(asker);
    let views = api.served.views().values().filter(|view| asker.sees(view.name.as_str()));
    Json(Views { views: views.map(|view| ViewInfo::of(view)).collect() })
}

/// How the tiers stand.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// The generation shown; null before the first.
    generation: Option<GenerationInfo>,
    sources: Vec<SourceStatus>,
}

#[derive(Debug, Serialize, ToSchema)]
struct GenerationInfo {
    number: u64,
    created_at: String,
}

/// How sources, commits and generations stand.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, description = "The tiers", body = Status)))]
pub(super) async fn status(State(api): State<Api>) -> Result<Json<Status>, Problem> {
    let tiers = api.served.tiers().ok_or_else(not_ready)?;
    let generation =
        tiers.generation().map(|g| GenerationInfo { number: g.number, created_at: timestamp_text(g.created_at_us) });
    Ok(Json(Status { generation, sources: tiers.status() }))
}

/// The process answers.
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "It does", body = String)))]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Caught up, so answers can be given.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "It is", body = String)))]
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    api.served.tiers().map(|_| "ready\n").ok_or_else(not_ready)
}

/// What the process counts, for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "OpenMetrics", body = String,
    content_type = telemetry::CONTENT_TYPE)))]
pub(super) async fn metrics(State(api): State<Api>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, telemetry::CONTENT_TYPE)], {
        api.telemetry.http().listeners(api.live.readers());
        api.telemetry.text()
    })
}
