//! The one error of the actions: what a caller may know, apart from what only the log may know.
use scaicontrol_api::ApiError;
use scaicontrol_types::ErrorDetail;
use std::fmt;

/// What an action fails with. The last step turns it into the envelope of an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or it belongs to somebody else: both look the same.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The request breaks a rule; each detail names a field.
    #[error("{message}")]
    BadRequest {
        /// What is wrong, in a sentence.
        message: String,
        /// The fields that are wrong, and how.
        details: Vec<Field>,
    },
    /// The state of the thing does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The caller may not do it.
    #[error("{message}")]
    Forbidden {
        /// What is not allowed.
        message: String,
        /// The fields that may not be changed.
        details: Vec<Field>,
    },
    /// The caller is not who it says, or no longer active.
    #[error("{0}")]
    Unauthorized(String),
    /// Too often; after so many seconds it may be tried again.
    #[error("too many requests")]
    TooMany {
        /// Seconds until then.
        retry_after_seconds: u32,
    },
    /// Something that is needed does not answer now.
    #[error("{0}")]
    Unavailable(String),
    /// Two transactions collided; [`crate::db::Db::tx`] tries again.
    #[error("transactions collided: {0}")]
    Collision(String),
    /// A fault of ours; the text is for the log only.
    #[error("{0}")]
    Internal(String),
}

/// A field of the request and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its path, e.g. `line_items.3.tax_rate`.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// The result of an action.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A broken rule that is not about one field.
    pub fn bad(message: impl Into<String>) -> Self {
        Error::BadRequest { message: message.into(), details: vec![] }
    }

    /// A field that is not as it must be.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let detail = Field { field: field.into(), message: message.into() };
        Error::BadRequest { message: format!("{}: {}", detail.field, detail.message), details: vec![detail] }
    }

    /// Several fields that are not as they must be.
    pub fn fields(details: Vec<Field>) -> Self {
        let named: Vec<_> = details.iter().map(|d| format!("{}: {}", d.field, d.message)).collect();
        Error::BadRequest { message: named.join("; "), details }
    }

    /// A state that does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Error::Conflict(message.into())
    }

    /// A fault of ours.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Error::Internal(cause.to_string())
    }
}

impl From<diesel::result::Error> for Error {
    fn from(e: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind as Kind, Error as E};
        match &e {
            E::DatabaseError(Kind::SerializationFailure, info) => Error::Collision(info.message().into()),
            // diesel has no kind for deadlocks; Postgres says it in these words.
            E::DatabaseError(_, info) if info.message() == "deadlock detected" => {
                Error::Collision(info.message().into())
            }
            E::DatabaseError(Kind::ClosedConnection, _) => {
                Error::Unavailable("the database went away".into())
            }
            E::DatabaseError(_, info)
                if info.message().contains("terminating connection")
                    || info.message().contains("the database system is") =>
            {
                Error::Unavailable("the database went away".into())
            }
            E::DatabaseError(_, info) if info.message().contains("statement timeout") => {
                Error::Unavailable("the database took too long".into())
            }
            E::DatabaseError(kind, info) => Error::Internal(format!(
                "database: {kind:?}: {} ({})",
                info.message(),
                info.constraint_name().or(info.details()).unwrap_or("no details")
            )),
            _ => Error::Internal(format!("database: {e}")),
        }
    }
}

/// Turns the violation of one unique constraint into what it means to the caller; other errors stay as they are.
pub fn on_conflict<T>(
    result: diesel::QueryResult<T>,
    constraint: &str,
    error: impl FnOnce() -> Error,
) -> Result<T> {
    use diesel::result::{DatabaseErrorKind as Kind, Error as E};
    match result {
        Err(E::DatabaseError(Kind::UniqueViolation, info)) if info.constraint_name() == Some(constraint) => {
            Err(error())
        }
        other => Ok(other?),
    }
}

/// The envelope of an answer, in the one place where an error meets HTTP.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let with = |api: ApiError, details: Vec<Field>| {
            api.with_details(
                details.into_iter().map(|d| ErrorDetail { field: d.field, message: d.message }).collect(),
            )
        };
        match error {
            Error::NotFound(what) => ApiError::not_found(what),
            Error::BadRequest { message, details } => with(ApiError::bad_request(message), details),
            Error::Conflict(message) => ApiError::conflict(message),
            Error::Forbidden { message, details } => with(ApiError::forbidden(message), details),
            Error::Unauthorized(message) => ApiError::unauthorized(message),
            Error::TooMany { retry_after_seconds } => ApiError::rate_limited(retry_after_seconds),
            Error::Unavailable(message) => ApiError::unavailable(message, 1),
            Error::Collision(cause) | Error::Internal(cause) => ApiError::internal(cause),
        }
    }
}
