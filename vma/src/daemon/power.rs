//! Switching the virtual machine off.

use std::path::Path;
use std::process::{Command, Stdio};

use qvd_config::VmaConfig;
use qvd_rpc::Reply;
use rustix::process::{Pid, Signal, kill_process};

use super::core::Core;

/// There when systemd is the init of the machine.
const SYSTEMD: &str = "/run/systemd/system";

/// How the machine is switched off.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// By a program with arguments.
    Program(String, &'static [&'static str]),
    /// By ending the first process, which is no init but the container's own
    /// program: when that ends, so does the container.
    First,
}

impl Way {
    /// The way of this machine; `exists` says whether a path does.
    fn of(config: &VmaConfig, exists: impl Fn(&str) -> bool) -> Self {
        if let Some(program) = &config.command.poweroff {
            return Self::Program(program.as_path().display().to_string(), &[]);
        }
        let program = |path: &str, arguments| Self::Program(path.to_owned(), arguments);
        if exists(SYSTEMD) {
            return program("systemctl", &["poweroff"]);
        }
        // The pipe by which init is told a level is there while one runs, under
        // either name.
        let init = exists("/run/initctl") || exists("/dev/initctl");
        match ["/sbin/init", "/sbin/telinit"]
            .into_iter()
            .find(|p| exists(p))
        {
            Some(path) if init => program(path, &["0"]),
            _ if exists("/run/openrc") => program("/sbin/openrc-shutdown", &["--poweroff", "now"]),
            _ => Self::First,
        }
    }
}

impl Core {
    /// Switches the machine off; the hook has agreed.
    pub(super) fn power_off(&self) -> Reply {
        match Way::of(&self.config, |path| Path::new(path).exists()) {
            Way::Program(program, arguments) => run(&program, arguments),
            Way::First => end_first(),
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Reply {
    tracing::info!("switching the VM off with {program}");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    match command.spawn() {
        Ok(mut child) => {
            tokio::task::spawn_blocking(move || match child.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => tracing::error!("the VM is not switched off: {status}"),
                Err(error) => tracing::error!("the VM is not switched off: {error}"),
            });
            Reply::Nothing
        }
        Err(error) => {
            let reason = format!("{program} cannot be run: {error}");
            tracing::error!("the VM is not switched off: {reason}");
            Reply::Failure(reason)
        }
    }
}

fn end_first() -> Reply {
    tracing::info!("ending the container's first process");
    // To itself as well: the daemon then ends in order.
    match kill_process(Pid::INIT, Signal::TERM) {
        Ok(()) => Reply::Nothing,
        Err(error) => Reply::Failure(format!("the container cannot be ended: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use qvd_config::Properties;

    use super::*;

    fn way(text: &str, there: &[&str]) -> Way {
        let properties = Properties::from_sources([("vma.conf", text.as_bytes())]).unwrap();
        let config = VmaConfig::from_properties(&properties).unwrap();
        Way::of(&config, |path| there.contains(&path))
    }

    #[test]
    fn each_init_is_told_in_its_own_way() {
        let program = |path: &str, arguments| Way::Program(path.into(), arguments);
        let systemd = way("", &["/run/systemd/system", "/sbin/init"]);
        assert_eq!(systemd, program("systemctl", &["poweroff"]));
        let sysvinit = way("", &["/run/initctl", "/sbin/init"]);
        assert_eq!(sysvinit, program("/sbin/init", &["0"]));
        // An image whose init is there, but does not run.
        assert_eq!(way("", &["/sbin/init"]), Way::First);
        let own = way("command.poweroff = /usr/local/bin/off\n", &["/run/initctl"]);
        assert_eq!(own, program("/usr/local/bin/off", &[]));
    }
}
