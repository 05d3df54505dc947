//! Taking events in: `POST /v1/sources/{source}/events`, and where a producer stands. The answer is given when the events
//! are durable in the log. Nothing is decoded here: a broken line becomes a dead letter, like a broken record of any log.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, header},
    routing::{get, post},
};
use bytes::Bytes;
use common::{
    limits::{PRODUCER_LENGTH_MAX, RECORD_BYTES_MAX},
    log::{Appended, EventLog, NewRecord, ProducerRun},
    names::SourceName,
    position::{Partition, Position},
    schema,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    body,
    problem::{Kind, Problem},
};

const PRODUCER: &str = "highwater-producer";
const ROW: &str = "highwater-row";

/// Where the events of one source go.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// The log they are appended to.
    pub log: Arc<dyn EventLog>,
    /// Where in a record the value stands that is its key, which decides the partition; records go round without one.
    pub key: Option<schema::Path>,
    /// Whether each line of a body is a record; else all of it is one, of a format that is no text.
    pub lines: bool,
}

/// What a body of lines may be called.
const LINES: &[&str] =
    &["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "text/csv"];

/// What a body that is one record may be called.
const ONE: &[&str] = &["application/octet-stream", "avro/binary", "application/protobuf", "application/x-protobuf"];

/// What a body of whole records is called, of a source of any format.
const RECORDS: &str = common::log::records::CONTENT_TYPE;

/// How the records stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Lines,
    One,
    Records,
}

#[derive(Debug, Clone)]
pub(super) struct Intake {
    sources: Arc<BTreeMap<SourceName, Ingest>>,
    body_limit: usize,
}

impl Intake {
    fn source(&self, name: &str) -> Result<&Ingest, Problem> {
        self.sources.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.sources.keys().map(SourceName::as_str).collect();
            Problem::new(Kind::UnknownSource, format!("there is no source `{name}`; there are {}", known.join(", ")))
        })
    }
}

/// The routes that take events in.
pub(super) fn router(sources: BTreeMap<SourceName, Ingest>, body_limit: usize) -> Router {
    Router::new()
        .route("/v1/sources/{source}/events", post(append))
        .route("/v1/sources/{source}/producers/{producer}", get(producer))
        .with_state(Intake { sources: Arc::new(sources), body_limit })
}

/// What became of the events sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Records appended now.
    accepted: u64,
    /// Rows that the producer had had appended before.
    duplicates: u64,
    /// Where they are: half-open ranges of offsets.
    positions: Vec<Range>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Range {
    #[schema(value_type = u32)]
    partition: Partition,
    #[schema(value_type = u64)]
    from: Position,
    #[schema(value_type = u64)]
    to: Position,
}

impl Accepted {
    fn of(sent: u64, appended: Appended) -> Self {
        let range = |(partition, range): (Partition, common::position::OffsetRange)| Range {
            partition,
            from: range.from,
            to: range.to,
        };
        Self {
            accepted: sent - appended.duplicates,
            duplicates: appended.duplicates,
            positions: appended.ranges.into_iter().map(range).collect(),
        }
    }
}

