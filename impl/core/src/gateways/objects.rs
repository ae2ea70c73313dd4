//! The object store: files that are too large for rows, in a folder of this machine or in an S3 bucket.
//!
//! A file is put once and never changed: its key holds the digest of its bytes, so two writers of one key write the same
//! thing, and the second finds it there. Nothing is deleted here. Each call is bounded in time, each read in size; what a
//! store says when it fails goes to the log, and the caller learns that it does not answer.
use crate::config;
use crate::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, RetryConfig,
};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use slog::Logger;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Largest file that is put: a bound for a bug, not for a caller.
const PUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is written into a folder, or looked for in a bucket, to see whether it can be used.
const PROBE: &str = "health/probe";

/// The store, or that there is none. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects(Option<Arc<Used>>);

#[derive(Debug)]
struct Used {
    store: Box<dyn ObjectStore>,
    /// Set when it is a folder.
    folder: Option<PathBuf>,
    timeout: Duration,
    log: Logger,
}

/// Whether files can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They can.
    Ok,
    /// They cannot.
    Failing,
    /// This server has no store.
    NotUsed,
}

impl Objects {
    /// The store of that configuration. A folder is made when it is missing; a bucket is not asked yet.
    ///
    /// Errors: when the folder cannot be made, or the bucket's settings do not fit together.
    pub fn open(config: &config::Objects, log: &Logger) -> Result<Objects> {
        let (store, folder): (Box<dyn ObjectStore>, _) = match (&config.folder, &config.s3.bucket) {
            (_, Some(bucket)) => (Box::new(s3(config, bucket)?), None),
            (Some(folder), None) => {
                let error = |e: &dyn std::fmt::Display| {
                    Error::internal(format!("objects.folder: cannot use {}: {e}", folder.display()))
                };
                std::fs::create_dir_all(folder).map_err(|e| error(&e))?;
                let store = LocalFileSystem::new_with_prefix(folder).map_err(|e| error(&e))?;
                (Box::new(store.with_fsync(true)), Some(folder.clone()))
            }
            (None, None) => return Ok(Objects(None)),
        };
        let (timeout, log) = (config.timeout, log.clone());
        Ok(Objects(Some(Arc::new(Used { store, folder, timeout, log }))))
    }

    /// Puts a file under its digest: `<folder>/<sha-256>.<extension>`. It may be there already.
    ///
    /// Errors: 503 when there is no store or it does not answer.
    pub async fn put(&self, folder: &str, extension: &str, bytes: Bytes) -> Result<Stored> {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let key = format!("{folder}/{sha256}.{extension}");
        self.put_as(&key, bytes).await?;
        Ok(Stored { key, sha256 })
    }

    /// Puts a file under a key that holds its digest. It may be there already.
    ///
    /// Errors: 503 when there is no store or it does not answer.
    pub async fn put_as(&self, key: &str, bytes: Bytes) -> Result<()> {
        if bytes.len() > PUT_BYTES_MAX {
            return Err(Error::internal(format!("{key}: {} bytes are too many to store", bytes.len())));
        }
        let used = self.used()?;
        let path = path(key)?;
        let options = PutOptions::from(PutMode::Create);
        match used.within(key, used.store.put_opts(&path, bytes.into(), options)).await? {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(e) => Err(used.failed(key, &e)),
        }
    }

