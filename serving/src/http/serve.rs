//! Serving the router over connections, encrypted or not: heads that do not come in time and clients that take nothing are cut.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Extension, Router};
use common::limits::{CONNECTIONS_MAX, HEAD_TIMEOUT, STARTUP_TIMEOUT};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_http::trace::TraceLayer;

use crate::listen::{self, Patient};

/// The protocol that ALPN names.
pub const ALPN: &[u8] = b"http/1.1";

/// How a router is served.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "an acceptor has nothing to show")]
pub struct Door {
    /// The most connections at a time.
    pub connections: usize,
    /// What they are encrypted with, if they are.
    pub tls: Option<TlsAcceptor>,
}

impl Default for Door {
    fn default() -> Self {
        Self { connections: CONNECTIONS_MAX, tls: None }
    }
}

/// Serves `router` until `stop`, then until the requests on their way are answered, or
/// [`HTTP_DRAIN_MAX`](common::limits::HTTP_DRAIN_MAX) is over.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, door: Door, stop: CancellationToken) -> io::Result<()> {
    let router = served(router, &stop);
    let tls = door.tls.map(Arc::new);
    let serve = |stream: TcpStream, _: SocketAddr| {
        let (router, tls, stop) = (router.clone(), tls.clone(), stop.clone());
        async move {
            // A connection's own trouble: its client leaves, or is no client of HTTP.
            let _ = stream.set_nodelay(true);
            match tls {
                None => connection(Patient::new(stream), router, stop).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(STARTUP_TIMEOUT, tls.accept(stream)).await {
                        connection(Patient::new(stream), router, stop).await;
                    }
                }
            }
        }
    };
    listen::connections(listener, door.connections, &stop, serve).await
}

/// `router` as it is served until `stop`.
pub(super) fn served(router: Router, stop: &CancellationToken) -> Router {
    // Streams end when the server stops, not when their readers leave.
    let router = router.layer(Extension(stop.clone()));
    // Not every answer of 5xx is a failure: who is not ready says so. Whoever makes one that is logs it, with the cause.
    router.layer(TraceLayer::new_for_http().on_failure(()))
}

async fn connection<S>(stream: Patient<S>, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(stream, TowerToHyperService::new(router));
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use common::{limits::WRITE_STALL_MAX, telemetry::Telemetry};
    use tokio::{
        io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream},
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        http,
        testing::{change, delta},
        tiers::Change,
    };

    /// Listens to a view over a connection with little room, to a server that is as patient as that.
    async fn listen(router: &Router, stop: &CancellationToken, patience: Duration) -> (DuplexStream, JoinHandle<()>) {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let ours = Patient::for_at_most(patience, ours);
        let serving = tokio::spawn(connection(ours, router.clone(), stop.clone()));
        theirs.write_all(b"GET /v1/live?view=delays&dimensions=origin HTTP/1.1\r\nhost: any\r\n\r\n").await.unwrap();
        (theirs, serving)
    }

    /// Reads up to a line, the name of an event.
    async fn told(reader: &mut BufReader<DuplexStream>, event: &str) {
        let mut line = String::new();
        while line.trim_end() != event {
            line.clear();
            assert!(reader.read_line(&mut line).await.unwrap() > 0, "the stream ended before `{event}`");
        }
    }

    #[tokio::test]
    async fn a_listener_that_takes_nothing_is_cut_and_others_go_on() {
        let (tiers, stop, telemetry) = (crate::testing::served(), CancellationToken::new(), Telemetry::new());
        let router = served(http::router(Arc::clone(&tiers), telemetry), &stop);
        let (fast, going_on) = listen(&router, &stop, WRITE_STALL_MAX).await;
        let mut fast = BufReader::new(fast);
        told(&mut fast, "event: snapshot").await;
        let (mut slow, cut) = listen(&router, &stop, Duration::from_millis(1)).await;
        cut.await.unwrap();
        let mut whole = String::new();
        slow.read_to_string(&mut whole).await.unwrap();
        assert!(
            whole.starts_with("HTTP/1.1 200 OK\r\n") && whole.len() <= 64,
            "it took no more than there was room for"
        );
        change(&tiers, Change::Delta(delta(0, 1, 5, 6)));
        told(&mut fast, "event: change").await;
        // And nothing is left of the other.
        let metrics = axum::http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
        let metrics = tower::ServiceExt::oneshot(router, metrics).await.unwrap().into_body();
        let metrics = axum::body::to_bytes(metrics, usize::MAX).await.unwrap();
        assert!(String::from_utf8_lossy(&metrics).contains("live_listeners 1\n"));
        stop.cancel();
        drop(fast);
        going_on.await.unwrap();
    }
}
