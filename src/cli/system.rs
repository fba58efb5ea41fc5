//! What the system says about the processor and the memory, where it can be asked (Linux); else `None`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::config::ByteSize;

/// The memory of this process.
pub(super) struct Resident {
    /// Bytes in memory now.
    pub now: u64,
    /// The most there ever were.
    pub peak: u64,
}

/// What this process has in memory, pages of mapped files included.
pub(super) fn resident() -> Option<Resident> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(Resident {
        now: kib_field(&status, "VmRSS:")?,
        peak: kib_field(&status, "VmHWM:")?,
    })
}

/// [`resident`] for a line of the log, after a comma; nothing where it is not known.
pub(super) fn resident_in_words() -> String {
    let Some(resident) = resident() else {
        return String::new();
    };
    let (now, peak) = (ByteSize(resident.now), ByteSize(resident.peak));
    format!(", memory {now} (peak {peak})")
}

/// Time that this process has computed, on all cores together.
pub(super) fn cpu_time() -> Option<Duration> {
    /// As all of Linux's interfaces count them, whatever the kernel's clock.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may have spaces.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some(Duration::from_secs_f64(
        (ticks()? + ticks()?) / TICKS_PER_SECOND,
    ))
}

/// Bytes that can still be taken without swapping: the machine's, or what the process's control groups leave of theirs.
pub(super) fn available_memory() -> Option<u64> {
    let machine = kib_field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(group_memory().map_or(machine, |group| group.min(machine)))
}

/// What the control groups (version 2) around this process leave; `None` if none of them has a limit.
fn group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Path::new("/sys/fs/cgroup")
        .join(own)
        .ancestors()
        .take_while(|folder| folder.starts_with("/sys/fs/cgroup"))
        .filter_map(|folder| {
            let read = |name| fs::read_to_string(folder.join(name)).ok();
            left_in_group(
                &read("memory.max")?,
                &read("memory.current")?,
                &read("memory.stat")?,
            )
        })
        .min()
}

/// The limit less what is used; file pages that nobody used lately are given back when memory is short, so they are free.
fn left_in_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let reclaimable = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok())
        .unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(reclaimable)))
}

/// The processor's name.
pub(super) fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The system's setting for transparent huge pages: always, madvise or never.
pub(super) fn huge_pages() -> Option<String> {
    let settings = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    chosen(&settings).map(str::to_owned)
}

/// The word in brackets.
fn chosen(settings: &str) -> Option<&str> {
    Some(settings.split_once('[')?.1.split_once(']')?.0)
}

/// The value of `name` in a text like /proc/meminfo, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_kib_become_bytes() {
        let text = "VmPeak:\t  900 kB\nVmHWM:\t     20 kB\nVmRSS:\t 10 kB\nThreads:\t3\n";
        assert_eq!(kib_field(text, "VmHWM:"), Some(20 << 10));
        assert_eq!(kib_field(text, "VmSwap:"), None);
        assert_eq!(kib_field(text, "Threads:"), None);
    }

    #[test]
    fn a_group_leaves_its_limit_less_what_is_in_use() {
        let stat = "anon 500\ninactive_file 300\nactive_file 7\n";
        assert_eq!(left_in_group("1000\n", "900\n", stat), Some(400));
        assert_eq!(left_in_group("1000\n", "1500\n", ""), Some(0));
        assert_eq!(left_in_group("max\n", "900\n", stat), None);
    }

    #[test]
    fn the_setting_is_the_word_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("unknown\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_peaks_no_lower_than_it_is() {
        let resident = resident().unwrap();
        assert!(resident.now > 0 && resident.peak >= resident.now);
        assert!(available_memory().unwrap() > 0);
    }
}
