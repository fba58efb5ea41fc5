//! How near two texts are by the words that they have in common.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// The different words of a text, whatever their case and order, each by a number that two words hardly share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Box<[u32]>);

/// So many are compared.
const MAX_WORDS: usize = 128;

impl Words {
    /// Of a text.
    pub fn of(text: &str) -> Self {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let words = words.filter(|word| !word.is_empty());
        let mut numbers: Vec<u32> = words.map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        // Of more, those with the least numbers stand for all, which are the same ones in every text.
        numbers.truncate(MAX_WORDS);
        Self(numbers.into())
    }

    /// Twice the words in common, of all words of both: 1 where they are the same, 0 where none is (Dice, 1945).
    pub fn overlap(&self, other: &Self) -> f32 {
        let (mut a, mut b) = (&*self.0, &*other.0);
        let mut num_common = 0;
        while let ([first_a, rest_a @ ..], [first_b, rest_b @ ..]) = (a, b) {
            num_common += usize::from(first_a == first_b);
            if first_a <= first_b {
                a = rest_a;
            }
            if first_b <= first_a {
                b = rest_b;
            }
        }
        let num_all = self.0.len() + other.0.len();
        2.0 * num_common as f32 / num_all.max(1) as f32
    }

    /// What they take.
    pub fn num_bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }
}

fn number(word: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    for c in word.chars().flat_map(char::to_lowercase) {
        c.hash(&mut hasher);
    }
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(a: &str, b: &str) -> f32 {
        Words::of(a).overlap(&Words::of(b))
    }

    #[test]
    fn case_order_and_punctuation_make_no_difference() {
        assert_eq!(overlap("How do I pay?", "how   do i, PAY"), 1.0);
        assert_eq!(overlap("a b a", "b a"), 1.0);
        assert_eq!(overlap("ÄRGER Straße", "ärger straße"), 1.0);
    }

    #[test]
    fn it_is_twice_the_words_in_common_of_all() {
        assert_eq!(overlap("a b c", "c d"), 0.4);
        assert_eq!(overlap("a b", "c d"), 0.0);
        assert_eq!(overlap("", "a"), 0.0);
        assert_eq!(overlap("?!", ""), 0.0);
    }
}
