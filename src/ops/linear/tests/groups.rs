//! Several weights in one call.

use super::super::super::Vector;
use super::super::super::testing::{Random, bits, cpus, tensor, view};
use super::super::{LinearGroup, LinearPart, PackedWeight, matmul, matmul_groups};
use super::{Weight, product};

#[test]
fn parts_side_by_side_give_the_bits_of_each_alone() {
    let mut random = Random::new(12);
    let (rows, k) = (5, 64);
    let x = random.floats(rows * k, 2.0);
    for cpu in cpus() {
        let weights: Vec<Weight> = [(4, 19), (0, 3), (7, 40)]
            .map(|(at, n)| Weight::random(at, n, k, &mut random))
            .into();
        let bias = random.floats(3, 1.0);
        let bias = Vector::from(bias);
        let biases = [None, Some(&bias), None];
        let packed: Vec<PackedWeight> = weights.iter().map(|w| w.pack(&cpu)).collect();
        let parts: Vec<LinearPart<'_>> = packed
            .iter()
            .zip(biases)
            .map(|(weight, bias)| LinearPart { weight, bias })
            .collect();
        let (buffer, out) = view(&vec![9.0; rows * 62], (rows, 62));
        matmul(&out, &tensor(&x, (rows, k)), &parts, &cpu).unwrap();
        buffer.assert_margins_untouched();
        let alone: Vec<candle_core::Tensor> = weights
            .iter()
            .zip(biases)
            .map(|(weight, bias)| product(&x, rows, weight, bias.map(|bias| &**bias), &cpu))
            .map(|alone| alone.cpu("alone").unwrap().clone())
            .collect();
        assert_eq!(
            bits(&out),
            bits(&candle_core::Tensor::cat(&alone, 1).unwrap().into())
        );
    }
}

#[test]
fn groups_of_rows_give_the_bits_of_each_alone() {
    let mut random = Random::new(13);
    let k = 64;
    let x = random.floats(300 * k, 2.0);
    for cpu in cpus() {
        let weights = [4, 0, 4, 8].map(|at| Weight::random(at, 40, k, &mut random));
        let packed = weights.each_ref().map(|weight| weight.pack(&cpu));
        // One row, none, many, and a gap after them.
        let groups = [0..1, 1..1, 1..270, 280..300];
        let of = |i: usize| LinearPart {
            weight: &packed[i],
            bias: None,
        };
        let (buffer, out) = view(&vec![9.0; 300 * 40], (300, 40));
        let list: Vec<LinearGroup<'_>> = (groups.iter().enumerate())
            .map(|(i, rows)| LinearGroup {
                rows: rows.clone(),
                parts: vec![of(i)],
            })
            .collect();
        let x_tensor = tensor(&x, (300, k));
        matmul_groups(&out, &x_tensor, &list, &cpu).unwrap();
        buffer.assert_margins_untouched();
        for (i, rows) in groups
            .into_iter()
            .enumerate()
            .filter(|(_, rows)| !rows.is_empty())
        {
            let x = &x[rows.start * k..rows.end * k];
            let alone = product(x, rows.len(), &weights[i], None, &cpu);
            let got = out.narrow(rows.start, rows.len()).unwrap();
            assert!(bits(&alone) == bits(&got), "group {i}");
        }
        let gap = out.narrow(270, 10).unwrap();
        assert!(gap.to_rows().unwrap().iter().flatten().all(|&x| x == 9.0));
        let backwards: Vec<LinearGroup<'_>> = list.into_iter().rev().collect();
        let error = matmul_groups(&out, &x_tensor, &backwards, &cpu).unwrap_err();
        assert!(
            error.to_string().contains("a group has the rows"),
            "{error}"
        );
    }
}
