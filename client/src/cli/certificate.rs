//! The question whether a certificate with faults is the broker's, on the
//! terminal.

use std::fmt::Write as _;

use super::{ask, terminal};
use crate::core::{Answer, Answering, Ask, Code, Failure, Question};

/// How often the question is put again after an answer that is none.
const TRIES: usize = 5;

/// Asks on the terminal, if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal;

impl Ask for Terminal {
    fn ask<'a>(&'a self, question: &'a Question) -> Answering<'a> {
        Box::pin(async move {
            if !terminal::is_there() {
                let message = "there is no terminal to ask on";
                return Err(Failure::new(Code::CertificateUndecided, message));
            }
            let fault = |e: std::io::Error| {
                Failure::new(Code::CertificateUndecided, "no answer could be read").because(e)
            };
            ask::prompt(&text(question)).map_err(fault)?;
            for _ in 0..TRIES {
                ask::prompt(choices(question)).map_err(fault)?;
                let Some(line) = terminal::line().await.map_err(fault)? else {
                    break;
                };
                if let Some(answer) = answer(&line, question) {
                    return Ok(answer);
                }
            }
            Ok(Answer::No)
        })
    }
}

fn text(question: &Question) -> String {
    let details = &question.details;
    let mut text = format!(
        "The certificate of {} port {} cannot be trusted:\n",
        question.host, question.port
    );
    // Writing to a String cannot fail.
    for found in &question.findings {
        let _ = writeln!(text, "  - {found}");
    }
    let names = match details.names.is_empty() {
        true => "none".to_owned(),
        false => details.names.join(", "),
    };
    let _ = write!(
        text,
        "  Subject  {}\n  Issuer   {}\n  Hosts    {names}\n  Valid    {} to {}\n  SHA-256  {}\n",
        details.subject, details.issuer, details.valid_from, details.valid_to, details.sha256
    );
    text
}

fn choices(question: &Question) -> &'static str {
    if question.can_be_kept {
        "Connect? [o]nce, [a]lways, [N]o: "
    } else {
        "Connect? [o]nce, [N]o: "
    }
}

/// Nothing said is no.
fn answer(line: &str, question: &Question) -> Option<Answer> {
    match line.trim().to_ascii_lowercase().as_str() {
        "o" | "once" => Some(Answer::Once),
        "a" | "always" if question.can_be_kept => Some(Answer::Always),
        "" | "n" | "no" => Some(Answer::No),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::core::{Details, Fault, Finding};

    use super::*;

    #[test]
    fn the_question_has_everything_and_only_clear_answers_count() {
        let mut question = Question {
            host: "broker.test".into(),
            port: 8443,
            details: Details {
                subject: "CN=broker".into(),
                issuer: "CN=ours".into(),
                valid_from: "2020-01-01".into(),
                valid_to: "2021-01-01".into(),
                names: vec!["broker.test".into()],
                sha256: "AB:CD".into(),
            },
            findings: vec![Finding {
                fault: Fault::Expired,
                words: "it expired on 2021-01-01".into(),
            }],
            can_be_kept: true,
        };
        assert_eq!(
            text(&question),
            "The certificate of broker.test port 8443 cannot be trusted:\n  \
             - it expired on 2021-01-01\n  \
             Subject  CN=broker\n  Issuer   CN=ours\n  Hosts    broker.test\n  \
             Valid    2020-01-01 to 2021-01-01\n  SHA-256  AB:CD\n"
        );
        for (line, expected) in [
            ("o", Some(Answer::Once)),
            (" Always ", Some(Answer::Always)),
            ("", Some(Answer::No)),
            ("no", Some(Answer::No)),
            ("y", None),
            ("yes", None),
        ] {
            assert_eq!(answer(line, &question), expected, "{line}");
        }
        question.can_be_kept = false;
        assert_eq!(answer("always", &question), None);
    }
}
