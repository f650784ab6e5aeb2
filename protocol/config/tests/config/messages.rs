//! The text of every fault and warning.

use qvd_config::limits::{MAX_ERRORS, MAX_FILE, MAX_KEYS, MAX_LINE};
use qvd_config::{ClientConfig, ConfigError, Program, Properties, ServerConfig, VmaConfig};

use super::properties;

fn text(errors: &[ConfigError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The faults of a text as a file.
fn syntax(bytes: impl AsRef<[u8]>) -> Vec<String> {
    text(&Properties::from_sources([("a.conf", bytes.as_ref())]).unwrap_err())
}

/// The faults of a text as the agent's configuration.
fn vma(source: &str) -> Vec<String> {
    text(&VmaConfig::from_properties(&properties(source)).unwrap_err())
}

fn warnings(source: &str, program: Program) -> Vec<String> {
    properties(source)
        .warnings(program)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn files() {
    assert_eq!(
        syntax(b"a = 1\nb = \xff\n"),
        ["a.conf:2: the line is not valid UTF-8"]
    );
    assert_eq!(
        syntax(b"a = 1\n\nb = \xc3"),
        ["a.conf:3: the line is not valid UTF-8"]
    );
    let long = vec![b'#'; MAX_FILE + 1];
    assert_eq!(
        syntax(long),
        ["a.conf: the file is larger than 1048576 bytes"]
    );
    let many: String = (0..=MAX_KEYS).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(syntax(many), ["a.conf:4097: more than 4096 keys are set"]);
}

#[test]
fn every_faulty_line_is_reported() {
    let source = "= 1\n# fine\n: 2\nlone\n a = \\u12\nb = ${x\nc = 1\0\n";
    assert_eq!(
        syntax(source),
        [
            "a.conf:1: the key is missing before the `=`",
            "a.conf:3: the key is missing before the `:`",
            "a.conf:4: expected `key = value`, found only `lone`",
            "a.conf:5: `\\u` needs four hexadecimal digits that name a character",
            "a.conf:6: b: `${` is not closed by `}`",
            "a.conf:7: the line holds a NUL character",
        ]
    );
    let nul = "a = \\u0000\nb = \\ud800\nc = \\ud800\\u0041\n";
    let bad = "`\\u` needs four hexadecimal digits that name a character";
    assert_eq!(
        syntax(nul),
        [
            "a.conf:1: the line holds a NUL character".to_owned(),
            format!("a.conf:2: {bad}"),
            format!("a.conf:3: {bad}"),
        ]
    );
}

#[test]
fn faults_stop_at_a_limit() {
    let errors = syntax("lone\n".repeat(10 * MAX_ERRORS));
    assert_eq!(errors.len(), MAX_ERRORS + 1);
    assert_eq!(
        errors.last().unwrap(),
        "a.conf:101: more than 100 faults, the rest of the file is not read"
    );
}

#[test]
fn long_lines() {
    let fits = format!("a = {}", "x".repeat(MAX_LINE - 4));
    assert!(Properties::from_sources([("a.conf", fits.as_bytes())]).is_ok());
    let refused = ["a.conf:1: the line with its continuations is longer than 16384 bytes"];
    assert_eq!(syntax(format!("{fits}x")), refused);
    assert_eq!(syntax(format!("a = \\\n{}", "x\\\n".repeat(6000))), refused);
}

#[test]
fn lines_are_counted_through_continuations() {
    let source = "a = 1 \\\n  2 \\\n  3\nlone\n";
    assert_eq!(
        syntax(source),
        ["a.conf:4: expected `key = value`, found only `lone`"]
    );
}

#[test]
fn every_wrong_value_is_reported() {
    let source = "vma.rpc.port = 70000\nlog.level = loud\n\nvma.audio.enable = maybe\n\
        command.nxagent =\nvma.rpc.allow = 10.0.0.1/8\n";
    assert_eq!(
        vma(source),
        [
            "a.conf:1: vma.rpc.port: expected a port from 0 to 65535, found `70000`",
            "a.conf:2: log.level: expected ALL, DEBUG, INFO, WARN, ERROR, FATAL or OFF, found `loud`",
            "a.conf:4: vma.audio.enable: expected 1, true, yes or on, or 0, false, no, off or nothing, found `maybe`",
            "a.conf:5: command.nxagent: expected an absolute path or the name of a program, found nothing",
            "a.conf:6: vma.rpc.allow: expected a list, separated by commas or spaces, each a network such as 10.0.0.0/8 or an IP address, found `10.0.0.1/8`",
        ]
    );
}

#[test]
fn a_wrong_value_is_not_reported_again_for_the_defaults_that_use_it() {
    assert_eq!(
        vma("path.run = here"),
        ["a.conf:1: path.run: expected an absolute path, found `here`"]
    );
}

#[test]
fn references() {
    assert_eq!(
        vma("path.run = ${path.rnu}/x"),
        ["a.conf:1: path.run: `${path.rnu}` names a key that is not set"]
    );
    assert_eq!(
        vma("path.run = /${a}\na = ${b}\nb = ${a}\n"),
        ["a.conf:3: b: the value refers to itself: a -> b -> a"]
    );
    assert_eq!(
        vma("path.run = ${path.run}"),
        ["a.conf:1: path.run: the value refers to itself: path.run -> path.run"]
    );
    assert_eq!(
        vma("path.run = ${vma.pid_file}"),
        [
            "a.conf:1: path.run: the value refers to itself: vma.pid_file -> path.run -> vma.pid_file"
        ]
    );
}

#[test]
fn expansion_has_limits() {
    let deep: String = (0..40)
        .map(|n| format!("k{n} = ${{k{}}}\n", n + 1))
        .collect();
    assert_eq!(
        vma(&format!("path.run = ${{k0}}\n{deep}k40 = /\n")),
        ["a.conf:1: path.run: expanding `${…}` gives more than 16 references inside each other"]
    );
    let wide: String = (0..12)
        .map(|n| format!("k{n} = {}\n", format!("${{k{}}}", n + 1).repeat(9)))
        .collect();
    assert_eq!(
        vma(&format!("path.run = /${{k0}}\n{wide}k12 =\n")),
        ["a.conf:1: path.run: expanding `${…}` gives more than 1000 references"]
    );
    let big = format!(
        "path.run = /{}\nk = {}\n",
        "${k}".repeat(9),
        "x".repeat(10_000)
    );
    assert_eq!(
        vma(&big),
        ["a.conf:1: path.run: expanding `${…}` gives more than 65536 bytes"]
    );
}

#[test]
fn a_dollar_can_be_plain_text() {
    let config = VmaConfig::from_properties(&properties("path.run = /a\\${b}$c$")).unwrap();
    assert_eq!(config.process.run.to_str(), Some("/a${b}$c$"));
}

#[test]
fn secrets_are_not_quoted() {
    let source = "client.user.password = s3\\ncret\nclient.auto_connect.token = s3\\ncret";
    let errors = ClientConfig::from_properties(&properties(source)).unwrap_err();
    assert_eq!(
        text(&errors),
        [
            "a.conf:1: client.user.password: expected text without control characters, or nothing, found something else",
            "a.conf:2: client.auto_connect.token: expected text without control characters, or nothing, found something else",
        ]
    );
    assert!(!format!("{errors:?}").contains("s3"));
}

#[test]
fn messages_are_safe_on_a_terminal() {
    let source = format!("vma.rpc.port = \u{1b}[31m{}\n", "9".repeat(200));
    let message = vma(&source).remove(0);
    assert!(message.starts_with(
        "a.conf:1: vma.rpc.port: expected a port from 0 to 65535, found `\\u{1b}[31m9"
    ));
    assert!(message.ends_with("9…`") && message.len() < 180, "{message}");
    assert_eq!(
        warnings("\u{1b}x = 1", Program::Vma),
        ["a.conf:1: \\u{1b}x: unknown key"]
    );
}

#[test]
fn other_sources_of_users_are_refused() {
    let server = |source| ServerConfig::from_properties(&properties(source));
    assert!(server("l7r.auth.plugins = default").is_ok());
    assert_eq!(
        text(&server("l7r.auth.plugins = auto,ldap").unwrap_err()),
        [
            "a.conf:1: l7r.auth.plugins: refused: users are those of l7r.inventory, no other source is asked"
        ]
    );
}

#[test]
fn a_certificate_needs_its_files() {
    let errors = ClientConfig::from_properties(&properties("client.ssl.use_cert = 1")).unwrap_err();
    assert_eq!(
        text(&errors),
        [
            "a.conf:1: client.ssl.use_cert: needs client.ssl.cert_file, which is not set",
            "a.conf:1: client.ssl.use_cert: needs client.ssl.key_file, which is not set",
        ]
    );
}

#[test]
fn numbered_keys() {
    let source = "client.auth_env_share.list.x = A\nclient.auth_env_share.list.1 = A B\n";
    let errors = ClientConfig::from_properties(&properties(source)).unwrap_err();
    assert_eq!(
        text(&errors),
        [
            "a.conf:1: client.auth_env_share.list.x: expected a number for the * of client.auth_env_share.list.*, found `x`",
            "a.conf:2: client.auth_env_share.list.1: expected the name of an environment variable, or nothing, found `A B`",
        ]
    );
}

#[test]
fn warnings_say_what_has_no_effect() {
    let source = "vma.rpc.prot = 1\nclient.link = lan\nmine = ${nothing}\nvma.rpc.port = 1\n\
        vma.rpc.port = 2\ncommand.xinit = /x\nvma.as_group =\n";
    assert_eq!(
        warnings(source, Program::Vma),
        [
            "a.conf:1: vma.rpc.prot: unknown key, did you mean vma.rpc.port",
            "a.conf:2: client.link: only qvdclient reads this key",
            "a.conf:3: mine: unknown key",
            "a.conf:3: mine: `${nothing}` names a key that is not set",
            "a.conf:5: vma.rpc.port: replaces the value set at a.conf:4",
            "a.conf:6: command.xinit: the key is not supported yet, it has no effect",
        ]
    );
}

#[test]
fn a_later_file_overrides_without_a_warning() {
    let sources = [
        ("a.conf", b"log.level = INFO".as_slice()),
        ("b.conf", b"log.level = WARN"),
    ];
    let properties = Properties::from_sources(sources).unwrap();
    assert!(properties.warnings(Program::Vma).is_empty());
}

#[test]
fn codes_are_distinct_from_sentences() {
    let errors = VmaConfig::from_properties(&properties("vma.rpc.port = x")).unwrap_err();
    assert_eq!(errors[0].code(), "config.invalid");
    assert_eq!(errors[0].at().unwrap().to_string(), "a.conf:1");
}
