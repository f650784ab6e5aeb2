//! What nxagent says is what nxproxy hears, to the byte, however often the
//! connection between them is lost; and the other way round.
//!
//! Either is started by a script that lays a tap between it and what is ours.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_tests::fault::{Cut, Direction};
use qvd_tests::process::find_in_path;
use qvd_tests::rig::{Desktop, under_openbox};
use qvd_tests::{Error, Outcome, Result, Scene, play_for};
use rustix::process::Signal;

use super::carrier::{AWAY, BACK, agent_says, undisturbed};
use super::stage::{Stage, WAIT};
use crate::agent::hooks::hook;
use crate::agent::soak::times;
use crate::shares::stage::until;

/// Draws and scrolls until the file `quiet` is there.
const BUSY: &str = "while ! [ -e \"$QUIET\" ]; do ls -lR /usr/lib | head -n 2000; \
    x11perf -repeat 1 -time 1 -rect100 -putimage100 -getimage100 -polytext16 >/dev/null; done\n\
    exec sleep 1000\n";

/// Moves the pointer for ever.
const POINTING: &str = "x=0\nwhile :; do x=$(((x + 7) % 300))\n\
    echo mousemove $((x + 100)) $((x + 100)) sleep 0.05; done | exec ";

/// At least so many bytes are to have gone from nxagent, and to it.
const LEAST: [u64; 2] = [1 << 20, 16 << 10];

/// Bytes that are compared at a time.
const PIECE: u64 = 1 << 20;

/// The bytes that have passed through a tap: from what is ours, and to it.
struct Tap {
    from: PathBuf,
    to: PathBuf,
}

impl Tap {
    fn new(scene: &Scene, name: &str) -> Self {
        Self {
            from: scene.path(format!("{name}.from")),
            to: scene.path(format!("{name}.to")),
        }
    }

    /// The tap itself, in shell, between `$near`, where it listens, and `$far`.
    /// What is ours comes to it, or is where it goes.
    fn lay(&self, comes: bool) -> Result<String> {
        let socat = installed("socat")?;
        let (there, back) = match comes {
            true => (&self.from, &self.to),
            false => (&self.to, &self.from),
        };
        let [there, back] = [there.display(), back.display()];
        Ok(format!(
            "{socat} -r {there} -R {back} \"UNIX-LISTEN:$near\" \"UNIX-CONNECT:$far\""
        ))
    }
}

fn installed(program: &str) -> Result<String> {
    let found = find_in_path(program);
    let found = found.ok_or_else(|| Error::Invalid(format!("install the package {program}")))?;
    Ok(found.display().to_string())
}

/// nxagent, with a tap at its socket. The session process finds the tap where
/// nxagent would be.
fn tapped_nxagent(scene: &Scene, tap: &Tap) -> Result<String> {
    let lay = tap.lay(true)?;
    let nxagent = installed("nxagent")?;
    let script = format!(
        "for last; do :; done\n\
         options=${{last#*options=}}\n\
         options=${{options%:*}}\n\
         near=$(sed -n 's/.*listen=unix:\\([^:,]*\\).*/\\1/p' \"$options\")\n\
         far=$near.far\n\
         sed -i \"s|listen=unix:$near|listen=unix:$far|\" \"$options\"\n\
         {lay} &\n\
         exec {nxagent} \"$@\""
    );
    hook(scene, "tapped-nxagent", &script)
}

/// nxproxy, or what takes its words, with a tap between it and the client. The
/// client lets nobody in but the process that it has started: the tap.
fn tapped_nxproxy(scene: &Scene, tap: &Tap, program: &str) -> Result<String> {
    let lay = tap.lay(false)?;
    let script = format!(
        "far=${{2##*connect=unix:}}\n\
         number=${{far##*:}}\n\
         far=${{far%:*}}\n\
         near=$far.near\n\
         words=${{2%%,connect=unix:*}}\n\
         ( while ! [ -S \"$near\" ]; do sleep 0.05; done\n\
         exec {program} -S \"$words,connect=unix:$near:$number\" ) &\n\
         exec {lay}"
    );
    hook(scene, "tapped-nxproxy", &script)
}

fn length(path: &Path) -> Result<u64> {
    let failed = |error| Error::Invalid(format!("{}: {error}", path.display()));
    Ok(std::fs::metadata(path).map_err(failed)?.len())
}

