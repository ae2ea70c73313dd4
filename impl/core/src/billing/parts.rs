//! The parts of the lines of packs: what each service earned of them, and what the partner owes the platform for it.
//!
//! A pack is one line, and one line has one service. So when a document with such a line is issued, the line is divided by
//! what its explanation says, each part is revenue of its service, and its platform cost is by the multiplier of its own
//! plan. A credit note takes parts back in proportion to what is left of each: so none is ever taken back beyond its amount,
//! however many notes come and in whatever parts, and the last one leaves nothing.
use super::store::LineRow;
use crate::db::Conn;
use crate::db::schema::invoice_line_parts;
use crate::db::statement::{kept_rows, statement};
use crate::error::{Error, Result};
use crate::settings::Settings;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use scaicontrol_domain::cost;
use scaicontrol_domain::invoice::LineKind;
use scaicontrol_domain::money::{Cents, allocate};
use serde::Deserialize;
use uuid::Uuid;

/// A row of `invoice_line_parts`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = invoice_line_parts, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct PartRow {
    pub tenant_id: String,
    pub line_item_id: Uuid,
    pub position: i32,
    pub partner_id: String,
    pub invoice_id: Uuid,
    pub service_slug: String,
    pub plan_key: String,
    pub amount_cents: i64,
    pub cost_cents: i64,
}

/// An item in the explanation of a pack's line.
#[derive(Deserialize)]
struct Item {
    service_slug: String,
    plan_key: String,
    amount_cents: Cents,
}

/// The parts of a line: none unless it is a pack's. `cost_by` none: the partner owes nothing for it.
fn of_line(line: &LineRow, cost_by: Option<&Settings>) -> Result<Vec<PartRow>> {
    if line.kind != LineKind::Pack.as_str() {
        return Ok(vec![]);
    }
    let items = line.explanation.as_ref().and_then(|explanation| explanation.get("items")).cloned();
    let items: Vec<Item> = serde_json::from_value(items.unwrap_or_default()).map_err(Error::internal)?;
    let part = |(position, item): (i32, Item)| {
        let cost = cost_by.map_or(Ok(Cents::ZERO), |settings| {
            let multiplier = cost::effective_multiplier(&settings.cost_multipliers, Some(&item.plan_key));
            cost::platform_cost(LineKind::Pack, item.amount_cents, multiplier)
        });
        let cost = cost.map_err(|_| Error::field("line_items", "make a platform cost that is too large"))?;
        Ok(PartRow {
            tenant_id: line.tenant_id.clone(),
            line_item_id: line.line_item_id,
            position,
            partner_id: line.partner_id.clone(),
            invoice_id: line.invoice_id,
            service_slug: item.service_slug,
            plan_key: item.plan_key,
            amount_cents: item.amount_cents.0,
            cost_cents: cost.0,
        })
    };
    let parts: Vec<PartRow> = (0..).zip(items).map(part).collect::<Result<_>>()?;
    if Cents::sum(parts.iter().map(|part| Cents(part.amount_cents))) != Ok(Cents(line.amount_cents)) {
        return Err(Error::internal(format!("the parts of line {} are not its amount", line.line_item_id)));
    }
    Ok(parts)
}

/// The parts of all lines of packs.
pub fn of_lines(lines: &[LineRow], cost_by: Option<&Settings>) -> Result<Vec<PartRow>> {
    let mut parts = vec![];
    for line in lines {
        parts.append(&mut of_line(line, cost_by)?);
    }
    Ok(parts)
}

/// What the partner owes the platform for the line of a pack: the sum over its parts, each rounded.
pub fn cost(line: &LineRow, settings: &Settings) -> Result<Cents> {
    let parts = of_line(line, Some(settings))?;
    Cents::sum(parts.iter().map(|part| Cents(part.cost_cents)))
        .map_err(|_| Error::field("line_items", "make a platform cost that is too large"))
}

