//! Programs at work in a mounted folder: a clone, a compilation, a database.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::rig::{Mounter, Rig, Sharer};

fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}: install it, or run `cargo xtask install`")
        });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn a_repository_is_cloned_changed_and_checked() {
    let rig = Rig::new(Sharer::Ours, Mounter::Ours);
    let origin = tempfile::tempdir().unwrap();
    let git = |folder: &Path, arguments: &[&str]| run(folder, "git", arguments);
    git(origin.path(), &["init", "-q", "-b", "main", "."]);
    for n in 0..200 {
        fs::create_dir_all(origin.path().join(format!("d{}", n % 20))).unwrap();
        fs::write(
            origin.path().join(format!("d{}/f{n}", n % 20)),
            format!("{n}\n").repeat(n),
        )
        .unwrap();
    }
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
    git(origin.path(), &["add", "."]);
    git(
        origin.path(),
        &[&identity[..], &["commit", "-qm", "one"]].concat(),
    );
    let from = origin.path().to_str().unwrap();
    git(&rig.mount(), &["clone", "-q", "--no-local", from, "clone"]);
    let clone = rig.at("clone");
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
    fs::write(clone.join("d1/f1"), b"changed\n").unwrap();
    assert_eq!(git(&clone, &["status", "--porcelain"]), " M d1/f1\n");
    git(
        &clone,
        &[&identity[..], &["commit", "-qam", "two"]].concat(),
    );
    git(&clone, &["fsck", "--strict"]);
    git(&clone, &["gc", "-q"]);
    assert_eq!(
        git(&rig.shared().join("clone"), &["log", "--format=%s"]),
        "two\none\n"
    );
}

#[test]
fn a_program_is_compiled_and_run() {
    let rig = Rig::new(Sharer::Ours, Mounter::Ours);
    let source = "#include <stdio.h>\nint main(void) { puts(\"built in a share\"); return 0; }\n";
    fs::write(rig.at("main.c"), source).unwrap();
    run(&rig.mount(), "cc", &["-O1", "-o", "program", "main.c"]);
    let program = rig.at("program");
    assert_eq!(
        run(&rig.mount(), program.to_str().unwrap(), &[]),
        "built in a share\n"
    );
}

#[test]
fn a_database_keeps_what_is_put_in() {
    let rig = Rig::new(Sharer::Ours, Mounter::Ours);
    let sql = |text: &str| run(&rig.mount(), "sqlite3", &["data.db", text]);
    sql("create table t (n integer primary key, v text)");
    sql(
        "with recursive c(n) as (select 1 union all select n + 1 from c where n < 5000) \
         insert into t select n, hex(randomblob(50)) from c",
    );
    for n in 0..20 {
        sql(&format!(
            "begin; update t set v = '{n}' where n % 20 = {n}; commit"
        ));
    }
    assert_eq!(
        sql("select count(*), count(distinct v) from t"),
        "5000|20\n"
    );
    assert_eq!(sql("pragma integrity_check"), "ok\n");
    let there = run(
        &rig.shared(),
        "sqlite3",
        &["data.db", "pragma integrity_check"],
    );
    assert_eq!(there, "ok\n");
}
