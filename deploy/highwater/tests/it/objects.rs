//! A whole small pipeline over a server of S3, with requests that go wrong on the way.

use common::testing::s3::{Proxy, Server as S3, options};
use serde_json::{Value, json};

use crate::{
    commands::{PIPELINE, replay, sales, shop, write},
    process::{Server, highwater, succeeds},
};

/// The shop's pipeline with its store in a bucket.
pub(crate) fn pipeline(bucket: &str, address: &str) -> String {
    let mut text = format!("{PIPELINE}\n[store]\nurl = \"s3://{bucket}/shop\"\n[store.options]\n");
    for (name, value) in options(address) {
        text.push_str(&format!("{name} = \"{value}\"\n"));
    }
    text
}

#[test]
fn l1_a_pipeline_over_s3_answers_right_whatever_goes_wrong_on_the_way() {
    let Some(s3) = S3::shared() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let (bucket, proxy) = runtime.block_on(async { (s3.bucket().await, Proxy::start(&s3.address()).await) });
    let folder = shop();
    write(folder.path(), "pipeline.toml", &pipeline(&bucket, proxy.address()));

    proxy.fail_randomly(7, 150);
    let mut speed = Server::start("speed", folder.path());
    replay(&speed, folder.path());
    speed.wait_for("committed");
    speed.stop("TERM");
    let report = succeeds(highwater(["batch", "advance", "--json"]).current_dir(folder.path()));
    let report: Value = serde_json::from_str(&report).expect("the report is JSON");
    assert_eq!(report["outcome"], "published");

    let mut serve = Server::start("serve", folder.path());
    serve.wait_for("caught up");
    for layer in ["merged", "batch"] {
        let answer = sales(&serve, folder.path(), &["--layer", layer, "--order-by", "customer"]);
        assert_eq!(answer["rows"], json!([["ann", 2, 350], ["bob", 1, 7]]));
    }
    serve.stop("TERM");
    let letters = succeeds(highwater(["dead-letters", "--source", "orders"]).current_dir(folder.path()));
    assert!(letters.contains("orders: 2 dead letters shown"), "{letters}");
    assert!(proxy.injected().values().sum::<u64>() > 5, "{:?}", proxy.injected());
}
