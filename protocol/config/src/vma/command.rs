//! The keys that name programs.

use crate::key::Status::{Supported, Unused};
use crate::read::section;
use crate::value::{ProgramName, Words};

section! {
    /// Programs the agent runs.
    pub struct Command {
        nxagent: ProgramName = "command.nxagent", "/usr/bin/nxagent", Supported,
            "nxagent, the X server of the session.";
        nxagent_args: Words = "command.nxagent.args.extra", "", Supported,
            "Arguments for nxagent beside the agent's own.";
        x_session: ProgramName = "command.x-session", "/etc/X11/Xsession", Supported,
            "The program that starts the user's desktop.";
        x_session_args: Words = "command.x-session.args.extra", "", Supported,
            "Arguments for the program that starts the user's desktop.";
        xinit: ProgramName = "command.xinit", "/usr/bin/xinit", Unused,
            "xinit, with which the reference starts nxagent and the desktop. The agent starts both itself.";
        nxdiag: ProgramName = "command.nxdiag", "/usr/bin/nxdiag.pl", Unused,
            "The reference's program that checks that nxagent runs. The agent reads nxagent's output.";
        poweroff: ProgramName = "command.poweroff", "/sbin/poweroff", Supported,
            "The program that switches the virtual machine off.";
        useradd: ProgramName = "command.useradd", "/usr/sbin/useradd", Unused,
            "useradd, which adds a user.";
        userdel: ProgramName = "command.userdel", "/usr/sbin/userdel", Unused,
            "userdel, which removes a user that could not be added whole.";
        groupadd: ProgramName = "command.groupadd", "/usr/sbin/groupadd", Unused,
            "groupadd, which adds a group.";
        groupdel: ProgramName = "command.groupdel", "/usr/sbin/groupdel", Unused,
            "groupdel, which removes the group of a user that could not be added.";
        mount: ProgramName = "command.mount", "/bin/mount", Unused,
            "mount, which mounts the disk of the homes.";
        umount: ProgramName = "command.umount", "/bin/umount", Unused,
            "umount, which unmounts the disk of the homes.";
        sshfs: ProgramName = "command.sshfs", "/usr/bin/sshfs", Supported,
            "sshfs, which mounts shared folders where vma.share.engine says so.";
        sftp_server: ProgramName = "command.sftp-server", "/usr/lib/openssh/sftp-server", Unused,
            "sftp-server, with which the reference serves the session's folders to the client.";
        open_file: ProgramName = "command.open_file", "xdg-open", Supported,
            "The program that opens a file the client hands over.";
        x11vnc: ProgramName = "command.x11vnc", "/usr/bin/x11vnc", Unused,
            "x11vnc, with which an administrator sees the session.";
        lpadmin: ProgramName = "command.lpadmin", "/usr/sbin/lpadmin", Unused,
            "lpadmin, which makes the client's printers printers of the session.";
        lpstat: ProgramName = "command.lpstat", "/usr/bin/lpstat", Unused,
            "lpstat, which lists the session's printers.";
        cupsenable: ProgramName = "command.cupsenable", "/usr/sbin/cupsenable", Unused,
            "cupsenable, which starts a printer.";
        cupsaccept: ProgramName = "command.cupsaccept", "/usr/sbin/cupsaccept", Unused,
            "cupsaccept, which lets a printer take jobs.";
    }
}
