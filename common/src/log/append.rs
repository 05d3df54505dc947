//! What every log of our own decides about an append: which rows are new, and which partition a record goes to.
//! Holds no records and does no input or output.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Error, ProducerRun};
use crate::{limits::PRODUCER_LENGTH_MAX, position::Partition};

/// How many of the `count` rows of `run` had been appended before, when row `due` is the next one due.
///
/// # Errors
/// [`Error::InvalidProducer`], and [`Error::OutOfSequence`] when the run starts after `due`.
pub(crate) fn duplicates(run: &ProducerRun, count: usize, due: u64) -> Result<usize, Error> {
    if run.producer.is_empty() || run.producer.len() > PRODUCER_LENGTH_MAX {
        return Err(Error::InvalidProducer { length: run.producer.len() });
    }
    match due.checked_sub(run.first_row) {
        Some(before) => Ok(usize::try_from(before).unwrap_or(usize::MAX).min(count)),
        None => Err(Error::OutOfSequence { producer: run.producer.clone(), got: run.first_row, due }),
    }
}

/// Gives each record its partition: by key where there is one, else round and round.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    turn: u64,
}

impl Placement {
    /// The partition of a record with this key, out of `partitions`.
    pub(crate) fn place(&mut self, key: Option<&Bytes>, partitions: u32) -> Partition {
        match key {
            Some(key) => partition_of_key(key, partitions),
            None => {
                let turn = self.turn;
                self.turn = self.turn.wrapping_add(1);
                remainder(turn, partitions)
            }
        }
    }
}

/// The partition of every record with this key: XXH3-64 (seed 0) of the key's bytes, modulo the number of partitions.
/// Records of one key keep their order, until the number of partitions grows.
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: u32) -> Partition {
    remainder(xxh3_64(key), partitions)
}

fn remainder(number: u64, partitions: u32) -> Partition {
    let index = number % u64::from(partitions.max(1));
    Partition(u32::try_from(index).expect("a remainder of a u32 is one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first_row: u64) -> ProducerRun {
        ProducerRun { producer: "p".to_owned(), first_row }
    }

    #[test]
    fn rows_before_the_one_due_are_duplicates() {
        assert_eq!(duplicates(&run(0), 5, 0).ok(), Some(0));
        assert_eq!(duplicates(&run(0), 5, 3).ok(), Some(3));
        assert_eq!(duplicates(&run(0), 5, 9).ok(), Some(5));
        assert_eq!(duplicates(&run(7), 0, 7).ok(), Some(0));
    }

    #[test]
    fn a_gap_names_the_row_due() {
        let error = duplicates(&run(4), 1, 3).expect_err("row 3 is missing");
        assert_eq!(error.to_string(), "producer p sent row 4, the next one due is 3");
    }

    #[test]
    fn a_producer_has_a_name_of_bounded_length() {
        for length in [0, PRODUCER_LENGTH_MAX + 1] {
            let run = ProducerRun { producer: "x".repeat(length), first_row: 0 };
            assert!(matches!(duplicates(&run, 1, 0), Err(Error::InvalidProducer { .. })), "{length}");
        }
    }

    /// Golden: records of one key must find their partition again in every later build.
    #[test]
    fn the_hash_of_a_key_never_changes() {
        let of = |key: &str| partition_of_key(key.as_bytes(), 1 << 16).0;
        assert_eq!([of(""), of("N14228"), of("N24211")], [38082, 38566, 15069]);
    }

    #[test]
    fn records_without_a_key_go_round() {
        let mut placement = Placement::default();
        let places: Vec<u32> = (0..5).map(|_| placement.place(None, 3).0).collect();
        assert_eq!(places, [0, 1, 2, 0, 1]);
    }
}
