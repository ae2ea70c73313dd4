//! What a run does with its drafts: issues each in a transaction of its own, and mails it to the tenant's billing contact.
//!
//! A row of `run_drafts` stands for what is left to do of a document: it is written with the draft, and goes with the mail.
//! Wherever a run is cut off, a later one finds the row and does the rest. A draft that is refused stays one; whoever can
//! help is told, once, and it is tried again: after an hour, after six, then each day, and whenever a run is asked for.
use super::drafted::{Draft, clipped};
use super::tenant::to_be_issued;
use crate::app::Control;
use crate::audit;
use crate::billing::{drafts, finalize, store, view};
use crate::db::Conn;
use crate::db::schema::{partners, run_drafts};
use crate::documents::send;
use crate::error::{Error, Field, Result};
use crate::notifications::{self, Notice, Severity};
use crate::op::{OpContext, Scope};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_types::InvoiceDetailResponse;
use serde_json::json;
use uuid::Uuid;

/// Pauses after the first, the second … refusal; the last one stays.
const PAUSES: [TimeDelta; 3] = [TimeDelta::hours(1), TimeDelta::hours(6), PAUSE_MAX];
/// The longest of them.
pub(super) const PAUSE_MAX: TimeDelta = TimeDelta::days(1);

/// What became of a draft.
#[derive(Debug)]
pub(super) enum Became {
    /// It is documents.
    Issued {
        documents: Vec<Issued>,
        /// Whether it became that just now, rather than by a run that was cut off or works at the same time.
        is_new: bool,
    },
    /// It stays a draft, and why.
    Refused(String),
    /// Somebody has deleted or discarded it.
    Gone,
}

/// A document that was issued.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) document: InvoiceDetailResponse,
    /// Whether it was mailed.
    pub(super) is_sent: bool,
}

/// What is left to do of a document that a run made.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = run_drafts)]
pub(super) struct Waiting {
    pub(super) tenant_id: String,
    pub(super) invoice_id: Uuid,
    pub(super) partner_id: String,
    attempts: i32,
    problem: Option<String>,
}

impl Waiting {
    /// What is left to do of a draft that was made just now.
    pub(super) fn of(draft: &Draft) -> Self {
        let row = &draft.row;
        let (tenant_id, partner_id) = (row.tenant_id.clone(), row.partner_id.clone());
        Waiting { tenant_id, invoice_id: row.invoice_id, partner_id, attempts: 0, problem: None }
    }
}

/// What waits for one tenant, the oldest first: all of it, or what is due for another try.
pub(super) async fn waiting(
    conn: &mut Conn,
    tenant_id: &str,
    due_by: Option<DateTime<Utc>>,
) -> Result<Vec<Waiting>> {
    use run_drafts as t;
    let mut all = t::table.filter(t::tenant_id.eq(tenant_id)).select(Waiting::as_select()).into_boxed();
    if let Some(due_by) = due_by {
        all = all.filter(t::try_at.le(due_by));
    }
    Ok(all.order((t::created_at, t::invoice_id)).limit(super::INVOICES_MAX_I64).load(conn).await?)
}

/// Issues a draft and sends it.
///
/// Errors: when something that is needed does not answer now; what was done until then stays, and a later run goes on.
pub(super) async fn issue(op: &OpContext, app: &Control, draft: &Waiting) -> Result<Became> {
    let (became, is_new) = match finalized(op, app, draft).await {
        Ok(Some(found)) => found,
        Ok(None) | Err(Error::NotFound(_)) => return Ok(Became::Gone),
        Err(e @ (Error::Unavailable(_) | Error::Collision(_))) => return Err(e),
        Err(e) => return note(op, app, draft, &e).await.map(Became::Refused),
    };
    let op_of_all = op.with_scope(Scope::Platform);
    let mut documents = vec![];
    for document in became.notes.into_iter().chain(became.invoice) {
        let is_sent = match send::by_run(&op_of_all, app, document.id, draft.invoice_id).await {
            Err(e @ (Error::Unavailable(_) | Error::Collision(_))) => return Err(e),
            Err(e) => {
                note(op, app, draft, &e).await?;
                false
            }
            Ok(sent) => sent,
        };
        documents.push(Issued { document, is_sent });
    }
    Ok(Became::Issued { documents, is_new })
}

