//! What the scheduler's policies do under pressure, in virtual time: `cargo bench --bench pressure` writes data and charts to
//! `docs/pressure`. Nothing in it depends on the machine it runs on.

mod plot;
#[path = "../tests/rng/mod.rs"]
mod rng;
#[path = "../tests/virtual_time/mod.rs"]
mod virtual_time;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use flambeau::request::Priority;
use flambeau::scheduler::SchedulerConfig;
use plot::{Chart, Series};
use rng::Rng;
use virtual_time::{
    CHAT, Client, Fate, SECOND, merged, percentile, poisson, serve, with_lengths_of_chats,
};

/// An answer is in time when its first token comes within so long, and the others so long apart on average.
const TTFT: Duration = Duration::from_secs(2);
const ITL: Duration = Duration::from_millis(80);
/// Chats a second that the machine can do, roughly.
const CAPACITY: f64 = 3.3;
/// What arrives in so long a time.
const SECONDS: f64 = 200.0;
const LOADS: [f64; 12] = [0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0];
const PLAIN: SchedulerConfig = SchedulerConfig {
    max_num_seqs: 16,
    max_num_batched_tokens: 512,
    max_model_len: 2048,
    prefix_cache: false,
    target_itl: None,
    speculation: false,
};
const TARGET: SchedulerConfig = SchedulerConfig {
    target_itl: Some(Duration::from_millis(60)),
    ..PLAIN
};

