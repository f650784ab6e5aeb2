//! What programs print.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::lines::Lines;

/// The lines of a program, on whichever stream it printed them.
#[derive(Default)]
pub struct Output {
    pipe: Option<pipe::Receiver>,
    lines: Lines,
}

impl Output {
    /// Has a program that is about to be started print here.
    ///
    /// # Errors
    /// When there is no descriptor left for a pipe.
    pub fn of(command: &mut Command) -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        command.stdout(write.try_clone()?).stderr(write);
        let read = File::from(OwnedFd::from(read));
        Ok(Self {
            pipe: Some(pipe::Receiver::from_file(read)?),
            lines: Lines::default(),
        })
    }

    /// The next whole lines, perhaps none; never, when there will be no more.
    /// Cancel safe.
    pub async fn next(&mut self) -> Vec<String> {
        let Some(pipe) = &mut self.pipe else {
            return std::future::pending().await;
        };
        let mut chunk = [0; 4096];
        let length = pipe.read(&mut chunk).await.unwrap_or(0);
        if length == 0 {
            self.pipe = None;
            return self.lines.finish().into_iter().collect();
        }
        self.lines.push(chunk.get(..length).unwrap_or_default())
    }

    /// The lines that are there by now, without waiting for more, of at most
    /// about `limit` bytes: the last words of a program that has ended.
    pub fn rest(&mut self, limit: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut taken = 0;
        while let Some(pipe) = &mut self.pipe
            && taken < limit
        {
            let mut chunk = [0; 4096];
            match pipe.try_read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => {
                    self.pipe = None;
                    lines.extend(self.lines.finish());
                }
                Ok(length) => {
                    taken += length;
                    lines.extend(self.lines.push(chunk.get(..length).unwrap_or_default()));
                }
            }
        }
        lines
    }

    /// Whether nobody can print any more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.pipe.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_both_streams_come_until_the_program_ends() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo one; echo two >&2; printf three"]);
        let mut output = Output::of(&mut command).unwrap();
        let mut child = command.spawn().unwrap();
        // Without the command's own ends the pipe ends with the program.
        drop(command);
        let mut lines = Vec::new();
        while lines.len() < 3 {
            lines.extend(output.next().await);
        }
        child.wait().unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
    }
}
