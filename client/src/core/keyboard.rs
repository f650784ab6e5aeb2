//! The display's keyboard, as the broker is told of it.

use nx_proxy::Keyboard;
use qvd_broker::ClientParameters;

/// The part of the parameters' names before what the X server calls them.
const PREFIX: &str = "qvd.client.xkb.";

/// Describes the keyboard in the reference's form, `model/layout`, which knows
/// one layout, and beside it with all that the X server says: rules, model,
/// layouts, variants and options, each as `setxkbmap` takes it. An agent that
/// does not know these parameters goes by the first.
pub(super) fn describe(keyboard: &Keyboard, parameters: &mut ClientParameters) {
    parameters.keyboard = Some(keyboard.to_string());
    for (name, value) in keyboard.xkb() {
        if !value.is_empty() {
            // Of a name that clients may send.
            let _ = parameters.more.set(&format!("{PREFIX}{name}"), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyboard_is_told_in_short_and_in_full() {
        let rules = b"evdev\0pc105\0es,us\0,intl\0grp:alt_shift_toggle\0";
        let keyboard = Keyboard::from_rules(rules).unwrap();
        let mut parameters = ClientParameters::default();
        describe(&keyboard, &mut parameters);
        let sent = parameters.to_parameters();
        for (name, value) in [
            ("qvd.client.keyboard", "pc105/es"),
            ("qvd.client.xkb.rules", "evdev"),
            ("qvd.client.xkb.model", "pc105"),
            ("qvd.client.xkb.layout", "es,us"),
            ("qvd.client.xkb.variant", ",intl"),
            ("qvd.client.xkb.options", "grp:alt_shift_toggle"),
        ] {
            assert_eq!(sent.value(name), Some(value));
        }
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        let keyboard = Keyboard::from_rules(b"evdev\0pc104\0us\0\0\0").unwrap();
        let mut parameters = ClientParameters::default();
        describe(&keyboard, &mut parameters);
        let sent = parameters.to_parameters();
        assert_eq!(sent.value("qvd.client.keyboard"), Some("pc104/us"));
        assert_eq!(sent.value("qvd.client.xkb.variant"), None);
        assert!(
            sent.iter()
                .all(|(name, _)| name != "qvd.client.xkb.options")
        );
    }
}
