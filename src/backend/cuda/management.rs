//! What a card says of itself, by the management library (NVML), which is looked for when it is opened.

use std::ops::Range;
use std::time::Duration;

use cudarc::driver::result;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{EventSet, Nvml};

use super::context::said;
use super::{CardReading, Cuda, CudaError};

/// A card as the management library knows it. It does not keep the card open.
pub struct Management {
    nvml: Nvml,
    uuid: String,
}

/// The errors that a card reports by number.
pub struct Xids<'a>(EventSet<'a>);

impl Management {
    /// Finds the card by its UUID: the libraries count cards differently.
    ///
    /// # Errors
    /// If there is no such library, or it fails or does not know the card.
    pub fn open(cuda: &Cuda) -> Result<Self, CudaError> {
        let uuid = result::device::get_uuid(cuda.0.device);
        let bytes = said("cuDeviceGetUuid", uuid)?.bytes.map(|byte| byte as u8);
        let nvml = Nvml::init().map_err(failed)?;
        let named = |kind| {
            let uuid = uuid_text(kind, bytes);
            nvml.device_by_uuid(uuid.as_str()).map(|_| uuid)
        };
        // The driver does not say whether it is a card or a part of one.
        let uuid = named("GPU").or_else(|error| named("MIG").map_err(|_| error));
        let uuid = uuid.map_err(failed)?;
        Ok(Self { nvml, uuid })
    }

    /// As the management library writes it.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// What the card says now: nothing where it is lost.
    pub fn read(&self) -> CardReading {
        let Ok(card) = self.nvml.device_by_uuid(self.uuid.as_str()) else {
            return CardReading::default();
        };
        let utilization = card.utilization_rates().ok();
        let memory = card.memory_info().ok();
        let ecc = |kind| card.total_ecc_errors(kind, EccCounter::Volatile).ok();
        let ecc = ecc(MemoryError::Corrected).zip(ecc(MemoryError::Uncorrected));
        CardReading {
            utilization: utilization.map(|percent| f64::from(percent.gpu) / 100.0),
            memory: memory.map(|memory| (memory.used, memory.total)),
            temperature: card.temperature(TemperatureSensor::Gpu).ok(),
            power: (card.power_usage().ok()).map(|milliwatts| f64::from(milliwatts) / 1000.0),
            ecc: ecc.map(|(corrected, uncorrected)| [corrected, uncorrected]),
        }
    }

    /// The errors that it reports from now on, whichever program is at fault.
    ///
    /// # Errors
    /// If the card does not report any, or the library fails.
    pub fn xids(&self) -> Result<Xids<'_>, CudaError> {
        let card = self.nvml.device_by_uuid(self.uuid.as_str());
        let events = self.nvml.create_event_set().map_err(failed)?;
        let registered = (card.map_err(failed)?)
            .register_events(EventTypes::CRITICAL_XID_ERROR, events)
            .map_err(|error| failed(error.error))?;
        Ok(Xids(registered))
    }
}

impl Xids<'_> {
    /// The number of the next one, as soon as it is reported; none if that is not within `patience`.
    ///
    /// # Errors
    /// If the card is lost, or the library fails.
    pub fn wait(&self, patience: Duration) -> Result<Option<u64>, CudaError> {
        match self.0.wait(patience.as_millis() as u32) {
            Ok(event) => Ok(event.event_data.map(|xid| match xid {
                XidError::Value(number) => number,
                // What the library says where it does not know the number.
                XidError::Unknown => 999,
            })),
            Err(NvmlError::Timeout) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

fn failed(error: NvmlError) -> CudaError {
    CudaError::Management(error.to_string())
}

/// A UUID as the management library writes those of a `kind`.
fn uuid_text(kind: &str, bytes: [u8; 16]) -> String {
    let hex = |range: Range<usize>| -> String {
        (bytes[range].iter())
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let [a, b, c, d, e] = [0..4, 4..6, 6..8, 8..10, 10..16].map(hex);
    format!("{kind}-{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_in_five_groups_of_digits() {
        let mut bytes = [0xa0; 16];
        for (i, byte) in bytes.iter_mut().enumerate().skip(1) {
            *byte = i as u8;
        }
        assert_eq!(
            uuid_text("GPU", bytes),
            "GPU-a0010203-0405-0607-0809-0a0b0c0d0e0f"
        );
    }
}
