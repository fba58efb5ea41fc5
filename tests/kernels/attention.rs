#![allow(unsafe_code)]

use half::{bf16, f16};

use super::cache::{Layout, Unit};
use super::shim::{Buffer, Kernel, function};
use super::values::{Half, Random, assert_close, widen};

type Reference = unsafe extern "C" fn(
    *mut f32,
    *const f32,
    *const f32,
    *const f32,
    *const f32,
    i32,
    i32,
    i32,
    i32,
    i32,
    i32,
    f32,
    f32,
);

const SPAN: usize = 256;

#[derive(Clone, Copy)]
struct Model {
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    block_size: usize,
    window: usize,
    cap: f32,
    has_sinks: bool,
}

const PLAIN: Model = Model {
    num_heads: 6,
    num_kv_heads: 2,
    head_dim: 64,
    block_size: 16,
    window: i32::MAX as usize,
    cap: 0.0,
    has_sinks: false,
};

/// A sequence of some tokens, the last rows of which are computed.
#[derive(Clone)]
struct Sequence {
    rows: usize,
    context: usize,
    blocks: Vec<u32>,
}

impl Model {
    fn scale(&self) -> f32 {
        1.3 / (self.head_dim as f32).sqrt()
    }

    /// Sequences with blocks of their own, out of order.
    fn sequences(&self, lengths: &[(usize, usize)]) -> (Vec<Sequence>, Layout) {
        let mut next = 0;
        let mut sequences: Vec<Sequence> = lengths
            .iter()
            .map(|&(rows, context)| {
                let first = next;
                next += context.div_ceil(self.block_size) as u32;
                Sequence {
                    rows,
                    context,
                    blocks: (first..next).collect(),
                }
            })
            .collect();
        for block in sequences
            .iter_mut()
            .flat_map(|sequence| &mut sequence.blocks)
        {
            *block = next - 1 - *block;
        }
        let layout = Layout {
            num_blocks: next as usize,
            num_kv_heads: self.num_kv_heads,
            block_size: self.block_size,
            head_dim: self.head_dim,
        };
        (sequences, layout)
    }
}

struct Inputs<T, U> {
    qkv: Vec<T>,
    cache: Vec<U>,
    sinks: Vec<f32>,
}

/// Runs the kernels over all sequences: whole, or a block a span and the merging.
fn attention<T: Half, U: Unit>(
    model: Model,
    sequences: &[Sequence],
    inputs: &Inputs<T, U>,
    is_split: bool,
) -> Vec<T> {
    let Model {
        num_heads,
        num_kv_heads,
        head_dim,
        block_size,
        window,
        cap,
        has_sinks,
    } = model;
    let num_rows: usize = sequences.iter().map(|sequence| sequence.rows).sum();
    let num_warps = if head_dim > 128 { 2 } else { 4 };
    let rows_per_tile = num_warps * 16 / (num_heads / num_kv_heads);
    let (mut tiles, mut tables, mut merges) = (Vec::new(), Vec::<u32>::new(), Vec::new());
    let (mut first_row, mut num_partials, mut most_spans) = (0, 0, 1);
    for sequence in sequences {
        for start in (0..sequence.rows).step_by(rows_per_tile) {
            let rows = rows_per_tile.min(sequence.rows - start);
            let visible = sequence.context - sequence.rows + start + 1;
            tiles.extend(
                [first_row + start, rows, visible, tables.len(), num_partials].map(|x| x as u32),
            );
            let first_span = visible.saturating_sub(window) / SPAN;
            let num_spans = (visible + rows - 1).div_ceil(SPAN) - first_span;
            for row in 0..rows {
                let own_spans = (visible + row).div_ceil(SPAN) - first_span;
                merges.extend([num_partials + row, rows, own_spans].map(|x| x as u32));
            }
            num_partials += num_spans * rows;
            most_spans = most_spans.max(num_spans);
        }
        first_row += sequence.rows;
        tables.extend(&sequence.blocks);
    }
    let row_len = inputs.qkv.len() / num_rows;
    let (qkv, cache) = (
        Buffer::new("qkv", &inputs.qkv),
        Buffer::new("cache", &inputs.cache),
    );
    let (tile_buffer, tables) = (
        Buffer::new("tiles", &tiles),
        Buffer::new("block_tables", &tables),
    );
    let sinks = Buffer::new("sinks", &inputs.sinks);
    let out = Buffer::<T>::output("out", num_rows * num_heads * head_dim);
    let partials = Buffer::<f32>::output("partials", num_partials * num_heads * (head_dim + 4));

    let (tile, is_int8) = (if head_dim > 128 { 32 } else { 64 }, U::NAME == "int8");
    let wide = tile * (head_dim + 8) * 2;
    let stages = if is_int8 {
        wide + 2 * tile * (head_dim + 4)
    } else {
        2 * wide
    };
    let queries = num_warps * 16 * (head_dim + 8) * 2;
    let totals = if is_split || most_spans == 1 {
        0
    } else {
        num_warps * 16 * head_dim * 4
    };

    let name = format!("attention_{}_{}_{head_dim}", T::NAME, U::NAME);
    let grid = [
        tiles.len() / 5,
        num_kv_heads,
        if is_split { most_spans } else { 1 },
    ];
    Kernel::new(&name, grid, num_warps * 32)
        .shared(queries + stages + totals)
        .buffer(&out)
        .buffer(&qkv)
        .buffer(&cache)
        .buffer(&tile_buffer)
        .buffer(&tables)
        .buffer(&sinks)
        .buffer(&partials)
        .fields(
            &[
                row_len,
                num_heads,
                num_kv_heads,
                block_size,
                window,
                has_sinks.into(),
                is_split.into(),
            ],
            &[model.scale(), cap],
        )
        .run();
    if is_split {
        let merges = Buffer::new("rows", &merges);
        let name = format!("attention_merge_{}", T::NAME);
        let kernel = Kernel::new(&name, [num_rows, num_heads.div_ceil(4), 1], 128)
            .buffer(&out)
            .buffer(&partials);
        kernel
            .buffer(&merges)
            .buffer(&sinks)
            .int(has_sinks.into())
            .int(num_heads)
            .int(head_dim)
            .run();
    }
    out.to_vec()
}

