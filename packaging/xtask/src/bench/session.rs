//! The agent with a session: its memory, the time it adds to nxagent's start,
//! what a hook costs, and what it does while nothing happens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qvd_rpc::{Call, SessionState};
use qvd_tests::display::{Display, Options};
use qvd_tests::fault::{Endpoint, FaultProxy};
use qvd_tests::nx;
use qvd_tests::rig::{Agent, Desktop};
use rustix::process::Signal;

use super::figure::{Aim, Figure};
use super::{Bench, usage};

/// For anything that is to happen.
const WAIT: Duration = Duration::from_secs(40);

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(3);

/// Measures all of it.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let program = bench.programs.join("qvd-vma");
    let size = fs::metadata(&program)
        .with_context(|| program.display().to_string())?
        .len();
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let size = size as f64 / 1e6;
    let mut figures = vec![Figure::new("agent", "binary", "MB", vec![size])];
    figures.extend(starts(bench).await?);
    figures.extend(hooks(bench).await?);
    figures.extend(with_session(bench).await?);
    Ok(figures)
}

/// From the call to a session that listens, beside nxagent alone.
async fn starts(bench: &Bench) -> Result<Vec<Figure>> {
    let keys = [("log.level", "INFO")];
    let agent = Agent::start(&bench.scene, "starts", &Desktop::Small, &keys).await?;
    let (mut ours, mut alone, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs * 3 {
        let start = Instant::now();
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        let time = start.elapsed().as_secs_f64() * 1e3;
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;

        let start = Instant::now();
        let mut other = nx::Agent::start(&bench.scene, &["link=lan", "geometry=800x600"]).await?;
        let reference = start.elapsed().as_secs_f64() * 1e3;
        other.process().signal(Signal::TERM)?;
        other.process_mut().wait(WAIT).await?;
        ours.push(time);
        alone.push(reference);
        added.push(time - reference);
    }
    Ok(vec![
        Figure::new("agent", "x_start to listening", "ms", ours).beside("nxagent", alone),
        Figure::new("agent", "of these added by the agent", "ms", added).aim(Aim::AtMost(20.0)),
    ])
}

/// A hook that does nothing but fail, so that no session follows.
async fn hooks(bench: &Bench) -> Result<Vec<Figure>> {
    let hook = bench.scene.write("refuse", "#!/bin/false\n")?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700))?;
    let hook = hook.display().to_string();
    let keys = [
        ("vma.on_action.pre-connect", hook.as_str()),
        ("log.level", "INFO"),
    ];
    let agent = Agent::start(&bench.scene, "hooks", &Desktop::Small, &keys).await?;
    let (mut ours, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs * 5 {
        let start = Instant::now();
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        ours.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        ensure!(!Command::new(&hook).status()?.success(), "the hook agreed");
        alone.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(vec![
        Figure::new("agent", "a start whose hook refuses it", "ms", ours)
            .aim(Aim::AtMost(5.0))
            .beside("the hook alone", alone),
    ])
}

/// Memory of both processes, and what they do while the user does nothing.
async fn with_session(bench: &Bench) -> Result<Vec<Figure>> {
    let scene = &bench.scene;
    // Programs that draw nothing by themselves.
    let still = Desktop::Script("exec xterm -e sleep 100000".into());
    let mut agent = Agent::start(scene, "session", &still, &[("log.level", "INFO")]).await?;
    let display = Display::start(scene, Options::default()).await?;
    agent.start_session(&[]).await?;
    agent.wait_for_state(SessionState::Listening, WAIT).await?;
    let front = scene.path("bench-way.sock");
    let _way = FaultProxy::start(&Endpoint::unix(&front), &Endpoint::local(agent.x_port()))?;
    let mut proxy = nx::start_proxy(scene, &display, &front)?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    tokio::time::sleep(IDLE).await;

    let daemon = agent.daemon()?.pid();
    let processes = [daemon, session_process(&agent)?];
    let (mut rss, mut pss, mut wakes, mut cpu) = (vec![], vec![], vec![], vec![]);
    for _ in 0..bench.runs {
        let before = activity(&processes)?;
        tokio::time::sleep(IDLE).await;
        let after = activity(&processes)?;
        wakes.push((after.switches - before.switches) / IDLE.as_secs_f64());
        cpu.push((after.cpu - before.cpu) / IDLE.as_secs_f64() * 100.0);
        let memory = processes.map(usage::memory_of);
        let [first, second] = memory;
        let (first, second) = (first?, second?);
        rss.push((first.rss + second.rss) / 1024.0);
        pss.push((first.pss + second.pss) / 1024.0);
    }
    proxy.signal(Signal::TERM)?;
    proxy.wait(WAIT).await?;
    agent.call(Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(vec![
        Figure::new("agent", "memory with a session", "MB RSS", rss).aim(Aim::AtMost(9.0)),
        Figure::new("agent", "memory with a session", "MB PSS", pss).aim(Aim::AtMost(6.0)),
        Figure::new("agent", "wake-ups of an idle session", "/s", wakes).aim(Aim::AtMost(0.0)),
        Figure::new("agent", "processor of an idle session", "%", cpu).aim(Aim::AtMost(0.0)),
    ])
}

/// The number of the session process, from the daemon's record.
fn session_process(agent: &Agent) -> Result<u32> {
    let name = format!("session-{}.json", agent.display());
    let text = fs::read_to_string(agent.run_directory().join(name))?;
    let record: serde_json::Value = serde_json::from_str(&text)?;
    let pid = record.get("pid").and_then(serde_json::Value::as_u64);
    pid.and_then(|pid| u32::try_from(pid).ok())
        .context("the record of the session has no pid")
}

struct Activity {
    /// Times that a process was given a processor.
    switches: f64,
    /// Seconds of processor time.
    cpu: f64,
}

fn activity(processes: &[u32]) -> Result<Activity> {
    let mut all = Activity {
        switches: 0.0,
        cpu: 0.0,
    };
    for pid in processes {
        for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // Nanoseconds on a processor, nanoseconds waiting for one, times.
            let path = task.path().join("schedstat");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let mut fields = text.split_whitespace().map(str::parse::<f64>);
            let mut next = || fields.next().and_then(Result::ok).unwrap_or_default();
            all.cpu += next() / 1e9;
            next();
            all.switches += next();
        }
    }
    Ok(all)
}
