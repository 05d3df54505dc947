//! Changed views: what answers until the first generation has them as the pipeline file does.
//!
//! The newest generation says how it defines each view. Where the pipeline file has another definition, the layers run with the old
//! one, over the old files and all that came since, while the batch layer computes the new one from the dataset. Once a generation
//! has it, they are stopped and started again with the new pipeline, which finds everything ready: nobody is answered from a part.

use std::{pin::pin, sync::Arc, time::Duration};

use anyhow::Context;
use batch::{Batch, Request, Watch};
use common::{generation, pipeline::Pipeline, store::Store};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    house, job,
    run::{self, Roles, Running},
};

/// How often to look whether a generation has the views, where another process makes it or the last try has failed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the layers of `roles` with the views as the newest generation has them, until one has them all as `pipeline` does. Returns at
/// once if it does already; at `stop`, when everything has stopped.
pub(crate) async fn until_ready(
    pipeline: &Arc<Pipeline>,
    roles: Roles,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let store = house::store(pipeline)?;
    let Some(before) = before(&store, pipeline).await? else { return Ok(()) };
    let batch = run::batch_layer(pipeline, &store)?;
    let old = |name: &&common::names::ViewName| before.views[*name].id != pipeline.views[*name].id;
    for view in before.views.keys().filter(old) {
        info!(%view, "the view has changed, its old definition is answered until the new one is computed");
    }
    let swap = stop.child_token();
    let running = Running::start(Arc::new(before), roles.without_batch(), swap.clone()).await?;
    let mut running = pin!(running.finish());
    tokio::select! {
        ended = &mut running => return ended,
        ready = ready(&batch, roles, &swap) => ready?,
    }
    swap.cancel();
    running.await?;
    info!("the changed views are computed, all layers go on with them");
    Ok(())
}

/// The pipeline with the definitions of the newest generation, if some are others.
async fn before(store: &Store, pipeline: &Arc<Pipeline>) -> anyhow::Result<Option<Pipeline>> {
    let Some(newest) = generation::latest(store).await? else { return Ok(None) };
    let pipeline = Arc::clone(pipeline);
    tokio::task::spawn_blocking(move || pipeline.as_in(&newest)).await.context("reading old definitions panicked")
}

/// Waits until a generation has all views as the pipeline of `batch` does, and makes it if this process has the batch layer.
async fn ready(batch: &Batch, roles: Roles, stop: &CancellationToken) -> anyhow::Result<()> {
    let watch = Watch { cancel: stop.child_token(), ..Watch::default() };
    while before(&batch.store, &batch.pipeline).await?.is_some() {
        if roles.has_batch() {
            match job::leased(batch, &Request::Advance, &watch).await {
                Ok(_) => continue,
                Err(error) => warn!(error = &error as &dyn std::error::Error, "the changed views are not computed yet"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = stop.cancelled() => break,
        }
    }
    Ok(())
}
