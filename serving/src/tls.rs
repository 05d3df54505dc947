//! TLS 1.2 and 1.3 for what this process serves: a certificate and its key from files, looked at when it starts and read again when
//! they change or SIGHUP comes. A pair that is wrong stops the start; later, the one before goes on.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use common::{clock::Clock, limits::CERTIFICATE_INTERVAL, pipeline::TlsFiles};
use jiff::{Timestamp, civil::DateTime};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or has no such thing in PEM.
    #[error("{what} `{}` cannot be read: {detail}", path.display())]
    File {
        /// `certificate` or `key`, by its name in the pipeline file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// They are of no use together.
    #[error("`serving.tls.key` does not belong to `serving.tls.certificate` ({0})")]
    Mismatch(rustls::Error),
    /// It is not valid at this time.
    #[error("the certificate `{}` {detail}", path.display())]
    Validity {
        /// The file.
        path: PathBuf,
        /// Since or until when.
        detail: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// Signals cannot be listened to.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// When each of two files last changed.
type Changed = [Option<SystemTime>; 2];

/// The certificate that is shown now.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    clock: Arc<dyn Clock>,
    shown: ArcSwap<CertifiedKey>,
    /// How the files were when they were last read, for good or not.
    seen: Mutex<Changed>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.load_full())
    }
}

impl Certificate {
    /// The one of `files`.
    ///
    /// # Errors
    /// If a file cannot be read, they do not belong together, or the certificate is not valid now.
    pub fn load(files: TlsFiles, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Error> {
        // Looked at first: what changes while it is read is read again.
        let seen = Mutex::new(changed(&files));
        let shown = ArcSwap::from_pointee(read(&files, clock.as_ref())?);
        Ok(Arc::new(Self { files, clock, shown, seen }))
    }

    /// Takes connections with it, of this application protocol.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn acceptor(self: &Arc<Self>, protocol: &[u8]) -> Result<TlsAcceptor, Error> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let certificate: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = config.with_no_client_auth().with_cert_resolver(certificate);
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Self::load`]; the one before is shown then.
    pub fn reload(&self) -> Result<(), Error> {
        *self.seen() = changed(&self.files);
        self.shown.store(Arc::new(read(&self.files, self.clock.as_ref())?));
        Ok(())
    }

    /// Reads the files again when they change and at SIGHUP, until `stop`.
    ///
    /// # Errors
    /// If signals cannot be listened to.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) -> Result<(), Error> {
        self.watch_every(CERTIFICATE_INTERVAL, stop).await
    }

    async fn watch_every(&self, interval: Duration, stop: CancellationToken) -> Result<(), Error> {
        let mut hangups = signal(SignalKind::hangup())?;
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = hangups.recv() => true,
                () = tokio::time::sleep(interval) => false,
            };
            if !asked && *self.seen() == changed(&self.files) {
                continue;
            }
            match self.reload() {
                Ok(()) => info!("the certificate was read again"),
                Err(failure) => error!(%failure, "the certificate cannot be used, the one before goes on"),
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Changed> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changed(files: &TlsFiles) -> Changed {
    [&files.certificate, &files.key].map(|path| std::fs::metadata(path).and_then(|of| of.modified()).ok())
}

fn read(files: &TlsFiles, clock: &dyn Clock) -> Result<CertifiedKey, Error> {
    let at = |what, path: &Path, detail: String| Error::File { what, path: path.to_owned(), detail };
    let wrong = |detail: String| at("serving.tls.certificate", &files.certificate, detail);
    let chain = CertificateDer::pem_file_iter(&files.certificate).map_err(|error| wrong(said(&error)))?;
    let chain: Vec<CertificateDer<'static>> = chain.collect::<Result<_, _>>().map_err(|error| wrong(said(&error)))?;
    let first = chain.first().ok_or_else(|| wrong("it has no certificate".to_owned()))?;
    let (from, to) = validity(first).ok_or_else(|| wrong("it is no X.509 certificate".to_owned()))?;
    let now = Timestamp::from_microsecond(clock.now_us()).unwrap_or(Timestamp::MAX);
    let invalid = |detail| Error::Validity { path: files.certificate.clone(), detail };
    if now >= to {
        return Err(invalid(format!("expired at {to}")));
    }
    if now < from {
        return Err(invalid(format!("is not valid before {from}")));
    }
    if to.duration_since(now) < jiff::SignedDuration::from_hours(7 * 24) {
        warn!(%to, "the certificate will soon expire");
    }
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key = key.map_err(|error| at("serving.tls.key", &files.key, said(&error)))?;
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(Error::Mismatch)
}

fn said(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "it has no such item in PEM".to_owned(),
        other => other.to_string(),
    }
}

/// From when to when a certificate is valid: `TBSCertificate.validity` of RFC 5280, section 4.1.
fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, whole, _) = element(certificate)?;
    let (_, mut rest, _) = element(whole)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (tag, validity, _) = element(rest)?;
    let (from, first, after) = element(validity)?;
    let (to, last, _) = element(after)?;
    (tag == SEQUENCE).then_some(())?;
    Some((time(from, first)?, time(to, last)?))
}

/// The first element of DER: its tag, its content, and what comes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, length, rest) = (*bytes.first()?, *bytes.get(1)?, bytes.get(2..)?);
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let count = usize::from(length & 0x7f);
        let (digits, rest) = (rest.get(..count).filter(|_| count <= 4)?, rest.get(count..)?);
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

/// A `UTCTime`, whose years are from 1950 to 2049, or a `GeneralizedTime`.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match (tag, text.get(..2)?.parse::<u8>().ok()?) {
        (0x17, 50..) => format!("19{text}"),
        (0x17, _) => format!("20{text}"),
        (0x18, _) => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use axum::{Router, routing::get};
    use common::{clock::SystemClock, testing::certificates::Authority};

    use super::*;
    use crate::http::{self, Door};

    #[derive(Debug)]
    struct At(i64);

    impl Clock for At {
        fn now_us(&self) -> i64 {
            self.0
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "authority");
        let (one, other) = (authority.sign("one"), authority.sign("other"));
        let refused =
            |files: &TlsFiles, clock: Arc<dyn Clock>| Certificate::load(files.clone(), clock).unwrap_err().to_string();
        let now: Arc<dyn Clock> = Arc::new(SystemClock);
        let mixed = TlsFiles { key: other.key.clone(), ..one.clone() };
        assert!(refused(&mixed, Arc::clone(&now)).contains("does not belong to"));
        let missing = TlsFiles { certificate: folder.path().join("none.pem"), ..one.clone() };
        assert!(refused(&missing, Arc::clone(&now)).contains("none.pem` cannot be read"));
        let swapped = TlsFiles { certificate: one.key.clone(), key: one.certificate.clone() };
        assert!(refused(&swapped, now).contains("cannot be read"));
        let years = 365 * 86_400_000_000;
        let later: Arc<dyn Clock> = Arc::new(At(SystemClock.now_us() + years));
        assert!(refused(&one, later).contains("expired at"));
        assert!(refused(&one, Arc::new(At(SystemClock.now_us() - years))).contains("is not valid before"));
    }

