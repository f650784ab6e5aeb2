//! `cargo xtask man`: the manual pages and what shells complete, made of the
//! same tables and command lines as the programs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap_complete::Shell;
use qvd_config::Program;

use crate::run;
use crate::workspace::Metadata;

/// Writes every page into `target/man/` and has groff read it, and the
/// completions into `target/completions/`, which each shell reads.
pub(crate) fn run() -> Result<()> {
    let target = Metadata::read()?.target_directory;
    let folder = target.join("man");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut pages: Vec<(String, String)> = Program::ALL
        .into_iter()
        .map(|program| {
            let file = PathBuf::from(program.file());
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            (format!("{name}.5"), qvd_config::manual(program))
        })
        .collect();
    commands(qvd_vma::cli::command(), "8", &mut pages)?;
    commands(client(), "1", &mut pages)?;
    commands(window(), "1", &mut pages)?;
    commands(slave_client(), "1", &mut pages)?;
    commands(nx_proxy_program(), "1", &mut pages)?;
    commands(qvd_server::cli::command(), "8", &mut pages)?;
    for (name, page) in pages {
        let path = folder.join(name);
        fs::write(&path, page).with_context(|| path.display().to_string())?;
        lint(&path)?;
        println!("{}", path.display());
    }
    completions(&target.join("completions"))
}

/// The client's command line. What stands behind its options in the help has
/// sections of its own in the page.
fn client() -> clap::Command {
    qvd_client::cli::command().after_help(clap::builder::Resettable::Reset)
}

/// The window's command line, likewise.
fn window() -> clap::Command {
    qvd_client::window::command().after_help(clap::builder::Resettable::Reset)
}

/// The slave client's command line, likewise.
fn slave_client() -> clap::Command {
    qvd_slaveclient::cli::command().after_help(clap::builder::Resettable::Reset)
}

/// The command line of the NX proxy, likewise.
fn nx_proxy_program() -> clap::Command {
    nx_proxy::program::command().after_help(clap::builder::Resettable::Reset)
}

/// What is known of the NX proxy beyond its arguments.
fn nx_proxy_sections() -> String {
    use nx_proxy::program::{ENVIRONMENT, EXAMPLES, OPTIONS, STATUSES};
    let mut text = ".SH \"NX OPTIONS\"\n".to_owned();
    for (option, meaning) in OPTIONS {
        let meaning = capital(&roff(meaning));
        text.push_str(&format!(".TP\n.B {}\n{meaning}.\n", roff(option)));
    }
    text.push_str(&examples(EXAMPLES));
    text.push_str(".SH \"EXIT STATUS\"\n");
    for (status, meaning) in STATUSES {
        let meaning = capital(&roff(meaning));
        text.push_str(&format!(".TP\n.B {status}\n{meaning}.\n"));
    }
    text.push_str(&environment(ENVIRONMENT));
    text.push_str(".SH \"SEE ALSO\"\n.BR qvdclient (1),\n.BR nxproxy (1)\n");
    text
}

/// What is known of the slave client beyond its commands.
fn slave_client_sections() -> String {
    let mut text = ".SH \"EXIT STATUS\"\n".to_owned();
    for (status, meaning) in qvd_slaveclient::STATUSES {
        let meaning = capital(&roff(meaning));
        text.push_str(&format!(".TP\n.B {status}\n{meaning}.\n"));
    }
    text.push_str(
        ".SH FILES\n.TP\n.I ~/.qvd/slave\\-port\n\
         .TQ\n.I ~/.qvd/slave\\-key\n\
         The port and the key of the session that was started last.\n\
         .TP\n.I ~/.qvd/sessions/\n\
         A folder for each session that is running.\n\
         .SH \"SEE ALSO\"\n.BR qvdclient (1),\n.BR client.conf (5)\n",
    );
    text
}

/// What is known of the client beyond its options, as sections of its page.
fn client_sections() -> String {
    let mut text = examples(qvd_client::cli::EXAMPLES);
    text.push_str(&statuses(
        "The list was written, or the session ended in order.",
        qvd_client::core::Code::ALL,
    ));
    text.push_str(
        ".PP\nThe word beside the status stands in the log and in the errors of \\-\\-json.\n",
    );
    text.push_str(&environment(qvd_client::cli::ENVIRONMENT));
    text.push_str(&files(qvd_client::cli::FILES));
    text.push_str(
        ".SH \"SEE ALSO\"\n.BR qvdclient\\-check (1),\n.BR qvdclient\\-diagnose (1),\n\
         .BR qvd\\-client (1),\n.BR qvd\\-slaveclient (1),\n.BR client.conf (5)\n",
    );
    text
}

/// What is known of the window beyond its options, likewise.
fn window_sections() -> String {
    let mut text = examples(qvd_client::window::EXAMPLES);
    text.push_str(&statuses(
        "The window was closed, or is open already.",
        &qvd_client::window::STATUSES,
    ));
    text.push_str(&environment(qvd_client::window::ENVIRONMENT));
    text.push_str(&files(qvd_client::window::FILES));
    text.push_str(
        ".SH \"SEE ALSO\"\n.BR qvdclient (1),\n.BR qvd\\-slaveclient (1),\n\
         .BR client.conf (5)\n",
    );
    text
}

fn examples(all: &[(&str, &str)]) -> String {
    let mut text = ".SH EXAMPLES\n".to_owned();
    for (line, meaning) in all {
        let meaning = capital(&roff(meaning));
        text.push_str(&format!(".TP\n.B {}\n{meaning}.\n", roff(line)));
    }
    text
}

