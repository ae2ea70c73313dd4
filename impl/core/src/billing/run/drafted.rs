//! A draft that a run made, and how the answer of the run shows it.
use crate::billing::credit_lines;
use crate::billing::store::{self, InvoiceRow, LineRow};
use crate::billing::tax::{self, Parties, Taxed};
use crate::billing::view;
use crate::db::schema::partners;
use crate::db::{Conn, undone};
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::settings::Settings;
use crate::subscriptions::view::parse;
use chrono::NaiveDate;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::period::{local_date, parse_timezone};
use scaicontrol_types::{
    BillingRunInvoice, DocumentType, InvoiceDetailResponse, InvoiceStatus, LineItemPreview, LineItemResponse,
};
use uuid::Uuid;

/// Lines of an invoice that the answer of a run shows at most.
const SHOWN_LINES_MAX: usize = 1_000;
/// Characters of a problem that are kept.
const PROBLEM_MAX: usize = 1_000;

/// A draft, with the local date on which what it bills fell due.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) row: InvoiceRow,
    pub(crate) lines: Vec<LineRow>,
    pub(crate) run_date: NaiveDate,
}

impl Draft {
    /// The document of that id, as the run that made it saw it.
    pub(super) async fn load(conn: &mut Conn, invoice_id: Uuid) -> Result<Draft> {
        let row = store::get(conn, invoice_id).await?;
        let lines = store::lines(conn, &row.tenant_id, invoice_id).await?;
        let run_date = row.run_date.unwrap_or_else(|| row.created_at.date_naive());
        Ok(Draft { row, lines, run_date })
    }

    /// The draft as the answer shows it, with why it is not more than that.
    pub(super) fn shown(&self, problem: Option<&str>) -> Result<BillingRunInvoice> {
        let row = &self.row;
        Ok(BillingRunInvoice {
            invoice_id: Some(row.invoice_id),
            document_type: DocumentType::Invoice,
            number: None,
            status: Some(InvoiceStatus::Draft),
            tenant_id: row.tenant_id.clone(),
            partner_id: row.partner_id.clone(),
            currency: row.currency.clone(),
            invoice_date: self.run_date,
            subtotal_cents: row.subtotal_cents,
            tax_cents: None,
            total_cents: None,
            problem: problem.map(clipped),
            lines: self.lines.iter().take(SHOWN_LINES_MAX).map(preview).collect::<Result<_>>()?,
        })
    }

    /// The draft as it would be issued, without id and state: what a run that is only tried answers.
    pub(super) async fn tried(
        &self,
        conn: &mut Conn,
        op: &OpContext,
        settings: &Settings,
    ) -> Result<BillingRunInvoice> {
        let date = self.issue_date(conn, op).await?;
        let (taxed, problem) = match self.taxed(conn, date, settings).await {
            Ok(taxed) => (Some(taxed), None),
            Err(e @ Error::BadRequest { .. }) => (None, Some(e.to_string())),
            Err(e) => return Err(e),
        };
        let mut shown = self.shown(problem.as_deref())?;
        (shown.invoice_id, shown.status) = (None, None);
        if let Some(taxed) = taxed {
            let (tax, total) = self.comes_to(conn, op, settings, &taxed).await?;
            (shown.tax_cents, shown.total_cents) = (Some(tax.0), Some(total.0));
            if total < Cents::ZERO {
                shown.document_type = DocumentType::CreditNote;
            }
            shown.lines = previews(&self.lines, Some(&taxed), SHOWN_LINES_MAX)?;
        }
        Ok(shown)
    }

    /// The date that it would be issued on: today, or when it falls due.
    pub(crate) async fn issue_date(&self, conn: &mut Conn, op: &OpContext) -> Result<NaiveDate> {
        let timezone: String =
            partners::table.find(&self.row.partner_id).select(partners::timezone).first(conn).await?;
        let today = local_date(op.now, parse_timezone(&timezone).map_err(Error::internal)?);
        Ok(self.run_date.max(today.map_err(Error::internal)?))
    }

