//! What the tests of the ops share: devices, reproducible random data, views inside bigger buffers.

use super::Tensor;
use crate::backend::cpu::{Cpu, Isa};

/// All instructions that this machine has, each with one and with two threads.
pub fn cpus() -> Vec<Cpu> {
    let usable = Isa::ALL.into_iter().filter(|isa| isa.usable().is_ok());
    usable
        .flat_map(|isa| [1, 2].map(|num_threads| Cpu::with_isa(num_threads, isa).unwrap()))
        .collect()
}

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// `n` values in `-bound..bound`.
    pub fn floats(&mut self, n: usize, bound: f32) -> Vec<f32> {
        (0..n)
            .map(|_| ((self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * bound)
            .collect()
    }
}

pub fn tensor(data: &[f32], shape: (usize, usize)) -> Tensor {
    Tensor::from_slice(data, shape).unwrap()
}

pub fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.to_vec().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// A buffer with a margin on both sides of a view.
pub struct Buffer(candle_core::Tensor);

const MARGIN: usize = 7;
const FILL: f32 = -123.0;

/// A tensor holding `data` as a view into the middle of a bigger buffer.
pub fn view(data: &[f32], (rows, columns): (usize, usize)) -> (Buffer, Tensor) {
    let mut all = vec![FILL; MARGIN];
    all.extend_from_slice(data);
    all.extend([FILL; MARGIN]);
    let buffer =
        candle_core::Tensor::from_slice(&all, all.len(), &candle_core::Device::Cpu).unwrap();
    let view = buffer
        .narrow(0, MARGIN, data.len())
        .unwrap()
        .reshape((rows, columns))
        .unwrap();
    (Buffer(buffer), view.into())
}

impl Buffer {
    pub fn assert_margins_untouched(&self) {
        let all = self.0.to_vec1::<f32>().unwrap();
        assert_eq!(all[..MARGIN], [FILL; MARGIN]);
        assert_eq!(all[all.len() - MARGIN..], [FILL; MARGIN]);
    }
}
