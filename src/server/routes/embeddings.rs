//! `POST /v1/embeddings`.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::engine::{EncodeError, SubmitError, normalised};
use crate::server::answer::account::{Account, Answerer, Timings};
use crate::server::answer::received::Received;
use crate::server::answer::respond::provenance;
use crate::server::error::ApiError;
use crate::server::request::caller::Caller;
use crate::server::request::embeddings::{EmbeddingRequest, Encoding, FIELDS, Texts};
use crate::server::request::fields::Fields;
use crate::server::state::AppState;
use crate::telemetry::{Outcome, Tier};

pub(crate) async fn handle(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    if state.models.first().engine.is_draining() {
        return Err(SubmitError::Draining.into());
    }
    let model = state.embeddings.as_ref().ok_or_else(|| {
        ApiError::not_here("no embedding model is served here; --embedding-model names one")
    })?;
    let mut fields = Fields::parse(&body, &[FIELDS])?;
    let name = fields.opt::<String>("model")?;
    if let Some(name) = name.filter(|name| *name != model.name) {
        return Err(ApiError::model_not_found(&name, &[&*model.name]));
    }
    let request = EmbeddingRequest::take(&mut fields)?;
    let loaded = model.loaded().await?;
    loaded.encoder.check_room()?;
    let (encoder, encoding) = (loaded.encoder.clone(), request.encoding);
    let (num_chars, caller) = (
        request.num_chars(),
        Caller {
            user: request.user.clone(),
            session: None,
        },
    );
    let turn = Arc::clone(&model.tokenises).acquire_owned().await;
    let tokenise = move || {
        let _turn = turn;
        request.texts(&loaded)
    };
    let mut texts = tokio::task::spawn_blocking(tokenise)
        .await
        .map_err(|_| ApiError::internal("the tokenizer panicked"))??;
    let pieces = std::mem::take(&mut texts.pieces);
    let lengths: Vec<usize> = pieces.iter().map(Vec::len).collect();
    let num_tokens = lengths.iter().sum();
    let answerer = Answerer {
        name: model.name.clone(),
        tier: Tier::Primary,
        cause: None,
        level: None,
        metrics: model.metrics.clone(),
    };
    let mut account = Account::new(
        &state,
        Arc::clone(&received),
        caller,
        answerer,
        &[num_tokens],
        1,
        num_chars,
    );
    let submitted = Instant::now();
    let encoded = encoder.encode(pieces).await.map_err(|error| {
        let error = ApiError::from(error);
        account.close(error.outcome(), error.status.as_u16());
        error
    })?;
    let timings = account.embedded(encoded.queue, submitted.elapsed());
    let answer = Answer {
        object: "list",
        data: Vec::new(),
        model: model.name.clone(),
        usage: Usage {
            prompt_tokens: num_tokens,
            total_tokens: num_tokens,
        },
        flambeau: Flambeau {
            tier: Tier::Primary.as_str(),
            cache: "miss",
            timings,
        },
    };
    // Thousands of vectors take a while to write.
    let written = tokio::task::spawn_blocking(move || {
        answer.written(encoded.vectors, &lengths, &texts, encoding)
    });
    let written = written.await.map_err(|_| {
        account.close(Outcome::Error, 500);
        ApiError::internal("writing the answer panicked")
    })?;
    account.close(Outcome::Stop, 200);
    let mut headers = provenance(None, Some(Tier::Primary), Some("miss"), Some(timings));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((headers, written).into_response())
}

#[derive(Serialize)]
struct Answer {
    object: &'static str,
    data: Vec<Item>,
    model: String,
    usage: Usage,
    flambeau: Flambeau,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

#[derive(Serialize)]
struct Flambeau {
    tier: &'static str,
    cache: &'static str,
    #[serde(flatten)]
    timings: Timings,
}

impl Answer {
    fn written(
        mut self,
        vectors: Vec<Vec<f32>>,
        lengths: &[usize],
        texts: &Texts,
        encoding: Encoding,
    ) -> Vec<u8> {
        let mut pieces = vectors.into_iter().zip(lengths);
        for (index, &num_pieces) in texts.pieces_of.iter().enumerate() {
            let pieces: Vec<(Vec<f32>, &usize)> = pieces.by_ref().take(num_pieces).collect();
            let vector = shortened(mean(pieces), texts.dimensions);
            self.data.push(Item {
                object: "embedding",
                index,
                embedding: match encoding {
                    Encoding::Float => Vector::Float(vector),
                    Encoding::Base64 => {
                        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                        Vector::Base64(BASE64_STANDARD.encode(bytes))
                    }
                },
            });
        }
        serde_json::to_vec(&self).expect("numbers and strings are always JSON: this is a bug")
    }
}

/// The mean of some pieces' vectors, each weighted by its tokens, at length 1.
fn mean(pieces: Vec<(Vec<f32>, &usize)>) -> Vec<f32> {
    let mut pieces = pieces.into_iter();
    let Some((first, &weight)) = pieces.next() else {
        return Vec::new();
    };
    if pieces.len() == 0 {
        return first;
    }
    let mut sum: Vec<f32> = first.iter().map(|x| x * weight as f32).collect();
    for (vector, &weight) in pieces {
        let weighted = vector.iter().map(|x| x * weight as f32);
        sum.iter_mut().zip(weighted).for_each(|(sum, x)| *sum += x);
    }
    normalised(sum)
}

/// The first values of a vector, at length 1.
fn shortened(mut vector: Vec<f32>, dimensions: usize) -> Vec<f32> {
    if dimensions >= vector.len() {
        return vector;
    }
    vector.truncate(dimensions);
    normalised(vector)
}

impl From<EncodeError> for ApiError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Refused(error) => error.into(),
            EncodeError::Failed(_) => Self::internal(error.to_string()),
        }
    }
}
