//! A server that speaks S3's protocol, for tests: moto, run by the Python of [`super::python`], and ended when this process
//! ends. [`Proxy`] stands before it and lets requests go wrong.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use url::Url;

mod proxy;

pub use self::proxy::{Fault, Proxy};
use super::python;
use crate::store::{Options, Store};

/// Serves until its standard input ends, which it does with the process that holds the other end.
const SCRIPT: &str = "import os, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
";

/// A server with empty buckets of any number.
#[derive(Debug)]
pub struct Server {
    /// Ends with this process: its standard input does.
    _child: Child,
    port: u16,
}

impl Server {
    /// The server that all tests of this process share; `None` if there is no Python to run it.
    ///
    /// # Panics
    /// If it does not start.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        SHARED.get_or_init(|| python::interpreter().map(Self::start)).as_ref()
    }

    fn start(interpreter: &std::path::Path) -> Self {
        let mut command = Command::new(interpreter);
        command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the interpreter was run before");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        output.read_line(&mut line).expect("the script prints text");
        let port = line.trim().parse().expect("moto starts, and the script prints its port");
        Self { _child: child, port }
    }

    /// The address, as `127.0.0.1:5000`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Makes a bucket that no other test has, and returns its name.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn bucket(&self) -> String {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let name = format!("bucket-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        let made = reqwest::Client::new().put(format!("http://{}/{name}", self.address())).send().await;
        assert!(made.expect("the server answers").status().is_success(), "a bucket is made");
        name
    }
}

/// The options by which a bucket is reached whose server, or proxy, is at `address`.
#[must_use]
pub fn options(address: &str) -> Vec<(&'static str, String)> {
    let fixed = [("access_key_id", "highwater"), ("secret_access_key", "of no account"), ("allow_http", "true")];
    let endpoint = [("endpoint", format!("http://{address}")), ("region", "us-east-1".to_owned())];
    fixed.map(|(name, value)| (name, value.to_owned())).into_iter().chain(endpoint).collect()
}

/// The store below `prefix` of `bucket`, reached at `address`; it hardly waits before it tries again.
///
/// # Panics
/// If the options are refused.
#[must_use]
pub fn store(address: &str, bucket: &str, prefix: &str) -> Store {
    let url = Url::parse(&format!("s3://{bucket}/{prefix}")).expect("names of buckets make URLs");
    let mut given = Options::default();
    for (name, value) in options(address) {
        given.set(&url, name, &value).expect("the options are S3's");
    }
    Store::open_impatient(&url, &given).expect("the options are complete")
}
