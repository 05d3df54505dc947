//! Postgres' wire protocol (version 3) over the SQL engine of `POST /v1/sql`, for the clients that speak it: psql, drivers, Grafana.
//!
//! `wire` is the frames, `connection` how a client comes in (TLS, name, password), `session` and `prepared` what it asks then, `ask` and
//! `query` how that is run.
//! What clients ask of Postgres' own tables is answered by `catalog`. Nothing is changed by anything here.

mod ask;
mod catalog;
mod connection;
mod dialect;
mod fault;
mod prepared;
mod query;
mod scram;
mod session;
mod settings;
mod statement;
mod types;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::constant_time;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use self::scram::{random, verifier};
use crate::{Served, access::Access, listen};

/// The protocol that ALPN names.
pub const ALPN: &[u8] = b"postgresql";

/// What all connections share.
pub struct Server {
    served: Arc<Served>,
    access: Arc<Access>,
    tls: Option<TlsAcceptor>,
    permits: Arc<Semaphore>,
    /// What verifiers of users that are not there are made of.
    secret: [u8; 32],
    running: Mutex<HashMap<i32, Running>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// A connection that can be told to stop what it runs.
#[derive(Debug)]
struct Running {
    key: Vec<u8>,
    statement: Arc<Mutex<CancellationToken>>,
}

impl Server {
    /// Answers from `served` whom `access` lets in; with `tls`, nobody comes in without it.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn new(served: Arc<Served>, access: Arc<Access>, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let permits = Arc::clone(served.permits());
        Ok(Self { served, access, tls, permits, secret: random()?, running: Mutex::default() })
    }

    /// Takes connections of `listener` until `stop`, `most` at a time.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, most: usize, stop: CancellationToken) -> io::Result<()> {
        let serve = |stream, from| connection::serve(Arc::clone(&self), stream, from, stop.clone());
        listen::connections(listener, most, &stop, serve).await
    }

    /// Stops what the connection `number` runs, if `key` is its own.
    fn cancel(&self, number: i32, key: &[u8]) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = running.get(&number)
            && constant_time::verify_slices_are_equal(&connection.key, key).is_ok()
        {
            connection.statement.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        }
    }
}
