//! From the files to the pipeline.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeTable;

use super::{
    COMMIT_INTERVAL, COMMIT_SIZE, Diagnostic, LOG_DIRECTORY, Pipeline, Source, Sources, batch, history, kafka, privacy,
    reader::{Environment, Reader, Section},
    secrets,
    serving::serving,
    source::source,
    store,
    values::{CLUSTER, DURATION, SIZE, TEXT},
};
use crate::{
    decode::PseudonymKey,
    names::ViewName,
    view::{self, View},
};

const KEYS: &[&str] = &["name", "store", "log", "kafka", "commit", "serving", "batch", "privacy", "sources", "views"];

/// See [`Pipeline::load_with`].
pub(super) fn load(path: &Path, environment: Environment<'_>) -> Result<Pipeline, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| vec![Diagnostic::of_file(&file, unreadable(&error))])?;
    let (table, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        let fault =
            |error: toml::de::Error| Diagnostic::at(&file, &text, error.span().unwrap_or(0..0), error.message());
        let mut faults: Vec<Diagnostic> = errors.into_iter().map(fault).collect();
        secrets::hide(&text, table.get_ref(), &mut faults);
        faults.sort_by_key(place);
        return Err(faults);
    }
    let mut reader = Reader::new(&file, &text, environment);
    let root = Section::root(table.get_ref());
    reader.only(&root, KEYS);
    let pipeline = settings(&mut reader, &root, &directory(path));
    let pseudonyms = privacy::key(&mut reader, &root, &directory(path));
    let sources = sources(&mut reader, &root, pseudonyms);
    let mut of_views = Vec::new();
    // A view over a source that is itself wrong would only be wrong again.
    let views = sources.as_ref().map(|sources| views(&path.with_file_name("views"), sources, &mut of_views));
    // And settings of views that are wrong would be of views that are not there.
    let whole = views.as_ref().filter(|_| of_views.is_empty());
    let histories = whole.map(|views| history::histories(&mut reader, &root, views)).unwrap_or_default();
    let mut faults = reader.faults;
    secrets::hide(&text, table.get_ref(), &mut faults);
    faults.sort_by_key(place);
    faults.append(&mut of_views);
    match (pipeline, sources, views) {
        (Some(pipeline), Some(sources), Some(views)) if faults.is_empty() => {
            Ok(Pipeline { sources, views, histories, ..pipeline })
        }
        _ => Err(faults),
    }
}

fn place(fault: &Diagnostic) -> (Option<usize>, Option<usize>) {
    (fault.line, fault.column)
}

fn unreadable(error: &std::io::Error) -> String {
    format!("cannot be read: {error}")
}

/// The directory that relative paths in the file at `path` are relative to, absolute.
fn directory(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    absolute.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The pipeline without its sources and views.
fn settings(reader: &mut Reader<'_>, root: &Section<'_>, directory: &Path) -> Option<Pipeline> {
    let (store, store_options) = store::store(reader, root, directory)?;
    let log = reader.section(root, "log", &["directory"]);
    let commit = reader.section(root, "commit", &["interval", "size"]);
    let name = reader.required(root, "name", &CLUSTER);
    let log_directory = reader.or(&log, "directory", &TEXT, LOG_DIRECTORY.to_owned());
    let (kafka, feed_topic) = kafka::settings(reader, root, directory).unzip();
    let pipeline = Pipeline {
        name: name.clone().unwrap_or_default(),
        store,
        store_options,
        log_directory: directory.join(log_directory),
        kafka,
        feed_topic: feed_topic.flatten(),
        commit_interval: reader.or(&commit, "interval", &DURATION, COMMIT_INTERVAL),
        commit_size: reader.or(&commit, "size", &SIZE, COMMIT_SIZE),
        serving: serving(reader, root),
        batch: batch::batch(reader, root),
        sources: Sources::new(),
        views: BTreeMap::new(),
        histories: BTreeMap::new(),
    };
    name.map(|_| pipeline)
}

/// The sources; `None` if one of them is so wrong that nothing can be said of its views.
fn sources(reader: &mut Reader<'_>, root: &Section<'_>, pseudonyms: Option<PseudonymKey>) -> Option<Sources> {
    let section = root.get("sources").map(|value| reader.table(value, "sources".to_owned()));
    let entries = section.map(|section| section.entries()).unwrap_or_default();
    if entries.is_empty() {
        reader.fault(0..0, "the pipeline has no source", "[sources.<name>] is one");
        return None;
    }
    let mut sources: Vec<Option<Source>> = Vec::new();
    for (name, span, value) in entries {
        let source = source(reader, name, span.clone(), value, pseudonyms);
        if source.as_ref().is_some_and(|source| source.kafka.is_some()) && root.get("kafka").is_none() {
            reader.fault(
                span,
                format!("`sources.{name}.topic` is of Kafka, and there is no [kafka]"),
                "[kafka] names the brokers",
            );
        }
        sources.push(source);
    }
    sources.into_iter().map(|source| source.map(|source| (source.name.clone(), source))).collect()
}

/// The views in `*.sql` of `directory`, in the order of the file names; what is wrong goes to `faults`.
fn views(directory: &Path, sources: &Sources, faults: &mut Vec<Diagnostic>) -> BTreeMap<ViewName, Arc<View>> {
    let mut views: BTreeMap<ViewName, (Arc<View>, String)> = BTreeMap::new();
    let files = match sql_files(directory) {
        Ok(files) => files,
        Err(error) => {
            faults.push(Diagnostic::of_file(&directory.display().to_string(), unreadable(&error)));
            return BTreeMap::new();
        }
    };
    for path in files {
        let file = path.display().to_string();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                faults.push(Diagnostic::of_file(&file, unreadable(&error)));
                continue;
            }
        };
        match view::parse_with_place(&text, &file, sources) {
            Ok((view, name)) => match twin(&view, &views) {
                Some(twin) => {
                    faults.push(Diagnostic::at(&file, &text, name, twin).help("remove or change one of them"))
                }
                None => {
                    views.insert(view.name.clone(), (Arc::new(view), file));
                }
            },
            Err(mut wrong) => faults.append(&mut wrong),
        }
    }
    views.into_iter().map(|(name, (view, _))| (name, view)).collect()
}

/// What to say if one of `views` has the name of `view`, or asks the same: their segments and deltas would be one.
fn twin(view: &View, views: &BTreeMap<ViewName, (Arc<View>, String)>) -> Option<String> {
    if let Some((_, file)) = views.get(&view.name) {
        return Some(format!("the view `{}` is defined already, in {file}", view.name));
    }
    let (twin, file) = views.values().find(|(other, _)| other.id == view.id)?;
    Some(format!("`{}` asks the very same as `{}`, in {file}", view.name, twin.name))
}

fn sql_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // A pipeline may only collect events.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    Ok(files)
}
