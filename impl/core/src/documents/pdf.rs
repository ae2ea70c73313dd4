//! Rendering PDFs, and handing them out.
//!
//! What a PDF was rendered with (language, template and its version) is stored with it, and every version of a template is
//! kept: the same bytes can be made again. They are kept in the object store under their digest. Rendering and storing
//! happen outside of every transaction.
use super::store::{self, PdfRow};
use super::{File, Issued, LOGO, facts, frozen, send};
use crate::app::Control;
use crate::audit;
use crate::billing::store::InvoiceRow;
use crate::db::Conn;
use crate::error::{Error, Result};
use crate::gateways::renderer::RenderFailure;
use crate::op::{OpContext, Scope};
use crate::templates::{self, Source};
use crate::workers::Done;
use chrono::{DateTime, Utc};
use scaicontrol_templates::context::InvoiceContext;
use scaicontrol_templates::document::Document;
use scaicontrol_templates::job::{Base64, Job, Limits, MAX_PDF_BYTES};
use scaicontrol_templates::{Context, Kind, Language, Rendered, Template};
use scaicontrol_types::{InvoiceResponse, PartySnapshot};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};
use uuid::Uuid;

/// Name of the worker.
pub const RENDERER: &str = "pdf_renderer";
/// PDFs that a worker claims at once.
const CLAIMED: i64 = 8;
const MEDIA_TYPE: &str = "application/pdf";

/// The time of the machines, for leases and retries, whatever a simulated clock says.
#[expect(clippy::disallowed_methods, reason = "leases and retries are about machines, not about business")]
fn machine_now() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// Queues the first PDF of a document that is being issued.
pub async fn queue(conn: &Conn, op: &OpContext, row: &InvoiceRow) -> Result<()> {
    store::queue(conn, op, row, machine_now()).await
}

/// The newest PDF of an issued document; rendered now when there is none yet.
///
/// Errors: 404; 409 while it has no number; 503 when it cannot be rendered now.
pub async fn download(op: &OpContext, app: &Control, invoice_id: Uuid) -> Result<File> {
    let (issued, rendered, newest) = app
        .db
        .read(op, async |conn| {
            let issued = Issued::load(conn, invoice_id).await?;
            let rendered = store::newest_rendered(conn, &issued.row.tenant_id, invoice_id).await?;
            let newest = store::newest(conn, &issued.row.tenant_id, invoice_id).await?;
            Ok((issued, rendered, newest))
        })
        .await?;
    let name = format!("{}.pdf", issued.number());
    if let Some(key) = rendered.and_then(|row| row.object_key) {
        let bytes = app.objects.get(&key, None, MAX_PDF_BYTES).await?;
        let bytes = bytes.ok_or_else(|| Error::internal(format!("{key} is gone from the object store")))?;
        return Ok(File { bytes: bytes.to_vec(), media_type: MEDIA_TYPE, name });
    }
    let waiting = newest.ok_or_else(|| Error::internal("an issued document without a PDF to render"))?;
    // Whoever may read the document may have it rendered; the rows belong to the system.
    let system = op.with_scope(Scope::Platform);
    let bytes = render(&system, app, &issued, waiting).await?;
    Ok(File { bytes, media_type: MEDIA_TYPE, name })
}

/// Renders a document anew with its template as it is now; earlier PDFs are kept.
///
/// Errors: 404; 409 while it has no number; 503 when it cannot be rendered now, and then nothing is stored.
pub async fn regenerate(op: &OpContext, app: &Control, invoice_id: Uuid) -> Result<InvoiceResponse> {
    let issued = app.db.read(op, async |conn| Issued::load(conn, invoice_id).await).await?;
    let chosen = app.db.read(op, async |conn| choose(conn, &issued).await).await?;
    let bytes = chosen.render(app, &issued).await.map_err(|error| {
        slog::warn!(app.log, "rendering failed"; "invoice" => %invoice_id, "error" => %error);
        unavailable()
    })?;
    let made = keep(app, &bytes).await?;
    app.db
        .once(op, "admin_invoice_regenerate_pdf", async |conn| {
            let row = crate::billing::store::lock(conn, invoice_id).await?;
            let newest = store::newest(conn, &row.tenant_id, invoice_id).await?;
            let queued = PdfRow {
                tenant_id: row.tenant_id.clone(),
                invoice_id,
                version: newest.map_or(1, |n| n.version + 1),
                partner_id: row.partner_id.clone(),
                status: "queued".into(),
                attempts: 1,
                next_attempt_at: None,
                failure: None,
                created_at: op.now,
                ..PdfRow::default()
            };
            let pdf = made.rendered(op, chosen.noted(queued));
            store::insert(conn, &pdf).await?;
            let entry = crate::billing::drafts::audited(&row);
            let after = serde_json::json!({"pdf_version": pdf.version, "sha256": pdf.sha256.as_deref().map(hex::encode)});
            audit::record(conn, op, entry, None::<&()>, Some(&after)).await?;
            crate::billing::view::invoice(&row)
        })
        .await
}

