//! Numbers within bounds.

use std::time::Duration;

use super::ConfigError;

/// Up to `max`, where a number is given.
pub(super) fn milliseconds(
    name: &'static str,
    value: Option<usize>,
    max: usize,
) -> Result<Option<Duration>, ConfigError> {
    let value = value.map(|ms| within(name, ms, 1, max)).transpose()?;
    Ok(value.map(|ms| Duration::from_millis(ms as u64)))
}

/// The number, where it is in `min..=max`.
pub(super) fn within(
    name: &'static str,
    value: usize,
    min: usize,
    max: usize,
) -> Result<usize, ConfigError> {
    match (min..=max).contains(&value) {
        true => Ok(value),
        false => Err(ConfigError::value(
            name,
            format!("{value} is not in {min}..={max}"),
        )),
    }
}

/// The number, where one is given and it is in `0..=max`.
pub(super) fn up_to(
    name: &'static str,
    value: Option<f64>,
    max: f64,
) -> Result<Option<f64>, ConfigError> {
    match value {
        Some(value) if !(value.is_finite() && (0.0..=max).contains(&value)) => {
            let message = match max.is_finite() {
                true => format!("{value} is not in 0..={max}"),
                false => format!("{value} is no number from 0 on"),
            };
            Err(ConfigError::value(name, message))
        }
        value => Ok(value),
    }
}

/// Above zero, up to the whole.
pub(super) fn part(name: &'static str, value: f64) -> Result<f64, ConfigError> {
    match value > 0.0 && value <= 1.0 {
        true => Ok(value),
        false => Err(ConfigError::value(
            name,
            format!("{value} is not above 0 and up to 1"),
        )),
    }
}
