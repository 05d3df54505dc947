//! A real Kafka broker for tests: `deploy/kafka/broker` runs it, and ends it when this process does, however that happens.
//!
//! Where there is no Java or Maven, tests of the broker say so in one plain line and pass; with `HIGHWATER_REQUIRE_KAFKA`
//! set, as in `.ci/run`, they fail.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use serde::Deserialize;

use super::passed_over;
use crate::log::kafka::Settings;

/// The exit code by which the script says that Java or Maven is not there.
const NOT_THERE: i32 = 3;

/// A broker that runs until it is dropped.
#[derive(Debug)]
pub struct Broker {
    supervisor: Child,
    listening: Listening,
}

/// What the script prints when the broker answers.
#[derive(Debug, Deserialize)]
struct Listening {
    pid: u32,
    plaintext: String,
    ssl: Option<String>,
    sasl_ssl: Option<String>,
    controller: String,
}

impl Broker {
    /// Starts a broker with these options of `deploy/kafka/broker run`; `None` if there is nothing to run it with.
    ///
    /// # Panics
    /// If it does not start, or there is nothing to run it with and `HIGHWATER_REQUIRE_KAFKA` is set.
    #[must_use]
    pub fn start<I: IntoIterator<Item: Into<OsString>>>(options: I) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/broker");
        let mut command = Command::new("python3");
        command.arg(script).args(["run", "--light"]).args(options.into_iter().map(Into::into));
        let mut supervisor = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => return skip(&format!("python3 could not be started: {error}")),
        };
        let mut line = String::new();
        let mut output = BufReader::new(supervisor.stdout.take().expect("standard output is piped"));
        output.read_line(&mut line).expect("the script writes text");
        if line.is_empty() {
            let status = supervisor.wait().expect("it is waited for once");
            assert_eq!(status.code(), Some(NOT_THERE), "the broker did not start (its words are above)");
            return skip("there is no Java or Maven");
        }
        let listening = serde_json::from_str(&line).expect("the script writes JSON");
        Some(Self { supervisor, listening })
    }

    /// The broker that all tests of this process share; `None` as for [`Broker::start`].
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start::<[&str; 0]>([])).as_ref()
    }

    /// The process of the broker itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.listening.pid
    }

    /// Where it listens without encryption.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.listening.plaintext
    }

    /// Where it listens with TLS, and with TLS and SASL, if it was asked to.
    #[must_use]
    pub fn secure_addresses(&self) -> Option<(&str, &str)> {
        self.listening.ssl.as_deref().zip(self.listening.sasl_ssl.as_deref())
    }

    /// Where further nodes of its cluster find it.
    #[must_use]
    pub fn controller(&self) -> &str {
        &self.listening.controller
    }

    /// How to reach it: what takes clients long by default, because real clusters are large, takes them short.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let quick = [("topic.metadata.refresh.interval.ms", "200"), ("reconnect.backoff.max.ms", "200")];
        let properties = quick.map(|(property, value)| (property.to_owned(), value.to_owned()));
        Settings::new(self.address(), BTreeMap::from(properties))
    }
}

impl Drop for Broker {
    /// The script kills the broker when its standard input ends, and then ends itself.
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // There is nothing to do about a child that cannot be waited for.
        let _ = self.supervisor.wait();
    }
}

fn skip<T>(why: &str) -> Option<T> {
    passed_over("a Kafka broker", "HIGHWATER_REQUIRE_KAFKA", why)
}