/// Renders what waits; answers how many it took up.
pub async fn tick(op: &OpContext, app: &Control) -> Result<Done> {
    let (began, mut rendered, mut failed) = (Instant::now(), 0_usize, 0_usize);
    loop {
        let claimed =
            app.db.tx(op, "pdf_claim", async |conn| store::claim(conn, machine_now(), CLAIMED).await).await?;
        if claimed.is_empty() {
            break;
        }
        let work = claimed.into_iter().map(|row| async {
            let invoice_id = row.invoice_id;
            // A document that cannot be rendered is noted on its row; the others go on.
            render_queued(op, app, row).await.unwrap_or_else(|e| {
                slog::warn!(app.log, "a PDF cannot be rendered"; "invoice" => %invoice_id, "error" => %e);
                false
            })
        });
        let done = futures::future::join_all(work).await;
        rendered += done.iter().filter(|is_rendered| **is_rendered).count();
        failed += done.iter().filter(|is_rendered| !**is_rendered).count();
        if app.rounds.is_over(began) {
            break;
        }
    }
    let waiting = app.db.read(op, async |conn| store::waiting(conn).await).await?;
    app.metrics.queue("unrendered_documents", waiting);
    let done = Done::of([("documents", rendered), ("failed", failed)]);
    Ok(if app.rounds.is_over(began) { done.and_more() } else { done })
}

/// Renders a version that waits, and answers whether that went well; one whose document cannot even be read is put off like
/// one that cannot be rendered.
async fn render_queued(op: &OpContext, app: &Control, row: PdfRow) -> Result<bool> {
    match app.db.read(op, async |conn| Issued::load(conn, row.invoice_id).await).await {
        Ok(issued) => render(op, app, &issued, row).await.map(|_| true),
        Err(error) => note_failure(op, app, &row, &error).await.map(|()| false),
    }
}

/// Renders a queued version, keeps it, and notes how it went.
async fn render(op: &OpContext, app: &Control, issued: &Issued, row: PdfRow) -> Result<Vec<u8>> {
    let done = async {
        let chosen = app.db.read(op, async |conn| choose(conn, issued).await).await?;
        let bytes = chosen.render(app, issued).await?;
        let made = keep(app, &bytes).await?;
        let finished = made.rendered(op, chosen.noted(row.clone()));
        app.db.tx(op, "pdf_finish", async |conn| store::finish(conn, &finished).await).await?;
        send::release(op, app, issued, &bytes).await?;
        Ok::<_, Error>(bytes)
    };
    match done.await {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            note_failure(op, app, &row, &error).await?;
            Err(unavailable())
        }
    }
}

/// Notes on a row that a try failed, and puts it off.
async fn note_failure(op: &OpContext, app: &Control, row: &PdfRow, error: &Error) -> Result<()> {
    let text = error.to_string();
    app.db.tx(op, "pdf_failed", async |conn| store::failed(conn, row, machine_now(), &text).await).await?;
    slog::warn!(app.log, "rendering failed"; "invoice" => %row.invoice_id, "error" => text);
    Ok(())
}

/// Why exactly is in the log and on the row; the caller can only come back.
fn unavailable() -> Error {
    Error::Unavailable("the PDF cannot be rendered at the moment".into())
}

/// What a PDF is rendered with.
#[derive(Clone, Debug)]
struct Chosen {
    language: Language,
    source: Source,
}

/// The language of the buyer, and the template that its profile or its seller names.
async fn choose(conn: &mut Conn, issued: &Issued) -> Result<Chosen> {
    let row = &issued.row;
    let language = language(issued)?;
    let owner = (row.tenant_id.as_str(), row.partner_id.as_str());
    Ok(Chosen { language, source: templates::chosen(conn, owner, kind(row)?, language).await? })
}

