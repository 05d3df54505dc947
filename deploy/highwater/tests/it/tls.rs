//! TLS from end to end: commands reach a server whose authority they are told, and new certificates are shown without a restart.

use std::{fs, path::Path, process::Command};

use common::{pipeline::TlsFiles, testing::certificates::Authority};

use crate::{
    commands::{PIPELINE, shop, write},
    process::{Server, fails, highwater, succeeds},
};

/// Puts a certificate where the server looks for it.
fn show(folder: &Path, files: &TlsFiles) {
    fs::copy(&files.certificate, folder.join("shown.pem")).expect("the folder is writable");
    fs::copy(&files.key, folder.join("shown.key")).expect("the folder is writable");
}

/// The program with these arguments in `folder`, believing `authority`.
fn believing(authority: &Authority, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = highwater(arguments);
    command.current_dir(folder).arg("--ca").arg(authority.certificate());
    command
}

#[test]
fn commands_believe_whom_they_are_told_and_a_new_certificate_is_shown_after_a_signal() {
    let folder = shop();
    let folder = folder.path();
    let (before, after) = (Authority::new(folder, "before"), Authority::new(folder, "after"));
    show(folder, &before.sign("first"));
    let tls = "\n[serving.tls]\ncertificate = \"shown.pem\"\nkey = \"shown.key\"\n";
    write(folder, "pipeline.toml", &(PIPELINE.to_owned() + tls));
    let mut server = Server::start("run", folder);
    // Commands read in the file where it listens.
    let listening = PIPELINE.replace("127.0.0.1:0", &server.address.to_string());
    write(folder, "pipeline.toml", &(listening + tls));

    let sent = succeeds(&mut believing(&before, folder, &["replay", "--source", "orders", "rows.ndjson"]));
    assert!(sent.contains("5 rows sent"), "{sent}");
    server.wait_for("committed");
    let answered = succeeds(&mut believing(&before, folder, &["query", "sales", "--format", "csv", "-m", "orders"]));
    assert_eq!(answered, "orders\n3\n");
    let by_name = format!("https://localhost:{}/", server.address.port());
    let audited = succeeds(&mut believing(&before, folder, &["batch", "audit", "--url", &by_name]));
    assert!(audited.starts_with("equal\n"), "{audited}");

    let unknown = fails(highwater(["query", "sales"]).current_dir(folder));
    assert!(unknown.contains("is not trusted; --ca names who signed it"), "{unknown}");
    // Not as if nobody ran there: what is in the store is not what is answered.
    let unknown = fails(highwater(["batch", "audit"]).current_dir(folder));
    assert!(unknown.contains("is not trusted"), "{unknown}");
    let empty = fails(highwater(["query", "sales", "--ca", "rows.ndjson"]).current_dir(folder));
    assert!(empty.contains("there is no certificate in rows.ndjson"), "{empty}");

    show(folder, &after.sign("second"));
    server.signal("HUP");
    server.wait_for("the certificate was read again");
    let query = ["query", "sales", "--format", "csv", "-m", "orders"];
    assert_eq!(succeeds(&mut believing(&after, folder, &query)), "orders\n3\n");
    assert!(fails(&mut believing(&before, folder, &query)).contains("is not trusted"));
    server.stop("TERM");
}
