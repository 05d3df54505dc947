//! `[serving]`: where the API listens and Postgres' protocol is spoken, who may ask, and how much one request may ask of it.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use bytesize::ByteSize;
use jiff::SignedDuration;
use toml::{Spanned, de::DeValue};

use super::{
    reader::{Reader, Section},
    scram::{VERIFIER, Verifier},
    values::{ADDRESS, DURATION, Kind, SIZE, TEXT},
};
use crate::limits::{CONNECTIONS_MAX, QUERY_BYTES_MAX, QUERY_GROUPS_MAX, QUERY_ROWS_MAX, QUERY_TIMEOUT};

/// `serving.listen` where the file has none: this machine only.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// `serving.body_limit` where the file has none: the largest body of events that is read into memory for one request.
pub const BODY_LIMIT: ByteSize = ByteSize::mib(16);

/// `serving.cache_size` where the file has none.
const CACHE_SIZE: ByteSize = ByteSize::gib(8);

/// The keys of the section.
const KEYS: &[&str] = &[
    "listen",
    "body_limit",
    "query_rows",
    "query_groups",
    "query_timeout",
    "query_size",
    "cache",
    "cache_size",
    "requests_per_second",
    "connections",
    "postgres",
    "tls",
    "tokens",
];

/// The section, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The largest body of events.
    pub body_limit: ByteSize,
    /// What one query may ask.
    pub queries: QueryLimits,
    /// Where chunks of generations are kept to be mapped; in memory, if `None`.
    pub cache: Option<Cache>,
    /// The most requests a second that one token may send; as many as it likes if `None`.
    pub requests_per_second: Option<u32>,
    /// The most connections at a time, of each port.
    pub connections: usize,
    /// Where Postgres' protocol is spoken; nowhere if `None`.
    pub postgres: Option<SocketAddr>,
    /// What both ports are encrypted with; they are not if `None`.
    pub tls: Option<TlsFiles>,
    /// Who may ask; everybody, if there are none, which is for loopback only.
    pub tokens: Vec<Token>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that lead from it to one that clients know.
    pub certificate: PathBuf,
    /// The key of the first.
    pub key: PathBuf,
}

/// A local cache of chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// `cache`: its directory, of this process alone.
    pub directory: PathBuf,
    /// `cache_size`: the most bytes in it.
    pub size: ByteSize,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Asking.
    Read,
    /// Sending events.
    Write,
    /// Both, and metrics.
    Admin,
}

/// A bearer token: the file has its hash only.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is called in the log.
    pub name: String,
    /// SHA-256 of the token. Tokens are long and random, so a plain hash gives nothing away.
    pub sha256: [u8; 32],
    /// What a password is checked by where Postgres' protocol is spoken; the token cannot be used there if `None`.
    pub scram: Option<Verifier>,
    /// What it is for.
    pub role: Role,
    /// The views that it may read; all if `None`.
    pub views: Option<BTreeSet<String>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, role, views, .. } = self;
        f.debug_struct("Token").field("name", name).field("role", role).field("views", views).finish_non_exhaustive()
    }
}

/// What one query may ask; an error of one that asks more names the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// `query_rows`: the most rows of one answer, and how many there are where no limit is asked.
    pub rows: usize,
    /// `query_groups`: the most groups it may make; bounds its memory.
    pub groups: usize,
    /// `query_timeout`: how long it may wait and compute.
    pub timeout: SignedDuration,
    /// `query_size`: the longest body.
    pub size: ByteSize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            rows: QUERY_ROWS_MAX,
            groups: QUERY_GROUPS_MAX,
            timeout: SignedDuration::from_secs(QUERY_TIMEOUT.as_secs() as i64),
            size: ByteSize(QUERY_BYTES_MAX as u64),
        }
    }
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            listen: LISTEN,
            body_limit: BODY_LIMIT,
            queries: QueryLimits::default(),
            cache: None,
            requests_per_second: None,
            connections: CONNECTIONS_MAX,
            postgres: None,
            tls: None,
            tokens: Vec::new(),
        }
    }
}