/// Compares the first bytes of two files; a difference names its place.
fn alike(one: &Path, other: &Path, mut left: u64) -> Outcome {
    let [mut one, mut other] = [
        BufReader::new(File::open(one)?),
        BufReader::new(File::open(other)?),
    ];
    let mut at = 0_u64;
    while left > 0 {
        let piece = left.min(PIECE);
        let [mut here, mut there] = [Vec::new(), Vec::new()];
        one.by_ref().take(piece).read_to_end(&mut here)?;
        other.by_ref().take(piece).read_to_end(&mut there)?;
        let differs = here.iter().zip(&there).position(|(a, b)| a != b);
        assert_eq!(differs, None, "in the piece from byte {at} on");
        assert_eq!(u64::try_from(here.len())?, piece);
        assert_eq!(u64::try_from(there.len())?, piece);
        (at, left) = (at + piece, left - piece);
    }
    Ok(())
}

/// A session that draws, scrolls and is pointed at, and is cut so often; then
/// what both ends have said and heard is compared.
async fn compare(scene: &Scene, program: &str, cuts: usize) -> Outcome {
    let quiet = scene.path("quiet");
    let script = format!("QUIET={}\n{BUSY}", quiet.display());
    let script = scene.write("busy.sh", script)?;
    let busy = format!("xclock -update 1 & xterm -e sh {} &", script.display());
    let desktop = Desktop::Script(under_openbox(&busy));
    let [agent, client] = ["agent", "client"].map(|name| Tap::new(scene, name));
    let nxagent = tapped_nxagent(scene, &agent)?;
    let keys = [("log.level", "INFO"), ("command.nxagent", nxagent.as_str())];
    let stage = Stage::set_with(scene, true, &desktop, &keys).await?;
    let nxproxy = tapped_nxproxy(scene, &client, program)?;
    let login = stage
        .login()
        .with("client.nx.engine", "nxproxy")
        .with("command.nxproxy", &nxproxy);
    let mut connected = stage.connect(scene, &login).await?;
    let log = stage.agent.daemon_log()?;
    // The user's side has something to say, too.
    let xdotool = installed("xdotool")?;
    let pointing = scene.write("pointing.sh", format!("{POINTING}{xdotool} -\n"))?;
    let pointing = scene.installed("sh", "dash")?.arg(pointing);
    let mut pointing = scene.start(stage.display.dress(pointing))?;
    for cut in 0..cuts {
        let from = log.position();
        tokio::time::sleep(Duration::from_millis(u64::try_from(cut * 37 % 400)?)).await;
        let relay = match cut % 3 {
            0 => &stage.nx,
            _ => &stage.front,
        };
        if cut % 10 == 9 {
            // Nothing tells of it.
            let both = [Direction::ToClient, Direction::ToServer];
            both.iter().for_each(|way| relay.stall(*way));
            agent_says(log, from, AWAY).await?;
            both.iter().for_each(|way| relay.resume(*way));
        } else {
            relay.cut(if cut % 2 == 0 { Cut::Reset } else { Cut::Fin });
        }
        agent_says(log, from, BACK).await?;
    }
    undisturbed(&stage).await?;
    pointing.signal(Signal::TERM)?;
    pointing.wait(WAIT).await?;
    std::fs::write(&quiet, "")?;
    // The clock still ticks, once a second: there is silence in between.
    let ways = [(&agent.to, &client.from), (&client.to, &agent.from)];
    let lengths = RefCell::new(Vec::new());
    until("all has come that was said", || {
        let heard = ways.iter().map(|(said, heard)| {
            let lengths = (length(said).ok()?, length(heard).ok()?);
            (lengths.0 == lengths.1).then_some(lengths.0)
        });
        heard.collect::<Option<_>>().is_some_and(|heard: Vec<_>| {
            lengths.replace(heard);
            true
        })
    })
    .await?;
    stage.leave(&mut connected).await?;
    let lengths = lengths.into_inner();
    for ((said, heard), length) in ways.into_iter().zip(&lengths) {
        alike(said, heard, *length)?;
    }
    let told = format!("{cuts} cuts, compared {lengths:?} bytes\n");
    std::fs::write(scene.artefact("compared"), told)?;
    assert!(
        lengths
            .iter()
            .zip(LEAST)
            .all(|(length, least)| *length >= least)
    );
    Ok(())
}

fn compared(name: &str, cuts: usize, program: impl FnOnce() -> Result<String>) {
    let limit = 2 * WAIT + Duration::from_secs(3) * u32::try_from(cuts).unwrap_or(u32::MAX);
    play_for(name, limit, async |scene| {
        compare(scene, &program()?, cuts).await
    });
}

#[test]
fn nxproxy_hears_what_nxagent_says() {
    compared("carrier_streams_nxproxy", times(30, 300), || {
        installed("nxproxy")
    });
}

#[test]
fn the_native_engine_hears_what_nxagent_says() {
    compared("carrier_streams_native", times(30, 300), || {
        Ok(qvd_tests::programs::built("qvd-nxproxy")?
            .display()
            .to_string())
    });
}
