//! `quantization_config` of a `config.json`.

use serde::Deserialize;

use super::json::error;
use crate::model::ModelError;
use crate::model::gguf::shown;
use crate::ops::WeightFormat;

/// What the tensors do not say of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::model) struct Packing {
    /// Of tensors of 4-bit integers.
    pub int4: Option<Int4Layout>,
    /// Outputs and inputs that share a scale, where scales of 8-bit floats are a matrix.
    pub fp8_block: Option<[usize; 2]>,
    /// What kernels keep packed matrices as.
    pub format: Option<WeightFormat>,
}

impl Packing {
    /// What kernels keep the matrix that GGUF files call `name` as; `None` if it is not packed.
    pub fn format_of(&self, name: &str) -> Option<WeightFormat> {
        let is_packed = match self.format {
            // gpt-oss's.
            Some(WeightFormat::Mxfp4) => name.contains("_exps."),
            _ => name.starts_with("blk.") && !name.contains("ffn_gate_inp"),
        };
        self.format.filter(|_| is_packed)
    }
}

/// How 4-bit integers lie in words of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Int4Layout {
    /// Words of neighbouring outputs.
    Awq,
    /// Words of neighbouring inputs.
    Gptq {
        /// What zeros are more than the file has.
        zero_offset: u8,
    },
}

#[derive(Deserialize)]
pub(super) struct PackingJson {
    quant_method: Option<String>,
    bits: Option<u32>,
    /// AWQ's arrangement.
    version: Option<String>,
    /// GPTQ's: in the second, zeros are what the file has.
    checkpoint_format: Option<String>,
    weight_block_size: Option<[usize; 2]>,
    /// GPTQ's: whether groups are of inputs in an order of their own.
    desc_act: Option<bool>,
    group_size: Option<i64>,
    /// Of compressed-tensors.
    format: Option<String>,
}

const KEY: &str = "quantization_config";

impl PackingJson {
    pub(super) fn resolve(&self) -> Result<Packing, ModelError> {
        let packing = |format| Packing {
            format: Some(format),
            ..Packing::default()
        };
        let int4 = |layout| Packing {
            int4: Some(layout),
            ..packing(WeightFormat::Int4)
        };
        match self.quant_method.as_deref() {
            // More shows in the tensors.
            Some("mxfp4") => Ok(packing(WeightFormat::Mxfp4)),
            Some("fbgemm_fp8") => Ok(packing(WeightFormat::Fp8)),
            Some("fp8") => Ok(Packing {
                fp8_block: self.fp8_block()?,
                ..packing(WeightFormat::Fp8)
            }),
            Some("compressed-tensors") => {
                self.expect("format", self.format.as_deref(), &["float-quantized"])?;
                Ok(packing(WeightFormat::Fp8))
            }
            Some("awq") => {
                self.expect_four_bits()?;
                self.expect("version", self.version.as_deref(), &["gemm"])?;
                Ok(int4(Int4Layout::Awq))
            }
            Some("gptq") => {
                self.expect_four_bits()?;
                let known = ["gptq", "gptq_v2"];
                self.expect(
                    "checkpoint_format",
                    self.checkpoint_format.as_deref(),
                    &known,
                )?;
                let is_second = self.checkpoint_format.as_deref() == Some("gptq_v2");
                let has_groups = self.group_size.is_none_or(|size| size > 0);
                let is_reordered = self.desc_act == Some(true) && has_groups;
                let packing = int4(Int4Layout::Gptq {
                    zero_offset: u8::from(!is_second),
                });
                Ok(Packing {
                    // Groups that are no neighbours have no place in blocks.
                    format: packing.format.map(|int4| match is_reordered {
                        true => WeightFormat::F16,
                        false => int4,
                    }),
                    ..packing
                })
            }
            other => {
                let message = format!(
                    "{} is not supported; fp8, fbgemm_fp8, compressed-tensors (8-bit floats), awq, gptq and mxfp4 are: or use the unquantised model, or a GGUF file",
                    shown(other.unwrap_or("unnamed"))
                );
                Err(error(&format!("{KEY}.quant_method"), message))
            }
        }
    }

    fn expect(&self, key: &str, value: Option<&str>, known: &[&str]) -> Result<(), ModelError> {
        match value {
            Some(value) if !known.iter().any(|known| known.eq_ignore_ascii_case(value)) => {
                let message = format!(
                    "{} is not supported; {} is",
                    shown(value),
                    known.join(" or ")
                );
                Err(error(&format!("{KEY}.{key}"), message))
            }
            _ => Ok(()),
        }
    }

    fn expect_four_bits(&self) -> Result<(), ModelError> {
        match self.bits {
            Some(4) => Ok(()),
            bits => {
                let bits = bits.map_or("no number".into(), |bits| bits.to_string());
                Err(error(
                    &format!("{KEY}.bits"),
                    format!("{bits} is not supported; 4 is"),
                ))
            }
        }
    }

    fn fp8_block(&self) -> Result<Option<[usize; 2]>, ModelError> {
        match self.weight_block_size {
            Some([outputs, inputs])
                if outputs == 0 || inputs == 0 || !inputs.is_multiple_of(32) =>
            {
                let message = format!(
                    "[{outputs}, {inputs}] is not supported: neither may be zero, and the second must be a multiple of 32"
                );
                Err(error(&format!("{KEY}.weight_block_size"), message))
            }
            block => Ok(block),
        }
    }
}
