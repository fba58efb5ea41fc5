//! Guesses are continuations of what is known, whatever happens in which order; and what fails takes nobody with it.

use std::sync::mpsc;
use std::time::Duration;

use super::slots::{Slots, Work};
use super::{DraftLimits, ModelDrafter};
use crate::engine::fake::FakeExecutor;
use crate::engine::{Executor, ExecutorError, StepOutput, Ticket};
use crate::scheduler::{DraftSource, Drafter, SequenceId, StepPlan};

const VOCAB: u32 = 5;
const LIMITS: DraftLimits = DraftLimits {
    num_slots: 3,
    max_len: 60,
    max_num_batched_tokens: 8,
    block_size: 4,
    vocab_size: VOCAB as usize,
};

fn executor() -> FakeExecutor {
    FakeExecutor::new(LIMITS.num_blocks(), LIMITS.block_size, VOCAB)
}

/// What the draft model says after `tokens`.
fn next(tokens: &[u32]) -> u32 {
    FakeExecutor::next_token(tokens.iter().copied(), 0, VOCAB)
}

fn assert_follows(tokens: &[u32], draft: &[u32]) {
    let mut all = tokens.to_vec();
    for &token in draft {
        assert_eq!(token, next(&all), "{draft:?} after {tokens:?}");
        all.push(token);
    }
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as usize % n
    }
}

/// Sequences that come, go on, are asked about in the middle of the worker's steps, and end.
fn simulate(seed: u64) -> usize {
    let mut rng = Rng(seed);
    let (mut drafter, mut worker) = ModelDrafter::new(LIMITS);
    let mut model = executor();
    let mut running: Vec<(SequenceId, Vec<u32>)> = Vec::new();
    let (mut next_id, mut num_drafted) = (0, 0);
    for _ in 0..400 {
        let events = rng.below(6);
        // What happens between the beginning and the end of a step of the draft model happens in its hook.
        let mut happens = |rng: &mut Rng, drafter: &mut ModelDrafter| match rng.below(8) {
            0 if running.len() < 5 => {
                let len = 1 + rng.below(30);
                let tokens = (0..len).map(|_| rng.below(VOCAB as usize) as u32);
                running.push((SequenceId(next_id), tokens.collect()));
                next_id += 1;
            }
            1 if !running.is_empty() => {
                let (id, _) = running.swap_remove(rng.below(running.len()));
                drafter.forget(id);
            }
            _ if !running.is_empty() => {
                let i = rng.below(running.len());
                let (id, tokens) = &mut running[i];
                for _ in 0..rng.below(4) {
                    let is_foreign = rng.below(200) == 0;
                    let token = match rng.below(4) {
                        0 if is_foreign => VOCAB,
                        0 => rng.below(VOCAB as usize) as u32,
                        _ => next(tokens),
                    };
                    tokens.push(token);
                }
                let (limit, mut draft) = (rng.below(9), Vec::new());
                let source = drafter.draft(*id, tokens, limit, &mut draft);
                assert_eq!(source, DraftSource::Model);
                assert!(draft.len() <= limit);
                assert!(draft.is_empty() || tokens.len() < LIMITS.max_len);
                assert_follows(tokens, &draft);
                num_drafted += draft.len();
            }
            _ => {}
        };
        let mut step = InTheMiddle {
            model: &mut model,
            between: &mut || {
                for _ in 0..events {
                    happens(&mut rng, &mut drafter);
                }
            },
        };
        if !worker.step(&mut step).unwrap() {
            for _ in 0..=events {
                happens(&mut rng, &mut drafter);
            }
        }
        let num_tokens = drafter.shared.lock().num_tokens();
        assert!(num_tokens <= 2 * LIMITS.num_slots * (LIMITS.max_len + 1));
    }
    num_drafted
}

/// An executor that lets others act while it computes.
struct InTheMiddle<'a> {
    model: &'a mut FakeExecutor,
    between: &'a mut dyn FnMut(),
}

impl Executor for InTheMiddle<'_> {
    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        assert!(plan.num_tokens() <= LIMITS.max_num_batched_tokens);
        (self.between)();
        self.model.launch(plan)
    }

    fn draw(&mut self, ticket: &Ticket, plan: &StepPlan) -> Result<(), ExecutorError> {
        self.model.draw(ticket, plan)
    }

    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        self.model.collect(ticket)
    }
}

