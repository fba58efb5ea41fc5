//! Weights repacked for the kernels.

use candle_core::{DType, Result, bail};
use half::{bf16, f16};

use super::blocks::{self, Decoded};
use super::card::CardWeight;
use super::matrix::{Matrix, PanelMatrix};
use super::panel::{BlockPanel, Column, Float, Fp8Step, Step};
use super::quants::{Bytes, E2M1, FiveBits, Iq4NlTable, Levels, Nibbles, SixBits};
use super::scales::{
    PowerOfTwo, Scale, ScaleMin, ScaleMinOf16, ScaleMinOf32, ScaleOf16, ScaleZero,
};
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{Blas, Cuda};

/// How the elements of a weight are encoded: by ggml's names, and two of safetensors files, where blocks of 32 are made of what
/// stands apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "ggml's names")]
pub enum WeightFormat {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Iq4Nl,
    Mxfp4,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Xs,
    Tq1_0,
    Tq2_0,
    /// `d:f16 z:u8 qs:[u8;16]`, `x = d (q - z)`, nibbles as in Q4_0, `z` in 0..=16 (AWQ, GPTQ).
    Int4,
    /// `scale:f32 values:[u8;32]`, floats with 4 bits of exponent and 3 of mantissa (E4M3).
    Fp8,
}

impl WeightFormat {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Iq4Nl,
        Self::Mxfp4,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Xs,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::Int4,
        Self::Fp8,
    ];

    /// Bytes that the kernels keep of a matrix `[out_features, in_features]`.
    pub fn packed_bytes(self, out_features: usize, in_features: usize) -> usize {
        let (values, bytes) = match self {
            Self::F32 => (1, size_of::<Column<f32>>()),
            Self::F16 => (1, size_of::<Column<f16>>()),
            Self::BF16 => (1, size_of::<Column<bf16>>()),
            Self::Q4_0 => (32, size_of::<Q4_0>()),
            Self::Q4_1 => (32, size_of::<Q4_1>()),
            Self::Q5_0 => (32, size_of::<Q5_0>()),
            Self::Q5_1 => (32, size_of::<Q5_1>()),
            Self::Q8_0 => (32, size_of::<Q8_0>()),
            Self::Iq4Nl => (32, size_of::<Iq4Nl>()),
            Self::Mxfp4 => (32, size_of::<Mxfp4>()),
            Self::Int4 => (32, size_of::<Int4>()),
            Self::Fp8 => (32, size_of::<Fp8Step>()),
            Self::Q2K => (256, size_of::<Q2K>()),
            Self::Q3K => (256, size_of::<Q3K>()),
            Self::Q4K => (256, size_of::<Q4K>()),
            Self::Q5K => (256, size_of::<Q5K>()),
            Self::Q6K => (256, size_of::<Q6K>()),
            Self::Iq4Xs => (256, size_of::<Iq4Xs>()),
            Self::Tq1_0 | Self::Tq2_0 => (256, size_of::<Ternary>()),
        };
        out_features.div_ceil(16) * (in_features / values) * bytes
    }
}

type Q4_0 = Step<Nibbles<8>, Scale, 1>;
type Q4_1 = Step<Nibbles<0>, ScaleMin, 1>;
type Q5_0 = Step<FiveBits<16>, Scale, 1>;
type Q5_1 = Step<FiveBits<0>, ScaleMin, 1>;
type Q8_0 = Step<Bytes, Scale, 1>;
type Iq4Nl = Step<Levels<Iq4NlTable>, Scale, 1>;
type Mxfp4 = Step<Levels<E2M1>, PowerOfTwo, 1>;
type Int4 = Step<Nibbles<0>, ScaleZero, 1>;
type Q2K = Step<Nibbles<0>, ScaleMinOf16, 8>;
type Q3K = Step<Nibbles<4>, ScaleOf16, 8>;
type Q4K = Step<Nibbles<0>, ScaleMinOf32, 8>;
type Q5K = Step<FiveBits<0>, ScaleMinOf32, 8>;
type Q6K = Step<SixBits, ScaleOf16, 8>;
type Iq4Xs = Step<Levels<Iq4NlTable>, ScaleOf16, 8>;
type Ternary = Step<Nibbles<1>, ScaleOf16, 8>;

/// A weight matrix `[out_features, in_features]` in the layout that [`matmul`](super::matmul) reads.
pub struct PackedWeight {
    out_features: usize,
    in_features: usize,
    packed: Packed,
}

enum Packed {
    Panels(Box<dyn Matrix>),
    OnCard(CardWeight),
}

/// The shape of a matrix that stands row by row in a file.
struct Source<'a> {
    out_features: usize,
    in_features: usize,
    cpu: &'a Cpu,
}

