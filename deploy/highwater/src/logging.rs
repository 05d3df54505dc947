//! Log lines on standard error, and the spans of requests, queries, commits and batch runs to a collector, if one is named.

use std::io::IsTerminal;

use tokio::runtime::Handle;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{cli::LogFormat, traces::Traces};

/// Told to every filter: the Delta kernel logs as errors what we ask and answer ourselves, such as whether a table is there; the
/// embedded log's library tells of each of its files.
const QUIET: &str = "buoyant_kernel=off,fjall=warn,lsm_tree=warn";

/// Starts logging and, on `runtime`, the sending of traces. `default` is the filter where `HIGHWATER_LOG` is not set; it is one for both,
/// since filters of single layers lose lines where a library asks whether it should log (librdkafka's log does).
pub(crate) fn start(format: LogFormat, default: &str, runtime: &Handle) -> anyhow::Result<Traces> {
    let wanted = std::env::var("HIGHWATER_LOG").unwrap_or_else(|_| default.to_owned());
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}"))
        .map_err(|error| anyhow::anyhow!("HIGHWATER_LOG={wanted}: {error}; allowed is, say, info,speed=debug"))?;
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = Traces::start(runtime)?;
    tracing_subscriber::registry().with(filter).with(lines).with(traces.layer()).init();
    Ok(traces)
}
