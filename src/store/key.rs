//! The key that values are sealed with.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::hmac::HMAC_SHA256;

use super::Mark;

/// A key of 32 random bytes, written as 64 hex digits or 44 characters of base64. Never printed.
///
/// No value is encrypted with the key itself, but with one that HKDF-SHA256 derives of it and the record's id.
#[derive(Clone)]
pub struct SealingKey(Prk);

/// Why a text is no key. Does not repeat it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has another length.
    #[error(
        "a sealing key is 64 hex digits or 44 characters of base64, not {0} characters (`openssl rand -hex 32` makes one)"
    )]
    Length(usize),
    /// It has 64 characters.
    #[error("a sealing key of 64 characters must be hex digits")]
    Hex,
    /// It has 44 characters.
    #[error("a sealing key of 44 characters must be the base64 of 32 bytes (`+`, `/` and one `=`)")]
    Base64,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(***)")
    }
}

impl FromStr for SealingKey {
    type Err = KeyError;

    /// Spaces and line ends around the key are no part of it: files often end in one.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = match text.chars().count() {
            64 => of_hex(text).ok_or(KeyError::Hex)?,
            44 => BASE64_STANDARD
                .decode(text)
                .map_err(|_| KeyError::Base64)?
                .try_into()
                .map_err(|_| KeyError::Base64)?,
            len => return Err(KeyError::Length(len)),
        };
        Ok(Self::from(bytes))
    }
}

impl From<[u8; 32]> for SealingKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Salt::new(HKDF_SHA256, b"flambeau store").extract(&bytes))
    }
}

impl SealingKey {
    /// What a store that is sealed with it says of it. Tells nothing of the key but whether two are the same.
    pub fn mark(&self) -> Mark {
        let mut check = [0; 32];
        let derived = self.0.expand(&[b"check"], HKDF_SHA256);
        derived
            .and_then(|derived| derived.fill(&mut check))
            .expect("HKDF has 32 bytes: this is a bug");
        Mark::Sealed(check)
    }

    /// What stands for an id or a scope where others may read it: those are digests of what may be guessed.
    pub(super) fn blind<const N: usize>(&self, name: &[u8; N]) -> [u8; N] {
        let derived = self.0.expand(&[b"names"], HMAC_SHA256);
        let key = ring::hmac::Key::from(derived.expect("HKDF has 32 bytes: this is a bug"));
        let tag = ring::hmac::sign(&key, name);
        std::array::from_fn(|i| tag.as_ref()[i])
    }

    /// What the values under this id are encrypted with.
    pub(super) fn of_id(&self, id: &[u8; 16]) -> LessSafeKey {
        let info = [&b"value"[..], id];
        let derived = self.0.expand(&info, &AES_256_GCM);
        let derived = derived.expect("HKDF has 32 bytes: this is a bug");
        LessSafeKey::new(UnboundKey::from(derived))
    }
}

fn of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    for (byte, pair) in bytes.iter_mut().zip(digits?.chunks_exact(2)) {
        *byte = (pair[0] << 4 | pair[1]) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base64_of_the_same_bytes_are_the_same_key() {
        let bytes: [u8; 32] = std::array::from_fn(|i| (i * 37 + 200) as u8);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = BASE64_STANDARD.encode(bytes);
        let expected = SealingKey::from(bytes).mark();
        for text in [&hex, &hex.to_uppercase(), &base64, &format!(" {hex}\r\n")] {
            assert_eq!(text.parse::<SealingKey>().unwrap().mark(), expected);
        }
        assert_ne!(SealingKey::from([0; 32]).mark(), expected);
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_with_the_lengths_that_are_and_not_repeated() {
        for (text, error) in [
            ("", KeyError::Length(0)),
            ("secret", KeyError::Length(6)),
            (&"a".repeat(63), KeyError::Length(63)),
            (&"é".repeat(65), KeyError::Length(65)),
            (&"é".repeat(64), KeyError::Hex),
            (&"g".repeat(64), KeyError::Hex),
            (&"é".repeat(44), KeyError::Base64),
            (&"a".repeat(44), KeyError::Base64), // 33 bytes
            (&format!("{}==", "a".repeat(42)), KeyError::Base64),
        ] {
            let found = text.parse::<SealingKey>().unwrap_err();
            assert_eq!(found, error);
            assert!(!found.to_string().contains("secret"));
        }
        let message = KeyError::Length(6).to_string();
        assert!(message.contains("64 hex") && message.contains("44 char") && message.contains("6"));
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = SealingKey::from([0xab; 32]);
        assert_eq!(
            format!("{key:?} {key:#?}"),
            "SealingKey(***) SealingKey(***)"
        );
    }

    #[test]
    fn the_check_value_and_the_keys_of_ids_differ() {
        let key = SealingKey::from([1; 32]);
        let Mark::Sealed(check) = key.mark() else {
            panic!("a key gives a sealed mark")
        };
        let seal = |key: LessSafeKey| {
            let nonce = ring::aead::Nonce::assume_unique_for_key([0; 12]);
            let mut text = vec![0; 32];
            let tag = key.seal_in_place_separate_tag(nonce, ring::aead::Aad::empty(), &mut text);
            (text, tag.unwrap().as_ref().to_vec())
        };
        let by_check = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &check).unwrap());
        let sealed = [key.of_id(&[0; 16]), key.of_id(&[1; 16]), by_check].map(seal);
        assert!(sealed[0] != sealed[1] && sealed[1] != sealed[2] && sealed[0] != sealed[2]);
    }
}
