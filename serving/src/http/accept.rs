//! Which form of an answer a client accepts (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

use super::problem::{Kind, Problem};
use crate::query::Form;

/// The form that the `Accept` header likes best; of forms it likes equally, the first of [`Form::ALL`]. JSON without one.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Ok(Form::Json);
    }
    let text: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<Range<'_>> = text.iter().flat_map(|text| text.split(',')).filter_map(Range::read).collect();
    let quality = |form: Form| {
        let names = names(form);
        let specific = ranges.iter().filter_map(|range| Some((range.fits(names)?, range.quality)));
        specific.max_by_key(|(specific, _)| *specific).map_or(0, |(_, quality)| quality)
    };
    let best = Form::ALL.into_iter().rev().max_by_key(|form| quality(*form)).filter(|form| quality(*form) > 0);
    best.ok_or_else(|| {
        let forms = Form::ALL.map(Form::content_type).join(", ");
        Problem::new(Kind::NotAcceptable, format!("none of what `Accept` names is there; there are {forms}"))
    })
}

/// What a form may be asked by.
fn names(form: Form) -> &'static [&'static str] {
    match form {
        Form::Json => &["application/json"],
        Form::Ndjson => &["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"],
        Form::Csv => &["text/csv"],
        Form::Arrow => &["application/vnd.apache.arrow.stream"],
    }
}

/// A media range with its quality in thousandths.
struct Range<'a> {
    name: &'a str,
    quality: u32,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let quality = quality.map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0)).clamp(0.0, 1.0);
        Some(Self { name, quality: (quality * 1000.0) as u32 })
    }

    /// How specifically the range names one of `names`; `None` if it does not.
    fn fits(&self, names: &[&str]) -> Option<u32> {
        let family = self.name.strip_suffix("/*");
        match (self.name, family) {
            ("*/*", _) => Some(0),
            (_, Some(family)) => names
                .iter()
                .any(|name| name.split('/').next().is_some_and(|of| of.eq_ignore_ascii_case(family)))
                .then_some(1),
            (name, None) => names.iter().any(|known| known.eq_ignore_ascii_case(name)).then_some(2),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn of(accept: &str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        form(&headers).ok()
    }

    #[test]
    fn the_form_that_is_liked_best_and_named_most_closely() {
        assert_eq!(form(&HeaderMap::new()).unwrap(), Form::Json);
        for (accept, expected) in [
            ("*/*", Some(Form::Json)),
            ("text/csv", Some(Form::Csv)),
            ("TEXT/CSV;q=0.5, application/json;q=0.4", Some(Form::Csv)),
            ("application/*", Some(Form::Json)),
            ("application/jsonl", Some(Form::Ndjson)),
            ("application/vnd.apache.arrow.stream, */*;q=0.1", Some(Form::Arrow)),
            ("*/*, application/json;q=0", Some(Form::Ndjson)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Form::Json)),
            ("image/png", None),
            ("text/csv;q=0", None),
            ("", None),
        ] {
            assert_eq!(of(accept), expected, "{accept}");
        }
    }
}
