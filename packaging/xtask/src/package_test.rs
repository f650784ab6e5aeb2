//! `cargo xtask package-test`: the packages in a Debian of their own: as the
//! README installs them, upgraded beneath a session, removed.

mod live;
mod root;

use std::path::Path;

use anyhow::{Context as _, Result};
use qvd_tests::Scene;

use self::root::Root;
use crate::image_test::Steps;
use crate::workspace::{self, Metadata};
use crate::{install, package};

/// What to test.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Test the packages that were made before.
    #[arg(long)]
    made: bool,
}

/// What a small desktop is made of.
const DESKTOP: &str =
    "systemd-sysv dbus libpam-systemd dbus-user-session iproute2 procps openbox x11-utils x11-apps";

/// Makes the packages, and tests them.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    install::run(false)?;
    install::packaging()?;
    install::images()?;
    install::machines()?;
    let target = Metadata::read()?.target_directory;
    if !arguments.made {
        package::make()?;
    }
    let packages = target.join("packages");
    let scene = Scene::new("packages")?.with_programs(target.join("release"));
    let later = scene.path("later");
    std::fs::create_dir(&later)?;
    package::make_later(&later)?;
    let mut steps = Steps::begin();
    let root = Root::make(&scene)?;
    steps.done("a plain Debian");
    root.take(&packages, ".deb", "root")?;
    root.take(&packages, ".rpm", "root")?;
    let tested = test(&scene, &root, &later, &mut steps);
    // Whatever happened, nothing of the root is in use any more.
    let clean = root.remove();
    tested.and(clean)?;
    println!("the packages are good");
    Ok(())
}

fn test(scene: &Scene, root: &Root, later: &Path, steps: &mut Steps) -> Result<()> {
    root.run(&commands("The client")?)
        .context("the README's lines for the client")?;
    steps.done("the client is installed as the README says");
    root.run(&commands("The agent")?)
        .context("the README's lines for the agent")?;
    steps.done("the agent is installed as the README says");
    root.alone(
        "/etc/init.d/qvd-vma start && sleep 1
         qvd-vma status
         /etc/init.d/qvd-vma restart && sleep 1
         /etc/init.d/qvd-vma status && qvd-vma status
         /etc/init.d/qvd-vma stop
         ! qvd-vma status",
    )
    .context("the agent without systemd")?;
    steps.done("the agent starts and stops without systemd");

    root.alone(
        "mount --bind /etc /etc && mount -o remount,ro,bind /etc
         ! touch /etc/qvd/there 2> /dev/null
         /etc/init.d/qvd-vma start && sleep 1
         qvd-vma status
         /etc/init.d/qvd-vma stop
         ! dpkg -i /root/qvd-vma_*.deb > /root/said 2>&1
         grep -q 'Read-only file system' /root/said
         umount /etc
         dpkg -i /root/qvd-vma_*.deb && qvd-vma check-config",
    )
    .context("a read-only /etc")?;
    steps.done("on a read-only /etc the agent runs, and a package is refused and installed later");

    let upgraded = live::test(scene, root, later, steps);
    upgraded.context("an upgrade beneath a session")?;

    root.run("apt-get purge -y 'qvd-*' qvdclient")?;
    root.is_without_us()?;
    steps.done("removed and purged, nothing is left");

    root.run(
        "apt-get install -y --no-install-recommends rpm
         rpm --initdb
         rpm -i --nodeps /root/*.rpm
         rpm -q qvd-vma qvdclient qvd-client qvd-slaveclient qvd-server
         rpm -V --nodeps --nogroup qvd-vma qvdclient qvd-client qvd-slaveclient qvd-server
         qvd-vma check-config && qvdclient --version
         echo 'log.level = DEBUG' >> /etc/qvd/vma.conf
         rpm -U --nodeps --replacepkgs /root/qvd-vma-*.rpm
         grep -q 'level = DEBUG' /etc/qvd/vma.conf
         rpm -e --nodeps qvd-vma qvdclient qvd-client qvd-slaveclient qvd-server
         rm -rf /var/log/qvd /etc/qvd/vma.conf.rpmsave && rmdir --ignore-fail-on-non-empty /etc/qvd
         userdel _qvd",
    )
    .context("the RPMs")?;
    root.is_without_us()?;
    steps.done("the RPMs are installed and removed");
    Ok(())
}

/// The commands that the README has beneath a paragraph which begins so.
fn commands(paragraph: &str) -> Result<String> {
    let path = workspace::root().join("README.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    block(&text, paragraph)
        .with_context(|| format!("the README does not say how to install: {paragraph}"))
}

fn block(text: &str, paragraph: &str) -> Option<String> {
    let section = text.split("\n## Install it\n").nth(1)?;
    let section = section.split("\n## ").next()?;
    let after = section.split(&format!("**{paragraph}**")).nth(1)?;
    let lines = after.lines().skip_while(|line| !line.starts_with("    "));
    let lines = lines.take_while(|line| line.starts_with("    "));
    let block: Vec<&str> = lines.map(str::trim).collect();
    (!block.is_empty()).then(|| block.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_how_to_install() {
        for paragraph in ["The client", "The agent"] {
            let block = commands(paragraph).unwrap();
            assert!(block.contains("apt-get install"), "{block}");
            assert!(block.lines().count() <= 3, "{block}");
        }
        assert_eq!(block("\n## Install it\n**A**\n\n    x\n\ny", "B"), None);
    }
}
