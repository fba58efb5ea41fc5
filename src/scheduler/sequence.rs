//! The token state of one request.

use std::sync::Arc;
use std::time::Duration;

use super::forecast::Load;
use super::scoring::Scoring;
use super::speculation::Draft;
use crate::constraint::MaskSlot;
use crate::kv::{BlockHash, BlockPool, BlockTable, HashChain};
use crate::request::{
    Adapter, FinishReason, GenerateRequest, Priority, Recalled, SamplingParams, StopCriteria,
    Timing, TokenLogprobs,
};

/// Names a sequence for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// Prompt and output of one request, and how much of it stands in the KV cache.
///
/// Invariant: `num_computed_tokens < len()` while it lives, since the last token drawn is never computed yet.
#[derive(Debug)]
pub struct Sequence {
    /// Its name.
    pub id: SequenceId,
    /// What it is computed with besides the model.
    pub adapter: Option<Adapter>,
    /// Whose it is, and the tenant's index in the queue.
    pub(super) tenant: Arc<str>,
    pub(super) tenant_idx: usize,
    /// Its class, as raised by waiting when it was admitted.
    pub(super) priority: Priority,
    /// Since when it has neither been computed nor moved between waiting and running.
    pub(super) waiting_since: Duration,
    /// When its first token must have come.
    pub(super) deadline: Option<Duration>,
    /// What it brings, as far as that was known when it came to wait.
    pub(super) load: Load,
    /// How long after its arrival its first token was expected, where somebody had to know.
    pub(super) expected_ttft: Option<Duration>,
    /// Whether it was refused and comes back when it was told to.
    pub(super) is_promised: bool,
    /// Prompt, then output.
    pub tokens: Vec<u32>,
    /// How many of `tokens` are the prompt.
    pub num_prompt_tokens: usize,
    /// Tokens after `tokens` that steps in flight draw, one each, beside what is drafted.
    pub(super) num_pending: usize,
    /// The row of the step planned last that draws the last of them, among its rows that are drawn from.
    pub(super) pending_row: u32,
    /// How many tokens have their keys and values in the cache, once the steps in flight are done.
    pub num_computed_tokens: usize,
    /// Rows of the step being planned that are its: the next tokens, then what is drafted.
    pub num_scheduled_tokens: usize,
    /// What may follow `tokens`.
    pub(super) draft: Draft,
    /// Where an answer to take it from appears.
    pub(super) recalled: Option<Recalled>,
    /// Where those keys and values are.
    pub block_table: BlockTable,
    /// How many tokens of the prompt were in the cache when it came, or came there while it waited.
    pub num_cached_tokens: usize,
    /// Full blocks whose names are settled, see [`Sequence::settle_blocks`].
    num_settled_blocks: usize,
    hashes: HashChain,
    /// How its tokens are drawn.
    pub sampling: Arc<SamplingParams>,
    /// Where the mask appears that its next token is drawn under. Whoever runs the request's constraint sets it.
    pub mask: Option<Arc<MaskSlot>>,
    pub(super) scoring: Option<Scoring>,
    /// The scores of its prompt so far.
    pub(super) prompt_logprobs: Vec<TokenLogprobs>,
    stop: StopCriteria,
    arrival: Duration,
    first_scheduled: Option<Duration>,
}

impl Sequence {
    /// A sequence that arrived at `arrival` (on the clock that `schedule` is called with), for blocks of `block_size`
    /// tokens. Hashes the prompt, which takes about 1 µs for 32 tokens.
    pub fn new(
        id: SequenceId,
        request: GenerateRequest,
        arrival: Duration,
        block_size: usize,
    ) -> Self {
        // Keys and values depend on the adapter, too.
        let scope = BlockHash::scope(&request.tenant);
        let scope = match &request.adapter {
            None => scope,
            // Shorter than any block, so that no sequence has this name.
            Some(Adapter { id, .. }) => scope.child(&[*id as u32, (id >> 32) as u32]),
        };
        Self {
            id,
            hashes: HashChain::new(scope, block_size, &request.prompt),
            tenant: request.tenant,
            adapter: request.adapter,
            tenant_idx: 0,
            priority: request.priority,
            waiting_since: arrival,
            deadline: request.deadline.map(|deadline| arrival + deadline),
            load: Load::default(),
            expected_ttft: None,
            is_promised: false,
            num_cached_tokens: 0,
            num_settled_blocks: 0,
            num_prompt_tokens: request.prompt.len() - request.num_begun,
            tokens: request.prompt,
            num_pending: 0,
            pending_row: 0,
            num_computed_tokens: 0,
            num_scheduled_tokens: 0,
            draft: Draft::default(),
            recalled: request.recalled,
            block_table: BlockTable::default(),
            scoring: request.prompt_logprobs.map(Scoring::new),
            prompt_logprobs: Vec::new(),
            mask: None,
            sampling: Arc::new(request.sampling),
            stop: request.stop,
            arrival,
            first_scheduled: None,
        }
    }