/// A table of one scenario: a row for each point of each series.
struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    fn series(&self, column: usize) -> Vec<Series> {
        let mut series: Vec<Series> = Vec::new();
        for (policy, values) in &self.rows {
            let point = (values[0], values[column]);
            match series.iter_mut().find(|(name, _)| name == policy) {
                Some((_, points)) => points.push(point),
                None => series.push((policy.clone(), vec![point])),
            }
        }
        series
    }

    fn write(&self, folder: &Path, charts: &[(usize, &str, bool)]) -> std::io::Result<()> {
        let mut csv = format!("policy,{}\n", self.columns.join(","));
        for (policy, values) in &self.rows {
            let _ = write!(csv, "{policy}");
            for value in values {
                let _ = write!(csv, ",{value:.4}");
            }
            csv.push('\n');
        }
        print!("{}\n{csv}\n", self.name);
        std::fs::write(folder.join(format!("{}.csv", self.name)), csv)?;
        for &(column, title, is_log) in charts {
            let chart = Chart {
                title,
                x: self.columns[0],
                y: self.columns[column],
                is_log,
                series: &self.series(column),
            };
            let file = format!(
                "{}-{}.svg",
                self.name,
                self.columns[column].replace([' ', ','], "-")
            );
            std::fs::write(folder.join(file), chart.svg())?;
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Chats at 0.2 to 5 times what the machine can do.
fn overload() -> Table {
    let policies = [
        ("first come, first served", PLAIN, None),
        ("target ITL", TARGET, None),
        ("target ITL and deadlines", TARGET, Some(TTFT)),
    ];
    let mut rows = Vec::new();
    for (name, config, deadline) in policies {
        for load in LOADS {
            let mut rng = Rng(3);
            let num = (SECONDS * load * CAPACITY) as usize;
            let kind = Client { deadline, ..CHAT };
            let clients = poisson(&mut rng, num, SECOND.div_f64(load * CAPACITY), &kind);
            let fates = serve(config, 2048, &with_lengths_of_chats(&mut rng, clients));
            let ttft = || fates.iter().filter_map(|fate| fate.ttft).map(seconds);
            let gaps = fates
                .iter()
                .flat_map(|fate| &fate.gaps)
                .copied()
                .map(seconds);
            let in_time = fates
                .iter()
                .filter(|fate| fate.is_in_time(TTFT, ITL))
                .count();
            let num_refused = fates.iter().filter(|fate| fate.num_refusals > 0).count();
            let values = vec![
                load,
                percentile(ttft(), 50),
                percentile(ttft(), 99),
                1e3 * percentile(gaps, 99),
                in_time as f64 / SECONDS,
                num_refused as f64 / num as f64,
            ];
            rows.push((name.to_owned(), values));
        }
    }
    Table {
        name: "overload",
        columns: &[
            "offered load",
            "TTFT P50 s",
            "TTFT P99 s",
            "ITL P99 ms",
            "answers in time a second",
            "refused",
        ],
        rows,
    }
}

/// A quiet tenant, at a quarter of what the machine can do, beside one that floods it.
fn fairness() -> Table {
    let mut rows = Vec::new();
    for flood in [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0] {
        for (name, tenant) in [("one queue", "quiet"), ("a queue for each tenant", "flood")] {
            let mut rng = Rng(4);
            let gap = Duration::from_millis(660);
            let quiet = poisson(&mut rng, 300, gap, &CHAT);
            let num_quiet = quiet.len();
            // Equal in all but their tenant, told apart by the length of their prompts.
            let kind = Client {
                tenant,
                prompt_len: 121,
                ..CHAT
            };
            let gap = gap.div_f64(4.0 * flood);
            let num = (num_quiet as f64 * 4.0 * flood) as usize;
            let all = merged(&[&quiet, &poisson(&mut rng, num, gap, &kind)]);
            let fates = serve(TARGET, 2048, &all);
            let own = all
                .iter()
                .zip(&fates)
                .filter(|(client, _)| client.prompt_len == CHAT.prompt_len);
            let ttft: Vec<f64> = own.filter_map(|(_, fate)| fate.ttft).map(seconds).collect();
            let values = vec![flood, percentile(ttft.clone(), 50), percentile(ttft, 99)];
            rows.push((name.to_owned(), values));
        }
    }
    Table {
        name: "fairness",
        columns: &["load of the flood", "TTFT P50 s", "TTFT P99 s"],
        rows,
    }
}

/// Urgent chats, at a quarter of what the machine can do, beside a pile of long batch work.
fn priority() -> Table {
    let mut rows = Vec::new();
    for num_batch in [1, 2, 5, 10, 20, 50, 100] {
        for (name, priority) in [
            ("all alike", Priority::Standard),
            ("classes", Priority::Batch),
        ] {
            let mut rng = Rng(7);
            let urgent = poisson(&mut rng, 200, Duration::from_millis(660), &CHAT);
            let batch = Client {
                priority,
                prompt_len: 400,
                max_tokens: 200,
                ..CHAT
            };
            let all = merged(&[&vec![batch; num_batch], &urgent]);
            let fates = serve(TARGET, 240, &all);
            let own = |fate: &Fate| fate.ttft.map(seconds);
            let is_urgent = |(client, _): &(&Client, &Fate)| client.prompt_len == CHAT.prompt_len;
            let both = all.iter().zip(&fates).filter(is_urgent);
            let ttft: Vec<f64> = both.filter_map(|(_, fate)| own(fate)).collect();
            let end = fates.iter().map(|fate| fate.end).max().unwrap_or_default();
            let values = vec![
                num_batch as f64,
                percentile(ttft.clone(), 50),
                percentile(ttft, 95),
                seconds(end),
            ];
            rows.push((name.to_owned(), values));
        }
    }
    Table {
        name: "priority",
        columns: &["batch requests", "TTFT P50 s", "TTFT P95 s", "all done s"],
        rows,
    }
}

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pressure");
    std::fs::create_dir_all(&folder)?;
    let charts = [
        (2, "Time to the first token of who is served, P99", true),
        (3, "Time between tokens, P99", false),
        (4, "Answers in time", false),
    ];
    overload().write(&folder, &charts)?;
    fairness().write(&folder, &[(2, "A quiet tenant beside a flood, P99", true)])?;
    priority().write(
        &folder,
        &[(2, "Urgent requests beside batch work, P95", true)],
    )
}
