//! Values of many rows into one column at once: those in the form they usually have in a loop that does nothing else, any
//! other by the column's general way.

use super::{
    super::{digits, scan::Scanner, span::Span, strings::Strings},
    ColumnBuilder, Key, Value, Values, time,
};
use crate::schema::TimestampFormat;

impl ColumnBuilder {
    /// Appends the values that lie in `bytes` at `spans`, one a row, up to the first that the column does not take; gives how
    /// many these are.
    pub(in super::super) fn append_run(&mut self, bytes: &[u8], spans: &[Span]) -> usize {
        let mut at = 0;
        loop {
            let read = self.values.read_run(bytes, &spans[at..]);
            self.rows += read;
            at += read;
            match spans.get(at) {
                Some(span) if self.append_span(bytes, *span).is_some() => at += 1,
                _ => return at,
            }
        }
    }

    /// Appends any value, if it is one by JSON's grammar and the column takes it.
    fn append_span(&mut self, bytes: &[u8], span: Span) -> Option<()> {
        if span.is_absent() {
            return self.append(None).ok();
        }
        if let (Values::String(strings), Some(text)) = (&mut self.values, span.text(bytes)) {
            strings.push(&Key::new(text));
            self.rows += 1;
            return Some(());
        }
        let value = span.of(bytes);
        let mut scanner = Scanner::new(value);
        // What has columns within lies elsewhere, so it is of no matter how deep this one lies.
        let raw = scanner.value(0).ok()?;
        scanner.end().ok()?;
        let text = std::str::from_utf8(raw.bytes(value)).ok()?;
        self.append(Some(Value { kind: raw.kind, text })).ok()
    }
}

impl Values {
    /// Appends values up to the first that has not its usual form; gives how many these are.
    fn read_run(&mut self, bytes: &[u8], spans: &[Span]) -> usize {
        match self {
            Self::Int { values, min, max } => {
                let range = *min..=*max;
                extend(values, spans, |span| {
                    let value = digits::integer(bytes, span.from(), span.length_if_plain())?;
                    range.contains(&value).then_some(value)
                })
            }
            Self::Double { values, min, max } => {
                let range = *min..=*max;
                extend(values, spans, |span| {
                    let value = digits::double(bytes, span.from(), span.length_if_plain())?;
                    range.contains(&value).then_some(value)
                })
            }
            Self::Decimal { values, scale, beyond, .. } => {
                let (scale, beyond) = (*scale, u64::try_from(*beyond).unwrap_or(u64::MAX));
                extend(values, spans, |span| {
                    let value = digits::decimal(bytes, span.from(), span.length_if_plain(), scale)?;
                    (value.unsigned_abs() < beyond).then_some(value.into())
                })
            }
            Self::String(strings) => read_strings(strings, bytes, spans),
            Self::Bool(values) => extend(values, spans, |span| match span.of(bytes) {
                b"true" => Some(true),
                b"false" => Some(false),
                _ => None,
            }),
            Self::Timestamp { values, format: TimestampFormat::Rfc3339 } => {
                extend(values, spans, |span| time::rfc3339(span.text(bytes)?))
            }
            Self::Timestamp { values, format } => {
                let format = *format;
                extend(values, spans, |span| {
                    time::epoch(digits::integer(bytes, span.from(), span.length_if_plain())?, format)
                })
            }
        }
    }
}

/// Appends what `read` reads, up to the first span of which it reads nothing; gives how many it has read.
#[inline(always)]
fn extend<T>(values: &mut Vec<T>, spans: &[Span], read: impl Fn(Span) -> Option<T>) -> usize {
    let before = values.len();
    values.extend(spans.iter().map_while(|span| read(*span)));
    values.len() - before
}

fn read_strings(strings: &mut Strings, bytes: &[u8], spans: &[Span]) -> usize {
    strings.push_while(spans.iter().map_while(|span| span.seen(bytes)))
}
