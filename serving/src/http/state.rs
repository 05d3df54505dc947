//! What there is and how it stands: `GET /v1/views`, `/v1/status`, `/livez`, `/readyz`, `/metrics`.

use std::collections::BTreeMap;

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
    verdict::{Verdict, ViewVerdict},
    view::{Dimension, View, ViewId},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    access::Asker,
    problem::{Kind, Problem},
    query::not_ready,
};
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
    /// What the last audit found; null before the first.
    audit: Option<AuditInfo>,
}

#[derive(Debug, Serialize, ToSchema)]
struct GenerationInfo {
    number: u64,
    created_at: String,
}

/// What an audit found when it held answers against the raw files.
#[derive(Debug, Serialize, ToSchema)]
struct AuditInfo {
    /// When it began.
    at: String,
    /// How long it took.
    elapsed_ms: u64,
    /// Whether nothing differed.
    equal: bool,
    /// Only buckets that start at this time or later were audited; all if null.
    from: Option<String>,
    /// Only buckets that start before this time were audited; all if null.
    to: Option<String>,
    /// By view, how many values were compared, and how many of them differ.
    #[schema(value_type = HashMap<String, AuditedView>)]
    views: BTreeMap<ViewName, AuditedView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditedView {
    cells: u64,
    differences: u64,
    /// Buckets that start before this time were not compared: their raw events are gone, or rolled up.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out_before: Option<String>,
}

impl AuditInfo {
    /// Of the views that `asker` sees.
    fn of(verdict: &Verdict, asker: &Asker) -> Self {
        let views = verdict.views.iter().filter(|(name, _)| asker.sees(name.as_str()));
        let of_view = |view: &ViewVerdict| AuditedView {
            cells: view.cells,
            differences: view.differences,
            left_out_before: view.left_out_before_us.map(timestamp_text),
        };
        Self {
            at: timestamp_text(verdict.at_us),
            elapsed_ms: verdict.elapsed_ms,
            equal: verdict.equal,
            from: verdict.from_us.map(timestamp_text),
            to: verdict.to_us.map(timestamp_text),
            views: views.map(|(name, view)| (name.clone(), of_view(view))).collect(),
        }
    }
}

/// How sources, commits and generations stand, and what the last audit found.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, description = "The tiers", body = Status)))]
pub(super) async fn status(State(api): State<Api>, asker: Option<Extension<Asker>>) -> Result<Json<Status>, Problem> {
    let tiers = api.served.tiers().ok_or_else(not_ready)?;
    let generation =
        tiers.generation().map(|g| GenerationInfo { number: g.number, created_at: timestamp_text(g.created_at_us) });
    let audit = api.served.verdict().map(|verdict| AuditInfo::of(&verdict, &Asker::of(asker)));
    Ok(Json(Status { generation, sources: tiers.status(), audit }))
}

/// The process answers.
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "It does", body = String)))]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Answers miss nothing that this process could have, or have for a short while only.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "They do not", body = String)))]
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    let lacks = api.served.lacks();
    if lacks.is_empty() { Ok("ready\n") } else { Err(Problem::new(Kind::NotReady, lacks.join("; "))) }
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
