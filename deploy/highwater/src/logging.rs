//! Log lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Told to every filter: the Delta kernel logs as errors what we ask and answer ourselves, such as whether a table is there.
const QUIET: &str = "buoyant_kernel=off";

/// Starts logging. `default` is the filter where `HIGHWATER_LOG` is not set.
pub(crate) fn start(format: LogFormat, default: &str) -> anyhow::Result<()> {
    let wanted = std::env::var("HIGHWATER_LOG").unwrap_or_else(|_| default.to_owned());
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}"))
        .map_err(|error| anyhow::anyhow!("HIGHWATER_LOG={wanted}: {error}; allowed is, say, info,speed=debug"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
