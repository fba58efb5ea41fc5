//! What tokens and rows are looked up by: embeddings, rows that are picked, and tokens that a card places itself.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::weights::{FORMATS, half_of, is_exact, random_weights};
use super::{num_different, poison, relative_error, rounded, rounding, sent, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::WeightFormat::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};
use crate::ops::{DType, Numbers, PackedWeight, Tensor, embedding, gather_rows, place_drawn};

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    embeddings(report, cuda, cpu)?;
    picked(report, cuda)?;
    placed(report, cuda)
}

/// Of tables of every kind.
fn embeddings(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    const IDS: [u32; 8] = [0, 36, 7, 8, 15, 16, 31, 7];
    let device = Device::Cuda(cuda.clone());
    let mut random = Rng::keyed(17, 0);
    for format in FORMATS {
        let n = 37;
        // Half a tile is left over where blocks are small enough.
        let k = match format {
            Q2K | Q3K | Q4K | Q5K | Q6K | Iq4Xs => 256,
            _ => 224,
        };
        let data = random_weights(format, (n, k), &mut random, cpu);
        let half = half_of(format);
        let table = PackedWeight::on_card_of(format, n, k, &data, half, (cpu, cuda), None)?;
        let out = poison((IDS.len(), k), DType::F32, &device)?;
        let mut ids = Numbers::from(&IDS);
        ids.put_on_card(sent(&IDS, cuda)?);
        embedding(&out, ids, &table, 1.5, cpu)?;
        let want = Tensor::zeros((IDS.len(), k), DType::F32, &Device::Cpu)?;
        let table = PackedWeight::new(format, n, k, &data, cpu)?;
        embedding(&want, &IDS, &table, 1.5, cpu)?;
        let bound = if is_exact(format) {
            0.0
        } else {
            rounding(half)
        };
        let error = relative_error(&out.to_vec()?, &want.to_vec()?);
        report.check(format!("embedding {format:?}"), error, bound);
    }
    Ok(())
}

/// Rows that are picked: the same bits.
fn picked(report: &mut Report, cuda: &Cuda) -> Result<()> {
    const ROWS: [u32; 4] = [3, 0, 4, 3];
    let (rows, width) = (5, 2056);
    let device = Device::Cuda(cuda.clone());
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let values = rounded(&uniform(&mut Rng::keyed(18, 0), rows * width), dtype)?;
        let want = ROWS
            .iter()
            .flat_map(|&row| &values[row as usize * width..][..width]);
        let want: Vec<f32> = want.copied().collect();
        let out = poison((ROWS.len(), width), dtype, &device)?;
        let mut picked = Numbers::from(&ROWS);
        picked.put_on_card(sent(&ROWS, cuda)?);
        let x = Tensor::from_slice(&values, (rows, width))?.to_device(dtype, &device)?;
        gather_rows(&out, &x, picked)?;
        let different = num_different(&out.to_vec()?, &want, width);
        report.check(
            format!("picked rows {dtype:?} that differ"),
            different as f64,
            0.0,
        );
    }
    Ok(())
}

/// Tokens of the last step that the next one takes from where they were drawn.
fn placed(report: &mut Report, cuda: &Cuda) -> Result<()> {
    // More than a block has; some were not drawn.
    const LEN: u32 = 300;
    let drawn: Vec<u32> = (0..LEN)
        .map(|i| if i % 7 == 0 { u32::MAX } else { 1000 + i })
        .collect();
    let pending: Vec<u32> = (0..LEN).flat_map(|i| [2 * i + 1, LEN - 1 - i]).collect();
    let mut want = vec![5; 2 * LEN as usize];
    let ids = want.clone();
    for (i, place) in want.iter_mut().skip(1).step_by(2).enumerate() {
        let token = drawn[LEN as usize - 1 - i];
        *place = if token == u32::MAX { 0 } else { token };
    }
    let (slice, mut numbers) = (sent(&ids, cuda)?, Numbers::from(&ids));
    numbers.put_on_card(slice.clone());
    place_drawn(&numbers, &sent(&pending, cuda)?, &sent(&drawn, cuda)?)?;
    let bytes = slice.read()?;
    let got = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes));
    let different = got.zip(want).filter(|(got, want)| got != want).count();
    report.check("placed tokens that differ", different as f64, 0.0);
    Ok(())
}