/// The exit statuses; `good` is what 0 means.
fn statuses(good: &str, failures: &[qvd_client::core::Code]) -> String {
    let mut text = format!(".SH \"EXIT STATUS\"\n.TP\n.B 0\n{good}\n");
    for code in failures {
        let (status, word) = (code.exit_status(), roff(code.as_str()));
        let meaning = capital(&roff(code.meaning()));
        text.push_str(&format!(".TP\n.B {status} {word}\n{meaning}.\n"));
    }
    text
}

fn environment(all: &[(&str, &str)]) -> String {
    let mut text = ".SH ENVIRONMENT\n".to_owned();
    for (name, meaning) in all {
        text.push_str(&format!(".TP\n.B {name}\n{}.\n", capital(&roff(meaning))));
    }
    text
}

fn files(all: &[(&str, &str)]) -> String {
    let mut text = ".SH FILES\n".to_owned();
    for (name, meaning) in all {
        let meaning = capital(&roff(meaning));
        text.push_str(&format!(".TP\n.I {}\n{meaning}.\n", roff(name)));
    }
    text
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// A text of ours for roff.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
}

fn completions(folder: &std::path::Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (shell, program) in [
        (Shell::Bash, "bash"),
        (Shell::Zsh, "zsh"),
        (Shell::Fish, "fish"),
    ] {
        for (mut command, name) in [
            (client(), "qvdclient"),
            (window(), "qvd-client"),
            (slave_client(), "qvd-slaveclient"),
            (nx_proxy_program(), "qvd-nxproxy"),
            (qvd_vma::cli::command(), "qvd-vma"),
            (qvd_server::cli::command(), "qvd-server"),
        ] {
            let path = clap_complete::generate_to(shell, &mut command, name, folder)?;
            // The shell reads it without running it.
            let mut reads = std::process::Command::new(program);
            let output = run::captured(reads.arg("-n").arg(&path))
                .with_context(|| format!("install the package {program}"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}: {said}", path.display());
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// The pages of a program and of each of its commands.
fn commands(
    mut command: clap::Command,
    section: &str,
    pages: &mut Vec<(String, String)>,
) -> Result<()> {
    command.build();
    let mut todo = vec![(command.get_name().to_owned(), command)];
    while let Some((name, command)) = todo.pop() {
        for below in command.get_subcommands() {
            if !below.is_hide_set() && below.get_name() != "help" {
                let name = format!("{name}-{}", below.get_name());
                todo.push((name, below.clone()));
            }
        }
        let mut page = Vec::new();
        let title = command
            .display_name(name.clone())
            .disable_help_subcommand(true);
        clap_mangen::Man::new(title)
            .title(name.to_uppercase())
            .section(section)
            .manual("QVD")
            .render(&mut page)?;
        match name.as_str() {
            "qvdclient" => page.extend(client_sections().into_bytes()),
            "qvd-client" => page.extend(window_sections().into_bytes()),
            "qvd-nxproxy" => page.extend(nx_proxy_sections().into_bytes()),
            "qvd-slaveclient" => page.extend(slave_client_sections().into_bytes()),
            _ => {}
        }
        pages.push((format!("{name}.{section}"), String::from_utf8(page)?));
    }
    Ok(())
}

/// groff's warnings are errors here.
fn lint(path: &std::path::Path) -> Result<()> {
    let mut groff = std::process::Command::new("groff");
    groff.args(["-man", "-ww", "-z", "-Tutf8"]).arg(path);
    let output = run::captured(&mut groff).context("install the package groff")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_page_has_every_option_and_every_status() {
        let mut pages = Vec::new();
        commands(client(), "1", &mut pages).unwrap();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["qvdclient.1", "qvdclient-diagnose.1", "qvdclient-check.1"]
        );
        let page = &pages.first().unwrap().1;
        for option in client()
            .get_arguments()
            .filter(|option| !option.is_hide_set())
        {
            let long = roff(&format!("--{}", option.get_long().unwrap()));
            assert!(page.contains(&long), "{long}");
        }
        assert!(
            !page.contains("secrets\\-fd"),
            "what is hidden is not in the page"
        );
        for code in qvd_client::core::Code::ALL {
            let line = format!(".B {} {}", code.exit_status(), roff(code.as_str()));
            assert!(page.contains(&line), "{line}");
        }
    }

    #[test]
    fn the_windows_page_has_every_option_and_its_statuses() {
        let mut pages = Vec::new();
        commands(window(), "1", &mut pages).unwrap();
        let [(name, page)] = pages.as_slice() else {
            panic!("{} pages", pages.len());
        };
        assert_eq!(name, "qvd-client.1");
        for option in window().get_arguments() {
            let Some(long) = option.get_long() else {
                continue;
            };
            let long = roff(&format!("--{long}"));
            assert!(page.contains(&long), "{long}");
        }
        for code in qvd_client::window::STATUSES {
            let line = format!(".B {} {}", code.exit_status(), roff(code.as_str()));
            assert!(page.contains(&line), "{line}");
        }
    }

    #[test]
    fn the_slave_clients_pages_have_its_commands_and_every_status() {
        let mut pages = Vec::new();
        commands(slave_client(), "1", &mut pages).unwrap();
        for command in ["share", "unshare", "list", "sessions", "mount", "open"] {
            let name = format!("qvd-slaveclient-{command}.1");
            assert!(pages.iter().any(|(page, _)| *page == name), "{name}");
        }
        let (_, page) = pages
            .iter()
            .find(|(name, _)| name == "qvd-slaveclient.1")
            .unwrap();
        for (status, _) in qvd_slaveclient::STATUSES {
            assert!(page.contains(&format!(".B {status}\n")), "{status}");
        }
    }
}