/// Reads the section of the whole file `root`.
pub(super) fn serving(reader: &mut Reader<'_>, root: &Section<'_>) -> Serving {
    let section = reader.section(root, "serving", KEYS);
    let usual = Serving::default();
    let mut count = |key: &str, usual: usize| {
        reader.count(&section, key, 1..=u32::MAX, u32::try_from(usual).unwrap_or(u32::MAX)) as usize
    };
    let (rows, groups) = (count("query_rows", usual.queries.rows), count("query_groups", usual.queries.groups));
    let tokens = tokens(reader, &section);
    let listen = reader.or(&section, "listen", &ADDRESS, usual.listen);
    let postgres = reader.optional(&section, "postgres", &ADDRESS);
    for (key, address) in [("listen", Some(listen)), ("postgres", postgres)] {
        check_open(reader, &section, key, address, &tokens);
    }
    let connections = reader.count(&section, "connections", 1..=1_000_000, usual.connections as u32) as usize;
    let most =
        section.get("requests_per_second").map(|_| reader.count(&section, "requests_per_second", 1..=u32::MAX, 1));
    let size = reader.or(&section, "cache_size", &SIZE, CACHE_SIZE);
    let cache = reader.optional(&section, "cache", &TEXT);
    if let (Some(size), None) = (section.get("cache_size"), section.get("cache")) {
        let message = "`serving.cache_size` is of a cache, and there is no `serving.cache`";
        reader.fault(
            size.span(),
            message,
            "`cache` is the directory that chunks are kept in; without it they are in memory",
        );
    }
    Serving {
        cache: cache.map(|cache| Cache { directory: reader.beside(&cache), size }),
        requests_per_second: most,
        connections,
        postgres,
        tls: tls(reader, &section),
        tokens,
        listen,
        body_limit: reader.or(&section, "body_limit", &SIZE, usual.body_limit),
        queries: QueryLimits {
            rows,
            groups,
            timeout: reader.or(&section, "query_timeout", &DURATION, usual.queries.timeout),
            size: reader.or(&section, "query_size", &SIZE, usual.queries.size),
        },
    }
}

/// Notes what everybody could do who reaches `address`, and whom nobody can prove to be there.
fn check_open(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    address: Option<SocketAddr>,
    tokens: &[Token],
) {
    let Some(address) = address else { return };
    let span = section.get(key).map_or(section.span.clone(), Spanned::span);
    if !address.ip().is_loopback() && tokens.is_empty() {
        let could = if key == "postgres" { "ask everything" } else { "send events" };
        let message = format!(
            "`serving.{key}` is {address}, beyond this machine, and nobody needs a token: anybody could {could}"
        );
        reader.fault(span, message, "name who may ask, [serving.tokens.<name>], or listen at 127.0.0.1");
    } else if key == "postgres" && !tokens.is_empty() && tokens.iter().all(|token| token.scram.is_none()) {
        let message = "`serving.postgres` is for tokens with `scram_sha_256`, and none has it: nobody could log in";
        reader.fault(span, message, "`highwater token` makes a token with it");
    }
}

fn tls(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<TlsFiles> {
    section.get("tls")?;
    let tls = reader.section(section, "tls", &["certificate", "key"]);
    let (certificate, key) = (reader.required(&tls, "certificate", &TEXT), reader.required(&tls, "key", &TEXT));
    let (certificate, key) = certificate.zip(key)?;
    Some(TlsFiles { certificate: reader.beside(&certificate), key: reader.beside(&key) })
}

const SHA256: Kind<[u8; 32]> = Kind {
    what: "a SHA-256",
    allowed: "a token's hash is 64 hexadecimal digits, as `printf %s \"$TOKEN\" | sha256sum` prints",
    parse: |text| {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).ok()?;
        Some(hash)
    },
};

const ROLE: Kind<Role> = Kind {
    what: "a role",
    allowed: "roles are \"read\", \"write\" and \"admin\"",
    parse: |text| match text {
        "read" => Some(Role::Read),
        "write" => Some(Role::Write),
        "admin" => Some(Role::Admin),
        _ => None,
    },
};

fn tokens(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<Token> {
    let Some(table) = section.get("tokens") else { return Vec::new() };
    let table = reader.table(table, section.path_of("tokens"));
    let mut tokens = Vec::new();
    for (name, _, value) in table.entries() {
        let token = reader.table(value, table.path_of(name));
        reader.only(&token, &["sha256", "scram_sha_256", "role", "views"]);
        let (sha256, role) = (reader.required(&token, "sha256", &SHA256), reader.required(&token, "role", &ROLE));
        let scram = reader.optional(&token, "scram_sha_256", &VERIFIER);
        let views = token.get("views").map(|views| names(reader, views, &token.path_of("views")));
        if let (Some(sha256), Some(role)) = (sha256, role) {
            tokens.push(Token { name: name.to_owned(), sha256, scram, role, views });
        }
    }
    tokens
}

fn names(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> BTreeSet<String> {
    let DeValue::Array(items) = value.get_ref() else {
        reader.fault(
            value.span(),
            format!("`{path}` is not a list"),
            "it is a list of names: [\"sales\", \"returns\"]",
        );
        return BTreeSet::new();
    };
    items.iter().filter_map(|item| reader.value(item, path, &TEXT)).collect()
}
