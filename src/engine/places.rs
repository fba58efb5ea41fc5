//! The bounded number of open requests, and how tenants share it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places taken, by tenant; who has none is not listed.
type Taken = Mutex<HashMap<Arc<str>, usize>>;

/// Room for so many open requests.
///
/// Where there are several tenants, one may take a place only while it has fewer than are free. So a flood fills half of
/// the places, two floods two thirds, and there is always room for somebody else. Source: Choudhury and Hahne, "Dynamic queue
/// length thresholds for shared-memory packet switches", 1998.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    num_places: usize,
    has_tenants: bool,
    taken: Arc<Taken>,
}

/// One request's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    tenant: Arc<str>,
    taken: Arc<Taken>,
}

impl Places {
    /// Free places; `has_tenants` says that there are several.
    pub fn new(num_places: usize, has_tenants: bool) -> Self {
        Self {
            free: Arc::new(Semaphore::new(num_places)),
            num_places,
            has_tenants,
            taken: Arc::default(),
        }
    }

    /// Whether `tenant` may take a place.
    pub fn has_room(&self, tenant: &str) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.allows(taken.get(tenant).copied().unwrap_or(0))
    }

    fn allows(&self, num_taken: usize) -> bool {
        let num_free = self.free.available_permits();
        num_free > 0 && (!self.has_tenants || num_taken < num_free)
    }

    /// A place for `tenant`, unless there is none for it.
    pub fn take(&self, tenant: &Arc<str>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let num_taken = taken.get(tenant).copied().unwrap_or(0);
        if !self.allows(num_taken) {
            return None;
        }
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        taken.insert(Arc::clone(tenant), num_taken + 1);
        Some(Place {
            _permit: permit,
            tenant: Arc::clone(tenant),
            taken: Arc::clone(&self.taken),
        })
    }

    /// Places that one tenant could hold if nobody else had any.
    pub fn most_for_one(&self) -> usize {
        match self.has_tenants {
            true => self.num_places.div_ceil(2),
            false => self.num_places,
        }
    }

    /// Places taken.
    pub fn num_taken(&self) -> usize {
        self.num_places - self.free.available_permits()
    }

    /// Resolves once every place is free.
    pub async fn all_free(&self) {
        let all = u32::try_from(self.num_places).unwrap_or(u32::MAX);
        // Never closed, so acquiring cannot fail.
        let _ = self.free.acquire_many(all).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(places: &Places, tenant: &str) -> Vec<Place> {
        let tenant = tenant.into();
        std::iter::from_fn(|| places.take(&tenant)).collect()
    }

    #[test]
    fn floods_leave_room_for_others() {
        let places = Places::new(64, true);
        let held = ["a", "b", "c", "d"].map(|tenant| fill(&places, tenant));
        assert_eq!(held.each_ref().map(Vec::len), [32, 16, 8, 4]);
        assert!(places.has_room("e") && !places.has_room("a"));
        assert_eq!(places.num_taken(), 60);
        drop(held);
        assert_eq!(places.num_taken(), 0);
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn a_tenant_that_is_alone_may_take_all() {
        let places = Places::new(8, false);
        let held = fill(&places, "a");
        assert_eq!((held.len(), places.has_room("a")), (8, false));
        drop(held);
        assert_eq!(fill(&places, "a").len(), 8);
    }

    #[tokio::test]
    async fn all_are_free_once_the_last_is_given_back() {
        let places = Places::new(4, false);
        let held = fill(&places, "a");
        let (drained, ()) = tokio::join!(places.all_free(), async move {
            tokio::task::yield_now().await;
            drop(held);
        });
        assert_eq!(((), places.num_taken()), (drained, 0));
    }
}
