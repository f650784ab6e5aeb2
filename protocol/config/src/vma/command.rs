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
        poweroff: Option<ProgramName> = "command.poweroff", "", Supported,
            "The program that switches the virtual machine off. Empty: systemctl where systemd runs, init where another one does, and in a container without an init its first process is ended.";
        useradd: ProgramName = "command.useradd", "/usr/sbin/useradd", Supported,
            "useradd, which adds a user: -M -d HOME -g GROUP -s SHELL, then -G GROUPS and -u UID if there are any, and the name. The home is made by the agent.";
        userdel: ProgramName = "command.userdel", "/usr/sbin/userdel", Supported,
            "userdel, which removes a user that could not be added whole.";
        groupadd: ProgramName = "command.groupadd", "/usr/sbin/groupadd", Supported,
            "groupadd, which adds the group of a user: -g GID if there is one, and the name.";
        groupdel: ProgramName = "command.groupdel", "/usr/sbin/groupdel", Supported,
            "groupdel, which removes the group of a user that could not be added.";
        mount: ProgramName = "command.mount", "/bin/mount", Supported,
            "mount, which mounts the disk of the homes.";
        umount: ProgramName = "command.umount", "/bin/umount", Supported,
            "umount, which unmounts the disk of the homes when it was mounted and mount reports a failure.";
        sshfs: ProgramName = "command.sshfs", "/usr/bin/sshfs", Supported,
            "sshfs, which mounts shared folders where vma.share.engine says so.";
        sftp_server: ProgramName = "command.sftp-server", "/usr/lib/openssh/sftp-server", Unused,
            "sftp-server, with which the reference serves the session's folders to the client. The slave server serves them itself.";
        open_file: ProgramName = "command.open_file", "xdg-open", Supported,
            "The program that opens a file the client hands over.";
        x11vnc: ProgramName = "command.x11vnc", "/usr/bin/x11vnc", Supported,
            "x11vnc, with which an administrator sees the session.";
        lpadmin: ProgramName = "command.lpadmin", "/usr/sbin/lpadmin", Unused,
            "lpadmin, with which the reference makes the client's printers printers of the session. The agent has programs print at the client's CUPS itself.";
        lpstat: ProgramName = "command.lpstat", "/usr/bin/lpstat", Unused,
            "lpstat, with which the reference lists the session's printers; see command.lpadmin.";
        cupsenable: ProgramName = "command.cupsenable", "/usr/sbin/cupsenable", Unused,
            "cupsenable, with which the reference starts a printer; see command.lpadmin.";
        cupsaccept: ProgramName = "command.cupsaccept", "/usr/sbin/cupsaccept", Unused,
            "cupsaccept, with which the reference lets a printer take jobs; see command.lpadmin.";
    }
}
