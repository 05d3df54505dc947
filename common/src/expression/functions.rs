//! The scalar functions an expression may call. Each looks at one row at a time and gives the same bits on every machine:
//! both layers must agree on it (L1). That is why there is no `exp`, `ln`, `pow` or trigonometry (their last bit differs
//! between C libraries), no `now` or `random`, and no reading of timestamps from text (Polars guesses the format from the
//! first row). Nor is there `strpos`, which Polars reads as a search for a regular expression. Some do fail on some values;
//! that this makes null in that row, and nothing in others, is the engine's doing.

use std::ops::{Range, RangeInclusive};

/// A scalar function.
#[derive(Debug)]
pub(super) struct Function {
    /// Its name in normalised text.
    pub(super) name: &'static str,
    /// Other names for it.
    aliases: &'static [&'static str],
    /// How many arguments it takes.
    pub(super) arguments: RangeInclusive<usize>,
    /// Which of them are positions, lengths or digits, which must be literals: Polars' arithmetic on them can overflow.
    pub(super) positions: Range<usize>,
}

const MANY: usize = usize::MAX;

const fn function(name: &'static str, aliases: &'static [&'static str], arguments: RangeInclusive<usize>) -> Function {
    Function { name, aliases, arguments, positions: 0..0 }
}

const fn positional(name: &'static str, arguments: RangeInclusive<usize>, positions: Range<usize>) -> Function {
    Function { name, aliases: &[], arguments, positions }
}

/// `ceil`, `floor`, `substr`, `trim`, `if` and `date_part` are listed for the messages; they have, or are written in, a syntax
/// of their own too.
static FUNCTIONS: &[Function] = &[
    function("abs", &[], 1..=1),
    function("ceil", &["ceiling"], 1..=1),
    function("coalesce", &["ifnull"], 1..=MANY),
    function("concat", &[], 1..=MANY),
    function("concat_ws", &[], 2..=MANY),
    function("date_part", &[], 2..=2),
    function("div", &[], 2..=2),
    function("ends_with", &["suffix"], 2..=2),
    function("floor", &[], 1..=1),
    function("greatest", &[], 1..=MANY),
    function("if", &[], 3..=3),
    function("least", &[], 1..=MANY),
    positional("left", 2..=2, 1..2),
    function("length", &["char_length", "character_length"], 1..=1),
    function("lower", &["lcase"], 1..=1),
    function("ltrim", &[], 1..=2),
    function("mod", &[], 2..=2),
    function("nullif", &[], 2..=2),
    function("octet_length", &["strlen"], 1..=1),
    function("regexp_like", &["regexp_matches"], 2..=2),
    function("replace", &[], 3..=3),
    positional("right", 2..=2, 1..2),
    positional("round", 1..=2, 1..2),
    function("rtrim", &[], 1..=2),
    function("sign", &[], 1..=1),
    positional("split_part", 3..=3, 2..3),
    function("sqrt", &[], 1..=1),
    function("starts_with", &["prefix"], 2..=2),
    Function { aliases: &["substring"], ..positional("substr", 2..=3, 1..3) },
    function("trim", &[], 1..=2),
    positional("trunc", 1..=2, 1..2),
    function("upper", &["ucase"], 1..=1),
];

/// The function called `name`, whatever its case.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    let named = |f: &&Function| std::iter::once(&f.name).chain(f.aliases).any(|n| n.eq_ignore_ascii_case(name));
    FUNCTIONS.iter().find(named)
}

/// The names of all functions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|f| f.name)
}
