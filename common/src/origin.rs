//! Which topic a source's positions are of: an offset says nothing of another topic, be it of the same name.
//!
//! One object, `origins/<source>.json`, written when a source starts whose topic was not noted, or of which nothing was committed yet.

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::{
    names::SourceName,
    store::{Error, Store},
};

/// A topic, told from all others. Written as JSON: `{"topic": "orders", "id": "Yf4yB4ptQ2a8Gx8e0c7h1g"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its name.
    pub topic: String,
    /// Its identity, given when it was made.
    pub id: String,
}

/// The topic that the positions of `source` are of; `None` if that was not noted, or what is there says nothing.
///
/// # Errors
/// [`Error`].
pub async fn read(store: &Store, source: &SourceName) -> Result<Option<Origin>, Error> {
    let noted = store.get(&path(source)).await?;
    Ok(noted.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Notes that the positions of `source` are of `origin`.
///
/// # Errors
/// [`Error`].
pub async fn write(store: &Store, source: &SourceName, origin: &Origin) -> Result<(), Error> {
    let text = serde_json::to_vec(origin).expect("an origin is plain data");
    store.put(&path(source), Bytes::from(text)).await
}

/// Where it is noted. Without the object, positions are taken to be of the topic that is there.
#[must_use]
pub fn path(source: &SourceName) -> Path {
    Path::from("origins").join(format!("{source}.json"))
}
