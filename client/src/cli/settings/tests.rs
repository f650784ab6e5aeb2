use clap::Parser as _;
use secrecy::ExposeSecret as _;

use super::*;
use crate::core::Trust;

fn gather(line: &str, conf: &str) -> Result<Settings, Failure> {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".qvd")).unwrap();
    std::fs::write(home.path().join(".qvd/client.conf"), conf).unwrap();
    let environment = Environment {
        home: Some(home.path().to_owned()),
        password: Some("from-env".into()),
        ..Environment::default()
    };
    let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
    Settings::gather(arguments, &environment)
}

fn login_of(settings: &Settings) -> (&str, &str) {
    let password = settings.password.as_ref().unwrap();
    (settings.login.as_str(), password.expose_secret())
}

const LOGIN: &str = "client.host.name = broker\nclient.user.name = ann\n";

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_files() {
    let settings = gather("qvdclient", LOGIN).unwrap();
    assert_eq!((settings.host.as_str(), settings.port), ("broker", 8443));
    assert_eq!(login_of(&settings), ("ann", "from-env"));
    let line = "qvdclient -h other -p 1 -u bob -w x -g 640x480 --link 1m";
    let settings = gather(line, LOGIN).unwrap();
    assert_eq!((settings.host.as_str(), settings.port), ("other", 1));
    assert_eq!(login_of(&settings), ("bob", "x"));
    assert_eq!(settings.parameters.geometry.as_deref(), Some("640x480"));
    assert_eq!(settings.parameters.link.as_deref(), Some("1m"));
    assert_eq!(settings.warnings.len(), 1, "the password can be seen");
}

/// The broker, and what is told, when the machine's file has `system`.
fn under(system: &str, line: &str) -> (Settings, String) {
    let home = tempfile::tempdir().unwrap();
    let system_config = home.path().join("client.conf");
    std::fs::write(&system_config, system).unwrap();
    std::fs::create_dir_all(home.path().join(".config/qvd")).unwrap();
    let own = "client.force.host.name = mine\nclient.link = wan\nclient.fullscreen = 1\n";
    std::fs::write(home.path().join(".config/qvd/client.conf"), own).unwrap();
    let environment = Environment {
        home: Some(home.path().to_owned()),
        system_config,
        host: Some("env-host".into()),
        login: Some("ann".into()),
        password: Some("s3cret".into()),
        ..Environment::default()
    };
    let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
    let settings = Settings::gather(arguments, &environment).unwrap();
    let warnings = settings.warnings.join("\n");
    (settings, warnings)
}

#[test]
fn arguments_for_nxproxy_want_nxproxy() {
    let arguments = "client.nxproxy.extra_args = -x\n";
    let (_, warnings) = under(arguments, "qvdclient -h flag");
    assert!(warnings.contains(UNUSED_ARGUMENTS), "{warnings}");
    let (_, warnings) = under(arguments, "qvdclient -h flag --nx-engine nxproxy");
    assert!(!warnings.contains("extra_args"), "{warnings}");
}

#[test]
fn what_an_administrator_forces_cannot_be_changed() {
    let forced = "client.force.host.name = only\nclient.force.link = modem\n";
    let (settings, warnings) = under(forced, "qvdclient -h flag --link lan");
    assert_eq!(settings.host, "only");
    assert_eq!(settings.parameters.link.as_deref(), Some("modem"));
    assert!(
        settings.parameters.fullscreen,
        "the user's other keys count"
    );
    for who in [
        "QVDHOST: ",
        "-h: ",
        "--link: ",
        "qvd/client.conf:1: ",
        "qvd/client.conf:2: ",
    ] {
        let line = warnings.lines().find(|line| line.contains(who));
        assert!(line.unwrap().contains("client.conf:"), "{who}: {warnings}");
        assert!(line.unwrap().contains("cannot be changed"), "{warnings}");
    }
    let (settings, _) = under("", "qvdclient -h flag");
    assert_eq!(settings.host, "mine", "a user may bind himself");
}

