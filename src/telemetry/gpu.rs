//! The metrics of a card that computes.
//!
//! A series is there once it has a value: what a card never says has none.

use std::sync::Arc;

use metrics::{Counter, Gauge, Label, counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::Telemetry;

/// One reading of a card, without what it does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuGauges {
    /// Of the time: 0 to 1.
    pub utilization: Option<f64>,
    /// Bytes that are used, and all.
    pub memory: Option<(u64, u64)>,
    /// °C.
    pub temperature: Option<u32>,
    /// Watts.
    pub power: Option<f64>,
    /// Errors of its memory since the driver was loaded: corrected, and not.
    pub ecc: Option<[u64; 2]>,
}

const GAUGES: [&str; 5] = [
    "flambeau_gpu_utilization_ratio",
    "flambeau_gpu_memory_used_bytes",
    "flambeau_gpu_memory_total_bytes",
    "flambeau_gpu_temperature_celsius",
    "flambeau_gpu_power_watts",
];

/// What is reported of one card.
pub struct GpuMetrics {
    series: Series,
    gauges: [Option<Gauge>; 5],
    ecc: Option<[Counter; 2]>,
}

/// Makes the series that have the card's labels.
struct Series {
    recorder: Arc<PrometheusRecorder>,
    labels: [Label; 2],
}

impl Series {
    fn gauge(&self, name: &'static str) -> Gauge {
        with_local_recorder(&self.recorder, || gauge!(name, self.labels.iter()))
    }

    fn counter(&self, name: &'static str, label: Label) -> Counter {
        let mut labels = self.labels.to_vec();
        labels.push(label);
        with_local_recorder(&self.recorder, || counter!(name, labels))
    }
}

impl Telemetry {
    /// The handles for the card of that number and UUID.
    pub fn gpu(&self, ordinal: usize, uuid: &str) -> GpuMetrics {
        let labels = [
            Label::new("gpu", ordinal.to_string()),
            Label::new("uuid", uuid.to_owned()),
        ];
        GpuMetrics {
            series: Series {
                recorder: Arc::clone(&self.recorder),
                labels,
            },
            gauges: Default::default(),
            ecc: None,
        }
    }
}

impl GpuMetrics {
    /// Publishes a reading. A gauge that had a value and has none now is NaN: the last one would pass for one of now.
    pub fn set(&mut self, reading: &GpuGauges) {
        let values = [
            reading.utilization,
            reading.memory.map(|(used, _)| used as f64),
            reading.memory.map(|(_, total)| total as f64),
            reading.temperature.map(f64::from),
            reading.power,
        ];
        for ((name, gauge), value) in GAUGES.iter().zip(&mut self.gauges).zip(values) {
            if value.is_some() || gauge.is_some() {
                gauge
                    .get_or_insert_with(|| self.series.gauge(name))
                    .set(value.unwrap_or(f64::NAN));
            }
        }
        if let Some(counts) = reading.ecc {
            let counters = self.ecc.get_or_insert_with(|| {
                ["corrected", "uncorrected"].map(|kind| {
                    let kind = Label::from_static_parts("kind", kind);
                    self.series.counter("flambeau_gpu_ecc_errors_total", kind)
                })
            });
            for (counter, count) in counters.iter().zip(counts) {
                counter.absolute(count);
            }
        }
    }

    /// The card reported the error of that number.
    pub fn xid(&self, number: u64) {
        let number = Label::new("xid", number.to_string());
        self.series
            .counter("flambeau_gpu_xid_errors_total", number)
            .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &str = r#"gpu="1",uuid="GPU-0""#;

    #[test]
    fn what_a_card_does_not_say_has_no_series_and_what_it_no_longer_says_no_value() {
        let telemetry = Telemetry::new().unwrap();
        let mut metrics = telemetry.gpu(1, "GPU-0");
        metrics.set(&GpuGauges::default());
        assert!(!telemetry.handle().render().contains("flambeau_gpu"));
        metrics.set(&GpuGauges {
            temperature: Some(41),
            ..GpuGauges::default()
        });
        let rendered = telemetry.handle().render();
        let temperature = format!("flambeau_gpu_temperature_celsius{{{LABELS}}} 41\n");
        assert!(rendered.contains(&temperature), "{rendered}");
        assert_eq!(rendered.matches("# TYPE").count(), 1, "{rendered}");
        metrics.set(&GpuGauges::default());
        let rendered = telemetry.handle().render();
        let temperature = format!("flambeau_gpu_temperature_celsius{{{LABELS}}} NaN\n");
        assert!(rendered.contains(&temperature), "{rendered}");
    }

    #[test]
    fn errors_are_counted_by_what_they_are() {
        let telemetry = Telemetry::new().unwrap();
        let mut metrics = telemetry.gpu(1, "GPU-0");
        for ecc in [[2, 0], [3, 1]] {
            metrics.set(&GpuGauges {
                ecc: Some(ecc),
                ..GpuGauges::default()
            });
        }
        for number in [79, 31, 79] {
            metrics.xid(number);
        }
        let rendered = telemetry.handle().render();
        for (name, label, count) in [
            ("ecc", r#"kind="corrected""#, 3),
            ("ecc", r#"kind="uncorrected""#, 1),
            ("xid", r#"xid="31""#, 1),
            ("xid", r#"xid="79""#, 2),
        ] {
            let line = format!("flambeau_gpu_{name}_errors_total{{{LABELS},{label}}} {count}\n");
            assert!(rendered.contains(&line), "{rendered}");
        }
    }
}
