use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn defaults() -> Defaults {
    Defaults {
        keyboard: "pc105/en".into(),
        link: "adsl".into(),
        tolerancechecks: "risky".into(),
        audio: false,
        printing: false,
        slave: false,
        display: 100,
    }
}

fn spec(pairs: &[(&str, &str)]) -> Result<SessionSpec, String> {
    let mut parameters = Parameters::new();
    for (key, value) in pairs {
        parameters.set(*key, *value);
    }
    let account = Account::of_test("qvd");
    SessionSpec::from_parameters(&parameters, account, &defaults())
}

fn line(spec: &SessionSpec) -> String {
    spec.options_line(&PathBuf::from("/run/qvd/s/nx.sock"), 100)
        .unwrap()
}

#[test]
fn missing_and_empty_parameters_have_defaults() {
    let empty = spec(&[("qvd.vm.user.name", ""), ("qvd.client.geometry", "")]).unwrap();
    assert_eq!(line(&empty), line(&spec(&[]).unwrap()));
    assert_eq!(empty.user, "qvd");
    assert_eq!(
        line(&empty),
        "nx/nx,client=linux,keyboard=pc105/us,link=adsl,tolerancechecks=risky,\
         listen=unix:/run/qvd/s/nx.sock:100"
    );
}

#[test]
fn what_the_reference_client_sends_is_taken() {
    let spec = spec(&[
        ("qvd.vm.user.name", "ann.lee@example.org"),
        ("qvd.client.os", "linux"),
        ("qvd.client.geometry", "800x600"),
        ("qvd.client.keyboard", "pc105/es"),
        ("qvd.client.link", "56k"),
        ("qvd.client.fullscreen", "1"),
        ("qvd.client.nxagent.extra_args", "pack=0,cache=16384"),
        ("custom.anything", "a,b:c=d"),
    ])
    .unwrap();
    assert_eq!(
        line(&spec),
        "nx/nx,client=linux,geometry=800x600,keyboard=pc105/es,link=56k,fullscreen=1,\
         tolerancechecks=risky,pack=0,cache=16384,listen=unix:/run/qvd/s/nx.sock:100"
    );
}

#[test]
fn a_keyboard_in_full_and_a_density_are_taken_and_odd_ones_passed_over() {
    let seat = |pairs: &[(&str, &str)]| spec(pairs).unwrap().seat;
    assert_eq!(seat(&[]), Seat::default());
    let full = seat(&[
        ("qvd.client.xkb.rules", "evdev"),
        ("qvd.client.xkb.model", "pc105"),
        ("qvd.client.xkb.layout", "es,us"),
        ("qvd.client.xkb.variant", ",intl"),
        (
            "qvd.client.xkb.options",
            "grp:alt_shift_toggle,compose:ralt",
        ),
        ("qvd.client.dpi", "144"),
    ]);
    assert_eq!(
        full.keyboard.join(" "),
        "-rules evdev -model pc105 -variant ,intl -layout es,us -option  \
         -option grp:alt_shift_toggle,compose:ralt"
    );
    assert_eq!(full.dpi, Some(144));
    for (name, value) in [
        ("xkb.layout", "-print"),
        ("xkb.layout", "../../tmp/x"),
        ("xkb.layout", "es\nus"),
        ("xkb.layout", ""),
        ("xkb.model", "pc105"),
        ("dpi", "0"),
        ("dpi", "+96"),
        ("dpi", "9999999"),
    ] {
        let odd = seat(&[(&format!("qvd.client.{name}"), value)]);
        assert_eq!(odd, Seat::default(), "{name}={value}");
    }
}

#[test]
fn sound_and_printers_come_where_the_agent_has_them() {
    let with = |pairs: &[(&str, &str)]| {
        let mut parameters = Parameters::new();
        for (key, value) in pairs {
            parameters.set(*key, *value);
        }
        let defaults = Defaults {
            audio: true,
            printing: true,
            ..defaults()
        };
        let account = Account::of_test("qvd");
        line(&SessionSpec::from_parameters(&parameters, account, &defaults).unwrap())
    };
    assert!(with(&[]).contains(",media=1,cups=2100,"));
    assert!(with(&[("qvd.client.os", "windows")]).contains(",media=1,smb=2100,"));
    assert!(!with(&[("qvd.client.printing.enabled", "0")]).contains("2100"));
}

#[test]
fn values_that_try_to_be_two_options_are_refused_by_name() {
    for (key, value) in [
        ("qvd.client.geometry", "800x600,listen=tcp:0.0.0.0:99"),
        ("qvd.client.geometry", "+800x600"),
        ("qvd.client.geometry", "800x99999"),
        ("qvd.client.geometry", "0x600"),
        ("qvd.client.keyboard", "pc105/es,accept=0.0.0.0"),
        ("qvd.client.keyboard", "pc105/es:1"),
        ("qvd.client.keyboard", "pc105"),
        ("qvd.client.keyboard", "pc105/es\nx"),
        ("qvd.client.link", "lan,shadow=1"),
        ("qvd.client.link", "1mm"),
        ("qvd.client.link", "m"),
        ("qvd.client.os", "linux,x=y"),
        ("qvd.client.fullscreen", "1,kill=1"),
        ("qvd.client.nxagent.extra_args", "pack=0:1"),
        ("qvd.client.nxagent.extra_args", "listen=unix"),
        ("qvd.client.nxagent.extra_args", "pack"),
        ("qvd.client.nxagent.extra_args", "pack=a=b"),
        ("qvd.client.timezone", "../../etc/shadow"),
        ("qvd.client.timezone", "/etc/shadow"),
        ("qvd.client.session-id", "short"),
        ("qvd.client.session-id", "with a\nline end"),
    ] {
        let message = spec(&[(key, value)]).unwrap_err();
        assert!(message.contains(key), "{key}={value}: {message}");
    }
}

#[test]
fn a_line_that_nxagent_would_refuse_is_refused_here() {
    let socket = PathBuf::from(format!("/run/{}", "x".repeat(MAX_OPTIONS)));
    assert!(spec(&[]).unwrap().options_line(&socket, 100).is_err());
}

proptest! {
    #[test]
    fn no_value_adds_an_option(
        key in proptest::sample::select(vec![
            "geometry", "keyboard", "link", "os", "fullscreen"]),
        value in "[a-z0-9x/,:= \\n-]{0,24}",
    ) {
        if let Ok(spec) = spec(&[(&format!("qvd.client.{key}"), &value)]) {
            let line = line(&spec);
            let plain = line.split(',').count();
            prop_assert!(plain <= 8, "{line}");
            prop_assert_eq!(line.matches(':').count(), 2, "{}", line);
            prop_assert!(!line.contains('\n'));
        }
    }
}
