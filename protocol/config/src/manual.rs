//! The manual page of a configuration file, in the language of man(7).

use std::fmt::Write as _;

use crate::key::{Key, Program, Status};

/// What a page says beside its keys.
struct Page {
    name: &'static str,
    about: &'static str,
    /// Other files, and who reads them.
    files: &'static [(&'static str, &'static str)],
    see_also: &'static str,
}

const fn page(program: Program) -> Page {
    match program {
        Program::Vma => Page {
            name: "vma.conf",
            about: "configuration of the QVD agent in the disk image",
            files: &[("/etc/qvd/vma.conf", "read by qvd-vma")],
            see_also: ".BR qvd-vma (8)",
        },
        Program::Client => Page {
            name: "client.conf",
            about: "configuration of the QVD client",
            files: &[
                ("/etc/qvd/client.conf", "of the machine"),
                ("~/.qvd/client.conf", "of the user, read after that"),
            ],
            see_also: ".BR qvdclient (1)",
        },
        Program::Server => Page {
            name: "l7r.conf",
            about: "configuration of the QVD broker",
            files: &[("/etc/qvd/l7r.conf", "read by qvd-server")],
            see_also: ".BR qvd-server (8)",
        },
    }
}

/// The page of section 5 about the configuration of `program`, with every key,
/// its default and what it is for.
#[must_use]
pub fn manual(program: Program) -> String {
    let page = page(program);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        ".TH {} 5 \"\" QVD \"QVD configuration\"\n.SH NAME\n{} \\- {}\n",
        page.name.to_uppercase(),
        page.name,
        text(page.about)
    );
    out.push_str(
        ".SH DESCRIPTION\nA line is\n.IR key \" = \" value .\n\
         Lines that begin with # or ! are comments, a backslash at the end of a line continues it,\n\
         and ${other.key} is replaced by the value of another key.\n\
         Everything that is wrong is reported with file, line and key.\n",
    );
    for section in program.sections() {
        let _ = writeln!(out, ".SH {}", quoted(&section.title.to_uppercase()));
        for key in section.keys {
            describe(&mut out, key);
        }
    }
    out.push_str(".SH FILES\n");
    for (file, what) in page.files {
        let _ = write!(out, ".TP\n.I {}\n{}\n", text(file), text(what));
    }
    let _ = write!(out, ".SH SEE ALSO\n{}\n", page.see_also);
    out
}

fn describe(out: &mut String, key: &Key) {
    let _ = write!(out, ".TP\n.B {}\n", text(key.name()));
    let _ = writeln!(out, "{}", text(key.doc()));
    let _ = write!(out, ".br\nTakes {}.\n", text(&key.expected()));
    let default = key.default();
    let default = if default.is_empty() {
        "empty".to_owned()
    } else {
        format!("\\fB{}\\fR", text(default))
    };
    let _ = write!(out, ".br\nDefault: {default}.\n");
    match key.status() {
        Status::Supported => {}
        Status::Unused => out.push_str(".br\nIts value is checked; nothing reads it.\n"),
        Status::Refused(reason) => {
            let _ = write!(out, ".br\nAnother value is refused: {}.\n", text(reason));
        }
    }
}

/// Text in which nothing is a request or an escape.
fn text(plain: &str) -> String {
    let mut escaped = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            // troff itself reads ASCII only.
            c if !c.is_ascii() => {
                let _ = write!(escaped, "\\[u{:04X}]", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    match escaped.chars().next() {
        Some('.' | '\'') => format!("\\&{escaped}"),
        _ => escaped,
    }
}

fn quoted(plain: &str) -> String {
    format!("\"{}\"", text(plain).replace('"', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_key_once_with_its_default() {
        for program in Program::ALL {
            let page = manual(program);
            for key in program.keys() {
                let head = format!(".TP\n.B {}\n", text(key.name()));
                assert_eq!(page.matches(&head).count(), 1, "{}", key.name());
            }
            // No line but a request begins with a dot.
            for line in page.lines().filter(|line| line.starts_with('.')) {
                let request = line.split(' ').next().unwrap_or_default();
                let known = [".TH", ".SH", ".TP", ".B", ".I", ".IR", ".BR", ".br"];
                assert!(known.contains(&request), "{line}");
            }
        }
    }
}
