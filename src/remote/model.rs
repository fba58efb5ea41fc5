//! The remote model: asking, and asking again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::answer::num_choices;
use super::error::{RemoteError, Wait};
use super::retry::{Retries, retry_after};
use super::stream::RemoteStream;
use crate::http::{HttpClient, HttpOptions, Reply};

/// The most bytes read of an error, or of a list of models.
const MAX_BODY_BYTES: usize = 4 << 20;
/// How many connections are kept that no request is using.
const MAX_IDLE: usize = 32;
/// After how long without a request a connection is closed.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const MODELS: &str = "/v1/models";

/// How a remote server is reached.
#[derive(Clone)]
pub struct RemoteConfig {
    /// Its root, `http` or `https`, with or without the trailing `/v1`.
    pub url: String,
    /// What the model is called there; without it, the first one of its `/v1/models`.
    pub model: Option<String>,
    /// Sent with each request as a bearer token.
    pub api_key: Option<String>,
    /// What opening a connection may take: name, TCP and TLS.
    pub connect_timeout: Duration,
    /// Within which time from the call the first piece of the answer must come, all attempts together.
    pub first_token_timeout: Duration,
    /// What may pass between two chunks of the answer.
    pub idle_timeout: Duration,
    /// How often to ask again at most where nothing of the answer came. The pauses before that take two seconds in all at
    /// most: four are sure to fit in, where the server asks for none that are longer.
    pub max_retries: u32,
}

impl fmt::Debug for RemoteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteConfig")
            .field("url", &self.url)
            .field("model", &self.model)
            .field("api_key", &self.api_key.as_ref().map(|_| "…"))
            .field("connect_timeout", &self.connect_timeout)
            .field("first_token_timeout", &self.first_token_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_retries", &self.max_retries)
            .finish()
    }
}

/// A model that another server serves; clones share its connections.
#[derive(Clone)]
pub struct RemoteModel(Arc<Shared>);

struct Shared {
    config: Arc<RemoteConfig>,
    client: HttpClient,
    /// The first model that the server listed.
    listed: Mutex<Option<String>>,
}

impl RemoteModel {
    /// Checks the URL and the key, without connecting yet.
    pub fn new(config: RemoteConfig) -> Result<Self, RemoteError> {
        let client = HttpClient::new(&HttpOptions {
            url: &config.url,
            api_key: config.api_key.as_deref(),
            user_agent: concat!("flambeau/", env!("CARGO_PKG_VERSION")),
            connect_timeout: config.connect_timeout,
            max_idle: MAX_IDLE,
            idle_timeout: IDLE_CONNECTION_TIMEOUT,
        })?;
        Ok(Self(Arc::new(Shared {
            config: Arc::new(config),
            client,
            listed: Mutex::default(),
        })))
    }

    /// Asks for a chat. `body` is that of `/v1/chat/completions` and goes as it is, but for `model`, and for `stream` and
    /// `stream_options.include_usage`, which are set.
    ///
    /// Returns once the first piece of the answer has come, or its end; an error comes from before that, when another
    /// model can still be asked instead. If the future is dropped, the connection is closed, and nothing is asked again.
    pub async fn chat(&self, body: Map<String, Value>) -> Result<RemoteStream, RemoteError> {
        self.ask(CHAT, body).await
    }

    /// Asks for a completion: like [`chat`](Self::chat), of `/v1/completions`.
    pub async fn complete(&self, body: Map<String, Value>) -> Result<RemoteStream, RemoteError> {
        self.ask(COMPLETIONS, body).await
    }

    /// Asks for one token and waits for it. If the future is dropped, the connection is closed.
    pub async fn probe(&self) -> Result<(), RemoteError> {
        let mut body = Map::new();
        let messages = json!([{"role": "user", "content": "Hi"}]);
        body.insert("messages".into(), messages);
        body.insert("max_tokens".into(), 1.into());
        let mut answer = self.chat(body).await?;
        while let Some(delta) = answer.next().await {
            delta?;
        }
        Ok(())
    }

    async fn ask(
        &self,
        path: &'static str,
        mut body: Map<String, Value>,
    ) -> Result<RemoteStream, RemoteError> {
        body.insert("stream".into(), true.into());
        match body.get_mut("stream_options") {
            Some(Value::Object(options)) => {
                options.insert("include_usage".into(), true.into());
            }
            _ => {
                body.insert("stream_options".into(), json!({"include_usage": true}));
            }
        }
        let after = self.0.config.first_token_timeout;
        tokio::time::timeout(after, self.attempts(path, body))
            .await
            .unwrap_or(Err(RemoteError::Timeout {
                what: Wait::FirstToken,
                after,
            }))
    }

    async fn attempts(
        &self,
        path: &'static str,
        mut body: Map<String, Value>,
    ) -> Result<RemoteStream, RemoteError> {
        let mut retries =
            Retries::new(self.0.config.max_retries, self.0.config.first_token_timeout);
        loop {
            let error = match self.attempt(path, &mut body).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            match retries.pause(&error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error.without_key(self.0.config.api_key.as_deref())),
            }
        }
    }

    async fn attempt(
        &self,
        path: &'static str,
        body: &mut Map<String, Value>,
    ) -> Result<RemoteStream, RemoteError> {
        let model = self.model().await?;
        body.insert("model".into(), model.into());
        let json = serde_json::to_vec(body).expect("JSON values always serialise: this is a bug");
        let reply = self.0.client.post(path, json.into()).await?;
        if reply.status == 200 {
            let config = Arc::clone(&self.0.config);
            return RemoteStream::begin(reply, num_choices(body), config).await;
        }
        if reply.status == 404 {
            // It may serve another model by now.
            *self.listed() = None;
        }
        Err(refusal(reply).await)
    }

    /// The model's name there.
    async fn model(&self) -> Result<String, RemoteError> {
        if let Some(model) = &self.0.config.model {
            return Ok(model.clone());
        }
        if let Some(model) = self.listed().clone() {
            return Ok(model);
        }
        let reply = self.0.client.get(MODELS).await?;
        if reply.status != 200 {
            return Err(refusal(reply).await);
        }
        let listing = reply.body.collect(MAX_BODY_BYTES).await?;
        let listing: Value = serde_json::from_slice(&listing)
            .map_err(|error| RemoteError::Malformed(format!("{MODELS}: {error}")))?;
        let first = listing.pointer("/data/0/id").and_then(Value::as_str);
        let first = first.ok_or(RemoteError::NoModel)?.to_owned();
        *self.listed() = Some(first.clone());
        Ok(first)
    }

    fn listed(&self) -> MutexGuard<'_, Option<String>> {
        (self.0.listed.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RemoteModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteModel").field(&self.0.config).finish()
    }
}

/// What a reply says that is no success; one that breaks off says its status.
async fn refusal(reply: Reply) -> RemoteError {
    let retry_after =
        (reply.header("retry-after")).and_then(|header| retry_after(header, Timestamp::now()));
    let status = reply.status;
    let body = reply.body.collect(MAX_BODY_BYTES).await.unwrap_or_default();
    RemoteError::of_status(status, &body, retry_after)
}
