//! Uploads: icons, and images for templates. The server keeps pictures that it has written itself, and hands out nothing
//! else.
//!
//! What comes in is decoded and written anew ([`picture`]), so no byte of a stranger's file is ever served. A picture is
//! found by its kind and the digest of its bytes: its address never shows another one, may be cached for good, and the
//! same picture again is the same address.
mod end;
pub mod key;
mod part;
pub mod picture;

pub use key::{Key, Kind};
pub use part::{Asked, Wanted};

use crate::app::Control;
use crate::audit;
use crate::error::{Error, Result};
use crate::op::OpContext;
use bytes::Bytes;
use picture::Picture;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Largest file that is taken.
pub const FILE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Where pictures are handed out.
const PATH: &str = "/api/v1/uploads/";
/// Pictures that are decoded at a time: each may take some 150 MB for a moment.
static DECODING: Semaphore = Semaphore::const_new(2);

/// A stored picture.
#[derive(Clone, Debug, Serialize)]
pub struct Upload {
    /// What it is found by.
    pub key: Key,
    /// Its media type.
    pub content_type: &'static str,
    /// Its size in bytes.
    pub size: usize,
}

/// Takes a file, and stores the picture that it is.
///
/// Errors: 400 naming `file` when it is no picture that is taken; 503 when there is no store, or it does not answer.
pub async fn store(op: &OpContext, app: &Control, kind: Kind, file: Bytes) -> Result<Upload> {
    let Picture { format, bytes } = normalised(file).await?;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let upload =
        Upload { key: Key { kind, sha256, format }, content_type: format.media_type(), size: bytes.len() };
    // Before the row that tells of it: a picture that nobody knows of harms nobody.
    app.objects.put_as(&upload.key.place(), bytes.into()).await?;
    app.db
        .tx(op, "upload", async |conn| {
            let entry = audit::Entry {
                object_type: "upload",
                object_id: upload.key.to_string(),
                tenant_id: None,
                partner_id: op.actor.partner_id.as_deref(),
                reason: None,
            };
            audit::record(conn, op, entry, None::<&()>, Some(&upload)).await
        })
        .await?;
    Ok(upload)
}

/// Decodes and encodes on a thread of its own; a decoder that panics has met a file that is no picture.
async fn normalised(file: Bytes) -> Result<Picture> {
    let turn = DECODING.acquire().await.map_err(Error::internal)?;
    let work = tokio::task::spawn_blocking(move || {
        // Kept by the work, which goes on when its request is given up.
        let _turn = turn;
        picture::normalise(&file)
    });
    let work = work.await;
    work.unwrap_or(Err("cannot be read as a picture")).map_err(|why| Error::field("file", why))
}

/// What is answered to a request for a picture.
#[derive(Debug)]
pub enum Found {
    /// The caller has it already.
    Same,
    /// All of it, of so many bytes; the bytes are missing when only the head was asked for.
    Whole(u64, Option<Bytes>),
    /// The bytes from the first to before the last, of so many.
    Part(std::ops::Range<u64>, u64, Bytes),
    /// There is no such part of so many bytes.
    Beyond(u64),
}

/// The bytes of a stored picture by its address, absolute or not; none when it is not one of ours or is gone.
///
/// Errors: 503 when there is no store, or it does not answer.
pub async fn read(app: &Control, address: &str) -> Result<Option<Bytes>> {
    let Some((_, key)) = address.split_once(PATH) else { return Ok(None) };
    let Some(key) = Key::parse(key) else { return Ok(None) };
    app.objects.get(&key.place(), None, picture::STORED_BYTES_MAX).await
}

/// Finds a picture, or the part of it that was asked for.
///
/// Errors: 404 when it is not there; 503 when there is no store, or it does not answer.
pub async fn find(app: &Control, key: &Key, asked: &Asked<'_>) -> Result<Found> {
    let place = key.place();
    let missing = || Error::NotFound(key::NOUN);
    let get =
        async |part| app.objects.get(&place, part, picture::STORED_BYTES_MAX).await?.ok_or_else(missing);
    let wanted = asked.wanted(&key.etag());
    if wanted == Wanted::Whole {
        let bytes = get(None).await?;
        return Ok(Found::Whole(bytes.len() as u64, Some(bytes)));
    }
    let size = app.objects.size(&place).await?.ok_or_else(missing)?;
    Ok(match wanted {
        Wanted::Nothing => Found::Same,
        Wanted::Whole | Wanted::Head => Found::Whole(size, None),
        Wanted::Part(part) => match part.of(size) {
            Some(range) => Found::Part(range.clone(), size, get(Some(range)).await?),
            None => Found::Beyond(size),
        },
    })
}
