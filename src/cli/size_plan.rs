//! `flambeau doctor --plan`: what fits into how much memory, from a model's configuration alone.

use std::fmt::Write as _;

use crate::config::{ByteSize, Quantize};
use crate::hub::{Hub, HubConfig, TextProgress};
use crate::model::quantise::Mix;
use crate::model::{ModelConfig, read_config};
use crate::ops::KvDtype;

use super::opened::quantisation;

/// Tokens a block, as `serve` has them.
const BLOCK_SIZE: usize = 16;
const LENGTHS: [usize; 4] = [2048, 8192, 32_768, 131_072];

/// The plan of what `model` names in `memory`.
pub(super) fn plan(model: &str, memory: ByteSize) -> anyhow::Result<String> {
    let hub = Hub::new(HubConfig::from_env()?);
    let path = hub.resolve_config(model, &mut TextProgress::stderr())?;
    let (config, has_tied_head) = read_config(&path)?;
    Ok(text(model, &config, has_tied_head, memory))
}

fn text(model: &str, config: &ModelConfig, has_tied_head: bool, memory: ByteSize) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        writeln!(text, "{line}").expect("a string takes all text: this is a bug");
    };
    line(format!(
        "{model}: {:.2} billion parameters in {} layers, context {} tokens",
        config.num_parameters(has_tied_head) as f64 / 1e9,
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
    for to in [
        None,
        Some(Quantize::Q8_0),
        Some(Quantize::Q4K),
        Some(Quantize::Q4_0),
    ] {
        let mix = to.map(|to| Mix {
            target: quantisation(to),
            num_layers: config.layers.len(),
            has_tied_head,
        });
        let weights = config.weight_bytes(has_tied_head, mix);
        let name = match to {
            None => "bf16",
            Some(Quantize::Q8_0) => "q8_0",
            Some(Quantize::Q4K) => "q4_k",
            Some(Quantize::Q4_0) => "q4_0",
        };
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

    #[test]
    fn the_plan_says_what_fits_and_what_does_not() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/hf/qwen3-moe/config.json"
        );
        let (config, has_tied_head) = read_config(folder.as_ref()).unwrap();
        let plan = |memory: &str| text("m", &config, has_tied_head, memory.parse().unwrap());
        // Blocks of 16 tokens, 2 layers, 2 heads of 16 values, keys and values, 2 bytes: 4 KiB; streams of 256 tokens take 16.
        let fitting = plan("10MiB");
        let weights = config.weight_bytes(has_tied_head, None);
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
