//! Whom TLS trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::error::OptionError;

/// An option and the file that it names.
pub(crate) type Named = (&'static str, PathBuf);

/// What the options say.
#[derive(Default)]
pub(crate) struct Trust {
    /// Certificates of authorities, in PEM. With them no others are trusted, without them the system's are.
    pub authorities: Option<Named>,
    /// The server may be anyone.
    pub skip_verify: bool,
    /// The client's own certificates and their key, in PEM.
    pub identity: Option<(Named, Named)>,
}

impl Trust {
    pub fn config(self) -> Result<ClientConfig, OptionError> {
        let builder = self.verifier()?;
        let Some((certificates, key)) = self.identity else { return Ok(builder.with_no_client_auth()) };
        let chain = read_certificates(&certificates)?;
        let secret = PrivateKeyDer::from_pem_file(&key.1).map_err(|error| unusable(&key, error))?;
        builder.with_client_auth_cert(chain, secret).map_err(|error| unusable(&key, error))
    }

    fn verifier(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, OptionError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| OptionError::Tls(error.into()))?;
        if self.skip_verify {
            return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))));
        }
        match &self.authorities {
            Some(file) => Ok(builder.with_root_certificates(roots(file)?)),
            None => builder.with_native_roots().map_err(|error| OptionError::Tls(error.into())),
        }
    }
}

/// For connections that will not be TLS.
pub(crate) fn trust_nobody() -> Result<ClientConfig, OptionError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| OptionError::Tls(error.into()))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn roots(file: &Named) -> Result<RootCertStore, OptionError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(file, error))?;
    }
    Ok(roots)
}

fn read_certificates(file: &Named) -> Result<Vec<CertificateDer<'static>>, OptionError> {
    let read = |path: &Path| CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, pem::Error>>();
    match read(&file.1) {
        Ok(certificates) if certificates.is_empty() => Err(unusable(file, "there is no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(file, error)),
    }
}

fn unusable((option, path): &Named, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OptionError {
    OptionError::File { option, path: path.clone(), source: source.into() }
}

/// Takes any certificate, as long as the server has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
