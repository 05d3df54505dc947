//! Numbers of a column, four at once: each in a lane of its own, so that what is asked of one is asked of all by the same instructions.
//! What they do not take is no worse a number; it is left to [`super::digits`].

use super::{
    span::{ROWS_MAX, Span},
    vector::avx2::{FOUR, Tail, numbers},
};

/// Reads numbers at `spans` that have so many `places` after the point, up to the first four of which one is not written so or has
/// more than sixteen bytes; gives how many it has read.
///
/// They are put aside, and not where the column has its values: what becomes of a number depends on the column, and is then
/// done in a loop of its own.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn read(bytes: &[u8], spans: &[Span], places: usize, values: &mut [i64; ROWS_MAX]) -> usize {
    match places {
        0 => read_by(bytes, spans, values, |tails, lengths| numbers::<false>(tails, lengths, 0)),
        _ => read_by(bytes, spans, values, |tails, lengths| numbers::<true>(tails, lengths, places)),
    }
}

#[inline(always)]
fn read_by(
    bytes: &[u8],
    spans: &[Span],
    values: &mut [i64; ROWS_MAX],
    numbers: impl Fn([&Tail; FOUR], [usize; FOUR]) -> Option<[i64; FOUR]>,
) -> usize {
    let mut count = 0;
    for (spans, values) in spans.as_chunks().0.iter().zip(values.as_chunks_mut().0) {
        let spans: &[Span; FOUR] = spans;
        let tail = |at: usize| spans[at].tail_before_end(bytes);
        let (Some(a), Some(b), Some(c), Some(d)) = (tail(0), tail(1), tail(2), tail(3)) else { break };
        let Some(four) = numbers([a, b, c, d], spans.map(Span::length_if_plain)) else { break };
        *values = four;
        count += FOUR;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::{array::uniform4, prelude::*};

    use super::{
        super::{
            number,
            scan::{Kind, Scanner},
            vector,
        },
        *,
    };

    /// What is read of four texts at once, each with `before` before it.
    fn four(texts: &[String; FOUR], before: &str, places: u8) -> Option<[i64; FOUR]> {
        let zeros = "\0".repeat(20);
        let mut bytes = zeros.clone();
        let spans = texts.each_ref().map(|text| {
            let from = bytes.len() + before.len();
            bytes.extend([before, text, ","]);
            Span::plain(from, from + text.len())
        });
        bytes.push_str(&zeros);
        let mut values = [7; ROWS_MAX];
        // SAFETY: the tests say before whether the processor has these instructions.
        let count = unsafe { read(bytes.as_bytes(), &spans, places.into(), &mut values) };
        (count > 0).then(|| values[..count].try_into().expect("there are four"))
    }

    /// What the general way reads of each, if it reads all and they are written as usual.
    fn expected(texts: &[String; FOUR], places: u8) -> Option<[i64; FOUR]> {
        let usual = |text: &String| {
            let mut scanner = Scanner::new(text.as_bytes());
            let kind = scanner.value(1).ok().filter(|_| scanner.at() == text.len())?.kind;
            let found = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let is_usual =
                matches!(kind, Kind::Integer | Kind::Number) && !text.contains(['e', 'E']) && text.len() <= 16;
            (is_usual && found == usize::from(places)).then_some(())?;
            i64::try_from(number::scaled(text, places).ok()?).ok()
        };
        let all: Option<Vec<i64>> = texts.iter().map(usual).collect();
        all.map(|all| all.try_into().expect("there are four"))
    }

    /// Numbers, and what is not quite one.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => r"-?(0|[1-9][0-9]{0,15})",
            8 => r"-?(0|[1-9][0-9]{0,11})\.[0-9]{1,3}",
            1 => r"-?[0-9]{0,16}\.?[0-9]{0,4}",
            1 => r#"["0-9.e+/:-]{0,18}"#,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8192))]

        #[test]
        fn four_at_once_are_what_each_is(texts in uniform4(text()), before in r#"[0-9:,"-]{0,3}"#, same in any::<bool>()) {
            let texts = if same { std::array::from_fn(|_| texts[0].clone()) } else { texts };
            for places in if vector::has_avx2() { 0..4 } else { 0..0 } {
                prop_assert_eq!(four(&texts, &before, places), expected(&texts, places));
            }
        }

        #[test]
        fn four_usual_numbers_are_read(values in uniform4(-9999..9999_i64), factor in prop_oneof![Just(1), Just(99_999_999)], signed in any::<bool>()) {
            let values = values.map(|value| if signed { value } else { value.abs() } * factor);
            let cents = |value: i64| format!("{}{}.{:02}", if value < 0 { "-" } else { "" }, value.abs() / 100, value.abs() % 100);
            if vector::has_avx2() {
                prop_assert_eq!(four(&values.map(|value| value.to_string()), "7", 0), Some(values));
                prop_assert_eq!(four(&values.map(cents), "7", 2), Some(values));
            }
        }
    }
}
