//! `cargo xtask install`: the Debian packages which tests and the desktop need.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run;

/// A Debian package and why it is needed.
struct Package {
    name: &'static str,
    why: &'static str,
}

/// What tests and the desktop need.
const SESSION: &[Package] = &[
    Package {
        name: "nxagent",
        why: "the X server of a session",
    },
    Package {
        name: "nxproxy",
        why: "the end of a session on the user's display",
    },
    Package {
        name: "xvfb",
        why: "displays without a screen",
    },
    Package {
        name: "openbox",
        why: "a window manager for displays and sessions",
    },
    Package {
        name: "xterm",
        why: "a program for the session",
    },
    Package {
        name: "iproute2",
        why: "ip, which makes networks for sessions and containers",
    },
    Package {
        name: "x11-apps",
        why: "xclock and other small programs for the session",
    },
    Package {
        name: "x11-utils",
        why: "xdpyinfo and xprop, which ask a display",
    },
    Package {
        name: "x11-xkb-utils",
        why: "xkbcomp, with which X servers read keyboards, and setxkbmap",
    },
    Package {
        name: "x11-xserver-utils",
        why: "xrdb, by which a display's density is told",
    },
    Package {
        name: "xkb-data",
        why: "the keyboards",
    },
    Package {
        name: "bsdutils",
        why: "script, which gives a program a terminal",
    },
    Package {
        name: "wmctrl",
        why: "closes a window as a user does",
    },
    Package {
        name: "xdotool",
        why: "types and clicks as a user does",
    },
    Package {
        name: "at-spi2-core",
        why: "what a screen reader asks",
    },
    Package {
        name: "ayatana-indicator-application",
        why: "takes items of programs as a desktop's panel does",
    },
    Package {
        name: "fontconfig",
        why: "finds the fonts of the client's window",
    },
    Package {
        name: "fonts-dejavu-core",
        why: "the fonts of the client's window",
    },
    Package {
        name: "xauth",
        why: "nxproxy asks it for the display's cookie",
    },
    Package {
        name: "xfonts-base",
        why: "the fonts which X servers start with",
    },
    Package {
        name: "x11vnc",
        why: "shows a session to an administrator",
    },
    Package {
        name: "rsyslog",
        why: "takes the agent's log",
    },
    Package {
        name: "logrotate",
        why: "moves the agent's log away",
    },
    Package {
        name: "util-linux",
        why: "setpriv, which ties a program's life to the test's",
    },
    Package {
        name: "passwd",
        why: "useradd and its kin, which add users of a VM",
    },
    Package {
        name: "libnss-extrausers",
        why: "a second source of users, as a directory service is",
    },
    Package {
        name: "fdisk",
        why: "sfdisk, which partitions the drive of the homes",
    },
    Package {
        name: "mount",
        why: "mount and losetup, for drives over files",
    },
    Package {
        name: "systemd",
        why: "the init of a VM, and systemd-run",
    },
    Package {
        name: "libpam-systemd",
        why: "logind's part in a user's session",
    },
    Package {
        name: "dbus-user-session",
        why: "the bus of a user's session",
    },
    Package {
        name: "dbus",
        why: "the bus of the system, by which logind is asked",
    },
    Package {
        name: "libsecret-tools",
        why: "secret-tool, with which the client keeps passwords",
    },
    Package {
        name: "gnome-keyring",
        why: "a desktop's secret store",
    },
    Package {
        name: "procps",
        why: "ps and pkill for session scripts",
    },
    Package {
        name: "libglib2.0-bin",
        why: "gio, which lists mounts as file managers show them",
    },
    Package {
        name: "openssh-sftp-server",
        why: "the reference for sharing a folder",
    },
    Package {
        name: "sshfs",
        why: "the reference for mounting a folder",
    },
    Package {
        name: "fuse3",
        why: "fusermount3, by which a user mounts",
    },
    Package {
        name: "git",
        why: "works in a shared folder",
    },
    Package {
        name: "sqlite3",
        why: "works in a shared folder",
    },
    Package {
        name: "python3",
        why: "maps a file of a shared folder",
    },
    Package {
        name: "pulseaudio",
        why: "plays a session's sound at the client",
    },
    Package {
        name: "pulseaudio-utils",
        why: "pactl, which asks it from the session",
    },
    Package {
        name: "cups-daemon",
        why: "has the client's printers",
    },
    Package {
        name: "cups-client",
        why: "lpstat, which asks for them from the session",
    },
    Package {
        name: "groff",
        why: "reads the manual pages",
    },
    Package {
        name: "zsh",
        why: "reads what it completes for the client",
    },
    Package {
        name: "fish",
        why: "reads what it completes for the client",
    },
    Package {
        name: "shellcheck",
        why: "reads the example hooks",
    },
    Package {
        name: "i3lock",
        why: "the locker of an example hook",
    },
    Package {
        name: "xdotool",
        why: "answers dialogs as a user does",
    },
    Package {
        name: "slapd",
        why: "the directory of users of an example hook",
    },
    Package {
        name: "ldap-utils",
        why: "asks that directory",
    },
    Package {
        name: "e2fsprogs",
        why: "mkfs.ext4, for disks of homes",
    },
];

