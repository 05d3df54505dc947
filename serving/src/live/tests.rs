//! What listeners are told, and what they cost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use super::*;
use crate::{
    testing::{change, commit, delta, generation, positions, served, source},
    tiers::{Change, Layer},
};

fn question() -> Query {
    Query { view: "delays".to_owned(), dimensions: vec!["origin".to_owned()], ..Query::default() }
}

/// The name and the data of an event.
fn read(message: &Message) -> (String, Value) {
    let text = std::str::from_utf8(&message.event).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    (field("event: ").to_owned(), serde_json::from_str(field("data: ")).unwrap())
}

/// Tells as soon as something changed.
fn hub(served: &Arc<Served>) -> Arc<Hub> {
    Arc::new(Hub::every(Duration::from_millis(1), Arc::clone(served)))
}

#[tokio::test]
async fn a_snapshot_then_changes_then_the_generation() {
    let served = served();
    let hub = hub(&served);
    let mut listener = hub.listen(&question(), None).await.unwrap().unwrap();
    let (name, snapshot) = read(&listener.first[0]);
    assert_eq!((name.as_str(), &snapshot["changes"]["reset"]), ("snapshot", &json!(true)));
    let token = snapshot["changes"]["token"].as_str().unwrap().to_owned();
    change(&served, Change::Delta(delta(0, 1, 5, 6)));
    let (name, changed) = read(&listener.messages.recv().await.unwrap());
    assert_eq!((name.as_str(), changed["rows"].as_array().unwrap().len()), ("change", 1));
    // One that comes back is told what it missed, or that it has to begin again.
    let back = hub.listen(&question(), Some(&token)).await.unwrap().unwrap();
    assert_eq!(read(&back.first[0]), ("change".to_owned(), changed_at(&changed, &back)));
    let lost = hub.listen(&question(), Some("of long ago")).await.unwrap().unwrap();
    assert_eq!(lost.first.iter().map(|message| read(message).0).collect::<Vec<_>>(), ["reset", "snapshot"]);
    change(&served, Change::Generation(generation(4, 1, &positions(&[(0, 5)]), &["delays", "totals"])));
    let (name, told) = read(&listener.messages.recv().await.unwrap());
    assert_eq!((name.as_str(), &told["generation"]), ("generation", &json!(4)));
}

/// `changed` as `listener` has it, whose answer took another time.
fn changed_at(changed: &Value, listener: &Listener) -> Value {
    let mut changed = changed.clone();
    changed["stats"] = read(&listener.first[0]).1["stats"].clone();
    changed
}

#[tokio::test]
async fn a_layer_that_has_nothing_left_is_told_so() {
    let served = served();
    let hub = hub(&served);
    change(&served, Change::Delta(delta(0, 1, 5, 6)));
    let live = Query { layer: Layer::Live, ..question() };
    let mut listener = hub.listen(&live, None).await.unwrap().unwrap();
    assert_eq!(read(&listener.first[0]).1["rows"].as_array().unwrap().len(), 1);
    let (five, six) = (positions(&[(0, 5)]), positions(&[(0, 6)]));
    change(&served, Change::Commit(source(), commit(2, &five, &six)));
    change(&served, Change::Generation(generation(4, 2, &six, &["delays", "totals"])));
    let told = async |listener: &mut Listener| read(&listener.messages.recv().await.unwrap());
    let mut next = told(&mut listener).await;
    while next.0 == "change" {
        next = told(&mut listener).await;
    }
    assert_eq!((next.0.as_str(), &next.1["generation"]), ("generation", &json!(4)));
    let (name, whole) = told(&mut listener).await;
    assert_eq!((name.as_str(), &whole["rows"]), ("snapshot", &json!([])));
    assert_eq!(whole["provenance"]["generation"], 4);
}

#[tokio::test]
async fn questions_whose_changes_cannot_be_told_are_answered_whole() {
    let served = served();
    let hub = hub(&served);
    let top = crate::query::Top { n: 1, by: "departures".to_owned(), asc: false };
    let mut listener = hub.listen(&Query { top: Some(top), ..question() }, None).await.unwrap().unwrap();
    assert_eq!(read(&listener.first[0]).0, "snapshot");
    change(&served, Change::Delta(delta(0, 1, 5, 9)));
    let (name, whole) = read(&listener.messages.recv().await.unwrap());
    assert_eq!((name.as_str(), whole["rows"].as_array().unwrap().len()), ("snapshot", 2));
}

#[tokio::test]
async fn a_thousand_readers_share_one_computation_and_a_slow_one_is_let_go() {
    let served = served();
    let hub = hub(&served);
    let mut listeners = Vec::new();
    for _ in 0..1000 {
        listeners.push(hub.listen(&question(), None).await.unwrap().unwrap());
    }
    let mut fast = hub.listen(&question(), None).await.unwrap().unwrap();
    assert_eq!((hub.readers(), hub.questions()), (1001, 1));
    let mut told: Vec<Bytes> = Vec::new();
    for offset in 5..5 + 2 * LIVE_MESSAGES_MAX as u64 {
        change(&served, Change::Delta(delta(0, 1, offset, offset + 1)));
        told.push(fast.messages.recv().await.unwrap().event);
    }
    // None of the others has read anything: what is kept for all of them is one ring, and each is told that it is behind.
    for listener in &mut listeners {
        assert!(matches!(listener.messages.recv().await, Err(RecvError::Lagged(_))));
        assert!(listener.messages.len() <= LIVE_MESSAGES_MAX);
        let oldest = listener.messages.recv().await.unwrap();
        assert!(told.iter().any(|event| event.as_ptr() == oldest.event.as_ptr()), "messages are shared, not copied");
    }
    drop((listeners, fast));
    while hub.questions() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.readers(), 0);
}
