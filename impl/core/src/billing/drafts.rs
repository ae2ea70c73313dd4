//! What finance does to a draft by hand.
//!
//! A draft may be anything but self-contradictory: whether it can be issued is asked when it is finalized. A line that
//! the billing run made stays what was computed; dropping it frees what it bills, unless that is waived.
use super::store::{self, InvoiceRow, LineRow};
use super::view;
use crate::app::Control;
use crate::audit;
use crate::db::Conn;
use crate::error::{Error, Field, Result};
use crate::op::OpContext;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use scaicontrol_domain::invoice::{line_amount, sort_by_date};
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_types::{
    AdminInvoiceCreateRequest, AdminInvoiceUpdateRequest, InvoiceDetailResponse, LineItemUpdateInput,
    TaxCategory,
};
use std::collections::HashSet;
use uuid::Uuid;

/// Amounts beyond this many cents are refused: the limit of the specification, which every JSON reader can hold.
pub const AMOUNT_MAX_CENTS: i64 = 900_719_925_474_099;

/// Writes a draft by hand.
///
/// Errors: 404 for a tenant that the caller does not see; 400 naming each field that contradicts another.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &AdminInvoiceCreateRequest,
) -> Result<InvoiceDetailResponse> {
    let currency = Currency::parse(&body.currency).map_err(|e| Error::field("currency", e.to_string()))?;
    app.db
        .once(op, "admin_invoice_create", async |conn| {
            let partner_id = store::partner_of(conn, &body.tenant_id).await?;
            let mut row = new_draft(op, &body.tenant_id, &partner_id, currency.code());
            row.notes = body.notes.clone().flatten();
            row.due_date = body.due_date.flatten();
            row.tax_point_date = body.tax_point_date.flatten();
            row.period_start = body.period_start.flatten();
            row.period_end = body.period_end.flatten();
            let items: Vec<_> = body.line_items.iter().cloned().map(new_line).collect();
            let lines = build_lines(conn, op, &row, &[], &items).await?;
            check_and_total(&mut row, &lines)?;
            store::insert(conn, &row).await?;
            store::insert_lines(conn, &lines).await?;
            let after = view::detail(&row, &lines)?;
            audit::record(conn, op, audited(&row), None::<&()>, Some(&after)).await?;
            Ok(after)
        })
        .await
}

/// A draft without lines.
pub fn new_draft(op: &OpContext, tenant_id: &str, partner_id: &str, currency: &str) -> InvoiceRow {
    InvoiceRow {
        tenant_id: tenant_id.into(),
        invoice_id: op.id(),
        partner_id: partner_id.into(),
        document_type: "invoice".into(),
        number: None,
        status: "draft".into(),
        currency: currency.into(),
        issue_date: None,
        due_date: None,
        tax_point_date: None,
        period_start: None,
        period_end: None,
        subtotal_cents: 0,
        tax_cents: 0,
        total_cents: 0,
        paid_cents: 0,
        credited_cents: 0,
        due_cents: 0,
        buyer_snapshot: None,
        seller_snapshot: None,
        vat_details: None,
        notes: None,
        referenced_invoice_id: None,
        run_date: None,
        created_at: op.now,
        updated_at: op.now,
        finalized_at: None,
        sent_at: None,
        paid_at: None,
        voided_at: None,
        payment_reversed_at: None,
        overdue_at: None,
    }
}

/// Changes a draft: what is left out stays, null clears, `line_items` replaces the whole list.
///
/// Errors: 404, 409 unless it is a draft, 400 naming each field.
pub async fn update(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    body: &AdminInvoiceUpdateRequest,
) -> Result<InvoiceDetailResponse> {
    app.db
        .tx(op, "admin_invoice_update", async |conn| {
            let mut row = store::lock_draft(conn, invoice_id).await?;
            let old = store::lines(conn, &row.tenant_id, invoice_id).await?;
            let before = view::detail(&row, &old)?;
            patch(&mut row.notes, &body.notes);
            patch(&mut row.due_date, &body.due_date);
            patch(&mut row.tax_point_date, &body.tax_point_date);
            patch(&mut row.period_start, &body.period_start);
            patch(&mut row.period_end, &body.period_end);
            let lines = match &body.line_items {
                None => old.clone(),
                Some(items) => build_lines(conn, op, &row, &old, items).await?,
            };
            check_and_total(&mut row, &lines)?;
            store::replace_lines(conn, &old, &lines).await?;
            release_dropped(conn, &old, &lines, body.waive.unwrap_or(false)).await?;
            row.updated_at = op.now;
            store::save(conn, &row).await?;
            let after = view::detail(&row, &lines)?;
            audit::record(conn, op, audited(&row), Some(&before), Some(&after)).await?;
            Ok(after)
        })
        .await
}

