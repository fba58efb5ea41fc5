//! How long a step will take, learnt from the steps that were.

use std::time::Duration;

/// What a step's time depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepSize {
    /// Token rows.
    pub num_tokens: usize,
    /// Cached tokens that rows attend to, summed over rows.
    pub num_attended: usize,
    /// Rows that a token is drawn for.
    pub num_samples: usize,
}

impl StepSize {
    /// Adds `num_tokens` rows of a sequence that has `num_computed` tokens in the cache.
    pub fn add_rows(&mut self, num_tokens: usize, num_computed: usize) {
        self.num_tokens += num_tokens;
        self.num_attended += num_tokens * num_computed + num_tokens * (num_tokens + 1) / 2;
    }

    fn features(self) -> Features {
        let StepSize {
            num_tokens,
            num_attended,
            num_samples,
        } = self;
        // Scaled so that all are of one order, which keeps the equations well-conditioned.
        [
            1.0,
            num_tokens as f64 / 64.0,
            num_attended as f64 / 16384.0,
            num_samples as f64 / 16.0,
        ]
    }
}

const N: usize = 4;
type Features = [f64; N];

/// Sums of weighted products: the normal equations of a least-squares fit.
#[derive(Clone, Debug, Default)]
struct Equations {
    a: [[f64; N]; N],
    b: [f64; N],
}

impl Equations {
    /// Adds the sample `x · w = 1`, after what there is has been weakened.
    fn add(&mut self, x: Features, keep: f64) {
        for i in 0..N {
            for j in 0..N {
                self.a[i][j] = self.a[i][j] * keep + x[i] * x[j];
            }
            self.b[i] = self.b[i] * keep + x[i];
        }
    }
}

/// A linear model of step times, fitted online: least squares of the relative error.
///
/// Two memories: a short one, so that the fit follows a machine that gets busy, and a long one of little weight, which
/// keeps what recent steps say nothing of (while all of them are decodes: what a prompt costs).
#[derive(Clone, Debug)]
pub struct CostModel {
    short: Equations,
    long: Equations,
    /// Seconds for each feature; none is negative.
    weights: Features,
    /// How much longer steps take than what is learnt of them.
    slowdown: f64,
}

/// Steps until the short memory has lost two thirds.
const SHORT: f64 = 50.0;
const LONG: f64 = 10_000.0;
/// Of the long memory beside the short one.
const LONG_WEIGHT: f64 = 2e-4;
/// Of the guess that it starts with: enough to solve the equations, and nothing once a few steps are known.
const PRIOR_WEIGHT: f64 = 1e-6;

impl Default for CostModel {
    fn default() -> Self {
        Self {
            short: Equations::default(),
            long: Equations::default(),
            // A guess: 1 ms a step, 0.2 ms a token.
            weights: [1e-3, 64.0 * 2e-4, 0.0, 0.0],
            slowdown: 1.0,
        }
    }
}

impl CostModel {
    /// Takes in that a step took `time`.
    pub fn learn(&mut self, size: StepSize, time: Duration) {
        let seconds = time.as_secs_f64();
        if seconds <= 0.0 || size.num_tokens == 0 {
            return;
        }
        // Divided by the time, errors of short and long steps weigh the same.
        let x = size.features().map(|feature| feature / seconds);
        self.short.add(x, 1.0 - 1.0 / SHORT);
        self.long.add(x, 1.0 - 1.0 / LONG);
        self.fit();
    }

    /// Solves the equations; what would come out negative is left out, and the rest solved again.
    fn fit(&mut self) {
        let mut is_used = [true; N];
        for _ in 0..N {
            let Some(weights) = self.solve(is_used) else {
                return;
            };
            let Some(i) = (0..N).find(|&i| weights[i] < 0.0) else {
                self.weights = weights;
                return;
            };
            is_used[i] = false;
        }
    }

    /// Gauss's elimination with pivots; `None` where the equations do not determine the weights.
    fn solve(&self, is_used: [bool; N]) -> Option<Features> {
        let mut rows = [[0.0; N + 1]; N];
        for i in 0..N {
            if !is_used[i] {
                rows[i][i] = 1.0;
                continue;
            }
            for j in (0..N).filter(|&j| is_used[j]) {
                rows[i][j] = self.short.a[i][j] + LONG_WEIGHT * self.long.a[i][j];
            }
            rows[i][N] = self.short.b[i] + LONG_WEIGHT * self.long.b[i];
            let prior = PRIOR_WEIGHT * rows[i][i];
            rows[i][i] += prior;
            rows[i][N] += prior * self.weights[i];
        }
        for column in 0..N {
            let pivot = (column..N).max_by(|&i, &j| {
                let key = |i: usize| f64::abs(rows[i][column]);
                key(i).total_cmp(&key(j))
            })?;
            rows.swap(column, pivot);
            let pivot = rows[column];
            if pivot[column] == 0.0 || !pivot[column].is_finite() {
                return None;
            }
            for row in rows.iter_mut().skip(column + 1) {
                let factor = row[column] / pivot[column];
                for (x, p) in row.iter_mut().zip(pivot) {
                    *x -= factor * p;
                }
            }
        }
        let mut weights = [0.0; N];
        for i in (0..N).rev() {
            let known: f64 = (i + 1..N).map(|j| rows[i][j] * weights[j]).sum();
            weights[i] = (rows[i][N] - known) / rows[i][i];
        }
        weights.iter().all(|w| w.is_finite()).then_some(weights)
    }

