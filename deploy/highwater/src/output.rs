//! What commands print: an answer on the standard output, which its reader may close before the end.

use comfy_table::{LineStyle, Table, TableStyle};

/// As `println!`, but an error where the reader has gone is returned, and [`is_closed`] knows it.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout().lock(), $($argument)*)
    }};
}
pub(crate) use say;

/// Whether a command ended because nobody reads its output any more, as `head` does not: nothing went wrong.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(closed)
}

/// An empty table, as all commands print them: a line below the header, and none else.
pub(crate) fn table() -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table
}

/// `1 row`, `2 rows`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_a_closed_output_is_no_error() {
        assert!(is_closed(&io::Error::from(io::ErrorKind::BrokenPipe).into()));
        assert!(!is_closed(&io::Error::from(io::ErrorKind::NotFound).into()));
        assert!(!is_closed(&anyhow::anyhow!("another")));
    }

    #[test]
    fn one_thing_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| count(number, "row")), ["0 rows", "1 row", "2 rows"]);
    }
}
