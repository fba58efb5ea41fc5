//! A cheap model that drafts what another says: `draft_model`.

use super::range::within;
use super::{ConfigError, DeviceChoice, ModelSettings, RawConfig, RemoteSettings, available_cores};

/// Who drafts for whom; models by their places in [`Config::models`](super::Config::models).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Whose answers are drafted.
    pub of: usize,
    /// Who drafts them.
    pub model: usize,
    /// Threads that compute drafts.
    pub threads: usize,
}

/// What is said of it where a model is.
#[derive(Clone, Debug)]
pub(super) struct RawDraft {
    model: Option<String>,
    threads: Option<usize>,
}

/// More share the work of a small model no better.
const MAX_DEFAULT_THREADS: usize = 8;

/// Threads when nobody says how many: half of the cores, for the card's engine, HTTP and masks have the others.
fn default_threads(cores: usize) -> usize {
    (cores / 2).clamp(1, MAX_DEFAULT_THREADS)
}

impl RawDraft {
    pub(super) fn of(raw: &RawConfig) -> Self {
        Self {
            model: raw.draft_model.clone(),
            threads: raw.draft_threads,
        }
    }

    /// What the `of`th of `models` means by it.
    pub(super) fn resolve(
        self,
        of: usize,
        models: &[ModelSettings],
        remotes: &[RemoteSettings],
    ) -> Result<Option<Draft>, ConfigError> {
        let error = |message: String| Err(ConfigError::value("draft_model", message));
        let Some(name) = &self.model else {
            return match self.threads {
                None => Ok(None),
                Some(_) => Err(ConfigError::value(
                    "draft_threads",
                    "is for a draft_model, and there is none: name one, or leave it away",
                )),
            };
        };
        let Some(model) = models.iter().position(|model| model.is_called(name)) else {
            return match remotes.iter().any(|remote| remote.name == *name) {
                true => error(format!(
                    "{name:?} is another server's, and drafts are computed here: name a model of this one"
                )),
                false => error(format!(
                    "{name:?} is no name of [[models]]: name one, or add it"
                )),
            };
        };
        if model == of {
            return error(format!(
                "{name:?} is the model itself: name a smaller one of [[models]]"
            ));
        }
        if !models[of].speculation {
            return error(
                "drafts are for speculation, which is off: leave one of the two out".into(),
            );
        }
        if let DeviceChoice::Cuda(ordinal) = models[model].device {
            return error(format!(
                "{name:?} is on cuda:{ordinal}, and drafts are computed on the CPU: say device = \"cpu\" there"
            ));
        }
        let threads = self.threads.unwrap_or(default_threads(available_cores()));
        Ok(Some(Draft {
            of,
            model,
            threads: within("draft_threads", threads, 1, 1024)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(models: &str) -> Result<Vec<Draft>, ConfigError> {
        let typed = RawConfig::default().with_toml(models)?;
        Ok(typed.resolve()?.drafts)
    }

    #[test]
    fn a_model_drafts_for_another_of_the_same_file_wherever_each_stands() {
        let (big, small) = (
            "[[models]]\nname = 'big'\nsource = 'b'\ndraft_model = 'small'\ndraft_threads = 3\n",
            "[[models]]\nname = 'small'\nsource = 's'\n",
        );
        let drafts = |file: String| resolve(&file).unwrap();
        let draft = |of, model| Draft {
            of,
            model,
            threads: 3,
        };
        assert_eq!(drafts(format!("{big}{small}")), [draft(0, 1)]);
        assert_eq!(drafts(format!("{small}{big}")), [draft(1, 0)]);
        assert_eq!(drafts(small.into()), []);
    }

    #[test]
    fn the_cheaper_model_of_two_flags_drafts_too() {
        let raw = RawConfig {
            fallback_model: Some("s".into()),
            draft_model: Some("fallback".into()),
            ..RawConfig::default()
        };
        let drafts = raw.resolve().unwrap().drafts;
        assert_eq!((drafts[0].of, drafts[0].model, drafts.len()), (0, 1, 1));
        assert_eq!([1, 2, 4, 16, 64].map(default_threads), [1, 1, 2, 8, 8]);
    }

    #[test]
    fn what_cannot_draft_is_an_error_that_says_what_can() {
        let small = "[[models]]\nname = 'small'\nsource = 's'\n";
        for (file, says) in [
            ("[[models]]\ndraft_model = 'x'".into(), "no name of"),
            (
                "[[models]]\nname = 'a'\ndraft_model = 'a'".into(),
                "the model itself",
            ),
            (
                "[[models]]\ndraft_model = 'r'\n[[models]]\nname = 'r'\nsource = 'http://h'".into(),
                "another server's",
            ),
            (
                format!("[[models]]\ndraft_model = 'small'\nspeculation = false\n{small}"),
                "speculation, which is off",
            ),
            (
                format!("[[models]]\ndraft_model = 'small'\n{small}device = 'cuda:1'"),
                "device = \"cpu\"",
            ),
            (
                "[[models]]\ndraft_threads = 2".into(),
                "draft_threads: is for",
            ),
            (
                format!("[[models]]\ndraft_model = 'small'\ndraft_threads = 0\n{small}"),
                "draft_threads: 0",
            ),
        ] {
            let file: String = file;
            let error = resolve(&file).unwrap_err().to_string();
            assert!(
                error.starts_with("draft_") && error.contains(says),
                "{error}"
            );
        }
        let second = format!("{small}[[models]]\nname = 'b'\nsource = 'c'\ndraft_model = 'x'");
        let error = resolve(&second).unwrap_err().to_string();
        assert!(error.starts_with("model \"b\": draft_model: "), "{error}");
    }
}
