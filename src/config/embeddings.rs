//! Which model turns texts into vectors.

/// The embedding model when none is named.
pub const DEFAULT_EMBEDDING_MODEL: &str = "all-minilm-l6-v2";

/// What is behind `/v1/embeddings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Embeddings {
    /// Nothing.
    Off,
    /// [`DEFAULT_EMBEDDING_MODEL`], when it is first asked.
    WhenAsked,
    /// This card, path or hub id, from the start.
    Model(String),
}

impl Embeddings {
    /// By what was typed.
    pub(super) fn named(name: Option<String>) -> Self {
        match name {
            None => Self::WhenAsked,
            Some(name) if name == "none" => Self::Off,
            Some(name) => Self::Model(name),
        }
    }
}
