//! A display for tests.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// An X server.
pub struct Xvfb {
    number: u16,
    process: Child,
}

impl Xvfb {
    pub fn start(number: u16) -> Self {
        let mut process = Command::new("Xvfb")
            .arg(format!(":{number}"))
            .args([
                "-screen",
                "0",
                "1024x768x24",
                "-nolisten",
                "tcp",
                "-displayfd",
                "1",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("Xvfb: {e}; install the package xvfb"));
        let mut ready = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        ready.read_line(&mut line).unwrap();
        assert_eq!(
            line.trim(),
            number.to_string(),
            "display :{number} is taken"
        );
        Self { number, process }
    }

    pub fn name(&self) -> String {
        format!(":{}", self.number)
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // A killed X server leaves them behind.
        let _ = std::fs::remove_file(format!("/tmp/.X{}-lock", self.number));
        let _ = std::fs::remove_file(format!("/tmp/.X11-unix/X{}", self.number));
    }
}
