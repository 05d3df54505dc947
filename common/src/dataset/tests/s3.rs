//! The dataset over a real server of S3, with requests that go wrong.

use super::*;
use crate::testing::s3::{Proxy, Server, store};

/// L2, L3 and L7 over S3: two writers race, answers get lost and refused, and each event is there exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l3_writers_that_race_over_s3_commit_each_event_once_whatever_goes_wrong() {
    let Some(server) = Server::shared() else { return };
    let bucket = server.bucket().await;
    for seed in 0..3 {
        let prefix = format!("seed/{seed}");
        let mut proxies = Vec::new();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..2 {
            let proxy = Proxy::start(&server.address()).await;
            let dataset = open(&store(proxy.address(), &bucket, &prefix)).await;
            proxy.fail_randomly(seed * 2 + writer, 200);
            writers.spawn(write_until(dataset, 8, 2, seed + writer));
            proxies.push(proxy);
        }
        let committed = writers.join_all().await.concat();
        assert!(proxies.iter().any(|proxy| proxy.injected().len() > 2));
        assert_kept(&open(&store(&server.address(), &bucket, &prefix)).await, committed).await;
    }
}