/// The language that a document is written in.
pub fn language(issued: &Issued) -> Result<Language> {
    let buyer: PartySnapshot = frozen(issued.row.buyer_snapshot.as_ref())?;
    Ok(buyer.language.and_then(|l| l.as_str().parse().ok()).unwrap_or(Language::En))
}

fn kind(row: &InvoiceRow) -> Result<Kind> {
    row.document_type.parse().map_err(Error::internal)
}

impl Chosen {
    /// The row with what was chosen.
    fn noted(&self, row: PdfRow) -> PdfRow {
        PdfRow {
            language: Some(self.language.as_str().into()),
            template_id: self.source.stored.map(|(id, _)| id),
            template_version: self.source.stored.map(|(_, version)| version),
            builtin_sha256: self.source.stored.is_none().then(|| self.digest()),
            ..row
        }
    }

    fn digest(&self) -> Vec<u8> {
        let css = self.source.css.as_deref().unwrap_or_default();
        Sha256::new().chain_update(&self.source.html).chain_update([0]).chain_update(css).finalize().to_vec()
    }

    /// The PDF of an issued document.
    async fn render(&self, app: &Control, issued: &Issued) -> Result<Vec<u8>> {
        let facts = facts::document(&issued.row, &issued.lines, &issued.about)?;
        let template = self.source.as_template(kind(&issued.row)?);
        let made = issued.row.finalized_at.unwrap_or(issued.row.created_at);
        let seller: PartySnapshot = frozen(issued.row.seller_snapshot.as_ref())?;
        let logo = seller.logo_url;
        page(app, &template, &facts, self.language, made, logo.as_deref()).await
    }
}

/// Renders a document's template to a PDF. `made` is what the PDF says of its making.
///
/// Errors: 400 naming the place of the template that fails; 503 when there is no renderer.
pub async fn page(
    app: &Control,
    template: &Template<'_>,
    facts: &Document,
    language: Language,
    made: DateTime<Utc>,
    logo: Option<&str>,
) -> Result<Vec<u8>> {
    let context = InvoiceContext::new(facts, language).map_err(Error::internal)?;
    let rendered = scaicontrol_templates::render(template, &Context::Document(Box::new(context)));
    let Rendered::Document { html, css } =
        rendered.map_err(|e| Error::field("html_content", e.to_string()))?
    else {
        return Err(Error::internal("a document's template made a mail"));
    };
    let job = Job {
        images: images(app, &html, logo).await?,
        html,
        css,
        title: facts.number.clone().unwrap_or_default(),
        author: facts.seller.name.clone(),
        language: language.as_str().into(),
        created: made.format("%Y-%m-%dT%H:%M:%S").to_string(),
        limits: Limits::default(),
    };
    app.renderer.render(&job).await.map_err(|failure| match failure {
        RenderFailure::Refused(why) => Error::field("html_content", why),
        other => Error::Unavailable(other.to_string()),
    })
}

/// The images that a page names, as far as they are here: the logo, and what was uploaded for templates.
async fn images(app: &Control, html: &str, logo: Option<&str>) -> Result<BTreeMap<String, Base64>> {
    let mut images = BTreeMap::new();
    for name in scaicontrol_templates::images::names(html) {
        let address = if name == LOGO { logo.unwrap_or_default() } else { name.as_str() };
        if let Some(image) = crate::uploads::read(app, address).await? {
            images.insert(name, Base64(image.to_vec()));
        }
    }
    Ok(images)
}

/// A PDF that is in the object store.
#[derive(Clone, Debug)]
struct Made {
    key: String,
    sha256: Vec<u8>,
    size: i64,
}

async fn keep(app: &Control, bytes: &[u8]) -> Result<Made> {
    let sha256 = Sha256::digest(bytes).to_vec();
    let stored = app.objects.put("pdf", "pdf", bytes.to_vec().into()).await?;
    Ok(Made { key: stored.key, sha256, size: i64::try_from(bytes.len()).map_err(Error::internal)? })
}

impl Made {
    fn rendered(self, op: &OpContext, row: PdfRow) -> PdfRow {
        PdfRow {
            status: "rendered".into(),
            object_key: Some(self.key),
            sha256: Some(self.sha256),
            size: Some(self.size),
            next_attempt_at: None,
            failure: None,
            rendered_at: Some(op.now),
            ..row
        }
    }
}
