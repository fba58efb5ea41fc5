//! What the requests ask: synthetic prompts, or the lines of a file.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::rng::Rng;
use super::serve::Endpoint;

/// Common English words, which nearly every tokeniser encodes as one token each after a space.
#[rustfmt::skip]
const WORDS: [&str; 197] = [
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "was", "on", "are", "as", "with", "they", "at",
    "be", "this", "from", "have", "or", "by", "one", "had", "not", "but", "what", "all", "were", "when", "we", "there",
    "can", "an", "your", "which", "their", "said", "if", "do", "will", "each", "about", "how", "up", "out", "them",
    "then", "she", "many", "some", "so", "these", "would", "other", "into", "has", "more", "her", "two", "like", "him",
    "see", "time", "could", "no", "make", "than", "first", "been", "its", "who", "now", "people", "my", "made", "over",
    "did", "down", "only", "way", "find", "use", "may", "water", "long", "little", "very", "after", "words", "called",
    "just", "where", "most", "know", "get", "through", "back", "much", "before", "go", "good", "new", "write", "our",
    "used", "me", "man", "too", "any", "day", "same", "right", "look", "think", "also", "around", "another", "came",
    "come", "work", "three", "word", "must", "because", "does", "part", "even", "place", "well", "such", "here", "take",
    "why", "things", "help", "put", "years", "different", "away", "again", "off", "went", "old", "number", "great",
    "tell", "men", "say", "small", "every", "found", "still", "between", "name", "should", "home", "big", "give", "air",
    "line", "set", "own", "under", "read", "last", "never", "us", "left", "end", "along", "while", "might", "next",
    "sound", "below", "saw", "something", "thought", "both", "few", "those", "always", "looked", "show", "large",
    "often", "together", "asked", "house", "world", "going", "want", "school", "important", "until",
];

/// The key of the stream that the shared prefix is drawn from; requests count up from 0.
const PREFIX_KEY: u64 = u64::MAX - 1;

/// A source of prompts.
pub(super) enum Prompts {
    /// Random words.
    Synthetic {
        /// Words that differ from request to request.
        num_words: u32,
        /// Words in front that all requests share.
        num_shared_words: u32,
        /// What they are drawn from.
        seed: u64,
    },
    /// Prompts in the order of a file, and again from its start when they run out.
    Dataset(Vec<Prompt>),
}

/// One prompt.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Prompt {
    /// Plain text: a completion's prompt or a chat's single user message.
    Text(String),
    /// Token ids: a completion's prompt.
    TokenIds(Vec<u32>),
    /// A chat.
    Messages(Vec<Value>),
}

impl Prompts {
    /// Reads a file with one JSON object a line, `{"prompt": "…"}`, `{"prompt": [token ids]}` or `{"messages": […]}`; empty
    /// lines and other fields are skipped. The error names the line and the field.
    pub(super) fn from_file(path: &Path, endpoint: Endpoint) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--dataset: can't read {shown}"))?;
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let prompts: Vec<Prompt> = lines
            .map(|(i, line)| {
                parse_line(line, endpoint)
                    .with_context(|| format!("--dataset: {shown}, line {}", i + 1))
            })
            .collect::<anyhow::Result<_>>()?;
        ensure!(!prompts.is_empty(), "--dataset: {shown} has no prompts");
        Ok(Self::Dataset(prompts))
    }

    /// The prompt of request `index`: always the same one.
    pub(super) fn get(&self, index: u64) -> Prompt {
        match self {
            &Self::Synthetic {
                num_words,
                num_shared_words,
                seed,
            } => {
                let words = |key, count| {
                    let mut rng = Rng::keyed(seed, key);
                    (0..count).map(move |_| WORDS[rng.below(WORDS.len())])
                };
                let all: Vec<_> = words(PREFIX_KEY, num_shared_words)
                    .chain(words(index, num_words))
                    .collect();
                Prompt::Text(all.join(" "))
            }
            Self::Dataset(prompts) => prompts[(index % prompts.len() as u64) as usize].clone(),
        }
    }
}