    /// When it came.
    pub fn arrival(&self) -> Duration {
        self.arrival
    }

    /// Whether it was ever given work.
    pub(super) fn was_scheduled(&self) -> bool {
        self.first_scheduled.is_some()
    }

    /// Tokens, those included that are being drawn.
    pub(super) fn len(&self) -> usize {
        self.tokens.len() + self.num_pending
    }

    /// Tokens that are not in the cache yet, nor will be once the steps in flight are done.
    pub fn num_uncomputed_tokens(&self) -> usize {
        self.len() - self.num_computed_tokens
    }

    /// Tokens generated so far.
    pub fn num_output_tokens(&self) -> usize {
        self.tokens.len() - self.num_prompt_tokens
    }

    /// How many tokens the step being planned computes that are not drafted.
    pub fn num_scheduled_known(&self) -> usize {
        self.num_scheduled_tokens - self.draft.scheduled().len()
    }

    /// Whether the scheduled tokens reach the end, so that the step draws the next one.
    pub fn is_sampled_this_step(&self) -> bool {
        let num_known = self.num_scheduled_known();
        num_known > 0 && num_known == self.num_uncomputed_tokens()
    }

    /// Whether all but one token is computed; not where that is being drawn and its last.
    pub(super) fn is_decode(&self, max_model_len: usize) -> bool {
        self.num_uncomputed_tokens() == 1 && !self.awaits_its_last(max_model_len)
    }

    /// Whether it has no work in the step being planned, whose decodes are scheduled, and could have.
    pub(super) fn is_prompt(&self) -> bool {
        let has_rows = self.num_pending == 0 || self.num_uncomputed_tokens() > 1;
        self.num_scheduled_tokens == 0 && has_rows
    }

    /// Whether the token that is being drawn is its last, whatever it is.
    pub(super) fn awaits_its_last(&self, max_model_len: usize) -> bool {
        self.num_pending > 0 && self.num_pending >= self.max_outputs_left(max_model_len)
    }

    /// Rows of the step being planned whose logits are read.
    pub fn num_samples(&self) -> usize {
        let num_drawn = match self.is_sampled_this_step() {
            true => 1 + self.draft.scheduled().len(),
            false => 0,
        };
        self.num_scored() + num_drawn
    }

    /// Tokens that it may still be given: at least one.
    pub(super) fn max_outputs_left(&self, max_model_len: usize) -> usize {
        let num_left = self.stop.max_tokens - self.num_output_tokens();
        num_left.min(max_model_len - self.tokens.len())
    }

