//! The forward pass written plainly in float64, from the published definitions: no batching, no blocks, no tiles. Keys and
//! values are rounded to float16, the cache's type.

use half::f16;

use super::model::{Model, Pairs};

/// Logits after every token of `tokens`, `[len][V]`.
pub fn logits(model: &Model, tokens: &[u32]) -> Vec<Vec<f64>> {
    let spec = &model.spec;
    let mut hidden: Vec<Vec<f64>> = tokens
        .iter()
        .map(|&id| {
            values(model, "token_embd.weight")[id as usize * spec.hidden..][..spec.hidden].to_vec()
        })
        .collect();
    for layer in 0..spec.layers {
        let part = |name: &str| format!("blk.{layer}.{name}");
        let normed = norms(model, &hidden, &part("attn_norm.weight"));
        let attended = attention(model, layer, &normed);
        add(
            &mut hidden,
            &linears(model, &attended, &part("attn_output")),
        );

        let normed = norms(model, &hidden, &part("ffn_norm.weight"));
        let gate = linears(model, &normed, &part("ffn_gate"));
        let mut activated = linears(model, &normed, &part("ffn_up"));
        for (up, gate) in activated.iter_mut().flatten().zip(gate.iter().flatten()) {
            *up *= gate / (1.0 + (-gate).exp());
        }
        add(&mut hidden, &linears(model, &activated, &part("ffn_down")));
    }
    let normed = norms(model, &hidden, "output_norm.weight");
    let head = if spec.tied { "token_embd" } else { "output" };
    linears(model, &normed, head)
}

fn attention(model: &Model, layer: usize, normed: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (spec, head_dim) = (&model.spec, model.spec.head_dim());
    let project = |stem: &str| linears(model, normed, &format!("blk.{layer}.{stem}"));
    let (mut q, mut k, mut v) = (project("attn_q"), project("attn_k"), project("attn_v"));
    for (rows, name) in [(&mut q, "attn_q_norm"), (&mut k, "attn_k_norm")] {
        for (position, row) in rows.iter_mut().enumerate() {
            for head in row.chunks_exact_mut(head_dim) {
                if spec.qk_norm {
                    let weight = values(model, &format!("blk.{layer}.{name}.weight"));
                    head.copy_from_slice(&norm(head, weight, f64::from(spec.eps)));
                }
                turn(model, head, position);
            }
        }
    }
    for x in k.iter_mut().chain(&mut v).flatten() {
        *x = f16::from_f64(*x).to_f64();
    }
    let heads_per_kv = spec.heads / spec.kv_heads;
    let one_head = |position: usize, head: usize| -> Vec<f64> {
        let kv = head / heads_per_kv * head_dim..(head / heads_per_kv + 1) * head_dim;
        let query = &q[position][head * head_dim..][..head_dim];
        let scores: Vec<f64> = k[..=position]
            .iter()
            .map(|key| dot(query, &key[kv.clone()]) / (head_dim as f64).sqrt())
            .collect();
        let max = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        kv.map(|i| {
            let terms = weights
                .iter()
                .zip(&v)
                .map(|(weight, value)| weight * value[i]);
            terms.sum::<f64>() / sum
        })
        .collect()
    };
    (0..normed.len())
        .map(|position| {
            (0..spec.heads)
                .flat_map(|head| one_head(position, head))
                .collect()
        })
        .collect()
}

/// Rotary embedding of one head.
fn turn(model: &Model, head: &mut [f64], position: usize) {
    let spec = &model.spec;
    let rotary_dim = spec.rotary_dim();
    for i in 0..rotary_dim / 2 {
        let mut angle = position as f64;
        angle /= f64::from(spec.rope_base).powf(2.0 * i as f64 / rotary_dim as f64);
        angle /= f64::from(spec.linear_scale.unwrap_or(1.0));
        if spec.rope_freqs {
            angle /= values(model, "rope_freqs.weight")[i];
        }
        let (a, b) = match spec.pairs {
            Pairs::Neighbours => (2 * i, 2 * i + 1),
            Pairs::Halves => (i, i + rotary_dim / 2),
        };
        let (x, y) = (head[a], head[b]);
        head[a] = x * angle.cos() - y * angle.sin();
        head[b] = x * angle.sin() + y * angle.cos();
    }
}

fn values<'a>(model: &'a Model, name: &str) -> &'a [f64] {
    &model.tensors[name].values
}

fn linears(model: &Model, x: &[Vec<f64>], stem: &str) -> Vec<Vec<f64>> {
    let weight = values(model, &format!("{stem}.weight"));
    let bias = model.tensors.get(&format!("{stem}.bias"));
    x.iter()
        .map(|x| {
            let rows = weight.chunks_exact(x.len()).enumerate();
            rows.map(|(i, row)| dot(row, x) + bias.map_or(0.0, |bias| bias.values[i]))
                .collect()
        })
        .collect()
}

fn norms(model: &Model, x: &[Vec<f64>], name: &str) -> Vec<Vec<f64>> {
    let (weight, eps) = (values(model, name), f64::from(model.spec.eps));
    x.iter().map(|x| norm(x, weight, eps)).collect()
}

fn norm(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let scale = 1.0 / (dot(x, x) / x.len() as f64 + eps).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
}

fn add(hidden: &mut [Vec<f64>], delta: &[Vec<f64>]) {
    for (x, d) in hidden.iter_mut().flatten().zip(delta.iter().flatten()) {
        *x += d;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
