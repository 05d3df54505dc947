//! The page, clicked through in a real browser against the real program with real flights.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::testing::{browser, python};
use serde_json::json;

use crate::process::{Server, flights, highwater, succeeds};

/// Rows of the sample that are in the first generation, and that come in while the page is open.
const EARLIER: usize = 6_000;
const LATER: usize = 1_500;

/// `secret`, as sha256sum prints it.
const SHA256: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A folder with the flights' pipeline, which asks for a token, and two files of departures.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipeline = fs::read_to_string(flights().join("pipeline.toml")).expect("the flights have a pipeline");
    let pipeline = pipeline.replace("127.0.0.1:8080", "127.0.0.1:0").replace("interval = \"10s\"", "interval = \"1s\"");
    let pipeline = pipeline.replace("advance_every = \"5m\"", "advance_every = \"1h\"");
    let token = format!("\n[serving.tokens.page]\nsha256 = \"{SHA256}\"\nrole = \"admin\"\n");
    fs::write(folder.path().join("pipeline.toml"), pipeline + &token).expect("the folder is writable");
    fs::create_dir(folder.path().join("views")).expect("the folder is new");
    for view in ["departures_by_hour", "routes_by_week"] {
        let file = format!("views/{view}.sql");
        fs::copy(flights().join(&file), folder.path().join(&file)).expect("the view is there");
    }
    let rows = succeeds(Command::new("gzip").arg("-dc").arg(flights().join("sample/departures.ndjson.gz")));
    let rows: Vec<&str> = rows.lines().collect();
    for (name, rows) in [("earlier", &rows[..EARLIER]), ("later", &rows[EARLIER..EARLIER + LATER])] {
        let path = folder.path().join(name).with_extension("ndjson");
        fs::write(path, rows.join("\n") + "\n").expect("the folder is writable");
    }
    folder
}

/// A command as the script runs it.
fn command(arguments: &[&str], folder: &Path) -> String {
    let pipeline = folder.join("pipeline.toml");
    let program = [env!("CARGO_BIN_EXE_highwater"), "--pipeline", pipeline.to_str().expect("the path is UTF-8")];
    json!([&program, arguments].concat()).to_string()
}

#[test]
fn the_page_is_clicked_through() {
    let (Some(python), Some(browser)) = (python::interpreter(), browser::chromium()) else { return };
    let folder = folder();
    let run = |arguments: &[&str]| succeeds(highwater(arguments).current_dir(folder.path()));
    run(&["load", "--source", "departures", "earlier.ndjson"]);
    run(&["batch", "advance"]);
    run(&["batch", "audit", "--view", "departures_by_hour"]);
    let server = Server::start("run", folder.path());
    let shots = std::env::var_os("HIGHWATER_SCREENSHOTS").map_or_else(|| folder.path().to_owned(), PathBuf::from);
    let later = folder.path().join("later.ndjson");
    let later = later.to_str().expect("the path is UTF-8");
    let more = command(&["replay", "--source", "departures", later, "--url", &server.url()], folder.path());
    let advance = command(&["batch", "advance"], folder.path());
    let mut script = Command::new(python);
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/page/click.py"));
    script.args([server.url().as_ref(), browser.as_os_str(), shots.as_os_str()]);
    script.envs([("MORE", more.as_str()), ("ADVANCE", advance.as_str()), ("HIGHWATER_TOKEN", "secret")]);
    assert_eq!(succeeds(&mut script).trim(), "clicked through");
    server.stop("TERM");
}
