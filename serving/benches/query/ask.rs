//! Questions over connections that are kept, each when it is due (an open loop: a question that has to wait for another counts
//! its wait), or each when the one before is answered.

use std::{
    fs::File,
    io::{BufWriter, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::json;

use crate::at;

/// What to ask, and how often.
#[derive(Debug, Deserialize)]
pub(crate) struct Options {
    address: SocketAddr,
    /// Paths, asked in turn, again and again.
    paths: Vec<String>,
    connections: usize,
    /// Questions a second over all connections; as fast as they are answered, if 0.
    rate: f64,
    seconds: f64,
    /// Where each question's time goes, `<when it was due, µs since 1970> <µs until it was answered>`.
    samples: Option<PathBuf>,
}

/// When a question was due, and how long it took until its answer was there.
type Sample = (Duration, Duration);

pub(crate) fn ask(options: &Options) {
    let (begin, epoch) = (Instant::now() + Duration::from_millis(20), SystemTime::now());
    let epoch = epoch.duration_since(UNIX_EPOCH).unwrap() + Duration::from_millis(20);
    let samples: Vec<Sample> = thread::scope(|threads| {
        let asking: Vec<_> =
            (0..options.connections).map(|which| threads.spawn(move || connection(options, which, begin))).collect();
        asking.into_iter().flat_map(|asking| asking.join().unwrap()).collect()
    });
    let elapsed = begin.elapsed().as_secs_f64();
    let mut took: Vec<u64> = samples.iter().map(|(_, took)| took.as_micros() as u64).collect();
    took.sort_unstable();
    if let Some(path) = &options.samples {
        let mut file = BufWriter::new(File::create(path).unwrap());
        for (due, took) in &samples {
            writeln!(file, "{} {}", (epoch + *due).as_micros(), took.as_micros()).unwrap();
        }
        file.flush().unwrap();
    }
    println!(
        "{}",
        json!({
            "requests": took.len(), "requests_per_s": (took.len() as f64 / elapsed).round(), "p50_us": at(&took, 0.5),
            "p90_us": at(&took, 0.9), "p99_us": at(&took, 0.99), "p999_us": at(&took, 0.999), "max_us": at(&took, 1.0),
        })
    );
}

/// Asks every question of one connection: those numbered `which`, `which + connections`, …
fn connection(options: &Options, which: usize, begin: Instant) -> Vec<Sample> {
    let mut stream = TcpStream::connect(options.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut samples, mut answer) = (Vec::new(), Vec::new());
    for number in (which..).step_by(options.connections) {
        let due = match options.rate {
            rate if rate > 0.0 => Duration::from_secs_f64(number as f64 / rate),
            _ => begin.elapsed(),
        };
        if due.as_secs_f64() >= options.seconds {
            break;
        }
        thread::sleep((begin + due).saturating_duration_since(Instant::now()));
        let path = &options.paths[number % options.paths.len()];
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").as_bytes()).unwrap();
        read(&mut stream, &mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        samples.push((due, begin.elapsed().saturating_sub(due)));
    }
    samples
}

/// Reads one answer, whole.
fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    answer.clear();
    let mut piece = [0; 16 << 10];
    let mut whole = None;
    while whole.is_none_or(|whole| answer.len() < whole) {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "the connection was closed");
        answer.extend_from_slice(&piece[..length]);
        if whole.is_none()
            && let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = std::str::from_utf8(&answer[..end]).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            whole = Some(end + 4 + length.parse::<usize>().unwrap());
        }
    }
}
