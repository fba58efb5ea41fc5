//! A message as blocks, one after the other: thoughts, text, calls. Two endpoints spell answers so.

use crate::text::Piece;

/// A kind of block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Thoughts,
    Text,
    /// A call of the function of this name.
    Call(String),
}

/// What a piece of a message does to its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Open(Block),
    /// More of the one that is open, which is this.
    Add(Block, String),
    Close,
}

/// The blocks of one answer.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    open: Option<Block>,
}

impl Blocks {
    /// What `pieces` do.
    pub fn steps(&mut self, pieces: &[Piece]) -> Vec<Step> {
        let mut steps = Vec::new();
        for piece in pieces {
            let (block, text) = match piece {
                Piece::Reasoning(text) => (Some(Block::Thoughts), Some(text)),
                Piece::Content(text) => (Some(Block::Text), Some(text)),
                Piece::Call(name) => (Some(Block::Call(name.clone())), None),
                Piece::Arguments(text) => (None, Some(text)),
            };
            // Every call is a block of its own.
            let is_new = block.is_some() && (self.open != block || text.is_none());
            if let Some(block) = block.filter(|_| is_new) {
                steps.extend(self.close());
                self.open = Some(block.clone());
                steps.push(Step::Open(block));
            }
            if let (Some(text), Some(open)) = (text, &self.open) {
                steps.push(Step::Add(open.clone(), text.clone()));
            }
        }
        steps
    }

    /// Closes the one that is open.
    pub fn close(&mut self) -> Option<Step> {
        self.open.take().map(|_| Step::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_and_every_call_has_its_own() {
        let mut blocks = Blocks::default();
        let call = |name: &str| Piece::Call(name.into());
        let steps = blocks.steps(&[
            Piece::Reasoning("a".into()),
            Piece::Reasoning("b".into()),
            Piece::Content("c".into()),
            call("f"),
            Piece::Arguments("{}".into()),
            call("f"),
        ]);
        let open = Step::Open;
        let add = |block, text: &str| Step::Add(block, text.into());
        let expected = [
            open(Block::Thoughts),
            add(Block::Thoughts, "a"),
            add(Block::Thoughts, "b"),
            Step::Close,
            open(Block::Text),
            add(Block::Text, "c"),
            Step::Close,
            open(Block::Call("f".into())),
            add(Block::Call("f".into()), "{}"),
            Step::Close,
            open(Block::Call("f".into())),
        ];
        assert_eq!(steps, expected);
        assert_eq!((blocks.close(), blocks.close()), (Some(Step::Close), None));
    }
}
