//! The real binary as a child process.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use serde_json::Value;

/// The folder of the flights' pipeline.
pub(crate) fn flights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/flights")
}

/// The program with these arguments, its log at `debug`, nothing on standard input.
pub(crate) fn highwater<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(arguments: I) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(arguments).stdin(Stdio::null());
    command.env("HIGHWATER_LOG", "warn,highwater=debug,common=debug,speed=debug,batch=debug,serving=debug");
    command
}

/// Sends `signal`, as `TERM`, to a child that was not waited for yet.
pub(crate) fn send(child: &Child, signal: &str) {
    // The shell's own `kill`: not every machine has one as a program.
    succeeds(Command::new("sh").args(["-c", "kill -s $0 $1", signal, &child.id().to_string()]));
}

/// The text a command wrote, whether it went well or not.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A role that runs until it is stopped, killed should the test fail before that.
pub(crate) struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `role` on the pipeline in `folder` and waits until it listens.
    pub(crate) fn start(role: &str, folder: &Path) -> Self {
        Self::start_with(role, &folder.join("pipeline.toml"))
    }

    /// The same with a pipeline file of any name.
    pub(crate) fn start_with(role: &str, pipeline: &Path) -> Self {
        let mut command = highwater([role, "--log-format", "json", "--pipeline"]);
        command.arg(pipeline);
        Self::of(command)
    }

    /// Starts `command`, whose log is JSON, and waits until it listens.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("standard error is piped"));
        let mut lines = String::new();
        let address = loop {
            let start = lines.len();
            let read = log.read_line(&mut lines).expect("log lines are UTF-8");
            assert!(read > 0, "{command:?} ended before it listened:\n{lines}");
            let line: Value = serde_json::from_str(&lines[start..]).expect("log lines are JSON");
            if line["message"] == "listening" {
                break line["address"].as_str().expect("the line has an address").parse().expect("it is one");
            }
        };
        Self { child, log, address }
    }

    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Reads the log until a line has this message.
    pub(crate) fn wait_for(&mut self, message: &str) -> Value {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            let read = self.log.read_line(&mut seen).expect("log lines are UTF-8");
            assert!(read > 0, "ended before it said `{message}`:\n{seen}");
            let line: Value = serde_json::from_str(&seen[start..]).expect("log lines are JSON");
            if line["message"] == message {
                return line;
            }
        }
    }

    /// Sends `signal`, as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        send(&self.child, signal);
    }

    /// Asks for a graceful stop with `signal`, and waits for it to end well. What it logged since it was last asked.
    pub(crate) fn stop(mut self, signal: &str) -> String {
        self.signal(signal);
        // One that is frozen does not hear it before it goes on.
        self.signal("CONT");
        let mut log = String::new();
        std::io::Read::read_to_string(&mut self.log, &mut log).expect("log lines are UTF-8");
        let status = self.child.wait().expect("the child is waited for once");
        assert!(status.success(), "{status}:\n{log}");
        assert!(log.contains("\"stopped\""), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, or the test has failed and the child must not outlive it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, which must be a good one, and returns what it wrote to standard output.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    assert!(status.success(), "{command:?}: {status}\n{}\n{}", text(&stdout), text(&stderr));
    text(&stdout)
}

/// Runs a command to its end, which must not be a good one, and returns what it wrote to standard error.
pub(crate) fn fails(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.env("HIGHWATER_LOG", "off").output().expect("the program starts");
    assert!(!status.success(), "{command:?} went well:\n{}", text(&stdout));
    text(&stderr)
}
