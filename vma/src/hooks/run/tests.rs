//! Runs of real hooks.
use std::fs;

use qvd_rpc::SessionState;
use tempfile::TempDir;
use tokio::task::LocalSet;

use super::super::leftover::{Records, end_leftovers};
use super::super::{Situation, arguments};
use super::*;

#[path = "../../../../tests/src/script.rs"]
mod script;
use script::write_script;

const WAIT: Duration = Duration::from_secs(30);

struct Bench {
    dir: TempDir,
    runner: Runner,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runner = Runner::new(dir.path().join("hooks.log"), dir.path(), 7);
        Self { dir, runner }
    }

    fn order(&self, script: &str) -> Order {
        let program = self.script("hook", script);
        let situation = Situation {
            state: SessionState::Stopped,
            session: Some("ab12".into()),
            user: None,
            display: None,
            authority: None,
            properties: arguments::Properties::default(),
        };
        Order {
            hook: Hook::Connect,
            program,
            limit: WAIT,
            arguments: Arguments::of(Hook::Connect, &situation),
            session: situation.session,
            on_fail: None,
            listener: None,
        }
    }

    fn script(&self, name: &str, script: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        write_script(&path, script).unwrap();
        path
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("hooks.log")).unwrap_or_default()
    }

    fn records(&self) -> usize {
        let names = fs::read_dir(self.dir.path()).unwrap().flatten();
        names
            .filter(|e| e.file_name().to_string_lossy().starts_with("hook-7-"))
            .count()
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + WAIT;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn play(body: impl AsyncFnOnce(Bench)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, body(Bench::new()));
}

async fn fails(bench: &Bench, order: Order) -> String {
    let ran = bench.runner.run(order, std::future::pending()).await;
    ran.unwrap_err().why.to_string()
}

#[test]
fn what_leaves_the_group_a_moment_late_is_not_waited_for() {
    play(async |bench| {
        // As `setsid -f` does on a machine that is busy.
        let script = "(sleep 0.2; exec setsid sleep 5) > /dev/null 2>&1 &";
        let mut order = bench.order(script);
        order.limit = 10 * WAIT;
        bench
            .runner
            .run(order, std::future::pending())
            .await
            .unwrap();
        bench
            .until("its record", |bench| bench.records() == 0)
            .await;
    });
}

#[test]
fn a_hook_succeeds_and_what_it_prints_is_kept() {
    play(async |bench| {
        let order = bench.order("echo one; echo two >&2; printf '%s' \"$4 $QVD_HOOK_ON_ACTION\"");
        bench
            .runner
            .run(order, std::future::pending())
            .await
            .unwrap();
        let log = bench.log();
        for line in [
            "hook=connect session=ab12: one\n",
            "hook=connect session=ab12: two\n",
            "hook=connect session=ab12: connect connect\n",
            "hook=connect session=ab12: succeeded after ",
        ] {
            assert!(log.contains(line), "{line}: {log}");
        }
        bench.until("records", |b| b.records() == 0).await;
    });
}

#[test]
fn a_failure_says_how_and_the_last_words() {
    play(async |bench| {
        let order = bench.order("echo first; echo 'no licence left' >&2; echo; exit 3");
        assert_eq!(
            fails(&bench, order).await,
            "exited with status 3: no licence left"
        );
        let order = bench.order("kill -SEGV $$");
        assert_eq!(fails(&bench, order).await, "was ended by signal 11");
        let mut order = bench.order("true");
        fs::remove_file(&order.program).unwrap();
        assert_eq!(fails(&bench, order.clone()).await, "does not exist");
        order.program = bench.dir.path().to_owned();
        assert!(fails(&bench, order).await.starts_with("is a folder"));
        let order = bench.order("");
        fs::write(&order.program, "#!/no/such/shell\n").unwrap();
        assert!(fails(&bench, order).await.starts_with("cannot be run: "));
    });
}

