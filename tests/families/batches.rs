//! How a prompt is cut into steps, who shares them, where its blocks lie and how many threads compute changes no bit.

use flambeau::model::Activations;

use super::blocks;
use super::model::{Model, Spec};
use super::run::{Chunk, NUM_BLOCKS, alone, decoder, prompt, step};

fn bits(logits: &[Vec<f32>]) -> Vec<u32> {
    logits.iter().flatten().map(|x| x.to_bits()).collect()
}

fn models() -> Vec<(Model, Activations)> {
    let quantised = |ty| Spec {
        ty,
        tied: false,
        ..Spec::llama()
    };
    vec![
        (Model::random(&Spec::qwen2(), 5), Activations::Float),
        (Model::random(&Spec::qwen3(), 5), Activations::Float),
        (
            Model::random(&quantised(blocks::Q4_1), 5),
            Activations::Int8,
        ),
        (
            Model::random(&quantised(blocks::Q8_0), 5),
            Activations::Int8,
        ),
    ]
}

/// Every block of the cache once, in an order of no pattern; two sequences take theirs in turn.
fn shuffled_tables() -> [Vec<u32>; 2] {
    let shuffled: Vec<u32> = (0..NUM_BLOCKS)
        .map(|i| (i * 29 % NUM_BLOCKS) as u32)
        .collect();
    let every_second = |first| shuffled.iter().copied().skip(first).step_by(2).collect();
    [every_second(0), every_second(1)]
}

#[test]
fn chunks_of_any_size_give_the_same_bits() {
    for (model, activations) in models() {
        let tokens = prompt(&model, 300, 6);
        let decoder = decoder(&model, activations, 2);
        let want = alone(&decoder, &tokens);
        let [blocks, _] = shuffled_tables();
        for size in [1, 7, 16, 250] {
            let mut got = Vec::new();
            for start in (0..tokens.len()).step_by(size) {
                let range = start..tokens.len().min(start + size);
                got.extend(step(
                    &decoder,
                    &[Chunk {
                        tokens: &tokens,
                        range,
                        blocks: &blocks,
                    }],
                ));
            }
            assert!(
                bits(&got) == bits(&want),
                "{} in chunks of {size}",
                model.spec.arch
            );
        }
    }
}

#[test]
fn sequences_that_share_steps_get_the_bits_they_get_alone() {
    for (model, activations) in models() {
        let (long, short) = (prompt(&model, 300, 7), prompt(&model, 45, 8));
        let one_thread = decoder(&model, activations, 1);
        let (want_long, want_short) = (alone(&one_thread, &long), alone(&one_thread, &short));

        // Three threads, and a cache that still holds what others left.
        let decoder = decoder(&model, activations, 3);
        alone(&decoder, &prompt(&model, 400, 9));
        let [long_blocks, short_blocks] = shuffled_tables();
        let of_long = |range| Chunk {
            tokens: &long,
            range,
            blocks: &long_blocks,
        };
        let of_short = |range| Chunk {
            tokens: &short,
            range,
            blocks: &short_blocks,
        };
        let steps = [
            vec![of_long(0..50), of_short(0..13)],
            vec![of_short(13..14), of_long(50..290)],
            vec![of_long(290..291), of_short(14..15)],
            vec![of_short(15..45)],
            vec![of_long(291..300)],
        ];
        let (mut got_long, mut got_short) = (Vec::new(), Vec::new());
        for chunks in steps {
            let mut rows = step(&decoder, &chunks).into_iter();
            for chunk in &chunks {
                let is_long = chunk.tokens.len() == long.len();
                let got = if is_long {
                    &mut got_long
                } else {
                    &mut got_short
                };
                got.extend(rows.by_ref().take(chunk.range.len()));
            }
        }
        assert!(bits(&got_long) == bits(&want_long), "{}", model.spec.arch);
        assert!(bits(&got_short) == bits(&want_short), "{}", model.spec.arch);
    }
}
