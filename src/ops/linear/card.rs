//! Weights in a card's memory, and products with them: by `kernels/linear.cu`, or by cuBLAS.

use candle_core::{DType, Result, bail};
use half::{bf16, f16};

use super::plain::PlainWeight;
use super::{LinearPart, TileFormat, TiledWeight, WeightFormat};
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{Blas, Cuda, Slice};
use crate::ops::tensor::CudaTensor;

/// A weight as what multiplies it reads it.
pub(in crate::ops) enum CardWeight {
    /// For our kernels.
    Tiled(CardTiles),
    /// For cuBLAS.
    Plain(PlainWeight),
}

/// A weight in tiles.
pub(in crate::ops) struct CardTiles {
    pub(in crate::ops) format: TileFormat,
    pub(in crate::ops) codes: Slice,
    pub(in crate::ops) scales: Slice,
}

impl CardWeight {
    /// For activations of the type `half`, F16 or BF16. With `blas`, floats are plain.
    pub(super) fn new(
        format: WeightFormat,
        (out_features, in_features): (usize, usize),
        data: &[u8],
        half: DType,
        (cpu, cuda): (&Cpu, &Cuda),
        blas: Option<&Blas>,
    ) -> Result<Self> {
        let converted = converted(format, data, half)?;
        let (format, data) = match &converted {
            Some((format, data)) => (*format, &data[..]),
            None => (format, data),
        };
        if let (Some(blas), WeightFormat::F16 | WeightFormat::BF16) = (blas, format) {
            let plain = PlainWeight::new((out_features, in_features), data, half, blas)?;
            return Ok(Self::Plain(plain));
        }
        let tiled = TiledWeight::new(format, out_features, in_features, data, cpu)?;
        Ok(Self::Tiled(CardTiles {
            format: tiled.format,
            codes: cuda.upload(&tiled.codes)?,
            scales: cuda.upload(&tiled.scales)?,
        }))
    }

    pub(super) fn num_bytes(&self) -> usize {
        match self {
            Self::Tiled(tiles) => tiles.num_bytes(),
            Self::Plain(plain) => plain.num_bytes(),
        }
    }

    /// Fails, naming `what`, unless it is in tiles.
    pub(in crate::ops) fn tiles(&self, what: &str) -> Result<&CardTiles> {
        match self {
            Self::Tiled(tiles) => Ok(tiles),
            Self::Plain(_) => bail!("{what}: must be in tiles"),
        }
    }
}

impl CardTiles {
    pub(in crate::ops) fn num_bytes(&self) -> usize {
        self.codes.num_bytes() + self.scales.num_bytes()
    }

    /// Fails unless its kernels are for activations like `x`.
    pub(in crate::ops) fn expect_half(&self, what: &str, half: &str) -> Result<()> {
        let own = if self.format.name == "f16" {
            "f16"
        } else {
            "bf16"
        };
        match own == half {
            true => Ok(()),
            false => bail!("{what}: the weight is for {own}, not for {half}"),
        }
    }
}

