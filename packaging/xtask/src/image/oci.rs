//! A root folder as an archive of the Open Container Initiative: the Image
//! Format Specification's layout, with one layer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::run;

/// The ports of the agent: calls, and the first session's.
const PORTS: [&str; 2] = ["3030/tcp", "4100/tcp"];

/// Makes an archive out of the root's tar file.
pub(super) fn make(tar: &Path, time: u64, work: &Path) -> Result<PathBuf> {
    let layout = work.join("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let plain = digest(tar)?;
    run::shown(Command::new("gzip").args(["-n", "-6"]).arg(tar))?;
    let packed = tar.with_extension("tar.gz");
    let layer = keep(
        &packed,
        &blobs,
        "application/vnd.oci.image.layer.v1.tar+gzip",
    )?;
    let ports = PORTS.iter().map(|port| ((*port).to_owned(), json!({})));
    let config = json!({
        "created": date(time)?,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Cmd": ["/sbin/init"],
            // systemd's for an end in order, in a container.
            "StopSignal": "SIGRTMIN+3",
            "ExposedPorts": ports.collect::<serde_json::Map<_, _>>(),
            "Labels": {"org.opencontainers.image.title": "QVD image"},
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{plain}")]},
    });
    let config = keep_json(
        &config,
        work,
        &blobs,
        "application/vnd.oci.image.config.v1+json",
    )?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer],
    });
    let mut manifest = keep_json(&manifest, work, &blobs, kind)?;
    if let Some(manifest) = manifest.as_object_mut() {
        let name = json!({"org.opencontainers.image.ref.name": "latest"});
        manifest.insert("annotations".into(), name);
    }
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string())?;
    let version = json!({"imageLayoutVersion": "1.0.0"});
    fs::write(layout.join("oci-layout"), version.to_string())?;
    let archive = work.join("oci.tar");
    run::shown(
        Command::new("tar")
            .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
            .arg("--mode=u+rw,go+r,go-w")
            .arg(format!("--mtime=@{time}"))
            .arg("--create")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .args([&layout])
            .args(["oci-layout", "index.json", "blobs"]),
    )?;
    Ok(archive)
}

/// Moves a file among the blobs; gives its descriptor.
fn keep(file: &Path, blobs: &Path, kind: &str) -> Result<Value> {
    let digest = digest(file)?;
    let size = fs::metadata(file)?.len();
    fs::rename(file, blobs.join(&digest))?;
    Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size}))
}

fn keep_json(value: &Value, work: &Path, blobs: &Path, kind: &str) -> Result<Value> {
    let file = work.join("blob.json");
    fs::write(&file, value.to_string())?;
    keep(&file, blobs, kind)
}

fn digest(file: &Path) -> Result<String> {
    let output = run::captured(Command::new("sha256sum").arg(file))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let digest = said.split_whitespace().next().unwrap_or_default();
    ensure!(
        digest.len() == 64,
        "sha256sum does not read {}",
        file.display()
    );
    Ok(digest.to_owned())
}

/// As RFC 3339 has it.
fn date(time: u64) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"]);
    let output = run::captured(date.arg(format!("--date=@{time}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "date does not know {time}");
    Ok(said.trim().to_owned())
}

/// Go's name of the machine, which the format wants.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_the_same_each_time_and_its_parts_are_what_they_say() {
        let archive = || {
            let work = std::env::temp_dir().join(format!(
                "oci-{}-{:?}",
                std::process::id(),
                std::time::Instant::now()
            ));
            fs::create_dir(&work).unwrap();
            fs::write(work.join("root.tar"), b"a root").unwrap();
            let made = make(&work.join("root.tar"), 1_700_000_000, &work).unwrap();
            let bytes = fs::read(&made).unwrap();
            for blob in fs::read_dir(work.join("layout/blobs/sha256")).unwrap() {
                let blob = blob.unwrap();
                let name = blob.file_name();
                assert_eq!(digest(&blob.path()).unwrap(), name.to_str().unwrap());
            }
            let index = fs::read_to_string(work.join("layout/index.json")).unwrap();
            assert!(index.contains("latest"), "{index}");
            fs::remove_dir_all(&work).unwrap();
            bytes
        };
        assert!(archive() == archive());
    }
}
