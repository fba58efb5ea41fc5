//! Fetching where there is no more room.

use std::process::Output;

use flambeau::model::Checkpoint;

use crate::folders;
use crate::full_disk::flambeau;
use crate::setup::Setup;

fn pull(setup: &Setup, blocks: &str) -> Output {
    flambeau(blocks)
        .args(["models", "pull", "org/tiny"])
        .env("FLAMBEAU_CACHE", &setup.config.cache_dir)
        .env("HF_HUB_CACHE", &setup.config.hf_cache_dir)
        .env("HF_ENDPOINT", &setup.config.hf_endpoint)
        .output()
        .unwrap()
}

#[test]
fn a_download_that_finds_the_disk_full_says_so_and_the_next_one_goes_on() {
    let server = folders::hub(|_| "c0ffee", |_| None);
    let setup = Setup::new().with_hf(&server);
    // The first shard has 25,032 bytes, the second 16,352.
    let full = pull(&setup, "36");
    let stderr = String::from_utf8_lossy(&full.stderr);
    assert!(!full.status.success(), "{stderr}");
    assert!(
        stderr.contains("model-00001-of-00002.safetensors"),
        "{stderr}"
    );
    assert!(stderr.contains("File too large"), "{stderr}");

    let roomy = pull(&setup, "unlimited");
    let path = String::from_utf8(roomy.stdout).unwrap();
    Checkpoint::open(path.trim().as_ref()).unwrap();
}
