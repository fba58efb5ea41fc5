//! What tells one model's weights from another's, without reading all of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Pieces of a file that are read, and the bytes of each: training changes all of them.
const NUM_PIECES: u64 = 64;
const PIECE_LEN: u64 = 1 << 16;

/// Files of a folder that a model is read from.
const READ: [&str; 3] = ["safetensors", "json", "gguf"];

/// A digest of a model's file, or of the files of its folder that it is read from: their names, lengths and evenly spaced pieces.
pub(super) fn weights_digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let inside = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
        files = inside.collect::<io::Result<Vec<PathBuf>>>()?;
        let is_read = |file: &PathBuf| {
            READ.iter()
                .any(|read| file.extension() == Some(read.as_ref()))
        };
        files.retain(|file| is_read(file) && file.is_file());
        files.sort();
    }
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.file_name().unwrap_or_default();
        hasher.update(name.as_encoded_bytes());
        hash_pieces(&File::open(&file)?, &mut hasher)?;
    }
    Ok(hasher.finalize().into())
}

fn hash_pieces(file: &File, hasher: &mut Sha256) -> io::Result<()> {
    let len = file.metadata()?.len();
    hasher.update(len.to_le_bytes());
    let mut piece = vec![0; PIECE_LEN as usize];
    for i in 0..NUM_PIECES {
        // The last one ends where the file does; of a short file they are all of it.
        let at = len.saturating_sub(PIECE_LEN) * i / (NUM_PIECES - 1);
        let piece = &mut piece[..(len - at).min(PIECE_LEN) as usize];
        file.read_exact_at(piece, at)?;
        hasher.update(piece);
        if len <= PIECE_LEN {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_weights_of_the_same_length_have_another_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.gguf");
        let digest = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            weights_digest(&path).unwrap()
        };
        for len in [0, 1, 1 << 16, 5 << 20] {
            let mut bytes = vec![7u8; len];
            let first = digest(&bytes);
            assert_eq!(digest(&bytes), first);
            for at in [0, len.saturating_sub(1)] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte += 1;
                    assert_ne!(digest(&bytes), first, "byte {at} of {len}");
                    bytes[at] -= 1;
                }
            }
            bytes.push(0);
            assert_ne!(digest(&bytes), first);
        }
        // A folder's files count by name.
        let of_folder = weights_digest(folder.path()).unwrap();
        std::fs::write(folder.path().join("README.md"), "of no account").unwrap();
        assert_eq!(weights_digest(folder.path()).unwrap(), of_folder);
        std::fs::rename(&path, folder.path().join("v.gguf")).unwrap();
        assert_ne!(weights_digest(folder.path()).unwrap(), of_folder);
    }
}
