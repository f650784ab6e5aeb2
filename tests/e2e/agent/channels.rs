//! Sound and printing over nxagent's channels, with a real PulseAudio and a
//! real CUPS at the client.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_rpc::SessionState;
use qvd_tests::fault::{Endpoint, FaultProxy};
use qvd_tests::process::Process;
use qvd_tests::rig::Desktop;
use qvd_tests::{Error, Result, Scene, nx, play, ports};

use super::{Client, Seat, WAIT};

/// A desktop whose only program writes what it hears of `command` into `file`,
/// again and again until it succeeds.
pub fn asking(command: &str, file: &Path) -> Desktop {
    let file = file.display();
    Desktop::Script(format!(
        "until {command} > {file}.new 2>&1; do sleep 0.2; done\n\
         mv {file}.new {file}\nexec sleep 100000"
    ))
}

/// Connects a client with this option of nxproxy's.
async fn connect(scene: &Scene, seat: &Seat, option: &str) -> Result<Client> {
    seat.agent.start_session(&[]).await?;
    seat.becomes(SessionState::Listening).await?;
    let front = scene.path("channel-way.sock");
    let way = FaultProxy::start(
        &Endpoint::unix(&front),
        &Endpoint::local(seat.agent.x_port()),
    )?;
    let proxy = nx::start_proxy_with(scene, &seat.display, &front, &[option])?;
    seat.becomes(SessionState::Connected).await?;
    Ok(Client { proxy, _way: way })
}

pub async fn answer(file: &Path) -> Result<String> {
    let there = async {
        loop {
            if let Ok(text) = fs::read_to_string(file) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let last = || {
        let new = PathBuf::from(format!("{}.new", file.display()));
        fs::read_to_string(new).unwrap_or_default()
    };
    tokio::time::timeout(WAIT, there)
        .await
        .map_err(|_| Error::Invalid(format!("no answer in the session: {}", last())))
}

/// A PulseAudio with a sink of this name, on a port of loopback.
fn pulseaudio(scene: &Scene, port: u16, sink: &str) -> Result<Process> {
    let module = format!("tcp port={port} listen=127.0.0.1 auth-anonymous=1");
    pulseaudio_with(scene, &module, sink)
}

/// A PulseAudio with a sink of this name, that listens as this module does.
pub fn pulseaudio_with(scene: &Scene, module: &str, sink: &str) -> Result<Process> {
    let program = scene.installed("pulseaudio", "pulseaudio")?;
    let protocol = format!("module-native-protocol-{module}");
    let program = program
        .args([
            "-n",
            "--daemonize=no",
            "--use-pid-file=no",
            "--exit-idle-time=-1",
        ])
        .args(["--disable-shm=yes", "-L", &protocol])
        .args(["-L", &format!("module-null-sink sink_name={sink}")])
        .env("XDG_RUNTIME_DIR", scene.directory())
        .env("HOME", scene.home());
    scene.start(program)
}

#[test]
fn the_sessions_sound_is_played_by_the_client() {
    play("agent_sound", async |scene| {
        let port = ports::port()?;
        let sink = format!("qvd{}", port.number());
        let _server = pulseaudio(scene, port.number(), &sink)?;
        let heard = scene.path("sinks");
        scene.installed("pactl", "pulseaudio-utils")?;
        let desktop = asking("pactl list short sinks", &heard);
        let seat = Seat::take(scene, &desktop, &[("vma.audio.enable", "1")]).await?;
        let option = format!("media={}", port.number());
        let _client = connect(scene, &seat, &option).await?;
        let sinks = answer(&heard).await?;
        assert!(sinks.contains(&sink), "{sinks}");
        seat.leave().await?;
        Ok(())
    });
}

/// A CUPS with the printer `letters`, on a port of loopback.
fn cups(scene: &Scene, port: u16) -> Result<Process> {
    cups_at(scene, &format!("127.0.0.1:{port}"))
}

/// A CUPS with the printer `letters`, that listens here.
pub fn cups_at(scene: &Scene, place: &str) -> Result<Process> {
    let root = scene.path("cups");
    for folder in ["", "spool", "cache", "state", "root", "log"] {
        fs::create_dir_all(root.join(folder)).map_err(|e| Error::Invalid(e.to_string()))?;
    }
    let shown = root.display();
    let config = scene.write(
        "cups/root/cupsd.conf",
        format!(
            "Listen {place}\nBrowsing Off\nWebInterface No\nDefaultAuthType None\n\
             <Location />\nOrder allow,deny\nAllow all\n</Location>\n\
             <Policy default>\n<Limit All>\nOrder allow,deny\nAllow all\n</Limit>\n</Policy>\n"
        ),
    )?;
    let files = scene.write(
        "cups/root/cups-files.conf",
        format!(
            "ServerRoot {shown}/root\nRequestRoot {shown}/spool\nCacheDir {shown}/cache\n\
             StateDir {shown}/state\nAccessLog {shown}/log/access\nErrorLog {shown}/log/error\n\
             PageLog {shown}/log/page\nFileDevice Yes\n"
        ),
    )?;
    scene.write(
        "cups/root/printers.conf",
        "<Printer letters>\nInfo Letters\nDeviceURI file:///dev/null\nState Idle\n\
         Accepting Yes\nShared No\n</Printer>\n",
    )?;
    let program = scene.installed("cupsd", "cups-daemon")?;
    let program = program.arg("-f").arg("-c").arg(config);
    scene.start(program.arg("-s").arg(files))
}

#[test]
fn the_clients_printers_are_printers_of_the_session() {
    play("agent_printers", async |scene| {
        let port = ports::port()?;
        let _server = cups(scene, port.number())?;
        let told = scene.path("printers");
        scene.installed("lpstat", "cups-client")?;
        let desktop = asking("lpstat -p letters", &told);
        let seat = Seat::take(scene, &desktop, &[("vma.printing.enable", "1")]).await?;
        let option = format!("cups={}", port.number());
        let _client = connect(scene, &seat, &option).await?;
        let printers = answer(&told).await?;
        assert!(printers.contains("printer letters is idle"), "{printers}");
        seat.leave().await?;
        Ok(())
    });
}