impl PackedWeight {
    /// Repacks a matrix that is encoded row by row.
    ///
    /// # Errors
    /// If a dimension is zero, a row is no whole number of the format's blocks, or `data` does not have exactly the
    /// shape's bytes.
    pub fn new(
        format: WeightFormat,
        out_features: usize,
        in_features: usize,
        data: &[u8],
        cpu: &Cpu,
    ) -> Result<Self> {
        let source = Source {
            out_features,
            in_features,
            cpu,
        };
        let matrix = match format {
            WeightFormat::F32 => source.float_bytes(data, f32::from_le_bytes),
            WeightFormat::F16 => source.float_bytes(data, f16::from_le_bytes),
            WeightFormat::BF16 => source.float_bytes(data, bf16::from_le_bytes),
            WeightFormat::Q4_0 => source.blocks::<Q4_0, _, _>(data, blocks::q4_0),
            WeightFormat::Q4_1 => source.blocks::<Q4_1, _, _>(data, blocks::q4_1),
            WeightFormat::Q5_0 => source.blocks::<Q5_0, _, _>(data, blocks::q5_0),
            WeightFormat::Q5_1 => source.blocks::<Q5_1, _, _>(data, blocks::q5_1),
            WeightFormat::Q8_0 => source.blocks::<Q8_0, _, _>(data, blocks::q8_0),
            WeightFormat::Iq4Nl => source.blocks::<Iq4Nl, _, _>(data, blocks::iq4_nl),
            WeightFormat::Mxfp4 => source.blocks::<Mxfp4, _, _>(data, blocks::mxfp4),
            WeightFormat::Int4 => source.blocks::<Int4, _, _>(data, blocks::int4),
            WeightFormat::Fp8 => source.fp8(data),
            WeightFormat::Q2K => source.blocks::<Q2K, _, _>(data, blocks::q2_k),
            WeightFormat::Q3K => source.blocks::<Q3K, _, _>(data, blocks::q3_k),
            WeightFormat::Q4K => source.blocks::<Q4K, _, _>(data, blocks::q4_k),
            WeightFormat::Q5K => source.blocks::<Q5K, _, _>(data, blocks::q5_k),
            WeightFormat::Q6K => source.blocks::<Q6K, _, _>(data, blocks::q6_k),
            WeightFormat::Iq4Xs => source.blocks::<Iq4Xs, _, _>(data, blocks::iq4_xs),
            WeightFormat::Tq1_0 => source.blocks::<Ternary, _, _>(data, blocks::tq1_0),
            WeightFormat::Tq2_0 => source.blocks::<Ternary, _, _>(data, blocks::tq2_0),
        };
        Ok(Self {
            out_features,
            in_features,
            packed: Packed::Panels(matrix?),
        })
    }

    /// Repacks f32 values, row by row.
    ///
    /// # Errors
    /// As [`PackedWeight::new`].
    pub fn from_f32(
        out_features: usize,
        in_features: usize,
        values: &[f32],
        cpu: &Cpu,
    ) -> Result<Self> {
        let source = Source {
            out_features,
            in_features,
            cpu,
        };
        Ok(Self {
            out_features,
            in_features,
            packed: Packed::Panels(source.floats(values, |x| x)?),
        })
    }

    /// Cuts a matrix that is encoded row by row into tiles in a card's memory, for activations of the type `half` (F16 or BF16). With `blas`,
    /// one of floats stays row by row and is multiplied by it: then a row's bits may depend on how many rows there are.
    ///
    /// # Errors
    /// As [`PackedWeight::new`], or if the format has no kernels for `half`, or the card no room.
    pub fn on_card_of(
        format: WeightFormat,
        out_features: usize,
        in_features: usize,
        data: &[u8],
        half: DType,
        devices: (&Cpu, &Cuda),
        blas: Option<&Blas>,
    ) -> Result<Self> {
        let shape = (out_features, in_features);
        let card = CardWeight::new(format, shape, data, half, devices, blas)?;
        Ok(Self {
            out_features,
            in_features,
            packed: Packed::OnCard(card),
        })
    }

    /// N, the number of rows.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// K, the length of a row.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Memory held by the packed values, in bytes.
    pub fn num_bytes(&self) -> usize {
        match &self.packed {
            Packed::Panels(matrix) => matrix.num_bytes(),
            Packed::OnCard(weight) => weight.num_bytes(),
        }
    }

