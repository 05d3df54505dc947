//! SIGINT and SIGTERM ask for a graceful stop; a second one stops at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first SIGINT or SIGTERM cancels. The second one ends the process: nothing is lost by that (L2), only
/// the work since the last commit is done again.
pub(crate) fn token() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let cancel = token.clone();
    tokio::spawn(async move {
        for exit in [false, true] {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if exit {
                tracing::warn!("stopped at once; what was not committed will be read again");
                std::process::exit(130);
            }
            tracing::info!("stopping; once more to stop at once");
            cancel.cancel();
        }
    });
    Ok(token)
}