/// Deletes a draft. What it billed is free again, or spent for good with `waive`.
///
/// Errors: 404, 409 unless it is a draft.
pub async fn delete(op: &OpContext, app: &Control, invoice_id: Uuid, waive: bool) -> Result<()> {
    app.db
        .tx(op, "admin_invoice_delete", async |conn| {
            let row = store::lock_draft(conn, invoice_id).await?;
            let lines = store::lines(conn, &row.tenant_id, invoice_id).await?;
            let items = store::items_of(conn, &row.tenant_id, invoice_id).await?;
            store::release_items(conn, &row.tenant_id, &items, &lines.iter().collect::<Vec<_>>(), waive)
                .await?;
            store::delete(conn, &row).await?;
            audit::record(conn, op, audited(&row), Some(&view::detail(&row, &lines)?), None::<&()>).await
        })
        .await
}

/// Puts the lines of a draft into the order of the ids given, which must be all of them.
///
/// Errors: 404, 409 unless it is a draft, 400 when an id is missing, foreign or named twice.
pub async fn order_lines(
    op: &OpContext,
    app: &Control,
    invoice_id: Uuid,
    ids: &[Uuid],
) -> Result<InvoiceDetailResponse> {
    app.db
        .tx(op, "admin_invoice_lines_order", async |conn| {
            let row = store::lock_draft(conn, invoice_id).await?;
            let old = store::lines(conn, &row.tenant_id, invoice_id).await?;
            let mut ordered = Vec::with_capacity(ids.len());
            for (index, id) in ids.iter().enumerate() {
                let line = old.iter().find(|l| l.line_item_id == *id);
                let line = line.ok_or_else(|| {
                    Error::field(format!("line_item_ids.{index}"), "is not a line of this draft")
                })?;
                if ids[..index].contains(id) {
                    return Err(Error::field(format!("line_item_ids.{index}"), "is named twice"));
                }
                ordered.push(line.clone());
            }
            if ordered.len() < old.len() {
                return Err(Error::field("line_item_ids", "does not name every line of the draft"));
            }
            reorder(conn, op, row, old, ordered).await
        })
        .await
}

/// Sorts the lines of a draft by the date that their description begins with; those without one stay last.
///
/// Errors: 404, 409 unless it is a draft.
pub async fn sort_lines(op: &OpContext, app: &Control, invoice_id: Uuid) -> Result<InvoiceDetailResponse> {
    app.db
        .once(op, "admin_invoice_lines_sort", async |conn| {
            let row = store::lock_draft(conn, invoice_id).await?;
            let old = store::lines(conn, &row.tenant_id, invoice_id).await?;
            let descriptions: Vec<_> = old.iter().map(|l| l.description.as_str()).collect();
            let ordered = sort_by_date(&descriptions).into_iter().map(|i| old[i].clone()).collect();
            reorder(conn, op, row, old, ordered).await
        })
        .await
}

async fn reorder(
    conn: &mut Conn,
    op: &OpContext,
    mut row: InvoiceRow,
    old: Vec<LineRow>,
    mut ordered: Vec<LineRow>,
) -> Result<InvoiceDetailResponse> {
    number_lines(&mut ordered);
    store::replace_lines(conn, &old, &ordered).await?;
    row.updated_at = op.now;
    store::save(conn, &row).await?;
    let (before, after) = (view::detail(&row, &old)?, view::detail(&row, &ordered)?);
    audit::record(conn, op, audited(&row), Some(&before), Some(&after)).await?;
    Ok(after)
}

