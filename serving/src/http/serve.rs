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
    // Streams end when the server stops, not when their readers leave.
    let router = router.layer(Extension(stop.clone())).layer(TraceLayer::new_for_http());
    let tls = door.tls.map(Arc::new);
    let serve = |stream: TcpStream, _: SocketAddr| {
        let (router, tls, stop) = (router.clone(), tls.clone(), stop.clone());
        async move {
            // A connection's own trouble: its client leaves, or is no client of HTTP.
            let _ = stream.set_nodelay(true);
            match tls {
                None => connection(stream, router, stop).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(STARTUP_TIMEOUT, tls.accept(stream)).await {
                        connection(stream, router, stop).await;
                    }
                }
            }
        }
    };
    listen::connections(listener, door.connections, &stop, serve).await
}

async fn connection<S>(stream: S, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(Patient::new(stream));
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
