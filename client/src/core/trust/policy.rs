//! What becomes of a certificate with faults.

use std::collections::BTreeSet;

use super::fault::{Fault, Finding};

/// What is done about a fault that may be passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Errors {
    /// The user is asked.
    #[default]
    Ask,
    /// The connection is made, and the fault told.
    Continue,
    /// The connection is not made.
    Abort,
}

/// Which faults may be passed over, and who says so. The default is strict:
/// none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is done about a fault that may be passed over.
    pub errors: Errors,
    /// The faults that may be passed over.
    pub allow: BTreeSet<Fault>,
    /// The faults about which the administrator of this machine has decided.
    /// This changes only what the user is told.
    pub locked: BTreeSet<Fault>,
}

/// What a policy says of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The user decides.
    Ask,
    /// Connect, and tell the user.
    Continue,
    /// Do not connect; why, as the end of a sentence, with what can be done.
    Refuse(String),
}

impl Policy {
    /// Says what the configuration's `client.ssl.allow_*` say.
    ///
    /// `said` gives a fault's value and whether the administrator's file has
    /// it; a user's own `--ssl-errors` (`errors`) opens what the administrator
    /// has left open.
    pub fn of(errors: Option<Errors>, said: impl Fn(Fault) -> (bool, bool)) -> Self {
        let mut policy = Self {
            errors: errors.unwrap_or_default(),
            ..Self::default()
        };
        for fault in Fault::ALL {
            let (allowed, by_administrator) = said(fault);
            if by_administrator {
                policy.locked.insert(fault);
            }
            if allowed || (errors.is_some() && !by_administrator) {
                policy.allow.insert(fault);
            }
        }
        policy
    }

    /// Why nothing at all passes over one of these faults: the administrator
    /// does not want it.
    pub(crate) fn forbids(&self, findings: &[Finding]) -> Option<String> {
        let is_locked = |found: &&Finding| {
            self.locked.contains(&found.fault) && !self.allow.contains(&found.fault)
        };
        let found = findings.iter().find(is_locked)?;
        Some(format!(
            "the administrator of this machine does not allow it ({})",
            found.fault.key()
        ))
    }

    pub(crate) fn verdict(&self, findings: &[Finding]) -> Verdict {
        if let Some(why) = self.forbids(findings) {
            return Verdict::Refuse(why);
        }
        let forbidden = findings
            .iter()
            .find(|found| !self.allow.contains(&found.fault));
        match (forbidden, self.errors) {
            (Some(_), _) => Verdict::Refuse(
                "trust it with --ca FILE or --pin SHA256, or be asked with --ssl-errors=ask".into(),
            ),
            (None, Errors::Abort) => {
                Verdict::Refuse("trust it with --ca FILE or --pin SHA256".into())
            }
            (None, Errors::Ask) => Verdict::Ask,
            (None, Errors::Continue) => Verdict::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(faults: &[Fault]) -> Vec<Finding> {
        let found = faults.iter().map(|fault| Finding::new(*fault, "it is odd"));
        found.collect()
    }

    #[test]
    fn by_default_nothing_is_passed_over() {
        for fault in Fault::ALL {
            let verdict = Policy::default().verdict(&findings(&[fault]));
            assert!(matches!(verdict, Verdict::Refuse(why) if why.contains("--pin")));
        }
    }

    #[test]
    fn one_fault_that_is_not_allowed_is_enough() {
        let policy = Policy::of(None, |fault| (fault == Fault::Expired, false));
        assert_eq!(policy.verdict(&findings(&[Fault::Expired])), Verdict::Ask);
        let both = findings(&[Fault::Expired, Fault::WrongHost]);
        assert!(matches!(policy.verdict(&both), Verdict::Refuse(_)));
    }

    #[test]
    fn a_user_opens_only_what_the_administrator_left_open() {
        let said = |fault| (false, fault == Fault::Revoked);
        for (errors, verdict) in [
            (Errors::Ask, Verdict::Ask),
            (Errors::Continue, Verdict::Continue),
        ] {
            let policy = Policy::of(Some(errors), said);
            assert_eq!(policy.verdict(&findings(&[Fault::SelfSigned])), verdict);
            let refused = policy.verdict(&findings(&[Fault::SelfSigned, Fault::Revoked]));
            let Verdict::Refuse(why) = refused else {
                panic!("{refused:?}");
            };
            assert!(why.contains("client.ssl.allow_revoked"), "{why}");
        }
    }

    #[test]
    fn abort_refuses_what_is_allowed() {
        let policy = Policy::of(Some(Errors::Abort), |_| (true, false));
        let verdict = policy.verdict(&findings(&[Fault::Expired]));
        assert!(matches!(verdict, Verdict::Refuse(_)));
    }
}