fn parse_line(line: &str, endpoint: Endpoint) -> anyhow::Result<Prompt> {
    let value: Value = serde_json::from_str(line).context("not JSON")?;
    match (value.get("prompt"), value.get("messages")) {
        (Some(Value::String(text)), None) => Ok(Prompt::Text(text.clone())),
        (Some(Value::Array(ids)), None) => {
            ensure!(
                endpoint == Endpoint::Completions,
                "a `prompt` of token ids needs --endpoint completions"
            );
            ensure!(!ids.is_empty(), "`prompt` is empty");
            let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
            let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
            Ok(Prompt::TokenIds(
                ids.context("`prompt` holds something that is no token id")?,
            ))
        }
        (None, Some(Value::Array(messages))) => {
            ensure!(
                endpoint == Endpoint::Chat,
                "`messages` needs --endpoint chat"
            );
            ensure!(!messages.is_empty(), "`messages` is empty");
            Ok(Prompt::Messages(messages.clone()))
        }
        (Some(_), Some(_)) => bail!("both `prompt` and `messages`; give one of them"),
        (Some(_), None) => bail!("`prompt` is neither a string nor a list of token ids"),
        (None, Some(_)) => bail!("`messages` is not a list"),
        (None, None) => bail!("neither `prompt` nor `messages`"),
    }
}

/// The fields all requests of a run share, and how a prompt joins them.
pub(super) struct Body {
    /// Where it is posted.
    pub(super) endpoint: Endpoint,
    /// The model asked for.
    pub(super) model: String,
    /// `max_tokens`; the server's default without it.
    pub(super) max_tokens: Option<u32>,
    /// Whether to ask the server to generate on to `max_tokens`.
    pub(super) ignore_eos: bool,
    /// `temperature`; the server's default without it.
    pub(super) temperature: Option<f64>,
}

