//! Routed experts, against the CPU's.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::weights::random_weights;
use super::{num_different, poison, relative_error, rounded, rounding, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::{
    CardRouting, DType, ExpertStack, LinearGroup, LinearPart, PackedWeight, Routing, Tensor,
    Vector, WeightFormat, combine_experts, gather_rows, matmul_groups,
};

/// Inputs, and the outputs of two parts side by side, the first with biases.
const WIDTH: usize = 72;
const PARTS: [usize; 2] = [40, 24];
const OUT_WIDTH: usize = PARTS[0] + PARTS[1];

/// Rows, experts, those of a row, and whether their weights add up to one. Each size of kernel is met: pairs of an expert are few, some
/// and many.
const CASES: [(usize, usize, usize, bool); 3] =
    [(100, 40, 4, false), (100, 6, 2, true), (140, 3, 2, true)];

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    for half in [DType::F16, DType::BF16] {
        for (num_rows, num_experts, top_k, is_normalised) in CASES {
            let mut random = Rng::keyed(13, num_experts as u64);
            let logits: Vec<f32> = uniform(&mut random, num_rows * num_experts);
            let logits: Vec<f32> = logits.iter().map(|x| 3.0 * x).collect();
            let x = rounded(&uniform(&mut random, num_rows * WIDTH), half)?;
            let layer = Layer::new(num_experts, half, (cuda, cpu), &mut random)?;
            let choice = (top_k, is_normalised);
            let want = layer.on_cpu(&logits, &x, choice, cpu)?;
            let got = layer.on_card(&logits, &x, choice, cuda)?;
            let what = format!("experts {half:?}, {top_k} of {num_experts}");
            // Twice: what an expert gives, and the sum.
            report.check(&what, relative_error(&got, &want), 2.0 * rounding(half));
            let mut different = 0;
            for row in [0, num_rows - 1] {
                let logits = &logits[row * num_experts..][..num_experts];
                let alone = layer.on_card(logits, &x[row * WIDTH..][..WIDTH], choice, cuda)?;
                different += num_different(&alone, &got[row * OUT_WIDTH..][..OUT_WIDTH], OUT_WIDTH);
            }
            report.check(
                format!("{what}, rows that differ alone"),
                different as f64,
                0.0,
            );
        }
    }
    Ok(())
}

/// A projection of each expert, for both devices.
struct Layer {
    half: DType,
    num_experts: usize,
    weights: [Vec<PackedWeight>; 2],
    biases: Vec<Vector>,
    stacks: [ExpertStack; 2],
}

impl Layer {
    fn new(
        num_experts: usize,
        half: DType,
        (cuda, cpu): (&Cuda, &Cpu),
        random: &mut Rng,
    ) -> Result<Self> {
        let device = Device::Cuda(cuda.clone());
        let format = match half {
            DType::F16 => WeightFormat::F16,
            _ => WeightFormat::BF16,
        };
        let mut part = |n: usize, has_bias: bool| {
            let (mut weights, mut on_card) = (Vec::new(), Vec::new());
            for _ in 0..num_experts {
                let data = random_weights(format, (n, WIDTH), random, cpu);
                let bias = has_bias.then(|| Vector::new(uniform(random, n), &device));
                weights.push(PackedWeight::new(format, n, WIDTH, &data, cpu)?);
                let weight =
                    PackedWeight::on_card_of(format, n, WIDTH, &data, half, (cpu, cuda), None)?;
                on_card.push((weight, bias.transpose()?));
            }
            let stack = ExpertStack::new(&on_card, &device)?;
            let biases: Vec<Vector> = on_card.into_iter().filter_map(|part| part.1).collect();
            Ok::<_, anyhow::Error>((weights, biases, stack))
        };
        let (first, biases, first_stack) = part(PARTS[0], true)?;
        let (second, _, second_stack) = part(PARTS[1], false)?;
        Ok(Self {
            half,
            num_experts,
            weights: [first, second],
            biases,
            stacks: [first_stack, second_stack],
        })
    }

    fn on_cpu(
        &self,
        logits: &[f32],
        x: &[f32],
        (top_k, is_normalised): (usize, bool),
        cpu: &Cpu,
    ) -> Result<Vec<f32>> {
        let num_rows = x.len() / WIDTH;
        let zeros = |rows, width| Tensor::zeros((rows, width), DType::F32, &Device::Cpu);
        let logits = Tensor::from_slice(logits, (num_rows, self.num_experts))?;
        let routing = Routing::new(&logits, top_k, is_normalised)?;
        let num_pairs = num_rows * top_k;
        let (gathered, multiplied) = (zeros(num_pairs, WIDTH)?, zeros(num_pairs, OUT_WIDTH)?);
        let x = Tensor::from_slice(x, (num_rows, WIDTH))?;
        gather_rows(&gathered, &x, routing.rows())?;
        let groups = routing.experts().map(|(expert, rows)| LinearGroup {
            rows,
            parts: vec![
                LinearPart {
                    weight: &self.weights[0][expert],
                    bias: Some(&self.biases[expert]),
                },
                LinearPart {
                    weight: &self.weights[1][expert],
                    bias: None,
                },
            ],
        });
        let groups: Vec<LinearGroup<'_>> = groups.collect();
        matmul_groups(&multiplied, &gathered, &groups, cpu)?;
        let out = zeros(num_rows, OUT_WIDTH)?;
        combine_experts(&out, &multiplied, &routing, cpu)?;
        Ok(out.to_vec()?)
    }

    fn on_card(
        &self,
        logits: &[f32],
        x: &[f32],
        (top_k, is_normalised): (usize, bool),
        cuda: &Cuda,
    ) -> Result<Vec<f32>> {
        let (num_rows, device) = (x.len() / WIDTH, Device::Cuda(cuda.clone()));
        let poison = |rows, width| poison((rows, width), self.half, &device);
        let logits = Tensor::from_slice(logits, (num_rows, self.num_experts))?;
        let logits = logits.to_device(DType::F32, &device)?;
        let x = Tensor::from_slice(x, (num_rows, WIDTH))?.to_device(self.half, &device)?;
        let routing = CardRouting::new(cuda, num_rows, self.num_experts, top_k)?;
        let routed = routing.route(&logits, None, is_normalised)?;
        let num_pairs = num_rows * top_k;
        let (gathered, multiplied) = (poison(num_pairs, WIDTH)?, poison(num_pairs, OUT_WIDTH)?);
        routed.gather(&gathered, &x)?;
        routed.matmul(&multiplied, &gathered, &self.stacks)?;
        let out = poison(num_rows, OUT_WIDTH)?;
        routed.combine(&out, &multiplied)?;
        Ok(out.to_vec()?)
    }
}
