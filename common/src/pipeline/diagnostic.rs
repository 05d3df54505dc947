//! What is wrong with the pipeline's files, and where: printed as a good compiler prints it.

use std::{fmt, ops::Range};

/// One fault in a file: where it is, what it is, and what is allowed instead.
///
/// Its `Display` is several lines, without a newline at the end:
///
/// ```text
/// error: `departures` has no column `delay`
///   --> views/delays_by_hour.sql:4:12
///    |
///  4 |        avg(delay) AS mean_delay,
///    |            ^^^^^
///    = did you mean `delay_minutes`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was asked for.
    pub file: String,
    /// The line, from 1; `None` if the file as a whole is at fault.
    pub line: Option<usize>,
    /// The column in characters, from 1; `None` if the file as a whole is at fault.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What is allowed, and what may have been meant.
    pub help: Vec<String>,
    /// The line at fault and how many of its characters are, from `column` on.
    excerpt: Option<(String, usize)>,
}

impl Diagnostic {
    /// A fault of `file` as a whole.
    #[must_use]
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            message: message.into(),
            help: Vec::new(),
            excerpt: None,
        }
    }

    /// A fault of the bytes `span` of `text`, which is what `file` holds. A span that goes beyond its first line is marked
    /// up to the end of that line.
    #[must_use]
    pub fn at(file: &str, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = floor_char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let end = floor_char_boundary(text, span.end).clamp(start, line_end);
        let excerpt = text[line_start..line_end].trim_end_matches('\r').to_owned();
        Self {
            line: Some(text[..start].matches('\n').count() + 1),
            column: Some(text[line_start..start].chars().count() + 1),
            excerpt: Some((excerpt, text[start..end].trim_end().chars().count().max(1))),
            ..Self::of_file(file, message)
        }
    }

    /// Takes the line at fault away: it may have a secret.
    pub(super) fn hide_excerpt(&mut self) {
        self.excerpt = None;
    }

    /// The same with a line that says what is allowed.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

fn floor_char_boundary(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n  --> {}", self.message, self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        let gutter = self.line.map_or(2, |line| line.to_string().len() + 1);
        if let (Some(line), Some(column), Some((excerpt, width))) = (self.line, self.column, &self.excerpt) {
            // A tab before the caret must be a tab in the line of the caret too, however wide the terminal shows it.
            let before = excerpt.chars().take(column - 1);
            let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n{:gutter$} |\n {line} | {excerpt}\n{:gutter$} | {indent}{}", "", "", "^".repeat(*width))?;
        }
        self.help.iter().try_for_each(|help| write!(f, "\n{:gutter$} = {help}", ""))
    }
}

impl std::error::Error for Diagnostic {}
