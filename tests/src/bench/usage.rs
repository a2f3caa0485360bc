//! What a process has used so far, as the kernel counts it.

use std::fs;

/// Figures of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time, seconds.
    pub cpu_seconds: f64,
    /// Resident memory now, bytes.
    pub rss_bytes: u64,
    /// The highest it was, bytes.
    pub rss_peak_bytes: u64,
    /// Bytes that went towards the disk.
    pub written_bytes: u64,
}

impl Usage {
    /// Of a running process.
    pub fn of(pid: u32) -> Self {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
        };
        let (status, io, stat) = (read("status"), read("io"), read("stat"));
        // Fields 14 and 15, counted after the name in parentheses, in clock ticks (100 a second on
        // Linux).
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse::<u64>().ok())
            .sum();
        Self {
            cpu_seconds: ticks as f64 / 100.0,
            rss_bytes: field(&status, "VmRSS:") * 1024,
            rss_peak_bytes: field(&status, "VmHWM:") * 1024,
            written_bytes: field(&io, "write_bytes:"),
        }
    }
}