/// Takes events in, and answers when they are durable.
#[utoipa::path(
    post,
    path = "/v1/sources/{source}/events",
    params(
        ("source" = String, Path, description = "The source"),
        ("highwater-producer" = Option<String>, Header, description = "Who numbers its rows", max_length = 256),
        ("highwater-row" = Option<u64>, Header, description = "The number of the body's first row")
    ),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"), (String = "application/octet-stream"),
        (String = "application/vnd.highwater.records"))),
    responses((status = 200, description = "They are durable", body = Accepted))
)]
pub(super) async fn append(
    State(intake): State<Intake>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Accepted>, Problem> {
    let Path(source) = path?;
    let source = intake.source(&source)?;
    let own = if source.lines { (Form::Lines, LINES) } else { (Form::One, ONE) };
    body::check_content_type(&headers, &[own.1, &[RECORDS]].concat())?;
    let named = headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(RECORDS.as_bytes()));
    let form = if named { Form::Records } else { own.0 };
    let run = producer_run(&headers)?;
    let body = body::read(body, intake.body_limit, "body_limit").await?;
    let key = source.key.clone();
    let split = tokio::task::spawn_blocking(move || match form {
        Form::Lines => records(&body, key.as_ref()),
        Form::One => record(body),
        Form::Records => whole(body),
    });
    let records = split.await.map_err(|panic| Problem::internal(&panic))??;
    let sent = records.len() as u64;
    let appended = match sent {
        0 => Appended { ranges: Vec::new(), duplicates: 0 },
        _ => source.log.append(records, run).await?,
    };
    Ok(Json(Accepted::of(sent, appended)))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Producer {
    next_row: u64,
}

/// Which row of a producer is due.
#[utoipa::path(
    get,
    path = "/v1/sources/{source}/producers/{producer}",
    params(("source" = String, Path, description = "The source"), ("producer" = String, Path, description = "The producer")),
    responses((status = 200, description = "The next row", body = Producer))
)]
pub(super) async fn producer(
    State(intake): State<Intake>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Producer>, Problem> {
    let Path((source, producer)) = path?;
    let next_row = intake.source(&source)?.log.next_row(&producer).await?;
    Ok(Json(Producer { next_row }))
}

/// The run that the headers number the records by, if they do.
fn producer_run(headers: &HeaderMap) -> Result<Option<ProducerRun>, Problem> {
    let text = |name: &str| {
        let invalid = || Problem::new(Kind::InvalidHeader, format!("{name} is not text"));
        headers.get(name).map(|value| value.to_str().map_err(|_| invalid())).transpose()
    };
    let both = |detail: String| Problem::new(Kind::InvalidHeader, detail);
    match (text(PRODUCER)?, text(ROW)?) {
        (None, None) => Ok(None),
        (Some(producer), _) if producer.is_empty() || producer.len() > PRODUCER_LENGTH_MAX => {
            Err(both(format!("{PRODUCER} must be 1 to {PRODUCER_LENGTH_MAX} bytes long")))
        }
        (Some(producer), Some(row)) => {
            let first_row = row
                .parse()
                .map_err(|_| both(format!("{ROW} is `{row}`, must be the number of the first row, 0 or more")))?;
            Ok(Some(ProducerRun { producer: producer.to_owned(), first_row }))
        }
        (Some(_), None) => Err(both(format!("{PRODUCER} without {ROW}, the number of the first row"))),
        (None, Some(_)) => Err(both(format!("{ROW} without {PRODUCER}, whose rows are numbered"))),
    }
}

/// The records of an NDJSON body: one a line, blank lines passed over.
fn records(body: &Bytes, key: Option<&schema::Path>) -> Result<Vec<NewRecord>, Problem> {
    let mut records = Vec::new();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if line.len() > RECORD_BYTES_MAX {
            let detail = format!(
                "line {} has {} bytes, a record may have {RECORD_BYTES_MAX}; nothing of the body was taken",
                index + 1,
                line.len()
            );
            return Err(Problem::new(Kind::RecordTooLarge, detail));
        }
        let key = key.and_then(|path| path.text(line));
        records.push(NewRecord { key, headers: Vec::new(), value: Some(body.slice_ref(line)) });
    }
    Ok(records)
}

/// The records of a body that says all of each.
fn whole(body: Bytes) -> Result<Vec<NewRecord>, Problem> {
    let records = common::log::records::decode(body).map_err(|detail| Problem::new(Kind::BodyIncomplete, detail))?;
    match records.iter().position(|record| record.value.as_ref().is_some_and(|value| value.len() > RECORD_BYTES_MAX)) {
        Some(at) => {
            let detail =
                format!("record {} has more than {RECORD_BYTES_MAX} bytes; nothing of the body was taken", at + 1);
            Err(Problem::new(Kind::RecordTooLarge, detail))
        }
        None => Ok(records),
    }
}

/// The record that is a whole body.
fn record(body: Bytes) -> Result<Vec<NewRecord>, Problem> {
    if body.len() > RECORD_BYTES_MAX {
        let detail = format!("the body has {} bytes, a record may have {RECORD_BYTES_MAX}", body.len());
        return Err(Problem::new(Kind::RecordTooLarge, detail));
    }
    Ok(vec![NewRecord { key: None, headers: Vec::new(), value: Some(body) }])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn keys(body: &'static str) -> Vec<Option<String>> {
        let records = records(&Bytes::from_static(body.as_bytes()), Some(&schema::Path::member("k"))).unwrap();
        records.into_iter().map(|r| r.key.map(|k| String::from_utf8(k.to_vec()).unwrap())).collect()
    }

    #[test]
    fn a_key_is_the_text_of_a_string_or_the_value_as_written() {
        let body = "{\"k\":\"a\\u0062\"}\n{\"k\":12}\n{\"k\":null}\n{\"x\":1}\nbroken\n[1]\n{\"a\":{\"k\":1}}";
        let expected = [Some("ab"), Some("12"), None, None, None, None, None];
        assert_eq!(keys(body), expected.map(|k| k.map(ToOwned::to_owned)));
    }

    #[test]
    fn l7_every_line_that_is_not_blank_becomes_a_record() {
        let body = Bytes::from_static(b"\n{\"a\":1}\r\n  \nbroken {\n\xff\xfe\n\r\n{\"a\":2}");
        let values: Vec<_> = records(&body, None).unwrap().into_iter().map(|r| r.value.unwrap()).collect();
        assert_eq!(values, [b"{\"a\":1}".as_slice(), b"broken {", b"\xff\xfe", b"{\"a\":2}"]);
    }
}
