#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails as it should")]

use std::{fs, path::Path};

use bytesize::ByteSize;
use jiff::SignedDuration;

mod formats;
mod kafka;

use super::{Diagnostic, Pipeline};
use crate::schema::{Column, ColumnType, Path as ValuePath, Range, TimestampFormat};

/// The least that a pipeline file has.
const LEAST: &str = "name = \"flights\"\n\n[sources.departures]\nevent_time = \"departed_at\"\n\n[sources.departures.columns]\n\
                     departed_at = \"timestamp\"\ncarrier = \"string?\"\n";

const VIEW: &str = "CREATE VIEW by_hour AS\nSELECT date_trunc('hour', departed_at) AS hour, count(*)\nFROM departures\nGROUP BY hour\n";

/// What loading `toml` and the `views` (file name and text) beside it gives.
fn load(toml: &str, views: &[(&str, &str)]) -> Result<Pipeline, Vec<Diagnostic>> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("views")).unwrap();
    fs::write(directory.path().join("pipeline.toml"), toml).unwrap();
    for (name, sql) in views {
        fs::write(directory.path().join("views").join(name), sql).unwrap();
    }
    let environment = |name: &str| match name {
        "CLUSTER" => Some("from-the-environment".to_owned()),
        "PORT" => Some("9090".to_owned()),
        _ => None,
    };
    let home = format!("{}/", directory.path().display());
    Pipeline::load_with(&directory.path().join("pipeline.toml"), &environment).map_err(|mut diagnostics| {
        for diagnostic in &mut diagnostics {
            diagnostic.file = diagnostic.file.replace(&home, "");
            diagnostic.message = diagnostic.message.replace(&home, "");
        }
        diagnostics
    })
}

/// What is said of a pipeline file.
fn said(toml: &str, views: &[(&str, &str)]) -> String {
    match load(toml, views) {
        Ok(_) => "nothing".to_owned(),
        Err(diagnostics) => diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"),
    }
}

#[test]
fn the_file_of_the_documentation() {
    let pipeline = load(
        r#"
name = "flights"                    # the cluster's name

[store]
url = "file:state/store"

[log]
directory = "state/log"

[commit]
interval = "2s"
size = "1MiB"

[serving]
listen = "0.0.0.0:80"
body_limit = "1 KiB"
query_rows = 10
cache = "state/chunks"
cache_size = "1 GiB"
query_timeout = "5s"
requests_per_second = 50
tokens.till = { sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", role = "write" }
tokens.board = { sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", role = "read", views = ["by_hour"] }

[batch]
advance_every = "1h 30m"
memory = "2GiB"

[sources.departures]
partitions = 2
event_time = "departed_at"
key = "tail_number"
ahead_max = "1h"
behind_max = "3650d"

[sources.departures.columns]
tail_number = "string"
delay_minutes = "int?"
fare = "decimal(10,2)?"
departed_at = "timestamp"
sent_at = { type = "timestamp", format = "millis" }
seats = { type = "int", min = 0, max = 9_223_372_036_854_775_806 }
load = { type = "double?", min = 0.5 }
captain = { type = "int", path = "$.crew.members[0]['staff id']" }
"#,
        &[("by_hour.sql", VIEW), ("notes.txt", "not a view")],
    )
    .unwrap();
    assert_eq!(pipeline.name, "flights");
    assert!(pipeline.store.as_str().starts_with("file:///") && pipeline.store.as_str().ends_with("/state/store"));
    assert!(pipeline.log_directory.is_absolute() && pipeline.log_directory.ends_with("state/log"));
    assert_eq!((pipeline.commit_interval, pipeline.commit_size), (SignedDuration::from_secs(2), ByteSize::mib(1)));
    assert_eq!(
        (pipeline.serving.listen.to_string(), pipeline.serving.body_limit),
        ("0.0.0.0:80".to_owned(), ByteSize::kib(1))
    );
    let queries = super::QueryLimits { rows: 10, timeout: SignedDuration::from_secs(5), ..Default::default() };
    assert_eq!(pipeline.serving.queries, queries);
    assert_eq!(pipeline.serving.requests_per_second, Some(50));
    let cache = pipeline.serving.cache.as_ref().unwrap();
    assert!(cache.directory.is_absolute() && cache.directory.ends_with("state/chunks"));
    assert_eq!(cache.size, ByteSize::gib(1));
    let [till, board] = pipeline.serving.tokens.as_slice() else { panic!("there are two tokens") };
    assert_eq!((till.name.as_str(), till.role, &till.views), ("till", super::Role::Write, &None));
    assert_eq!((board.role, &board.views), (super::Role::Read, &Some(["by_hour".to_owned()].into())));
    assert!(till.sha256.starts_with(&[0xba, 0x78]) && !format!("{till:?}").contains("186"), "a hash is not shown");
    assert_eq!(pipeline.batch.advance_every, SignedDuration::from_mins(90));
    assert_eq!(pipeline.batch.memory, ByteSize::gib(2));
    let source = &pipeline.sources["departures"];
    assert_eq!((source.partitions, source.key.as_deref()), (2, Some("tail_number")));
    assert_eq!(source.rules.event_time, "departed_at");
    assert_eq!(source.rules.ahead_max, Some(SignedDuration::from_hours(1)));
    assert_eq!(source.rules.behind_max, Some(SignedDuration::from_hours(3650 * 24)));
    let column = |name: &str, column_type, timestamp_format, nullable, range| Column {
        timestamp_format,
        nullable,
        range,
        ..Column::new(name, column_type)
    };
    let rfc3339 = TimestampFormat::Rfc3339;
    let columns = [
        column("tail_number", ColumnType::String, rfc3339, false, None),
        column("delay_minutes", ColumnType::Int, rfc3339, true, None),
        column("fare", ColumnType::Decimal { precision: 10, scale: 2 }, rfc3339, true, None),
        column("departed_at", ColumnType::Timestamp, rfc3339, false, None),
        column("sent_at", ColumnType::Timestamp, TimestampFormat::Millis, false, None),
        column("seats", ColumnType::Int, rfc3339, false, Some(Range::Int { min: 0, max: i64::MAX - 1 })),
        column("load", ColumnType::Double, rfc3339, true, Some(Range::Double { min: 0.5, max: f64::INFINITY })),
        Column {
            path: ValuePath::parse("$.crew.members[0]['staff id']").unwrap(),
            ..Column::new("captain", ColumnType::Int)
        },
    ];
    assert_eq!(source.rules.schema.columns(), columns, "in the order of the file");
    let views = pipeline.views_of(&source.name);
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].name.as_str(), "by_hour");
}

