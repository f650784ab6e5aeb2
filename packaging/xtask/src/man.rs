//! `cargo xtask man`: the manual pages, made of the same tables and command
//! lines as the programs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use qvd_config::Program;

use crate::run;
use crate::workspace::Metadata;

/// Writes every page into `target/man/` and has groff read it.
pub(crate) fn run() -> Result<()> {
    let folder = Metadata::read()?.target_directory.join("man");
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
    for (name, page) in pages {
        let path = folder.join(name);
        fs::write(&path, page).with_context(|| path.display().to_string())?;
        lint(&path)?;
        println!("{}", path.display());
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
