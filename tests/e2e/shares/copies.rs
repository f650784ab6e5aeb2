//! Copies of files in shares.

use std::fs;
use std::path::{Path, PathBuf};

use qvd_tests::process::Process;
use qvd_tests::{Error, Outcome, Result, Scene};

use super::stage::WAIT;

/// So many bytes that say where they are.
pub(crate) fn contents(seed: u64, length: usize) -> Vec<u8> {
    let words = (0_u64..).map(|n| (n ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.flatten().take(length).collect()
}

/// Copies, as a process of its own: whatever a test starts beside an open file
/// of a share would close that first, and wait for it.
pub(crate) fn copy(scene: &Scene, from: &Path, to: &Path) -> Result<Process> {
    let names = [("if=", from), ("of=", to)];
    let names = names.map(|(option, path)| format!("{option}{}", path.display()));
    let program = scene.installed("dd", "coreutils")?.args(names);
    scene.start(program.arg("bs=256k"))
}

/// Waits for a copy's end.
pub(crate) async fn is_done(mut copy: Process) -> Outcome {
    let status = copy.wait(WAIT).await?;
    assert!(status.success(), "{}", copy.log().text());
    Ok(())
}

/// Files that are copied into a share and out of it, again and again.
pub(crate) struct Copies<'a> {
    scene: &'a Scene,
    /// The folder that is shared, and where it appears.
    here: PathBuf,
    there: PathBuf,
    length: usize,
    under_way: [Process; 2],
    rounds: u64,
}

impl<'a> Copies<'a> {
    /// Begins, with files of so many bytes.
    pub(crate) fn begin(
        scene: &'a Scene,
        here: PathBuf,
        there: PathBuf,
        length: usize,
    ) -> Result<Self> {
        let under_way = round(scene, &here, &there, length, 0)?;
        Ok(Self {
            scene,
            here,
            there,
            length,
            under_way,
            rounds: 0,
        })
    }

    /// Begins anew when both ways are done.
    pub(crate) async fn go_on(&mut self) -> Outcome {
        if self.under_way.iter_mut().any(Process::is_running) {
            return Ok(());
        }
        self.check().await?;
        let next = round(
            self.scene,
            &self.here,
            &self.there,
            self.length,
            self.rounds,
        )?;
        self.under_way = next;
        Ok(())
    }

    /// Waits for those that are under way: how many rounds there were.
    pub(crate) async fn end(mut self) -> std::result::Result<u64, Box<dyn std::error::Error>> {
        self.check().await?;
        Ok(self.rounds)
    }

    /// What has been copied is what was to be.
    async fn check(&mut self) -> Outcome {
        for copy in &mut self.under_way {
            let status = copy.wait(WAIT).await?;
            assert!(status.success(), "{}", copy.log().text());
        }
        let [down, up] = seeds(self.rounds);
        let fetched = fs::read(self.scene.path("fetched"))?;
        assert!(fetched == contents(down, self.length), "from the share");
        let sent = fs::read(self.here.join("sent"))?;
        assert!(sent == contents(up, self.length), "into the share");
        self.rounds += 1;
        Ok(())
    }
}

/// Of what is copied out of the share, and into it, in one round.
fn seeds(round: u64) -> [u64; 2] {
    [2 * round, 2 * round + 1]
}

fn round(
    scene: &Scene,
    here: &Path,
    there: &Path,
    length: usize,
    number: u64,
) -> Result<[Process; 2]> {
    let [down, up] = seeds(number);
    let fetched = here.join("fetched");
    fs::write(&fetched, contents(down, length))
        .map_err(|error| Error::Invalid(format!("{}: {error}", fetched.display())))?;
    let sent = scene.write("sent", contents(up, length))?;
    Ok([
        copy(scene, &there.join("fetched"), &scene.path("fetched"))?,
        copy(scene, &sent, &there.join("sent"))?,
    ])
}
