//! Follows `${other.key}`.

use crate::error::{ConfigError, Excess, Origin};
use crate::key::{Key, Program};
use crate::lex::{Content, Segment, Template, lines};
use crate::limits::{MAX_DEPTH, MAX_REFERENCES, MAX_VALUE};
use crate::properties::Properties;

/// The value of `key` as `program` sees it: as it is set, else the program's
/// default, with every reference replaced. `None` when it is neither set nor
/// known.
pub(crate) fn value(
    properties: &Properties,
    program: Program,
    key: &str,
) -> Result<Option<(String, Origin)>, ConfigError> {
    let Some((template, at)) = look_up(properties, program, key) else {
        return Ok(None);
    };
    let path = vec![key.to_owned()];
    let mut expansion = Expansion {
        properties,
        program,
        at: at.clone(),
        path,
        followed: 0,
    };
    let mut out = String::new();
    expansion.append(&template, &at, &mut out)?;
    Ok(Some((out, at)))
}

fn look_up(properties: &Properties, program: Program, key: &str) -> Option<(Template, Origin)> {
    if let Some(entry) = properties.entry(key) {
        return Some((entry.value.clone(), entry.at.clone()));
    }
    let known = program
        .keys()
        .find(|known| known.is_single() && known.name() == key)?;
    Some((default_template(known), Origin::Default))
}

/// A default is written as in a file: `${path.log}/qvd.log`.
fn default_template(key: &Key) -> Template {
    let line = format!("default = {}", key.default());
    let (lines, _) = lines(&"default".into(), &line);
    match lines.into_iter().next().map(|line| line.content) {
        Some(Content::Entry { value, .. }) => value,
        // No default has a fault: a test reads them all.
        Some(Content::Other) | None => Template(vec![Segment::Text(key.default().to_owned())]),
    }
}

struct Expansion<'a> {
    properties: &'a Properties,
    program: Program,
    /// Where the value that was asked for is set.
    at: Origin,
    /// The keys being expanded, outermost first.
    path: Vec<String>,
    followed: usize,
}

impl Expansion<'_> {
    fn append(
        &mut self,
        value: &Template,
        at: &Origin,
        out: &mut String,
    ) -> Result<(), ConfigError> {
        for segment in &value.0 {
            match segment {
                Segment::Text(text) => out.push_str(text),
                Segment::Reference(name) => self.follow(name, at, out)?,
            }
            if out.len() > MAX_VALUE {
                return Err(self.excess(Excess::Length(MAX_VALUE)));
            }
        }
        Ok(())
    }

    fn follow(&mut self, name: &str, at: &Origin, out: &mut String) -> Result<(), ConfigError> {
        if let Some(start) = self.path.iter().position(|key| key == name) {
            let key = self.current();
            let mut chain: Vec<String> = self.path.iter().skip(start).cloned().collect();
            chain.push(name.to_owned());
            return Err(ConfigError::ReferenceCycle {
                at: at.clone(),
                key,
                chain,
            });
        }
        if self.path.len() > MAX_DEPTH {
            return Err(self.excess(Excess::Depth(MAX_DEPTH)));
        }
        self.followed += 1;
        if self.followed > MAX_REFERENCES {
            return Err(self.excess(Excess::References(MAX_REFERENCES)));
        }
        let Some((template, its_place)) = look_up(self.properties, self.program, name) else {
            let (key, name) = (self.current(), name.to_owned());
            return Err(ConfigError::UnknownReference {
                at: at.clone(),
                key,
                name,
            });
        };
        self.path.push(name.to_owned());
        self.append(&template, &its_place, out)?;
        self.path.pop();
        Ok(())
    }

    /// Blames the value that was asked for: none of those it is made of need be
    /// too much by itself.
    fn excess(&self, excess: Excess) -> ConfigError {
        let key = self.path.first().cloned().unwrap_or_default();
        ConfigError::TooMuchExpansion {
            at: self.at.clone(),
            key,
            excess,
        }
    }

    /// The key whose value is being read.
    fn current(&self) -> String {
        self.path.last().cloned().unwrap_or_default()
    }
}
