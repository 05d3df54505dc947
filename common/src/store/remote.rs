//! Objects in a bucket of S3, Google Cloud Storage or Azure.
//!
//! There are two clients of each bucket. Requests that may be made twice go through one that tries again by itself what a
//! server refuses for a while. A conditional put must not: if its first try took effect and only the answer was lost, the
//! client's second try finds the first one's object and says that another was faster. So it goes through a client that
//! never tries again, and [`super::retry`] does, which tells its own object from another's.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    BackoffConfig, CopyMode, CopyOptions, Error as ObjectError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    path::Path,
    prefix::PrefixStore,
};
use url::Url;

use super::{
    Error,
    options::{Options, Service},
};
use crate::limits;

/// The longest wait of a client between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The objects below `url`, which is of `service`. Asks no server anything. `backoff` is the first wait of the client that
/// tries again.
pub(super) fn open(
    url: &Url,
    service: Service,
    options: &Options,
    backoff: Duration,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let wrong = |message: String| Error::Url { url: without_secrets(url), message };
    let secret =
        url.password().is_some() || url.query().is_some() || (service == Service::S3 && !url.username().is_empty());
    if secret {
        return Err(wrong("a store's url has no secrets; [store.options] or the environment has them".to_owned()));
    }
    let prefix = Path::from_url_path(url.path()).map_err(|error| wrong(error.to_string()))?;
    let plain = options.get("endpoint").or(options.get("aws_endpoint")).is_some_and(|to| to.starts_with("http://"));
    let allowed =
        ["allow_http", "aws_allow_http", "azure_allow_http"].iter().any(|name| options.get(name) == Some("true"));
    if plain && !allowed {
        return Err(wrong(
            "its endpoint is http:, without encryption; say allow_http = \"true\" if it shall be".to_owned(),
        ));
    }
    // A fault of the builder may quote a value, but for what kind of thing it is: an option that is a secret is any text.
    let built = |retry| build(url, service, options, retry).map_err(|error| wrong(error.to_string()));
    let patient = RetryConfig {
        max_retries: limits::STORE_REQUEST_RETRIES_MAX,
        backoff: BackoffConfig { init_backoff: backoff, max_backoff: backoff.max(BACKOFF_MAX), base: 2.0 },
        ..RetryConfig::default()
    };
    let once = RetryConfig { max_retries: 0, ..patient.clone() };
    let bucket = Bucket { patient: built(patient)?, once: built(once)? };
    Ok(if prefix.is_root() { Arc::new(bucket) } else { Arc::new(PrefixStore::new(bucket, prefix)) })
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for a URL with a host.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

/// A client of the bucket: what the environment says, and the options above it.
fn build(url: &Url, service: Service, options: &Options, retry: RetryConfig) -> Result<Arc<dyn ObjectStore>> {
    Ok(match service {
        Service::S3 => {
            let mut builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry);
            for (name, value) in options.iter() {
                builder = builder.with_config(name.parse::<AmazonS3ConfigKey>()?, value);
            }
            Arc::new(builder.build()?)
        }
        Service::Gcs => {
            let mut builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            for (name, value) in options.iter() {
                builder = builder.with_config(name.parse::<GoogleConfigKey>()?, value);
            }
            Arc::new(builder.build()?)
        }
        Service::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            for (name, value) in options.iter() {
                builder = builder.with_config(name.parse::<AzureConfigKey>()?, value);
            }
            Arc::new(builder.build()?)
        }
    })
}

#[derive(Debug)]
struct Bucket {
    /// Tries again what may be done twice.
    patient: Arc<dyn ObjectStore>,
    /// Tries everything once.
    once: Arc<dyn ObjectStore>,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patient.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let client = if options.mode == PutMode::Overwrite { &self.patient } else { &self.once };
        client.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.patient.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.patient.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.patient.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.patient.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.patient.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.patient.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.patient.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if options.mode == CopyMode::Create {
            // Not every service has it, and nothing here needs it.
            let (operation, implementer) = ("copy_opts to create".into(), "Bucket".into());
            return Err(ObjectError::NotImplemented { operation, implementer });
        }
        self.patient.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