    /// Writes the f32 values of row `out_idx` to `out`, `[in_features]`.
    ///
    /// # Errors
    /// If `out_idx` is not below `out_features` or `out` has another length.
    pub fn dequantise_row(&self, out_idx: usize, out: &mut [f32]) -> Result<()> {
        if out_idx >= self.out_features {
            bail!(
                "dequantise_row: out_idx is {out_idx}, but the weight has {} rows",
                self.out_features
            );
        }
        if out.len() != self.in_features {
            bail!(
                "dequantise_row: out must have {} values (in_features), has {}",
                self.in_features,
                out.len()
            );
        }
        self.matrix("dequantise_row: weight")?
            .read_row(out_idx, out);
        Ok(())
    }

    /// [`PackedWeight::dequantise_row`] of several rows, checked before: a function of a row and where its values go.
    ///
    /// # Errors
    /// If a card has the weight, naming `what`.
    pub(in crate::ops) fn row_reader(
        &self,
        what: &str,
    ) -> Result<impl Fn(usize, &mut [f32]) + Sync> {
        let matrix = self.matrix(what)?;
        Ok(move |row: usize, out: &mut [f32]| matrix.read_row(row, out))
    }

    /// The panels; fails, naming `what`, where a card has it.
    pub(super) fn matrix(&self, what: &str) -> Result<&dyn Matrix> {
        match &self.packed {
            Packed::Panels(matrix) => Ok(&**matrix),
            Packed::OnCard(_) => bail!("{what}: must be in the host's memory"),
        }
    }

    /// The panels of a weight that was found to have them.
    pub(super) fn panels(&self) -> &dyn Matrix {
        self.matrix("matmul: weight")
            .expect("checked before: this is a bug")
    }

    /// Whether its panels meet quantised activations.
    pub(super) fn is_quantised(&self) -> bool {
        self.panels().is_quantised()
    }

    /// As a card has it; fails, naming `what`, where none does.
    pub(in crate::ops) fn on_card(&self, what: &str) -> Result<&CardWeight> {
        match &self.packed {
            Packed::Panels(_) => bail!("{what}: must be in a card's memory"),
            Packed::OnCard(weight) => Ok(weight),
        }
    }
}

impl Source<'_> {
    fn floats<E: Copy + Sync, T: Float>(
        &self,
        data: &[E],
        decode: fn(E) -> T,
    ) -> Result<Box<dyn Matrix>> {
        self.check(data.len(), 1, 1)?;
        let width = self.in_features;
        Ok(Box::new(PanelMatrix::new(
            self.out_features,
            width,
            self.cpu,
            &|column: &mut Column<T>, output, row, k| {
                column.0[output] = decode(data[row * width + k]);
            },
        )?))
    }

    fn float_bytes<T: Float, const BYTES: usize>(
        &self,
        data: &[u8],
        decode: fn([u8; BYTES]) -> T,
    ) -> Result<Box<dyn Matrix>> {
        self.check(data.len(), 1, BYTES)?;
        self.floats(data.as_chunks().0, decode)
    }

    fn blocks<P: BlockPanel<N>, const BYTES: usize, const N: usize>(
        &self,
        data: &[u8],
        decode: fn(&[u8; BYTES]) -> Decoded<N>,
    ) -> Result<Box<dyn Matrix>> {
        self.check(data.len(), 32 * N, BYTES)?;
        let blocks = data.as_chunks::<BYTES>().0;
        let blocks_per_row = self.in_features / (32 * N);
        Ok(Box::new(PanelMatrix::new(
            self.out_features,
            self.in_features,
            self.cpu,
            &|step: &mut P, output, row, b| {
                step.set(output, &decode(&blocks[row * blocks_per_row + b]));
            },
        )?))
    }

    fn fp8(&self, data: &[u8]) -> Result<Box<dyn Matrix>> {
        self.check(data.len(), 32, 36)?;
        let blocks = data.as_chunks::<36>().0;
        let blocks_per_row = self.in_features / 32;
        Ok(Box::new(PanelMatrix::new(
            self.out_features,
            self.in_features,
            self.cpu,
            &|step: &mut Fp8Step, output, row, b| {
                step.set(output, &blocks[row * blocks_per_row + b]);
            },
        )?))
    }

    /// Fails unless data of `len` elements is what the shape has, in blocks of `values` values and `block_len` elements.
    fn check(&self, len: usize, values: usize, block_len: usize) -> Result<()> {
        let (rows, width) = (self.out_features, self.in_features);
        if rows == 0 || width == 0 {
            bail!("weight: [{rows}, {width}] has a dimension of zero");
        }
        if !width.is_multiple_of(values) {
            bail!("weight: in_features must be a multiple of {values}, is {width}");
        }
        let want = rows
            .checked_mul(width / values)
            .and_then(|num| num.checked_mul(block_len));
        match want {
            Some(want) if want == len => Ok(()),
            Some(want) => {
                bail!("weight [{rows}, {width}]: data must have length {want}, has {len}")
            }
            None => bail!("weight: [{rows}, {width}] is too large"),
        }
    }
}
