//! An authority of a test, and the certificates that it signs.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

use crate::{Error, command};

/// A certificate authority, by the `openssl` program, in a temporary directory.
pub struct TestCa {
    directory: TempDir,
}

/// A certificate and its key, files that live as long as their authority.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl TestCa {
    /// A new one.
    pub fn new() -> Result<Self, Error> {
        let directory = TempDir::with_prefix("trunkline-lab-").map_err(Error::io("make a temporary directory"))?;
        let ca = Self { directory };
        let made = ca.files("ca");
        // Two authorities of one name would be taken for one whose signature is broken.
        let name = ca.directory.path().file_name().unwrap_or_default().to_string_lossy();
        let subject = format!("/CN={name}");
        let arguments = ["req", "-x509", "-nodes", "-days", "2", "-subj", &subject, "-newkey", "ec"];
        let curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"];
        ca.openssl(&[&arguments[..], &curve, &["-keyout", text(&made.key), "-out", text(&made.cert)]].concat())?;
        Ok(ca)
    }

    /// The authority's certificate, PEM.
    pub fn path(&self) -> PathBuf {
        self.files("ca").cert
    }

    /// A certificate for servers and clients, `name` its common name, good for these addresses.
    pub fn sign(&self, name: &str, addresses: &[IpAddr]) -> Result<Certificate, Error> {
        let (made, ca) = (self.files(name), self.files("ca"));
        let request = self.directory.path().join(format!("{name}.csr"));
        let extensions = self.directory.path().join(format!("{name}.ext"));
        let names: Vec<String> = addresses.iter().map(|address| format!("IP:{address}")).collect();
        let names = if names.is_empty() { format!("DNS:{name}") } else { names.join(",") };
        let lines =
            format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n");
        fs::write(&extensions, lines).map_err(Error::io("write a certificate's extensions"))?;
        let subject = format!("/CN={name}");
        let arguments =
            ["req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", &subject];
        self.openssl(&[&arguments[..], &["-keyout", text(&made.key), "-out", text(&request)]].concat())?;
        let arguments = ["x509", "-req", "-days", "2", "-in", text(&request), "-out", text(&made.cert)];
        let signer = ["-CA", text(&ca.cert), "-CAkey", text(&ca.key), "-CAcreateserial", "-extfile", text(&extensions)];
        self.openssl(&[&arguments[..], &signer].concat())?;
        Ok(made)
    }

    fn files(&self, name: &str) -> Certificate {
        let path = |kind: &str| self.directory.path().join(format!("{name}.{kind}"));
        Certificate { cert: path("pem"), key: path("key") }
    }

    fn openssl(&self, arguments: &[&str]) -> Result<(), Error> {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments);
        let output = command::run("this machine", openssl)?;
        if output.success() {
            return Ok(());
        }
        let (host, stderr) = ("this machine".to_owned(), output.stderr.trim().replace('\n', "; "));
        Err(Error::Failed { command: output.command, host, status: output.status, stderr })
    }
}

/// Names of temporary files are ours, and UTF-8.
fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
