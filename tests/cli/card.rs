//! The binary on a card, which is the shim's.

use std::io::Read;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, tensor::TensorView};

use super::{Server, flambeau, read_until, rng, tiny_folder};

/// The folder in which the shim stands by the name of the driver's library.
pub fn driver_folder() -> PathBuf {
    let shim = PathBuf::from(env!("FLAMBEAU_KERNEL_SHIM"));
    shim.parent().unwrap().join("driver")
}

#[test]
fn doctor_checks_a_card_against_the_cpu_and_writes_what_it_finds() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("found.json");
    let mut doctor = flambeau();
    doctor.args(["doctor", "--gpu", "0", "--json"]).arg(&json);
    let output = doctor
        .env("LD_LIBRARY_PATH", driver_folder())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(" 0 wrong"), "{said}");
    let found: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let checks = found["checks"].as_array().unwrap();
    assert!(checks.len() > 250, "{}", checks.len());
    for theme in [
        "linear Q2K",
        "side by side",
        "low-rank",
        "experts",
        "norm",
        "activation",
        "softcap of logits",
        "embedding",
        "picked",
        "placed",
        "attention with softcap",
        "sinks",
        "spans in turn",
        "rope",
        "draws",
        "under masks",
        "logits, dense",
    ] {
        let is_there = |check: &serde_json::Value| check["what"].as_str().unwrap().contains(theme);
        assert!(checks.iter().any(is_there), "{theme}");
    }
    // Errors are of rounding, and where bits are to be equal they are.
    for check in checks {
        let (found, bound) = (
            check["found"].as_f64().unwrap(),
            check["bound"].as_f64().unwrap(),
        );
        assert!(found <= bound && (found > 0.0 || bound < 1e-3), "{check}");
    }
}

#[test]
fn products_by_cublas_need_its_library_and_a_model_of_floats() {
    let folder = tempfile::tempdir().unwrap();
    let driver = folder.path().join("libcuda.so");
    std::os::unix::fs::symlink(driver_folder().join("libcuda.so"), driver).unwrap();
    for (libraries, what) in [
        // Where this machine has the library, it is that one which fails.
        (folder.path().to_owned(), "cublas"),
        (driver_folder(), "quantised"),
    ] {
        let mut plan = flambeau();
        plan.args(["serve", "--dry-run", "--device", "cuda:0"]);
        let plan = plan.args(["--batch-invariant", "off"]);
        let output = plan.env("LD_LIBRARY_PATH", libraries).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(
            said.contains("batch_invariant: ") && said.contains(what),
            "{said}"
        );
    }
}

