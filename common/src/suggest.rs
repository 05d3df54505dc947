//! Words for error messages: what was probably meant, and what is allowed.

/// The one of `candidates` that `name` most resembles, if it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|candidate| {
        let (name, other) = (name.to_lowercase(), candidate.to_lowercase());
        let part = name.len() >= 3 && (other.contains(&name) || name.contains(&other));
        (candidate, strsim::jaro_winkler(&name, &other).max(if part { 0.85 } else { 0.0 }))
    });
    let best = scored.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (best.1 >= 0.8).then_some(best.0)
}

/// `a, b, c`: each of `names` in the order given, quoted as code.
#[must_use]
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// After "there is no `name`": what was probably meant, and what there is: `, did you mean x? There are a, b, x`.
#[must_use]
pub fn hint<'a>(name: &str, allowed: impl Iterator<Item = &'a str> + Clone) -> String {
    match (nearest(name, allowed.clone()), list(allowed)) {
        (_, all) if all.is_empty() => "; there are none".to_owned(),
        (None, all) => format!("; there are {all}"),
        (Some(meant), all) => format!(", did you mean `{meant}`? There are {all}"),
    }
}
