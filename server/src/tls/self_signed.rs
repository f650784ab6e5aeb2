use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{CertificateParams, DnType, KeyPair};

use crate::Error;

/// How many years a certificate that vouches for itself is valid.
const YEARS: i32 = 10;

/// The year by the system's clock, near enough at its ends.
fn this_year() -> i32 {
    const SECONDS: u64 = 31_556_952;
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i32::try_from(1970 + since.as_secs() / SECONDS).unwrap_or(1970)
}

/// Makes a key and a certificate that vouches for itself, for this machine's
/// name and loopback. The key is readable by its owner alone; each file
/// appears whole or not at all, the key first.
///
/// # Errors
/// [`Error::Tls`] and [`Error::File`].
pub fn make_self_signed(cert_file: &Path, key_file: &Path) -> Result<(), Error> {
    let failed = |e: rcgen::Error| Error::Tls {
        file: cert_file.to_owned(),
        reason: format!("cannot make a certificate: {e}"),
    };
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    if !host.is_empty() && host != "localhost" {
        names.insert(0, host.clone());
    }
    let key = KeyPair::generate().map_err(failed)?;
    let mut parameters = CertificateParams::new(names).map_err(failed)?;
    parameters.distinguished_name.push(DnType::CommonName, host);
    // From the beginning of last year, for clocks that are behind.
    let year = this_year();
    parameters.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(year + YEARS, 1, 1);
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    write(key_file, &key.serialize_pem(), 0o600)?;
    write(cert_file, &certificate.pem(), 0o644)
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let error = |source| Error::file("write", file, source);
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // Readable by its owner alone from the beginning.
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(error)?;
    new.write_all(text.as_bytes()).map_err(error)?;
    new.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .map_err(error)?;
    new.as_file().sync_all().map_err(error)?;
    new.persist(file).map_err(|e| error(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        make_self_signed(&cert, &key).unwrap();
        let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cert), mode(&key)), (0o644, 0o600));
    }
}
