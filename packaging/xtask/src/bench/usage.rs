//! Processor time and memory of a program, with everything in its process
//! group.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Memory in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident, with what is shared counted whole.
    pub(crate) rss: f64,
    /// Resident, with what is shared counted by its share.
    pub(crate) pss: f64,
}

/// User and system time of the process group `group` so far.
///
/// # Errors
///
/// When there is no such group.
pub(crate) fn processor_time(group: u32) -> Result<Duration> {
    // One may end while it is looked at.
    let times = members(group)?.into_iter().map(processor_time_of);
    Ok(times.filter_map(Result::ok).sum())
}

/// User and system time of the process `pid` alone, so far.
///
/// # Errors
///
/// When there is none.
pub(crate) fn processor_time_of(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // Fields 14 and 15 of the line; the name, field 2, may hold anything.
    let fields = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest)
        .unwrap_or_default();
    let times = fields.split(' ').skip(11).take(2);
    let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
    let each = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_millis(ticks.saturating_mul(1000) / each))
}

/// Processor time of the first thread of the process `pid`, to the nanosecond.
///
/// # Errors
///
/// When there is none.
pub(crate) fn running_time_of(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let time = text.split_whitespace().next();
    let time = time.and_then(|time| time.parse().ok());
    Ok(Duration::from_nanos(time.unwrap_or_default()))
}

/// How often the first thread of the process `pid` has waited and was woken up.
///
/// # Errors
///
/// When there is none.
pub(crate) fn wakes_of(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    Ok(field(&text, "voluntary_ctxt_switches:"))
}

/// Memory of the process group `group`.
///
/// # Errors
///
/// When there is no such group.
pub(crate) fn memory(group: u32) -> Result<Memory> {
    let mut total = Memory::default();
    for pid in members(group)? {
        let one = memory_of(pid)?;
        total.rss += one.rss;
        total.pss += one.pss;
    }
    Ok(total)
}

/// Memory of the process `pid` alone.
///
/// # Errors
///
/// When there is none.
pub(crate) fn memory_of(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    Ok(Memory {
        rss: field(&text, "Rss:"),
        pss: field(&text, "Pss:"),
    })
}

/// The most memory the process `pid` has had so far, in KiB.
///
/// # Errors
///
/// When there is none.
pub(crate) fn peak_of(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    Ok(field(&text, "VmHWM:"))
}

fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_whitespace().next());
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

fn members(group: u32) -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc").context("reading /proc")?;
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let members: Vec<u32> = pids.filter(|pid| group_of(*pid) == Some(group)).collect();
    anyhow::ensure!(!members.is_empty(), "process group {group} has ended");
    Ok(members)
}

fn group_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let zombie = fields.next()? == "Z";
    let group = fields.nth(1)?.parse().ok()?;
    (!zombie).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_uses_something() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        let group = u32::try_from(group).unwrap();
        let memory = memory(group).unwrap();
        assert!(memory.rss >= memory.pss && memory.pss > 100.0, "{memory:?}");
        assert!(processor_time(group).is_ok());
    }

    #[test]
    fn no_group_is_an_error() {
        assert!(memory(u32::MAX).is_err());
    }
}
