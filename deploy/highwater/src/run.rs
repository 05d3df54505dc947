//! The composition root: which layers run in this process, and how they are put together.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, sync::Arc, thread, time::Duration};

use anyhow::Context;
use batch::{Batch, Engine};
use common::{
    clock::SystemClock,
    dataset::Dataset,
    feed,
    limits::{FEED_LOOK_BACK, FEED_NOTICES_MAX},
    log::EventLog,
    names::SourceName,
    pipeline::Pipeline,
    store::Store,
    telemetry::Telemetry,
};
use serving::{
    Access, Follower, Served,
    chunks::Cache,
    http::{self, Door, Ingest},
    postgres,
    tls::Certificate,
};
use speed::{Parts, Settings, Worker};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::{self, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{house, schedule::Schedule, swap};

/// How often serving looks for a new generation, and without a live feed for new commits.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Which layers run in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    speed: bool,
    serve: bool,
    batch: bool,
}

impl Roles {
    pub(crate) const ALL: Self = Self { speed: true, serve: true, batch: true };
    pub(crate) const SPEED: Self = Self { speed: true, serve: false, batch: false };
    pub(crate) const SERVE: Self = Self { speed: false, serve: true, batch: false };
    pub(crate) const BATCH: Self = Self { speed: false, serve: false, batch: true };

    pub(crate) fn has_batch(self) -> bool {
        self.batch
    }

    pub(crate) fn without_batch(self) -> Self {
        Self { batch: false, ..self }
    }
}

type Logs = BTreeMap<SourceName, Arc<dyn EventLog>>;
type Tasks = JoinSet<anyhow::Result<()>>;

/// The layers of one process while they run.
pub(crate) struct Running {
    /// Where the API listens, if this process has one.
    pub(crate) address: Option<SocketAddr>,
    /// The logs of the sources, if this process reads them.
    pub(crate) logs: Logs,
    /// The speed workers by source.
    pub(crate) workers: BTreeMap<SourceName, speed::Handle>,
    /// What is answered from; empty where this process does not serve.
    pub(crate) served: Arc<Served>,
    /// The batch layer.
    pub(crate) batch: Batch,
    telemetry: Telemetry,
    /// Kept so that a feed within the process does not end before its listener: workers stop first.
    feed: Option<feed::Sender>,
    stop: CancellationToken,
    tasks: Tasks,
}

/// Runs until `stop`, or until a layer fails. Views that have changed are answered as they were until they are computed.
pub(crate) async fn run(pipeline: Pipeline, roles: Roles, stop: CancellationToken) -> anyhow::Result<()> {
    let pipeline = Arc::new(pipeline);
    if roles.serve {
        swap::until_ready(&pipeline, roles, &stop).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
    }
    Running::start(pipeline, roles, stop).await?.finish().await
}

impl Running {
    /// Opens what `roles` need and starts them.
    pub(crate) async fn start(pipeline: Arc<Pipeline>, roles: Roles, stop: CancellationToken) -> anyhow::Result<Self> {
        let store = house::store(&pipeline)?;
        let datasets = house::datasets(&pipeline, &store).await?;
        let mut running = Self {
            address: None,
            logs: Logs::new(),
            workers: BTreeMap::new(),
            served: Arc::new(Served::new(pipeline.views.clone()).with_limits(pipeline.serving.queries)),
            batch: batch_layer(&pipeline, &store)?,
            telemetry: Telemetry::new(),
            feed: None,
            stop,
            tasks: Tasks::new(),
        };
        let mut told = None;
        if roles.speed {
            let (sender, receiver) = feed::channel();
            running.logs = house::logs(&pipeline).await?;
            running.start_speed(&pipeline, &store, &datasets, &sender);
            told = Some((sender, receiver));
        }
        let listener = running.start_feed(&pipeline, roles, &datasets, told)?;
        if roles.serve || (roles.batch && pipeline.batch.audit.is_some()) {
            // Who only audits asks each chunk once.
            let cache = if roles.serve { house::cache(&pipeline, &store, running.telemetry.serving())? } else { None };
            running.start_follower(&store, cache, datasets, listener);
        }
        if roles.speed || roles.serve {
            running.start_doors(&pipeline, roles).await?;
        }
        if roles.batch {
            running.start_schedule();
        }
        Ok(running)
    }