    /// Has steps expected to take `times` as long as they are learnt to: where others share the cores that they are computed on.
    pub fn slow_down(&mut self, times: f64) {
        self.slowdown = times;
    }

    /// The time that a step of this size will take.
    pub fn predict(&self, size: StepSize) -> Duration {
        let features = size.features();
        let seconds: f64 = features.iter().zip(self.weights).map(|(x, w)| x * w).sum();
        let seconds = seconds * self.slowdown;
        Duration::from_secs_f64(seconds.clamp(0.0, 3600.0))
    }

    /// How many rows of a sequence with `num_computed` tokens in the cache, at most `limit`, can join a step of `size`
    /// without making it longer than `target`.
    pub fn rows_within(
        &self,
        size: StepSize,
        num_computed: usize,
        limit: usize,
        target: Duration,
    ) -> usize {
        let fits = |num_tokens: usize| {
            let mut size = size;
            size.add_rows(num_tokens, num_computed);
            self.predict(size) <= target
        };
        let (mut fitting, mut beyond) = (0, limit + 1);
        while fitting + 1 < beyond {
            let middle = fitting.midpoint(beyond);
            match fits(middle) {
                true => fitting = middle,
                false => beyond = middle,
            }
        }
        fitting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(num_tokens: usize, context: usize, num_samples: usize) -> StepSize {
        StepSize {
            num_tokens,
            num_attended: num_tokens * context,
            num_samples,
        }
    }

    /// A machine: 4 ms a step, 0.6 ms a token, and what attention and sampling take.
    fn truth(size: StepSize) -> Duration {
        let StepSize {
            num_tokens,
            num_attended,
            num_samples,
        } = size;
        let micros = 4000 + 600 * num_tokens + num_attended / 5 + 50 * num_samples;
        Duration::from_micros(micros as u64)
    }

    /// Prompts and decodes of all kinds.
    fn steps(num_steps: usize) -> impl Iterator<Item = StepSize> {
        (0..num_steps).map(|i| size(1 + i * 37 % 256, 100 + i * 911 % 4000, 1 + i % 16))
    }

    fn taught(num_steps: usize) -> CostModel {
        let mut model = CostModel::default();
        for step in steps(num_steps) {
            model.learn(step, truth(step));
        }
        model
    }

    fn error(model: &CostModel, size: StepSize) -> f64 {
        model.predict(size).as_secs_f64() / truth(size).as_secs_f64() - 1.0
    }

    #[test]
    fn a_few_dozen_mixed_steps_teach_it_a_machine() {
        let model = taught(60);
        for step in [size(1, 100, 1), size(16, 500, 16), size(256, 2000, 1)] {
            assert!(
                error(&model, step).abs() < 0.02,
                "{step:?}: {}",
                error(&model, step)
            );
        }
    }

    #[test]
    fn long_decoding_does_not_make_it_forget_what_prompts_cost() {
        let mut model = taught(200);
        for i in 0..5000 {
            let step = size(8, 200 + i / 8, 8);
            model.learn(step, truth(step));
        }
        for step in [size(8, 800, 8), size(64, 1000, 8), size(256, 2000, 9)] {
            assert!(
                error(&model, step).abs() < 0.1,
                "{step:?}: {}",
                error(&model, step)
            );
        }
    }

    #[test]
    fn it_follows_a_machine_that_gets_busy() {
        let mut model = taught(200);
        for step in steps(400) {
            model.learn(step, truth(step) * 3);
        }
        let step = size(100, 1000, 8);
        assert!(
            (error(&model, step) - 2.0).abs() < 0.1,
            "{}",
            error(&model, step)
        );
    }

    #[test]
    fn nothing_but_equal_steps_leaves_predictions_sound() {
        let mut model = CostModel::default();
        let step = size(8, 100, 8);
        for _ in 0..10_000 {
            model.learn(step, truth(step));
        }
        assert!(error(&model, step).abs() < 0.01);
        let larger = model.predict(size(64, 100, 8));
        assert!(larger >= model.predict(step));
    }

    #[test]
    fn rows_fill_the_target_and_no_more() {
        let model = taught(60);
        let decodes = size(8, 500, 8);
        let target = Duration::from_millis(40);
        let num_rows = model.rows_within(decodes, 1000, 256, target);
        let with = |num_rows: usize| {
            let mut size = decodes;
            size.add_rows(num_rows, 1000);
            model.predict(size)
        };
        assert!(with(num_rows) <= target && with(num_rows + 1) > target);
        assert!((20..60).contains(&num_rows), "{num_rows}");
        assert_eq!(model.rows_within(decodes, 0, 256, Duration::ZERO), 0);
        assert_eq!(
            model.rows_within(decodes, 0, 256, Duration::from_secs(9)),
            256
        );
    }
}
