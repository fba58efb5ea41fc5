//! A request that was read, and can be put to any model.

use futures_util::future::BoxFuture;

use super::form::Kind;
use super::wire::Wire;
use crate::request::GenerateRequest;
use crate::server::error::ApiError;
use crate::server::models::{Chosen, Target};
use crate::server::request::forward::Forwarded;
use crate::server::request::generate::Generate;

/// A request as it is put to a model that is served here.
pub(crate) struct Call {
    pub generate: Generate,
    /// One a prompt; each is run for every choice.
    pub requests: Vec<GenerateRequest>,
    /// For the log.
    pub prompt_chars: usize,
    /// How the answer is spelt.
    pub wire: Box<dyn Wire>,
}

/// A request as it is put to a model that another server serves.
pub(crate) struct RemoteCall {
    pub forwarded: Forwarded,
    /// How the answer is spelt.
    pub wire: Box<dyn Wire>,
}

/// Makes the call that a request is to a model of this process.
pub(crate) type Prepare =
    Box<dyn Fn(Chosen) -> BoxFuture<'static, Result<Call, ApiError>> + Send + Sync>;

/// Makes the call that it is to one of another server, which answers call by this name.
pub(crate) type Forward = Box<dyn Fn(&str) -> Result<RemoteCall, ApiError> + Send + Sync>;

/// See the module.
pub(crate) struct Ask {
    /// What it names.
    pub target: Target,
    /// Where it came in.
    pub route: &'static str,
    /// What it is once it is translated.
    pub kind: Kind,
    /// Whether it may be answered by others.
    pub may_fall_back: bool,
    pub prepare: Prepare,
    pub forward: Forward,
}

impl Ask {
    /// Says of errors what `rename` makes of them.
    pub fn renaming(self, rename: fn(&str) -> String) -> Self {
        let (prepare, forward) = (self.prepare, self.forward);
        let prepare = move |chosen| -> BoxFuture<'static, Result<Call, ApiError>> {
            let prepared = prepare(chosen);
            Box::pin(async move { prepared.await.map_err(|error| error.renamed(rename)) })
        };
        let forward = move |name: &str| forward(name).map_err(|error| error.renamed(rename));
        Self {
            prepare: Box::new(prepare),
            forward: Box::new(forward),
            ..self
        }
    }
}
