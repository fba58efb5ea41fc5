//! Whether a model generates: one token of its own.

use crate::engine::Event;
use crate::request::GenerateRequest;

use super::state::ServedModel;

/// Generates one token. There is one probe of a model at a time, which a later call goes on waiting for: however often a model that
/// hangs is asked, it holds one place of the queue.
///
/// # Errors
/// Why there is none.
pub(super) async fn probe(model: &ServedModel) -> Result<(), String> {
    let mut probe = model.probe.lock().await;
    // A token that nobody waited for says how it was, not how it is.
    if probe
        .as_mut()
        .is_some_and(|events| events.try_recv().is_some())
    {
        *probe = None;
    }
    let events = match &mut *probe {
        Some(events) => events,
        none => {
            let request = GenerateRequest::greedy(vec![0], 1);
            let submitted = model.engine.submit(request);
            none.insert(submitted.map_err(|error| error.to_string())?)
        }
    };
    let event = events.recv().await;
    *probe = None;
    match event {
        Some(Event::Token { .. } | Event::Prompt(_)) => Ok(()),
        Some(Event::Failed(error)) => Err(error.to_string()),
        None => Err("the engine is gone".into()),
    }
}
