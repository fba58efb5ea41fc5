//! Storing keys and values, and attention over them, against the CPU's.

use anyhow::{Result, ensure};

use super::cases::{Case, Sequence};
use super::report::Report;
use super::{num_different, relative_error};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::{DType, KvDtype, Spans};

const fn sequence(number: u64, num_new: usize, context: usize) -> Sequence {
    Sequence {
        number,
        num_new,
        context,
    }
}

const LONG: [Sequence; 2] = [sequence(0, 40, 300), sequence(1, 1, 555)];
/// One of a span alone, the other of two.
pub(super) const SHORT: [Sequence; 2] = [sequence(0, 40, 70), sequence(1, 1, 300)];

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    let card = Device::Cuda(cuda.clone());
    for head_dim in [64, 96, 128, 256] {
        for (kv_dtype, bound) in [
            (KvDtype::Bf16, 6e-3),
            (KvDtype::F16, 6e-3),
            (KvDtype::Int8, 1e-2),
        ] {
            for window in [None, Some(100)] {
                let case = Case {
                    window,
                    ..Case::new(head_dim, DType::BF16, kv_dtype)
                };
                let run = |device: &Device| case.attend(device, &LONG, cpu);
                let (want, got) = (run(&Device::Cpu)?.out, run(&card)?.out);
                let window = window.map_or(String::new(), |window| format!(", window {window}"));
                let what = format!("attention D={head_dim} {kv_dtype}{window}");
                report.check(&what, relative_error(&got, &want), bound);
                // The second time.
                let different = num_different(&run(&card)?.out, &got, case.width());
                let what = format!("{what}, rows that differ the second time");
                report.check(what, different as f64, 0.0);
            }
        }
        // What is not rounded to BF16 is eight times as near; keys of int8 may still be a step apart.
        for (kv_dtype, bound) in [(KvDtype::F16, 1e-3), (KvDtype::Int8, 2e-3)] {
            let case = Case::new(head_dim, DType::F16, kv_dtype);
            let what = format!("attention D={head_dim} {kv_dtype} of F16");
            compare(report, &what, &case, &SHORT, bound, (&card, cpu))?;
        }
    }
    scores(report, (&card, cpu))?;
    spans(report, (&card, cpu))
}

/// Against the CPU; and the last row of each sequence alone.
fn compare(
    report: &mut Report,
    what: &str,
    case: &Case,
    sequences: &[Sequence],
    bound: f64,
    (card, cpu): (&Device, &Cpu),
) -> Result<()> {
    let want = case.attend(&Device::Cpu, sequences, cpu)?.out;
    let got = case.attend(card, sequences, cpu)?.out;
    report.check(what, relative_error(&got, &want), bound);
    let (mut different, mut end) = (0, 0);
    for &sequence in sequences {
        let last = Sequence {
            num_new: 1,
            ..sequence
        };
        end += sequence.num_new * case.width();
        let alone = case.attend(card, &[last], cpu)?.out;
        different += num_different(&alone, &got[end - case.width()..end], case.width());
    }
    let what = format!("{what}, rows that differ alone");
    report.check(what, different as f64, 0.0);
    Ok(())
}

/// What models do to scores.
fn scores(report: &mut Report, devices: (&Device, &Cpu)) -> Result<()> {
    let plain = Case::new(64, DType::BF16, KvDtype::Bf16);
    let capped = Case {
        scale: 4.0,
        softcap: Some(2.0),
        ..plain
    };
    let with_sinks = Case {
        has_sinks: true,
        ..plain
    };
    let both = Case {
        has_sinks: true,
        window: Some(300),
        ..capped
    };
    for (name, case, sequences) in [
        ("softcap", capped, SHORT),
        ("sinks", with_sinks, SHORT),
        // From the last token of a span on, and through two more.
        ("softcap, sinks, window 300", both, LONG),
    ] {
        let what = format!("attention with {name}");
        compare(report, &what, &case, &sequences, 6e-3, devices)?;
    }
    Ok(())
}

/// Spans that a block goes through in turn, as they are where rows are many, and those that have a block each.
fn spans(report: &mut Report, (card, cpu): (&Device, &Cpu)) -> Result<()> {
    // Of three spans each: more pairs than there is room for.
    let sequences = [sequence(0, 90, 600)];
    for (head_dim, half, kv_dtype, bound) in [
        (64, DType::BF16, KvDtype::Bf16, 6e-3),
        (96, DType::BF16, KvDtype::F16, 6e-3),
        (128, DType::F16, KvDtype::Int8, 2e-3),
        (256, DType::F16, KvDtype::F16, 1e-3),
    ] {
        let split = Case {
            heads: (1, 1, head_dim),
            has_sinks: true,
            ..Case::new(head_dim, half, kv_dtype)
        };
        let in_turn = Case {
            max_model_len: 1,
            ..split
        };
        let want = in_turn.attend(&Device::Cpu, &sequences, cpu)?.out;
        let got = in_turn.attend(card, &sequences, cpu)?;
        let other = split.attend(card, &sequences, cpu)?;
        ensure!(
            got.spans == [Spans::InTurn] && other.spans == [Spans::Split(3)],
            "attention: spans are {:?} and {:?}",
            got.spans,
            other.spans
        );
        let what = format!("attention D={head_dim} {kv_dtype}, spans in turn");
        report.check(&what, relative_error(&got.out, &want), bound);
        let different = num_different(&other.out, &got.out, split.width());
        let what = format!("{what}, rows that differ from split ones");
        report.check(what, different as f64, 0.0);
    }
    Ok(())
}
