//! One layer of a student.

use std::sync::Arc;

use candle_core::Tensor;

use super::ops::{CausalSoftmax, Linear, RmsNorm, Rope, SwiGlu};
use super::params::{Params, Reader};
use crate::model::{ModelConfig, ModelError};
use crate::ops::RopeTable;

/// `y = W x + b`.
struct Projection {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// One decoder layer.
pub(super) struct Layer {
    attn_norm: Tensor,
    q: Projection,
    k: Projection,
    v: Projection,
    qk_norm: Option<[Tensor; 2]>,
    o: Projection,
    ffn_norm: Tensor,
    gate: Projection,
    up: Projection,
    down: Projection,
}

impl Layer {
    /// The teacher's layer `from` as the student's layer `to`.
    pub fn read(
        reader: &Reader<'_>,
        params: &mut Params,
        from: usize,
        to: usize,
    ) -> Result<Self, ModelError> {
        let config = reader.config;
        let (hidden, inner, head) = (
            config.hidden_size,
            config.intermediate_size,
            config.head_dim,
        );
        let (q_size, kv_size) = (config.num_heads * head, config.num_kv_heads * head);
        let mut add = |part: &str, dims: &[usize]| {
            let values = reader.tensor(&format!("blk.{from}.{part}"), dims)?;
            Ok::<_, ModelError>(params.add(format!("blk.{to}.{part}"), values)?)
        };
        let qk_norm = match config.has_qk_norm {
            false => None,
            true => Some([
                add("attn_q_norm.weight", &[head])?,
                add("attn_k_norm.weight", &[head])?,
            ]),
        };
        let attn_norm = add("attn_norm.weight", &[hidden])?;
        let ffn_norm = add("ffn_norm.weight", &[hidden])?;
        let mut projection = |part: &str, rows: usize, cols: usize| {
            let bias = format!("{part}.bias");
            let has_bias = reader.source.has_tensor(&format!("blk.{from}.{bias}"));
            Ok::<_, ModelError>(Projection {
                weight: add(&format!("{part}.weight"), &[rows, cols])?,
                bias: has_bias.then(|| add(&bias, &[rows])).transpose()?,
            })
        };
        Ok(Self {
            attn_norm,
            q: projection("attn_q", q_size, hidden)?,
            k: projection("attn_k", kv_size, hidden)?,
            v: projection("attn_v", kv_size, hidden)?,
            qk_norm,
            o: projection("attn_output", hidden, q_size)?,
            ffn_norm,
            gate: projection("ffn_gate", inner, hidden)?,
            up: projection("ffn_up", inner, hidden)?,
            down: projection("ffn_down", hidden, inner)?,
        })
    }

    /// `[T, H]` to `[T, H]`, of sequences of `len` rows.
    pub fn forward(
        &self,
        hidden: &Tensor,
        config: &ModelConfig,
        rope: &Arc<RopeTable>,
        len: usize,
    ) -> candle_core::Result<Tensor> {
        let normed = norm(hidden, &self.attn_norm, config)?;
        let heads = |projection: &Projection, norm_idx: Option<usize>| {
            let mut rows = projection.forward(&normed)?;
            let (num_rows, width) = rows.dims2()?;
            let Some(i) = norm_idx else { return Ok(rows) };
            if let Some(weights) = &self.qk_norm {
                let heads = rows.reshape(((), config.head_dim))?;
                rows = norm(&heads, &weights[i], config)?.reshape((num_rows, width))?;
            }
            let rope = Rope {
                table: Arc::clone(rope),
                sequence_length: len,
            };
            rows.apply_op1(rope)
        };
        let (q, k, v) = (
            heads(&self.q, Some(0))?,
            heads(&self.k, Some(1))?,
            heads(&self.v, None)?,
        );
        let attended = attention(&q, &k, &v, config, len)?;
        let hidden = (hidden + self.o.forward(&attended)?)?;
        let normed = norm(&hidden, &self.ffn_norm, config)?;
        let (gate, up) = (self.gate.forward(&normed)?, self.up.forward(&normed)?);
        hidden + self.down.forward(&gate.apply_op2(&up, SwiGlu)?)?
    }
}

impl Projection {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = x.apply_op2(&self.weight, Linear)?;
        match &self.bias {
            None => Ok(y),
            Some(bias) => y.broadcast_add(bias),
        }
    }
}

pub(super) fn norm(
    x: &Tensor,
    weight: &Tensor,
    config: &ModelConfig,
) -> candle_core::Result<Tensor> {
    let eps = config.rms_norm_eps;
    x.apply_op2(weight, RmsNorm { eps })
}

/// The query heads of one key and value head lie below each other, so that they are one product with its keys, and one with its values.
fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    config: &ModelConfig,
    len: usize,
) -> candle_core::Result<Tensor> {
    let (num_rows, width) = q.dims2()?;
    let (head, kv_heads) = (config.head_dim, config.num_kv_heads);
    let (batch, group) = (num_rows / len, config.num_heads / kv_heads);
    let q = q
        .reshape((batch, len, kv_heads, group, head))?
        .permute((0, 2, 3, 1, 4))?
        .contiguous()?
        .reshape((batch * kv_heads, group * len, head))?;
    let of_keys = |x: &Tensor| {
        x.reshape((batch, len, kv_heads, head))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((batch * kv_heads, len, head))
    };
    let softmax = CausalSoftmax {
        scale: config.attention_scale,
        sequence_length: len,
    };
    let weights = q.matmul(&of_keys(k)?.t()?)?.apply_op1(softmax)?;
    weights
        .matmul(&of_keys(v)?)?
        .reshape((batch, kv_heads, group, len, head))?
        .permute((0, 3, 1, 2, 4))?
        .contiguous()?
        .reshape((num_rows, width))
}
