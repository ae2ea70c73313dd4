//! A cache whose entries are never older than a set age, and which loads one key once however many ask.
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Slot<V> = Arc<tokio::sync::Mutex<Option<(Instant, V)>>>;

/// Above this many entries, those that are too old are swept out.
const SWEEP_ABOVE: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Fresh<K, V> {
    max_age: Duration,
    slots: Mutex<HashMap<K, Slot<V>>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Fresh<K, V> {
    /// A cache with entries of at most that age.
    pub fn new(max_age: Duration) -> Self {
        Fresh { max_age, slots: Mutex::new(HashMap::new()) }
    }

    /// The value of `key`, loaded when there is none that is young enough. The age counts from before the load. A failed
    /// load is not kept.
    pub async fn get<E>(&self, key: K, load: impl AsyncFnOnce() -> Result<V, E>) -> Result<V, E> {
        let slot = self.slot(key);
        let mut entry = slot.lock().await;
        if let Some((at, value)) = &*entry
            && at.elapsed() < self.max_age
        {
            return Ok(value.clone());
        }
        let at = Instant::now();
        let value = load().await?;
        *entry = Some((at, value.clone()));
        Ok(value)
    }

    /// Forgets one entry.
    pub fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn slot(&self, key: K) -> Slot<V> {
        let mut slots = self.lock();
        if slots.len() >= SWEEP_ABOVE && !slots.contains_key(&key) {
            let max_age = self.max_age;
            slots.retain(|_, slot| match slot.try_lock() {
                Ok(entry) => entry.as_ref().is_some_and(|(at, _)| at.elapsed() < max_age),
                Err(_) => true, // being loaded
            });
        }
        slots.entry(key).or_default().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Slot<V>>> {
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn count(cache: &Fresh<&'static str, u32>, loads: &AtomicU32) -> u32 {
        let loaded: Result<u32, ()> =
            cache.get("key", async || Ok(loads.fetch_add(1, Ordering::SeqCst) + 1)).await;
        loaded.expect("loads")
    }

    #[tokio::test]
    async fn many_askers_cause_one_load() {
        let (cache, loads) = (Fresh::new(Duration::from_secs(60)), AtomicU32::new(0));
        let got = futures::future::join_all((0..50).map(|_| count(&cache, &loads))).await;
        assert!(got.iter().all(|v| *v == 1));
        cache.forget(&"key");
        assert_eq!(count(&cache, &loads).await, 2);
        cache.clear();
        assert_eq!(count(&cache, &loads).await, 3);
    }

    #[tokio::test]
    async fn nothing_is_kept_when_the_load_fails_or_the_age_is_over() {
        let cache = Fresh::new(Duration::ZERO);
        let loads = AtomicU32::new(0);
        assert!(cache.get("key", async || Err::<u32, ()>(())).await.is_err());
        assert_eq!(count(&cache, &loads).await, 1);
        assert_eq!(count(&cache, &loads).await, 2);
    }

    #[tokio::test]
    async fn it_does_not_grow_without_bound() {
        let cache = Fresh::new(Duration::ZERO);
        for i in 0..SWEEP_ABOVE * 3 {
            let loaded: Result<usize, ()> = cache.get(i, async || Ok(i)).await;
            assert_eq!(loaded, Ok(i));
        }
        assert!(cache.lock().len() <= SWEEP_ABOVE + 1);
    }
}