/// Frees what dropped lines billed. An item may have several (one for each tier): it is free when all of them are gone.
///
/// Errors: 400 when some of an item's lines are dropped and others kept, unless those are waived: the item would count as
/// billed, and what the dropped ones say would be lost.
async fn release_dropped(conn: &mut Conn, old: &[LineRow], new: &[LineRow], waive: bool) -> Result<()> {
    let Some(tenant_id) = old.first().map(|l| l.tenant_id.clone()) else { return Ok(()) };
    let stays: HashSet<_> = new.iter().map(|l| l.line_item_id).collect();
    let kept: HashSet<_> = new.iter().filter_map(|l| l.billed_item_id).collect();
    let lines: Vec<&LineRow> = old.iter().filter(|l| !stays.contains(&l.line_item_id)).collect();
    let dropped: HashSet<_> = lines.iter().filter_map(|l| l.billed_item_id).collect();
    let (partly, wholly): (Vec<_>, Vec<_>) = dropped.into_iter().partition(|id| kept.contains(id));
    if !waive
        && let Some(line) = lines.iter().find(|l| l.billed_item_id.is_some_and(|id| partly.contains(&id)))
    {
        let message = format!(
            "drop {:?} and keep another line of the same: keep or drop both, or say `waive`",
            line.description
        );
        return Err(Error::field("line_items", message));
    }
    store::release_items(conn, &tenant_id, &wholly, &lines, waive).await
}

/// The lines of a draft as the caller wants them, in the caller's order.
async fn build_lines(
    conn: &mut Conn,
    op: &OpContext,
    row: &InvoiceRow,
    old: &[LineRow],
    items: &[LineItemUpdateInput],
) -> Result<Vec<LineRow>> {
    let slugs: Vec<&str> = items.iter().filter_map(|i| i.service_slug.as_ref()?.as_deref()).collect();
    let services = store::service_ids(conn, &slugs).await?;
    let mut lines: Vec<LineRow> = Vec::with_capacity(items.len());
    let mut wrong = vec![];
    for (index, item) in items.iter().enumerate() {
        let mut fail = |field: &str, message: &str| {
            wrong.push(Field { field: format!("line_items.{index}.{field}"), message: message.into() });
        };
        let kept = item.id.map(|id| old.iter().find(|l| l.line_item_id == id));
        let mut line = match kept {
            Some(None) => {
                fail("id", "is not a line of this draft");
                continue;
            }
            Some(Some(line)) if lines.iter().any(|l| l.line_item_id == line.line_item_id) => {
                fail("id", "is named twice");
                continue;
            }
            Some(Some(line)) => line.clone(),
            None => blank(op, row),
        };
        if line.billed_item_id.is_some() {
            if is_changed(&line, item) {
                fail("id", "was made by the billing run: only its description and place can change");
            }
            line.description = item.description.clone().unwrap_or(line.description);
        } else {
            apply(&mut line, item, &services, &mut fail);
        }
        lines.push(line);
    }
    if !wrong.is_empty() {
        return Err(Error::fields(wrong));
    }
    number_lines(&mut lines);
    Ok(lines)
}

fn blank(op: &OpContext, row: &InvoiceRow) -> LineRow {
    LineRow {
        tenant_id: row.tenant_id.clone(),
        line_item_id: op.id(),
        invoice_id: row.invoice_id,
        partner_id: row.partner_id.clone(),
        order_index: 0,
        kind: "manual".into(),
        description: String::new(),
        quantity: Decimal::ZERO,
        unit_label: None,
        unit_price_cents: Decimal::ZERO,
        unit_divisor: Decimal::ONE,
        amount_cents: 0,
        requested_tax_rate: None,
        requested_tax_category: None,
        tax_rate: None,
        tax_category: None,
        tax_cents: 0,
        tax_date: None,
        period_start: None,
        period_end: None,
        subscription_id: None,
        service_id: None,
        service_slug: None,
        plan_key: None,
        metric_slug: None,
        billed_item_id: None,
        explanation: None,
        platform_cost_cents: 0,
    }
}

