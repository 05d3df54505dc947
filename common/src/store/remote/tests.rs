#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use url::Url;

use super::super::{Options, Store, tests::conforms};
use super::*;
use crate::testing::s3::{self, Fault, Proxy, Server};

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn options(of: &str, given: &[(&str, &str)]) -> Result<Options, String> {
    let mut options = Options::default();
    given.iter().try_for_each(|(name, value)| options.set(&url(of), name, value))?;
    Ok(options)
}

#[test]
fn urls_of_all_services_open_without_asking_a_server() {
    let s3 = [("region", "eu-central-1"), ("access_key_id", "k"), ("secret_access_key", "s"), ("timeout", "5m")];
    let azure = [("account_name", "a"), ("account_key", "a2V5")];
    let gcs = [(
        "service_account_key",
        r#"{"gcs_base_url": "http://127.0.0.1:1", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}"#,
    )];
    let stores: [(&str, &[(&str, &str)]); 6] = [
        ("s3://bucket", &s3),
        ("s3://bucket/a/prefix", &s3),
        ("gs://bucket/prefix", &gcs),
        ("az://container/prefix", &azure),
        ("abfss://container@account.dfs.core.windows.net/prefix", &azure[1..]),
        ("abfs://container/prefix", &azure),
    ];
    for (of, given) in stores {
        let store = Store::open_with(&url(of), &options(of, given).unwrap()).unwrap();
        assert_eq!(store.url().as_str(), of);
    }
}

#[test]
fn wrong_options_are_named_and_no_value_is_shown() {
    let unknown = options("s3://bucket", &[("acess_key", "hush")]).unwrap_err();
    assert!(unknown.contains("`acess_key` is no option of S3") && unknown.contains("access_key_id"), "{unknown}");
    let weak = options("s3://bucket", &[("aws_conditional_put", "disabled")]).unwrap_err();
    assert!(weak.contains("commits rest on conditional puts"), "{weak}");
    assert!(options("file:///tmp", &[("region", "x")]).unwrap_err().contains("`file:` has no options"));
    let secret = options("s3://bucket", &[("secret_access_key", "hush")]).unwrap();
    assert_eq!(format!("{secret:?}"), "{\"secret_access_key\"}");
    let opened = |of: &str, given: &[(&str, &str)]| Store::open_with(&url(of), &options(of, given).unwrap());
    for of in ["s3://user:hush@bucket/x", "s3://bucket/x?key=hush"] {
        let refused = opened(of, &[]).unwrap_err().to_string();
        assert!(refused.contains("has no secrets") && !refused.contains("hush"), "{refused}");
    }
    let plain = opened("s3://bucket", &[("endpoint", "http://127.0.0.1:1")]).unwrap_err().to_string();
    assert!(plain.contains("allow_http"), "{plain}");
}

#[tokio::test]
async fn a_server_of_s3_conforms_with_and_without_faults() {
    let Some(server) = Server::shared() else { return };
    let bucket = server.bucket().await;
    let proxy = Proxy::start(&server.address()).await;
    conforms(&s3::store(proxy.address(), &bucket, "calm")).await;
    let (mut kinds, mut seed) = (std::collections::BTreeSet::new(), 0);
    while kinds.len() < 5 {
        proxy.fail_randomly(seed, 250);
        conforms(&s3::store(proxy.address(), &bucket, &format!("seed/{seed}"))).await;
        kinds = proxy.injected().into_keys().collect();
        seed += 1;
    }
}

#[tokio::test]
async fn l3_a_conditional_put_whose_answer_is_lost_is_won_and_a_loser_is_told() {
    let Some(server) = Server::shared() else { return };
    let bucket = server.bucket().await;
    let proxy = Proxy::start(&server.address()).await;
    let store = s3::store(proxy.address(), &bucket, "");
    for fault in [Fault::AnswerLost, Fault::Internal, Fault::SlowDown, Fault::Reset, Fault::Slow] {
        let (ours, theirs) = (Path::from(format!("{fault:?}/ours")), Path::from(format!("{fault:?}/theirs")));
        proxy.fail("CREATE", 0, fault);
        store.put_if_absent(&ours, Bytes::from_static(b"ours")).await.unwrap();
        store.put_if_absent(&theirs, Bytes::from_static(b"theirs")).await.unwrap();
        proxy.fail("CREATE", 0, fault);
        let lost = store.put_if_absent(&theirs, Bytes::from_static(b"ours")).await;
        assert!(matches!(lost, Err(Error::Exists { .. })), "{fault:?}: {lost:?}");
        assert_eq!(store.get(&theirs).await.unwrap().unwrap(), "theirs");
    }
    assert_eq!(proxy.injected().values().sum::<u64>(), 10);
}

#[tokio::test]
async fn a_server_that_never_answers_well_is_given_up_loudly() {
    let Some(server) = Server::shared() else { return };
    let bucket = server.bucket().await;
    let proxy = Proxy::start(&server.address()).await;
    let store = s3::store(proxy.address(), &bucket, "");
    proxy.fail_randomly(0, 1_000);
    let failed = store.put(&Path::from("a"), vec![0; 1 << 20].into()).await;
    // A slow answer is an answer: every other one is a failure.
    assert!(failed.is_ok() || matches!(failed, Err(Error::Io { action: "write", .. })), "{failed:?}");
    proxy.calm();
    store.put(&Path::from("a"), Bytes::from_static(b"a")).await.unwrap();
    let missing = s3::store(proxy.address(), "no-such-bucket", "").put(&Path::from("a"), Bytes::new()).await;
    assert!(missing.is_err());
}
