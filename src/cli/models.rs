//! `flambeau models`: list the known models, fetch one, show one.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use crate::hub::{Card, Hub, HubConfig, TextProgress, human_bytes};

/// List, fetch and show models
#[derive(Debug, Args)]
pub struct ModelsCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the cards, and whether they are cached, and what else the hub's cache has
    List,
    /// Fetch a model into the cache and print its path
    Pull {
        /// Card id or hub id (org/name, org/name@revision, org/name:file.gguf)
        model: String,
    },
    /// Remove a model from the cache
    Rm {
        /// Card id or hub id (org/name, with all its revisions)
        model: String,
    },
    /// Show what is known of a model
    Show {
        /// Card id
        id: String,
    },
}

impl ModelsCommand {
    /// Runs the command; results go to standard output, progress to standard error.
    pub fn run(self) -> anyhow::Result<()> {
        let hub = Hub::new(HubConfig::from_env()?);
        let mut out = io::stdout().lock();
        match self.action {
            Action::List => list(&hub, Card::all(), &mut out)?,
            Action::Pull { model } => {
                let source = hub.resolve(&model, &mut TextProgress::stderr())?;
                eprintln!("{}: from {}", source.name, source.served_by);
                writeln!(out, "{}", source.path.display())?;
            }
            Action::Rm { model } => {
                for removed in hub.remove(&model, &mut TextProgress::stderr())? {
                    let size = human_bytes(removed.size);
                    writeln!(out, "removed {} ({size})", removed.path.display())?;
                }
            }
            Action::Show { id } => show(&hub, Card::named(&id)?, &mut out)?,
        }
        Ok(())
    }
}

fn list(hub: &Hub, cards: &[Card], out: &mut impl Write) -> io::Result<()> {
    let width = cards
        .iter()
        .map(|card| card.id.len())
        .max()
        .unwrap_or(0)
        .max("ID".len());
    writeln!(
        out,
        "{:width$}  {:>9}  {:12}  CACHED",
        "ID", "SIZE", "LICENCE"
    )?;
    for card in cards {
        let cached = if hub.cached(card).is_some() {
            "yes"
        } else {
            "no"
        };
        writeln!(
            out,
            "{:width$}  {:>9}  {:12}  {cached}",
            card.id,
            human_bytes(card.size()),
            card.licence
        )?;
    }
    let repos = hub.cached_repos();
    if !repos.is_empty() {
        writeln!(out, "\nIn the Hugging Face cache:")?;
    }
    for repo in repos {
        writeln!(out, "{}  {}", repo.id, human_bytes(repo.size))?;
    }
    Ok(())
}

fn show(hub: &Hub, card: &Card, out: &mut impl Write) -> io::Result<()> {
    let mut row = |name: &str, value: &str| writeln!(out, "{name:15} {value}");
    row("id", &card.id)?;
    row("title", &card.title)?;
    row("licence", &card.licence)?;
    row("upstream", &card.upstream)?;
    row("context length", &format!("{} tokens", card.context_length))?;
    if let Some(template) = &card.chat_template {
        row("chat template", template)?;
    }
    let sampling = &card.sampling;
    let defaults: Vec<String> = [
        sampling
            .temperature
            .map(|value| format!("temperature {value}")),
        sampling.top_p.map(|value| format!("top_p {value}")),
        sampling.top_k.map(|value| format!("top_k {value}")),
        sampling
            .repetition_penalty
            .map(|value| format!("repetition_penalty {value}")),
        sampling
            .origin
            .as_ref()
            .map(|origin| format!("from {origin}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    row(
        "sampling",
        if defaults.is_empty() {
            "server defaults".to_owned()
        } else {
            defaults.join(", ")
        }
        .as_str(),
    )?;
    for file in &card.files {
        let size = human_bytes(file.size);
        row(
            "file",
            &format!("{} ({size}, sha256 {})", file.name, file.sha256),
        )?;
    }
    let memory = card.memory.iter().map(|(name, &bytes)| {
        let name = if name == "as_it_is" { "as it is" } else { name };
        format!("{name} {}", human_bytes(bytes))
    });
    row("memory", &memory.collect::<Vec<_>>().join(", "))?;
    for source in &card.sources {
        row("source", &source.to_string())?;
    }
    match hub.cached(card) {
        Some(path) => row("path", &path.display().to_string()),
        None => row(
            "path",
            &format!(
                "not cached; fetch it with: flambeau models pull {}",
                card.id
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hub(dir: &tempfile::TempDir) -> Hub {
        Hub::new(HubConfig {
            cache_dir: dir.path().join("cache"),
            hf_cache_dir: dir.path().join("hf"),
            hf_endpoint: String::new(),
            hf_token: None,
            hf_token_path: dir.path().join("hf/token"),
            pypi_index: String::new(),
            offline: true,
            connect_timeout: Duration::ZERO,
            stall_timeout: Duration::ZERO,
        })
    }

    fn text(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_list_says_which_models_are_cached() {
        let dir = tempfile::tempdir().unwrap();
        let hub = hub(&dir);
        let card = &Card::all()[0];
        let line = || {
            text(|out| list(&hub, Card::all(), out))
                .lines()
                .nth(1)
                .unwrap()
                .to_owned()
        };
        assert!(
            line().starts_with("smollm2-135m-instruct") && line().ends_with("no"),
            "{}",
            line()
        );
        let folder = dir.path().join("cache/models").join(&card.id);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::File::create(folder.join(&card.files[0].name))
            .unwrap()
            .set_len(card.size())
            .unwrap();
        assert!(
            line().contains("98.4 MB") && line().ends_with("yes"),
            "{}",
            line()
        );
    }

    #[test]
    fn show_says_how_to_fetch_what_is_not_cached() {
        let dir = tempfile::tempdir().unwrap();
        let shown = text(|out| show(&hub(&dir), &Card::all()[0], out));
        assert!(
            shown.contains("temperature 0.2, top_p 0.9, from the example"),
            "{shown}"
        );
        assert!(
            shown.contains("flambeau models pull smollm2-135m-instruct"),
            "{shown}"
        );
    }

    #[test]
    fn the_command_line_is_well_formed() {
        let command = ModelsCommand::augment_args(clap::Command::new("models"));
        command.clone().debug_assert();
        let matches = command
            .try_get_matches_from(["models", "pull", "org/name:a.gguf"])
            .unwrap();
        assert_eq!(matches.subcommand_name(), Some("pull"));
    }
}