/// A line of a new draft says everything, so it is a change of nothing.
fn new_line(item: scaicontrol_types::LineItemInput) -> LineItemUpdateInput {
    LineItemUpdateInput {
        id: None,
        description: Some(item.description),
        quantity: Some(item.quantity),
        unit_label: item.unit_label,
        unit_price_cents: Some(item.unit_price_cents),
        unit_divisor: item.unit_divisor,
        tax_rate: item.tax_rate,
        tax_category: item.tax_category,
        period_start: item.period_start,
        period_end: item.period_end,
        service_slug: item.service_slug,
    }
}

/// Whether the caller asks for a change of what the billing run computed. Repeating what is there is none.
fn is_changed(line: &LineRow, item: &LineItemUpdateInput) -> bool {
    let differs = |asked: &Option<scaicontrol_types::Decimal>, is: Decimal| {
        asked.as_ref().is_some_and(|d| Decimal::from(*d) != is)
    };
    differs(&item.quantity, line.quantity)
        || differs(&item.unit_price_cents, line.unit_price_cents)
        || differs(&item.unit_divisor, line.unit_divisor)
        || item.unit_label.as_ref().is_some_and(|v| *v != line.unit_label)
        || item.tax_rate.is_some_and(|v| v.map(Decimal::from) != line.requested_tax_rate)
        || item.tax_category.is_some_and(|v| v.map(|c| c.to_string()) != line.requested_tax_category)
        || item.period_start.is_some_and(|v| v != line.period_start)
        || item.period_end.is_some_and(|v| v != line.period_end)
        || item.service_slug.as_ref().is_some_and(|v| *v != line.service_slug)
}

fn apply(
    line: &mut LineRow,
    item: &LineItemUpdateInput,
    services: &[(String, Uuid)],
    fail: &mut impl FnMut(&str, &str),
) {
    let is_new = item.id.is_none();
    match &item.description {
        Some(description) => line.description.clone_from(description),
        None if is_new => fail("description", "is required on a new line"),
        None => {}
    }
    let mut number = |field: &str,
                      asked: Option<scaicontrol_types::Decimal>,
                      into: &mut Decimal,
                      required: bool| match asked.map(Decimal::from) {
        Some(d) if !fits(d) => fail(field, "has more than 18 digits before or 10 after the point"),
        Some(d) => *into = d,
        None if required => fail(field, "is required on a new line"),
        None => {}
    };
    number("quantity", item.quantity, &mut line.quantity, is_new);
    number("unit_price_cents", item.unit_price_cents, &mut line.unit_price_cents, is_new);
    number("unit_divisor", item.unit_divisor, &mut line.unit_divisor, false);
    patch(&mut line.unit_label, &item.unit_label);
    patch(&mut line.requested_tax_rate, &item.tax_rate.map(|rate| rate.map(Decimal::from)));
    patch(&mut line.requested_tax_category, &item.tax_category.map(|c| c.map(|c| c.to_string())));
    patch(&mut line.period_start, &item.period_start);
    patch(&mut line.period_end, &item.period_end);
    if let Some(slug) = &item.service_slug {
        line.service_slug.clone_from(slug);
        line.service_id =
            slug.as_ref().and_then(|s| services.iter().find(|(found, _)| found == s)).map(|(_, id)| *id);
        if slug.is_some() && line.service_id.is_none() {
            fail("service_slug", "is not a service");
        }
    }
    check_line(line, item.quantity.is_some() || is_new, fail);
    match line_amount(line.quantity, line.unit_price_cents, line.unit_divisor) {
        Ok(Cents(amount)) if amount.abs() <= AMOUNT_MAX_CENTS => line.amount_cents = amount,
        _ if Decimal::ZERO < line.unit_divisor => fail("quantity", "makes an amount that is too large"),
        _ => {}
    }
    // What is shown until VAT is decided is what was asked for.
    (line.tax_rate, line.tax_category) = (line.requested_tax_rate, line.requested_tax_category.clone());
    // A price of several units cannot be seen in the line's own fields.
    line.explanation = (line.unit_divisor != Decimal::ONE).then(
        || serde_json::json!({"rule": "manual", "unit_divisor": line.unit_divisor.normalize().to_string()}),
    );
}