impl Body {
    /// The JSON body that streams a reply to `prompt`, with usage.
    pub(super) fn of(&self, prompt: Prompt) -> Bytes {
        let mut body = Map::new();
        body.insert("model".into(), json!(self.model));
        match (self.endpoint, prompt) {
            (Endpoint::Completions, Prompt::Text(text)) => {
                body.insert("prompt".into(), Value::String(text))
            }
            (_, Prompt::TokenIds(ids)) => body.insert("prompt".into(), json!(ids)),
            (_, Prompt::Text(text)) => body.insert(
                "messages".into(),
                json!([{"role": "user", "content": text}]),
            ),
            (_, Prompt::Messages(messages)) => {
                body.insert("messages".into(), Value::Array(messages))
            }
        };
        body.insert("stream".into(), json!(true));
        body.insert("stream_options".into(), json!({"include_usage": true}));
        if let Some(max_tokens) = self.max_tokens {
            body.insert("max_tokens".into(), json!(max_tokens));
        }
        if self.ignore_eos {
            body.insert("ignore_eos".into(), json!(true));
        }
        if let Some(temperature) = self.temperature {
            body.insert("temperature".into(), json!(temperature));
        }
        Bytes::from(Value::Object(body).to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn texts(num_words: u32, num_shared_words: u32, seed: u64) -> Vec<String> {
        let prompts = Prompts::Synthetic {
            num_words,
            num_shared_words,
            seed,
        };
        let text = |i| match prompts.get(i) {
            Prompt::Text(text) => text,
            _ => unreachable!("synthetic prompts are text"),
        };
        (0..100).map(text).collect()
    }

    fn shared_words(a: &str, b: &str) -> usize {
        a.split(' ')
            .zip(b.split(' '))
            .take_while(|(a, b)| a == b)
            .count()
    }

    #[test]
    fn the_words_are_distinct() {
        assert_eq!(HashSet::from(WORDS).len(), WORDS.len());
    }

    #[test]
    fn synthetic_prompts_have_the_length_asked_for_and_follow_the_seed() {
        let prompts = texts(64, 0, 1);
        assert!(prompts.iter().all(|prompt| prompt.split(' ').count() == 64));
        assert_eq!(prompts, texts(64, 0, 1));
        assert_ne!(prompts, texts(64, 0, 2));
    }

    #[test]
    fn prompts_share_the_prefix_asked_for_and_no_cache_block_more() {
        for shared in [0, 40] {
            let prompts = texts(64, shared, 1);
            for (i, a) in prompts.iter().enumerate() {
                for b in &prompts[i + 1..] {
                    let common = shared_words(a, b);
                    assert!(
                        (shared as usize..shared as usize + 8).contains(&common),
                        "{common} words in common"
                    );
                }
            }
        }
    }

    #[test]
    fn a_dataset_is_taken_in_order_and_around() {
        let path =
            std::env::temp_dir().join(format!("flambeau-dataset-{}.jsonl", std::process::id()));
        std::fs::write(
            &path,
            "{\"prompt\":\"a\",\"id\":1}\n\n{\"messages\":[{\"role\":\"user\"}]}\n",
        )
        .unwrap();
        let prompts = Prompts::from_file(&path, Endpoint::Chat).unwrap();
        let messages = Prompt::Messages(vec![json!({"role": "user"})]);
        assert_eq!(
            [0, 1, 2].map(|i| prompts.get(i)),
            [Prompt::Text("a".into()), messages, Prompt::Text("a".into())]
        );
        let error = Prompts::from_file(&path, Endpoint::Completions)
            .err()
            .unwrap();
        assert!(
            format!("{error:#}").contains("line 3: `messages` needs --endpoint chat"),
            "{error:#}"
        );
        std::fs::remove_file(&path).unwrap();
        let error = Prompts::from_file(&path, Endpoint::Chat).err().unwrap();
        assert!(
            format!("{error:#}").starts_with("--dataset: can't read"),
            "{error:#}"
        );
    }

    #[test]
    fn a_bad_line_names_its_field() {
        for (line, says) in [
            ("{", "not JSON"),
            ("[]", "neither"),
            ("{\"prompt\":3}", "`prompt` is neither"),
            ("{\"prompt\":[1]}", "needs --endpoint completions"),
            ("{\"messages\":\"x\"}", "`messages` is not a list"),
            ("{\"messages\":[]}", "`messages` is empty"),
            ("{\"prompt\":\"x\",\"messages\":[]}", "both"),
        ] {
            let error = parse_line(line, Endpoint::Chat).unwrap_err();
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
        for line in ["{\"prompt\":[-1]}", "{\"prompt\":[[1]]}", "{\"prompt\":[]}"] {
            let error = parse_line(line, Endpoint::Completions).unwrap_err();
            assert!(format!("{error:#}").contains("`prompt`"), "{error:#}");
        }
    }

    #[test]
    fn token_ids_are_posted_as_they_stand() {
        let prompt = parse_line("{\"prompt\":[7,0]}", Endpoint::Completions).unwrap();
        let body = Body {
            endpoint: Endpoint::Completions,
            model: "m".into(),
            max_tokens: None,
            ignore_eos: false,
            temperature: None,
        };
        let body: Value = serde_json::from_slice(&body.of(prompt)).unwrap();
        assert_eq!(body["prompt"], json!([7, 0]));
    }

    #[test]
    fn a_body_has_what_was_asked_for_and_nothing_else() {
        let mut body = Body {
            endpoint: Endpoint::Completions,
            model: "m".into(),
            max_tokens: None,
            ignore_eos: false,
            temperature: None,
        };
        let text = || Prompt::Text("hi".into());
        let parse = |bytes: Bytes| serde_json::from_slice::<Value>(&bytes).unwrap();
        let usage = json!({"include_usage": true});
        assert_eq!(
            parse(body.of(text())),
            json!({"model": "m", "prompt": "hi", "stream": true, "stream_options": usage})
        );
        body = Body {
            endpoint: Endpoint::Chat,
            max_tokens: Some(9),
            ignore_eos: true,
            temperature: Some(0.0),
            ..body
        };
        assert_eq!(
            parse(body.of(text())),
            json!({
                "model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true,
                "stream_options": usage, "max_tokens": 9, "ignore_eos": true, "temperature": 0.0,
            })
        );
    }
}
