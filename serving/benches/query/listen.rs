//! Readers of live push on one machine: how long a change takes until each has it, and what becomes of those that do not read.
//!
//! Each event that is sent has a new value of a dimension, and a reader has it when a message names that.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::at;

/// How many listen to what, and what is sent meanwhile.
#[derive(Debug, Deserialize)]
pub(crate) struct Options {
    address: SocketAddr,
    /// What is listened to.
    path: String,
    readers: usize,
    /// Connections beside them that are opened and never read.
    sleepers: usize,
    /// Where events are sent.
    events: String,
    /// An event, in which `@` stands for its number and `#` for the time.
    event: String,
    /// Milliseconds between two events.
    every_ms: u64,
    seconds: f64,
}

/// What the readers have seen together.
#[derive(Debug, Default)]
struct Seen {
    /// When each event was sent, by its number.
    sent: Mutex<HashMap<u64, Instant>>,
    took_us: Mutex<Vec<u64>>,
    ready: AtomicUsize,
    messages: AtomicU64,
    bytes: AtomicU64,
    resets: AtomicU64,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn listen(options: &Options) {
    let seen = Arc::new(Seen::default());
    let readers: Vec<_> = (0..options.readers)
        .map(|_| tokio::spawn(reader(options.address, options.path.clone(), Arc::clone(&seen))))
        .collect();
    let mut sleepers = Vec::new();
    for _ in 0..options.sleepers {
        sleepers.push(open(options.address, &options.path).await);
    }
    while seen.ready.load(Ordering::Relaxed) < options.readers {
        sleep(Duration::from_millis(5)).await;
    }
    eprintln!("ready");
    let begin = Instant::now();
    let mut sent = 0;
    let mut stream = TcpStream::connect(options.address).await.unwrap();
    while begin.elapsed().as_secs_f64() < options.seconds {
        sent += 1;
        let now = jiff::Timestamp::now().to_string();
        let body = options.event.replace('@', &sent.to_string()).replace('#', &now);
        seen.sent.lock().unwrap().insert(sent, Instant::now());
        post(&mut stream, &options.events, &body).await;
        sleep((begin + Duration::from_millis(options.every_ms * sent)).saturating_duration_since(Instant::now())).await;
    }
    // The last change is on its way.
    sleep(Duration::from_secs(1)).await;
    let mut cut = 0;
    for sleeper in &mut sleepers {
        cut += usize::from(is_cut(sleeper).await);
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    let mut took = std::mem::take(&mut *seen.took_us.lock().unwrap());
    took.sort_unstable();
    println!(
        "{}",
        json!({
            "readers": options.readers, "events": sent, "seen": took.len(), "p50_ms": at(&took, 0.5) / 1000,
            "p90_ms": at(&took, 0.9) / 1000, "p99_ms": at(&took, 0.99) / 1000, "max_ms": at(&took, 1.0) / 1000,
            "messages": seen.messages.load(Ordering::Relaxed), "bytes": seen.bytes.load(Ordering::Relaxed),
            "resets": seen.resets.load(Ordering::Relaxed), "sleepers": sleepers.len(), "sleepers_cut": cut,
        })
    );
}

async fn open(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

async fn post(stream: &mut TcpStream, path: &str, body: &str) {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\n");
    stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer[..length]));
}

/// Reads what is told, line by line.
async fn reader(address: SocketAddr, path: String, seen: Arc<Seen>) {
    let mut stream = open(address, &path).await;
    let (mut text, mut piece, mut ready) = (Vec::new(), vec![0; 16 << 10], false);
    loop {
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "the stream ended");
        seen.bytes.fetch_add(length as u64, Ordering::Relaxed);
        text.extend_from_slice(&piece[..length]);
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let message: Vec<u8> = text.drain(..end + 2).collect();
            let message = String::from_utf8_lossy(&message);
            if !ready && message.contains("event: snapshot") {
                ready = true;
                seen.ready.fetch_add(1, Ordering::Relaxed);
            }
            seen.messages.fetch_add(1, Ordering::Relaxed);
            seen.resets.fetch_add(u64::from(message.contains("event: reset")), Ordering::Relaxed);
            if message.contains("event: change") {
                note(&message, &seen);
            }
        }
    }
}

/// Values of the dimension are `n<number>`.
fn note(message: &str, seen: &Seen) {
    let sent = seen.sent.lock().unwrap();
    for value in message.split("\"n").skip(1) {
        let number = value.split('"').next().and_then(|number| number.parse::<u64>().ok());
        if let Some(at) = number.and_then(|number| sent.get(&number)) {
            seen.took_us.lock().unwrap().push(at.elapsed().as_micros() as u64);
        }
    }
}

/// Whether the server has given a connection up: all that is left in the socket is read, and then it ends.
async fn is_cut(stream: &mut TcpStream) -> bool {
    let mut piece = vec![0; 64 << 10];
    loop {
        match timeout(Duration::from_millis(200), stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}
