//! What the caches hold, what leaves them, and what is known of a model without its weights.

use flambeau::hub::{CachedRepo, Card, HubError};

use crate::folders::{hub, resolve};
use crate::setup::Setup;

#[test]
fn a_repository_is_listed_and_removed_with_all_its_revisions() {
    let commit = |revision: &str| if revision == "v1" { "01d" } else { "c0ffee" };
    let server = hub(commit, |_| None);
    let setup = Setup::new().with_hf(&server);
    let main = resolve(&setup, "org/tiny").unwrap();
    let old = resolve(&setup, "org/tiny@v1").unwrap();
    let repos = setup.hub().cached_repos();
    assert!(
        matches!(&repos[..], [CachedRepo { id, size }] if id == "org/tiny" && *size > 40_000),
        "{repos:?}"
    );
    let error = setup.hub().remove("org/tiny@v1", &mut setup.notes.clone());
    assert!(
        matches!(error, Err(HubError::RemovesAll { .. })),
        "{error:?}"
    );
    let removed = setup
        .hub()
        .remove("org/tiny", &mut setup.notes.clone())
        .unwrap();
    assert_eq!(removed[0].size, repos[0].size);
    assert!(!main.path.exists() && !old.path.exists());
    assert!(setup.hub().cached_repos().is_empty());
    let again = setup.hub().remove("org/tiny", &mut setup.notes.clone());
    assert!(
        matches!(again, Err(HubError::NotCached { .. })),
        "{again:?}"
    );
    // And it can be fetched again.
    resolve(&setup, "org/tiny").unwrap();
}

#[test]
fn a_cards_file_leaves_the_cache_with_what_is_remembered_of_it() {
    let setup = Setup::new();
    let card = &Card::all()[0];
    let folder = setup.config.cache_dir.join("models").join(&card.id);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(&card.files[0].name);
    std::fs::write(&file, "half a file").unwrap();
    let removed = setup
        .hub()
        .remove(&card.id, &mut setup.notes.clone())
        .unwrap();
    assert_eq!((removed.len(), &removed[0].path), (1, &file));
    assert!(!file.exists());
    let again = setup.hub().remove(&card.id, &mut setup.notes.clone());
    assert!(
        matches!(again, Err(HubError::NotCached { .. })),
        "{again:?}"
    );
}

#[test]
fn files_at_a_path_of_ones_own_are_never_removed() {
    let setup = Setup::new();
    let file = tempfile::NamedTempFile::with_suffix(".gguf").unwrap();
    let path = file.path().to_str().unwrap();
    let result = setup.hub().remove(path, &mut setup.notes.clone());
    assert!(
        matches!(result, Err(HubError::NotCached { .. })),
        "{result:?}"
    );
    assert!(file.path().exists());
}

#[test]
fn the_configuration_of_a_repository_is_known_without_its_weights() {
    let server = hub(|_| "c0ffee", |_| None);
    let setup = Setup::new().with_hf(&server);
    let config = |spec: &str| setup.hub().resolve_config(spec, &mut setup.notes.clone());
    let path = config("org/tiny").unwrap();
    assert!(path.ends_with("snapshots/c0ffee/config.json"));
    flambeau::model::read_outline(&path).unwrap();
    assert!(server.requests("safetensors").is_empty());
    // Half a folder is still none.
    assert!(!path.with_file_name("model.safetensors.index.json").exists());
    let num_requests = server.requests("").len();
    config("org/tiny").unwrap();
    assert_eq!(server.requests("").len(), num_requests);
    resolve(&setup, "org/tiny").unwrap();
}
