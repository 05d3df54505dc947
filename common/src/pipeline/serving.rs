//! `[serving]`: where the API listens, and how much one request may ask of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytesize::ByteSize;
use jiff::SignedDuration;

use super::{
    reader::{Reader, Section},
    values::{ADDRESS, DURATION, SIZE},
};
use crate::limits::{QUERY_BYTES_MAX, QUERY_GROUPS_MAX, QUERY_ROWS_MAX, QUERY_TIMEOUT};

/// `serving.listen` where the file has none: this machine only.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// `serving.body_limit` where the file has none: the largest body of events that is read into memory for one request.
pub const BODY_LIMIT: ByteSize = ByteSize::mib(16);

/// The keys of the section.
const KEYS: &[&str] = &["listen", "body_limit", "query_rows", "query_groups", "query_timeout", "query_size"];

/// The section, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The largest body of events.
    pub body_limit: ByteSize,
    /// What one query may ask.
    pub queries: QueryLimits,
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
        Self { listen: LISTEN, body_limit: BODY_LIMIT, queries: QueryLimits::default() }
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
    Serving {
        listen: reader.or(&section, "listen", &ADDRESS, usual.listen),
        body_limit: reader.or(&section, "body_limit", &SIZE, usual.body_limit),
        queries: QueryLimits {
            rows,
            groups,
            timeout: reader.or(&section, "query_timeout", &DURATION, usual.queries.timeout),
            size: reader.or(&section, "query_size", &SIZE, usual.queries.size),
        },
    }
}
