//! The client's keys about folders and the channel on which they are shared.

use std::num::NonZeroU16;

use crate::key::Status::Supported;
use crate::read::section;
use crate::value::{ProgramName, SharedFolders, Words};

section! {
    /// Folders, and what else the session may reach of this machine.
    pub struct Share {
        slave: bool = "client.slave.enable", "1", Supported,
            "Whether the slave channel is open, on which folders are shared.";
        slave_command: Option<ProgramName> = "client.slave.command", "", Supported,
            "The program that serves what the session asks of this machine on the slave channel. Empty: the client's own, qvd-client-slaveserver.";
        ports: Vec<NonZeroU16> = "client.slave.tcp.ports", "", Supported,
            "The ports of this machine's loopback interface that programs of the session may connect to by the slave channel, such as 5432 8080. Empty: none.";
        printers: Vec<String> = "client.slave.printers", "", Supported,
            "The printers of this machine that programs of the session may print on by the slave channel, by the names of their queues; ALL for every one. Empty: none.";
        file_sharing: bool = "client.file_sharing.enable", "1", Supported,
            "Whether the client shares folders by itself: the home directory, each medium as it is plugged in, and those of client.share.*.";
        folders: SharedFolders = "client.share.*", "", Supported,
            "Further folders that are shared: client.share.1.path, and where wanted client.share.1.name and client.share.1.read_only, then client.share.2 and so on.";
        sshfs_args: Words = "client.sshfs.extra_args", "", Supported,
            "Arguments for sshfs. Folders are mounted in the session, where vma.sshfs.extra_args counts; of these -o ro makes all that the client shares by itself read only.";
        home: bool = "client.file_sharing.home", "1", Supported,
            "Whether the home directory is among the folders that the client shares by itself.";
        media: Vec<String> = "internal.client.media", "/media /run/media", Supported,
            "The folders beneath which media are mounted; each medium in them is shared while it is plugged in. Empty: none.";
    }
}
