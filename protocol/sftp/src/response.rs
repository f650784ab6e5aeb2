use crate::wire::Reader;
use crate::{Attributes, Error, Failure, FileSystem, Limits, MAX_HANDLE, MAX_PACKET, Status};

pub(crate) const VERSION: u8 = 2;
pub(crate) const STATUS: u8 = 101;
pub(crate) const HANDLE: u8 = 102;
pub(crate) const DATA: u8 = 103;
pub(crate) const NAME: u8 = 104;
pub(crate) const ATTRS: u8 = 105;
pub(crate) const EXTENDED_REPLY: u8 = 201;

/// What a server answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Response<'a> {
    /// How it ended: done, or why not.
    Status(Failure),
    /// An open file or folder.
    Handle(&'a [u8]),
    /// What was read.
    Data(&'a [u8]),
    /// Names of a folder, a link's target, or a real path.
    Names(Names<'a>),
    /// What is known of a file.
    Attributes(Attributes),
    /// The answer of an extension.
    Extended(&'a [u8]),
}

impl<'a> Response<'a> {
    /// Reads a packet with the number of the request it answers. `errno`:
    /// whether statuses end with an error number.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(packet: &'a [u8], errno: bool) -> Result<(u32, Self), Error> {
        let (kind, rest) = packet.split_first().ok_or(Error::Malformed { kind: 0 })?;
        let mut r = Reader::new(*kind, rest);
        let id = r.u32()?;
        let response = match *kind {
            STATUS => Self::Status(status(&mut r, errno)?),
            HANDLE => Self::Handle(r.string(MAX_HANDLE)?),
            DATA => Self::Data(r.string(MAX_PACKET)?),
            NAME => {
                let left = r.u32()?;
                let names = Names { left, reader: r };
                // Iterating stops at a malformed entry: there shall be none.
                let mut check = names.clone();
                while check.left > 0 {
                    check.entry()?;
                }
                Self::Names(names)
            }
            ATTRS => Self::Attributes(Attributes::read(&mut r)?),
            EXTENDED_REPLY => Self::Extended(r.rest()),
            kind => return Err(Error::Malformed { kind }),
        };
        Ok((id, response))
    }

    /// The limits in an extension's answer.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        let Self::Extended(fields) = self else {
            return None;
        };
        Limits::read(&mut Reader::new(EXTENDED_REPLY, fields)).ok()
    }

    /// The file system in an extension's answer.
    #[must_use]
    pub fn file_system(&self) -> Option<FileSystem> {
        let Self::Extended(fields) = self else {
            return None;
        };
        FileSystem::read(&mut Reader::new(EXTENDED_REPLY, fields)).ok()
    }
}

fn status(r: &mut Reader<'_>, errno: bool) -> Result<Failure, Error> {
    let status = Status::from_code(r.u32()?);
    // Message and language are for people, and old servers leave them out.
    let number = |r: &mut Reader<'_>| {
        r.string(MAX_PACKET).ok()?;
        r.string(MAX_PACKET).ok()?;
        r.u32().ok()
    };
    let errno = errno.then(|| number(r)).flatten().filter(|n| *n != 0);
    Ok(Failure { status, errno })
}

/// An entry of a list of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// The name, without its folder.
    pub name: &'a [u8],
    /// What is known of it.
    pub attributes: Attributes,
}

/// The entries of a list of names, in their order.
#[derive(Debug, Clone)]
pub struct Names<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl<'a> Names<'a> {
    fn entry(&mut self) -> Result<Name<'a>, Error> {
        self.left = self.left.saturating_sub(1);
        let name = self.reader.string(MAX_PACKET)?;
        // The line that `ls -l` would print.
        self.reader.string(MAX_PACKET)?;
        Ok(Name {
            name,
            attributes: Attributes::read(&mut self.reader)?,
        })
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = Name<'a>;

    fn next(&mut self) -> Option<Name<'a>> {
        if self.left == 0 {
            return None;
        }
        self.entry().ok()
    }
}
