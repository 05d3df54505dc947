//! Messages of a feed: what is larger than a message may be goes in several, and each says whose it is, which notice, which part
//! of how many, and has a checksum.
//!
//! | bytes | what (little-endian) |
//! |---|---|
//! | 4 | `HWL` and the number of this format |
//! | 8 | who tells: a number of its own for each process |
//! | 8 | the number of the notice, counted by whoever tells |
//! | 2, 2 | the number of the part, and of all parts |
//! | … | the part |
//! | 8 | XXH3-64 of all before it |

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::limits::{FEED_NOTICE_BYTES_MAX, FEED_TELLERS_MAX};

const MAGIC: [u8; 4] = *b"HWL1";
const HEAD: usize = 24;
const CHECKSUM: usize = 8;

/// Bytes of a message that are not of its part.
pub(super) const OVERHEAD: usize = HEAD + CHECKSUM;

/// Why a message cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("it is not of this format: another version of highwater, or something else, writes to the topic")]
    Format,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("a part of its notice is missing")]
    Part,
    #[error("its notice is larger than any that is told")]
    TooLarge,
}

/// The messages of a notice, none with more than `bytes_max`; `None` if it would take too many.
pub(super) fn split(notice: &[u8], teller: u64, number: u64, bytes_max: usize) -> Option<Vec<Vec<u8>>> {
    let part_bytes = bytes_max.checked_sub(OVERHEAD).filter(|bytes| *bytes > 0)?;
    if notice.len() > FEED_NOTICE_BYTES_MAX {
        return None;
    }
    let parts = u16::try_from(notice.len().div_ceil(part_bytes).max(1)).ok()?;
    let message = |(part, bytes): (u16, &[u8])| {
        let mut message = Vec::with_capacity(OVERHEAD + bytes.len());
        message.extend_from_slice(&MAGIC);
        message.extend_from_slice(&teller.to_le_bytes());
        message.extend_from_slice(&number.to_le_bytes());
        message.extend_from_slice(&part.to_le_bytes());
        message.extend_from_slice(&parts.to_le_bytes());
        message.extend_from_slice(bytes);
        message.extend_from_slice(&xxh3_64(&message).to_le_bytes());
        message
    };
    let bytes =
        (0..usize::from(parts)).map(|part| &notice[part * part_bytes..notice.len().min((part + 1) * part_bytes)]);
    Some((0..parts).zip(bytes).map(message).collect())
}

/// A message that is whole.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    teller: u64,
    number: u64,
    part: u16,
    parts: u16,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Error> {
        if !message.starts_with(&MAGIC) {
            return Err(Error::Format);
        }
        let (checked, checksum) = message.split_last_chunk::<CHECKSUM>().ok_or(Error::Checksum)?;
        if checked.len() < HEAD || xxh3_64(checked) != u64::from_le_bytes(*checksum) {
            return Err(Error::Checksum);
        }
        let number = |at: usize| u64::from_le_bytes(checked[at..at + 8].try_into().expect("eight bytes are eight"));
        let short = |at: usize| u16::from_le_bytes(checked[at..at + 2].try_into().expect("two bytes are two"));
        Ok(Self { teller: number(4), number: number(12), part: short(20), parts: short(22), bytes: &checked[HEAD..] })
    }
}

/// A notice of which some parts have come.
#[derive(Debug)]
struct Partly {
    number: u64,
    next: u16,
    bytes: Vec<u8>,
}

/// Puts the notices of one partition of the feed's topic together again.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    partly: BTreeMap<u64, Partly>,
}

impl Assembly {
    /// Takes a message in; the notice, if this is its last part. What `own` has told is passed over.
    pub(super) fn take(&mut self, message: &[u8], own: Option<u64>) -> Result<Option<Vec<u8>>, Error> {
        let Message { teller, number, part, parts, bytes } = Message::parse(message)?;
        if own == Some(teller) {
            return Ok(None);
        }
        let before = self.partly.remove(&teller).filter(|before| before.number == number && before.next == part);
        let mut whole = match before {
            Some(before) => before.bytes,
            None if part == 0 => Vec::new(),
            // Lost, or told before this listener came.
            None => return Err(Error::Part),
        };
        whole.extend_from_slice(bytes);
        if whole.len() > FEED_NOTICE_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        if part + 1 >= parts {
            return Ok(Some(whole));
        }
        if self.partly.len() >= FEED_TELLERS_MAX {
            // Those who went away in the middle of a notice.
            self.partly.clear();
        }
        self.partly.insert(teller, Partly { number, next: part + 1, bytes: whole });
        Ok(None)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notice(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    proptest! {
        #[test]
        fn a_notice_comes_back_whole_however_it_is_split(length in 0..2_000_usize, bytes_max in OVERHEAD + 1..600) {
            let (notice, mut assembly) = (notice(length), Assembly::default());
            let messages = split(&notice, 7, 3, bytes_max).unwrap();
            prop_assert!(messages.iter().all(|message| message.len() <= bytes_max));
            let (last, first) = messages.split_last().unwrap();
            for message in first {
                prop_assert_eq!(assembly.take(message, None), Ok(None));
            }
            prop_assert_eq!(assembly.take(last, None), Ok(Some(notice)));
        }

        /// Whatever byte is not as it was, and wherever it is cut off.
        #[test]
        fn a_message_that_was_harmed_is_not_taken(length in 0..200_usize, at in 0..300_usize, flip in 1..=255_u8, cut: bool) {
            let mut message = split(&notice(length), 7, 3, 1_000).unwrap().remove(0);
            let at = at % message.len();
            if cut { message.truncate(at) } else { message[at] ^= flip }
            prop_assert!(Assembly::default().take(&message, None).is_err());
        }
    }

    #[test]
    fn notices_of_several_tellers_may_mix_and_one_that_lacks_a_part_is_not_taken() {
        let (one, two) = (notice(100), notice(90));
        let of = |teller, notice: &[u8]| split(notice, teller, 0, OVERHEAD + 40).unwrap();
        let (ones, twos) = (of(1, &one), of(2, &two));
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(&ones[0], None), Ok(None));
        assert_eq!(assembly.take(&twos[0], None), Ok(None));
        assert_eq!(assembly.take(&ones[1], None), Ok(None));
        assert_eq!(assembly.take(&twos[2], None), Err(Error::Part));
        assert_eq!(assembly.take(&ones[2], None), Ok(Some(one)));
        assert_eq!(assembly.take(&ones[2], None), Err(Error::Part));
        assert_eq!(assembly.take(&twos[0], Some(2)), Ok(None), "what one has told oneself");
    }

    #[test]
    fn what_is_too_large_is_not_told() {
        assert_eq!(split(&vec![0; FEED_NOTICE_BYTES_MAX + 1], 0, 0, 1 << 20), None);
        assert_eq!(split(&[0; 70_000], 0, 0, OVERHEAD + 1), None, "more parts than can be counted");
    }

    /// Golden: processes of different builds must understand each other, or see that they do not.
    #[test]
    fn the_format_never_changes_unseen() {
        let messages = split(b"abc", 0x0102, 5, 1_000).unwrap();
        insta::assert_snapshot!(hex::encode(&messages[0]));
        assert_eq!(Assembly::default().take(b"{}", None), Err(Error::Format));
    }
}
