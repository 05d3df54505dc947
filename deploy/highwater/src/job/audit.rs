//! `highwater batch audit`: what is answered, held against what the raw files say.

use std::{ops::Range, path::Path, process::ExitCode, sync::Arc};

use anyhow::Context;
use arrow::record_batch::RecordBatch;
use arrow_ipc::reader::StreamReader;
use batch::{
    Batch, Scope, Watch,
    audit::{Answered, AuditReport, Difference},
    lease::{Lease, Owner},
};
use common::{
    clock::SystemClock,
    pipeline::Pipeline,
    position::{Positions, Version},
    verdict::{self, Verdict, ViewVerdict},
    view::View,
};
use futures::FutureExt;
use serde::Deserialize;
use serde_json::{Value, json};
use serving::{
    Follower, Served,
    query::{self, Query},
};
use tokio_util::sync::CancellationToken;

use super::{
    arguments::{RunOptions, ScopeOptions},
    exit, open, progress,
};
use crate::{
    client::{Client, Reach},
    house,
    output::{count, say},
};

/// Who answers.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// A Highwater that runs elsewhere.
    There(Client),
    /// The tiers of this process.
    Here(Arc<Served>),
}

pub(super) async fn once(
    path: &Path,
    scope: &ScopeOptions,
    reach: &Reach,
    options: &RunOptions,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let (pipeline, batch) = open(path, &options.resources)?;
    let scope = scope.scope(&pipeline)?;
    let shown = progress::Shown::new();
    let watch = Watch { progress: shown.teller(), cancel: stop.clone() };
    let following = stop.child_token();
    let asked = asked(&pipeline, reach, &following).await?;
    let ended = audit(&batch, &scope, &asked, &watch).await;
    following.cancel();
    shown.clear();
    let report = ended?;
    if options.json {
        say!("{}", serde_json::to_string(&report)?)?;
    } else {
        print(&report)?;
    }
    Ok(if report.equal { ExitCode::SUCCESS } else { exit::DIFFERS.into() })
}

/// The Highwater that is named or where the pipeline says; if none runs there, the tiers as they are in the store.
async fn asked(pipeline: &Arc<Pipeline>, reach: &Reach, stop: &CancellationToken) -> anyhow::Result<Asked> {
    let client = reach.client_of(&pipeline.serving)?;
    if reach.url.is_some() || (pipeline.serving.listen.port() != 0 && client.is_there().await?) {
        return Ok(Asked::There(client));
    }
    let store = house::store(pipeline)?;
    let served = Arc::new(Served::new(pipeline.views.clone()).with_limits(pipeline.serving.queries));
    let follower = Follower {
        cache: None,
        datasets: house::datasets(pipeline, &store).await?,
        store,
        served: Arc::clone(&served),
        feed: None,
        clock: Arc::new(SystemClock),
        metrics: common::telemetry::Telemetry::new().serving(),
        poll_interval: std::time::Duration::from_secs(1),
    };
    let stop = stop.clone();
    let following = tokio::spawn(async move { follower.run(stop).await });
    tokio::select! {
        _ = served.wait_until(|_| true) => Ok(Asked::Here(served)),
        ended = following => {
            ended.context("the tiers were not read")?.context("the tiers cannot be read from the store")?;
            Err(batch::Error::Cancelled.into())
        }
    }
}

/// Audits, while no other process does, and keeps the verdict in the store.
pub(crate) async fn audit(
    batch: &Batch,
    scope: &Scope,
    asked: &Asked,
    watch: &Watch,
) -> Result<AuditReport, batch::Error> {
    let at_us = batch.clock.now_us();
    let lease = Lease::take(&batch.store, &batch.clock, "audit", Owner::this_process()).await?;
    let watch = Watch { cancel: watch.cancel.child_token(), ..watch.clone() };
    let ask = |view: Arc<View>, window: Range<i64>| {
        let asked = asked.clone();
        async move {
            let failed = |error: anyhow::Error| batch::Error::Audit {
                view: view.name.to_string(),
                message: format!("it was not answered: {error:#}"),
            };
            asked.answer(&view, window).await.map_err(failed)
        }
        .boxed()
    };
    let report = lease.during(&watch.cancel, batch.audit(scope, &ask, &watch)).await?;
    let of_view = |audit: &batch::audit::ViewAudit| ViewVerdict {
        cells: audit.cells,
        differences: audit.differences,
        left_out_before_us: audit.left_out_before_us,
    };
    let verdict = Verdict {
        at_us,
        elapsed_ms: u64::try_from((batch.clock.now_us() - at_us) / 1000).unwrap_or(0),
        equal: report.equal,
        from_us: scope.from_us,
        to_us: scope.to_us,
        views: report.views.iter().map(|(name, audit)| (name.clone(), of_view(audit))).collect(),
        report: serde_json::to_value(&report).unwrap_or_default(),
    };
    verdict::keep(&batch.store, &verdict).await?;
    Ok(report)
}

/// What an audit needs of an answer's provenance.
#[derive(Debug, Deserialize)]
struct Provenance {
    generation: Option<u64>,
    mark: std::collections::BTreeMap<String, Option<Version>>,
    positions: std::collections::BTreeMap<String, Positions>,
}