    #[tokio::test]
    async fn https_shows_a_new_certificate_when_it_was_read_and_the_old_one_if_it_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let signed = |name: &str| Authority::new(folder.path(), &format!("{name}-ca")).sign(name);
        let (first, second) = (signed("first"), signed("second"));
        let shown = TlsFiles { certificate: folder.path().join("shown.pem"), key: folder.path().join("shown.key") };
        let show = |files: &TlsFiles| {
            std::fs::copy(&files.certificate, &shown.certificate).unwrap();
            std::fs::copy(&files.key, &shown.key).unwrap();
        };
        show(&first);
        let certificate = Certificate::load(shown.clone(), Arc::new(SystemClock)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let door = Door { tls: Some(certificate.acceptor(http::ALPN).unwrap()), ..Door::default() };
        let router = Router::new().route("/", get(async || "over TLS"));
        let serving = tokio::spawn(http::serve(listener, router, door, stop.clone()));
        let asked = async |authority: &str| {
            let pem = std::fs::read(folder.path().join(format!("{authority}-ca.pem"))).unwrap();
            let authority = reqwest::Certificate::from_pem(&pem).unwrap();
            let client = reqwest::Client::builder().no_proxy().tls_built_in_root_certs(false);
            let client = client.add_root_certificate(authority).build().unwrap();
            let answer =
                client.get(format!("https://localhost:{port}/")).send().await.map_err(|error| format!("{error:?}"))?;
            answer.text().await.map_err(|error| error.to_string())
        };
        let told = || Ok("over TLS".to_owned());
        assert_eq!(asked("first").await, told());
        assert!(asked("second").await.is_err(), "a client that does not know it goes away");
        show(&second);
        certificate.reload().unwrap();
        assert_eq!(asked("second").await, told());
        std::fs::copy(&first.key, &shown.key).unwrap();
        certificate.reload().unwrap_err();
        assert_eq!(asked("second").await, told());
        // Whoever watches the files reads them when both have changed, whatever was there in between.
        let watching = Arc::clone(&certificate);
        let watching = async move { watching.watch_every(Duration::from_millis(1), stopping).await };
        let watching = tokio::spawn(watching);
        show(&first);
        while asked("first").await != told() {}
        assert!(asked("second").await.is_err());
        stop.cancel();
        serving.await.unwrap().unwrap();
        watching.await.unwrap().unwrap();
    }
}
