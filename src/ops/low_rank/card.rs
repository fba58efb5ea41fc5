//! Low-rank additions on a card: `kernels/low_rank.cu`.

use std::sync::{Arc, PoisonError, RwLock};

use candle_core::{DType, Result, bail};
use half::{bf16, f16};

use super::{LowRank, LowRankGroup};
use crate::backend::cuda::{Cuda, Slice};
use crate::ops::tensor::CudaTensor;

/// The largest rank that the kernel knows, and the groups of a launch.
const MAX_RANK: usize = 256;
const MAX_GROUPS: usize = 5;
/// Matrices begin at multiples of so many values.
const ALIGNMENT: usize = 8;

/// The matrices of parts that are put on a card together, of 16 bits.
pub struct CardMatrices {
    /// Kept for when the card has failed and was opened anew.
    bytes: Vec<u8>,
    on_card: RwLock<Option<Slice>>,
}

impl CardMatrices {
    /// Copies them there.
    ///
    /// # Errors
    /// If there is no room.
    pub fn enter_card(&self, cuda: &Cuda) -> Result<()> {
        let slice = cuda.upload(&self.bytes)?;
        *self.on_card.write().unwrap_or_else(PoisonError::into_inner) = Some(slice);
        Ok(())
    }

    /// Gives the card's memory back.
    pub fn leave_card(&self) {
        *self.on_card.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn slice(&self) -> Result<Slice> {
        let on_card = self.on_card.read().unwrap_or_else(PoisonError::into_inner);
        match &*on_card {
            Some(slice) => Ok(slice.clone()),
            None => bail!("add_low_rank: the parts have left their card"),
        }
    }
}

/// A part in a card's memory.
pub(super) struct OnCard {
    matrices: Arc<CardMatrices>,
    half: DType,
    /// Where its a and b begin.
    a: usize,
    b: usize,
}

impl LowRank {
    /// Puts the parts of an adapter, with their names, into a card's memory, for activations of the type `half`, F16 or BF16.
    /// Gives what they have there.
    ///
    /// # Errors
    /// If the kernel does not know a rank or a width, or the card has no room.
    pub fn put_on_card<'a>(
        parts: impl Iterator<Item = (&'a str, &'a mut Self)>,
        half: DType,
        cuda: &Cuda,
    ) -> Result<Arc<CardMatrices>> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut push = |values: &[f32]| {
            let start = bytes.len() / 2;
            match half {
                DType::F16 => values
                    .iter()
                    .for_each(|x| bytes.extend(f16::from_f32(*x).to_le_bytes())),
                _ => values
                    .iter()
                    .for_each(|x| bytes.extend(bf16::from_f32(*x).to_le_bytes())),
            }
            bytes.resize(bytes.len().next_multiple_of(2 * ALIGNMENT), 0);
            start
        };
        let mut placed = Vec::new();
        for (name, part) in parts {
            if part.rank > MAX_RANK || !part.in_features.is_multiple_of(ALIGNMENT) {
                bail!(
                    "{name}: a rank (r) of {} for {} inputs: cards compute ranks up to {MAX_RANK}, for multiples of {ALIGNMENT} inputs; use --device cpu",
                    part.rank,
                    part.in_features
                );
            }
            let (a, b) = (
                push(&std::mem::take(&mut part.a)),
                push(&std::mem::take(&mut part.b)),
            );
            placed.push((part, a, b));
        }
        let matrices = Arc::new(CardMatrices {
            bytes,
            on_card: RwLock::default(),
        });
        matrices.enter_card(cuda)?;
        for (part, a, b) in placed {
            part.on_card = Some(OnCard {
                matrices: Arc::clone(&matrices),
                half,
                a,
                b,
            });
        }
        Ok(matrices)
    }
}

/// [`add_low_rank`](super::add_low_rank) on a card: out and x of 16 bits.
pub(super) fn cuda_fwd(
    out: &CudaTensor,
    x: &CudaTensor,
    groups: &[LowRankGroup<'_>],
    (width, out_width): (usize, usize),
) -> Result<()> {
    let half = x.half_name("add_low_rank: x")?;
    out.expect_same("add_low_rank: out", x)?;
    // What is put there together goes together: the matrices, and in the order of the kernel's `Group`.
    let mut launches: Vec<(&Arc<CardMatrices>, Vec<[usize; 7]>)> = Vec::new();
    for LowRankGroup { rows, parts } in groups {
        for (column, part) in parts {
            let Some(on_card) = part.on_card.as_ref().filter(|own| own.half == x.dtype) else {
                bail!("add_low_rank: a part is not on the card for {half}");
            };
            let (a, b) = (on_card.a / ALIGNMENT, on_card.b / ALIGNMENT);
            let group = [
                rows.start,
                rows.len(),
                *column,
                part.rank,
                part.out_features,
                a,
                b,
            ];
            let same = launches
                .iter_mut()
                .find(|(matrices, _)| Arc::ptr_eq(matrices, &on_card.matrices));
            match same {
                Some((_, groups)) => groups.push(group),
                None => launches.push((&on_card.matrices, vec![group])),
            }
        }
    }
    for (matrices, groups) in &launches {
        let matrices = matrices.slice()?;
        for groups in groups.chunks(MAX_GROUPS) {
            let most_rows = groups.iter().map(|group| group[1]).max().unwrap_or(0);
            let mut fields = groups.concat();
            fields.resize(MAX_GROUPS * 7, 0);
            let name = format!("add_low_rank_{half}");
            (out.card())
                .kernel("low_rank", name, [most_rows, groups.len(), 1], 256)
                .slice(&out.slice)
                .slice(&x.slice)
                .slice(&matrices)
                .fields(&fields, &[])
                .int(width)
                .int(out_width)
                .run()?;
        }
    }
    Ok(())
}