    /// The bytes of a file, or a part of them; none when there is no such file.
    ///
    /// Errors: 503 when there is no store or it does not answer; internal when it is larger than `max` bytes.
    pub async fn get(&self, key: &str, part: Option<Range<u64>>, max: usize) -> Result<Option<Bytes>> {
        let used = self.used()?;
        let path = path(key)?;
        let options = GetOptions { range: part.map(GetRange::Bounded), ..GetOptions::default() };
        let read = async {
            let found = used.store.get_opts(&path, options).await?;
            let mut chunks = found.into_stream();
            let mut bytes = BytesMut::new();
            while let Some(chunk) = chunks.try_next().await? {
                if bytes.len() + chunk.len() > max {
                    return Ok(None);
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Some(bytes.freeze()))
        };
        match used.within(key, read).await? {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => Err(Error::internal(format!("{key} has more than {max} bytes"))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(used.failed(key, &e)),
        }
    }

    /// How many bytes a file has; none when there is no such file.
    ///
    /// Errors: 503 when there is no store or it does not answer.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        let used = self.used()?;
        let path = path(key)?;
        match used.within(key, used.store.head(&path)).await? {
            Ok(found) => Ok(Some(found.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(used.failed(key, &e)),
        }
    }

    /// Whether files can be reached now: a folder is written to, a bucket is asked.
    pub async fn reach(&self) -> Reach {
        let Some(used) = &self.0 else { return Reach::NotUsed };
        let path = Path::from(PROBE);
        let asked = async {
            let Some(folder) = &used.folder else {
                return match used.store.head(&path).await {
                    Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
                    Err(e) => Err(e),
                };
            };
            // The store would make the folder again, and hide that a disk is not mounted.
            let there = tokio::fs::metadata(folder).await.is_ok_and(|m| m.is_dir());
            if !there {
                let source = format!("{} is not a folder", folder.display()).into();
                return Err(StoreError::Generic { store: "folder", source });
            }
            used.store.put(&path, Bytes::from_static(b"ok").into()).await.map(|_| ())
        };
        match used.within(PROBE, asked).await {
            Ok(Ok(())) => Reach::Ok,
            Ok(Err(e)) => {
                let _ = used.failed(PROBE, &e);
                Reach::Failing
            }
            Err(_) => Reach::Failing,
        }
    }

    fn used(&self) -> Result<&Used> {
        self.0.as_deref().ok_or_else(|| Error::Unavailable("this server has no store for files".into()))
    }
}

/// A file that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is found by.
    pub key: String,
    /// Digest of its bytes, in hex.
    pub sha256: String,
}

impl Used {
    async fn within<T>(&self, key: &str, work: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout(self.timeout, work).await.map_err(|_| {
            slog::warn!(self.log, "the object store does not answer"; "key" => key);
            unavailable()
        })
    }

    fn failed(&self, key: &str, error: &StoreError) -> Error {
        slog::warn!(self.log, "the object store fails"; "key" => key, "error" => %error);
        unavailable()
    }
}

fn unavailable() -> Error {
    Error::Unavailable("the store for files does not answer".into())
}

/// Keys are made by this server, so one that cannot be a key is a fault of ours.
fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(Error::internal)
}

fn s3(config: &config::Objects, bucket: &str) -> Result<impl ObjectStore> {
    let s3 = &config.s3;
    // The whole of a call, with its repeats, stays within the timeout that surrounds it.
    let client = ClientOptions::new().with_timeout(config.timeout).with_connect_timeout(config.timeout);
    let retry = RetryConfig { max_retries: 2, retry_timeout: config.timeout, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client)
        .with_bucket_name(bucket)
        .with_region(&s3.region)
        .with_retry(retry);
    if let Some(endpoint) = &s3.endpoint {
        let endpoint = endpoint.trim_end_matches('/');
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    if let (Some(id), Some(secret)) = (&s3.access_key_id, &s3.secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose_secret());
    }
    builder.build().map_err(|e| Error::internal(format!("objects.s3: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    fn open(settings: &[(&str, &str)]) -> Objects {
        let flags = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let sources = Sources { flags, environment: Some(vec![]), ..Sources::default() };
        let config = Config::load(&sources).expect("a configuration");
        Objects::open(&config.objects, &Logger::root(slog::Discard, slog::o!())).expect("a store")
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("scaicontrol-objects-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    /// What any store must do.
    async fn keeps_files(objects: &Objects) {
        let bytes = Bytes::from_static(b"some bytes");
        let stored = objects.put("documents", "pdf", bytes.clone()).await.expect("put");
        assert_eq!(stored.key, format!("documents/{}.pdf", hex::encode(Sha256::digest(b"some bytes"))));
        let again = objects.put("documents", "pdf", bytes.clone()).await.expect("it is there");
        assert_eq!(again, stored);
        assert_eq!(objects.get(&stored.key, None, 10).await.expect("got"), Some(bytes));
        let part = objects.get(&stored.key, Some(5..7), 10).await.expect("a part");
        assert_eq!(part.as_deref(), Some(&b"by"[..]));
        assert_eq!(objects.size(&stored.key).await.expect("a size"), Some(10));
        assert!(matches!(objects.get(&stored.key, None, 9).await, Err(Error::Internal(_))), "too large");
        assert_eq!(objects.get("documents/none.pdf", None, 9).await.expect("none"), None);
        assert_eq!(objects.size("documents/none.pdf").await.expect("none"), None);
        // What is there is never changed, whoever says so.
        objects.put_as(&stored.key, Bytes::from_static(b"other")).await.expect("kept");
        assert_eq!(objects.size(&stored.key).await.expect("a size"), Some(10));
        assert!(objects.put_as("documents/../../etc/passwd", Bytes::new()).await.is_err());
        assert_eq!(objects.reach().await, Reach::Ok);
    }

    #[tokio::test]
    async fn a_folder_keeps_files() {
        let folder = folder("keeps");
        let objects = open(&[("objects.folder", &folder.to_string_lossy())]);
        keeps_files(&objects).await;
        std::fs::remove_dir_all(&folder).expect("gone");
        assert_eq!(objects.reach().await, Reach::Failing, "a folder that is gone is not made again");
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn writers_at_once_leave_one_whole_file() {
        let folder = folder("race");
        let objects = open(&[("objects.folder", &folder.to_string_lossy())]);
        let bytes = Bytes::from(vec![7_u8; 1 << 20]);
        let puts = (0..16).map(|_| objects.put("a", "bin", bytes.clone()));
        let stored = futures::future::try_join_all(puts).await.expect("all put");
        assert_eq!(objects.get(&stored[0].key, None, 1 << 20).await.expect("got"), Some(bytes));
        let files = std::fs::read_dir(folder.join("a")).expect("a folder").count();
        assert_eq!(files, 1, "nothing half-written stays");
        let _ = std::fs::remove_dir_all(folder);
    }

    #[tokio::test]
    async fn without_a_store_everything_is_unavailable() {
        let objects = open(&[]);
        assert_eq!(objects.reach().await, Reach::NotUsed);
        assert!(matches!(objects.put("a", "b", Bytes::new()).await, Err(Error::Unavailable(_))));
        assert!(matches!(objects.get("a", None, 1).await, Err(Error::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_store_that_hangs_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
        let objects = open(&s3_at(&endpoint, "300ms"));
        let begin = std::time::Instant::now();
        assert_eq!(objects.reach().await, Reach::Failing);
        assert!(matches!(objects.put("a", "b", Bytes::new()).await, Err(Error::Unavailable(_))));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    fn s3_at<'a>(endpoint: &'a str, timeout: &'a str) -> [(&'static str, &'a str); 5] {
        [
            ("objects.s3.bucket", "scaicontrol"),
            ("objects.s3.endpoint", endpoint),
            ("objects.s3.access_key_id", "test"),
            ("objects.s3.secret_access_key", "test"),
            ("objects.timeout", timeout),
        ]
    }

    /// `cargo xtask peers` starts a service and says where; without one there is nothing to ask.
    #[tokio::test]
    async fn a_bucket_keeps_files() {
        let Ok(endpoint) = std::env::var("SCAICONTROL_TEST_S3") else {
            eprintln!("SKIPPED: SCAICONTROL_TEST_S3 is not set; `cargo xtask peers` runs this test");
            return;
        };
        let settings = s3_at(&endpoint, "10s");
        let made = reqwest::Client::new().put(format!("{endpoint}/scaicontrol")).send().await.expect("asked");
        assert!(made.status().is_success(), "{}", made.status());
        let objects = open(&settings);
        keeps_files(&objects).await;
        let bytes = Bytes::from(vec![7_u8; 3 << 20]);
        let puts = (0..8).map(|_| objects.put("a", "bin", bytes.clone()));
        let stored = futures::future::try_join_all(puts).await.expect("all put");
        assert_eq!(objects.get(&stored[0].key, None, 3 << 20).await.expect("got"), Some(bytes));
        let mut wrong = settings;
        wrong[0].1 = "nobodys-bucket";
        assert!(matches!(open(&wrong).put("a", "b", Bytes::new()).await, Err(Error::Unavailable(_))));
    }
}