#[test]
fn the_pipeline_of_the_sample_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/flights/pipeline.toml");
    let pipeline = Pipeline::load(&path).unwrap();
    let views: Vec<String> = pipeline.views.values().map(|view| format!("{}: {}", view.name, view.sql)).collect();
    insta::assert_debug_snapshot!(views);
}

#[test]
fn what_is_left_out_has_its_default() {
    let pipeline = load(LEAST, &[]).unwrap();
    assert!(pipeline.store.as_str().ends_with("/state/store"));
    assert!(pipeline.log_directory.ends_with(super::LOG_DIRECTORY));
    assert_eq!((pipeline.commit_interval, pipeline.commit_size), (super::COMMIT_INTERVAL, super::COMMIT_SIZE));
    assert_eq!((pipeline.serving.listen, pipeline.serving.body_limit), (super::LISTEN, super::BODY_LIMIT));
    assert_eq!(pipeline.serving.cache, None);
    assert_eq!(pipeline.batch, super::Batch::default());
    let source = &pipeline.sources["departures"];
    assert_eq!((source.partitions, &source.key), (super::PARTITIONS, &None));
    assert!(pipeline.views.is_empty());
}

#[test]
fn whoever_listens_beyond_this_machine_asks_for_tokens() {
    let beyond = |more: &str| load(&format!("{LEAST}\n[serving]\nlisten = \"0.0.0.0:80\"\n{more}"), &[]);
    let faults = beyond("").unwrap_err();
    assert!(faults[0].to_string().contains("anybody could send events"), "{}", faults[0]);
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(beyond(&format!("tokens.a = {{ sha256 = \"{hash}\", role = \"read\" }}")).is_ok());
    for wrong in [
        format!("{{ sha256 = \"{hash}\" }}"),
        format!("{{ sha256 = \"{hash}\", role = \"root\" }}"),
        "{ sha256 = \"12\", role = \"read\" }".to_owned(),
    ] {
        assert!(beyond(&format!("tokens.a = {wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn stores() {
    let store = |url: &str| load(&format!("{LEAST}\n[store]\nurl = \"{url}\"\n"), &[]);
    assert_eq!(store("memory:").unwrap().store.as_str(), "memory:");
    assert_eq!(store("file:///var/lib/highwater").unwrap().store.as_str(), "file:///var/lib/highwater");
    assert!(store("file:a directory/store").unwrap().store.to_file_path().unwrap().ends_with("a directory/store"));
    for url in ["s3://bucket/prefix", "gs://bucket", "az://container/x", "abfss://c@account.dfs.core.windows.net/x"] {
        assert_eq!(store(url).unwrap().store.as_str(), url);
    }
    for url in ["s3:bucket", "s3://", "ftp://host", "file:", "state/store", "memory:x", "file://host/x"] {
        assert!(store(url).is_err(), "{url}");
    }
}

#[test]
fn a_size_needs_a_cache() {
    let with = |lines: &str| said(&format!("{LEAST}\n[serving]\n{lines}\n"), &[]);
    let alone = with("cache_size = \"1GiB\"");
    assert!(alone.contains("there is no `serving.cache`") && alone.contains("pipeline.toml:11:14"), "{alone}");
    assert_eq!(with("cache_size = \"1GiB\"\ncache = \"chunks\""), "nothing");
}

#[test]
fn options_of_a_store_are_checked_and_never_shown() {
    let with =
        |options: &str| said(&format!("{LEAST}\n[store]\nurl = \"s3://bucket/x\"\n[store.options]\n{options}\n"), &[]);
    let good = "region = \"${CLUSTER}\"\nallow_http = true\nsecret_access_key = { file = \"pipeline.toml\" }";
    assert_eq!(with(good), "nothing");
    let typo = with("secret_acces_key = \"hush\"");
    assert!(typo.contains("`secret_acces_key` is no option of S3") && !typo.contains("hush"), "{typo}");
    let gone = with("secret_access_key = { file = \"no/such\" }");
    assert!(gone.contains("`store.options.secret_access_key` cannot be read"), "{gone}");
    let strange = with("secret_access_key = { fil = \"hush\" }");
    assert!(strange.contains("other keys than file") && !strange.contains("hush"), "{strange}");
    let local = said(&format!("{LEAST}\n[store.options]\nregion = \"x\"\n"), &[]);
    assert!(local.contains("a store at `file:` has no options"), "{local}");
}

#[test]
fn protected_columns_need_what_protects_them() {
    let with = |column: &str, more: &str| {
        said(&LEAST.replace("carrier = \"string?\"", &format!("carrier = {{ {column} }}\n{more}")), &[])
    };
    let key = "[privacy]\nkey = \"sixteen letters or more\"";
    assert_eq!(with("type = \"string?\", protect = \"pseudonym\"", key), "nothing");
    assert_eq!(with("type = \"string\", protect = \"mask\"", ""), "nothing");
    assert_eq!(with("type = \"int?\", protect = \"drop\"", ""), "nothing");
    for (column, more, why) in [
        ("type = \"string?\", protect = \"pseudonym\"", "", "pseudonyms need a key"),
        ("type = \"string?\", protect = \"pseudonym\"", "[privacy]\nkey = \"hush\"", "too short"),
        ("type = \"string?\", protect = \"pseudonym\"", "[privacy]", "`privacy.key` is missing"),
        ("type = \"string\", protect = \"drop\"", "", "a column that is dropped is null"),
        ("type = \"int\", protect = \"mask\"", "", "only strings have pseudonyms and masks"),
        ("type = \"int\", protect = \"hide\"", "", "which is not a protection"),
    ] {
        let said = with(column, more);
        assert!(said.contains(why) && !said.contains("hush"), "{said}");
    }
}

#[test]
fn the_environment_fills_in() {
    let toml = LEAST.replace("\"flights\"", "\"${CLUSTER}\"")
        + "\n[serving]\nlisten = \"127.0.0.1:${PORT}\"\n[log]\ndirectory = \"a/$${PORT}\"\n";
    let pipeline = load(&toml, &[]).unwrap();
    assert_eq!(pipeline.name, "from-the-environment");
    assert_eq!(pipeline.serving.listen.port(), 9090);
    assert!(pipeline.log_directory.ends_with("a/${PORT}"));
    let toml = LEAST.replace("\"flights\"", "\"a-${NOT_SET}-${NOR_THIS}\"") + "\n[log]\ndirectory = \"${open\"\n";
    insta::assert_snapshot!(said(&toml, &[]));
}

#[test]
fn a_file_that_is_not_there() {
    let diagnostics = Pipeline::load(Path::new("no/such/pipeline.toml")).unwrap_err();
    assert_eq!(diagnostics[0].file, "no/such/pipeline.toml");
    assert!(diagnostics[0].line.is_none());
}

#[test]
fn toml_that_is_none() {
    insta::assert_snapshot!(said("name = flights\n[store\nurl = \"a\" \"b\"\nname = \"again\"\n", &[]));
    insta::assert_snapshot!(said("", &[]));
}

#[test]
fn everything_wrong_with_the_settings_is_reported() {
    insta::assert_snapshot!(said(
        r#"nam = "flights"
name = "Flights & Co"
store = "file:state"
sources = { }

[logs]
directory = "state/log"

[log]
directory = ""

[commit]
interval = 10
size = "64 parsecs"
intervall = "10s"

[serving]
listen = "localhost"
body_limit = "0B"

[batch]
advance_every = "-5m"
"#,
        &[],
    ));
}

#[test]
fn everything_wrong_with_a_source_is_reported() {
    insta::assert_snapshot!(said(
        r#"name = "flights"

[sources.Departures]
partitions = 0
event_tim = "departed_at"
key = "tail"
ahead_max = "soon"
behind_max = 3650

[sources.Departures.columns]
tail_number = "text"
_topic = "string"
event_date = "string"
"white space" = "int"
fare = "decimal(39,2)"
Fare = "decimal(10,2)"
seats = { type = "int", min = 0.5, max = 1000, maximum = 3 }
load = { type = "double", min = 2, max = nan }
rows = { type = "int", min = 2, max = 1 }
city = { type = "string", min = 1, format = "millis" }
sent_at = { type = "timestamp", format = "fortnights" }
gate = { min = 1 }
door = 7
crew = "string"
captain = { type = "int", path = "$.crew.captain" }
pilot = { type = "int", path = "$.crew.captain" }
steward = { type = "int", path = "crew.steward" }

[sources.arrivals]
event_time = "landed"
key = "carier"
[sources.arrivals.columns]
landed = "timestamp?"
carrier = "string"

[sources.cancelled]
event_time = "carrier"
[sources.cancelled.columns]
carrier = "string"

[sources.empty]
"#,
        &[("by_hour.sql", "not even looked at: its source is wrong")],
    ));
}

#[test]
fn views_that_are_wrong() {
    insta::assert_snapshot!(said(
        LEAST,
        &[
            ("a.sql", VIEW),
            ("b.sql", &VIEW.replace("'hour'", "'day'")),
            ("c.sql", &VIEW.replace("by_hour", "hourly")),
            ("d.sql", &VIEW.replace("by_hour", "d").replace("departures", "departure")),
            ("e.sql", &VIEW.replace("by_hour", "e").replace("count(*)", "sum(carier), sum(carrier)")),
            ("f.sql", "CREATE VIEW f AS SELECT"),
        ],
    ));
}

#[test]
fn the_caret_stands_below_what_is_wrong() {
    let text = "one\n\tzwölf = 'ä'\r\nlast";
    let at = text.find("'ä'").unwrap();
    let diagnostic = Diagnostic::at("a.toml", text, at..at + 4, "wrong").help("right is right");
    assert_eq!((diagnostic.line, diagnostic.column), (Some(2), Some(10)));
    insta::assert_snapshot!(diagnostic);
    for span in [0..0, 3..9, 4..4, text.len()..text.len(), 100..200, 7..8] {
        assert!(Diagnostic::at("a.toml", text, span.clone(), "wrong").to_string().contains('^'), "{span:?}");
    }
}

#[test]
fn the_history_of_views_is_kept_as_the_file_says_or_is_refused_with_what_is_allowed() {
    let with = |more: &str| format!("{LEAST}{more}");
    let views = [("by_hour.sql", VIEW)];
    let kept = load(&with("[views.by_hour]\nkeep = \"90d\"\nroll_up = \"day\"\n"), &views).unwrap();
    let history = kept.histories.values().next().unwrap();
    assert_eq!((history.keep, history.roll_up.as_deref()), (SignedDuration::from_hours(90 * 24), Some("day")));
    for (more, expected) in [
        ("[views.by_hours]\nkeep = \"90d\"\n", "did you mean `by_hour`?"),
        ("[views.by_hour]\nroll_up = \"day\"\n", "`views.by_hour.keep` is missing"),
        ("[views.by_hour]\nkeep = \"90d\"\nroll_up = \"15m\"\n", "it is a longer grain"),
        ("[views.by_hour]\nkeep = \"90d\"\nroll_up = \"hour\"\n", "it is a longer grain"),
    ] {
        let found = said(&with(more), &views);
        assert!(found.contains(expected), "{found}");
    }
}
