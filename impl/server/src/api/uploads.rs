//! `uploads`: pictures in, pictures out.
use super::{Enter, Handlers};
use crate::app::Control;
use crate::uploads::{self, Asked, FILE_BYTES_MAX, Found, Key, Kind, Upload};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use scaicontrol_api::uploads::{UploadGetPath, UploadsApi, perm};
use scaicontrol_api::{ApiError, App, Auth, Cx, Download, Multipart, PathParams, R200};
use scaicontrol_types::{UploadEnvelope, UploadResponse};

/// The one part of the form.
const PART: &str = "file";

impl UploadsApi for Handlers {
    type Context = App;

    async fn admin_upload_icon(
        rqctx: Cx,
        auth: Auth<perm::AdminUploadIcon>,
        body: Multipart,
    ) -> Result<R200<UploadEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let stored = uploads::store(&op, app, Kind::Icon, file(body).await?).await?;
        Ok(R200(UploadEnvelope { data: response(&rqctx, stored)?, meta: op.meta() }))
    }

    async fn admin_upload_template_image(
        rqctx: Cx,
        auth: Auth<perm::AdminUploadTemplateImage>,
        body: Multipart,
    ) -> Result<R200<UploadEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let stored = uploads::store(&op, app, Kind::TemplateImage, file(body).await?).await?;
        Ok(R200(UploadEnvelope { data: response(&rqctx, stored)?, meta: op.meta() }))
    }

    async fn upload_get(rqctx: Cx, path: PathParams<UploadGetPath>) -> Result<Download, ApiError> {
        let key = Key::parse(&path.0.path).ok_or_else(|| ApiError::not_found(uploads::key::NOUN))?;
        let headers = rqctx.request.headers();
        let tags = list(headers, header::IF_NONE_MATCH);
        let one = |name| headers.get(name).and_then(|v| v.to_str().ok());
        let asked = Asked {
            head: *rqctx.request.method() == Method::HEAD,
            none_match: tags.as_deref(),
            range: one(header::RANGE),
            if_range: one(header::IF_RANGE),
        };
        download(&key, uploads::find(rqctx.control(), &key, &asked).await?)
    }
}

/// The file of the form, which is all that the form may hold. A form that is refused is read to its end all the same: a
/// caller who is still sending would otherwise not get to read why.
async fn file(Multipart(mut form): Multipart) -> Result<Bytes, ApiError> {
    let (mut found, mut refused) = (None, None);
    while let Some(mut part) = form.next_field().await.map_err(broken)? {
        let name = part.name().unwrap_or_default().to_owned();
        if name != PART {
            refused.get_or_insert(ApiError::field(name, "is not a part of this form"));
        } else if found.is_some() {
            refused.get_or_insert(ApiError::field(PART, "must be sent once"));
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = part.chunk().await.map_err(broken)? {
            if bytes.len() + chunk.len() > FILE_BYTES_MAX {
                refused.get_or_insert(ApiError::payload_too_large(FILE_BYTES_MAX));
            } else if refused.is_none() {
                bytes.extend_from_slice(&chunk);
            }
        }
        found = Some(bytes.freeze());
    }
    match refused {
        Some(refusal) => Err(refusal),
        None => found.ok_or_else(|| ApiError::field(PART, "is required")),
    }
}

fn broken(error: multer::Error) -> ApiError {
    match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            ApiError::payload_too_large(FILE_BYTES_MAX)
        }
        other => ApiError::bad_request("the form is broken or cut off").with_internal(other),
    }
}

fn response(rqctx: &Cx, stored: Upload) -> Result<UploadResponse, ApiError> {
    let key = stored.key.to_string();
    Ok(UploadResponse {
        url: format!("{}/api/v1/uploads/{key}", base_url(rqctx, rqctx.control())),
        key,
        content_type: stored.content_type.parse().map_err(ApiError::internal)?,
        size: i32::try_from(stored.size).map_err(ApiError::internal)?,
    })
}

/// Where the server is reached: as configured, else as this caller reached it.
fn base_url(rqctx: &Cx, app: &Control) -> String {
    if let Some(url) = &app.config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = rqctx.request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    let host =
        host.and_then(|h| h.parse::<http::uri::Authority>().ok()).filter(|a| !a.as_str().contains('@'));
    host.map_or_else(|| format!("http://{}", app.config.bind), |host| format!("http://{host}"))
}

/// A header that may stand there more than once.
fn list(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let all: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn download(key: &Key, found: Found) -> Result<Download, ApiError> {
    let text = |text: String| HeaderValue::from_str(&text).map_err(ApiError::internal);
    let mut answer = Download::new(key.format.media_type(), Bytes::new());
    answer.headers.insert(header::ETAG, text(key.etag())?);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    answer.headers.insert(header::CACHE_CONTROL, forever);
    answer.headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match found {
        Found::Same => answer.status = StatusCode::NOT_MODIFIED,
        Found::Whole(_, Some(bytes)) => answer.body = bytes.into(),
        Found::Whole(size, None) => {
            answer.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        }
        Found::Part(range, size, bytes) => {
            answer.status = StatusCode::PARTIAL_CONTENT;
            let said = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            answer.headers.insert(header::CONTENT_RANGE, text(said)?);
            answer.body = bytes.into();
        }
        Found::Beyond(size) => return Err(ApiError::range_not_satisfiable(size)),
    }
    Ok(answer)
}
