//! How large the inputs of each weight are: what its rounding errors are multiplied by.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::Result;

use crate::ops::Tensor;

/// Mean squares of inputs by weight and column, over the rows that a decoder was shown.
#[derive(Debug, Default)]
pub struct Importance {
    /// By the weight's name in GGUF files, without `.weight`, and its expert.
    sums: HashMap<(String, usize), Sums>,
}

#[derive(Debug)]
struct Sums {
    squares: Vec<f64>,
    num_rows: usize,
}

impl Importance {
    /// Adds the rows of x, `[T, K]`, as inputs of the weight.
    pub(super) fn add(
        &mut self,
        name: &str,
        expert: usize,
        x: &Tensor,
        rows: Range<usize>,
    ) -> Result<()> {
        let rows = x.narrow(rows.start, rows.len())?.to_rows()?;
        let (_, width) = x.dims()?;
        let sums = self.sums.entry((name.to_owned(), expert));
        let sums = sums.or_insert_with(|| Sums {
            squares: vec![0.0; width],
            num_rows: 0,
        });
        for row in &rows {
            for (sum, &x) in sums.squares.iter_mut().zip(row) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        sums.num_rows += rows.len();
        Ok(())
    }

    /// The mean squares of the weight's inputs, `[K]`; `None` if it met none, as experts may that nothing went to.
    pub fn of(&self, name: &str, expert: usize) -> Option<Vec<f32>> {
        let sums = self.sums.get(&(name.to_owned(), expert))?;
        let mean = |sum: &f64| (sum / sums.num_rows.max(1) as f64) as f32;
        Some(sums.squares.iter().map(mean).collect())
    }

    /// Weights that met any input.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether none did.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn means_are_over_all_rows_that_were_added() {
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 0.0, 9.0, 9.0], (3, 2)).unwrap();
        let mut importance = Importance::default();
        importance.add("a", 1, &x, 0..2).unwrap();
        assert_eq!(importance.of("a", 1), Some(vec![5.0, 2.0]));
        importance.add("a", 1, &x, 0..2).unwrap();
        assert_eq!(importance.of("a", 1), Some(vec![5.0, 2.0]));
        assert_eq!(importance.of("a", 0), None);
        assert_eq!(importance.len(), 1);
    }
}
