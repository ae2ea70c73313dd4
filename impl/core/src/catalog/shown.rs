//! What the catalogue shows, kept for a second: everybody reads it, hardly anybody changes it, and all see the same.
//!
//! An entry is never older than a second, as with callers and quotas; the server that changes a service forgets at once,
//! after its commit. Searches are not kept, since there is no end of different ones.
use crate::db::page::PageRequest;
use crate::error::Error;
use crate::identity::fresh::Fresh;
use scaicontrol_types::{CatalogServiceResponse, Pagination};
use std::sync::Arc;
use std::time::Duration;

const MAX_AGE: Duration = Duration::from_secs(1);

/// A page of services and where it stands.
type Page = (Vec<CatalogServiceResponse>, Pagination);

/// See the module.
#[derive(Debug)]
pub struct Shown(Fresh<(PageRequest, Option<String>), Arc<Page>>);

impl Default for Shown {
    fn default() -> Self {
        Shown(Fresh::new(MAX_AGE))
    }
}

impl Shown {
    /// The page of a category, or of all.
    pub async fn page(
        &self,
        page: &PageRequest,
        category: Option<&str>,
        load: impl AsyncFnOnce() -> Result<Page, Error>,
    ) -> Result<Page, Error> {
        let key = (page.clone(), category.map(str::to_owned));
        let page = self.0.get(key, async || load().await.map(Arc::new)).await?;
        Ok((*page).clone())
    }

    /// Forgets everything: a service was changed, and that is committed.
    pub fn forget(&self) {
        self.0.clear();
    }
}
