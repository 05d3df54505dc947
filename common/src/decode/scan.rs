//! A strict scanner of one JSON text: it checks the grammar of RFC 8259 and says where each value lies. It builds nothing
//! and must never accept what the grammar does not allow, whether or not anyone asks for the value. That strings are UTF-8
//! is for others to check: all else is ASCII.

use crate::limits::JSON_DEPTH_MAX;

/// What a value is, as far as its first bytes and its grammar say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    /// Digits with or without a sign: no fraction, no exponent.
    Integer,
    /// Any other number.
    Number,
    /// A string without a backslash; its span is without the quotes.
    String,
    /// A string with escapes, all of them valid; its span is without the quotes.
    EscapedString,
    Array,
    Object,
}

/// Where a value lies in the text scanned: bytes `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) kind: Kind,
    from: u32,
    to: u32,
}

impl Raw {
    /// The bytes of the value in `text`, the text it was scanned from.
    pub(super) fn bytes(self, text: &[u8]) -> &[u8] {
        &text[self.from as usize..self.to as usize]
    }

    /// The value in `text`, the text it was scanned from.
    pub(super) fn of(self, text: &str) -> Value<'_> {
        Value { kind: self.kind, text: &text[self.from as usize..self.to as usize] }
    }

    /// The text of the value, with the quotes of a string.
    pub(super) fn quoted(self, text: &str) -> &str {
        let quotes = usize::from(matches!(self.kind, Kind::String | Kind::EscapedString));
        &text[self.from as usize - quotes..self.to as usize + quotes]
    }
}

/// A value that was scanned: valid by the grammar, and in UTF-8.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) kind: Kind,
    /// What stands between the quotes of a string, or the whole of anything else.
    pub(super) text: &'a str,
}

/// What is wrong with a text, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The byte at which the text stops being JSON.
    pub(super) at: usize,
    /// What is allowed there.
    pub(super) expected: &'static str,
}

type Result<T> = std::result::Result<T, SyntaxError>;

/// Reads a text from its start to its end.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner of `text`, which is shorter than 4 GiB.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self::from(text, 0)
    }

    /// A scanner of `text` that goes on at byte `at`.
    pub(super) fn from(text: &'a [u8], at: usize) -> Self {
        debug_assert!(u32::try_from(text.len()).is_ok(), "spans are 32 bits wide");
        Self { text, at }
    }

    /// The text scanned.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// How much of it is behind.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Enters the object that the text is.
    pub(super) fn open(&mut self) -> Result<()> {
        self.skip_space();
        if self.peek() != Some(b'{') {
            return self.fail("an object");
        }
        self.enter();
        Ok(())
    }

    /// Passes over the byte that opens an object or an array.
    pub(super) fn enter(&mut self) {
        self.at += 1;
    }

    /// After `{`: true before a member, false if the object ended.
    pub(super) fn first_member(&mut self) -> Result<bool> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => Ok(true),
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fail("a name in quotes or `}`"),
        }
    }

    /// After a member's value: true before the next member, false if the object ended.
    #[inline]
    pub(super) fn next_member(&mut self) -> Result<bool> {
        self.next_of(b'}', "`,` or `}`")
    }

    /// After `[`: true before an element, false if the array ended.
    pub(super) fn first_element(&mut self) -> Result<bool> {
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// After an element: true before the next one, false if the array ended.
    pub(super) fn next_element(&mut self) -> Result<bool> {
        self.next_of(b']', "`,` or `]`")
    }

    #[inline]
    fn next_of(&mut self, end: u8, allowed: &'static str) -> Result<bool> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fail(allowed),
        }
    }

    /// A member's name and its colon.
    pub(super) fn name(&mut self) -> Result<Raw> {
        if self.peek() != Some(b'"') {
            return self.fail("a name in quotes");
        }
        let name = self.string()?;
        self.colon()?;
        Ok(name)
    }

    /// After the object: nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { self.fail("nothing after the object") }
    }

    /// A value that `depth` arrays or objects are open around.
    #[inline]
    pub(super) fn value(&mut self, depth: u32) -> Result<Raw> {
        let from = self.at;
        let kind = match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word(b"true", Kind::Bool(true))?,
            Some(b'f') => self.word(b"false", Kind::Bool(false))?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            Some(b'[' | b'{') if depth >= JSON_DEPTH_MAX => return self.fail("less nesting"),
            Some(b'[') => self.array(depth + 1)?,
            Some(b'{') => self.object(depth + 1)?,
            _ => return self.fail("a value"),
        };
        Ok(self.span(kind, from, self.at))
    }

    fn array(&mut self, depth: u32) -> Result<Kind> {
        self.enter();
        let mut more = self.first_element()?;
        while more {
            self.value(depth)?;
            more = self.next_element()?;
        }
        Ok(Kind::Array)
    }

    fn object(&mut self, depth: u32) -> Result<Kind> {
        self.enter();
        let mut more = self.first_member()?;
        while more {
            self.name()?;
            self.value(depth)?;
            more = self.next_member()?;
        }
        Ok(Kind::Object)
    }

    #[inline]
    fn colon(&mut self) -> Result<()> {
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.fail("`:`");
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail("a value");
        }
        self.at += word.len();
        Ok(kind)
    }

    #[inline]
    fn number(&mut self) -> Result<Kind> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut kind = Kind::Integer;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
            kind = Kind::Number;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
            kind = Kind::Number;
        }
        Ok(kind)
    }

    /// One digit or more.
    #[inline]
    fn digits(&mut self) -> Result<()> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { self.fail("a digit") }
    }

    /// A string, from its opening to past its closing quote.
    #[inline]
    fn string(&mut self) -> Result<Raw> {
        self.at += 1;
        let from = self.at;
        let mut kind = Kind::String;
        loop {
            self.at += plain_prefix(&self.text[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    kind = Kind::EscapedString;
                    self.escape()?;
                }
                Some(_) => return self.fail("an escape in place of a control character"),
                None => return self.fail("`\"` at the end of a string"),
            }
        }
        self.at += 1;
        Ok(self.span(kind, from, self.at - 1))
    }

    fn escape(&mut self) -> Result<()> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let first = self.code_unit()?;
                match first {
                    0xD800..=0xDBFF => {
                        let paired = self.peek() == Some(b'\\') && matches!(self.code_unit(), Ok(0xDC00..=0xDFFF));
                        if !paired {
                            return self.fail("the second half of a surrogate pair");
                        }
                    }
                    0xDC00..=0xDFFF => return self.fail("the first half of a surrogate pair before its second"),
                    _ => {}
                }
            }
            _ => return self.fail("one of `\"\\/bfnrtu` after `\\`"),
        }
        Ok(())
    }

    /// The code unit of a `\uXXXX`, which is passed over.
    fn code_unit(&mut self) -> Result<u16> {
        match code_unit(&self.text[self.at..]) {
            Some(unit) => {
                self.at += 6;
                Ok(unit)
            }
            None => self.fail("four hexadecimal digits after `\\u`"),
        }
    }

    fn span(&self, kind: Kind, from: usize, to: usize) -> Raw {
        // Texts are records' values, which are far below 4 GiB (`RECORD_BYTES_MAX`).
        Raw { kind, from: from as u32, to: to as u32 }
    }

    /// The next byte.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Passes over white space.
    #[inline]
    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[cold]
    fn fail<T>(&self, expected: &'static str) -> Result<T> {
        Err(SyntaxError { at: self.at, expected })
    }
}