/// Floats as the activations are; `None` where they are so, or are quantised.
fn converted(
    format: WeightFormat,
    data: &[u8],
    half: DType,
) -> Result<Option<(WeightFormat, Vec<u8>)>> {
    let is_f16 = match half {
        DType::F16 => true,
        DType::BF16 => false,
        _ => bail!("weight: activations are F16 or BF16, not {half:?}"),
    };
    let target = if is_f16 {
        WeightFormat::F16
    } else {
        WeightFormat::BF16
    };
    let values: Vec<f32> = match format {
        _ if format == target => return Ok(None),
        WeightFormat::F32 => floats(data, f32::from_le_bytes),
        WeightFormat::F16 => floats(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        WeightFormat::BF16 => floats(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ if is_f16 => bail!("weight: {format:?} has no kernels for F16"),
        _ => return Ok(None),
    };
    let bytes = values.iter().flat_map(|x| match is_f16 {
        true => f16::from_f32(*x).to_le_bytes(),
        false => bf16::from_f32(*x).to_le_bytes(),
    });
    Ok(Some((target, bytes.collect())))
}

fn floats<const N: usize>(data: &[u8], decode: fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks().0.iter().map(|one| decode(*one)).collect()
}

/// Rows and outputs of a block, its dynamic shared memory, and how the kernel's name ends. All give the same bits.
pub(super) const SIZES: [(usize, usize, usize, &str); 3] = [
    (8, 16, 0, "8"),
    (32, 16, 0, "32"),
    (128, 128, 3 * 128 * 144, "many"),
];

/// Which rows meet which of several weights: `RowTile`s in the card's memory, some of them empty.
#[derive(Clone, Copy)]
pub(in crate::ops) struct RowTiles<'a> {
    pub tiles: &'a Slice,
    pub num_tiles: usize,
    /// Rows of a tile, at most: one of [`TILE_ROWS`].
    pub num_rows: usize,
}

/// The rows that tiles may have.
pub(in crate::ops) const TILE_ROWS: [usize; 3] = [SIZES[0].0, SIZES[1].0, SIZES[2].0];

/// [`matmul`](super::matmul) on a card: x of 16 bits, out alike or f32.
pub(super) fn cuda_fwd(
    out: &CudaTensor,
    x: &CudaTensor,
    (num_rows, width, out_width): (usize, usize, usize),
    parts: &[LinearPart<'_>],
) -> Result<()> {
    let mut column = 0;
    for LinearPart { weight, bias } in parts {
        let bias = bias.map(|bias| bias.slice("matmul: bias")).transpose()?;
        let n = weight.out_features();
        let (shape, columns) = ((num_rows, width), (n, out_width, column));
        match weight.on_card("matmul: weight")? {
            CardWeight::Tiled(tiles) => tiles.multiply(out, x, shape, columns, bias, None)?,
            CardWeight::Plain(plain) => plain.multiply(out, x, shape, columns, bias)?,
        }
        column += n;
    }
    Ok(())
}

/// A launch of a product's kernel.
pub(super) struct Launch<'a> {
    pub name: String,
    pub grid: [usize; 3],
    pub shared: usize,
    /// x, codes and scales; none where there are no inputs.
    pub operands: [Option<&'a Slice>; 3],
    pub bias: Option<&'a Slice>,
    pub row_tiles: Option<&'a Slice>,
}

impl Launch<'_> {
    /// Writes to n columns of out, from `column` on.
    pub(super) fn run(
        self,
        out: &CudaTensor,
        (num_rows, width): (usize, usize),
        (n, out_width, column): (usize, usize, usize),
    ) -> Result<()> {
        let is_float = out.dtype == DType::F32;
        let (halves, floats) = match is_float {
            true => (None, Some(&out.slice)),
            false => (Some(&out.slice), None),
        };
        let params = [
            n,
            width,
            out_width,
            column,
            usize::from(self.bias.is_some()),
            usize::from(is_float),
            if self.row_tiles.is_some() {
                0
            } else {
                num_rows
            },
        ];
        let [x, codes, scales] = self.operands;
        out.card()
            .kernel("linear", self.name, self.grid, 256)
            .shared(self.shared)
            .opt_slice(halves)
            .opt_slice(floats)
            .opt_slice(x)
            .opt_slice(codes)
            .opt_slice(scales)
            .opt_slice(self.bias)
            .opt_slice(self.row_tiles)
            .fields(&params, &[])
            .run()?;
        Ok(())
    }
}

impl CardTiles {
    /// Writes what x gives to n columns of out, of `out_width`, from `column` on. With row tiles it is several weights, one after the other,
    /// and bias as many.
    pub(in crate::ops) fn multiply(
        &self,
        out: &CudaTensor,
        x: &CudaTensor,
        (num_rows, width): (usize, usize),
        (n, out_width, column): (usize, usize, usize),
        bias: Option<&Slice>,
        row_tiles: Option<RowTiles<'_>>,
    ) -> Result<()> {
        let half = x.half_name("matmul: x")?;
        self.expect_half("matmul", half)?;
        if out.dtype != DType::F32 {
            out.expect_same("matmul: out", x)?;
        }
        if !width.is_multiple_of(8) {
            bail!("matmul: x must have a multiple of 8 columns on a card, has {width}");
        }
        let tile_rows = row_tiles.map_or(num_rows, |tiles| tiles.num_rows);
        let size = SIZES.iter().find(|(rows, ..)| tile_rows <= *rows);
        let (rows, outputs, shared, suffix) = *size.unwrap_or(&SIZES[2]);
        let num_tiles = row_tiles.map_or(num_rows.div_ceil(rows), |tiles| tiles.num_tiles);
        let launch = Launch {
            name: format!("linear_{}_{suffix}", self.format.name),
            grid: [num_tiles, n.div_ceil(outputs), 1],
            shared,
            operands: [&x.slice, &self.codes, &self.scales].map(Some),
            bias,
            row_tiles: row_tiles.map(|tiles| tiles.tiles),
        };
        launch.run(out, (num_rows, width), (n, out_width, column))
    }

    /// Several of one shape and format, one after the other.
    ///
    /// # Errors
    /// If there are none, they differ, or the card has no room.
    pub(in crate::ops) fn stack(weights: &[&Self]) -> Result<Self> {
        let Some(first) = weights.first() else {
            bail!("weights: there are none to stack");
        };
        let same = |one: &&&Self| {
            one.format.name == first.format.name
                && one.codes.num_bytes() == first.codes.num_bytes()
                && one.scales.num_bytes() == first.scales.num_bytes()
        };
        if !weights.iter().all(|one| same(&one)) {
            bail!("weights: those of all experts must have one format and one shape");
        }
        let joined = |part: fn(&Self) -> &Slice| {
            let len = part(first).num_bytes();
            let all = first.codes.cuda().alloc(len * weights.len())?;
            for (i, weight) in weights.iter().enumerate() {
                all.narrow(i * len, len)?.copy_from(part(weight))?;
            }
            Ok::<_, candle_core::Error>(all)
        };
        Ok(Self {
            format: first.format,
            codes: joined(|weight| &weight.codes)?,
            scales: joined(|weight| &weight.scales)?,
        })
    }
}
