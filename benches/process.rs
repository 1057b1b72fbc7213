//! What Linux tells of a process: its processor time, its memory and its threads.

use std::{fs, time::Duration};

/// Linux counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// All processors of this machine, as `taskset -c` takes them.
pub fn all_processors() -> String {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    online.trim().to_owned()
}

/// The processors that this process may run on.
pub fn allowed() -> String {
    field("self", "Cpus_allowed_list:")
}

/// The processor time that a process has taken.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    pub all: Duration,
    pub in_kernel: Duration,
}

impl Cpu {
    pub fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            in_kernel: self.in_kernel.saturating_sub(before.in_kernel),
        }
    }
}

pub fn cpu(pid: u32) -> Cpu {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name of the program, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u32>().unwrap();
    Cpu {
        all: TICK * (ticks(11) + ticks(12)),
        in_kernel: TICK * ticks(12),
    }
}

/// The same of the threads that still run, to the nanosecond: for what takes milliseconds.
pub fn exact_cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .map(|thread| {
            let schedstat = thread.unwrap().path().join("schedstat");
            // One may have ended meanwhile.
            let text = fs::read_to_string(schedstat).unwrap_or_default();
            let ran = text.split(' ').next().unwrap();
            Duration::from_nanos(ran.parse().unwrap_or(0))
        })
        .sum()
}

/// Memory in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub resident: f64,
    /// The most that was ever resident.
    pub peak: f64,
    /// The part of what is resident that belongs to files, such as the binary.
    pub of_files: f64,
}

pub fn memory(pid: u32) -> Memory {
    let mib = |name| number(pid, name) / 1024.0;
    Memory {
        resident: mib("VmRSS:"),
        peak: mib("VmHWM:"),
        of_files: mib("RssFile:"),
    }
}

pub fn threads(pid: u32) -> f64 {
    number(pid, "Threads:")
}

fn number(pid: u32, name: &str) -> f64 {
    let text = field(&pid.to_string(), name);
    text.trim_end_matches(" kB").parse().unwrap()
}

fn field(process: &str, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().trim().to_owned()
}
