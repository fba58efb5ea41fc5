//! The ways to turn heads: queries, and what is attended to by keys and values that only the cache has.

use anyhow::Result;

use super::attention::SHORT;
use super::cases::Case;
use super::report::Report;
use super::{relative_error, rounding};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::RopeStyle::{Half, Interleaved};
use crate::ops::{DType, KvDtype};

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    let card = Device::Cuda(cuda.clone());
    let (f16, bf16) = (DType::F16, DType::BF16);
    for (head_dim, half, kv_dtype, rope, has_norm) in [
        (64, bf16, KvDtype::Bf16, Some((64, Interleaved)), false),
        (96, bf16, KvDtype::F16, Some((40, Half)), true),
        (256, bf16, KvDtype::Int8, Some((64, Interleaved)), true),
        (96, f16, KvDtype::F16, Some((96, Interleaved)), false),
        (64, f16, KvDtype::Int8, None, true),
        (128, f16, KvDtype::Bf16, Some((32, Half)), true),
    ] {
        // Scores so large that keys count, and errors of theirs with them.
        let case = Case {
            rope,
            has_norm,
            scale: 4.0,
            ..Case::new(head_dim, half, kv_dtype)
        };
        let want = case.attend(&Device::Cpu, &SHORT, cpu)?;
        let got = case.attend(&card, &SHORT, cpu)?;
        let rope = rope.map_or("nothing turned".to_owned(), |(rotary_dim, style)| {
            format!("{rotary_dim} turned, {style:?}")
        });
        let norm = if has_norm { ", normalised" } else { "" };
        let what = format!("rope D={head_dim} {kv_dtype} of {half:?}: {rope}{norm}");
        let error = relative_error(&got.queries, &want.queries);
        report.check(&what, error, rounding(half));
        let what = format!("{what}, attended to");
        let bound = f64::from(case.scale) * rounding(case.attended_half());
        report.check(what, relative_error(&got.out, &want.out), bound);
    }
    Ok(())
}
