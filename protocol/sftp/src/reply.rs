use crate::response::{ATTRS, DATA, EXTENDED_REPLY, HANDLE, NAME, STATUS};
use crate::wire::{begin, finish, put_string, put_u32};
use crate::{Attributes, Failure, FileSystem, Limits, Status};

/// Most bytes of a packet of names, some 500 of them: what is read of a folder
/// is looked at by the client while the server reads on. (sshfs closes the
/// connection over an answer of more than 128 KiB.)
const MAX_NAMES: usize = 32 * 1024;

/// Bytes before the data in a packet of data.
const DATA_HEAD: usize = 13;

/// What a server answers, as the one who carried the request out gives it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// How it ended.
    Status(Failure),
    /// An open file or folder.
    Handle(u64),
    /// What was read.
    Data(DataReply),
    /// Names.
    Names(NamesReply),
    /// Attributes.
    Attributes(Attributes),
    /// Limits.
    Limits(Limits),
    /// A file system.
    FileSystem(FileSystem),
}

impl Reply {
    /// Done.
    pub const OK: Self = Self::Status(Failure {
        status: Status::Ok,
        errno: None,
    });

    /// The reply as a packet, its length field included. `errno`: whether
    /// statuses end with an error number.
    #[must_use]
    pub fn write(self, id: u32, errno: bool) -> Vec<u8> {
        let kind = match &self {
            Self::Status(_) => STATUS,
            Self::Handle(_) => HANDLE,
            Self::Attributes(_) => ATTRS,
            Self::Limits(_) | Self::FileSystem(_) => EXTENDED_REPLY,
            Self::Data(_) => DATA,
            Self::Names(_) => NAME,
        };
        let mut out = match self {
            Self::Data(data) => return data.write(id),
            Self::Names(names) => return names.write(id),
            _ => begin(kind, 64),
        };
        put_u32(&mut out, id);
        match self {
            Self::Status(failure) => {
                put_u32(&mut out, failure.status.code());
                put_string(&mut out, failure.status.text().as_bytes());
                put_string(&mut out, b"");
                if errno {
                    put_u32(&mut out, failure.errno.unwrap_or_default());
                }
            }
            Self::Handle(handle) => put_string(&mut out, &handle.to_be_bytes()),
            Self::Attributes(attributes) => attributes.write(&mut out),
            Self::Limits(limits) => limits.write(&mut out),
            Self::FileSystem(file_system) => file_system.write(&mut out),
            Self::Data(_) | Self::Names(_) => {}
        }
        finish(out)
    }
}

/// What was read, in the packet that carries it: nothing is copied.
#[derive(Debug)]
pub struct DataReply(Vec<u8>);

impl DataReply {
    /// Room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut packet = Vec::with_capacity(capacity.saturating_add(DATA_HEAD));
        packet.extend_from_slice(&[0; DATA_HEAD]);
        Self(packet)
    }

    /// Where the data is to be appended. What is there already stays.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Bytes of data so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len().saturating_sub(DATA_HEAD)
    }

    /// Whether there is no data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn write(mut self, id: u32) -> Vec<u8> {
        let length = u32::try_from(self.len()).unwrap_or(u32::MAX);
        if let Some(head) = self.0.first_chunk_mut::<DATA_HEAD>() {
            let [_, _, _, _, kind, i0, i1, i2, i3, l0, l1, l2, l3] = head;
            *kind = DATA;
            [*i0, *i1, *i2, *i3] = id.to_be_bytes();
            [*l0, *l1, *l2, *l3] = length.to_be_bytes();
        }
        finish(self.0)
    }
}

/// A list of names, in the packet that carries it.
#[derive(Debug)]
pub struct NamesReply {
    packet: Vec<u8>,
    count: u32,
}

impl Default for NamesReply {
    fn default() -> Self {
        Self::new()
    }
}

impl NamesReply {
    /// No name yet.
    #[must_use]
    pub fn new() -> Self {
        let mut packet = begin(NAME, 256);
        packet.extend_from_slice(&[0; 8]);
        Self { packet, count: 0 }
    }

    /// One name, for a link's target or a real path.
    #[must_use]
    pub fn one(name: &[u8]) -> Self {
        let mut names = Self::new();
        names.push(name, &Attributes::NONE);
        names
    }

    /// Appends a name; `false` where the packet has no room for it.
    ///
    /// The line that `ls -l` would print is the name alone: no mounting
    /// program reads it, and it doubles what a slow channel has to carry.
    pub fn push(&mut self, name: &[u8], attributes: &Attributes) -> bool {
        if self.packet.len() + 2 * name.len() + 64 > MAX_NAMES {
            return false;
        }
        put_string(&mut self.packet, name);
        put_string(&mut self.packet, name);
        attributes.write(&mut self.packet);
        self.count += 1;
        true
    }

    /// Whether it has no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn write(mut self, id: u32) -> Vec<u8> {
        if let Some(head) = self.packet.first_chunk_mut::<13>() {
            let [_, _, _, _, _, i0, i1, i2, i3, c0, c1, c2, c3] = head;
            [*i0, *i1, *i2, *i3] = id.to_be_bytes();
            [*c0, *c1, *c2, *c3] = self.count.to_be_bytes();
        }
        finish(self.packet)
    }
}
