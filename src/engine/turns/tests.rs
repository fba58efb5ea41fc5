//! Turns in time that is made up, and of executors on threads.

use super::*;

const MS: Duration = Duration::from_millis(1);
/// Between two steps of an engine, here.
const BETWEEN: Duration = Duration::from_micros(100);

/// Lets engines whose steps take so long compute from their start on, each as often as it may by its weight until `end`.
fn simulate(engines: &[(Duration, Duration, u32)], end: Duration) -> Vec<Duration> {
    let t0 = Instant::now();
    let mut state = State::default();
    (engines.iter()).for_each(|&(.., weight)| state.takers.push(Taker::new(weight)));
    let mut given = vec![Duration::ZERO; engines.len()];
    // When each asks next.
    let mut asks: Vec<Duration> = engines.iter().map(|&(_, start, _)| start).collect();
    let mut now = Duration::ZERO;
    while now < end {
        let enter = |state: &mut State, asks: &[Duration], now: Duration| {
            for (i, &ask) in asks.iter().enumerate() {
                let taker = &state.takers[i];
                if ask <= now && !taker.is_waiting && taker.computes_since.is_none() {
                    state.enter(i, t0 + ask);
                }
            }
        };
        enter(&mut state, &asks, now);
        let next = (0..engines.len())
            .filter(|&i| state.takers[i].is_waiting)
            .find(|&i| state.may_take(i, t0 + now).is_ok());
        let Some(i) = next else {
            now += Duration::from_micros(10);
            continue;
        };
        state.begin(i, t0 + now);
        now += engines[i].0;
        // Who asks meanwhile finds it computing.
        enter(&mut state, &asks, now);
        given[i] += engines[i].0;
        state.end(i, t0 + now);
        asks[i] = now + BETWEEN;
    }
    given
}

#[test]
fn busy_engines_have_time_by_their_weights_however_long_their_steps_are() {
    for (weights, parts) in [((1, 1), [0.5, 0.5]), ((1, 2), [1.0 / 3.0, 2.0 / 3.0])] {
        let short = (2 * MS, Duration::ZERO, weights.0);
        let long = (9 * MS, Duration::ZERO, weights.1);
        let given = simulate(&[short, long], 2000 * MS);
        let all = given[0] + given[1];
        assert!(all > 1900 * MS, "{given:?}");
        for (given, part) in given.iter().zip(parts) {
            assert!(given.abs_diff(all.mul_f64(part)) <= 20 * MS, "{given:?}");
        }
    }
}

#[test]
fn who_was_idle_is_not_paid_for_it() {
    let engines = [(2 * MS, Duration::ZERO, 1), (2 * MS, 1000 * MS, 1)];
    let given = simulate(&engines, 2000 * MS);
    assert!(given[0].abs_diff(1500 * MS) <= 60 * MS, "{given:?}");
    assert!(given[1].abs_diff(500 * MS) <= 60 * MS, "{given:?}");
}

#[test]
fn who_computed_while_the_others_were_idle_does_not_pay_for_it() {
    let (t0, mut state) = (Instant::now(), State::default());
    state.takers.resize_with(2, || Taker::new(1));
    state.enter(1, t0);
    state.begin(1, t0);
    state.end(1, t0 + 1000 * MS);
    // Both come back from idleness, the other first.
    let now = t0 + 2000 * MS;
    state.enter(0, now);
    state.begin(0, now);
    state.enter(1, now);
    state.end(0, now + 1001 * MS);
    state.enter(0, now + 1001 * MS);
    assert_eq!(state.may_take(1, now + 1001 * MS), Ok(()));
}

#[test]
fn a_step_that_hangs_stops_nobody_else() {
    let (t0, mut state) = (Instant::now(), State::default());
    state.takers.resize_with(2, || Taker::new(1));
    state.begin(0, t0);
    state.enter(1, t0);
    assert_eq!(state.may_take(1, t0 + MS), Err(Some(STUCK - MS)));
    assert_eq!(state.may_take(1, t0 + STUCK), Ok(()));
}

#[test]
fn an_engine_that_is_alone_waits_for_nobody() {
    let mut state = State::default();
    state.takers.resize_with(2, || Taker::new(1));
    let mut now = Instant::now();
    for _ in 0..100 {
        state.enter(1, now);
        assert_eq!(state.may_take(1, now), Ok(()));
        state.begin(1, now);
        state.end(1, now + MS);
        now += MS;
    }
}

#[test]
fn executors_of_engines_that_share_cores_never_compute_at_once_and_give_their_turn_back_when_they_fail()
 {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (turns, is_busy) = (Turns::default(), Arc::new(AtomicBool::new(false)));
    /// Fails every third step at its launch, and every fourth when it is collected.
    struct Alone(Arc<AtomicBool>, usize);
    impl Executor for Alone {
        fn launch(&mut self, _: &StepPlan) -> Result<Ticket, ExecutorError> {
            assert!(
                !self.0.swap(true, Ordering::SeqCst),
                "somebody else computes"
            );
            self.1 += 1;
            match self.1 % 3 {
                0 => {
                    self.0.store(false, Ordering::SeqCst);
                    Err(ExecutorError("third".into()))
                }
                _ => Ok(Ticket(0)),
            }
        }
        fn draw(&mut self, _: &Ticket, _: &StepPlan) -> Result<(), ExecutorError> {
            std::thread::yield_now();
            Ok(())
        }
        fn collect(&mut self, _: Ticket) -> Result<StepOutput, ExecutorError> {
            assert!(self.0.swap(false, Ordering::SeqCst));
            match self.1 % 4 {
                0 => Err(ExecutorError("fourth".into())),
                _ => Ok(StepOutput::default()),
            }
        }
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let is_busy = Arc::clone(&is_busy);
            let factory =
                Box::new(move || Ok(Box::new(Alone(Arc::clone(&is_busy), 0)) as Box<dyn Executor>));
            let mut executors = turns.seat(1).taken_by(factory);
            scope.spawn(move || {
                let mut executor = executors().unwrap();
                for _ in 0..200 {
                    let _ = executor.step(&StepPlan::default());
                }
            });
        }
    });
}
