//! The aggregates by every name that users of DuckDB, Druid and Spark know them by.

/// An aggregate, and how it is written.
#[derive(Debug)]
pub(crate) struct Name {
    /// Its name in normalised text.
    pub(crate) name: &'static str,
    /// Other names for it.
    aliases: &'static [&'static str],
    /// How it is written, for messages.
    pub(crate) usage: &'static str,
}

const fn name(name: &'static str, aliases: &'static [&'static str], usage: &'static str) -> Name {
    Name { name, aliases, usage }
}

/// The aggregates that are measures.
pub(crate) static MEASURES: &[Name] = &[
    name("count", &[], "count(*) or count(x)"),
    name("count_if", &["countif"], "count_if(condition)"),
    name("sum", &[], "sum(x)"),
    name("min", &[], "min(x)"),
    name("max", &[], "max(x)"),
    name("avg", &["mean"], "avg(x)"),
    name("var_samp", &["variance", "var"], "var_samp(x)"),
    name("var_pop", &[], "var_pop(x)"),
    name("stddev_samp", &["stddev", "std"], "stddev_samp(x)"),
    name("stddev_pop", &[], "stddev_pop(x)"),
    name("first", &["first_value", "earliest"], "first(x)"),
    name("last", &["last_value", "latest"], "last(x)"),
    name("any_value", &["arbitrary"], "any_value(x)"),
    name("arg_min", &["argmin", "min_by"], "arg_min(x, y)"),
    name("arg_max", &["argmax", "max_by"], "arg_max(x, y)"),
    name("bool_and", &["every", "logical_and"], "bool_and(condition)"),
    name("bool_or", &["some", "any", "logical_or"], "bool_or(condition)"),
    name(
        "approx_distinct",
        &["approx_count_distinct", "approx_count_distinct_ds_hll"],
        "approx_distinct(x [, precision])",
    ),
    name("hll_sketch", &["hll_sketch_agg", "ds_hll"], "hll_sketch(x [, precision])"),
    name(
        "approx_percentile",
        &["approx_quantile", "percentile_approx", "quantile"],
        "approx_percentile(x, 0.95 [, relative_error]), or with a list of quantiles, [0.5, 0.95]",
    ),
    name("approx_median", &[], "approx_median(x)"),
    name("approx_top_k", &["approx_top_count"], "approx_top_k(x, k)"),
    name("histogram", &[], "histogram(x, [10, 20, 50])"),
];

/// Aggregates that are no measures: why, and what to keep instead.
static OTHERS: &[(&str, &str, &str)] = &[
    ("median", "medians of two parts do not give the median of the whole", "use approx_median(x)"),
    ("quantile_cont", QUANTILES, QUANTILES_INSTEAD),
    ("quantile_disc", QUANTILES, QUANTILES_INSTEAD),
    ("percentile", QUANTILES, QUANTILES_INSTEAD),
    ("percentile_cont", QUANTILES, QUANTILES_INSTEAD),
    ("percentile_disc", QUANTILES, QUANTILES_INSTEAD),
    ("string_agg", TEXTS, TEXTS_INSTEAD),
    ("listagg", TEXTS, TEXTS_INSTEAD),
    ("group_concat", TEXTS, TEXTS_INSTEAD),
    ("array_agg", TEXTS, TEXTS_INSTEAD),
    ("collect_list", TEXTS, TEXTS_INSTEAD),
    ("list", TEXTS, TEXTS_INSTEAD),
    (
        "mode",
        "the most frequent value of each part does not give that of the whole",
        "use approx_top_k(x, 1), which is exact of up to 1,024 distinct values",
    ),
    ("product", "no type holds the product of many numbers", "sum what you can add"),
    ("corr", PAIRS, PAIRS_INSTEAD),
    ("covar_pop", PAIRS, PAIRS_INSTEAD),
    ("covar_samp", PAIRS, PAIRS_INSTEAD),
];

const QUANTILES: &str = "exact quantiles of two parts do not give that of the whole";
const QUANTILES_INSTEAD: &str = "use approx_percentile(x, q)";
const TEXTS: &str = "it depends on the order of the events and grows without bound";
const TEXTS_INSTEAD: &str = "make the column a dimension, or use approx_top_k(x, k)";
const PAIRS: &str = "it is made of sums";
const PAIRS_INSTEAD: &str = "keep count(x), sum(x), sum(y) and sum(x * y), and finish it from their answers";

/// The measure called `name`, whatever its case.
pub(crate) fn find(name: &str) -> Option<&'static Name> {
    let named = |n: &&Name| std::iter::once(&n.name).chain(n.aliases).any(|n| n.eq_ignore_ascii_case(name));
    MEASURES.iter().find(named)
}

/// Why the aggregate `name` is no measure, and what to keep instead.
pub(crate) fn unmergeable(name: &str) -> Option<(&'static str, &'static str)> {
    let other = OTHERS.iter().find(|(other, ..)| other.eq_ignore_ascii_case(name));
    other.map(|&(_, why, instead)| (why, instead))
}

/// Whether `name` is an aggregate somewhere, whatever its case.
pub(crate) fn is_aggregate(name: &str) -> bool {
    find(name).is_some() || unmergeable(name).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_means_one_thing() {
        let measures = MEASURES.iter().flat_map(|n| std::iter::once(&n.name).chain(n.aliases).copied());
        let all: Vec<&str> = measures.chain(OTHERS.iter().map(|other| other.0)).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|name| is_aggregate(&name.to_ascii_uppercase())));
    }
}
