//! Writing GGUF files, version 3.

use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::ggml_type::GgmlType;

const ALIGNMENT: u64 = 32;

/// A tensor of the file to come.
pub(in crate::model) struct NewTensor {
    pub name: String,
    /// Fastest first.
    pub dims: Vec<usize>,
    pub ty: GgmlType,
}

impl NewTensor {
    fn num_bytes(&self) -> u64 {
        let layout = self.ty.layout().expect("a supported type: this is a bug");
        let num_values: usize = self.dims.iter().product();
        (num_values / layout.block_size * layout.block_bytes) as u64
    }
}

/// Values as they stand in a file: the value type, then the value.
pub mod raw {
    /// Of the type `u32`, or a list of them.
    pub fn u32(value: u32) -> Vec<u8> {
        [4u32.to_le_bytes(), value.to_le_bytes()].concat()
    }

    /// Of the type `f32`, or a list of them.
    pub fn f32(value: f32) -> Vec<u8> {
        [6u32.to_le_bytes(), value.to_le_bytes()].concat()
    }

    /// Of the type `bool`, or a list of them.
    pub fn bool(value: bool) -> Vec<u8> {
        let mut bytes = 7u32.to_le_bytes().to_vec();
        bytes.push(u8::from(value));
        bytes
    }

    /// Of the type `str`, or a list of them.
    pub fn str(value: &str) -> Vec<u8> {
        let mut bytes = 8u32.to_le_bytes().to_vec();
        push_str(&mut bytes, value);
        bytes
    }

    /// Of the type `strs`, or a list of them.
    pub fn strs(values: &[String]) -> Vec<u8> {
        let mut bytes = array(8, values.len());
        for value in values {
            push_str(&mut bytes, value);
        }
        bytes
    }

    /// Of the type `i32s`, or a list of them.
    pub fn i32s(values: &[i32]) -> Vec<u8> {
        let mut bytes = array(5, values.len());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    /// Of the type `f32s`, or a list of them.
    pub fn f32s(values: &[f32]) -> Vec<u8> {
        let mut bytes = array(6, values.len());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    fn array(ty: u32, len: usize) -> Vec<u8> {
        let mut bytes = [9u32.to_le_bytes(), ty.to_le_bytes()].concat();
        bytes.extend((len as u64).to_le_bytes());
        bytes
    }

    fn push_str(bytes: &mut Vec<u8>, value: &str) {
        bytes.extend((value.len() as u64).to_le_bytes());
        bytes.extend(value.as_bytes());
    }
}

/// Writes the file: metadata `(key, raw value)`, then the tensors, whose data `data` gives by place. The file is whole under its name or
/// not there: it is written beside it first.
///
/// # Errors
/// Those of `data`, and what the system says of writing; nothing is left behind.
pub(in crate::model) fn write<E: From<io::Error>>(
    path: &Path,
    entries: &[(Cow<'_, str>, Cow<'_, [u8]>)],
    tensors: &[NewTensor],
    mut data: impl FnMut(usize) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let (part, file) = Part::create(path)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let head = head(entries, tensors);
    out.write_all(&head)?;
    pad(&mut out, head.len() as u64)?;
    for (i, tensor) in tensors.iter().enumerate() {
        let bytes = data(i)?;
        if bytes.len() as u64 != tensor.num_bytes() {
            let message = format!(
                "{}: {} bytes came, not {}",
                tensor.name,
                bytes.len(),
                tensor.num_bytes()
            );
            return Err(io::Error::other(message).into());
        }
        out.write_all(&bytes)?;
        pad(&mut out, bytes.len() as u64)?;
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&part.0, path)?;
    Ok(())
}

/// The file while it is not whole; removed when it is dropped.
struct Part(PathBuf);

impl Part {
    /// A part that nobody else writes; one that a process left that was killed is begun anew.
    fn create(path: &Path) -> io::Result<(Self, File)> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", part.display()));
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(&part);
        let file = file.map_err(named)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => named(io::Error::other("somebody else is writing it")),
            TryLockError::Error(error) => named(error),
        })?;
        file.set_len(0)?;
        Ok((Self(part), file))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Nothing is there once it has its name.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file up to its tensors' data.
pub(in crate::model) fn head(
    entries: &[(Cow<'_, str>, Cow<'_, [u8]>)],
    tensors: &[NewTensor],
) -> Vec<u8> {
    let string = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut head = b"GGUF".to_vec();
    head.extend(3u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((entries.len() as u64).to_le_bytes());
    for (key, value) in entries {
        head.extend(string(key));
        head.extend_from_slice(value);
    }
    let mut offset = 0u64;
    for tensor in tensors {
        head.extend(string(&tensor.name));
        head.extend((tensor.dims.len() as u32).to_le_bytes());
        for &dim in &tensor.dims {
            head.extend((dim as u64).to_le_bytes());
        }
        head.extend(tensor.ty.id().to_le_bytes());
        head.extend(offset.to_le_bytes());
        offset += tensor.num_bytes().next_multiple_of(ALIGNMENT);
    }
    head
}

fn pad(out: &mut impl Write, written: u64) -> io::Result<()> {
    let missing = written.next_multiple_of(ALIGNMENT) - written;
    out.write_all(&[0; ALIGNMENT as usize][..missing as usize])
}

#[cfg(test)]
mod tests {
    use super::super::{Gguf, GgufFile};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gguf");
        let entries = [("a.key".into(), raw::u32(7).into())];
        let tensor = |name: &str, dims: &[usize], ty| NewTensor {
            name: name.into(),
            dims: dims.into(),
            ty,
        };
        let tensors = [
            tensor("first", &[3], GgmlType::F32),
            tensor("second", &[32, 2], GgmlType::Q8_0),
        ];
        let data = [vec![1; 12], vec![2; 68]];
        write::<io::Error>(&path, &entries, &tensors, |i| Ok(data[i].clone())).unwrap();
        let file = GgufFile::open(&path).unwrap();
        assert_eq!(file.metadata().get_u32("a.key").unwrap(), 7);
        assert_eq!(file.tensor("first").unwrap().data, data[0]);
        let second = file.tensor("second").unwrap();
        assert_eq!((second.dims, second.data), (&[32, 2][..], &data[1][..]));
        assert_eq!(
            Gguf::parse(std::fs::read(&path).unwrap())
                .unwrap()
                .version(),
            3
        );
    }

    #[test]
    fn a_failure_leaves_nothing_behind_and_what_was_there_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gguf");
        std::fs::write(&path, "old").unwrap();
        let tensors = [NewTensor {
            name: "a".into(),
            dims: vec![3],
            ty: GgmlType::F32,
        }];
        for data in [Ok(vec![0; 11]), Err(io::Error::other("no more"))] {
            let mut data = Some(data);
            let result = write::<io::Error>(&path, &[], &tensors, |_| data.take().unwrap());
            assert!(result.is_err());
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
