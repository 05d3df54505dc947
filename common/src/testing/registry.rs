//! A schema registry for tests: a real HTTP server on a loopback port, with Confluent's answers.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::Url;

/// The server. It ends when this is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    /// Where it listens.
    pub url: Url,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The versions of each subject, oldest first: id and body.
    subjects: BTreeMap<String, Vec<(u32, Value)>>,
    /// What was asked for, in order.
    asked: Vec<String>,
    /// What an `Authorization` header must be, if one is asked for.
    authorization: Option<String>,
    /// Answers to give before all others: a status and a body.
    instead: Vec<(u16, String)>,
}

impl TestRegistry {
    /// An empty registry.
    ///
    /// # Panics
    /// If there is no loopback port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        let url = format!("http://{address}").parse().expect("an address makes a URL");
        Self { url, state, server }
    }

    /// Registers the next version of `subject`, and gives its id. `kind` is `AVRO` or `PROTOBUF`; references are
    /// (name, subject, version).
    pub fn register(&self, subject: &str, kind: &str, schema: &str, references: &[(&str, &str, u32)]) -> u32 {
        let reference = |(name, subject, version): &(&str, &str, u32)| json!({"name": name, "subject": subject, "version": version});
        let references: Vec<Value> = references.iter().map(reference).collect();
        let mut body = json!({"schema": schema, "references": references});
        if kind != "AVRO" {
            body["schemaType"] = json!(kind);
        }
        self.with(|state| {
            let id = state.subjects.values().map(Vec::len).sum::<usize>() as u32 + 1;
            state.subjects.entry(subject.to_owned()).or_default().push((id, body));
            id
        })
    }

    /// Asks for this `Authorization` header from now on.
    pub fn demand(&self, authorization: &str) {
        self.with(|state| state.authorization = Some(authorization.to_owned()));
    }

    /// Gives this answer, once, to the next that asks; several in the order given.
    pub fn answer_instead(&self, status: u16, body: &str) {
        self.with(|state| state.instead.push((status, body.to_owned())));
    }

    /// The paths asked for so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.with(|state| state.asked.clone())
    }

    fn with<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One request a connection.
async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let (status, body) = state.lock().unwrap_or_else(PoisonError::into_inner).answer(&request);
    let head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // Whoever asked may have gone away.
    _ = stream.write_all((head + &body).as_bytes()).await;
}

impl State {
    fn answer(&mut self, request: &str) -> (u16, String) {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.push(path.clone());
        if !self.instead.is_empty() {
            return self.instead.remove(0);
        }
        let header = request.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        if self.authorization.is_some() && header != self.authorization.as_deref() {
            return (401, json!({"error_code": 401, "message": "Unauthorized"}).to_string());
        }
        self.find(&path).unwrap_or_else(|code| (404, json!({"error_code": code, "message": "not found"}).to_string()))
    }

    fn find(&self, path: &str) -> Result<(u16, String), u32> {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        match steps.as_slice() {
            ["schemas", "ids", id] => {
                let mut all = self.subjects.values().flatten();
                let (_, body) = all.find(|(other, _)| other.to_string() == *id).ok_or(40_403_u32)?;
                Ok((200, body.to_string()))
            }
            ["subjects", subject, "versions", version] => {
                let versions = self.subjects.get(*subject).ok_or(40_401_u32)?;
                let number = if *version == "latest" { versions.len() } else { version.parse().unwrap_or(0) };
                let (id, body) = number.checked_sub(1).and_then(|at| versions.get(at)).ok_or(40_402_u32)?;
                let mut body = body.clone();
                (body["id"], body["subject"], body["version"]) = (json!(id), json!(subject), json!(number));
                Ok((200, body.to_string()))
            }
            _ => Err(404),
        }
    }
}