    fn start_speed(
        &mut self,
        pipeline: &Pipeline,
        store: &Store,
        datasets: &BTreeMap<SourceName, Dataset>,
        feed: &feed::Sender,
    ) {
        let cores = Arc::new(Semaphore::new(cores().get()));
        for source in pipeline.sources.values() {
            let parts = Parts {
                log: Arc::clone(&self.logs[&source.name]),
                dataset: datasets[&source.name].clone(),
                store: store.clone(),
                feed: feed.clone(),
                clock: Arc::new(SystemClock),
                metrics: self.telemetry.ingest(&source.name),
                cores: Arc::clone(&cores),
            };
            let (worker, handle) = Worker::new(Settings::new(pipeline, source), parts);
            self.workers.insert(source.name.clone(), handle);
            let (stop, name) = (self.stop.clone(), source.name.clone());
            self.tasks.spawn(async move {
                worker.run(stop).await.with_context(|| format!("ingesting source `{name}` failed"))
            });
        }
    }

    /// Brings what the workers of this process tell (`told`) to those who listen, here and elsewhere; what this process listens to, if
    /// it serves and there is a feed.
    fn start_feed(
        &mut self,
        pipeline: &Pipeline,
        roles: Roles,
        datasets: &BTreeMap<SourceName, Dataset>,
        told: Option<(feed::Sender, feed::Receiver)>,
    ) -> anyhow::Result<Option<feed::Listener>> {
        let Some(topic) = house::feed(pipeline, datasets)? else {
            return Ok(match told {
                Some((sender, receiver)) if roles.serve => {
                    self.feed = Some(sender);
                    Some(feed::Listener::Local(receiver))
                }
                Some((_, receiver)) => {
                    self.tasks.spawn(discard(receiver));
                    None
                }
                None => None,
            });
        };
        let heard = roles.serve.then(|| mpsc::channel(FEED_NOTICES_MAX));
        if let Some((_, receiver)) = told {
            let (topic, own) = (topic.clone(), heard.as_ref().map(|(own, _)| own.clone()));
            let telling = task::spawn_blocking(move || topic.tell(receiver, own.as_ref()));
            self.tasks.spawn(async move { telling.await.context("telling on the live feed failed") });
        }
        Ok(heard.map(|(others, heard)| {
            let look_back = pipeline.commit_interval.unsigned_abs() * 2 + FEED_LOOK_BACK;
            // It ends when the follower does. It may wait for a broker then, and nobody waits for it.
            thread::spawn(move || topic.listen(&others, look_back));
            feed::Listener::Topic(heard)
        }))
    }

    fn start_follower(
        &mut self,
        store: &Store,
        cache: Option<Arc<Cache>>,
        datasets: BTreeMap<SourceName, Dataset>,
        feed: Option<feed::Listener>,
    ) {
        let follower = Follower {
            store: store.clone(),
            cache,
            datasets,
            served: Arc::clone(&self.served),
            feed,
            clock: Arc::new(SystemClock),
            metrics: self.telemetry.serving(),
            poll_interval: POLL_INTERVAL,
        };
        let stop = self.stop.clone();
        self.tasks.spawn(async move { follower.run(stop).await.context("serving cannot follow the store") });
    }

    /// Opens the ports: HTTP's, and where this process answers queries, Postgres'.
    async fn start_doors(&mut self, pipeline: &Pipeline, roles: Roles) -> anyhow::Result<()> {
        let (settings, access) = (&pipeline.serving, Arc::new(Access::new(&pipeline.serving)));
        let certificate =
            settings.tls.clone().map(|files| Certificate::load(files, Arc::new(SystemClock))).transpose()?;
        if let Some(certificate) = certificate.clone() {
            let stop = self.stop.clone();
            self.tasks.spawn(async move { certificate.watch(stop).await.context("the certificate cannot be watched") });
        }
        let acceptor =
            |protocol: &[u8]| certificate.as_ref().map(|certificate| certificate.acceptor(protocol)).transpose();
        if let Some(listen) = settings.postgres.filter(|_| roles.serve) {
            let server =
                postgres::Server::new(Arc::clone(&self.served), Arc::clone(&access), acceptor(postgres::ALPN)?)?;
            self.start_postgres(server, listen, settings.connections).await?;
        }
        let door = Door { connections: settings.connections, tls: acceptor(http::ALPN)? };
        self.start_http(pipeline, access, door).await
    }