fn check_line(line: &LineRow, quantity_said: bool, fail: &mut impl FnMut(&str, &str)) {
    if quantity_said && line.quantity.is_zero() {
        fail("quantity", "must not be 0");
    }
    if line.unit_price_cents < Decimal::ZERO {
        fail("unit_price_cents", "must be at least 0");
    }
    if line.unit_divisor <= Decimal::ZERO {
        fail("unit_divisor", "must be above 0");
    }
    match (line.period_start, line.period_end) {
        (Some(start), Some(end)) if end < start => fail("period_end", "is before period_start"),
        (Some(_), None) => fail("period_end", "is missing beside period_start"),
        (None, Some(_)) => fail("period_start", "is missing beside period_end"),
        _ => {}
    }
    let rate = line.requested_tax_rate;
    if rate.is_some_and(|r| r < Decimal::ZERO || Decimal::ONE_HUNDRED < r || 3 < r.normalize().scale()) {
        return fail("tax_rate", "must be a percentage from 0 to 100 with at most 3 decimals");
    }
    match (line.requested_tax_category.as_deref(), rate) {
        (Some("K"), _) => fail("tax_category", "K is for goods, and services are sold here"),
        (Some("S"), Some(rate)) if rate <= Decimal::ZERO => fail("tax_rate", "must be above 0 in category S"),
        (Some("S"), None) => fail("tax_rate", "is required in category S"),
        (Some("O"), Some(_)) => fail("tax_rate", "category O has no rate"),
        (Some(category), Some(rate)) if category != "S" && !rate.is_zero() => {
            fail("tax_rate", "must be 0 in every category but S");
        }
        _ => {}
    }
}

/// Whether the column can hold it: NUMERIC(28, 10).
fn fits(value: Decimal) -> bool {
    let value = value.normalize();
    value.scale() <= 10 && value.abs().trunc() < Decimal::from(1_000_000_000_000_000_000_i64)
}

/// Gives lines their place in the document.
pub fn number_lines(lines: &mut [LineRow]) {
    for (index, line) in (0..).zip(lines) {
        line.order_index = index;
    }
}

/// Checks what concerns the whole draft and adds its lines up. VAT is decided when it is finalized.
pub fn check_and_total(row: &mut InvoiceRow, lines: &[LineRow]) -> Result<()> {
    match (row.period_start, row.period_end) {
        (Some(start), Some(end)) if end < start => {
            return Err(Error::field("period_end", "is before period_start"));
        }
        (Some(_), None) => return Err(Error::field("period_end", "is missing beside period_start")),
        (None, Some(_)) => return Err(Error::field("period_start", "is missing beside period_end")),
        _ => {}
    }
    check_date("due_date", row.due_date)?;
    check_date("tax_point_date", row.tax_point_date)?;
    let sum = lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.amount_cents));
    let sum = sum
        .filter(|s| s.abs() <= AMOUNT_MAX_CENTS)
        .ok_or_else(|| Error::field("line_items", "add up to too much"))?;
    (row.subtotal_cents, row.tax_cents, row.total_cents, row.due_cents) = (sum, 0, sum, sum);
    Ok(())
}

fn check_date(field: &str, date: Option<NaiveDate>) -> Result<()> {
    use chrono::Datelike;
    match date {
        Some(d) if !(1900..=9999).contains(&d.year()) => {
            Err(Error::field(field, "must be a date from 1900 to 9999"))
        }
        _ => Ok(()),
    }
}

fn patch<T: Clone>(column: &mut Option<T>, asked: &Option<Option<T>>) {
    if let Some(value) = asked {
        column.clone_from(value);
    }
}

/// What the audit row says of a document.
pub fn audited(row: &InvoiceRow) -> audit::Entry<'_> {
    audit::Entry {
        object_type: "invoice",
        object_id: row.invoice_id.to_string(),
        tenant_id: Some(&row.tenant_id),
        partner_id: Some(&row.partner_id),
        reason: None,
    }
}

/// The category of a line as the specification names it.
pub fn category(text: &str) -> Result<TaxCategory> {
    super::super::subscriptions::view::parse(text)
}
