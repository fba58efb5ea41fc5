//! How close a student is to its teacher on text that neither step has read.

use candle_core::Result;

use super::loss::{Divergence, divergence};
use super::student::Student;
use super::trainer::Teacher;

/// Over held-out sequences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOut {
    /// Mean KL divergence of a token, in nats.
    pub kl: f64,
    /// The part of positions where the likeliest token is the teacher's: how often a greedy draft would be accepted.
    pub agreement: f64,
    /// Positions compared.
    pub num_tokens: usize,
}

impl HeldOut {
    /// Compares them; `progress` is told how many sequences are done, of how many.
    ///
    /// # Errors
    /// If either cannot be computed.
    pub fn measure(
        student: &Student,
        teacher: &Teacher,
        sequences: &[Vec<u32>],
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self> {
        let mut all = Divergence::default();
        for (i, tokens) in sequences.iter().enumerate() {
            let hidden = student.hidden(tokens)?.detach();
            let logits = student.logits(&hidden)?;
            all = all + divergence(&logits, &teacher.logits(tokens)?, 1.0)?;
            progress(i + 1, sequences.len());
        }
        let mean = |sum: f64| sum / all.num_rows.max(1) as f64;
        Ok(Self {
            kl: mean(all.kl),
            agreement: mean(all.num_agreed as f64),
            num_tokens: all.num_rows,
        })
    }
}
