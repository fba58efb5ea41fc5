//! Launches that are recorded once and replayed with one call.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use cudarc::driver::{result, sys};

use super::context::said;
use super::{Cuda, CudaError};

/// A recorded sequence of launches. Arguments are those of the recording: what changes must lie in memory.
pub struct Graph {
    cuda: Cuda,
    graph: sys::CUgraph,
    exec: sys::CUgraphExec,
}

// SAFETY: it is owned, and the driver's functions may be called by any thread.
unsafe impl Send for Graph {}

impl Cuda {
    /// Records what `body` launches, without doing it. Replays use the memory that it names, whatever is there then. Other threads
    /// may allocate, upload and free meanwhile, and no more.
    ///
    /// # Errors
    /// Those of `body`, or if it does more than launch and copy on the card, or the driver fails.
    pub fn record<E: From<CudaError>>(
        &self,
        body: impl FnOnce() -> Result<(), E>,
    ) -> Result<Graph, E> {
        let context = &self.0;
        context.make_current()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as the context.
        said("cuStreamBeginCapture", unsafe {
            result::stream::begin_capture(context.stream, mode)
        })?;
        context.is_recording.store(true, Ordering::Release);
        // The capture ends whatever becomes of the body.
        let done = catch_unwind(AssertUnwindSafe(body));
        context.is_recording.store(false, Ordering::Release);
        // SAFETY: as above.
        let graph = unsafe { result::stream::end_capture(context.stream) };
        let done = done.unwrap_or_else(|panic| {
            if let Ok(graph) = graph {
                // SAFETY: it was just made.
                let _ = unsafe { result::graph::destroy(graph) };
            }
            resume_unwind(panic)
        });
        if done.is_err()
            && let Ok(graph) = graph
        {
            // SAFETY: it was just made.
            let _ = unsafe { result::graph::destroy(graph) };
        }
        done?;
        let graph = said("cuStreamEndCapture", graph)?;
        // SAFETY: the graph was just made.
        let exec = unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) };
        if exec.is_err() {
            // SAFETY: it was just made, and nothing else has it.
            let _ = unsafe { result::graph::destroy(graph) };
        }
        Ok(Graph {
            cuda: self.clone(),
            graph,
            exec: said("cuGraphInstantiate", exec)?,
        })
    }
}

impl Graph {
    /// Appends all of it to what the card does.
    ///
    /// # Errors
    /// If the driver fails.
    pub fn launch(&self) -> Result<(), CudaError> {
        let context = &self.cuda.0;
        context.make_current()?;
        // SAFETY: both live as long as this.
        said("cuGraphLaunch", unsafe {
            result::graph::launch(self.exec, context.stream)
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.cuda.0.make_current().is_ok() {
            // SAFETY: made once, by `record`; the driver keeps what is under way.
            let _ = unsafe { result::graph::exec_destroy(self.exec) };
            // SAFETY: as above.
            let _ = unsafe { result::graph::destroy(self.graph) };
        }
    }
}
