//! Which block holds which content: a tree whose edges are blocks of tokens.

use std::collections::HashMap;

use super::{BlockHash, BlockId};

/// Siblings that are looked through for a common beginning: a bound on the cost, newest first.
const MAX_SIBLINGS: usize = 16;

/// One block's place in the tree.
#[derive(Clone, Copy, Debug)]
struct Node {
    hash: BlockHash,
    parent: BlockHash,
    /// Neighbours among the parent's children.
    newer: Option<BlockId>,
    older: Option<BlockId>,
    /// Whether its keys and values are in the cache; until then the step that computes them is under way.
    is_written: bool,
}

/// Full blocks by their names.
#[derive(Debug)]
pub(super) struct PrefixTree {
    block_size: usize,
    is_off: bool,
    nodes: Vec<Option<Node>>,
    /// `[num_blocks, block_size]`.
    tokens: Vec<u32>,
    blocks: HashMap<BlockHash, BlockId>,
    newest_child: HashMap<BlockHash, BlockId>,
}

impl PrefixTree {
    pub(super) fn new(num_blocks: usize, block_size: usize) -> Self {
        Self {
            block_size,
            is_off: false,
            nodes: vec![None; num_blocks],
            tokens: vec![0; num_blocks * block_size],
            blocks: HashMap::new(),
            newest_child: HashMap::new(),
        }
    }

    /// Nothing gets a name from now on.
    pub(super) fn turn_off(&mut self) {
        self.is_off = true;
    }

    pub(super) fn find(&self, hash: BlockHash) -> Option<BlockId> {
        self.blocks.get(&hash).copied()
    }

    pub(super) fn contains(&self, block: BlockId) -> bool {
        self.nodes[block.0 as usize].is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Names `block`, unless the name or the block is taken, or the tree is turned off.
    pub(super) fn insert(
        &mut self,
        block: BlockId,
        parent: BlockHash,
        hash: BlockHash,
        tokens: &[u32],
    ) -> bool {
        if self.is_off || self.contains(block) || self.blocks.contains_key(&hash) {
            return false;
        }
        let older = self.newest_child.insert(parent, block);
        if let Some(older) = older {
            self.node(older).newer = Some(block);
        }
        self.nodes[block.0 as usize] = Some(Node {
            hash,
            parent,
            newer: None,
            older,
            is_written: false,
        });
        let start = block.0 as usize * self.block_size;
        self.tokens[start..start + self.block_size].copy_from_slice(tokens);
        self.blocks.insert(hash, block);
        true
    }

    pub(super) fn is_written(&self, block: BlockId) -> bool {
        self.nodes[block.0 as usize].is_some_and(|node| node.is_written)
    }

    pub(super) fn mark_written(&mut self, block: BlockId) {
        if let Some(node) = &mut self.nodes[block.0 as usize] {
            node.is_written = true;
        }
    }

    /// Takes a block's name away, and tells it.
    pub(super) fn remove(&mut self, block: BlockId) -> Option<BlockHash> {
        let node = self.nodes[block.0 as usize].take()?;
        self.blocks.remove(&node.hash);
        if let Some(older) = node.older {
            self.node(older).newer = node.newer;
        }
        match (node.newer, node.older) {
            (Some(newer), older) => self.node(newer).older = older,
            (None, Some(older)) => {
                self.newest_child.insert(node.parent, older);
            }
            (None, None) => {
                self.newest_child.remove(&node.parent);
            }
        }
        Some(node.hash)
    }

    /// The written block after `parent` that shares most tokens with the beginning of `tokens`, and how many.
    pub(super) fn most_similar(
        &self,
        parent: BlockHash,
        tokens: &[u32],
    ) -> Option<(BlockId, usize)> {
        let newest = self.newest_child.get(&parent).copied();
        let older = |block: &BlockId| self.nodes[block.0 as usize].and_then(|node| node.older);
        let mut best = None;
        for block in std::iter::successors(newest, older).take(MAX_SIBLINGS) {
            let held = &self.tokens[block.0 as usize * self.block_size..][..self.block_size];
            let common = held.iter().zip(tokens).take_while(|(a, b)| a == b).count();
            if self.is_written(block) && common > best.map_or(0, |(_, most)| most) {
                best = Some((block, common));
            }
        }
        best
    }

    /// Checks that names and blocks agree.
    pub(super) fn check(&self) -> Result<(), String> {
        let named = self.nodes.iter().flatten().count();
        if named != self.blocks.len() {
            return Err(format!("{named} blocks have {} names", self.blocks.len()));
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            if self.find(node.hash) != Some(BlockId(i as u32)) {
                return Err(format!("block {i} is not found by its name"));
            }
            let is_listed = match node.newer {
                Some(newer) => {
                    self.nodes[newer.0 as usize].and_then(|node| node.older)
                        == Some(BlockId(i as u32))
                }
                None => self.newest_child.get(&node.parent) == Some(&BlockId(i as u32)),
            };
            if !is_listed {
                return Err(format!("block {i} is not among its parent's children"));
            }
        }
        Ok(())
    }

    fn node(&mut self, block: BlockId) -> &mut Node {
        self.nodes[block.0 as usize]
            .as_mut()
            .expect("siblings are in the tree: this is a bug")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_of(blocks: &[(u32, [u32; 4])]) -> (PrefixTree, BlockHash) {
        let root = BlockHash::scope("test");
        let mut tree = PrefixTree::new(8, 4);
        for &(block, tokens) in blocks {
            assert!(tree.insert(BlockId(block), root, root.child(&tokens), &tokens));
            tree.mark_written(BlockId(block));
        }
        tree.check().unwrap();
        (tree, root)
    }

    #[test]
    fn the_sibling_with_most_tokens_in_common_is_found() {
        let (mut tree, root) = tree_of(&[(0, [1, 2, 3, 4]), (1, [1, 2, 9, 9]), (2, [5, 6, 7, 8])]);
        assert_eq!(tree.most_similar(root, &[1, 2, 3]), Some((BlockId(0), 3)));
        assert_eq!(tree.most_similar(root, &[5, 0, 7]), Some((BlockId(2), 1)));
        assert_eq!(tree.most_similar(root, &[9, 9]), None);
        tree.remove(BlockId(0));
        tree.check().unwrap();
        assert_eq!(tree.most_similar(root, &[1, 2, 3]), Some((BlockId(1), 2)));
    }

    #[test]
    fn a_block_whose_step_is_under_way_is_found_by_name_and_not_copied() {
        let (mut tree, root) = tree_of(&[]);
        let tokens = [1, 2, 3, 4];
        assert!(tree.insert(BlockId(3), root, root.child(&tokens), &tokens));
        assert_eq!(tree.find(root.child(&tokens)), Some(BlockId(3)));
        assert_eq!(tree.most_similar(root, &tokens), None);
    }

    #[test]
    fn a_name_belongs_to_one_block() {
        let (mut tree, root) = tree_of(&[(0, [1, 2, 3, 4])]);
        let tokens = [1, 2, 3, 4];
        assert!(!tree.insert(BlockId(1), root, root.child(&tokens), &tokens));
        tree.remove(BlockId(0));
        assert!(tree.insert(BlockId(1), root, root.child(&tokens), &tokens));
        assert_eq!(tree.find(root.child(&tokens)), Some(BlockId(1)));
    }
}
