//! Names of blocks by what determines their content.

use sha2::{Digest, Sha256};

/// The first half of a SHA-256 over a scope and all tokens up to a block's end, which determine the block's keys and
/// values. Two contents with one name cannot be found on purpose, so that a name is as good as the tokens themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockHash([u8; 16]);

impl BlockHash {
    /// The name before a sequence's first block. Sequences of different scopes share nothing.
    pub fn scope(name: &str) -> Self {
        Self::finish(Sha256::new_with_prefix(name))
    }

    /// The name of the block that holds `tokens` after this one.
    #[must_use]
    pub fn child(self, tokens: &[u32]) -> Self {
        let mut hasher = Sha256::new_with_prefix(self.0);
        for token in tokens {
            hasher.update(token.to_le_bytes());
        }
        Self::finish(hasher)
    }

    fn finish(hasher: Sha256) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize()[..16]);
        Self(half)
    }
}

/// The names of a sequence's full blocks, in token order.
#[derive(Clone, Debug)]
pub struct HashChain {
    scope: BlockHash,
    block_size: usize,
    blocks: Vec<BlockHash>,
}

impl HashChain {
    /// The chain of the sequence `tokens` in `scope`.
    pub fn new(scope: BlockHash, block_size: usize, tokens: &[u32]) -> Self {
        let mut chain = Self {
            scope,
            block_size,
            blocks: Vec::new(),
        };
        chain.extend(tokens);
        chain
    }

    /// Takes in what was appended to the sequence, which is now `tokens`.
    pub fn extend(&mut self, tokens: &[u32]) {
        let (blocks, _) = tokens.split_at(tokens.len() / self.block_size * self.block_size);
        for block in blocks.chunks_exact(self.block_size).skip(self.blocks.len()) {
            self.blocks
                .push(self.before(self.blocks.len()).child(block));
        }
    }

    /// The name of full block `i`.
    pub fn block(&self, i: usize) -> BlockHash {
        self.blocks[i]
    }

    /// The name that block `i` follows.
    pub fn before(&self, i: usize) -> BlockHash {
        match i {
            0 => self.scope,
            i => self.blocks[i - 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_depends_on_the_scope_and_on_every_token_before() {
        let tokens: Vec<u32> = (0..48).collect();
        let chain =
            |scope: &str, tokens: &[u32]| HashChain::new(BlockHash::scope(scope), 16, tokens);
        let a = chain("a", &tokens);
        assert_eq!(a.blocks, chain("a", &tokens).blocks);
        assert!((0..3).all(|i| a.block(i) != chain("b", &tokens).block(i)));
        let mut other = tokens.clone();
        other[17] = 99;
        let other = chain("a", &other);
        assert_eq!(a.block(0), other.block(0));
        assert_ne!(a.block(1), other.block(1));
        assert_ne!(a.block(2), other.block(2));
    }

    #[test]
    fn a_chain_grows_as_its_sequence_does() {
        let tokens: Vec<u32> = (0..50).collect();
        let mut grown = HashChain::new(BlockHash::scope(""), 16, &tokens[..7]);
        for len in 7..=tokens.len() {
            grown.extend(&tokens[..len]);
        }
        let whole = HashChain::new(BlockHash::scope(""), 16, &tokens);
        assert_eq!((grown.blocks.len(), &grown.blocks), (3, &whole.blocks));
        assert_eq!(grown.before(1), grown.block(0));
    }
}
