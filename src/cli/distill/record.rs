//! What a run was begun with, so that the same command goes on with it and another does not.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::text::replace;
use crate::model::distill::HeldOut;

/// Kept beside the state of the training.
pub(super) struct Record {
    path: PathBuf,
    json: Json,
}

#[derive(Default, Deserialize, Serialize)]
struct Json {
    /// By flag.
    settings: Vec<(String, String)>,
    kept: Option<Vec<usize>>,
    before: Option<(f64, f64, usize)>,
}

impl Record {
    /// The one at `path`, or an empty one.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let json = match path.exists() {
            false => Json::default(),
            true => {
                let shown = || path.display().to_string();
                let bytes = std::fs::read(path).with_context(shown)?;
                serde_json::from_slice(&bytes).with_context(shown)?
            }
        };
        Ok(Self {
            path: path.to_owned(),
            json,
        })
    }

    /// Whether nothing was begun yet.
    pub(super) fn is_new(&self) -> bool {
        self.json.settings.is_empty()
    }

    /// Takes the settings of a run that begins, which the next change saves; refuses others than those of one that goes on, naming the
    /// flag.
    pub(super) fn check(&mut self, settings: &[(&str, String)]) -> anyhow::Result<()> {
        if self.is_new() {
            let owned = settings
                .iter()
                .map(|(flag, value)| ((*flag).to_owned(), value.clone()));
            self.json.settings = owned.collect();
            return Ok(());
        }
        for ((flag, value), (_, begun_with)) in settings.iter().zip(&self.json.settings) {
            if value != begun_with {
                let folder = self.path.parent().unwrap_or(&self.path);
                bail!(
                    "{flag}: the run in {} was begun with {begun_with}, not {value}; say that again to go on with it, or take another --output",
                    folder.display()
                );
            }
        }
        Ok(())
    }

    /// The layers that were chosen.
    pub(super) fn kept(&self) -> Option<Vec<usize>> {
        self.json.kept.clone()
    }

    pub(super) fn keep(&mut self, kept: Vec<usize>) -> anyhow::Result<Vec<usize>> {
        self.json.kept = Some(kept.clone());
        self.save()?;
        Ok(kept)
    }

    /// How close the student was before it was trained.
    pub(super) fn before(&self) -> Option<HeldOut> {
        self.json.before.map(|(kl, agreement, num_tokens)| HeldOut {
            kl,
            agreement,
            num_tokens,
        })
    }

    pub(super) fn set_before(&mut self, before: HeldOut) -> anyhow::Result<HeldOut> {
        self.json.before = Some((before.kl, before.agreement, before.num_tokens));
        self.save()?;
        Ok(before)
    }

    /// Writes it as a whole.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        replace(&self.path, &serde_json::to_vec_pretty(&self.json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_with_its_settings_and_refuses_others_by_flag() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let settings = |seed: &str| [("--tokens", "9".to_owned()), ("--seed", seed.to_owned())];
        let mut record = Record::open(&path).unwrap();
        record.check(&settings("1")).unwrap();
        record.keep(vec![0, 3]).unwrap();
        let before = HeldOut {
            kl: 1.25,
            agreement: 0.1,
            num_tokens: 7,
        };
        record.set_before(before).unwrap();
        let mut again = Record::open(&path).unwrap();
        again.check(&settings("1")).unwrap();
        assert_eq!(again.kept(), Some(vec![0, 3]));
        assert_eq!(again.before(), Some(before));
        let error = again.check(&settings("2")).unwrap_err().to_string();
        assert!(
            error.starts_with("--seed: ") && error.contains("begun with 1"),
            "{error}"
        );
    }
}
