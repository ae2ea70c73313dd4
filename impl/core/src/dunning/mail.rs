//! The mail that reminds of an overdue invoice.
use crate::app::Control;
use crate::db::Conn;
use crate::documents::{Issued, facts};
use crate::error::{Error, Result};
use crate::mails::MailKind;
use crate::mails::letters::{self, About, Correspondents};
use crate::op::OpContext;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::period::{add_local_days, local_date};
use scaicontrol_templates::Context;
use scaicontrol_templates::mail::{Envelope, PaymentFailed, PaymentFailedMail};

/// Queues a reminder, when the tenant has a billing contact. `suspend_after` is the day of the suspension while that still
/// lies ahead.
pub async fn reminder(
    conn: &mut Conn,
    op: &OpContext,
    app: &Control,
    issued: &Issued,
    (since, timezone): (DateTime<Utc>, Tz),
    suspend_after: Option<u32>,
) -> Result<()> {
    let row = &issued.row;
    let Some(between) = Correspondents::load(conn, &row.tenant_id, &row.partner_id).await? else {
        return Ok(());
    };
    let suspended_on = match suspend_after {
        Some(days) => {
            let at = add_local_days(since, i64::from(days), timezone).map_err(Error::internal)?;
            Some(local_date(at, timezone).map_err(Error::internal)?).filter(|_| op.now < at)
        }
        None => None,
    };
    let reversed = row.payment_reversed_at.filter(|at| *at == since);
    let failed_on = match (reversed, row.due_date) {
        (None, Some(date)) => date,
        _ => local_date(since, timezone).map_err(Error::internal)?,
    };
    let told = PaymentFailed {
        amount: Cents(row.due_cents),
        method: None,
        reason: None,
        failed_on,
        next_attempt_on: None,
        // A payment that was reversed had been made: it failed.
        is_overdue: reversed.is_none(),
        suspended_on,
    };
    let document = facts::document(row, &issued.lines, &issued.about)?;
    let envelope =
        Envelope { recipient_name: None, portal_url: app.config.public_url.clone(), message: None };
    let context =
        PaymentFailedMail::new(&document, &told, &envelope, between.language).map_err(Error::internal)?;
    let about = About {
        tenant_id: &row.tenant_id,
        partner_id: &row.partner_id,
        kind: MailKind::PaymentFailed,
        invoice_id: Some(row.invoice_id),
    };
    letters::write(conn, op, about, &between, &Context::PaymentFailed(Box::new(context))).await?;
    Ok(())
}
