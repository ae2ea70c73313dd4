//! Waiting for something that happens by itself: until it is so, and never for a set time.
use std::time::{Duration, Instant};

/// Longer than anything takes that a test waits for, on a slow machine too.
const AT_MOST: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// Comes back when `condition` holds; fails when it does not within half a minute.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < AT_MOST, "waited {AT_MOST:?} in vain until {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes that long, as a stranger's server may. No test waits for something with it.
pub async fn take(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The outcome of something that must end within half a minute.
pub async fn at_most<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(AT_MOST, work).await.unwrap_or_else(|_| panic!("{what}: not within {AT_MOST:?}"))
}
