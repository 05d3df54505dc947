//! Files as a user names them: paths, URLs and patterns of either.

use std::{path::PathBuf, time::UNIX_EPOCH};

use anyhow::{Context, bail};
use batch::maintain::load::{File, content_hash};
use common::{
    pipeline::Pipeline,
    store::{Listed, Store},
};
use tempfile::NamedTempFile;
use url::Url;

/// A file that was found.
#[derive(Debug)]
pub(super) enum Found {
    /// On this machine.
    Local(PathBuf),
    /// In an object store.
    Remote {
        store: Store,
        object: Listed,
        /// Where it is, for people.
        url: String,
    },
}

/// A file that is there to be read. What was downloaded is removed when this is dropped.
pub(super) struct Ready {
    pub(super) file: File,
    _downloaded: Option<NamedTempFile>,
}

/// The files that `names` name, those of a pattern in the order of their names.
pub(super) async fn find(pipeline: &Pipeline, names: &[String]) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    for name in names {
        let before = found.len();
        match name.split_once("://") {
            Some(("file", _)) => {
                let path = Url::parse(name)?.to_file_path();
                found.push(Found::Local(path.map_err(|()| anyhow::anyhow!("{name} is no path of this machine"))?));
            }
            Some(_) => remote(pipeline, name, &mut found).await?,
            None if is_pattern(name) => {
                for path in glob::glob(name).with_context(|| format!("`{name}` is no pattern"))? {
                    found.push(Found::Local(path?));
                }
            }
            None => found.push(Found::Local(PathBuf::from(name))),
        }
        if found.len() == before {
            bail!("no file matches `{name}`");
        }
    }
    Ok(found)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

async fn remote(pipeline: &Pipeline, name: &str, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let fixed = name.find(['*', '?', '[']).map_or(name, |wild| &name[..wild]);
    let folder = fixed.rfind('/').map_or(fixed, |slash| &name[..slash]);
    let url = Url::parse(folder).with_context(|| format!("`{name}` is no URL"))?;
    // Credentials of the pipeline's own store are good for other places of the same service.
    let same_service = url.scheme() == pipeline.store.scheme();
    let options = if same_service { pipeline.store_options.clone() } else { Default::default() };
    let store = Store::open_with(&url, &options)?;
    let rest = &name[folder.len()..].trim_start_matches('/');
    let place = |object: &Listed| format!("{folder}/{}", object.path);
    if is_pattern(name) {
        let pattern = glob::Pattern::new(rest).with_context(|| format!("`{name}` is no pattern"))?;
        let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
        for object in store.list_objects(&Default::default()).await? {
            if pattern.matches_with(object.path.as_ref(), options) {
                found.push(Found::Remote { store: store.clone(), url: place(&object), object });
            }
        }
    } else if let Some(object) = store.look(&(*rest).into()).await? {
        found.push(Found::Remote { url: place(&object), store, object });
    }
    Ok(())
}

impl Found {
    /// Makes the file ready to be read: hashes one of this machine, downloads one of a store. `load` is the name that the
    /// load was given, if it was.
    pub(super) async fn ready(self, load: Option<&str>) -> anyhow::Result<Ready> {
        match self {
            Self::Local(path) => {
                let cannot = || format!("cannot read {}", path.display());
                let name = path.display().to_string();
                let modified = path.metadata().and_then(|metadata| metadata.modified()).with_context(cannot)?;
                let after = modified.duration_since(UNIX_EPOCH).map_or(0, |after| after.as_micros());
                let identity = match load {
                    Some(load) => named(load, &name),
                    None => {
                        let (full, hashed) = (path.canonicalize().with_context(cannot)?, path.clone());
                        let hash = tokio::task::spawn_blocking(move || content_hash(&hashed)).await?;
                        format!("file {} {}", full.display(), hash.with_context(cannot)?)
                    }
                };
                let timestamp_us = i64::try_from(after)?;
                Ok(Ready { file: File { path, name, identity, timestamp_us }, _downloaded: None })
            }
            Self::Remote { store, object, url } => {
                let identity = match load {
                    Some(load) => named(load, &url),
                    None => format!("object {url} {} {}", object.bytes, object.e_tag.as_deref().unwrap_or_default()),
                };
                // The end of the name says what is in the file.
                let suffix = format!("-{}", object.path.filename().unwrap_or_default());
                let downloaded = tempfile::Builder::new().suffix(&suffix).tempfile()?;
                store.download(&object, downloaded.reopen()?).await.with_context(|| format!("cannot read {url}"))?;
                let path = downloaded.path().to_owned();
                let file = File { path, name: url, identity, timestamp_us: object.modified_us };
                Ok(Ready { file, _downloaded: Some(downloaded) })
            }
        }
    }
}

/// The identity of a file in a load that has a name: its own name, wherever it lies.
fn named(load: &str, file: &str) -> String {
    format!("load {load} {}", file.rsplit('/').next().unwrap_or(file))
}
