//! What one tenant can tell from its times to the first token about what another has asked: nothing. In virtual time, on a
//! machine whose steps take 4 ms and 1 ms a token, give or take.
#![allow(clippy::unwrap_used)] // A test may panic.

mod rng;

use std::time::Duration;

use flambeau::kv::BlockPool;
use flambeau::request::{GenerateRequest, Priority, SampledToken, SamplingParams, StopCriteria};
use flambeau::scheduler::{Scheduler, SchedulerConfig, Sequence, SequenceId};
use rng::Rng;

const PROMPT_LEN: usize = 100;
/// Of each kind.
const NUM_PROBES: usize = 2000;

struct Machine {
    rng: Rng,
    scheduler: Scheduler,
    now: Duration,
    next_id: u64,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let config = SchedulerConfig {
            max_num_seqs: 16,
            max_num_batched_tokens: 256,
            max_model_len: 1024,
            prefix_cache: true,
            target_itl: None,
            speculation: true,
        };
        Self {
            rng: Rng(seed),
            scheduler: Scheduler::new(config, BlockPool::new(4096, 16)),
            now: Duration::ZERO,
            next_id: 0,
        }
    }

    fn add(&mut self, tenant: &str, prompt: Vec<u32>, max_tokens: usize) -> SequenceId {
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        let request = GenerateRequest {
            num_begun: 0,
            recalled: None,
            prompt_logprobs: None,
            constraint: None,
            adapter: None,
            tenant: tenant.into(),
            priority: Priority::Standard,
            deadline: None,
            prompt,
            sampling: SamplingParams::greedy(),
            stop: StopCriteria {
                max_tokens,
                ..StopCriteria::default()
            },
        };
        let sequence = Sequence::new(id, request, self.now, 16);
        self.scheduler.add(sequence, self.now).unwrap();
        id
    }

    /// Computes until `id` has its first token, and says how long that took.
    fn first_token(&mut self, id: SequenceId) -> Duration {
        let (start, mut committed) = (self.now, Vec::new());
        loop {
            let plan = self.scheduler.schedule(self.now);
            assert!(
                !plan.is_empty(),
                "nobody computes the token that is waited for"
            );
            let token = SampledToken {
                token_id: 1,
                logprobs: None,
            };
            let sampled = vec![Some(token); plan.samples.len()];
            let exact = 4000 + 1000 * plan.num_tokens() as u64;
            self.now += Duration::from_micros(exact * (900 + self.rng.below(200) as u64) / 1000);
            self.scheduler.commit(sampled, self.now, &mut committed);
            if committed.drain(..).any(|event| event.id == id) {
                return self.now - start;
            }
        }
    }

    fn tokens(&mut self, len: usize) -> Vec<u32> {
        (0..len).map(|_| 10 + self.rng.below(1000) as u32).collect()
    }

    /// The time to the first token of a prompt, asked by `spy`, that `victim` has asked before, or nobody has; while others
    /// ask for this and that.
    fn probe(&mut self, victim: &str, spy: &str, is_known: bool) -> Duration {
        let (known, new) = (self.tokens(PROMPT_LEN), self.tokens(PROMPT_LEN));
        let id = self.add(victim, known.clone(), 1);
        self.first_token(id);
        for _ in 0..self.rng.below(3) {
            let len = 1 + self.rng.below(60);
            let other = self.tokens(len);
            let max_tokens = 1 + self.rng.below(10);
            self.add("other", other, max_tokens);
        }
        let id = self.add(spy, if is_known { known } else { new }, 1);
        self.first_token(id)
    }
}

/// The chance that a probe of known content is faster than one of new content (the area under the curve of whoever guesses by
/// time), and the upper end of its 95% interval (Hanley and McNeil, 1982).
fn auc(victim: &str, spy: &str) -> (f64, f64) {
    let mut machine = Machine::new(5);
    let mut times = [Vec::new(), Vec::new()];
    for i in 0..2 * NUM_PROBES {
        times[i % 2].push(machine.probe(victim, spy, i % 2 == 1));
    }
    let [mut new, known] = times;
    new.sort();
    let slower = |time: &Duration| {
        let below = new.partition_point(|other| other < time);
        let not_above = new.partition_point(|other| other <= time);
        new.len() as f64 - (below + not_above) as f64 / 2.0
    };
    let n = NUM_PROBES as f64;
    let area = known.iter().map(slower).sum::<f64>() / (n * n);
    let (q1, q2) = (area / (2.0 - area), 2.0 * area * area / (1.0 + area));
    let square = area * area;
    let variance =
        (area * (1.0 - area) + (n - 1.0) * (q1 - square) + (n - 1.0) * (q2 - square)) / (n * n);
    (area, area + 1.96 * variance.sqrt())
}

#[test]
fn a_tenant_cannot_tell_what_another_has_asked() {
    // Within a tenant the difference is what the cache is for: the test would see a leak.
    let (planted, _) = auc("a", "a");
    assert!(
        planted > 0.95,
        "a planted leak was meant to be found: {planted}"
    );
    let (area, upper) = auc("a", "b");
    println!("planted {planted:.3}; between tenants {area:.3}, at most {upper:.3}");
    assert!(upper <= 0.55, "{upper}");
}
