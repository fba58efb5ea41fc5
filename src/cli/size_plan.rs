//! `flambeau doctor --plan`: what fits into how much memory, from a model's configuration alone.

use std::fmt::Write as _;

use crate::config::{ByteSize, Quantize};
use crate::hub::{Hub, HubConfig, TextProgress};
use crate::model::quantise::Mix;
use crate::model::{Outline, read_outline};
use crate::ops::KvDtype;

use super::opened::quantisation;

/// Tokens a block, as `serve` has them.
const BLOCK_SIZE: usize = 16;
const LENGTHS: [usize; 4] = [2048, 8192, 32_768, 131_072];

/// The plan of what `model` names in `memory`.
pub(super) fn plan(model: &str, memory: ByteSize) -> anyhow::Result<String> {
    let hub = Hub::new(HubConfig::from_env()?);
    let path = hub.resolve_config(model, &mut TextProgress::stderr())?;
    Ok(text(model, &read_outline(&path)?, memory))
}

/// What the weights may be kept as, and how many bytes they are then. Those that are quantised already stay so.
fn choices(outline: &Outline) -> Vec<(&'static str, u64)> {
    if let Some(bytes) = outline.quantised_bytes {
        return vec![("as is", bytes)];
    }
    let (config, has_tied_head) = (&outline.config, outline.has_tied_head);
    let mixes = [
        ("bf16", None),
        ("q8_0", Some(Quantize::Q8_0)),
        ("q4_k", Some(Quantize::Q4K)),
        ("q4_0", Some(Quantize::Q4_0)),
    ];
    let bytes = |(name, to): (&'static str, Option<Quantize>)| {
        let mix = to.map(|to| Mix {
            target: quantisation(to),
            num_layers: config.layers.len(),
            has_tied_head,
        });
        (name, config.weight_bytes(has_tied_head, mix))
    };
    mixes.map(bytes).to_vec()
}

fn text(model: &str, outline: &Outline, memory: ByteSize) -> String {
    let config = &outline.config;
    let mut text = String::new();
    let mut line = |line: String| {
        writeln!(text, "{line}").expect("a string takes all text: this is a bug");
    };
    line(format!(
        "{model}: {:.2} billion parameters in {} layers, context {} tokens",
        config.num_parameters(outline.has_tied_head) as f64 / 1e9,
        config.layers.len(),
        config.context_length
    ));
    let kv_dtypes = [("f16", KvDtype::F16), ("int8", KvDtype::Int8)];
    for (name, dtype) in kv_dtypes {
        let bytes = config.kv_bytes_per_token(dtype) as u64;
        line(format!("KV cache in {name}: {} a token", ByteSize(bytes)));
    }
    let mut lengths: Vec<usize> = LENGTHS
        .into_iter()
        .filter(|&len| len < config.context_length)
        .collect();
    lengths.push(config.context_length);
    line(String::new());
    line(format!("In {memory}, streams of so many tokens at once:"));
    let mut head = format!("{:<7}{:>10}  {:<5}{:>10}", "weights", "", "KV", "blocks");
    for len in &lengths {
        write!(head, "{len:>9}").expect("a string takes all text: this is a bug");
    }
    line(head);
    for (name, weights) in choices(outline) {
        for (kv_name, dtype) in kv_dtypes {
            let block = (config.kv_bytes_per_token(dtype) * BLOCK_SIZE) as u64;
            let mut row = format!(
                "{name:<7}{:>10}  {kv_name:<5}",
                ByteSize(weights).to_string()
            );
            match memory.0.checked_sub(weights) {
                None => row.push_str("   do not fit"),
                Some(left) => {
                    let num_blocks = left / block;
                    write!(row, "{num_blocks:>10}")
                        .expect("a string takes all text: this is a bug");
                    for len in &lengths {
                        let streams = num_blocks / len.div_ceil(BLOCK_SIZE) as u64;
                        write!(row, "{streams:>9}")
                            .expect("a string takes all text: this is a bug");
                    }
                }
            }
            line(row);
        }
    }
    line(String::new());
    line(
        "Activations, the tokenizer and the program itself take some of it, too: leave a tenth."
            .into(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(folder: &str) -> Outline {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hf");
        read_outline(&fixtures.join(folder).join("config.json")).unwrap()
    }

    #[test]
    fn what_is_quantised_already_is_planned_as_it_is() {
        for (folder, least, most) in [
            ("llama-awq", 0.3, 0.5),
            ("llama-fp8", 0.5, 0.8),
            ("gpt-oss-mxfp4", 0.3, 0.6),
            // Groups of inputs that are no neighbours lie in no blocks: such matrices are kept as floats.
            ("llama-gptq-order", 1.0, 1.0),
        ] {
            let outline = outline(folder);
            let choices = choices(&outline);
            assert_eq!(choices.len(), 1, "{folder}");
            let floats = outline.config.weight_bytes(outline.has_tied_head, None);
            let ratio = choices[0].1 as f64 / floats as f64;
            assert!((least..=most).contains(&ratio), "{folder}: {ratio}");
        }
    }

    #[test]
    fn the_plan_says_what_fits_and_what_does_not() {
        let outline = outline("qwen3-moe");
        let plan = |memory: &str| text("m", &outline, memory.parse().unwrap());
        // Blocks of 16 tokens, 2 layers, 2 heads of 16 values, keys and values, 2 bytes: 4 KiB; streams of 256 tokens take 16.
        let fitting = plan("10MiB");
        let weights = outline.config.weight_bytes(outline.has_tied_head, None);
        let blocks = ((10 << 20) - weights) / 4096;
        let row = fitting
            .lines()
            .find(|line| line.starts_with("bf16"))
            .unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            words[2..],
            ["f16", &blocks.to_string(), &(blocks / 16).to_string()],
            "{fitting}"
        );
        assert!(plan("1KiB").contains("do not fit"));
    }
}
