//! What is wrong with packed weights and routed experts is said by tensor or key.

use std::collections::BTreeMap;
use std::fs;

use flambeau::backend::cpu::Cpu;
use flambeau::model::Checkpoint;
use flambeau::model::quantise::{AsGguf, Mix, Quantisation, QuantiseJob};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use tempfile::TempDir;

use super::broken_folders::{configured, copy, error};

/// A tensor's type, shape and data.
type Parts = (Dtype, Vec<usize>, Vec<u8>);

/// The error of the folder `name` with other tensors.
#[track_caller]
fn changed(name: &str, change: impl FnOnce(&mut BTreeMap<String, Parts>)) -> String {
    error(with_tensors(name, change).path())
}

/// The folder `name` with other tensors.
fn with_tensors(name: &str, change: impl FnOnce(&mut BTreeMap<String, Parts>)) -> TempDir {
    let folder = copy(name);
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter();
    let mut tensors: BTreeMap<String, Parts> = tensors
        .map(|(name, view)| {
            let parts = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, parts)
        })
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    fs::write(&path, serialize(views, None).unwrap()).unwrap();
    folder
}

const STEM: &str = "model.layers.1.self_attn.q_proj";

#[test]
fn a_part_that_is_missing_is_named() {
    for (model, suffix, first) in [
        ("llama-awq", ".scales", ".qweight"),
        ("llama-gptq", ".qzeros", ".qweight"),
        ("llama-fp8", ".weight_scale_inv", ".weight"),
    ] {
        let part = format!("{STEM}{suffix}");
        let error = changed(model, |tensors| {
            tensors.remove(&part).unwrap();
        });
        assert!(error.contains(&format!("{STEM}{first}")), "{error}");
    }
    let scales = "model.layers.0.mlp.experts.down_proj_scales";
    let error = changed("gpt-oss-mxfp4", |tensors| {
        tensors.remove(scales).unwrap();
    });
    assert!(error.contains(scales), "{error}");
}

#[test]
fn parts_that_do_not_fit_each_other_are_named() {
    for (model, part, first) in [
        ("llama-awq", ".scales", ".qweight"),
        ("llama-awq", ".qzeros", ".qweight"),
        ("llama-gptq", ".scales", ".qweight"),
        ("llama-gptq", ".g_idx", ".qweight"),
        ("llama-fp8", ".weight_scale_inv", ".weight"),
    ] {
        let name = format!("{STEM}{part}");
        // The first row of what is there.
        let error = changed(model, |tensors| {
            let (_, shape, data) = tensors.get_mut(&name).unwrap();
            let rows = std::mem::replace(&mut shape[0], 1);
            data.truncate(data.len() / rows);
        });
        assert!(
            error.contains(&format!("{STEM}{first}")),
            "{model}, {part}: {error}"
        );
        // Of another type.
        let error = changed(model, |tensors| {
            let (dtype, shape, data) = tensors.get_mut(&name).unwrap();
            *dtype = Dtype::U8;
            *shape = vec![data.len()];
        });
        assert!(error.contains(STEM), "{model}, {part}: {error}");
    }
}

#[test]
fn a_group_that_is_not_there_is_named() {
    let name = format!("{STEM}.g_idx");
    for group in [-1i32, 2, i32::MAX] {
        let error = changed("llama-gptq-order", |tensors| {
            let (_, _, data) = tensors.get_mut(&name).unwrap();
            data[4..8].copy_from_slice(&group.to_le_bytes());
        });
        assert!(error.contains(STEM) && error.contains("g_idx"), "{error}");
    }
}

#[test]
fn a_nan_among_floats_of_8_bits_is_named() {
    let name = format!("{STEM}.weight");
    let error = changed("llama-fp8", |tensors| {
        tensors.get_mut(&name).unwrap().2[5] = 0xff;
    });
    assert!(error.contains(&name) && error.contains("NaN"), "{error}");
}

