//! Values encrypted over any store, bound to the record they are the value of.

use ring::aead::{Aad, MAX_TAG_LEN, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Mark, Place, Read, Record, Records, SealingKey, StoreError};

/// The only form of a sealed value so far.
const VERSION: u8 = 1;

const HEADER_LEN: usize = 1 + NONCE_LEN;

const ID_LEN: usize = 16;
const NAMES_LEN: usize = ID_LEN + 32;

/// Records whose values are sealed with AES-256-GCM before `R` sees them.
///
/// A value is a version byte, a random nonce of 96 bits, the ciphertext (of id, scope and plain value) and a tag of 128 bits. What `R` sees as
/// id and scope are keyed digests of them, for they may be digests of what can be guessed. The version, that
/// id, the tenant, that scope and the expiry are authenticated with it, so a value that was put elsewhere, or given a longer life,
/// does not open. What cannot be told is that a record was removed, or an older one with the same id and expiry put in its place.
///
/// Random nonces allow 2^32 messages a key (NIST SP 800-38D, 8.3). Each id has a key of its own, so that this bounds how
/// often one record may be replaced, and not how many there are.
#[derive(Debug)]
pub struct Sealed<R> {
    records: R,
    key: SealingKey,
    random: SystemRandom,
}

impl<R: Records> Sealed<R> {
    /// Seals what `open` gives, which is asked for a store with the key's mark.
    pub fn open(
        key: &SealingKey,
        open: impl FnOnce(Mark) -> Result<R, StoreError>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            records: open(key.mark())?,
            key: key.clone(),
            random: SystemRandom::new(),
        })
    }

    fn seal(&self, record: &Record) -> Result<Record, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        let filled = self.random.fill(&mut nonce);
        filled.map_err(|_| StoreError::Seal)?;
        let len = HEADER_LEN + NAMES_LEN + record.value.len() + MAX_TAG_LEN;
        let mut value = Vec::with_capacity(len);
        value.push(VERSION);
        value.extend(nonce);
        value.extend(record.id);
        value.extend(record.scope);
        value.extend(&record.value);
        let mut sealed = Record {
            id: self.key.blind(&record.id),
            tenant: record.tenant.clone(),
            scope: self.key.blind(&record.scope),
            expires: record.expires,
            value: Vec::new(),
        };
        let tag = self.key.of_id(&sealed.id).seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(authenticated(&sealed)),
            &mut value[HEADER_LEN..],
        );
        value.extend(tag.map_err(|_| StoreError::Seal)?.as_ref());
        sealed.value = value;
        Ok(sealed)
    }
}

/// Opens what [`Sealed::seal`] made of exactly this record.
fn unseal(key: &SealingKey, mut record: Record) -> Option<Record> {
    let (&version, sealed) = record.value.split_first()?;
    let (&nonce, _) = sealed.split_first_chunk()?;
    if version != VERSION {
        return None;
    }
    let authenticated = Aad::from(authenticated(&record));
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened =
        key.of_id(&record.id)
            .open_within(nonce, authenticated, &mut record.value, HEADER_LEN..);
    let (names, value) = opened.ok()?.split_at_checked(NAMES_LEN)?;
    let (id, scope) = names.split_at(ID_LEN);
    let (id, scope, value) = (id.try_into().ok()?, scope.try_into().ok()?, value.to_vec());
    Some(Record {
        id,
        scope,
        value,
        ..record
    })
}

fn authenticated(record: &Record) -> Vec<u8> {
    let mut bytes = record.head();
    bytes.insert(0, VERSION);
    bytes
}

impl<R: Records> Records for Sealed<R> {
    fn put(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let sealed: Result<Vec<Record>, _> = records.iter().map(|one| self.seal(one)).collect();
        self.records.put(&sealed?)
    }

    fn remove(&mut self, ids: &[[u8; 16]]) -> Result<(), StoreError> {
        let ids: Vec<[u8; ID_LEN]> = ids.iter().map(|id| self.key.blind(id)).collect();
        self.records.remove(&ids)
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.records.clear()
    }

    fn remove_expired(&mut self, now: u64) -> Result<usize, StoreError> {
        self.records.remove_expired(now)
    }

    fn each(
        &mut self,
        since: Place,
        now: u64,
        take: &mut dyn FnMut(Record),
    ) -> Result<Read, StoreError> {
        let mut num_skipped = 0;
        let mut read =
            self.records
                .each(since, now, &mut |record| match unseal(&self.key, record) {
                    Some(record) => take(record),
                    None => num_skipped += 1,
                })?;
        read.num_skipped += num_skipped;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