/// A second's work of a GPU takes this one minutes.
#[test]
fn a_card_serves_the_default_model_and_doctor_finds_it() {
    let mut doctor = flambeau();
    let output = doctor
        .arg("doctor")
        .env("LD_LIBRARY_PATH", driver_folder())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("cuda:0         a CPU as a GPU"), "{said}");
    // A card that is too small is passed over, or refused where it was asked for.
    for (device, is_fine, what) in [
        ("auto", true, "computing on the CPU: cuda:0 has "),
        ("cuda:0", false, "the weights take "),
    ] {
        let mut plan = flambeau();
        let output = plan
            .args(["serve", "--dry-run", "--device", device])
            .env("LD_LIBRARY_PATH", driver_folder())
            .env("SHIM_CARD_MEMORY", "90000000")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), is_fine, "{said}");
        assert!(said.contains(what), "{said}");
    }
    let mut command = flambeau();
    command.env("LD_LIBRARY_PATH", driver_folder());
    command.env("SHIM_CARD_MEMORY", "500000000");
    command.env("SHIM_XID", "79");
    command.args(["serve", "--port", "0", "--device", "cuda:0"]);
    command.args(["--max-num-batched-tokens", "8", "--max-num-seqs", "2"]);
    let server = Server::start_by(command);
    let body = r#"{"prompt": "The capital of France is", "max_tokens": 2, "temperature": 0}"#;
    let answer = server.answer("POST", "/v1/completions", body);
    assert!(answer.contains(r#""text":" Paris.""#), "{answer}");
    // It is counted before the line is written.
    server.wait_for("the card reported Xid 79");
    let metrics = server.answer("GET", "/metrics", "");
    for (name, more, value) in [
        ("utilization_ratio", "", "0.37"),
        ("memory_used_bytes", "", "300000000"),
        ("memory_total_bytes", "", "500000000"),
        ("temperature_celsius", "", "41"),
        ("power_watts", "", "250.5"),
        ("ecc_errors_total", r#",kind="corrected""#, "3"),
        ("ecc_errors_total", r#",kind="uncorrected""#, "1"),
        ("xid_errors_total", r#",xid="79""#, "1"),
    ] {
        let labels = r#"gpu="0",uuid="GPU-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0""#;
        let line = format!("flambeau_gpu_{name}{{{labels}{more}}} {value}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

/// Writes random matrices of these names and shapes.
fn write_matrices(path: &Path, shapes: &[(String, [usize; 2])]) {
    let mut rng = rng::Rng(5);
    let mut value = || (rng.below(2001) as f32 - 1000.0) / 4e3;
    let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> = (shapes.iter())
        .map(|(name, dims)| {
            let values = (0..dims[0] * dims[1]).flat_map(|_| value().to_le_bytes());
            // Vectors are matrices of one column.
            let dims = dims.iter().copied().filter(|&dim| dim > 1).collect();
            (&**name, dims, values.collect())
        })
        .collect();
    let views = tensors.iter().map(|(name, dims, bytes)| {
        let view = TensorView::new(Dtype::F32, dims.clone(), bytes).unwrap();
        (name, view)
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Turns the tiny model into one whose heads are as wide as cards want them, and puts an adapter for it beside.
pub fn fit_for_a_card(folder: &Path) -> PathBuf {
    const SIZE: usize = 64;
    let edit = |path: PathBuf, changes: &dyn Fn(&mut serde_json::Value)| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".into());
        let mut json = serde_json::from_str(&text).unwrap();
        changes(&mut json);
        std::fs::write(path, json.to_string()).unwrap();
    };
    edit(folder.join("config.json"), &|json| {
        for key in ["hidden_size", "head_dim", "intermediate_size"] {
            json[key] = SIZE.into();
        }
        for key in [
            "num_attention_heads",
            "num_key_value_heads",
            "num_hidden_layers",
        ] {
            json[key] = 1.into();
        }
    });
    let attention =
        ["q_proj", "k_proj", "v_proj", "o_proj"].map(|name| format!("self_attn.{name}"));
    let mlp = ["gate_proj", "up_proj", "down_proj"].map(|name| format!("mlp.{name}"));
    let of_layer = |name: &str| format!("model.layers.0.{name}.weight");
    let mut shapes = vec![("model.embed_tokens.weight".into(), [SIZE, SIZE])];
    let matrices = attention.iter().chain(&mlp);
    shapes.extend(matrices.map(|name| (of_layer(name), [SIZE, SIZE])));
    let norms = ["input_layernorm", "post_attention_layernorm"].map(of_layer);
    let norms = norms.into_iter().chain(["model.norm.weight".into()]);
    shapes.extend(norms.map(|name| (name, [SIZE, 1])));
    write_matrices(&folder.join("model.safetensors"), &shapes);
    let adapter = folder.join("adapter");
    std::fs::create_dir(&adapter).unwrap();
    edit(adapter.join("adapter_config.json"), &|json| {
        json["lora_alpha"] = 64.into();
    });
    let part =
        |ab: &str| format!("base_model.model.model.layers.0.self_attn.o_proj.lora_{ab}.weight");
    let shapes = [(part("A"), [4, SIZE]), (part("B"), [SIZE, 4])];
    write_matrices(&adapter.join("adapter_model.safetensors"), &shapes);
    adapter
}

#[test]
fn a_card_that_fails_ends_what_was_in_flight_alone_and_is_opened_anew_with_its_adapters() {
    // cuBLAS holds on to the context that has failed.
    for batch_invariant in ["on", "off"] {
        fails_and_is_opened_anew(batch_invariant);
    }
}

fn fails_and_is_opened_anew(batch_invariant: &str) {
    let folder = tiny_folder();
    let fails = folder.path().join("fails");
    let adapter = fit_for_a_card(folder.path());
    let mut command = flambeau();
    command.env("LD_LIBRARY_PATH", driver_folder());
    command.env("SHIM_FAIL_FILE", &fails);
    command.args(["serve", "--port", "0", "--device", "cuda:0"]);
    command.args(["--max-num-batched-tokens", "8", "--max-num-seqs", "1"]);
    command.args(["--batch-invariant", batch_invariant]);
    command.args(["--served-model-name", "tiny", "--model"]);
    command.arg(folder.path());
    command.args(["--lora-modules", &format!("tuned={}", adapter.display())]);
    let server = Server::start_by(command);
    let body = |model: &str, more: &str| {
        format!(
            r#"{{"model": "{model}", "prompt": "abc", "temperature": 0, "ignore_eos": true, {more}}}"#
        )
    };
    let text = |answer: &str| {
        let json = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        json["choices"][0]["text"].as_str().unwrap().to_owned()
    };
    let ask = |model| {
        let body = body(model, r#""max_tokens": 12"#);
        text(&server.answer("POST", "/v1/completions", &body))
    };
    let (plain, tuned) = (ask("tiny"), ask("tuned"));
    assert_ne!(plain, tuned);
    for _ in 0..2 {
        let long = body("tiny", r#""max_tokens": 240, "stream": true"#);
        let mut running = server.send("POST", "/v1/completions", &long);
        read_until(&mut running, r#""text":"#);
        let waits = body("tuned", r#""max_tokens": 12"#);
        let mut waiting = server.send("POST", "/v1/completions", &waits);
        let is_waiting = || {
            let metrics = server.answer("GET", "/metrics", "");
            metrics.contains("flambeau_num_requests_waiting{model=\"tiny\"} 1\n")
        };
        while !is_waiting() {}
        std::fs::write(&fails, "").unwrap();
        read_until(
            &mut running,
            "the engine crashed while computing this request",
        );
        server.wait_for("the weights are on cuda:0 (a CPU as a GPU) again after ");
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).unwrap();
        assert_eq!(text(&answer), tuned);
        assert_eq!(ask("tiny"), plain);
    }
}

#[test]
fn a_card_that_fails_under_load_leaves_no_request_without_an_end_and_none_with_two_models() {
    let folder = tiny_folder();
    let fails = folder.path().join("fails");
    fit_for_a_card(folder.path());
    let config = folder.path().join("flambeau.toml");
    let source = folder.path().display();
    let text = format!(
        "[server]\nport = 0\nkv_cache_memory = '64MiB'\nembedding_model = 'none'\n\
         [[models]]\nname = 'tiny'\nsource = '{source}'\ndevice = 'cuda:0'\nmax_num_batched_tokens = 8\nmax_num_seqs = 2\n\
         [[models]]\nname = 'cheap'\nsource = '{source}'\ndevice = 'cpu'\n\
         [tiers]\nchain = ['tiny', 'cheap']\nslo_ttft_ms = 60000\n\
         [[tenants]]\nname = 'default'\nfallback = true\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = flambeau();
    command.env("LD_LIBRARY_PATH", driver_folder());
    command.env("SHIM_FAIL_FILE", &fails);
    command.args(["serve", "--config"]).arg(&config);
    let server = Server::start_by(command);
    let body = r#"{"prompt": "abc", "temperature": 0, "ignore_eos": true, "stream": true, "max_tokens": 24}"#;
    for _ in 0..2 {
        let mut running = server.send("POST", "/v1/completions", body);
        read_until(&mut running, r#""text":"#);
        let crowd: Vec<_> = (0..8)
            .map(|_| server.send("POST", "/v1/completions", body))
            .collect();
        std::fs::write(&fails, "").unwrap();
        read_until(&mut running, "[DONE]");
        for mut client in crowd {
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert_eq!(answer.matches("data: [DONE]").count(), 1, "{answer}");
            let num_ends = answer.matches(r#""finish_reason":"length""#).count();
            let num_failures = answer.matches("the engine crashed").count();
            assert_eq!(num_ends + num_failures, 1, "{answer}");
            let models =
                ["tiny", "cheap"].map(|model| answer.contains(&format!(r#""model":"{model}""#)));
            assert_ne!(models, [true, true], "{answer}");
        }
        // Well again, the first one answers.
        loop {
            let body = r#"{"prompt": "abc", "max_tokens": 1}"#;
            let answer = server.answer("POST", "/v1/completions", body);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            if answer.contains(r#""model":"tiny""#) {
                break;
            }
        }
    }
}

/// Of a metric's series with this label.
fn count(server: &Server, series: &str) -> u64 {
    let metrics = server.answer("GET", "/metrics", "");
    let line = metrics.lines().find(|line| line.starts_with(series));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("{series}: {metrics}"))
}

#[test]
fn a_model_on_the_cpu_drafts_what_one_on_a_card_says_and_changes_no_answer() {
    let folder = tiny_folder();
    fit_for_a_card(folder.path());
    let source = folder.path().display();
    let serve = |order: [&str; 2], draft: &str| {
        let config = folder.path().join("flambeau.toml");
        let model = |name: &str| match name {
            "tiny" => format!("[[models]]\nname = 'tiny'\ndevice = 'cuda:0'\n{draft}\n"),
            _ => "[[models]]\nname = 'cheap'\ndevice = 'cpu'\n".into(),
        };
        let models = order.map(|name| model(name) + &format!("source = '{source}'\n"));
        let server = "[server]\nport = 0\nkv_cache_memory = '64MiB'\nembedding_model = 'none'\nmax_num_seqs = 2\nmax_num_batched_tokens = 8\n";
        std::fs::write(&config, server.to_owned() + &models.concat()).unwrap();
        let mut command = flambeau();
        command.env("LD_LIBRARY_PATH", driver_folder());
        command.args(["serve", "--config"]).arg(&config);
        command
    };
    let ask = |server: &Server, i: usize| {
        let prompt = ["abc", "xyzzy", "Q", "a1b2c3"][i % 4];
        let temperature = [0.0, 0.7][i / 4 % 2];
        let body = format!(
            r#"{{"model": "tiny", "prompt": "{prompt}", "temperature": {temperature}, "seed": 5, "ignore_eos": true, "max_tokens": 48}}"#
        );
        let answer = server.answer("POST", "/v1/completions", &body);
        let json = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        json["choices"][0]["text"].as_str().unwrap().to_owned()
    };
    let plain = Server::start_by(serve(["tiny", "cheap"], ""));
    let expected: Vec<String> = (0..8).map(|i| ask(&plain, i)).collect();
    assert_eq!(
        count(
            &plain,
            r#"flambeau_num_draft_tokens_total{model="tiny",source="model"}"#
        ),
        0
    );
    drop(plain);
    let draft = "draft_model = 'cheap'\ndraft_threads = 1";
    for order in [["tiny", "cheap"], ["cheap", "tiny"]] {
        let mut plan = serve(order, draft);
        let output = plan.arg("--dry-run").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains("drafts         of cheap for tiny: KV cache "),
            "{said}"
        );
        let other = folder.path().join("flambeau.toml");
        let text = std::fs::read_to_string(&other).unwrap();
        let cheap = format!("device = 'cpu'\nsource = '{source}'");
        let text = text.replace(&cheap, "device = 'cpu'\nsource = 'smollm2-135m-instruct'");
        std::fs::write(&other, text).unwrap();
        let mut plan = flambeau();
        plan.env("LD_LIBRARY_PATH", driver_folder());
        plan.args(["serve", "--dry-run", "--config"]).arg(&other);
        let said = String::from_utf8(plan.output().unwrap().stderr).unwrap();
        assert!(
            said.contains("draft_model: cheap has another tokenizer (token 0 is "),
            "{said}"
        );
        let server = Server::start_by(serve(order, draft));
        // The thread may have other things to do at first.
        for i in 0.. {
            assert_eq!(ask(&server, i), expected[i % 8], "request {i}");
            let accepted = r#"flambeau_num_accepted_tokens_total{model="tiny",source="model"}"#;
            if i >= 8 && count(&server, accepted) > 0 {
                break;
            }
        }
        server.terminate();
        assert_eq!(server.exit_code(), Some(0));
    }
}
