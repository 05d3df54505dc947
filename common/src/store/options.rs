//! Options of object storage: what `[store.options]` says, by the names that `object_store` gives them.
//!
//! Values may be secrets: nothing here prints one, and no error quotes one.

use std::{collections::BTreeMap, fmt};

use object_store::{aws::AmazonS3ConfigKey, azure::AzureConfigKey, gcp::GoogleConfigKey};
use url::Url;

/// A service that objects can be kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Gcs,
    Azure,
}

impl Service {
    /// The service that a URL is of, if it is of one.
    pub(super) fn of(url: &Url) -> Option<Self> {
        Some(match url.scheme() {
            "s3" | "s3a" => Self::S3,
            "gs" => Self::Gcs,
            "az" | "abfs" | "abfss" => Self::Azure,
            _ => return None,
        })
    }

    fn knows(self, option: &str) -> bool {
        match self {
            Self::S3 => option.parse::<AmazonS3ConfigKey>().is_ok(),
            Self::Gcs => option.parse::<GoogleConfigKey>().is_ok(),
            Self::Azure => option.parse::<AzureConfigKey>().is_ok(),
        }
    }

    /// Its name, and the options that most need.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::S3 => {
                ("S3", "access_key_id, secret_access_key, session_token, region, endpoint, allow_http, timeout")
            }
            Self::Gcs => {
                ("Google Cloud Storage", "service_account, service_account_key, application_credentials, timeout")
            }
            Self::Azure => {
                ("Azure", "account_name, account_key, client_id, client_secret, tenant_id, sas_key, timeout")
            }
        }
    }
}

/// Options of a store, by name. `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Sets the option `name` of the store at `url`.
    ///
    /// # Errors
    /// What is wrong with the name, or with the option being set at all, and what is allowed. Never the value.
    pub fn set(&mut self, url: &Url, name: &str, value: &str) -> Result<(), String> {
        let Some(service) = Service::of(url) else {
            return Err(format!("a store at `{}:` has no options", url.scheme()));
        };
        let (words, common) = service.words();
        let name = name.to_ascii_lowercase();
        if !service.knows(&name) {
            return Err(format!("`{name}` is no option of {words}; most need some of {common}"));
        }
        if name.ends_with("conditional_put") {
            return Err(format!("`{name}` cannot be set: commits rest on conditional puts"));
        }
        self.0.insert(name, value.to_owned());
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