fn inputs<T: Half, U: Unit>(model: Model, sequences: &[Sequence], layout: &Layout) -> Inputs<T, U> {
    let mut random = Random::new(layout.num_blocks as u64);
    let num_rows: usize = sequences.iter().map(|sequence| sequence.rows).sum();
    let row_len = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim;
    Inputs {
        qkv: random.halves(num_rows * row_len, 2.0),
        cache: layout.random(&mut random),
        sinks: random.floats(model.num_heads, 2.0),
    }
}

fn reference<T: Half, U: Unit>(
    model: Model,
    sequences: &[Sequence],
    inputs: &Inputs<T, U>,
    layout: &Layout,
) -> Vec<f32> {
    let num_rows: usize = sequences.iter().map(|sequence| sequence.rows).sum();
    let (row_len, width) = (
        inputs.qkv.len() / num_rows,
        model.num_heads * model.head_dim,
    );
    let (mut first_row, mut all) = (0, Vec::new());
    for sequence in sequences {
        let rows = inputs.qkv[first_row * row_len..]
            .chunks(row_len)
            .take(sequence.rows);
        let q: Vec<f32> = rows.flat_map(|row| widen(&row[..width])).collect();
        let stored = |which| {
            let slot = |token: usize| {
                sequence.blocks[token / model.block_size] as usize * model.block_size
                    + token % model.block_size
            };
            let read = |token, head| layout.read(&inputs.cache, slot(token), which, head);
            let tokens = (0..sequence.context).flat_map(move |token| {
                (0..model.num_kv_heads).flat_map(move |head| read(token, head))
            });
            tokens.collect::<Vec<f32>>()
        };
        let (k, v) = (stored(0), stored(1));
        let mut out = vec![0.0; sequence.rows * width];
        // SAFETY: the type of the function, and arrays of the shape.
        unsafe {
            let reference: Reference = function("attention_reference");
            reference(
                out.as_mut_ptr(),
                q.as_ptr(),
                k.as_ptr(),
                v.as_ptr(),
                if model.has_sinks {
                    inputs.sinks.as_ptr()
                } else {
                    std::ptr::null()
                },
                sequence.rows as i32,
                sequence.context as i32,
                model.num_heads as i32,
                model.num_kv_heads as i32,
                model.head_dim as i32,
                model.window as i32,
                model.scale(),
                model.cap,
            );
        }
        all.extend(out);
        first_row += sequence.rows;
    }
    all
}

fn bits<T: Half>(values: &[T]) -> Vec<u32> {
    values.iter().map(|x| x.to_f32().to_bits()).collect()
}

fn check<T: Half, U: Unit>(model: Model, lengths: &[(usize, usize)]) {
    let (sequences, layout) = model.sequences(lengths);
    let inputs = inputs::<T, U>(model, &sequences, &layout);
    let whole = attention(model, &sequences, &inputs, false);
    let want = reference(model, &sequences, &inputs, &layout);
    // Weights and, of another type than the cache's, queries are rounded on the way.
    let epsilon = T::EPSILON.max(if U::NAME == "bf16" {
        bf16::EPSILON.to_f32() / 2.0
    } else {
        0.0
    });
    assert_close(&widen(&whole), &want, 3.0 * epsilon);
    let split = attention(model, &sequences, &inputs, true);
    assert_eq!(bits(&split), bits(&whole), "a block a span changes no bit");
}

#[test]
fn shim_attention_is_the_formula_for_any_mix_of_rows() {
    let lengths = [(1, 1), (1, 300), (5, 5), (40, 70), (1, 256), (3, 258)];
    check::<f16, f16>(PLAIN, &lengths);
    check::<bf16, bf16>(PLAIN, &lengths);
    check::<bf16, f16>(PLAIN, &lengths);
    check::<f16, i8>(PLAIN, &lengths);
    check::<bf16, i8>(PLAIN, &lengths);
}