    /// What it comes to when it is issued: tax and total. What cannot stand on one document becomes several, each of which
    /// is rounded by itself.
    pub(crate) async fn comes_to(
        &self,
        conn: &mut Conn,
        op: &OpContext,
        settings: &Settings,
        taxed: &Taxed,
    ) -> Result<(Cents, Cents)> {
        let whole = (taxed.totals.tax, taxed.totals.total);
        let split = async |conn: &mut Conn| {
            let reversals = credit_lines::load(conn, &self.lines).await?;
            let parties = Parties::load(conn, &self.row.tenant_id, &self.row.partner_id).await?;
            if credit_lines::can_stand(&reversals, taxed, &parties) {
                return Ok(whole);
            }
            let wanted = credit_lines::referring(&self.lines, &reversals);
            let (rest, notes) = credit_lines::as_credit_notes(conn, op, &wanted, &reversals).await?;
            let mut parts: Vec<(i64, i64)> =
                notes.iter().map(|note| (note.tax_cents, note.total_cents)).collect();
            if !rest.is_empty() {
                let date = self.issue_date(conn, op).await?;
                let taxed = self.tax_of(conn, &rest, date, settings).await?;
                parts.push((taxed.totals.tax.0, taxed.totals.total.0));
            }
            let sum = |part: fn(&(i64, i64)) -> i64| Cents::sum(parts.iter().map(part).map(Cents));
            Ok((sum(|part| part.0).map_err(Error::internal)?, sum(|part| part.1).map_err(Error::internal)?))
        };
        if !self.lines.iter().any(|line| line.amount_cents < 0) {
            return Ok(whole);
        }
        match undone(conn, split).await {
            // What it takes back is not issued yet, or would be refused: then this is as near as can be said.
            Err(Error::Conflict(_) | Error::BadRequest { .. }) => Ok(whole),
            known => known,
        }
    }

    /// VAT, by the code that decides it when an invoice is issued.
    ///
    /// Errors: 400 with what the parties lack.
    pub(crate) async fn taxed(&self, conn: &mut Conn, date: NaiveDate, settings: &Settings) -> Result<Taxed> {
        let lines = credit_lines::foreseen(conn, &self.lines).await?;
        self.tax_of(conn, &lines, date, settings).await
    }

    async fn tax_of(
        &self,
        conn: &mut Conn,
        lines: &[LineRow],
        date: NaiveDate,
        settings: &Settings,
    ) -> Result<Taxed> {
        let row = &self.row;
        let parties = Parties::load(conn, &row.tenant_id, &row.partner_id).await?;
        let currency = Currency::parse(&row.currency).map_err(Error::internal)?;
        tax::tax(&parties, lines, currency, date, row.tax_point_date, settings)
    }
}

/// An issued document as the answer of a run shows it.
pub(super) fn issued(document: InvoiceDetailResponse, run_date: NaiveDate, sent: bool) -> BillingRunInvoice {
    let is_sent = sent && document.status == InvoiceStatus::Finalized;
    BillingRunInvoice {
        invoice_id: Some(document.id),
        document_type: document.document_type,
        number: document.number,
        status: Some(if is_sent { InvoiceStatus::Sent } else { document.status }),
        tenant_id: document.tenant_id,
        partner_id: document.partner_id,
        currency: document.currency,
        invoice_date: run_date,
        subtotal_cents: document.subtotal_cents,
        tax_cents: Some(document.tax_cents),
        total_cents: Some(document.total_cents),
        problem: None,
        lines: document.line_items.into_iter().take(SHOWN_LINES_MAX).map(as_issued).collect(),
    }
}

/// A problem, as long as it may be.
pub(super) fn clipped(problem: &str) -> String {
    problem.chars().take(PROBLEM_MAX).collect()
}

/// Lines as they would stand on the invoice, with their VAT when that is decided.
pub(crate) fn previews(lines: &[LineRow], taxed: Option<&Taxed>, max: usize) -> Result<Vec<LineItemPreview>> {
    let mut previews = lines.iter().take(max).map(preview).collect::<Result<Vec<_>>>()?;
    if let Some(taxed) = taxed {
        let parts = taxed.decisions.iter().zip(&taxed.totals.line_tax);
        for (preview, (decision, part)) in previews.iter_mut().zip(parts) {
            preview.tax_rate = decision.printed_rate().map(|rate| rate.normalize().into());
            preview.tax_category = Some(parse(decision.category.as_str())?);
            preview.tax_cents = Some(part.0);
        }
    }
    Ok(previews)
}

/// A line as it would stand on the invoice, before VAT.
fn preview(line: &LineRow) -> Result<LineItemPreview> {
    let shown = view::line(line)?;
    Ok(LineItemPreview { tax_cents: None, ..as_issued(shown) })
}

fn as_issued(l: LineItemResponse) -> LineItemPreview {
    LineItemPreview {
        kind: l.kind,
        description: l.description,
        quantity: l.quantity,
        unit_label: l.unit_label,
        unit_price_cents: l.unit_price_cents,
        amount_cents: l.amount_cents,
        tax_rate: l.tax_rate,
        tax_category: l.tax_category,
        tax_cents: Some(l.tax_cents),
        period_start: l.period_start,
        period_end: l.period_end,
        subscription_id: l.subscription_id,
        service_slug: l.service_slug,
        metric_slug: l.metric_slug,
        explanation: l.explanation,
    }
}
