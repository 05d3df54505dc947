#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::testing::feed::{commit, delta, sources, standing};

fn source() -> FeedSource {
    sources().into_values().next().unwrap()
}

fn all() -> Vec<Notice> {
    let mut empty = delta(1, 4, 3..9);
    empty.partials.clear();
    vec![
        Notice::Delta(delta(0, 1_700_000_000_000_000, 0..50)),
        Notice::Delta(empty),
        Notice::Committed(commit(17, 2, 0..50)),
        Notice::Standing(standing(2, u64::MAX, 9)),
    ]
}

#[test]
fn notices_come_back_and_always_are_the_same_bytes() {
    for notice in all() {
        let bytes = encode(&notice, &source()).unwrap();
        assert_eq!(bytes, encode(&notice.clone(), &source()).unwrap());
        assert_eq!(decode(&bytes, &sources()).unwrap(), Some(notice));
    }
}

#[test]
fn what_is_of_another_dataset_or_source_is_not_ours() {
    let mut other = sources();
    other.values_mut().next().unwrap().dataset = "dataset-2".into();
    for notice in all() {
        let bytes = encode(&notice, &source()).unwrap();
        assert_eq!(decode(&bytes, &other).unwrap(), None);
        assert_eq!(decode(&bytes, &FeedSources::new()).unwrap(), None);
    }
}

/// A view that nothing fell into and one that was not folded are not the same.
#[test]
fn l6_a_view_that_was_not_folded_is_not_taken_for_empty() {
    let mut fewer = source();
    let missing = fewer.views.remove(0);
    let bytes = encode(&Notice::Delta(delta(0, 1, 0..3)), &fewer).unwrap();
    match decode(&bytes, &sources()) {
        Err(Error::View { view }) => assert_eq!(view, missing.id),
        other => panic!("{other:?}"),
    }
    // One with fewer views than were folded has all it needs.
    let bytes = encode(&Notice::Delta(delta(0, 1, 0..3)), &source()).unwrap();
    let known = [(delta(0, 1, 0..1).source, fewer)].into();
    let Some(Notice::Delta(heard)) = decode(&bytes, &known).unwrap() else { panic!("it is ours") };
    assert_eq!(heard.partials, delta(0, 1, 0..3).partials[1..]);
}

#[test]
fn bytes_that_end_too_early_or_go_on_are_refused() {
    for notice in all() {
        let mut bytes = encode(&notice, &source()).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            assert!(decode(&bytes[..length], &sources()).is_err(), "{length} of {}", bytes.len());
        }
        bytes.push(0);
        assert!(decode(&bytes, &sources()).is_err() || matches!(notice, Notice::Standing(_)));
    }
}
