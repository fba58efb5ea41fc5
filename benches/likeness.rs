//! What the gates of the semantic cache let pass of the pairs of questions in `benches/semantic`, and how long they take:
//! `cargo bench --bench likeness [-- train]`. Prints one JSON object a pair where `--pairs` is said, for scripts.

use std::collections::BTreeMap;
use std::time::Instant;

use flambeau::gateway::{Likeness, compare};
use serde_json::{Value, json};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let part = match args.iter().any(|arg| arg == "train") {
        true => "train",
        false => "held_out",
    };
    let file = format!(
        "{}/benches/semantic/{part}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&file).expect("the pairs are in the repository");
    let pairs: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a pair a line"))
        .collect();
    let side = |pair: &'_ Value, name: &str| pair[name].as_str().unwrap_or_default().to_owned();
    let texts: Vec<(String, String)> = pairs
        .iter()
        .map(|pair| (side(pair, "stored"), side(pair, "asked")))
        .collect();
    let begin = Instant::now();
    let found: Vec<_> = texts.iter().map(|(a, b)| compare(a, b)).collect();
    let each = begin.elapsed() / texts.len() as u32;
    if args.iter().any(|arg| arg == "--pairs") {
        for (pair, found) in pairs.iter().zip(&found) {
            let said = match found {
                Ok(Likeness::Same) => "same",
                Ok(Likeness::Alike) => "alike",
                Err(gate) => gate.as_str(),
            };
            println!("{}", json!({"id": pair["id"], "likeness": said}));
        }
        return;
    }
    let mut kinds: BTreeMap<(bool, &str), [usize; 3]> = BTreeMap::new();
    for (pair, found) in pairs.iter().zip(&found) {
        let kind = (
            pair["same"] == false,
            pair["kind"].as_str().unwrap_or_default(),
        );
        let counts = kinds.entry(kind).or_default();
        counts[0] += 1;
        counts[1] += usize::from(*found == Ok(Likeness::Same));
        counts[2] += usize::from(*found == Ok(Likeness::Alike));
    }
    println!(
        "{} pairs, {each:?} each\n\n| kind | the same | alike | of |\n|---|---|---|---|",
        pairs.len()
    );
    for ((is_other, kind), [all, same, alike]) in &kinds {
        let note = if *is_other { " (another answer)" } else { "" };
        println!("| {kind}{note} | {same} | {alike} | {all} |");
    }
    let sum = |is_other: bool, i: usize| -> usize {
        let own = kinds.iter().filter(|((other, _), _)| *other == is_other);
        own.map(|(_, counts)| counts[i]).sum()
    };
    let (right, wrong) = (sum(false, 1) + sum(false, 2), sum(true, 1) + sum(true, 2));
    println!(
        "\npass: {right} of {} that one answer is right for, {wrong} of {} others",
        sum(false, 0),
        sum(true, 0)
    );
}
