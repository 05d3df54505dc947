//! Certificates for tests, made by openssl: authorities, and what they sign for this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::pipeline::TlsFiles;

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// The names that certificates are for.
const NAMES: &str = "subjectAltName = DNS:localhost, IP:127.0.0.1\n";

/// An authority that signs certificates, two days valid as its own is.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    name: String,
}

impl Authority {
    /// A new one, whose files are in `folder` and called by `name`.
    ///
    /// # Panics
    /// If openssl cannot make it.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        fs::write(folder.join("names"), NAMES).expect("the folder is writable");
        openssl(folder, &format!("req -x509 {KEY} -keyout {name}.key -out {name}.pem -subj /CN={name} -days 2"));
        Self { folder: folder.to_owned(), name: name.to_owned() }
    }

    /// Its own certificate, which those trust who trust it.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// A certificate for this machine, called `name`, and its key.
    ///
    /// # Panics
    /// If openssl cannot make it.
    #[must_use]
    pub fn sign(&self, name: &str) -> TlsFiles {
        let (folder, by) = (&self.folder, &self.name);
        openssl(folder, &format!("req {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        let signer = format!("-CA {by}.pem -CAkey {by}.key -CAcreateserial -days 2 -extfile names");
        openssl(folder, &format!("x509 -req -in {name}.csr -out {name}.pem {signer}"));
        TlsFiles { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl makes certificates for tests");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