#[test]
fn every_draft_is_what_the_model_says_after_exactly_the_known_tokens() {
    let num_drafted: usize = (0..300).map(simulate).sum();
    assert!(num_drafted > 20_000, "{num_drafted}");
}

#[test]
fn guesses_that_come_true_are_kept_and_one_that_does_not_is_dropped_with_what_follows() {
    let (mut drafter, mut worker) = ModelDrafter::new(LIMITS);
    let mut model = executor();
    let id = SequenceId(7);
    let mut tokens = vec![1, 2, 3];
    let shared = std::sync::Arc::clone(&drafter.shared);
    let mut draft = |tokens: &[u32]| {
        let mut draft = Vec::new();
        drafter.draft(id, tokens, 4, &mut draft);
        draft
    };
    assert_eq!(draft(&tokens), [0; 0]);
    while worker.step(&mut model).unwrap() {}
    let guesses = draft(&tokens);
    assert_eq!(guesses.len(), 4);
    tokens.extend(&guesses[..2]);
    // Two have come true, and the others are there without another step.
    assert_eq!(draft(&tokens)[..2], guesses[2..]);
    tokens.push((next(&tokens) + 1) % VOCAB);
    assert_eq!(draft(&tokens), [0; 0]);
    // What is common with what was computed before is not computed again.
    let mut work: Vec<Work> = Vec::new();
    shared.lock().take_work(&mut work);
    let num_rows: usize = work.iter().map(|work| work.tokens.len()).sum();
    assert_eq!(num_rows, 1);
    assert!(worker.step(&mut model).unwrap());
    assert_follows(&tokens, &draft(&tokens));
    assert_eq!(draft(&tokens).len(), 1);
}

#[test]
fn nobody_takes_a_slot_that_is_in_use_and_whoever_ends_leaves_one() {
    let mut slots = Slots::new(LIMITS);
    for id in 0..3 {
        assert!(slots.note(SequenceId(id), &[1]).is_some());
    }
    assert!(slots.note(SequenceId(3), &[1]).is_none());
    slots.forget(SequenceId(1));
    assert!(slots.note(SequenceId(3), &[1]).is_some());
    // Too long to be guessed for.
    assert!(slots.note(SequenceId(0), &[1; 60]).is_none());
    assert!(slots.note(SequenceId(4), &[1]).is_some());
}

/// Asks until the thread has something, or nothing any more.
fn ask(drafter: &mut ModelDrafter, until: impl Fn(&ModelDrafter, &[u32]) -> bool) -> Vec<u32> {
    loop {
        let mut draft = Vec::new();
        drafter.draft(SequenceId(0), &[1, 2, 3], 3, &mut draft);
        if until(drafter, &draft) {
            return draft;
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_thread_guesses_and_ends_with_its_drafter() {
    let (mut drafter, worker) = ModelDrafter::new(LIMITS);
    let (ended_tx, ended) = mpsc::channel::<()>();
    // Dropped with the executor.
    let hook = move |_: &_| {
        let _ = &ended_tx;
        Ok(())
    };
    let mut model = Some(executor().with_hook(Box::new(hook)));
    let factory = move || {
        let model = model.take().ok_or(ExecutorError("one is enough".into()))?;
        Ok(Box::new(model) as Box<dyn Executor>)
    };
    worker.spawn("draft", Box::new(factory)).unwrap();
    let draft = ask(&mut drafter, |_, draft| draft.len() == 3);
    assert_follows(&[1, 2, 3], &draft);
    drop(drafter);
    let ended = ended.recv_timeout(Duration::from_secs(60));
    assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_draft_model_that_fails_or_panics_drafts_nothing_any_more() {
    for panics in [false, true] {
        let (mut drafter, worker) = ModelDrafter::new(LIMITS);
        let factory = move || {
            let hook = move |_: &_| match panics {
                true => panic!("as the test wants"),
                false => Err(ExecutorError("as the test wants".into())),
            };
            let model = executor().with_hook(Box::new(hook));
            Ok(Box::new(model) as Box<dyn Executor>)
        };
        worker.spawn("draft", Box::new(factory)).unwrap();
        let is_closed = |drafter: &ModelDrafter| drafter.shared.lock().is_closed();
        let draft = ask(&mut drafter, |drafter, _| is_closed(drafter));
        assert_eq!(draft, [0; 0]);
        drafter.forget(SequenceId(0));
    }
}
