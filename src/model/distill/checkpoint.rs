//! What a training is that was interrupted: parameters, moments, and how many steps are done. Everything else follows from its settings.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use candle_core::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, View, serialize_to_file};

use super::ops::Floats;
use super::{DistillError, Trainer};
use crate::model::FileMap;

const NUM_DONE: &str = "num_done";

/// Float32 values that become bytes when they are written.
struct Values<'a> {
    shape: &'a [usize],
    values: Cow<'a, [f32]>,
}

impl View for Values<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}

/// Writes `path` as a whole: a run that ends meanwhile leaves the one before.
///
/// # Errors
/// What the system says of the file.
pub fn save_state(trainer: &Trainer, path: &Path) -> Result<(), DistillError> {
    let params = trainer.student.params.iter();
    let mut tensors = Vec::new();
    let held: Vec<(&str, &Tensor, Floats<'_>)> = params
        .map(|(name, param)| Ok((name, param, Floats::of(param)?)))
        .collect::<candle_core::Result<_>>()?;
    for ((name, param, values), (first, second)) in held.iter().zip(&trainer.optimiser.moments) {
        for (kind, values) in [("param", &**values), ("first", first), ("second", second)] {
            let view = Values {
                shape: param.dims(),
                values: values.into(),
            };
            tensors.push((format!("{kind}.{name}"), view));
        }
    }
    let (num_done, _) = trainer.progress();
    let metadata = HashMap::from([(NUM_DONE.to_owned(), num_done.to_string())]);
    let partial = path.with_extension("partial");
    serialize_to_file(tensors, Some(metadata), &partial)
        .map_err(|error| DistillError::file(&partial, error))?;
    let file = File::open(&partial).map_err(DistillError::io(&partial))?;
    file.sync_all().map_err(DistillError::io(&partial))?;
    fs::rename(&partial, path).map_err(DistillError::io(path))
}

/// Goes on from what [`save_state`] wrote of the same training.
///
/// # Errors
/// The file is damaged, or of another training.
pub fn load_state(trainer: &mut Trainer, path: &Path) -> Result<(), DistillError> {
    let broken = |message: &dyn ToString| DistillError::file(path, message.to_string());
    let map = FileMap::open(path).map_err(DistillError::io(path))?;
    let (_, metadata) = SafeTensors::read_metadata(map.as_ref()).map_err(|e| broken(&e))?;
    let num_done = metadata
        .metadata()
        .as_ref()
        .and_then(|own| own.get(NUM_DONE));
    let num_done = num_done.and_then(|num| num.parse().ok());
    let num_done = num_done.ok_or_else(|| broken(&"does not say how many steps are done"))?;
    let state = SafeTensors::deserialize(map.as_ref()).map_err(|e| broken(&e))?;
    let values = |kind: &str, name: &str, param: &Tensor| {
        let name = format!("{kind}.{name}");
        let view = state.tensor(&name).map_err(|e| broken(&e))?;
        if view.dtype() != Dtype::F32 || view.shape() != param.dims() {
            return Err(broken(&format!("{name} is of another model")));
        }
        Ok(floats(&view))
    };
    let moments = &mut trainer.optimiser.moments;
    for ((name, param), (first, second)) in trainer.student.params.iter().zip(moments) {
        let own = values("param", name, param)?;
        let own = Tensor::from_vec(own, param.shape(), param.device())?;
        trainer.student.params.set(name, &own)?;
        *first = values("first", name, param)?;
        *second = values("second", name, param)?;
    }
    trainer.num_done = num_done;
    Ok(())
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    let (values, _) = view.data().as_chunks::<4>();
    values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}
