//! Speed and serving in processes of their own, which hear of each other by the live feed's topic alone.
//!
//! The feed's topic is one for all tests of this broker, as their pipelines have one name: what is of another dataset is no one's.

use std::path::Path;

use common::testing::kafka::Broker;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::{
    commands::write,
    kafka::{append, pipeline, shop_on},
    process::Server,
};

fn orders(numbers: std::ops::Range<u64>) -> Vec<Value> {
    let order =
        |number: u64| json!({"at": "2026-01-01T01:06:00Z", "customer": format!("c{}", number % 5), "cents": number});
    numbers.map(order).collect()
}

/// A serving process, and the most that it has answered so far. It is asked over one connection: a program started for each
/// question would leave the processes that are waited for hardly any time.
struct Replica {
    server: Server,
    runtime: Runtime,
    client: reqwest::Client,
    seen: u64,
}

impl Replica {
    fn start(pipeline: &Path) -> Self {
        Self::of(Server::start_with("serve", pipeline))
    }

    fn of(server: Server) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        Self { server, runtime, client: reqwest::Client::new(), seen: 0 }
    }

    /// What it answers; `None` if it has not caught up with the store yet.
    fn ask(&self) -> Option<Value> {
        let question = json!({"view": "sales", "measures": ["orders", "cents"]}).to_string();
        let request = self.client.post(self.server.url() + "/v1/query").header("content-type", "application/json");
        self.runtime.block_on(async {
            let answer = request.body(question).send().await.expect("it answers");
            let is_answered = answer.status().is_success();
            let body = answer.bytes().await.expect("the answer is whole");
            is_answered.then(|| serde_json::from_slice(&body).expect("the answer is JSON"))
        })
    }

    /// Asks until there are so many orders in the answer, and it is as complete as `complete` says. No answer on the way has fewer
    /// orders than one before, or more than there are.
    fn wait_for(&mut self, total: u64, complete: bool) -> Value {
        loop {
            let Some(answer) = self.ask() else { continue };
            let number = |column: usize| answer["rows"][0][column].as_u64().unwrap_or_default();
            let seen = number(0);
            assert!(seen >= self.seen, "L6: an answer went back from {} to {seen}: {answer:#}", self.seen);
            assert!(seen <= total, "more orders than there are: {answer:#}");
            self.seen = seen;
            if seen == total && answer["provenance"]["complete"] == json!(complete) {
                assert_eq!(number(1), (0..total).sum::<u64>(), "lost or doubled: {answer:#}");
                return answer;
            }
        }
    }
}

/// Nothing is committed before the end: whatever is answered came over the feed.
#[test]
fn l5_l6_answers_elsewhere_are_as_fresh_and_say_when_a_reader_is_gone() {
    let Some(broker) = Broker::shared() else { return };
    let folder = shop_on(broker, "orders.apart", 2);
    let lazy = folder.path().join("lazy.toml");
    write(folder.path(), "lazy.toml", &pipeline(broker, "orders.apart").replace("100ms", "1h"));
    let speed = Server::start_with("speed", &lazy);
    let mut early = Replica::start(&lazy);
    append(broker, "orders.apart", &orders(0..6));
    let answer = early.wait_for(6, true);
    assert_eq!(answer["provenance"]["head"]["orders"], json!(0), "{answer:#}");
    let mut late = Replica::start(&lazy);
    late.wait_for(6, true);

    drop(speed);
    let answer = early.wait_for(6, false);
    let warning = answer["provenance"]["warnings"][0].as_str().expect("it says why");
    // One partition's reader may be missed a moment before the other's.
    assert!(warning.contains("nobody tells of orders partitions ") && warning.contains(" at present"), "{warning}");
    let speed = Server::start_with("speed", &lazy);
    append(broker, "orders.apart", &orders(6..9));
    early.wait_for(9, true);
    late.wait_for(9, true);
    let mut later = Replica::start(&lazy);
    later.wait_for(9, true);

    speed.stop("TERM");
    let answer = later.wait_for(9, false);
    assert_eq!(
        answer["provenance"]["head"]["orders"],
        json!(1),
        "a worker that stops in good order commits: {answer:#}"
    );
    for replica in [early, late, later] {
        replica.server.stop("TERM");
    }
}

/// Two workers share the partitions and commit ten times a second; one is killed, and the other takes over.
#[test]
fn l5_l6_replicas_hear_all_workers_and_come_at_any_time() {
    let Some(broker) = Broker::shared() else { return };
    let folder = shop_on(broker, "orders.shared", 4);
    let file = folder.path().join("pipeline.toml");
    let (first, second) = (Server::start_with("speed", &file), Server::start_with("run", &file));
    let mut early = Replica::start(&file);
    let mut own = Replica::of(second);
    for round in 0..4 {
        append(broker, "orders.shared", &orders(round * 25..(round + 1) * 25));
        early.wait_for((round + 1) * 25, true);
    }
    // One that reads some of the partitions itself hears of the others.
    own.wait_for(100, true);
    let mut late = Replica::start(&file);
    late.wait_for(100, true);

    drop(first);
    append(broker, "orders.shared", &orders(100..130));
    for replica in [&mut early, &mut late, &mut own] {
        // The readers say once a second how much is left to read.
        while replica.wait_for(130, true)["provenance"]["lag_records"] != json!(0) {}
    }
    for replica in [own, early, late] {
        replica.server.stop("TERM");
    }
}