/// What `bench` compares with.
const BENCH: &[Package] = &[
    Package {
        name: "zenity",
        why: "a dialog of another toolkit",
    },
    Package {
        name: "openssl",
        why: "a certificate for the references",
    },
    Package {
        name: "nginx",
        why: "the reference for the tunnel",
    },
    Package {
        name: "libnginx-mod-stream",
        why: "nginx's TCP proxy",
    },
    Package {
        name: "socat",
        why: "the reference for what the client carries",
    },
    Package {
        name: "haproxy",
        why: "the reference for memory of idle tunnels",
    },
    Package {
        name: "qemu-guest-agent",
        why: "the reference for the agent",
    },
];

/// What packs programs.
const PACKAGING: &[Package] = &[
    Package {
        name: "dpkg",
        why: "dpkg-deb, which makes packages",
    },
    Package {
        name: "dpkg-dev",
        why: "dpkg-shlibdeps, which knows the packages of libraries",
    },
    Package {
        name: "rpm",
        why: "rpmbuild, which makes RPMs",
    },
    Package {
        name: "musl-tools",
        why: "the compiler for programs without libraries",
    },
    Package {
        name: "file",
        why: "tells how a program is linked",
    },
    Package {
        name: "binutils",
        why: "strip, which takes from programs what they do not need",
    },
    Package {
        name: "groff",
        why: "reads the manual pages",
    },
    Package {
        name: "zsh",
        why: "reads what it completes",
    },
    Package {
        name: "fish",
        why: "reads what it completes",
    },
];

/// What judges packages.
const JUDGES: &[Package] = &[
    Package {
        name: "lintian",
        why: "judges Debian packages",
    },
    Package {
        name: "rpmlint",
        why: "judges RPMs",
    },
    Package {
        name: "apparmor",
        why: "apparmor_parser, which reads the profiles",
    },
    Package {
        name: "desktop-file-utils",
        why: "desktop-file-validate",
    },
    Package {
        name: "appstream",
        why: "appstreamcli, which reads the client's description",
    },
    Package {
        name: "systemd",
        why: "systemd-analyze, which reads the units",
    },
];

/// What makes disk images.
const IMAGES: &[Package] = &[
    Package {
        name: "mmdebstrap",
        why: "makes a Debian in a folder",
    },
    Package {
        name: "e2fsprogs",
        why: "mke2fs, which writes a file system out of a folder",
    },
    Package {
        name: "fdisk",
        why: "sfdisk, which partitions a disk",
    },
    Package {
        name: "grub-pc-bin",
        why: "the boot loader of a disk",
    },
    Package {
        name: "grub-common",
        why: "grub-mkimage, which puts the boot loader together",
    },
    Package {
        name: "qemu-utils",
        why: "qemu-img, which packs a disk",
    },
];

/// What runs disk images.
const MACHINES: &[Package] = &[
    Package {
        name: "qemu-system-x86",
        why: "virtual and emulated machines",
    },
    Package {
        name: "systemd-container",
        why: "systemd-nspawn, for containers",
    },
];

/// Installs what is missing for tests and the desktop.
pub(crate) fn run(bench: bool) -> Result<()> {
    packages(SESSION.iter().chain(if bench { BENCH } else { &[] }))
        .context("installing what tests need")
}

/// Installs what is missing for making packages.
pub(crate) fn packaging() -> Result<()> {
    packages(PACKAGING.iter()).context("installing what packages are made with")
}

/// Installs what is missing for judging packages.
pub(crate) fn judges() -> Result<()> {
    packages(JUDGES.iter()).context("installing what judges packages")
}

/// Installs what is missing for making disk images.
pub(crate) fn images() -> Result<()> {
    packages(IMAGES.iter()).context("installing what images are made with")
}

/// Installs what is missing for booting disk images.
pub(crate) fn machines() -> Result<()> {
    packages(MACHINES.iter()).context("installing what images are run with")
}

/// Installs what is missing, saying first what and how; does nothing, and
/// reaches for no network, when nothing is.
fn packages(wanted: impl Iterator<Item = &'static Package>) -> Result<()> {
    let mut missing = Vec::new();
    for package in wanted {
        if !is_installed(package.name)? {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }

    println!("To be installed from Debian:");
    for Package { name, why } in &missing {
        println!("  {name:20} {why}");
    }
    let names = missing.iter().map(|package| package.name);
    run::shown(as_root("apt-get").arg("update"))?;
    run::shown(
        as_root("apt-get")
            .args(["install", "-y", "--no-install-recommends"])
            .args(names),
    )
}

fn is_installed(package: &str) -> Result<bool> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    let output = run::captured(&mut query)
        .context("this needs Debian or a system made from it, with dpkg-query")?;
    Ok(output.status.success() && output.stdout == b"installed")
}

/// A command with root's rights, asked for by sudo where they are not there.
fn as_root(program: &str) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("env")
    } else {
        let mut command = Command::new("sudo");
        command.arg("env");
        command
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    command
}
