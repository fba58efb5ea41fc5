//! How a store says what it was made with.

use super::StoreError;

/// How the values of a store are kept, which it says itself from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As they are.
    Plain,
    /// Sealed, with the key that gives this check value.
    Sealed([u8; 32]),
}

impl Mark {
    /// What a store keeps of it: nothing, or the check value.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Plain => &[],
            Self::Sealed(check) => check,
        }
    }

    /// What [`Mark::as_bytes`] gave, and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::Plain),
            _ => Some(Self::Sealed(bytes.try_into().ok()?)),
        }
    }

    /// An error that says the way out unless `store`, which was to be opened as `self`, was made as that.
    pub fn compare(self, found: Mark, store: &str) -> Result<(), StoreError> {
        let store = store.to_owned();
        match (self, found) {
            _ if self == found => Ok(()),
            (Self::Plain, _) => Err(StoreError::NeedsKey { store }),
            (_, Self::Plain) => Err(StoreError::NotSealed { store }),
            _ => Err(StoreError::WrongKey { store }),
        }
    }
}
