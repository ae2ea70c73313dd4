//! What an issued document is handed out as: its electronic invoice and its PDF.
//!
//! [`original`] is made and kept while the document is issued; a PDF ([`pdf`]) is rendered afterwards from what was frozen,
//! by a worker or for whoever asks first. Neither ever changes what was issued.
pub mod facts;
pub mod original;
pub mod pdf;
pub mod preview;
pub mod send;
pub mod store;

use crate::app::Control;
use crate::billing;
use crate::billing::store::{InvoiceRow, LineRow};
use crate::db::Conn;
use crate::db::schema::payment_allocations;
use crate::error::{Error, Result};
use crate::op::OpContext;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::{HeaderValue, header::CACHE_CONTROL};
use original::Circumstances;
use scaicontrol_api::Download;
use scaicontrol_einvoice::{Format, embed};
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Name of the seller's logo among the images of a render job.
pub const LOGO: &str = "logo";

/// A file that is answered.
#[derive(Debug)]
pub struct File {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub media_type: &'static str,
    /// A name to save it under.
    pub name: String,
}

impl From<File> for Download {
    fn from(file: File) -> Download {
        let mut answer = Download::new(file.media_type, file.bytes).named(file.name);
        answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        answer
    }
}

/// What was frozen with a document.
fn frozen<T: DeserializeOwned>(snapshot: Option<&serde_json::Value>) -> Result<T> {
    let snapshot = snapshot.ok_or_else(|| Error::internal("a document without its snapshot"))?;
    serde_json::from_value(snapshot.clone()).map_err(Error::internal)
}

/// A document's PDF with its XML inside.
fn hybrid(issued: &Issued, pdf: &[u8], xml: &[u8]) -> Result<Vec<u8>> {
    let made = issued.row.finalized_at.unwrap_or(issued.row.created_at);
    embed(pdf, xml, made).map_err(Error::internal)
}

/// An issued document with everything that is needed to write it down.
#[derive(Debug)]
pub struct Issued {
    /// Its row.
    pub row: InvoiceRow,
    /// Its lines.
    pub lines: Vec<LineRow>,
    /// What it refers to and was settled with.
    pub about: Circumstances,
}

impl Issued {
    /// Loads an issued document that the caller sees.
    ///
    /// Errors: 404; 409 while it has no number.
    pub async fn load(conn: &mut Conn, invoice_id: Uuid) -> Result<Issued> {
        let row = billing::store::get(conn, invoice_id).await?;
        if row.number.is_none() {
            return Err(Error::conflict("the document has no number yet"));
        }
        let lines = billing::store::lines(conn, &row.tenant_id, invoice_id).await?;
        let about = circumstances(conn, &row, &lines).await?;
        Ok(Issued { row, lines, about })
    }

    fn number(&self) -> &str {
        self.row.number.as_deref().unwrap_or_default()
    }
}

/// What a document refers to and was settled with.
pub async fn circumstances(mut conn: &Conn, row: &InvoiceRow, lines: &[LineRow]) -> Result<Circumstances> {
    use payment_allocations as a;
    let applied: Vec<i64> = a::table
        .filter(a::tenant_id.eq(&row.tenant_id).and(a::invoice_id.eq(row.invoice_id)))
        .filter(a::kind.eq("credit_applied"))
        .select(a::amount_cents)
        .load(&mut conn)
        .await?;
    let mut about = Circumstances { credit_applied_cents: applied.iter().sum(), ..Circumstances::default() };
    if let Some(invoice_id) = row.referenced_invoice_id
        && let Some(preceding) = original::reference(conn, &row.tenant_id, invoice_id).await?
    {
        about.preceding.push((None, preceding));
    }
    for line in lines.iter().filter(|line| line.amount_cents < 0) {
        let credited = line.explanation.as_ref().and_then(|e| e.get("credited_invoice_id")?.as_str());
        if let Some(invoice_id) = credited.and_then(|id| id.parse().ok())
            && let Some(preceding) = original::reference(conn, &row.tenant_id, invoice_id).await?
        {
            about.preceding.push((Some(line.line_item_id), preceding));
        }
    }
    Ok(about)
}

/// A document as an electronic invoice: the original in its own format, a copy in another. Without a format: the original's.
///
/// Errors: 404; 409 while it has no number; 400 with what it lacks for the format; 503 when a hybrid's PDF cannot be
/// rendered now.
pub async fn einvoice(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    format: Option<Format>,
) -> Result<File> {
    let (issued, kept) = app
        .db
        .read(op, async |conn| {
            let issued = Issued::load(conn, invoice_id).await?;
            let kept = original::get(conn, &issued.row).await?;
            Ok((issued, kept))
        })
        .await?;
    let issued_in: Format = kept.format.parse().map_err(Error::internal)?;
    let format = format.unwrap_or(issued_in);
    // Both hybrids hold the same XML.
    let is_original = format == issued_in || (format.is_hybrid() && issued_in.is_hybrid());
    let xml = if is_original {
        kept.content
    } else {
        let document = original::document(&issued.row, &issued.lines, &issued.about)?;
        original::copy(&document, format)?.bytes
    };
    if !format.is_hybrid() {
        return Ok(File {
            bytes: xml,
            media_type: "application/xml",
            name: format!("{}.xml", issued.number()),
        });
    }
    let plain = pdf::download(op, app, invoice_id).await?;
    Ok(File { bytes: hybrid(&issued, &plain.bytes, &xml)?, ..plain })
}