/// Notes what stands in the way of a document; answers it in words.
async fn note(op: &OpContext, app: &Control, draft: &Waiting, error: &Error) -> Result<String> {
    let problem = problem(error);
    slog::warn!(app.log, "an invoice cannot be issued or sent"; "invoice_id" => %draft.invoice_id,
        "tenant_id" => &draft.tenant_id, "problem" => %error);
    app.db.tx(op, "run_refused", async |conn| refused(conn, op, draft, error, &problem).await).await?;
    Ok(problem)
}

/// What the draft became, and whether that is new; nothing when it was discarded.
async fn finalized(
    op: &OpContext,
    app: &Control,
    draft: &Waiting,
) -> Result<Option<(finalize::Became, bool)>> {
    let operator = app.config.platform.operator_partner_id.as_deref();
    app.db
        .tx(op, "run_finalize", async |conn| {
            let row = store::lock(conn, draft.invoice_id).await?;
            if row.number.is_none() && row.status == "void" {
                send::strike_off(conn, &row.tenant_id, &[row.invoice_id]).await?;
                return Ok(None);
            }
            if row.status != "draft" {
                let lines = store::lines(conn, &row.tenant_id, row.invoice_id).await?;
                let invoice = Some(view::detail(&row, &lines)?);
                return Ok(Some((finalize::Became { notes: vec![], invoice }, false)));
            }
            let became = finalize::in_tx(conn, op, operator, draft.invoice_id).await?;
            for note in &became.notes {
                to_be_issued(conn, op, &draft.tenant_id, &draft.partner_id, note.id).await?;
            }
            Ok(Some((became, true)))
        })
        .await
}

/// A refusal in words that everybody may read.
fn problem(error: &Error) -> String {
    match error {
        Error::Internal(_) => "an internal error; the log says more".into(),
        other => clipped(&other.to_string()),
    }
}

/// Notes that a draft was refused, and tells who can help when it is another problem than before.
async fn refused(
    conn: &mut Conn,
    op: &OpContext,
    draft: &Waiting,
    error: &Error,
    problem: &str,
) -> Result<()> {
    use run_drafts as t;
    let nth = usize::try_from(draft.attempts).unwrap_or_default().min(PAUSES.len() - 1);
    let pause = PAUSES.get(nth).copied().unwrap_or_default();
    let noted = diesel::update(t::table.find((&draft.tenant_id, draft.invoice_id)))
        .set((t::attempts.eq(t::attempts + 1), t::problem.eq(problem), t::try_at.eq(op.now + pause)))
        .execute(conn)
        .await?;
    if noted == 0 || draft.problem.as_deref() == Some(problem) {
        return Ok(());
    }
    let row = store::get(conn, draft.invoice_id).await?;
    let (before, after) = (json!({"problem": draft.problem}), json!({"problem": problem}));
    audit::record(conn, op, drafts::audited(&row), Some(&before), Some(&after)).await?;
    tell(conn, op, draft, error, problem).await
}

/// Tells the tenant what its own profile lacks; of everything else the people of its partner.
async fn tell(conn: &mut Conn, op: &OpContext, draft: &Waiting, error: &Error, problem: &str) -> Result<()> {
    let is_of_tenant = |field: &Field| field.field.starts_with("billing_profile");
    let fields = match error {
        Error::BadRequest { details, .. } => details.as_slice(),
        _ => &[],
    };
    let is_own = !fields.is_empty() && fields.iter().all(is_of_tenant);
    let (tenant_id, message) = match home_of(conn, &draft.partner_id).await? {
        _ if is_own => (draft.tenant_id.clone(), "invoice_profile_incomplete"),
        Some(home) => (home, "invoice_not_issued"),
        // Nobody to tell: it is in the log, in the audit log and in the answer of each run.
        None => return Ok(()),
    };
    let notice = Notice {
        tenant_id: &tenant_id,
        partner_id: &draft.partner_id,
        user_id: None,
        category: "billing",
        severity: Severity::Warning,
        message,
        parameters: json!({"tenant_id": draft.tenant_id, "invoice_id": draft.invoice_id, "problem": problem}),
        link: None,
    };
    notifications::tell(conn, op, notice).await
}

/// The tenant that the people of a partner belong to.
pub(super) async fn home_of(conn: &mut Conn, partner_id: &str) -> Result<Option<String>> {
    let home = partners::table.find(partner_id).select(partners::home_tenant_id);
    Ok(home.first::<Option<String>>(conn).await.optional()?.flatten())
}