#[test]
fn experts_of_other_shapes_are_named() {
    for (model, name) in [
        ("gpt-oss", "model.layers.0.mlp.experts.down_proj"),
        ("gpt-oss", "model.layers.0.mlp.experts.gate_up_proj"),
        ("gpt-oss", "model.layers.0.mlp.experts.gate_up_proj_bias"),
        (
            "gpt-oss-mxfp4",
            "model.layers.0.mlp.experts.gate_up_proj_blocks",
        ),
        (
            "gpt-oss-mxfp4",
            "model.layers.0.mlp.experts.down_proj_scales",
        ),
        (
            "mixtral",
            "model.layers.1.block_sparse_moe.experts.2.w1.weight",
        ),
        ("qwen3-moe", "model.layers.1.mlp.experts.5.down_proj.weight"),
        ("qwen3-moe", "model.layers.0.mlp.gate.weight"),
    ] {
        let blocks = name.replace("_scales", "_blocks");
        let error = changed(model, |tensors| {
            let (_, shape, _) = tensors.get_mut(name).unwrap();
            *shape = vec![shape.iter().product()];
        });
        assert!(
            error.contains(&blocks) || error.contains(name),
            "{name}: {error}"
        );
        let error = changed(model, |tensors| {
            let (_, shape, _) = tensors.get_mut(name).unwrap();
            shape.swap(0, 1);
            shape.push(1);
        });
        assert!(
            error.contains(&blocks) || error.contains(name),
            "{name}: {error}"
        );
    }
    let missing = "model.layers.1.mlp.experts.5.up_proj.weight";
    let error = changed("qwen3-moe", |tensors| {
        tensors.remove(missing).unwrap();
    });
    assert!(error.contains("model.layers.1.mlp.experts"), "{error}");
}

#[test]
fn a_key_that_asks_for_another_packing_is_named() {
    for (name, from, to, key) in [
        (
            "llama-awq",
            r#""bits": 4"#,
            r#""bits": 8"#,
            "quantization_config.bits",
        ),
        (
            "llama-awq",
            r#""gemm""#,
            r#""gemv""#,
            "quantization_config.version",
        ),
        (
            "llama-awq",
            r#""awq""#,
            r#""other""#,
            "quantization_config.quant_method",
        ),
        (
            "llama-awq",
            r#""awq""#,
            r#""fp8""#,
            "quantization_config.quant_method",
        ),
        (
            "llama-fp8-channel",
            "float-quantized",
            "pack-quantized",
            "quantization_config.format",
        ),
    ] {
        let error = error(configured(name, from, to).path());
        assert!(
            error.contains(&format!("config.json: {key}")),
            "{to}: {error}"
        );
    }
    let zero = error(configured("llama-fp8", "    24,", "    0,").path());
    assert!(
        zero.contains("quantization_config.weight_block_size"),
        "{zero}"
    );
}

#[test]
fn numbers_of_experts_out_of_range_are_named() {
    for (name, from, to, key) in [
        (
            "mixtral",
            r#""num_experts_per_tok": 2"#,
            r#""num_experts_per_tok": 5"#,
            "num_experts_per_tok",
        ),
        (
            "mixtral",
            r#""num_experts_per_tok": 2"#,
            r#""num_experts_per_tok": 0"#,
            "num_experts_per_tok",
        ),
        (
            "gpt-oss",
            r#""swiglu_limit": 1.0"#,
            r#""swiglu_limit": 0.0"#,
            "swiglu_limit",
        ),
        (
            "gpt-oss",
            r#""swiglu_alpha": 1.702"#,
            r#""swiglu_alpha": 2.0"#,
            "swiglu_alpha",
        ),
        (
            "gemma2",
            r#""final_logit_softcapping": 3.0"#,
            r#""final_logit_softcapping": -3.0"#,
            "final_logit_softcapping",
        ),
        (
            "gemma2",
            r#""query_pre_attn_scalar": 24"#,
            r#""query_pre_attn_scalar": 0"#,
            "query_pre_attn_scalar",
        ),
        ("gemma2", "gelu_pytorch_tanh", "gelu", "hidden_activation"),
        (
            "gemma3",
            r#""use_bidirectional_attention": false"#,
            r#""use_bidirectional_attention": true"#,
            "use_bidirectional_attention",
        ),
    ] {
        let error = error(configured(name, from, to).path());
        assert!(
            error.contains(&format!("config.json: {key}")),
            "{to}: {error}"
        );
    }
    let more = error(
        configured(
            "mixtral",
            r#""num_local_experts": 4"#,
            r#""num_local_experts": 5"#,
        )
        .path(),
    );
    assert!(more.contains("block_sparse_moe"), "{more}");
}

