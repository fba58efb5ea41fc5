//! `flambeau distill` from end to end on a tiny random teacher: what it writes is a model, closer to the teacher than before.
#![allow(clippy::unwrap_used)] // A test may panic.

#[path = "../byte_vocabulary/mod.rs"]
mod byte_vocabulary;
#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::{Command, Output};

use flambeau::backend::cpu::Cpu;
use flambeau::cli::load;
use flambeau::model::gguf::{GgmlType, GgufFile, raw};
use flambeau::model::quantise::{AsGguf, Mix, Quantisation, QuantiseJob, RawEntry};
use flambeau::model::{Checkpoint, Encoding, ModelConfig, RandomModel, llama_of};
use flambeau::text::{Specials, Tokenizer};

const NUM_LAYERS: usize = 4;

fn config() -> ModelConfig {
    let vocab_size = byte_vocabulary::VOCAB_SIZE as usize;
    ModelConfig {
        context_length: 512,
        ..llama_of(NUM_LAYERS, (64, 96), (4, 2, 16), vocab_size)
    }
}

/// A GGUF file with the byte vocabulary.
fn write_teacher(path: &Path) {
    let (config, cpu) = (config(), Cpu::new(1).unwrap());
    let mut state = 5u64;
    let draw = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let model = RandomModel::new(&config, Encoding::Ggml(GgmlType::F32), draw, &cpu);
    let source = AsGguf::new(&model, &config).unwrap();
    let mut entries: Vec<RawEntry<'static>> = source.entries("tiny");
    let vocab = byte_vocabulary::vocab();
    for (key, value) in [
        ("model", raw::str(&vocab.model)),
        ("pre", raw::str(vocab.pre.as_deref().unwrap())),
        ("tokens", raw::strs(&vocab.tokens)),
        ("token_type", raw::i32s(&vocab.token_types)),
        ("bos_token_id", raw::u32(vocab.bos_id.unwrap())),
        ("eos_token_id", raw::u32(vocab.eos_id.unwrap())),
        ("add_bos_token", raw::bool(false)),
    ] {
        entries.push((format!("tokenizer.ggml.{key}").into(), value.into()));
    }
    let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";
    entries.push(("tokenizer.chat_template".into(), raw::str(template).into()));
    let job = QuantiseJob {
        source: &source,
        entries,
        mix: Mix {
            target: Quantisation::Q8_0,
            num_layers: NUM_LAYERS,
            has_tied_head: false,
        },
        importance: None,
        cpu: &cpu,
    };
    job.write(path, |_, _| {}).unwrap();
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flambeau"));
    command.args(arguments).output().unwrap()
}

