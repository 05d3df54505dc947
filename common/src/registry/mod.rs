//! A schema registry with Confluent's REST API: which schema a record was written with.
//!
//! An id means one schema for ever, so what was asked once is never asked again. Nothing here knows what a schema says.

mod answer;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, sync::Arc};

use jiff::SignedDuration;
use reqwest::{Client, StatusCode, header::ACCEPT};
use tokio::sync::Mutex;
use url::Url;

use self::answer::{Answer, Refusal};
use crate::limits::{SCHEMA_BYTES_MAX, SCHEMA_REFERENCES_MAX};

/// Why a schema could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry cannot be reached, or has a fault of its own. It may be asked again.
    #[error("the schema registry at {url} did not answer")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry answers, but not what was asked for: wrong credentials, or no registry at all. A person must look.
    #[error("the schema registry at {url} refused: {message}")]
    Refused {
        /// What was asked for.
        url: String,
        /// What it said.
        message: String,
    },
}

impl Error {
    /// Whether asking again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How a registry knows who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// It does not.
    #[default]
    None,
    /// By name and password (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// By a token (RFC 6750).
    Bearer(Secret),
}

/// Where a registry is, and how it is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its address, `http:` or `https:`.
    pub url: Url,
    /// Who asks.
    pub login: Login,
    /// How long one answer may take.
    pub timeout: SignedDuration,
}

/// What kind of schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    /// An Avro schema in JSON.
    Avro,
    /// A Protobuf file.
    Protobuf,
    /// A JSON Schema, or what else registries have.
    Other,
}

/// A schema that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: u32,
    /// Its kind.
    pub kind: SchemaKind,
    /// The schema.
    pub text: String,
    /// The schemas that it refers to by name, and those that these refer to: each after the ones it needs.
    pub references: Vec<Reference>,
}

/// A schema that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name it is referred to by: of a type, or of a file.
    pub name: String,
    /// The schema.
    pub text: String,
}

/// A registry.
pub struct Registry {
    settings: Settings,
    client: Client,
    /// The schemas by id. Locked while one is asked for, so that it is asked for once.
    known: Mutex<HashMap<u32, Arc<Registered>>>,
}

impl Registry {
    /// The registry that `settings` say. Asks it for nothing yet.
    ///
    /// # Errors
    /// [`Error::Refused`] if this machine has no certificates to trust others by.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let client = Client::builder().timeout(settings.timeout.unsigned_abs()).build();
        let refused = |error: reqwest::Error| Error::Refused { url: settings.url.to_string(), message: chain(&error) };
        let client = client.map_err(refused)?;
        Ok(Self { settings, client, known: Mutex::default() })
    }

    /// How it is asked.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The schema of this id; `None` if there is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn schema(&self, id: u32) -> Result<Option<Arc<Registered>>, Error> {
        let mut known = self.known.lock().await;
        if let Some(schema) = known.get(&id) {
            return Ok(Some(Arc::clone(schema)));
        }
        let Some(answer) = self.get(&["schemas", "ids", &id.to_string()]).await? else { return Ok(None) };
        let schema = Arc::new(self.registered(id, answer).await?);
        known.insert(id, Arc::clone(&schema));
        Ok(Some(schema))
    }

    /// The newest schema of `subject`; `None` if there is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn latest(&self, subject: &str) -> Result<Option<Arc<Registered>>, Error> {
        let Some(answer) = self.get(&["subjects", subject, "versions", "latest"]).await? else { return Ok(None) };
        let id = answer.id.ok_or_else(|| self.refused(&["subjects", subject], "an answer without an id"))?;
        self.registered(id, answer).await.map(|schema| Some(Arc::new(schema)))
    }

    async fn registered(&self, id: u32, answer: Answer) -> Result<Registered, Error> {
        let mut references = Vec::new();
        // Depth first: what a schema needs comes before it. The second time it is met its own needs are there.
        let mut pending: Vec<(answer::Reference, bool)> =
            answer.references.into_iter().rev().map(|r| (r, false)).collect();
        let mut texts: HashMap<(String, i64), String> = HashMap::new();
        while let Some((reference, ready)) = pending.pop() {
            let key = (reference.subject.clone(), reference.version);
            if ready {
                if !references.iter().any(|known: &Reference| known.name == reference.name) {
                    let text = texts.get(&key).cloned().unwrap_or_default();
                    references.push(Reference { name: reference.name, text });
                }
                continue;
            }
            if texts.contains_key(&key) {
                pending.push((reference, true));
                continue;
            }
            let path = ["subjects", &key.0, "versions", &key.1.to_string()];
            if texts.len() >= SCHEMA_REFERENCES_MAX {
                return Err(self.refused(&path, &format!("more than {SCHEMA_REFERENCES_MAX} references")));
            }
            let found = self.get(&path).await?;
            let found =
                found.ok_or_else(|| self.refused(&path, &format!("schema {id} refers to what is not there")))?;
            texts.insert(key.clone(), found.schema);
            pending.push((reference, true));
            pending.extend(found.references.into_iter().rev().map(|reference| (reference, false)));
        }
        Ok(Registered { id, kind: answer.kind, text: answer.schema, references })
    }

    /// What the registry has at `path`; `None` if it says that it has nothing there.
    async fn get(&self, path: &[&str]) -> Result<Option<Answer>, Error> {
        let url = self.url_of(path);
        let request =
            self.client.get(url.clone()).header(ACCEPT, "application/vnd.schemaregistry.v1+json, application/json");
        let request = match &self.settings.login {
            Login::None => request,
            Login::Basic { user, password } => request.basic_auth(user, Some(&password.0)),
            Login::Bearer(token) => request.bearer_auth(&token.0),
        };
        let unreachable = |error: reqwest::Error| Error::Unreachable { url: url.to_string(), source: Box::new(error) };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > SCHEMA_BYTES_MAX {
                return Err(self.refused(path, &format!("an answer of more than {SCHEMA_BYTES_MAX} bytes")));
            }
        }
        if status.is_success() {
            let answer = serde_json::from_slice(&body);
            return answer.map(Some).map_err(|error| self.refused(path, &format!("what is no schema: {error}")));
        }
        let refusal: Option<Refusal> = serde_json::from_slice(&body).ok();
        match refusal {
            Some(refusal) if status == StatusCode::NOT_FOUND && refusal.is_not_found() => Ok(None),
            refusal => {
                let message =
                    refusal.map_or_else(|| status.to_string(), |refusal| format!("{status}: {}", refusal.message));
                let transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                Err(match transient {
                    true => Error::Unreachable { url: url.to_string(), source: message.into() },
                    false => self.refused(path, &message),
                })
            }
        }
    }

    fn url_of(&self, path: &[&str]) -> Url {
        let mut url = self.settings.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn refused(&self, path: &[&str], message: &str) -> Error {
        Error::Refused { url: self.url_of(path).to_string(), message: message.to_owned() }
    }
}

impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