#[test]
fn shim_attention_takes_every_width_of_heads() {
    for head_dim in [96, 128, 256] {
        let model = Model {
            head_dim,
            num_heads: 4,
            num_kv_heads: 1,
            block_size: 32,
            ..PLAIN
        };
        let lengths = [(1, 530), (20, 41)];
        check::<f16, f16>(model, &lengths);
        check::<bf16, bf16>(model, &lengths);
        check::<bf16, f16>(model, &lengths);
        check::<f16, i8>(model, &lengths);
        check::<bf16, i8>(model, &lengths);
    }
}

#[test]
fn shim_attention_has_windows_caps_and_sinks() {
    let model = Model {
        window: 70,
        cap: 1.5,
        has_sinks: true,
        ..PLAIN
    };
    let lengths = [(1, 700), (30, 400), (2, 3)];
    check::<f16, f16>(model, &lengths);
    check::<bf16, i8>(
        Model {
            head_dim: 128,
            block_size: 48,
            ..model
        },
        &lengths,
    );
    check::<f16, f16>(
        Model {
            num_heads: 64,
            num_kv_heads: 1,
            window: 256,
            ..model
        },
        &[(2, 300)],
    );
}

#[test]
fn shim_attention_of_a_row_is_the_same_alone_in_company_and_in_chunks() {
    let (sequences, layout) = PLAIN.sequences(&[(1, 515), (24, 24), (70, 290)]);
    let inputs = inputs::<bf16, bf16>(PLAIN, &sequences, &layout);
    let together = attention(PLAIN, &sequences, &inputs, false);
    let row_len = inputs.qkv.len() / 95;
    let width = PLAIN.num_heads * PLAIN.head_dim;
    let mut first_row = 0;
    for sequence in &sequences {
        for (start, rows) in [
            (0, 1),
            (sequence.rows / 2, sequence.rows - sequence.rows / 2),
        ] {
            let part = Sequence {
                rows,
                context: sequence.context - sequence.rows + start + rows,
                ..sequence.clone()
            };
            let at = first_row + start;
            let alone = Inputs {
                qkv: inputs.qkv[at * row_len..(at + rows) * row_len].to_vec(),
                cache: inputs.cache.clone(),
                sinks: inputs.sinks.clone(),
            };
            for is_split in [false, true] {
                let got = attention(PLAIN, std::slice::from_ref(&part), &alone, is_split);
                assert_eq!(bits(&got), bits(&together[at * width..(at + rows) * width]));
            }
        }
        first_row += sequence.rows;
    }
}

#[test]
fn shim_attention_counts_small_weights_of_int8_values_that_are_small() {
    let model = Model {
        num_heads: 1,
        num_kv_heads: 1,
        ..PLAIN
    };
    let (sequences, layout) = model.sequences(&[(1, 200)]);
    // One token has all but 1e-5 of each other one's weight, and nothing to say.
    let mut inputs = inputs::<f16, i8>(model, &sequences, &layout);
    inputs.qkv = vec![f16::ONE; inputs.qkv.len()];
    let slot = |token: usize| sequences[0].blocks[token / 16] as usize * 16 + token % 16;
    for token in 0..200 {
        let (key, value) = match token {
            0 => (11.5 / model.scale() / 64.0, 0.0),
            _ => (0.0, 0.25),
        };
        layout.write(&mut inputs.cache, slot(token), 0, 0, &[key; 64]);
        layout.write(&mut inputs.cache, slot(token), 1, 0, &[value; 64]);
    }
    let want = reference(model, &sequences, &inputs, &layout);
    assert!(want[0] > 4e-4, "{}", want[0]);
    for got in widen(&attention(model, &sequences, &inputs, false)) {
        assert!((got / want[0] - 1.0).abs() < 0.05, "{got} {}", want[0]);
    }
}

#[test]
fn shim_attention_is_no_number_just_where_a_token_without_numbers_is_seen() {
    let (sequences, layout) = PLAIN.sequences(&[(30, 40)]);
    let inputs = inputs::<f16, f16>(PLAIN, &sequences, &layout);
    let good = attention(PLAIN, &sequences, &inputs, false);
    let mut cache = inputs.cache.clone();
    let token = 25;
    let slot = sequences[0].blocks[token / 16] as usize * 16 + token % 16;
    for head in 0..PLAIN.num_kv_heads {
        // As rope_store leaves it.
        layout.write(&mut cache, slot, 0, head, &[f32::NAN; 64]);
        layout.write(&mut cache, slot, 1, head, &[0.0; 64]);
    }
    let inputs = Inputs { cache, ..inputs };
    let width = PLAIN.num_heads * PLAIN.head_dim;
    for is_split in [false, true] {
        let bad = attention(PLAIN, &sequences, &inputs, is_split);
        for (row, (bad, good)) in bad.chunks(width).zip(good.chunks(width)).enumerate() {
            match 10 + row < token {
                true => assert_eq!(bits(bad), bits(good), "row {row}"),
                false => assert!(bad.iter().all(|x| x.is_nan()), "row {row}"),
            }
        }
    }
}
