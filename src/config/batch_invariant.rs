//! Whether a row's bits may depend on who shares the batch.

use super::{ConfigError, DeviceChoice};

/// What `auto` is: on, as long as what `off` gains is not measured on hardware.
const AUTO: bool = true;

/// `auto`, `on` or `off`, which is for cards.
pub(super) fn batch_invariant(
    text: Option<&str>,
    device: DeviceChoice,
) -> Result<bool, ConfigError> {
    let refused = |message: String| Err(ConfigError::value("batch_invariant", message));
    match (text, device) {
        (None | Some("auto"), _) => Ok(AUTO),
        (Some("on"), _) => Ok(true),
        (Some("off"), DeviceChoice::Cpu) => {
            refused("off is for cards, and device is cpu: leave one of the two away".to_owned())
        }
        (Some("off"), DeviceChoice::Auto | DeviceChoice::Cuda(_)) => Ok(false),
        (Some(other), _) => refused(format!("{other:?} is none of auto, on and off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_but_where_it_is_off_on_a_card() {
        let card = DeviceChoice::Cuda(0);
        for (text, device, want) in [
            (None, card, Some(true)),
            (Some("auto"), DeviceChoice::Cpu, Some(true)),
            (Some("on"), DeviceChoice::Cpu, Some(true)),
            (Some("off"), card, Some(false)),
            (Some("off"), DeviceChoice::Auto, Some(false)),
            (Some("off"), DeviceChoice::Cpu, None),
            (Some("false"), card, None),
        ] {
            let got = batch_invariant(text, device);
            if let Err(error) = &got {
                assert!(error.to_string().starts_with("batch_invariant: "));
            }
            assert_eq!(got.ok(), want, "{text:?} {device:?}");
        }
    }
}
