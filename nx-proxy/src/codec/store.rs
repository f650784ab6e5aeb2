//! Message stores: what a request is sent as a change of.

use super::bits::Bits;
use super::cache::{Action, Actions};
use super::error::bad;
use super::{CodecError, limits};

/// Bytes in all stores of a session.
#[derive(Debug, Default)]
pub(super) struct Used(usize);

/// An array of messages that both ends keep.
#[derive(Debug)]
pub(super) struct Store {
    actions: Actions,
    slots: usize,
    messages: Vec<Option<Vec<u8>>>,
}

impl Store {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            actions: Actions::default(),
            slots,
            messages: Vec::new(),
        }
    }

    /// Reads what is to be done, past any removals.
    pub(super) fn action(
        &mut self,
        bits: &mut Bits<'_>,
        used: &mut Used,
    ) -> Result<Action, CodecError> {
        loop {
            match self.actions.read(bits)? {
                Action::Removed(at) => {
                    let Some(message) = self.messages.get_mut(at).and_then(Option::take) else {
                        return bad("removed store position", number(at));
                    };
                    used.0 = used.0.saturating_sub(message.len());
                }
                Action::Added(at) if at >= self.slots => {
                    return bad("store position", number(at));
                }
                action => return Ok(action),
            }
        }
    }

    pub(super) fn at(&mut self, at: usize) -> Result<&mut Vec<u8>, CodecError> {
        match self.messages.get_mut(at) {
            Some(Some(message)) => Ok(message),
            _ => bad("empty store position", number(at)),
        }
    }

    pub(super) fn put(
        &mut self,
        at: usize,
        message: &[u8],
        used: &mut Used,
    ) -> Result<(), CodecError> {
        if at >= self.messages.len() {
            self.messages.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.messages.get_mut(at) {
            let before = slot.as_ref().map_or(0, Vec::len);
            used.0 = used.0.saturating_sub(before) + message.len();
            if used.0 > limits::STORES {
                return Err(CodecError::TooLarge {
                    what: "message stores",
                    value: used.0,
                });
            }
            *slot = Some(message.to_vec());
        }
        Ok(())
    }
}

fn number(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}