    async fn start_postgres(
        &mut self,
        server: postgres::Server,
        listen: SocketAddr,
        most: usize,
    ) -> anyhow::Result<()> {
        let (listener, address) = bound(listen).await?;
        info!(%address, "speaking Postgres' protocol");
        let (server, stop) = (Arc::new(server), self.stop.clone());
        self.tasks.spawn(async move { server.serve(listener, most, stop).await.context("the Postgres server failed") });
        Ok(())
    }

    async fn start_http(&mut self, pipeline: &Pipeline, access: Arc<Access>, door: Door) -> anyhow::Result<()> {
        let (listener, address) = bound(pipeline.serving.listen).await?;
        let body_limit =
            usize::try_from(pipeline.serving.body_limit.as_u64()).context("serving.body_limit is too large")?;
        let ingests = self.logs.iter().map(|(source, log)| {
            let settings = &pipeline.sources[source];
            let (key, lines) = (settings.key_path(), settings.rules.format.is_text());
            (source.clone(), Ingest { log: Arc::clone(log), key, lines })
        });
        let router = if self.logs.is_empty() {
            http::router(Arc::clone(&self.served), self.telemetry.clone())
        } else {
            http::router_with_ingest(Arc::clone(&self.served), self.telemetry.clone(), ingests, body_limit)
        };
        let router = http::guarded(router, access);
        self.address = Some(address);
        info!(%address, "listening");
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { http::serve(listener, router, door, stop).await.context("the HTTP server failed") });
        Ok(())
    }

    fn start_schedule(&mut self) {
        let schedule = Schedule {
            batch: self.batch.clone(),
            served: Arc::clone(&self.served),
            timer: Arc::new(SystemClock),
            stop: self.stop.clone(),
        };
        schedule.start(&mut self.tasks);
    }

    /// Waits for the end: of all layers after the stop was asked for, or of the first one that fails, which stops the rest.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        let mut first_failure = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.context("a layer panicked").flatten();
            if let Err(failure) = ended {
                error!(failure = format!("{failure:#}"), "a layer stopped, stopping the rest");
                self.stop.cancel();
                first_failure = first_failure.and(Err(failure));
            }
        }
        info!("stopped");
        first_failure
    }

    /// Stops all layers and waits for them.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.finish().await
    }
}

/// A listener at `listen`, and its address: the port may be any.
async fn bound(listen: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen at {listen}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Where nobody listens to the live feed, the speed layer need not know.
async fn discard(mut feed: feed::Receiver) -> anyhow::Result<()> {
    while feed.recv().await.is_some() {}
    Ok(())
}

/// The cores of this machine that this process may use.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The batch layer beside the others of a process, which go before it.
pub(crate) fn batch_layer(pipeline: &Arc<Pipeline>, store: &Store) -> anyhow::Result<Batch> {
    Ok(batch_layer_by(pipeline, store, Engine::in_background(cores()).context(NO_THREADS)?))
}

/// The batch layer by itself, on so many cores.
pub(crate) fn batch_layer_on(pipeline: &Arc<Pipeline>, store: &Store, cores: NonZeroUsize) -> anyhow::Result<Batch> {
    Ok(batch_layer_by(pipeline, store, Engine::new(cores).context(NO_THREADS)?))
}

const NO_THREADS: &str = "cannot start the batch layer's threads";

fn batch_layer_by(pipeline: &Arc<Pipeline>, store: &Store, engine: Engine) -> Batch {
    let engine = engine.with_memory(pipeline.batch.memory);
    Batch::new(store.clone(), Arc::clone(pipeline), engine, Arc::new(SystemClock))
}
