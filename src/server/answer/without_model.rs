//! What is said where no model answers: what the first one has said before, or a text.

use super::account::Answerer;
use super::again::Keeping;
use super::begun::Begun;
use super::chain::Chain;
use super::choice::Choice;
use super::generation::Source;
use crate::server::models::{Chosen, Target};
use crate::server::tiers::{STATIC, Tiers};
use crate::telemetry::{AnswerCacheLevel, Tier};

impl Chain {
    /// At the `i`th place, beyond the last model.
    pub(super) async fn without_model(&mut self, tiers: &Tiers, i: usize) -> Option<Begun> {
        if tiers.recalls()
            && let Some(begun) = self.recall().await
        {
            return Some(begun);
        }
        let begun = self.say(tiers).await?;
        self.fallen = Some((i, self.cause()));
        Some(begun)
    }

    /// What the first model has answered before, also while it is not asked.
    async fn recall(&mut self) -> Option<Begun> {
        let Target::Here(chosen) = self.ask.target.clone() else {
            return None;
        };
        let (model, name) = (chosen.model.clone(), chosen.name.clone());
        let keeping = self.keeping(&chosen).filter(Keeping::has_any)?;
        let call = (self.ask.prepare)(chosen, None).await.ok()?;
        let (answer, metrics) = keeping.of(&call)?.find(&model.name)?;
        let again = self.given_again(AnswerCacheLevel::Exact, name, metrics);
        let mut begun = call.given_again(&answer, &model, again);
        begun.answerer.cause = Some(self.cause());
        (self.fallen, self.taken_by, self.put) = (None, None, None);
        Some(begun)
    }

    /// A text, where there is one and the request may have it.
    async fn say(&mut self, tiers: &Tiers) -> Option<Begun> {
        if !self.policy.may_be_static {
            return None;
        }
        let languages = self.received.languages.as_deref();
        let text = tiers.texts.find(self.ask.route, languages)?.to_owned();
        let say = |num_choices| {
            let choices = (0..num_choices).map(|_| Choice::Said(Some(text.clone())));
            Source::Choices(choices.collect())
        };
        let answerer = Answerer {
            name: STATIC.into(),
            tier: Tier::Static,
            cause: Some(self.cause()),
            level: None,
            metrics: tiers.static_metrics.clone(),
        };
        let begun = match &self.ask.target {
            Target::Here(chosen) => {
                let chosen = Chosen {
                    name: STATIC.into(),
                    ..chosen.clone()
                };
                // What is wrong with it the first has said, if it was asked.
                let call = (self.ask.prepare)(chosen, None).await.ok()?;
                if call.generate.is_bound() || call.generate.shows_tokens() {
                    return None;
                }
                let num_choices = call.requests.len() * call.generate.num_candidates;
                call.begun(answerer, say(num_choices))
            }
            Target::Elsewhere(_) => {
                let call = (self.ask.forward)(STATIC).ok()?;
                if call.forwarded.is_bound {
                    return None;
                }
                let num_choices = call.forwarded.num_prompts * call.forwarded.num_choices;
                call.begun(answerer, say(num_choices))
            }
        };
        (self.taken_by, self.put) = (None, None);
        let prompt_lens = vec![0; begun.prompt_lens.len()];
        Some(Begun {
            prompt_lens,
            ..begun
        })
    }
}
