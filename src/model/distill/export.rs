//! The student's weights as a folder has them.

use std::borrow::Cow;
use std::fs::{self, File};
use std::path::Path;

use candle_core::Tensor;
use half::bf16;
use safetensors::tensor::{Dtype, View, serialize_to_file};

use super::ops::Floats;
use super::{DistillError, Student};
use crate::model::safetensors::names_of;

/// Values that are rounded to bfloat16 when they are written.
struct Rounded<'a> {
    shape: &'a [usize],
    values: Floats<'a>,
}

impl View for Rounded<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.values.iter();
        values
            .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
            .collect()
    }

    fn data_len(&self) -> usize {
        2 * self.values.len()
    }
}

/// Writes `model.safetensors` at `path`, in bfloat16 under the names of `transformers`.
///
/// # Errors
/// What the system says of the file.
pub fn write_weights(student: &Student, path: &Path) -> Result<(), DistillError> {
    let head = student.output.as_ref().map(|head| ("output.weight", head));
    let frozen = [("token_embd.weight", &student.embedding)];
    let all = student.params.iter().chain(frozen).chain(head);
    let named = |(name, tensor): (&str, &Tensor)| {
        // Where there are two, the first is that of models with norms after their blocks.
        let name = names_of(name).pop();
        let name = name.expect("parts of these models have names: this is a bug");
        (name, tensor.clone())
    };
    let all: Vec<(String, Tensor)> = all.map(named).collect();
    let views = all.iter().map(|(name, tensor)| {
        let view = Rounded {
            shape: tensor.dims(),
            values: Floats::of(tensor)?,
        };
        Ok((name.as_str(), view))
    });
    let views = views.collect::<candle_core::Result<Vec<_>>>()?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    // Those of any new file; the crate writes a temporary one, which only its owner may read.
    let new = File::create(path).map_err(DistillError::io(path))?;
    let permissions = new
        .metadata()
        .map_err(DistillError::io(path))?
        .permissions();
    serialize_to_file(views, Some(metadata), path)
        .map_err(|error| DistillError::file(path, error))?;
    fs::set_permissions(path, permissions).map_err(DistillError::io(path))?;
    // What the training was is given up once this is written.
    let written = File::open(path).map_err(DistillError::io(path))?;
    written.sync_all().map_err(DistillError::io(path))
}
