//! Keeps the metrics of the card that computes up to date, and tells of the errors it reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;

use crate::backend::Device;
use crate::backend::cuda::{Cuda, Management};
use crate::telemetry::{GpuGauges, GpuMetrics, Telemetry, log_line};

/// Between two readings; and what an end may have to wait.
const PERIOD: Duration = Duration::from_secs(1);

/// A thread that ends when this is dropped.
pub(super) struct CardWatch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Watches the device if it is a card. The first reading is there when this returns; where there is none to be had, a line says why.
pub(super) fn start(device: &Device, telemetry: &Telemetry) -> anyhow::Result<Option<CardWatch>> {
    let Device::Cuda(cuda) = device else {
        return Ok(None);
    };
    match Management::open(cuda) {
        Ok(management) => watch(cuda, management, telemetry).map(Some),
        Err(error) => {
            log_line(&format!("the card has no metrics: {error}"));
            Ok(None)
        }
    }
}

fn watch(cuda: &Cuda, management: Management, telemetry: &Telemetry) -> anyhow::Result<CardWatch> {
    let mut metrics = telemetry.gpu(cuda.card().ordinal, management.uuid());
    metrics.set(&reading(&management));
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&is_over);
    let thread = thread::Builder::new()
        .name("card-watch".into())
        .spawn(move || watch_until(&ends, &management, metrics))
        .context("the card's watch")?;
    Ok(CardWatch {
        is_over,
        thread: Some(thread),
    })
}

fn watch_until(is_over: &AtomicBool, management: &Management, mut metrics: GpuMetrics) {
    let unknown = |error| log_line(&format!("the card's Xids are not known: {error}"));
    let mut xids = management.xids().map_err(unknown).ok();
    while !is_over.load(Ordering::Acquire) {
        match xids.as_ref().map(|xids| xids.wait(PERIOD)) {
            Some(Ok(Some(number))) => {
                metrics.xid(number);
                log_line(&format!("the card reported Xid {number}"));
            }
            Some(Ok(None)) => {}
            // From now on it might fail without waiting.
            Some(Err(error)) => {
                unknown(error);
                xids = None;
            }
            None => {
                thread::park_timeout(PERIOD);
                // It may have been for once.
                xids = management.xids().ok();
            }
        }
        metrics.set(&reading(management));
    }
}

fn reading(management: &Management) -> GpuGauges {
    let reading = management.read();
    GpuGauges {
        utilization: reading.utilization,
        memory: reading.memory,
        temperature: reading.temperature,
        power: reading.power,
        ecc: reading.ecc,
    }
}

impl Drop for CardWatch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // If it panicked, that was said when it did.
            let _ = thread.join();
        }
    }
}
