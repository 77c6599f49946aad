//! The daemon as a process, under the names that every Prometheus client gives.

use super::text::Text;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the kernel tells of a process (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    /// User and system time, in clock ticks.
    cpu_ticks: u64,
    threads: u64,
    /// After boot, in clock ticks.
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// Reads `/proc/PID/stat`. The command's name in parentheses may hold anything.
fn read(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The first of these is field 3.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: number(14)? + number(15)?,
        threads: number(20)?,
        started_ticks: number(22)?,
        virtual_bytes: number(23)?,
        resident_pages: number(24)?,
    })
}

pub(super) fn write(text: &mut Text) {
    let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| read(&stat)) else { return };
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    #[allow(clippy::cast_precision_loss, reason = "seconds as Prometheus counts them")]
    let seconds = |count: u64| count as f64 / ticks as f64;
    text.counter("process_cpu_seconds_total", "User and system CPU time.", seconds(stat.cpu_ticks));
    let resident = stat.resident_pages * rustix::param::page_size() as u64;
    text.gauge("process_resident_memory_bytes", "Resident memory.", resident);
    text.gauge("process_virtual_memory_bytes", "Virtual memory.", stat.virtual_bytes);
    text.gauge("process_threads", "Threads.", stat.threads);
    let descriptors = fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
    text.gauge("process_open_fds", "Open file descriptors.", descriptors);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    text.gauge("process_max_fds", "Most open file descriptors.", limit);
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    if let Some(uptime) = uptime.split(' ').next().and_then(|up| up.parse::<f64>().ok()) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64();
        let started = now - uptime + seconds(stat.started_ticks);
        text.gauge("process_start_time_seconds", "Start time since 1970.", format!("{started:.2}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 30 12 0 0 20 0 5 0 1234 8192 3 18446744073709551615 1 1 0";
        let stat = read(line).unwrap();
        let expected = Stat { cpu_ticks: 42, threads: 5, started_ticks: 1234, virtual_bytes: 8192, resident_pages: 3 };
        assert_eq!(stat, expected);
        assert_eq!(read("7 (a"), None);
        assert_eq!(read("7 (a) S 1"), None);
    }
}