/// Net amounts by service: of each line its own, or those of its parts.
pub fn by_service(lines: &[LineRow], parts: &[PartRow]) -> Vec<(Option<String>, Cents)> {
    let mut amounts = Vec::with_capacity(lines.len());
    for line in lines {
        let mut of_line = parts.iter().filter(|part| part.line_item_id == line.line_item_id).peekable();
        if of_line.peek().is_none() {
            amounts.push((line.service_slug.clone(), Cents(line.amount_cents)));
        }
        amounts.extend(of_line.map(|part| (Some(part.service_slug.clone()), Cents(part.amount_cents))));
    }
    amounts
}

/// Stores the parts of a document's lines, which are stored already.
pub async fn insert(conn: &mut Conn, parts: &[PartRow]) -> Result<()> {
    // A statement holds at most 65,535 parameters.
    for chunk in parts.chunks(1_000) {
        let rows = diesel::insert_into(invoice_line_parts::table).values(chunk);
        kept_rows(chunk.len(), rows).execute(conn).await?;
    }
    Ok(())
}

/// A part of an invoice's line, and what is left of it after all credit notes so far.
#[derive(Clone, Debug, Queryable)]
struct Left {
    position: i32,
    service_slug: String,
    plan_key: String,
    amount_cents: i64,
    cost_cents: i64,
}

/// The parts of the line of a credit note that takes back a line of its invoice: none unless that is a pack's.
pub async fn taken_back(conn: &mut Conn, line: &LineRow, credited: &LineRow) -> Result<Vec<PartRow>> {
    if credited.kind != LineKind::Pack.as_str() {
        return Ok(vec![]);
    }
    let left: Vec<Left> = statement::<(Integer, Text, Text, BigInt, BigInt)>(
        "SELECT p.position, p.service_slug, p.plan_key,
           (p.amount_cents + COALESCE(sum(n.amount_cents), 0))::bigint, (p.cost_cents + COALESCE(sum(n.cost_cents), 0))::bigint
         FROM invoice_line_parts p
         LEFT JOIN credit_note_lines c ON c.tenant_id = p.tenant_id AND c.credited_line_item_id = p.line_item_id
         LEFT JOIN invoice_line_parts n ON n.tenant_id = c.tenant_id AND n.line_item_id = c.line_item_id AND n.position = p.position
         WHERE p.tenant_id = $1 AND p.line_item_id = $2
         GROUP BY p.position, p.service_slug, p.plan_key, p.amount_cents, p.cost_cents ORDER BY p.position",
    )
    .bind::<Text, _>(&credited.tenant_id)
    .bind::<SqlUuid, _>(credited.line_item_id)
    .load(conn)
    .await?;
    let amounts = divide(line.amount_cents, left.iter().map(|l| l.amount_cents))?;
    let costs = divide(line.platform_cost_cents, left.iter().map(|l| l.cost_cents))?;
    let part = |((left, amount_cents), cost_cents): ((Left, i64), i64)| PartRow {
        tenant_id: line.tenant_id.clone(),
        line_item_id: line.line_item_id,
        position: left.position,
        partner_id: line.partner_id.clone(),
        invoice_id: line.invoice_id,
        service_slug: left.service_slug,
        plan_key: left.plan_key,
        amount_cents,
        cost_cents,
    };
    Ok(left.into_iter().zip(amounts).zip(costs).map(part).collect())
}

/// An amount in proportion to what is left of each part.
fn divide(amount: i64, left: impl Iterator<Item = i64>) -> Result<Vec<i64>> {
    allocate(amount, &left.collect::<Vec<_>>()).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::divide;

    #[test]
    fn parts_are_taken_back_to_the_last_cent_and_never_beyond() {
        let mut left = vec![3_334, 3_333, 1, 0];
        for amount in [-1, -1, -6_000, -665, 0, -1] {
            let taken = divide(amount, left.iter().copied()).expect("divided");
            assert_eq!(taken.iter().sum::<i64>(), amount);
            for (left, taken) in left.iter_mut().zip(&taken) {
                assert!(*taken <= 0 && 0 <= *left + taken, "{taken} of {left}");
                *left += taken;
            }
        }
        assert_eq!(left, [0, 0, 0, 0]);
    }
}