impl Asked {
    /// All rows of `view` whose buckets start in `window`.
    async fn answer(&self, view: &Arc<View>, window: Range<i64>) -> anyhow::Result<Answered> {
        let mut query = json!({
            "view": view.name,
            "grain": view.grain.name(),
            "dimensions": view.dimensions.iter().map(|dimension| &dimension.name).collect::<Vec<_>>(),
            // An answer has so many rows at most; all pages are of one moment.
            "paged": true,
        });
        for (field, us) in [("from", window.start), ("to", window.end)] {
            if us != i64::MIN && us != i64::MAX {
                query[field] = json!(jiff::Timestamp::from_microsecond(us)?.to_string());
            }
        }
        let mut rows = Vec::new();
        loop {
            let (page, provenance, next) = self.page(&query).await?;
            let schema = page.first().context("an answer has a schema")?.schema();
            rows.extend(page);
            match next {
                Some(cursor) => query["cursor"] = json!(cursor),
                None => {
                    // What pages say beside their rows may differ.
                    let plain = |rows: &RecordBatch| RecordBatch::try_new(Arc::clone(&schema), rows.columns().to_vec());
                    let rows = rows.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
                    return answered(view, arrow::compute::concat_batches(&schema, &rows)?, provenance);
                }
            }
        }
    }

    /// One page of an answer: at least one batch of rows, where they come from, and the cursor of the next page.
    async fn page(&self, query: &Value) -> anyhow::Result<(Vec<RecordBatch>, Provenance, Option<String>)> {
        match self {
            Self::There(client) => {
                let (bytes, next) = client.query_arrow(query).await?;
                let stream = StreamReader::try_new(&*bytes, None)?;
                let schema = stream.schema();
                let provenance = schema.metadata().get("highwater.provenance").context("it has no provenance")?;
                let provenance: Provenance = serde_json::from_str(provenance)?;
                let mut rows = vec![RecordBatch::new_empty(schema)];
                rows.extend(stream.collect::<Result<Vec<_>, _>>()?);
                Ok((rows, provenance, next))
            }
            Self::Here(served) => {
                let (served, query) = (Arc::clone(served), Query::from_json(query.to_string().as_bytes())?);
                let tiers = served.tiers().context("the tiers are not read yet")?;
                let answer = tokio::task::spawn_blocking(move || {
                    query::answer(&served, &tiers, &query, &CancellationToken::new())
                });
                let answer = answer.await??;
                let provenance = serde_json::from_value(serde_json::to_value(&answer.provenance)?)?;
                Ok((vec![answer.rows], provenance, answer.next))
            }
        }
    }
}

fn answered(view: &View, rows: RecordBatch, mut provenance: Provenance) -> anyhow::Result<Answered> {
    let source = view.source.as_str();
    Ok(Answered {
        rows,
        generation: provenance.generation,
        mark: provenance.mark.remove(source).flatten(),
        positions: provenance.positions.remove(source).unwrap_or_default(),
    })
}

fn print(report: &AuditReport) -> anyhow::Result<()> {
    say!("{}", if report.equal { "equal" } else { "NOT EQUAL" })?;
    for (name, view) in &report.views {
        let (groups, values) = (count(view.groups, "group"), count(view.cells, "value"));
        say!("  view {name}: {groups}, {values}, {} differ", view.differences)?;
        if let Some(before) = view.left_out_before_us.and_then(|us| jiff::Timestamp::from_microsecond(us).ok()) {
            say!("    not compared before {before}: retention has removed or rolled up what there was")?;
        }
        for (measure, sketch) in &view.sketches {
            let (found, stated) = (sketch.relative_error_max * 100.0, sketch.relative_error_stated * 100.0);
            let worst = sketch.worst.as_ref().map(|(exact, said)| format!(", {said} where {exact} is exact"));
            say!("    {measure}: off by {found:.2} % at most{}; {stated:.2} % is stated", worst.unwrap_or_default())?;
        }
        for Difference { group, measure, merged, recomputed, exact, allowed, whence } in &view.differing {
            let group: Vec<String> = group.iter().map(|(name, cell)| format!("{name} {cell}")).collect();
            let cell =
                |cell: &Option<batch::audit::Cell>| cell.as_ref().map_or("nothing".to_owned(), |c| c.to_string());
            say!(
                "    {}: {} answered {}, recomputed {}, exact {}{}",
                group.join(", "),
                measure.as_deref().unwrap_or("the group"),
                cell(merged),
                cell(recomputed),
                cell(exact),
                allowed.map(|allowed| format!(", off by {allowed} is allowed")).unwrap_or_default(),
            )?;
            if let Some(whence) = whence {
                let generation = whence.generation.map_or("none".to_owned(), |number| number.to_string());
                let commits: Vec<String> = whence.commits.iter().map(Version::to_string).collect();
                say!("      generation {generation}: {}; commits {}", whence.chunks.join(", "), commits.join(", "))?;
            }
        }
    }
    Ok(())
}
