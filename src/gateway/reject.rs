//! Why an answer is not given again.

use super::likeness::Gate;

/// What speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Another time another answer is drawn, and none that was drawn is asked for.
    Drawn,
    /// Tools were offered, or have run.
    Tools,
    /// More than the text of one answer is asked for, or a grammar constrains it.
    Shape,
    /// The question speaks of a time that passes.
    Time,
    /// The question names somebody.
    Personal,
    /// The embedding model does not see the question whole.
    Window,
    /// There is no embedding model that could.
    Embedder,
    /// Nothing that is near was asked before.
    Far,
    /// The words of the two questions.
    Words(Gate),
    /// The prompt around the question is not what it was: a template may say what day it is.
    Prompt,
    /// How likely the answer was is not known: it was remembered where answers are drafts.
    Unscored,
    /// The model does not find it as likely behind this question.
    Unlikely,
    /// The model could not be asked.
    Unasked,
    /// Too few answers that would have been given were checked.
    Unproven,
    /// Too many answers that were given were wrong.
    Off,
}

impl Reject {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let rest = [
            Self::Drawn,
            Self::Tools,
            Self::Shape,
            Self::Time,
            Self::Personal,
            Self::Window,
            Self::Embedder,
            Self::Far,
            Self::Prompt,
            Self::Unscored,
            Self::Unlikely,
            Self::Unasked,
            Self::Unproven,
            Self::Off,
        ];
        let gates = Gate::ALL.iter().copied().map(Self::Words);
        rest.into_iter().chain(gates)
    }

    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drawn => "drawn",
            Self::Tools => "tools",
            Self::Shape => "shape",
            Self::Time => "time",
            Self::Personal => "personal",
            Self::Window => "window",
            Self::Embedder => "embedder",
            Self::Far => "far",
            Self::Words(gate) => gate.as_str(),
            Self::Prompt => "prompt",
            Self::Unscored => "unscored",
            Self::Unlikely => "unlikely",
            Self::Unasked => "unasked",
            Self::Unproven => "unproven",
            Self::Off => "off",
        }
    }

    /// What to do about it, for who asks why.
    pub fn says(self) -> &'static str {
        match self {
            Self::Drawn => {
                "the answer is drawn at random: send temperature 0, a seed, or cache: true"
            }
            Self::Tools => "the request has tools, whose results may be others by now",
            Self::Shape => {
                "more is asked for than the text of one answer, or a grammar constrains it"
            }
            Self::Time => {
                "the question speaks of a time that passes; time_words = true in [cache.semantic] allows it"
            }
            Self::Personal => "the question has an address or a number that is somebody's",
            Self::Window => "the question is longer than the embedding model sees",
            Self::Embedder => "the embedding model is not loaded",
            Self::Far => "no question that is near was answered in this context",
            Self::Words(_) => "the words of the two questions may ask for different answers",
            Self::Prompt => "the prompt around the question is not the same any more",
            Self::Unscored => "the answer was remembered where answers are only drafts",
            Self::Unlikely => "the model finds the answer less likely as one to this question",
            Self::Unasked => {
                "the model could not be asked whether the answer is one to this question"
            }
            Self::Unproven => {
                "too few answers were checked to know that max_false_hit_rate is kept"
            }
            Self::Off => "too many answers were wrong: /admin/cache/reset begins anew",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: HashSet<_> = Reject::all().map(Reject::as_str).collect();
        assert_eq!(names.len(), Reject::all().count());
    }
}
