//! The clients themselves against a server on a socket: psql, psycopg, SQLAlchemy, tokio-postgres, and what Grafana asks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, process::Command};

use common::{
    clock::SystemClock,
    pipeline::{QueryLimits, Role, Serving, Token},
    testing::{certificates::Authority, psql::psql, python},
};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_postgres::{NoTls, SimpleQueryMessage, error::SqlState};

use super::*;
use crate::{
    testing::{tiers, views_by_name},
    tls::Certificate,
};

fn served(limits: QueryLimits) -> Arc<Served> {
    let served = Arc::new(Served::new(views_by_name()).with_limits(limits));
    served.show(tiers());
    served
}

/// A server that listens.
struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
}

impl Listening {
    async fn new(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(Arc::new(server).serve(listener, 8, stop.clone()));
        Self { address, stop, serving }
    }

    async fn open() -> Self {
        Self::with(&Serving::default(), None).await
    }

    async fn with(settings: &Serving, tls: Option<TlsAcceptor>) -> Self {
        let access = Arc::new(Access::new(settings));
        Self::new(Server::new(served(settings.queries), access, tls).unwrap()).await
    }

    async fn client(&self) -> (tokio_postgres::Client, JoinHandle<()>) {
        let config = format!("host=127.0.0.1 port={} user=any dbname=views", self.address.port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        (client, tokio::spawn(async move { drop(connection.await) }))
    }

    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("none", SqlState::code)
}

#[tokio::test]
async fn tokio_postgres_asks_at_once_and_prepared() {
    let server = Listening::open().await;
    let (mut client, connection) = server.client().await;
    let rows =
        client.simple_query("SELECT 1; SELECT sum(departures) AS n FROM delays; SHOW server_version").await.unwrap();
    let row = |at: usize| {
        rows.iter().filter_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None }).nth(at)
    };
    assert_eq!((row(0), row(1), row(2)), (Some("1"), Some("120"), Some("15.0")));

    let sql = "SELECT origin, MEASURE(departures) AS n, MEASURE(mean_delay) AS mean FROM delays \
               WHERE origin = $1 AND hour < '2013-02-03T00:00:00Z' GROUP BY origin";
    let prepared = client.prepare(sql).await.unwrap();
    let types: Vec<&str> = prepared.columns().iter().map(|column| column.type_().name()).collect();
    assert_eq!((prepared.params()[0].name(), types.as_slice()), ("text", ["text", "int8", "float8"].as_slice()));
    for origin in ["JFK", "LGA"] {
        let row = client.query_one(&prepared, &[&origin]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), origin);
        assert!(row.get::<_, i64>(1) > 0 && row.get::<_, Option<f64>>(2).is_some());
    }
    let none =
        client.query("SELECT origin FROM delays WHERE departures > $1 LIMIT $2", &[&1000_i64, &5_i64]).await.unwrap();
    assert!(none.is_empty());
    let one: i32 = client.query_one("SELECT 1 WHERE $1::bool", &[&true]).await.unwrap().get(0);
    assert_eq!(one, 1);

    // Portals hold rows, and tell them a few at a time.
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT hour, carrier, departures FROM delays ORDER BY hour", &[]).await.unwrap();
    let mut told = 0;
    loop {
        let rows = transaction.query_portal(&portal, 7).await.unwrap();
        assert!(rows.len() <= 7);
        if rows.is_empty() {
            break;
        }
        told += rows.iter().map(|row| row.get::<_, i64>(2)).sum::<i64>();
    }
    assert_eq!(told, 120);
    transaction.commit().await.unwrap();
    drop(client);
    connection.await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn what_is_wrong_has_its_sqlstate_and_its_place() {
    let server = Listening::with(
        &Serving { queries: QueryLimits { rows: 10, ..QueryLimits::default() }, ..Serving::default() },
        None,
    )
    .await;
    let (client, connection) = server.client().await;
    for (sql, expected, place) in [
        ("SELEC 1", "42601", Some(1)),
        ("SELECT *\nFROM delay", "42P01", Some(15)),
        ("INSERT INTO delays VALUES (1)", "25006", Some(1)),
        ("CREATE TABLE x (y int)", "25006", Some(1)),
        ("BEGIN READ WRITE", "25006", None),
        ("SELECT departures FROM delays", "54000", None),
        ("SELECT MEASURE(departure) FROM delays", "42703", Some(16)),
        ("SELECT * FROM pg_class c JOIN delays d ON d.origin = c.relname", "42P01", Some(15)),
        ("SELECT nothing FROM pg_class", "42703", Some(8)),
        ("SELECT nothing(1)", "42000", None),
        ("DECLARE c CURSOR FOR SELECT 1", "0A000", Some(1)),
        ("SHOW nothing", "42704", None),
    ] {
        let error = client.simple_query(sql).await.expect_err(sql);
        let told = error.as_db_error().unwrap();
        let at = told.position().map(|place| match place {
            tokio_postgres::error::ErrorPosition::Original(at) => *at,
            tokio_postgres::error::ErrorPosition::Internal { .. } => 0,
        });
        assert_eq!((code(&error), at), (expected, place), "{sql}: {}", told.message());
        let prepared = client.query(sql, &[]).await.expect_err(sql);
        assert_eq!(code(&prepared), expected, "{sql}");
    }
    // A transaction that failed takes nothing but its end.
    client.simple_query("BEGIN").await.unwrap();
    client.simple_query("SELECT * FROM delay").await.unwrap_err();
    assert_eq!(code(&client.simple_query("SELECT 1").await.unwrap_err()), "25P02");
    client.simple_query("ROLLBACK").await.unwrap();
    client.simple_query("SET statement_timeout = '1ms'; DISCARD ALL; SELECT 1").await.unwrap();
    drop(client);
    connection.await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_statement_that_waits_is_cancelled_and_so_is_one_whose_client_leaves() {
    let served = served(QueryLimits::default());
    let permits = Arc::clone(served.permits());
    let all = Arc::clone(&permits).acquire_many_owned(permits.available_permits() as u32).await.unwrap();
    let server = Server::new(served, Arc::new(Access::new(&Serving::default())), None).unwrap();
    let server = Arc::new(server);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(Arc::clone(&server).serve(listener, 8, stop.clone()));
    let listening = Listening { address, stop, serving };
    let (client, connection) = listening.client().await;
    let token = client.cancel_token();
    let error = {
        let waiting = client.simple_query("SELECT 1");
        tokio::pin!(waiting);
        // It waits for a permit; each request to cancel comes to it sooner or later.
        loop {
            tokio::select! {
                done = &mut waiting => break done.unwrap_err(),
                cancelled = token.cancel_query(NoTls) => cancelled.unwrap(),
            }
        }
    };
    assert_eq!(code(&error), "57014");
    // Who leaves while a statement waits is noticed, and its connection ends.
    let leaving = tokio::spawn(async move { drop(client.simple_query("SELECT 1").await) });
    tokio::task::yield_now().await;
    connection.abort();
    leaving.abort();
    drop(all);
    listening.end().await;
    assert!(server.running.lock().unwrap().is_empty(), "no connection is left");
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn psql_lists_views_and_describes_them() {
    let server = Listening::open().await;
    let port = server.address.port().to_string();
    let asked = move |commands: &[&str]| {
        let mut psql = psql()?;
        psql.args(["-h", "127.0.0.1", "-p", &port, "-U", "any", "-d", "views", "-v", "ON_ERROR_STOP=1"]);
        psql.args(commands.iter().flat_map(|command| ["-c", command]));
        Some(run(psql))
    };
    let told = spawn_blocking(move || {
        let listed = asked(&["\\d", "\\dt", "\\dn", "\\l", "\\du", "\\df", "\\di", "\\dv", "\\dp"])?;
        let described = asked(&["\\d delays", "\\d+ totals", "\\dt+"])?;
        let answered = asked(&[
            "SELECT origin, MEASURE(departures) AS n FROM delays GROUP BY origin ORDER BY origin",
            "\\set FETCH_COUNT 0",
        ])?;
        Some((listed, described, answered))
    });
    if let Some((listed, described, answered)) = told.await.unwrap() {
        assert!(listed.contains(" public | delays | table | any"), "{listed}");
        for line in [
            "Table \"public.delays\"",
            " hour           | timestamp with time zone |",
            " origin         | text                     |",
            " departures     | bigint                   |",
            " mean_delay     | double precision         |",
            " fares          | numeric(38,2)            |",
            "measure, exact; MEASURE(departures)",
        ] {
            assert!(described.contains(line), "{line} is not in {described}");
        }
        assert!(!described.contains("top_origins"), "lists are no columns");
        assert!(answered.contains(" JFK    |"), "{answered}");
    }
    server.end().await;
}

#[tokio::test]
async fn psycopg_and_sqlalchemy_read_views_and_reflect_them() {
    let server = Listening::open().await;
    let port = server.address.port().to_string();
    let told = spawn_blocking(move || {
        let mut command = Command::new(python::interpreter()?);
        command.args(["-c", include_str!("tests/clients.py"), &port]);
        Some(run(command))
    });
    let Some(told) = told.await.unwrap() else { return server.end().await };
    let found: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(found["version"], 150_000);
    assert_eq!(found["hour"], "2013-02-01T00:00:00+00:00");
    assert_eq!(found["rows"].as_array().unwrap().len(), 4);
    assert_eq!(found["errors"], json!([["25006", "1"], ["42P01", "15"], ["42601", null], ["42703", null]]));
    assert_eq!(
        (&found["schemas"], &found["tables"]),
        (&json!(["information_schema", "public"]), &json!(["delays", "totals"]))
    );
    assert_eq!(found["columns"][0], json!(["hour", "TIMESTAMP"]));
    assert_eq!(found["columns"][8], json!(["fares", "NUMERIC(38, 2)"]));
    assert_eq!((&found["keys"], &found["after"]), (&json!([[], [], []]), &json!(1)));
    assert_eq!(found["sums"].as_array().unwrap().len(), 2);
    server.end().await;
}

#[tokio::test]
async fn what_grafana_asks_is_answered() {
    let server = Listening::open().await;
    let (client, connection) = server.client().await;
    let queries = |text: &'static str| {
        text.split(';').filter(|sql| sql.lines().any(|line| !line.is_empty() && !line.starts_with("--")))
    };
    let mut meta = Vec::new();
    for sql in queries(include_str!("tests/grafana/meta.sql")) {
        meta.push(client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")));
    }
    let texts = |rows: &[tokio_postgres::Row]| rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
    assert_eq!(meta[0][0].get::<_, i32>(0), 1500);
    assert_eq!((meta[1].len(), texts(&meta[2])), (0, vec!["public".to_owned()]));
    assert_eq!(
        (texts(&meta[3]), texts(&meta[4])),
        (vec!["delays".into(), "totals".into()], vec!["delays".into(), "totals".into()])
    );
    assert_eq!(texts(&meta[5])[..4], ["hour", "carrier", "origin", "departures"]);
    for sql in queries(include_str!("tests/grafana/panels.sql")) {
        let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(rows.len() > 1, "{sql}");
    }
    drop(client);
    connection.await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn tls_and_scram_let_in_who_knows_the_password_and_show_what_it_may_see() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let certificate = Certificate::load(authority.sign("server"), Arc::new(SystemClock)).unwrap();
    let board = Token {
        name: "board".to_owned(),
        sha256: [0; 32],
        scram: Some(verifier("a long and random one").unwrap()),
        role: Role::Read,
        views: Some(["totals".to_owned()].into()),
    };
    let nobody = Token { name: "nobody".to_owned(), scram: None, ..board.clone() };
    let settings = Serving { tokens: vec![board, nobody], ..Serving::default() };
    let server = Listening::with(&settings, Some(certificate.acceptor(ALPN).unwrap())).await;
    let (port, authority) = (server.address.port().to_string(), authority.certificate());
    let told = spawn_blocking(move || {
        let mut command = Command::new(python::interpreter()?);
        command.args(["-c", include_str!("tests/encrypted.py"), &port]).arg(authority).arg("'a long and random one'");
        Some(run(command))
    });
    if let Some(told) = told.await.unwrap() {
        let found: Value = serde_json::from_str(&told).unwrap();
        let wrong = |user: &str| format!("password authentication failed for user \"{user}\"");
        let plain = "connections are encrypted here: sslmode=require";
        assert_eq!(found, json!([[["totals"], 120, "42501"], wrong("board"), wrong("nobody"), plain]));
    }
    server.end().await;
}