#[test]
fn a_hook_that_does_not_end_is_killed_with_what_it_started() {
    play(async |bench| {
        let pids = bench.dir.path().join("pids");
        let mut order = bench.order(&format!(
            "trap '' TERM\nsetsid sleep 1000 & echo $! >> {0}\nsleep 1000 & echo $! >> {0}\n\
             echo $$ >> {0}; while :; do sleep 1; done",
            pids.display()
        ));
        order.limit = Duration::from_millis(500);
        assert_eq!(fails(&bench, order).await, "did not end within 0.5 s");
        let text = fs::read_to_string(pids).unwrap();
        let lives = |pid: &str| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        assert_eq!(text.lines().count(), 3);
        bench
            .until("their ends", |_| !text.lines().any(lives))
            .await;
        assert_eq!(bench.records(), 0);
    });
}

#[test]
fn what_a_hook_leaves_goes_on_until_its_time_is_over() {
    play(async |bench| {
        let mut order = bench.order("sleep 1000 & echo started");
        order.limit = Duration::from_secs(2);
        bench
            .runner
            .run(order, std::future::pending())
            .await
            .unwrap();
        assert_eq!(bench.records(), 1, "it runs on");
        bench
            .until("its end", |b| {
                b.log().contains("killed what it had left: 1")
            })
            .await;
        bench.until("its record", |b| b.records() == 0).await;
    });
}

#[test]
fn a_hundred_megabytes_are_read_and_not_kept() {
    play(async |bench| {
        let order =
            bench.order("yes 'a line of some length, again and again' | head -c 100000000; exit 4");
        let why = fails(&bench, order).await;
        assert!(why.starts_with("exited with status 4: a"), "{why}");
        bench
            .until("the count", |b| {
                b.log().contains("more lines were not kept")
            })
            .await;
        assert!(bench.log().len() < 8 * 1024 * 1024);
    });
}

#[test]
fn a_folder_is_run_in_order_up_to_the_first_failure() {
    play(async |bench| {
        let mut order = bench.order("true");
        let folder = bench.dir.path().join("connect.d");
        fs::create_dir(&folder).unwrap();
        for (name, script) in [
            ("10-a", "echo ten"),
            ("20-b", "echo twenty; exit 1"),
            ("30-c", "echo thirty"),
            ("40.sh", "echo forty"),
        ] {
            bench.script(&format!("connect.d/{name}"), script);
        }
        order.program.clone_from(&folder);
        let failure = bench
            .runner
            .run(order, std::future::pending())
            .await
            .unwrap_err();
        assert_eq!(failure.program, folder.join("20-b"));
        assert_eq!(failure.why.to_string(), "exited with status 1: twenty");
        let log = bench.log();
        assert!(log.contains(": ten\n") && !log.contains("thirty") && !log.contains("forty\n"));
        assert!(log.contains("40.sh has more than letters"), "{log}");
    });
}

#[test]
fn what_is_run_after_a_failure_knows_the_reason() {
    play(async |bench| {
        let mut order = bench.order("echo gone wrong; exit 9");
        let after = bench.script("after", "shift 4\necho \"after: $*\"\nexit 1");
        order.on_fail = Some(after);
        fails(&bench, order).await;
        let said =
            "after: qvd.hook.on_fail connect qvd.hook.reason exited with status 9: gone wrong";
        bench.until(said, |b| b.log().contains(said)).await;
    });
}

#[test]
fn a_hook_that_is_cut_short_is_killed() {
    play(async |bench| {
        let order = bench.order("sleep 1000");
        let soon = tokio::time::sleep(Duration::from_millis(100));
        let why = bench.runner.run(order, soon).await.unwrap_err().why;
        assert!(matches!(why, Why::CutShort));
        bench.until("its record", |b| b.records() == 0).await;
    });
}

#[test]
fn what_an_agent_that_was_killed_left_is_ended_by_the_next() {
    play(async |bench| {
        let order = bench.order("(trap '' TERM; sleep 1000) & echo started; sleep 1000");
        let runner = bench.runner.clone();
        let run = tokio::task::spawn_local(async move {
            let _ = runner.run(order, std::future::pending()).await;
        });
        bench
            .until("its start", |b| b.log().contains("started"))
            .await;
        // Of a killed agent the leader dies with it, and nothing else.
        let records = Records::new(bench.dir.path(), 7);
        assert!(end_leftovers(&records) >= 2);
        assert_eq!(bench.records(), 0);
        run.await.unwrap();
        assert_eq!(end_leftovers(&records), 0);
    });
}