/// How many bytes come before the first quote, backslash or control character; all, if there is none.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut words = bytes.chunks_exact(8);
    let mut passed = 0;
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("chunks_exact(8) gives 8 bytes"));
        let special = special_bytes(word);
        if special != 0 {
            return passed + (special.trailing_zeros() / 8) as usize;
        }
        passed += 8;
    }
    let rest = words.remainder();
    passed + rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len())
}

/// The lowest set bit is the top bit of the first byte that is a quote, a backslash or below 0x20; 0 if none is. Bits above
/// the lowest may be wrong, as a borrow runs upwards ("Bit Twiddling Hacks", determine if a word has a byte less than n).
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
    let quote = below(word ^ (ONES * b'"' as u64), 1);
    let backslash = below(word ^ (ONES * b'\\' as u64), 1);
    let control = below(word, 0x20);
    (quote | backslash | control) & TOPS
}

/// The code unit of a `\uXXXX` that `bytes` start with.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}

/// Appends what `escaped`, the bytes of a scanned [`Kind::EscapedString`], stands for.
pub(super) fn unescape(escaped: &[u8], out: &mut Vec<u8>) {
    let mut rest = escaped;
    while let Some(backslash) = rest.iter().position(|&b| b == b'\\') {
        out.extend_from_slice(&rest[..backslash]);
        rest = &rest[backslash..];
        let (decoded, length) = match rest[1] {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => escaped_char(rest),
            same => (char::from(same), 2),
        };
        out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

/// The character of the one or two `\uXXXX` that `bytes` start with, and how many bytes they are.
fn escaped_char(bytes: &[u8]) -> (char, usize) {
    let units = [code_unit(bytes), code_unit(&bytes[6..])].into_iter().map_while(|unit| unit);
    let decoded = char::decode_utf16(units).next().and_then(std::result::Result::ok);
    let decoded = decoded.expect("the scanner has checked the escapes");
    (decoded, 6 * decoded.len_utf16())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_prefix_ends_at_the_first_special_byte() {
        for length in 0..40 {
            let plain = vec![b'~'; length];
            assert_eq!(plain_prefix(&plain), length);
            for at in 0..length {
                for special in [b'"', b'\\', 0, 1, 0x1F] {
                    let mut bytes = plain.clone();
                    bytes[at] = special;
                    assert_eq!(plain_prefix(&bytes), at, "{special} at {at} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_plain_prefix_is_what_a_simple_search_finds(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let found = bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(bytes.len());
            prop_assert_eq!(plain_prefix(&bytes), found);
        }

        #[test]
        fn unescaping_turns_back_what_serde_json_escapes(text in any::<String>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            let mut out = Vec::new();
            unescape(&quoted.as_bytes()[1..quoted.len() - 1], &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn surrogate_pairs_are_one_character() {
        let mut out = Vec::new();
        unescape(br"a\uD83D\uDE00\u00e9\/b", &mut out);
        assert_eq!(out, "a\u{1F600}é/b".as_bytes());
    }
}
