//! Whether a dead letter is about what is to be erased: it has no columns, so its bytes are looked through.

use common::event::DeadLetter;

/// Whether one of `literals` stands in the letter, in its key, headers, value or detail; a number as a number of its own.
pub(super) fn mentions(letter: &DeadLetter, literals: &[String]) -> bool {
    let record = &letter.record;
    let headers = record.headers.iter().map(|(_, value)| value.as_ref());
    let parts = record.key.as_deref().into_iter().chain(record.value.as_deref()).chain(headers);
    let parts: Vec<&[u8]> = parts.chain([letter.detail.as_bytes()]).collect();
    literals
        .iter()
        .filter(|literal| !literal.is_empty())
        .any(|literal| parts.iter().any(|part| stands_in(literal.as_bytes(), part)))
}

fn stands_in(literal: &[u8], text: &[u8]) -> bool {
    let number = literal.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let digit = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_digit);
    let mut places = text.windows(literal.len()).enumerate().filter(|(_, window)| *window == literal);
    places.any(|(at, _)| !number || !(digit(at.checked_sub(1)) || digit(Some(at + literal.len()))))
}

#[cfg(test)]
mod tests {
    use super::stands_in;

    #[test]
    fn a_text_is_found_anywhere_and_a_number_only_by_itself() {
        assert!(stands_in(b"ann", br#"{"customer":"anna""#));
        assert!(!stands_in(b"ann", b"bob"));
        assert!(stands_in(b"42", br#"{"id":42}"#) && stands_in(b"42", b"42") && !stands_in(b"42", br#"{"id":142}"#));
        assert!(!stands_in(b"longer", b"short"));
    }
}
