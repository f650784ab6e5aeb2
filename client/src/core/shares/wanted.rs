//! Which folders a client shares by itself.

use std::path::PathBuf;

use qvd_slaveclient::Offer;

/// What the configuration says of shared folders.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// The folders, the home among them where it is wanted.
    pub folders: Vec<Offer>,
    /// The folders beneath which media are mounted.
    pub media: Vec<PathBuf>,
    /// Whether media are shared read only.
    pub read_only: bool,
}

impl Shared {
    /// Everything that is to be shared while `media` are there.
    pub(super) fn wanted(&self, media: Vec<PathBuf>) -> Vec<Offer> {
        let media = media.into_iter().map(|path| Offer {
            path,
            name: None,
            read_only: self.read_only,
        });
        self.folders.iter().cloned().chain(media).collect()
    }
}
