//! A proxy before a server of S3 that lets requests go wrong as they do in real networks, by a seed: the fault of the nth
//! request of a kind follows from the seed alone.
//!
//! Writes are handed on one at a time, since the server behind looks for an object and makes it in two steps, which S3 does
//! in one.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::testing::store::Random;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is answered with 500 and not done.
    Internal,
    /// It is answered with 503 SlowDown and not done.
    SlowDown,
    /// Its connection is reset before it was read to its end, and it is not done.
    Reset,
    /// It is done, and the connection is closed before the answer.
    AnswerLost,
    /// It is done, and the answer comes in crumbs.
    Slow,
}

const FAULTS: [Fault; 5] = [Fault::Internal, Fault::SlowDown, Fault::Reset, Fault::AnswerLost, Fault::Slow];

/// Bytes of a crumb of a slow answer.
const CRUMB: usize = 97;

/// A proxy that runs until it is dropped, on the runtime that it was started on.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// Held while a write is handed on, by whichever proxy: the server looks whether an object is there and then writes it, in two steps.
static WRITES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Debug)]
struct Shared {
    upstream: String,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    random: Option<(u64, u64)>,
    due: Vec<(&'static str, u64, Fault)>,
    seen: BTreeMap<&'static str, u64>,
    injected: BTreeMap<Fault, u64>,
}

impl Proxy {
    /// A proxy before the server at `upstream`, without a fault for now.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let shared = Arc::new(Shared { upstream: upstream.to_owned(), plan: Mutex::default() });
        let mut tasks = JoinSet::new();
        let serving = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let serving = Arc::clone(&serving);
                // A connection that breaks is what this is for.
                connections.spawn(async move { _ = serving.serve(client).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, shared, _tasks: tasks }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets `per_mille` of 1,000 requests from now on go wrong. Prints the seed, so that a failing test can be run again.
    pub fn fail_randomly(&self, seed: u64, per_mille: u64) {
        eprintln!("faults in {per_mille} of 1,000 requests, seed {seed}");
        self.shared.plan().random = Some((seed, per_mille));
    }

    /// Lets the `nth` request from now on with this method (0 is the next one) go wrong. `CREATE` is a conditional PUT.
    pub fn fail(&self, method: &'static str, nth: u64, fault: Fault) {
        let mut plan = self.shared.plan();
        let at = plan.seen.get(method).copied().unwrap_or_default() + nth;
        plan.due.push((method, at, fault));
    }

    /// No further fault.
    pub fn calm(&self) {
        let mut plan = self.shared.plan();
        (plan.random, plan.due) = (None, Vec::new());
    }

    /// How many faults of each kind there were.
    #[must_use]
    pub fn injected(&self) -> BTreeMap<Fault, u64> {
        self.shared.plan().injected.clone()
    }
}

impl Plan {
    fn draw(&mut self, kind: &'static str) -> Option<Fault> {
        let seen = self.seen.entry(kind).or_default();
        let nth = *seen;
        *seen += 1;
        let due = self.due.iter().find(|(of, at, _)| (*of, *at) == (kind, nth)).map(|(_, _, fault)| *fault);
        let fault = due.or_else(|| {
            let (seed, per_mille) = self.random?;
            let of_kind: u64 = kind.bytes().map(u64::from).sum();
            let mut random = Random::new(seed ^ (of_kind << 32) ^ nth);
            (random.below(1_000) < per_mille).then(|| FAULTS[random.below(FAULTS.len() as u64) as usize])
        });
        if let Some(fault) = fault {
            *self.injected.entry(fault).or_default() += 1;
        }
        fault
    }
}

impl Shared {
    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one request of `client`, whose connection then ends.
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let Some(head) = Head::read(&mut client).await? else { return Ok(()) };
        let fault = self.plan().draw(head.kind());
        if fault == Some(Fault::Reset) {
            // What was not read makes the kernel reset the connection.
            return Ok(());
        }
        let request = head.whole(&mut client).await?;
        match fault {
            Some(Fault::Internal) => return refuse(&mut client, "500 Internal Server Error", "InternalError").await,
            Some(Fault::SlowDown) => return refuse(&mut client, "503 Slow Down", "SlowDown").await,
            _ => {}
        }
        let answer = self.upstream(request).await?;
        match fault {
            Some(Fault::AnswerLost) => return Ok(()),
            Some(Fault::Slow) => {
                for crumb in answer.chunks(CRUMB) {
                    client.write_all(crumb).await?;
                    client.flush().await?;
                    tokio::task::yield_now().await;
                }
            }
            _ => client.write_all(&answer).await?,
        }
        client.shutdown().await
    }

    async fn upstream(&self, request: Request) -> io::Result<Vec<u8>> {
        let _alone = if request.writes { Some(WRITES.lock().await) } else { None };
        let mut server = TcpStream::connect(&self.upstream).await?;
        server.write_all(&request.bytes).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

async fn refuse(client: &mut TcpStream, status: &str, code: &str) -> io::Result<()> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>injected</Message></Error>"
    );
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

/// A request's head, and what came of its body with it.
struct Head {
    text: String,
    body: BytesMut,
    length: usize,
}

/// A request as it is handed on.
struct Request {
    bytes: Bytes,
    writes: bool,
}

impl Head {
    /// The next head of `client`; `None` if it has ended.
    async fn read(client: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut read = BytesMut::new();
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if client.read_buf(&mut read).await? == 0 {
                return Ok(None);
            }
        };
        let body = read.split_off(end);
        let text = String::from_utf8_lossy(&read).into_owned();
        let length = header(&text, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        Ok(Some(Self { text, body, length }))
    }

    fn kind(&self) -> &'static str {
        let is = |method: &str| self.text.starts_with(method);
        match () {
            () if is("PUT ") && header(&self.text, "if-none-match").is_some() => "CREATE",
            () if is("PUT ") => "PUT",
            () if is("GET ") => "GET",
            () if is("HEAD ") => "HEAD",
            () if is("DELETE ") => "DELETE",
            () => "POST",
        }
    }

    /// The whole request, of a connection of its own.
    async fn whole(mut self, client: &mut TcpStream) -> io::Result<Request> {
        while self.body.len() < self.length {
            if client.read_buf(&mut self.body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut bytes = BytesMut::new();
        for line in self.text.trim_end().split("\r\n") {
            if !line.to_ascii_lowercase().starts_with("connection:") {
                bytes.extend_from_slice(line.as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
        }
        bytes.extend_from_slice(b"connection: close\r\n\r\n");
        let writes = !matches!(self.kind(), "GET" | "HEAD");
        bytes.extend_from_slice(&self.body);
        Ok(Request { bytes: bytes.freeze(), writes })
    }
}

/// The value of a header, which is looked for by its name in small letters.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}
