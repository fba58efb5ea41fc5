//! Bit-exact against the reference implementation: see `scripts/make_dequant_fixtures.py`.

use super::*;
use crate::backend::cpu::Cpu;
use crate::ops::PackedWeight;

/// Lines of `type id, bytes in hex, big-endian bits of the f32s in hex`.
const FIXTURES: &str = include_str!("../../../../tests/data/dequant.txt");

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn fixtures() -> impl Iterator<Item = (GgmlType, Vec<u8>, Vec<f32>)> {
    FIXTURES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [id, bytes, floats] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let floats = unhex(floats)
                .as_chunks()
                .0
                .iter()
                .map(|&bits| f32::from_be_bytes(bits))
                .collect();
            (GgmlType::from_id(id.parse().unwrap()), unhex(bytes), floats)
        })
}

#[test]
fn every_type_dequantises_to_the_bits_of_the_reference() {
    let mut seen = Vec::new();
    for (ty, bytes, expected) in fixtures() {
        let mut out = vec![0.0; expected.len()];
        dequantise(ty, &bytes, &mut out).unwrap();
        for (idx, (got, want)) in out.iter().zip(&expected).enumerate() {
            assert_eq!(
                got.to_bits(),
                want.to_bits(),
                "{ty}, element {idx}: {got} instead of {want}"
            );
        }
        seen.push(ty.id());
    }
    let supported: Vec<u32> = (0..64)
        .filter(|&id| GgmlType::from_id(id).layout().is_some())
        .collect();
    assert_eq!(seen, supported, "each supported type has its fixture");
}

#[test]
fn a_wrong_length_is_an_error_for_every_type() {
    for (ty, bytes, expected) in fixtures() {
        let mut out = vec![0.0; expected.len() + 1];
        let (bytes_len, elements) = (bytes.len(), expected.len());
        assert_eq!(
            dequantise(ty, &bytes, &mut out),
            Err(DequantError::Length {
                ty,
                bytes: bytes_len,
                elements: elements + 1
            })
        );
        assert!(dequantise(ty, &bytes, &mut out[..elements - 1]).is_err());
        assert!(dequantise(ty, &bytes[1..], &mut out[..elements]).is_err());
    }
}

#[test]
fn an_unsupported_type_is_an_error_naming_it() {
    let error = dequantise(GgmlType::from_id(40), &[0; 36], &mut [0.0; 64]).unwrap_err();
    assert_eq!(error.to_string(), "type NVFP4 cannot be dequantised");
    let error = dequantise(GgmlType::from_id(99), &[], &mut []).unwrap_err();
    assert_eq!(error.to_string(), "type number 99 cannot be dequantised");
}

#[test]
fn repacked_weights_hold_the_same_values() {
    let cpu = Cpu::new(1).unwrap();
    for (ty, bytes, expected) in fixtures() {
        let Some(format) = ty.weight_format() else {
            continue;
        };
        let packed = PackedWeight::new(format, 1, expected.len(), &bytes, &cpu).unwrap();
        let mut row = vec![0.0; expected.len()];
        packed.dequantise_row(0, &mut row).unwrap();
        for (idx, (got, want)) in row.iter().zip(&expected).enumerate() {
            // A zero may lose its sign.
            assert!(
                got.to_bits() == want.to_bits() || *got == 0.0 && *want == 0.0,
                "{ty}, element {idx}: {got} instead of {want}"
            );
        }
    }
}
