//! Routed experts on a card: `kernels/experts.cu`, and `kernels/linear.cu` in between. Which rows meet which expert never leaves it.

use candle_core::{Result, bail};

use crate::backend::Device;
use crate::backend::cuda::{Cuda, Slice};
use crate::ops::linear::{CardTiles, RowTiles, TILE_ROWS};
use crate::ops::tensor::CudaTensor;
use crate::ops::view::{expect_dims, rows_and_columns};
use crate::ops::{PackedWeight, Slots, Tensor, Vector};

/// Experts, and those of a row, at most.
const MAX_EXPERTS: usize = 512;
const MAX_TOP_K: usize = 32;

/// A projection of all experts: weights `[E, N, K]`, biases `[E, N]`.
pub struct ExpertStack {
    weight: CardTiles,
    bias: Option<Vector>,
    num_experts: usize,
    out_features: usize,
    in_features: usize,
}

impl ExpertStack {
    /// From the experts' own, which are in tiles on the card; biases of all or none.
    ///
    /// # Errors
    /// If they are not of one shape and format, or the card has no room.
    pub fn new(parts: &[(PackedWeight, Option<Vector>)], device: &Device) -> Result<Self> {
        let what = "experts: weight";
        let tiles = (parts.iter()).map(|(weight, _)| weight.on_card(what)?.tiles(what));
        let weight = CardTiles::stack(&tiles.collect::<Result<Vec<_>>>()?)?;
        let shape = |weight: &PackedWeight| (weight.out_features(), weight.in_features());
        let (out_features, in_features) = shape(&parts[0].0);
        if parts
            .iter()
            .any(|part| shape(&part.0) != (out_features, in_features))
        {
            bail!("experts: weights must have one shape");
        }
        let biases: Vec<&Vector> = parts.iter().filter_map(|part| part.1.as_ref()).collect();
        let bias = match biases.len() {
            0 => None,
            len if len == parts.len() => {
                let values = biases.iter().flat_map(|bias| bias.iter().copied());
                Some(Vector::new(values.collect(), device)?)
            }
            len => bail!("experts: {len} of {} have a bias", parts.len()),
        };
        Ok(Self {
            weight,
            bias,
            num_experts: parts.len(),
            out_features,
            in_features,
        })
    }

    /// Bytes of the weights.
    pub fn num_bytes(&self) -> usize {
        self.weight.num_bytes()
    }
}

/// Where a card keeps which rows go to which expert.
pub struct CardRouting {
    num_experts: usize,
    top_k: usize,
    max_rows: usize,
    /// `[T, k]` each: experts and what they weigh.
    experts: Slice,
    weights: Slice,
    /// `[T k]`: the rows of the pairs, by expert; and where a row's pairs are.
    rows: Slice,
    places: Slice,
    /// Of pairs, one of an expert alone each.
    tiles: Slice,
}

/// The rows of a step, routed.
pub struct CardRouted<'a> {
    routing: &'a CardRouting,
    num_rows: usize,
    tile_rows: usize,
    num_tiles: usize,
}

impl CardRouting {
    /// For up to `max_rows` rows, of which each goes to `top_k` of `num_experts` experts.
    ///
    /// # Errors
    /// If there are more than the kernels know, or the card has no room.
    pub fn new(cuda: &Cuda, max_rows: usize, num_experts: usize, top_k: usize) -> Result<Self> {
        if let Some(obstacle) = check_experts_for_card(num_experts, top_k) {
            bail!("{obstacle}");
        }
        let num_pairs = max_rows * top_k;
        let words = |len: usize| cuda.alloc(4 * len);
        Ok(Self {
            num_experts,
            top_k,
            max_rows,
            experts: words(num_pairs)?,
            weights: words(num_pairs)?,
            rows: words(num_pairs)?,
            places: words(num_pairs)?,
            // A pair each, at most.
            tiles: words(3 * num_pairs)?,
        })
    }

    /// As [`Routing::new`](super::Routing::new), of logits in the card's memory. Rows whose slot is [`Slots::NOBODY`] go where the first
    /// goes, so that no expert is met for them alone.
    ///
    /// # Errors
    /// If the shapes do not match, or the card fails.
    pub fn route(
        &self,
        logits: &Tensor,
        slots: Option<&Slots<'_>>,
        is_normalised: bool,
    ) -> Result<CardRouted<'_>> {
        let (num_rows, num_experts) = rows_and_columns("routing: logits", logits)?;
        let Tensor::Cuda(logits) = logits else {
            bail!("routing: logits must be in the card's memory");
        };
        logits.expect_f32("routing: logits")?;
        if num_experts != self.num_experts || num_rows > self.max_rows {
            bail!(
                "routing: logits of {num_rows} rows and {num_experts} experts; there is room for {} and {}",
                self.max_rows,
                self.num_experts
            );
        }
        let (cuda, num_pairs) = (logits.card(), num_rows * self.top_k);
        (cuda.kernel("experts", "route", [num_rows.div_ceil(4), 1, 1], 128))
            .slice(&self.experts)
            .slice(&self.weights)
            .slice(&logits.slice)
            .opt_slice(
                slots
                    .map(|slots| slots.slice("routing: slots"))
                    .transpose()?,
            )
            .int(num_rows)
            .int(num_experts)
            .int(self.top_k)
            .int(usize::from(is_normalised))
            .int(usize::from(slots.is_some()))
            .run()?;
        // As large as most experts fill: the results are the same.
        let mean = num_pairs / num_experts;
        let larger = TILE_ROWS.iter().rev().find(|&&rows| rows <= mean * 2);
        let tile_rows = *larger.unwrap_or(&TILE_ROWS[0]);
        let num_tiles = num_pairs.min(num_pairs / tile_rows + num_experts);
        (cuda.kernel("experts", "sort_pairs", [num_experts, 1, 1], 256))
            .slice(&self.rows)
            .slice(&self.places)
            .slice(&self.tiles)
            .slice(&self.experts)
            .int(num_pairs)
            .int(self.top_k)
            .int(num_experts)
            .int(tile_rows)
            .int(num_tiles)
            .run()?;
        Ok(CardRouted {
            routing: self,
            num_rows,
            tile_rows,
            num_tiles,
        })
    }
}

