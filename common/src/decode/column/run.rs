//! Values of many rows into one column at once: those in the form they usually have in a loop that does nothing else, any
//! other by the column's general way.

#[cfg(target_arch = "x86_64")]
use super::super::numbers;
use super::{
    super::{
        digits,
        scan::Scanner,
        span::{ROWS_MAX, Span, extend},
        vector,
    },
    ColumnBuilder, Key, Value, Values, time,
};
use crate::schema::TimestampFormat;

impl ColumnBuilder {
    /// Appends the values that lie in `bytes` at `spans`, one a row, up to the first that the column does not take; gives how
    /// many these are.
    pub(in super::super) fn append_run(&mut self, bytes: &[u8], spans: &[Span]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if vector::has_avx2() {
            // SAFETY: the processor has just said that it has these instructions.
            return unsafe { self.append_run_by_avx2(bytes, spans) };
        }
        self.append_run_by(bytes, spans, |_, _, _, _| 0)
    }

    /// The same; the compiler makes better code of it where it may use these instructions.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn append_run_by_avx2(&mut self, bytes: &[u8], spans: &[Span]) -> usize {
        self.append_run_by(bytes, spans, |bytes, spans, places, numbers| numbers::read(bytes, spans, places, numbers))
    }

    /// The same; `numbers` reads the first of these numbers, several at once, that have so many places after the point.
    #[inline(always)]
    fn append_run_by(
        &mut self,
        bytes: &[u8],
        spans: &[Span],
        numbers: impl Fn(&[u8], &[Span], usize, &mut [i64; ROWS_MAX]) -> usize,
    ) -> usize {
        let mut at = 0;
        loop {
            // Mostly what is not there is not there in many rows.
            if self.nullable {
                let absent = spans[at..].iter().take_while(|span| span.is_absent()).count();
                self.push_nulls(absent);
                at += absent;
            }
            let read = self.values.read_run(bytes, &spans[at..], &numbers);
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
        if value == b"null" {
            return self.append(None).ok();
        }
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
    #[inline(always)]
    fn read_run(
        &mut self,
        bytes: &[u8],
        spans: &[Span],
        numbers: impl Fn(&[u8], &[Span], usize, &mut [i64; ROWS_MAX]) -> usize,
    ) -> usize {
        let mut buffer = [0; ROWS_MAX];
        let mut read = |places| numbers(bytes, spans, places, &mut buffer);
        match self {
            Self::Int { values, min, max } => {
                let range = *min..=*max;
                let count = read(0);
                let fit = fitting(&buffer[..count], |value| range.contains(&value));
                values.extend_from_slice(&buffer[..fit]);
                fit + extend(values, &spans[fit..], |span| {
                    let value = digits::integer(bytes, span)?;
                    range.contains(&value).then_some(value)
                })
            }
            Self::Double { values, min, max } => {
                let range = *min..=*max;
                extend(values, spans, |span| {
                    let value = digits::double(bytes, span)?;
                    range.contains(&value).then_some(value)
                })
            }
            Self::Decimal { values, scale, beyond, .. } => {
                let (scale, beyond) = (*scale, u64::try_from(*beyond).unwrap_or(u64::MAX));
                let count = read(scale.into());
                let fit = fitting(&buffer[..count], |value| value.unsigned_abs() < beyond);
                values.extend(buffer[..fit].iter().map(|value| i128::from(*value)));
                fit + extend(values, &spans[fit..], |span| {
                    let value = digits::decimal(bytes, span, scale)?;
                    (value.unsigned_abs() < beyond).then_some(value.into())
                })
            }
            Self::String(strings) => strings.push_while(bytes, spans),
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
                let Some((unit_us, counts)) = time::whole_units(format) else {
                    return extend(values, spans, |span| time::epoch(digits::integer(bytes, span)?, format));
                };
                let count = read(0);
                let fit = fitting(&buffer[..count], |count| counts.contains(&count));
                values.extend(buffer[..fit].iter().map(|count| count * unit_us));
                fit + extend(values, &spans[fit..], |span| {
                    let count = digits::integer(bytes, span)?;
                    counts.contains(&count).then(|| count * unit_us)
                })
            }
        }
    }
}

/// How many of `numbers` fit, up to the first that does not.
#[inline(always)]
fn fitting(numbers: &[i64], fits: impl Fn(i64) -> bool) -> usize {
    // Mostly all do, and without a way out of it the loop takes several at once.
    match numbers.iter().fold(true, |all, number| all & fits(*number)) {
        true => numbers.len(),
        false => numbers.iter().position(|number| !fits(*number)).unwrap_or(numbers.len()),
    }
}
