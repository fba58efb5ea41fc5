//! Holds every step of the engine until the test decides on it.

use std::sync::{Arc, Mutex, mpsc as blocking};

use flambeau::engine::ExecutorError;
use flambeau::engine::fake::Hook;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::client::within;

/// What becomes of a held step.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Go,
    Fail,
    Panic,
}

/// A step that the engine has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub num_sequences: usize,
    pub num_tokens: usize,
}

/// The test's side. Once it is dropped all steps go on by themselves.
pub struct Gate {
    begun: UnboundedReceiver<Step>,
    acts: blocking::Sender<Act>,
}

/// The executors' side.
#[derive(Clone)]
pub struct Gatekeeper {
    begun: UnboundedSender<Step>,
    acts: Arc<Mutex<blocking::Receiver<Act>>>,
}

impl Gate {
    pub fn new() -> (Self, Gatekeeper) {
        let (begun_tx, begun) = unbounded_channel();
        let (acts, acts_rx) = blocking::channel();
        let acts_rx = Arc::new(Mutex::new(acts_rx));
        let keeper = Gatekeeper {
            begun: begun_tx,
            acts: acts_rx,
        };
        (Self { begun, acts }, keeper)
    }

    /// Waits until the engine is inside its next step.
    pub async fn begun(&mut self) -> Step {
        within(self.begun.recv()).await.expect("the engine is gone")
    }

    /// Decides on the step that is held, or on the next.
    pub fn decide(&self, act: Act) {
        self.acts.send(act).expect("the engine is gone");
    }

    /// Waits for a step and lets it go.
    pub async fn pass(&mut self) -> Step {
        let step = self.begun().await;
        self.decide(Act::Go);
        step
    }
}

impl Gatekeeper {
    pub fn hook(&self) -> Hook {
        let keeper = self.clone();
        Box::new(move |plan| {
            let (num_sequences, num_tokens) = (plan.sequences.len(), plan.num_tokens());
            // The test may have dropped its gate: then nobody wants to know.
            let _ = keeper.begun.send(Step {
                num_sequences,
                num_tokens,
            });
            let act = keeper.acts.lock().unwrap().recv();
            match act {
                Ok(Act::Go) | Err(blocking::RecvError) => Ok(()),
                Ok(Act::Fail) => Err(ExecutorError("out of memory".into())),
                Ok(Act::Panic) => panic!("a kernel crashed"),
            }
        })
    }
}