/// Why cards cannot route rows to `top_k` of `num_experts`; `None` if they can.
pub fn check_experts_for_card(num_experts: usize, top_k: usize) -> Option<String> {
    let fits = (1..=MAX_EXPERTS).contains(&num_experts) && (1..=MAX_TOP_K).contains(&top_k);
    (!fits || top_k > num_experts).then(|| {
        format!(
            "{top_k} of {num_experts} experts: cards compute up to {MAX_TOP_K} of {MAX_EXPERTS}; use --device cpu"
        )
    })
}

impl CardRouted<'_> {
    fn num_pairs(&self) -> usize {
        self.num_rows * self.routing.top_k
    }

    /// `out[pair] = x[row of the pair]`: out `[T k, H]`, x `[T, H]`, both of 16 bits.
    ///
    /// # Errors
    /// If a shape does not fit, or the card fails.
    pub fn gather(&self, out: &Tensor, x: &Tensor) -> Result<()> {
        let (_, width) = rows_and_columns("experts: x", x)?;
        expect_dims("experts: x", x, &[self.num_rows, width])?;
        expect_dims("experts: out", out, &[self.num_pairs(), width])?;
        let (out, x) = on_card(out, x)?;
        if !width.is_multiple_of(8) {
            bail!("experts: on a card rows must have a multiple of 8 columns, not {width}");
        }
        let name = format!("gather_pairs_{}", x.half_name("experts: x")?);
        (out.card())
            .kernel("experts", name, [self.num_pairs(), 1, 1], 256)
            .slice(&out.slice)
            .slice(&x.slice)
            .slice(&self.routing.rows)
            .int(width)
            .run()?;
        Ok(())
    }

    /// As [`matmul`](crate::ops::matmul) of each pair with the weights of its expert: out `[T k, ΣN]`, x `[T k, K]`, both of 16 bits.
    ///
    /// # Errors
    /// If a shape does not fit, or the card fails.
    pub fn matmul(&self, out: &Tensor, x: &Tensor, parts: &[ExpertStack]) -> Result<()> {
        let out_width: usize = parts.iter().map(|part| part.out_features).sum();
        expect_dims("experts: out", out, &[self.num_pairs(), out_width])?;
        let tiles = RowTiles {
            tiles: &self.routing.tiles,
            num_tiles: self.num_tiles,
            num_rows: self.tile_rows,
        };
        let mut column = 0;
        for part in parts {
            let &ExpertStack {
                num_experts,
                out_features: n,
                in_features: k,
                ..
            } = part;
            expect_dims("experts: x", x, &[self.num_pairs(), k])?;
            if num_experts != self.routing.num_experts {
                bail!(
                    "experts: weights of {num_experts}, rows for {}",
                    self.routing.num_experts
                );
            }
            let (out, x) = on_card(out, x)?;
            let bias = part.bias.as_ref().map(|bias| bias.slice("experts: bias"));
            let shape = (self.num_pairs(), k);
            let columns = (n, out_width, column);
            (part.weight).multiply(out, x, shape, columns, bias.transpose()?, Some(tiles))?;
            column += n;
        }
        Ok(())
    }

    /// As [`combine_experts`](super::combine_experts): out `[T, H]`, x `[T k, H]`, both of 16 bits.
    ///
    /// # Errors
    /// If a shape does not fit, or the card fails.
    pub fn combine(&self, out: &Tensor, x: &Tensor) -> Result<()> {
        let (_, width) = rows_and_columns("combine_experts: out", out)?;
        expect_dims("combine_experts: out", out, &[self.num_rows, width])?;
        expect_dims("combine_experts: x", x, &[self.num_pairs(), width])?;
        let (out, x) = on_card(out, x)?;
        if !width.is_multiple_of(8) {
            bail!("combine_experts: on a card rows must have a multiple of 8 columns, not {width}");
        }
        let name = format!("combine_experts_{}", x.half_name("combine_experts: x")?);
        (out.card())
            .kernel("experts", name, [self.num_rows, 1, 1], 256)
            .slice(&out.slice)
            .slice(&x.slice)
            .slice(&self.routing.places)
            .slice(&self.routing.weights)
            .int(self.routing.top_k)
            .int(width)
            .run()?;
        Ok(())
    }
}

/// Both as tensors of one card and type.
fn on_card<'a>(out: &'a Tensor, x: &'a Tensor) -> Result<(&'a CudaTensor, &'a CudaTensor)> {
    let Tensor::Cuda(out) = out else {
        bail!("experts: out must be in the card's memory");
    };
    let x = x.cuda("experts: x", out)?;
    out.expect_same("experts: out", x)?;
    Ok((out, x))
}