#[test]
fn a_part_that_a_family_is_never_without_is_named_when_it_is_missing() {
    for (model, name) in [
        ("gpt-oss", "model.layers.0.mlp.router.bias"),
        ("gpt-oss", "model.layers.1.mlp.experts.down_proj_bias"),
        ("gpt-oss", "model.layers.1.self_attn.o_proj.bias"),
        ("gpt-oss", "model.layers.0.self_attn.sinks"),
        ("gemma2", "model.layers.1.pre_feedforward_layernorm.weight"),
        ("gemma3", "model.layers.2.self_attn.q_norm.weight"),
        ("mixtral", "lm_head.weight"),
    ] {
        let error = changed(model, |tensors| {
            tensors.remove(name).unwrap();
        });
        // At least the layer.
        let layer = name.split('.').take(3).collect::<Vec<_>>().join(".");
        assert!(
            error.contains(name) || error.contains(&layer),
            "{name}: {error}"
        );
        assert!(error.contains("missing"), "{name}: {error}");
    }
}

#[test]
fn a_stack_with_an_odd_number_of_gates_and_up_rows_is_named() {
    let name = "model.layers.0.mlp.experts.gate_up_proj";
    let error = changed("gpt-oss", |tensors| {
        let (_, shape, data) = tensors.get_mut(name).unwrap();
        shape[2] += 1;
        let len = shape.iter().product::<usize>() * 2;
        data.resize(len, 0);
    });
    assert!(error.contains(name) && error.contains("odd"), "{error}");
}

#[test]
fn a_bias_for_more_experts_than_there_are_is_named() {
    let name = "model.layers.0.mlp.experts.down_proj_bias";
    let error = changed("gpt-oss", |tensors| {
        let (_, shape, data) = tensors.get_mut(name).unwrap();
        let row = data.len() / shape[0];
        shape[0] += 1;
        data.resize(shape[0] * row, 0);
    });
    assert!(error.contains(name), "{error}");
}

/// The error of quantising the folder into a file, of which nothing is left.
fn quantising(folder: &TempDir) -> String {
    let cpu = Cpu::new(1).unwrap();
    let (checkpoint, config) = Checkpoint::open(folder.path()).unwrap();
    let source = match AsGguf::new(checkpoint.tensors(), &config) {
        Ok(source) => source,
        Err(error) => return error.to_string(),
    };
    let job = QuantiseJob {
        source: &source,
        entries: source.entries("test"),
        mix: Mix {
            target: Quantisation::Q8_0,
            num_layers: 2,
            has_tied_head: true,
        },
        importance: None,
        cpu: &cpu,
    };
    let out = tempfile::tempdir().unwrap();
    let result = job.write(&out.path().join("out.gguf"), |_, _| {});
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    result.unwrap_err().to_string()
}

#[test]
fn what_cannot_be_quantised_is_named_and_leaves_no_file() {
    let name = "model.layers.1.mlp.up_proj.weight";
    let with_nan = with_tensors("llama", |tensors| {
        tensors.get_mut(name).unwrap().2[..2].copy_from_slice(&[0xc0, 0x7f]);
    });
    assert!(quantising(&with_nan).contains("holds a NaN"));
    let missing = with_tensors("llama", |tensors| {
        tensors.remove(name).unwrap();
    });
    assert!(quantising(&missing).contains(name));
    let more = with_tensors("llama", |tensors| {
        let bias = (Dtype::BF16, vec![48], vec![0; 96]);
        tensors.insert("model.layers.1.mlp.up_proj.bias".into(), bias);
    });
    assert!(quantising(&more).contains("up_proj.bias"));
    let short = with_tensors("qwen2", |tensors| {
        let bias = (Dtype::BF16, vec![1], vec![0; 2]);
        tensors.insert(format!("{STEM}.bias"), bias);
    });
    assert!(
        quantising(&short).contains(&format!("{STEM}.bias"))
            || quantising(&short).contains("attn_q.bias")
    );
}
