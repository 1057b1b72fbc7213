//! What the kernel knows of a process: CPU time and memory.

use std::time::Duration;

/// CPU time in user and kernel mode, of all threads that live or have ended.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field is the name, which may have spaces.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    // proc(5): utime and stime are fields 14 and 15.
    let ticks: u64 = [11, 12]
        .map(|at: usize| fields[at].parse::<u64>().unwrap())
        .iter()
        .sum();
    // Linux reports 100 ticks a second on every architecture (`USER_HZ`).
    Duration::from_millis(ticks * 10)
}

/// A line of /proc/PID/status, in KiB: `VmRSS` is the memory in use, `VmHWM` the most that it was.
pub fn memory(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let value = lines
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}
