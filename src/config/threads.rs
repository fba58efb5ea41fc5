//! How many threads compute.

/// Cores that this process may use: the machine's, less what its affinity and its control group take away.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads that compute when nobody says how many: one a core. From 8 cores on one core is left to HTTP, whose threads
/// would else take time from all of them in turn, and every step waits for its slowest thread.
pub fn default_threads(cores: usize) -> usize {
    match cores {
        0..8 => cores.max(1),
        _ => cores - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cores_all_compute_and_of_many_one_is_left_to_the_front() {
        let threads = [1, 2, 7, 8, 64].map(default_threads);
        assert_eq!(threads, [1, 2, 7, 7, 63]);
    }
}