#[test]
fn the_configuration_is_shown_with_its_places_and_without_secrets() {
    let forced = "client.force.link = modem\n";
    let (settings, _) = under(forced, "qvdclient -p 1 --show-config -w hidden");
    let shown = &settings.shown_config;
    for (key, value, place) in [
        ("client.host.port", "1", "(-p)"),
        ("client.user.name", "ann", "(QVDLOGIN)"),
        ("client.user.password", "(not shown)", "(-w)"),
        ("client.link", "modem", "/client.conf:1)"),
        ("client.fullscreen", "1", "/qvd/client.conf:3)"),
        ("client.use_ssl", "1", "(default)"),
    ] {
        let begin = format!("{key} = {value} ");
        let line = shown.lines().find(|line| line.starts_with(&begin));
        assert!(
            line.unwrap_or(shown).ends_with(place),
            "{key}: {line:?} {shown}"
        );
    }
    assert!(!shown.contains("s3cret") && !shown.contains("hidden"));
}

#[test]
fn a_configured_token_and_machine_are_taken_without_asking() {
    let conf = "client.auto_connect = 1\nclient.auto_connect.vm_id = 7\n\
                client.auto_connect.token = t0ken\nclient.host.name = broker\n";
    let settings = gather("qvdclient", conf).unwrap();
    assert_eq!(settings.token.unwrap().expose_secret(), "t0ken");
    assert_eq!(settings.task, Task::Connect(Choice::Named("7".into())));
    let settings = gather("qvdclient -u bob -o", conf).unwrap();
    assert!(settings.token.is_none(), "bob logs in as himself");
    assert_eq!(settings.task, Task::Connect(Choice::First));
    let off = conf.replace("connect = 1", "connect = 0");
    assert_eq!(gather("qvdclient", &off).unwrap_err().code(), Code::Usage);
}

#[test]
fn debugging_logs_more_and_never_less() {
    let level = |line: &str, level: &str| {
        let settings = gather(line, &format!("{LOGIN}log.level = {level}\n")).unwrap();
        settings.log_level
    };
    assert_eq!(level("qvdclient", "OFF"), LevelFilter::OFF);
    assert_eq!(level("qvdclient", "INFO"), LevelFilter::INFO);
    assert_eq!(level("qvdclient -d", "OFF"), LevelFilter::DEBUG);
    assert_eq!(level("qvdclient -d", "ALL"), LevelFilter::TRACE);
    let shown = gather("qvdclient -d", LOGIN).unwrap().shown_config;
    assert!(shown.contains("log.level = DEBUG  (-d)"), "{shown}");
}

#[test]
fn a_password_that_others_can_read_is_told() {
    let settings = gather("qvdclient", &format!("{LOGIN}client.user.password = x\n"));
    let warnings = settings.unwrap().warnings.join("\n");
    assert!(
        warnings.contains("client.conf:3: other users can read"),
        "{warnings}"
    );
    assert!(
        !gather("qvdclient", LOGIN)
            .unwrap()
            .warnings
            .join("")
            .contains("other users")
    );
}

#[test]
fn what_is_missing_or_faulty_is_named() {
    for (line, conf, code, words) in [
        ("qvdclient", "", Code::Usage, "no broker"),
        ("qvdclient -h b", "", Code::Usage, "no login"),
        (
            "qvdclient -g big",
            LOGIN,
            Code::Usage,
            "-g: client.geometry",
        ),
        (
            "qvdclient --link warp",
            LOGIN,
            Code::Usage,
            "--link: client.link",
        ),
        ("qvdclient --pin 1234", LOGIN, Code::Usage, "--pin"),
        (
            "qvdclient -x nx/nx,listen=1:0",
            LOGIN,
            Code::Usage,
            "listen",
        ),
        (
            "qvdclient",
            "client.host.port = many",
            Code::Config,
            "client.conf:1",
        ),
        (
            "qvdclient --config /dev/zero",
            LOGIN,
            Code::Config,
            "larger than",
        ),
        (
            "qvdclient --config /nonexistent",
            LOGIN,
            Code::Config,
            "/nonexistent",
        ),
    ] {
        let failure = gather(line, conf).err().unwrap();
        assert_eq!(failure.code(), code, "{line}: {failure}");
        assert!(failure.to_string().contains(words), "{line}: {failure}");
    }
}

#[test]
fn certificates_are_checked_unless_told_otherwise() {
    let trust = |line: &str| gather(line, LOGIN).unwrap().tls.map(|tls| tls.trust);
    assert_eq!(trust("qvdclient"), Some(Trust::Strict));
    assert_eq!(trust("qvdclient -n"), Some(Trust::DangerouslyAnything));
    assert_eq!(trust("qvdclient --no-ssl"), None);
}