    /// The time until its deadline; `None` without one.
    pub(super) fn time_left(&self, now: Duration) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(now))
    }

    /// The name of the whole prompt.
    pub(super) fn prompt_hash(&self, block_size: usize) -> BlockHash {
        let num_full = self.num_prompt_tokens / block_size;
        let rest = &self.tokens[num_full * block_size..self.num_prompt_tokens];
        self.hashes.before(num_full).child(rest)
    }

    /// Tokens that it finds cached, or saved on the host, at this moment.
    pub(super) fn count_cached(&self, pool: &BlockPool) -> usize {
        let num_most = self.num_cacheable() / pool.block_size();
        let is_known = |&i: &usize| pool.is_known(self.hashes.block(i));
        (0..num_most).take_while(is_known).count() * pool.block_size()
    }

    /// Stop tokens that may not be drawn yet (`min_tokens`) after `num_drafted` drafted tokens.
    pub fn banned_tokens(&self, num_drafted: usize) -> &[u32] {
        if self.len() - self.num_prompt_tokens + num_drafted < self.stop.min_tokens {
            &self.stop.stop_token_ids
        } else {
            &[]
        }
    }

    /// Takes over cached blocks with the next of its tokens, also ones that are computed in the step being planned, and has
    /// its own blocks filled with what the host has of them. Its last token is left to compute, for its logits are wanted.
    /// It must hold no half-computed block.
    pub fn share_cached_blocks(&mut self, pool: &mut BlockPool) {
        let block_size = pool.block_size();
        while self.num_computed_tokens.is_multiple_of(block_size)
            && self.num_computed_tokens + block_size <= self.num_cacheable()
        {
            let i = self.num_computed_tokens / block_size;
            if let Some(block) = pool.find(self.hashes.block(i)) {
                self.block_table.share(i, block, pool);
            } else if !self.load_block(i, pool) {
                break;
            }
            self.note_cached(block_size);
        }
    }

    fn load_block(&self, i: usize, pool: &mut BlockPool) -> bool {
        let Some(&own) = self.block_table.blocks().get(i) else {
            return false;
        };
        let block_size = pool.block_size();
        let tokens = &self.tokens[i * block_size..(i + 1) * block_size];
        pool.load(own, self.hashes.before(i), self.hashes.block(i), tokens)
    }

    /// Keeps what the host has of its next tokens from making room for others while it gets its blocks.
    pub fn touch_saved_blocks(&self, pool: &mut BlockPool) {
        let block_size = pool.block_size();
        let next = self.num_computed_tokens / block_size..self.num_cacheable() / block_size;
        let is_known = |i: &usize| pool.is_known(self.hashes.block(*i));
        let known: Vec<usize> = next.take_while(is_known).collect();
        // The first ones last: what has to go all the same are the last ones, without which the others are of use.
        for &i in known.iter().rev() {
            pool.touch_saved(self.hashes.block(i));
        }
    }

    /// Has the cached block copied into its own that shares most of the tokens that are next, if there is one. As for
    /// [`Sequence::share_cached_blocks`].
    pub fn copy_similar_block(&mut self, pool: &mut BlockPool) {
        if self.is_scoring() {
            return;
        }
        let i = self.num_computed_tokens / pool.block_size();
        let next = &self.tokens[self.num_computed_tokens..self.tokens.len() - 1];
        if let Some((block, num_tokens)) = pool.most_similar(self.hashes.before(i), next) {
            pool.copy(block, self.block_table.blocks()[i]);
            self.note_cached(num_tokens);
        }
    }

    fn note_cached(&mut self, num_tokens: usize) {
        self.num_computed_tokens += num_tokens;
        if self.num_output_tokens() == 0 {
            self.num_cached_tokens += num_tokens;
        }
    }

    /// Names the blocks that the scheduled tokens complete, so that others find them in this step; not yet what ends with a pending one.
    pub fn name_blocks(&self, pool: &mut BlockPool) {
        let end = self.num_computed_tokens + self.num_scheduled_known();
        for i in self.num_settled_blocks..end.min(self.tokens.len()) / pool.block_size() {
            self.name_block(i, pool);
        }
    }

    fn name_block(&self, i: usize, pool: &mut BlockPool) {
        let block_size = pool.block_size();
        let tokens = &self.tokens[i * block_size..(i + 1) * block_size];
        let (parent, hash) = (self.hashes.before(i), self.hashes.block(i));
        pool.name(self.block_table.blocks()[i], parent, hash, tokens);
    }

    /// Once a step is planned, or its token known: where another block bears the name of one that it completes, it holds that one
    /// instead, for they hold the same bits. So whoever holds a named block holds the named ones before it.
    pub fn settle_blocks(&mut self, pool: &mut BlockPool) {
        let end = self.num_computed_tokens.min(self.tokens.len());
        for i in self.num_settled_blocks..end / pool.block_size() {
            match pool.find(self.hashes.block(i)) {
                Some(block) if block != self.block_table.blocks()[i] => {
                    self.block_table.share(i, block, pool);
                }
                Some(_) => {}
                None => self.name_block(i, pool),
            }
            self.num_settled_blocks = i + 1;
        }
    }

    /// A step was planned with what is scheduled for it, and draws from its rows from `first_drawn` on: it goes on from there.
    pub(super) fn advance(&mut self, first_drawn: u32, pool: &mut BlockPool) {
        let is_sampled = self.is_sampled_this_step();
        self.num_computed_tokens += self.num_scheduled_known();
        if is_sampled {
            self.num_pending += 1;
            self.pending_row = first_drawn;
        }
        self.num_scheduled_tokens = 0;
        self.settle_blocks(pool);
    }

    /// Gives its blocks back and forgets that anything was computed, or is.
    pub fn release_blocks(&mut self, pool: &mut BlockPool) {
        self.block_table.release(pool);
        self.num_computed_tokens = 0;
        self.num_pending = 0;
        self.num_scheduled_tokens = 0;
        self.draft.clear();
        self.num_settled_blocks = 0;
        if self.num_output_tokens() == 0 {
            self.num_cached_tokens = 0;
            self.prompt_logprobs.clear();
        }
    }

    /// Notes that it is given work.
    pub fn mark_scheduled(&mut self, now: Duration) {
        self.waiting_since = now;
        self.first_scheduled.get_or_insert(now);
    }

    /// Appends a drawn token and says whether that ends the sequence.
    pub fn push(&mut self, token_id: u32, max_model_len: usize) -> Option<FinishReason> {
        self.tokens.push(token_id);
        self.hashes.extend(&self.tokens);
        if self.stop.stop_token_ids.contains(&token_id) {
            Some(FinishReason::Stop)
        } else if self.num_output_tokens() >= self.stop.max_tokens
            || self.tokens.len() >= max_model_len
        {
            Some(FinishReason::Length)
        } else {
            None
        }
    }

    /// Where the time until `first_token` went.
    pub fn timing(&self, first_token: Duration) -> Timing {
        let scheduled = self.first_scheduled.unwrap_or(first_token);
        Timing {
            num_cached_tokens: self.num_cached_tokens,
            queue: scheduled.saturating_sub(self.arrival),
            prefill: first_token.saturating_sub(scheduled),
            expected_ttft: self.expected_ttft,
        }
    }
}
