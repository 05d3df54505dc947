//! `[views.<name>]` of the pipeline file: how long a view's history is kept, and what becomes of it then.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    reader::{Reader, Section},
    values::{DURATION, TEXT},
};
use crate::{
    history::{self, History},
    names::ViewName,
    suggest,
    view::View,
};

const KEYS: &[&str] = &["keep", "roll_up"];

/// The `[views]` of a file whose views these are.
pub(super) fn histories(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    views: &BTreeMap<ViewName, Arc<View>>,
) -> BTreeMap<ViewName, History> {
    let mut histories = BTreeMap::new();
    let Some(section) = root.get("views").map(|value| reader.table(value, "views".to_owned())) else {
        return histories;
    };
    for (name, span, value) in section.entries() {
        let Some((name, view)) = views.iter().find(|(known, _)| known.as_str() == name) else {
            let names = || views.keys().map(ViewName::as_str);
            let meant =
                suggest::nearest(name, names()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            reader.fault(
                span,
                format!("there is no view `{name}`"),
                format!("{meant}the views are {}", suggest::list(names())),
            );
            continue;
        };
        let of_view = reader.table(value, format!("views.{name}"));
        reader.only(&of_view, KEYS);
        let keep = reader.required(&of_view, "keep", &DURATION);
        let roll_up = reader.optional(&of_view, "roll_up", &TEXT);
        if let (Some(grain), Some(value)) = (&roll_up, of_view.get("roll_up"))
            && history::coarser(view.grain, grain).is_none()
        {
            let message =
                format!("`views.{name}.roll_up` is \"{grain}\", and the view has buckets of one {}", view.grain);
            reader.fault(
                value.span(),
                message,
                "it is a longer grain that is made of whole buckets of the view, as \"day\" or \"6h\"",
            );
            continue;
        }
        if let Some(keep) = keep {
            histories.insert(name.clone(), History { keep, roll_up });
        }
    }
    histories
}