fn stdout_of(arguments: &[&str]) -> String {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn error_of(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// The divergence in the table's row `name`.
fn kl(table: &str, name: &str) -> f64 {
    let row = table
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")) && line.ends_with('%'));
    row.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_student_is_a_model_that_comes_close_to_its_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (teacher, student) = (path("tiny.gguf"), path("student"));
    write_teacher(Path::new(&teacher));
    let settings = [
        "--tokens",
        "12000",
        "--sequence-length",
        "48",
        "--batch-size",
        "4",
        "--learning-rate",
        "6e-3",
        "--threads",
        "2",
    ];
    let distill = |teacher: &str, layers: &str, output: &str, more: &[&str]| {
        let named = [
            "distill",
            "--teacher",
            teacher,
            "--layers",
            layers,
            "--output",
            output,
        ];
        [&named[..], &settings, more]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let all = distill(&teacher, "2", &student, &[]);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();

    // It writes its own text.
    let told = stdout_of(&all);
    assert!(
        kl(&told, "trained") < 0.8 * kl(&told, "untrained"),
        "{told}"
    );
    assert!(told.contains("layers        2 of 4: 0,3"), "{told}");
    let readme = std::fs::read_to_string(Path::new(&student).join("README.md")).unwrap();
    assert!(readme.contains("A student of tiny"), "{readme}");
    assert!(!Path::new(&student).join(".training").exists());

    let (checkpoint, config) = Checkpoint::open(Path::new(&student)).unwrap();
    assert_eq!(config.layers.len(), 2);
    assert_eq!((config.architecture, config.vocab_size), ("llama", 259));
    assert!(checkpoint.metadata().is_none());
    let tokenizer = load::tokenizer(None, Some(Path::new(&student))).unwrap();
    let ids = |tokenizer: &Tokenizer, text: &str| tokenizer.encode(text, Specials::Parse).unwrap();
    for text in ["any text, é 日本", "<|im_start|>user\n"] {
        assert_eq!(
            ids(&tokenizer, text),
            ids(&byte_vocabulary::tokenizer(), text)
        );
    }
    let error = error_of(&all);
    assert!(
        error.contains("--output: ") && error.contains("has other files in it"),
        "{error}"
    );

    // A folder is a teacher, too, and reads what it is given.
    let text = path("text.txt");
    let sentence = "Pack my box with five dozen liquor jugs. ";
    std::fs::write(&text, sentence.repeat(60)).unwrap();
    let grandchild = path("grandchild");
    let again = distill(&student, "0-0", &grandchild, &["--text", &text]);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    let told = stdout_of(&again);
    assert!(
        kl(&told, "trained") < 0.8 * kl(&told, "untrained"),
        "{told}"
    );
    let file = |folder: &str| std::fs::read(Path::new(folder).join("tokenizer.json")).unwrap();
    assert_eq!(file(&student), file(&grandchild));
    let told = stdout_of(&["eval", &grandchild, "--text", &text, "--window", "48"]);
    assert!(told.starts_with("perplexity "), "{told}");
}

#[test]
fn what_cannot_be_done_is_refused_by_flag_before_anything_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (teacher, output) = (path("tiny.gguf"), path("student"));
    write_teacher(Path::new(&teacher));
    let base = ["distill", "--teacher", &teacher, "--output", &output];
    for (flag, more) in [
        ("--layers", &["--layers", "9"][..]),
        ("--layers", &["--layers", "0-4"]),
        (
            "--sequence-length",
            &["--layers", "2", "--sequence-length", "4096"],
        ),
        (
            "--learning-rate",
            &["--layers", "2", "--learning-rate", "2"],
        ),
        ("--tokens", &["--layers", "2", "--tokens", "0"]),
    ] {
        let error = error_of(&[&base[..], more].concat());
        assert!(error.contains(flag), "{error}");
        assert!(!Path::new(&output).exists());
    }
    // Another run that writes there, or what is left of one that nobody knows.
    let training = Path::new(&output).join(".training");
    std::fs::create_dir_all(&training).unwrap();
    let lock = std::fs::File::create(training.join("lock")).unwrap();
    lock.lock().unwrap();
    let begin = [&base[..], &["--layers", "2"]].concat();
    let error = error_of(&begin);
    assert!(
        error.contains("--output: another run writes to "),
        "{error}"
    );
    drop(lock);
    std::fs::write(training.join("state.safetensors"), "x").unwrap();
    let error = error_of(&begin);
    assert!(error.contains("not what the run was begun with"), "{error}");
}

#[test]
fn the_default_models_tokenizer_is_the_same_from_a_folders_files() {
    let file = GgufFile::open(common::default_model()).unwrap();
    let vocab = load::vocabulary(file.metadata()).unwrap();
    let files = vocab.to_json(None).unwrap();
    let bytes = |json: &serde_json::Value| serde_json::to_vec(json).unwrap();
    let got = Tokenizer::from_json(&bytes(&files.tokenizer), Some(&bytes(&files.config))).unwrap();
    let wanted = Tokenizer::from_gguf(vocab).unwrap();
    let sources = [include_str!("main.rs"), include_str!("../../README.md")];
    for text in sources
        .iter()
        .flat_map(|text| text.lines())
        .chain(["<|im_start|>é 日本 🔥 1234"])
    {
        for mode in [Specials::Plain, Specials::Parse] {
            assert_eq!(
                got.encode(text, mode).unwrap(),
                wanted.encode(text, mode).unwrap()
            );
        }
    }
    assert_eq!(got.eos_ids(), wanted.eos_ids());
    assert_eq!(got.vocab_size(), wanted.vocab_size());
}
