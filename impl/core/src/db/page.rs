//! Pages of lists: a keyset cursor, so that the ten-thousandth page costs what the first does.
//!
//! Every list has one sort, and the sort ends in the row's id. A cursor holds the last key of the page before and a
//! digest of the filter it belongs to; with another filter it is refused.
use crate::error::{Error, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use scaicontrol_types::Pagination;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Items that are counted exactly; a list with more says so.
pub const COUNTED_MAX: i64 = 10_000;

/// Which page of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    page: i32,
    page_size: i32,
    /// Key of the last row of the page before, as text.
    after: Option<String>,
    filter: String,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    /// Digest of operation and filter.
    f: String,
    /// Key after which the page begins.
    k: String,
}

impl PageRequest {
    /// Reads the three parameters. `filter` is everything else that the list depends on, the operation's name included.
    ///
    /// Errors: 400 for a cursor that is not ours or belongs to another filter, and for a page too far to count to.
    pub fn new(page: i32, page_size: i32, cursor: Option<&str>, filter: &impl Serialize) -> Result<Self> {
        let filter = serde_json::to_vec(filter).map_err(Error::internal)?;
        let filter = hex::encode(&Sha256::digest(filter)[..8]);
        let after = match cursor {
            None => None,
            Some(text) => {
                let cursor: Cursor = URL_SAFE_NO_PAD
                    .decode(text)
                    .ok()
                    .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                    .ok_or_else(|| Error::field("cursor", "is not a cursor of this API"))?;
                if cursor.f != filter {
                    return Err(Error::field("cursor", "belongs to another list or filter"));
                }
                Some(cursor.k)
            }
        };
        if after.is_none() && i64::from(page) * i64::from(page_size) > COUNTED_MAX {
            return Err(Error::field("cursor", "is needed beyond the 10,000th item (page × page_size)"));
        }
        Ok(PageRequest { page, page_size, after, filter })
    }

    /// The key after which the page begins, when a cursor was given.
    pub fn after<K: std::str::FromStr>(&self) -> Result<Option<K>> {
        self.after
            .as_deref()
            .map(|k| k.parse().map_err(|_| Error::field("cursor", "is not a cursor of this API")))
            .transpose()
    }

    /// Rows to fetch: one more than shown, which tells whether there is a next page.
    pub fn limit(&self) -> i64 {
        i64::from(self.page_size) + 1
    }

    /// Rows to skip; none with a cursor.
    pub fn offset(&self) -> i64 {
        if self.after.is_some() { 0 } else { i64::from(self.page - 1) * i64::from(self.page_size) }
    }

    /// The page of `rows` (at most [`PageRequest::limit`]) and where it stands. `counted` is the number of rows of the
    /// whole list, counted up to one more than [`COUNTED_MAX`].
    pub fn finish<R>(
        &self,
        mut rows: Vec<R>,
        counted: i64,
        key: impl Fn(&R) -> String,
    ) -> (Vec<R>, Pagination) {
        let size = usize::try_from(self.page_size).unwrap_or_default();
        let more = rows.len() > size;
        rows.truncate(size);
        let next_cursor = rows.last().filter(|_| more).map(|row| {
            let cursor = Cursor { f: self.filter.clone(), k: key(row) };
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
        });
        let exact = counted <= COUNTED_MAX;
        let page_size = i64::from(self.page_size);
        let pages = (counted + page_size - 1) / page_size;
        let pagination = Pagination {
            page: self.after.is_none().then_some(self.page),
            page_size: self.page_size,
            total_items: counted.min(COUNTED_MAX),
            total_pages: exact.then(|| i32::try_from(pages).unwrap_or(i32::MAX)),
            total_is_exact: exact,
            next_cursor,
        };
        (rows, pagination)
    }
}
