//! The manual's files.

use std::path::Path;
use std::time::Duration;

use qvd_config::value::{Link, LogLevel, VariableName};
use qvd_config::{ClientConfig, Document, Program, Properties, ServerConfig, VmaConfig, Warning};
use secrecy::ExposeSecret;

const VMA: &[u8] = include_bytes!("../data/vma.conf");
const CLIENT: &[u8] = include_bytes!("../data/client.conf");

fn unknown(properties: &Properties, program: Program) -> Vec<String> {
    let warnings = properties.warnings(program);
    let unknown = warnings.iter().filter(|w| {
        matches!(
            w,
            Warning::UnknownKey { .. } | Warning::OtherProgram { .. } | Warning::Expansion(_)
        )
    });
    unknown.map(ToString::to_string).collect()
}

#[test]
fn the_manuals_vma_conf() {
    let properties = Properties::from_sources([("vma.conf", VMA)]).unwrap();
    assert_eq!(unknown(&properties, Program::Vma), Vec::<String>::new());

    let vma = VmaConfig::from_properties(&properties).unwrap();
    assert_eq!(vma.process.run, Path::new("/var/run/qvd"));
    assert_eq!(
        vma.process.pid_file.as_deref(),
        Some(Path::new("/var/run/qvd/vma.pid"))
    );
    assert_eq!(vma.log.path, Path::new("/var/log"));
    assert_eq!(
        vma.log.filename.as_deref(),
        Some(Path::new("/var/log/qvd/qvd.log"))
    );
    assert_eq!(vma.log.level, LogLevel::Debug);
    assert!(vma.log.log4perl.syslog());
    assert!(vma.channel.audio);
    assert_eq!(vma.channel.slave_command, None);
    let connect = Path::new("/etc/qvd/hooks/connect.sh");
    assert_eq!(vma.on_action.connect.as_deref(), Some(connect));
    assert_eq!(vma.default.keyboard.to_string(), "pc105/en");
    assert_eq!(vma.default.link, Link::Adsl);
    assert_eq!(
        properties.origin("log.level").unwrap().to_string(),
        "vma.conf:46"
    );
}

#[test]
fn the_manuals_client_conf() {
    let properties = Properties::from_sources([("client.conf", CLIENT)]).unwrap();
    assert_eq!(unknown(&properties, Program::Client), Vec::<String>::new());

    let client = ClientConfig::from_properties(&properties).unwrap();
    assert_eq!(client.login.user.as_deref(), Some("guest"));
    assert_eq!(client.login.host, None);
    assert_eq!(client.session.force_link, Some(Link::Local));
    assert!(client.session.fullscreen);
    assert_eq!(client.session.geometry.unwrap().to_string(), "1024x768");
    let slave = client.share.slave_command.as_ref().unwrap();
    assert_eq!(slave.as_path(), Path::new("/path/to/custom/slave-command"));
    let shared = client.login.auth_env_share_list.as_slice();
    let shared: Vec<&str> = shared.iter().map(VariableName::as_str).collect();
    assert_eq!(shared, ["MYNAME", "MYADDRESS", "MYCITY"]);
    assert_eq!(
        client.share.sshfs_args.as_slice(),
        ["-o", "atomic_o_trunc", "-o", "idmap=user"]
    );
    assert_eq!(client.log.level, LogLevel::All);
}

#[test]
fn the_manuals_files_are_written_as_they_were_read() {
    for bytes in [VMA, CLIENT] {
        let document = Document::parse("a.conf", bytes).unwrap();
        assert_eq!(document.render().as_bytes(), bytes);
    }
}

#[test]
fn the_references_defaults() {
    let none = Properties::new();
    let vma = VmaConfig::from_properties(&none).unwrap();
    assert_eq!(vma.process.run, Path::new("/var/run/qvd"));
    assert_eq!(
        vma.log.filename.as_deref(),
        Some(Path::new("/var/log/qvd/qvd.log"))
    );
    assert_eq!(vma.rpc.port, 3030);
    assert_eq!(vma.rpc.address.to_string(), "0.0.0.0");
    assert_eq!(vma.nx.address, vma.rpc.address);
    assert_eq!(vma.nx.display.nx_port(), 4100);
    let seconds = [
        vma.nx.initiating,
        vma.nx.listening,
        vma.nx.suspending,
        vma.nx.stopping,
    ];
    assert_eq!(seconds.map(|wait| wait.as_secs()), [20, 10, 20, 20]);
    assert_eq!(vma.user.default_name.as_str(), "qvd");
    assert_eq!(vma.user.umask.bits(), 0o022);
    let redirected = vma.user.shares_path.under(Path::new("/home/ann"));
    assert_eq!(redirected, Path::new("/home/ann/Redirected"));

    let client = ClientConfig::from_properties(&none).unwrap();
    assert_eq!(client.login.port.get(), 8443);
    assert!(client.login.use_ssl && client.channel.printing && client.share.slave);
    assert!(!client.session.fullscreen && !client.login.auth_env_share);
    assert_eq!(client.session.link, Link::Local);

    let server = ServerConfig::from_properties(&none).unwrap();
    assert_eq!(server.l7r.address.to_string(), "0.0.0.0");
    assert_eq!(
        server.l7r.pid_file.as_deref(),
        Some(Path::new("/var/run/qvd/l7r.pid"))
    );
    assert_eq!(server.timeout.x_start.number(), 20);
    assert_eq!(server.timeout.vm_start, Duration::from_secs(270));
}

#[test]
fn the_users_file_overrides_the_systems() {
    let system = b"client.link = adsl\nclient.host.name = ${broker}\nbroker = a.example";
    let user = b"client.link = wan\nbroker = b.example\n";
    let properties =
        Properties::from_sources([("/etc", system.as_slice()), ("~", user.as_slice())]).unwrap();
    let client = ClientConfig::from_properties(&properties).unwrap();
    assert_eq!(client.session.link, Link::Wan);
    assert_eq!(client.login.host.unwrap().as_str(), "b.example");
    assert_eq!(properties.origin("client.link").unwrap().to_string(), "~:1");
    assert_eq!(
        properties.origin("client.host.name").unwrap().to_string(),
        "/etc:2"
    );
}

#[test]
fn windows_files_are_read() {
    let text = "\u{feff}# x\r\nclient.link = \\\r\n  lan\r\nclient.use_ssl = 0\r\n";
    let client = ClientConfig::from_properties(&super::properties(text)).unwrap();
    assert_eq!(client.session.link, Link::Lan);
    assert!(!client.login.use_ssl);
}

#[test]
fn a_password_is_read_and_not_shown() {
    let properties =
        super::properties("client.user.password = s3cret\nmisspelt.password = s3cret\n");
    let client = ClientConfig::from_properties(&properties).unwrap();
    assert_eq!(
        client.login.password.as_ref().unwrap().expose_secret(),
        "s3cret"
    );
    let settings = properties.settings(Program::Client);
    let shown: String = settings
        .iter()
        .map(|setting| format!("{setting}\n"))
        .collect();
    assert!(shown.contains("client.user.password = (not shown)  (a.conf:1)"));
    assert!(!shown.contains("s3cret"));
    assert!(!format!("{client:?} {properties:?}").contains("s3cret"));
}
