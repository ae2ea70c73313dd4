//! Owns what a credit note takes back of an invoice: which part of each line, of its tax, and of its platform cost.
//!
//! An invoice is taken back in parts, in any order, and in the end exactly as a whole. So nothing is computed from a
//! part alone: the tax of a part is the tax on everything taken back so far less what was taken back before, for
//! each category and rate, and whoever takes the last part takes what is left. All amounts here have the sign of the
//! invoice; the document that is made of them turns it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::cost::reversed_cost;
use crate::money::{Cents, MoneyError, allocate, mul_div_round};
use crate::tax::compute::{credit_note_tax, tax_on};
use crate::tax::{Category, TaxGroup};

/// A line of the invoice, and what was taken back of it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvoicedLine {
    /// VAT category.
    pub category: Category,
    /// Percent.
    pub rate: Decimal,
    /// Net amount; negative on a credit line.
    pub net: Cents,
    /// What the partner owes the platform for it.
    pub cost: Cents,
    /// Of the net amount, taken back before.
    pub net_credited: Cents,
    /// Tax that was taken back with it.
    pub tax_credited: Cents,
    /// Of the cost, given back before.
    pub cost_credited: Cents,
}

impl InvoicedLine {
    /// What is left of the net amount.
    ///
    /// # Errors
    /// [`MoneyError`] on overflow.
    pub fn net_left(&self) -> Result<Cents, MoneyError> {
        self.net.sub(self.net_credited)
    }

    fn group(&self) -> Group {
        (self.category, self.rate.normalize())
    }
}

/// What is taken back of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditedLine {
    /// Position of the line on the invoice.
    pub index: usize,
    /// Net amount. It may be 0 where only a cent of tax was left.
    pub net: Cents,
    /// Its part of the tax.
    pub tax: Cents,
    /// Its part of the platform cost.
    pub cost: Cents,
}

/// What a credit note takes back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreditNote {
    /// The lines, in the order of the invoice.
    pub lines: Vec<CreditedLine>,
    /// The tax by category and rate.
    pub groups: Vec<TaxGroup>,
    /// Sum of the net amounts.
    pub net: Cents,
    /// Sum of the tax.
    pub tax: Cents,
    /// `net + tax`; always above 0.
    pub gross: Cents,
}

/// Why a credit note is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreditNoteError {
    /// More than is left of a line.
    #[error("at most {left} of the line can be credited")]
    Line {
        /// Position in the list that was asked for.
        asked: usize,
        /// What is left of it, net and without sign.
        left: Cents,
    },
    /// More than is left of the whole invoice.
    #[error("at most {0} of the invoice can be credited")]
    Invoice(Cents),
    /// It comes to nothing, or to less than that.
    #[error("it takes nothing back")]
    Nothing,
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

type Group = (Category, Decimal);

/// Sums of the lines of one category and rate.
#[derive(Debug, Clone, Default)]
struct Sums {
    members: Vec<usize>,
    net: Cents,
    net_credited: Cents,
    tax_credited: Cents,
}

impl Sums {
    /// What is left of net and tax.
    fn left(&self, rate: Decimal) -> Result<(Cents, Cents), MoneyError> {
        Ok((self.net.sub(self.net_credited)?, tax_on(self.net, rate)?.sub(self.tax_credited)?))
    }
}

fn groups(invoice: &[InvoicedLine]) -> Result<BTreeMap<Group, Sums>, MoneyError> {
    let mut groups: BTreeMap<Group, Sums> = BTreeMap::new();
    for (index, line) in invoice.iter().enumerate() {
        let sums = groups.entry(line.group()).or_default();
        sums.members.push(index);
        sums.net = sums.net.add(line.net)?;
        sums.net_credited = sums.net_credited.add(line.net_credited)?;
        sums.tax_credited = sums.tax_credited.add(line.tax_credited)?;
    }
    Ok(groups)
}

/// What is left of the invoice, tax included.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn gross_left(invoice: &[InvoicedLine]) -> Result<Cents, MoneyError> {
    groups(invoice)?.iter().try_fold(Cents::ZERO, |sum, ((_, rate), sums)| {
        let (net, tax) = sums.left(*rate)?;
        sum.add(net)?.add(tax)
    })
}

/// Takes back everything that is left.
///
/// # Errors
/// [`CreditNoteError`].
pub fn whole(invoice: &[InvoicedLine]) -> Result<CreditNote, CreditNoteError> {
    let nets = invoice.iter().map(InvoicedLine::net_left).collect::<Result<Vec<_>, _>>()?;
    let mut taxes = BTreeMap::new();
    for (group, sums) in groups(invoice)? {
        taxes.insert(group, sums.left(group.1)?.1);
    }
    build(invoice, &nets, &taxes)
}

/// Takes back parts of lines: of each the given net amount (positive, whatever the line's sign), or all that is left.
/// A line must not be named twice.
///
/// # Errors
/// [`CreditNoteError`].
pub fn of_lines(
    invoice: &[InvoicedLine],
    asked: &[(usize, Option<Cents>)],
) -> Result<CreditNote, CreditNoteError> {
    let mut nets = vec![Cents::ZERO; invoice.len()];
    for (position, (index, amount)) in asked.iter().enumerate() {
        let none = CreditNoteError::Line { asked: position, left: Cents::ZERO };
        let (Some(line), Some(net)) = (invoice.get(*index), nets.get_mut(*index)) else { return Err(none) };
        let left = line.net_left()?;
        let magnitude = Cents(left.0.checked_abs().ok_or(MoneyError::Overflow)?);
        let wanted = amount.unwrap_or(magnitude);
        if magnitude == Cents::ZERO || wanted <= Cents::ZERO || magnitude < wanted {
            return Err(CreditNoteError::Line { asked: position, left: magnitude });
        }
        *net = if left < Cents::ZERO { wanted.neg()? } else { wanted };
    }
    let mut taxes = BTreeMap::new();
    for (group, sums) in groups(invoice)? {
        let now = Cents::sum(sums.members.iter().filter_map(|index| nets.get(*index).copied()))?;
        taxes.insert(group, partial_tax(&sums, group.1, now)?);
    }
    let note = build(invoice, &nets, &taxes)?;
    let left = gross_left(invoice)?;
    if left < note.gross { Err(CreditNoteError::Invoice(left)) } else { Ok(note) }
}

/// The part of a line's platform cost that a credit line of another invoice takes back with a net amount of it. Unlike a
/// credit note a credit line may exceed what is left of the whole invoice, which may take something back itself.
///
/// # Errors
/// [`CreditNoteError::Line`] when it is more than is left of the line.
pub fn cost_of_credit_line(line: &InvoicedLine, net: Cents) -> Result<Cents, CreditNoteError> {
    let left = line.net_left()?.max(Cents::ZERO);
    if net <= Cents::ZERO || left < net {
        return Err(CreditNoteError::Line { asked: 0, left });
    }
    Ok(cost(line, net)?)
}

/// The tax of a part of a group. A part of a positive amount never has a negative tax, nor the other way round: after
/// a refund to the cent the tax taken back may be a cent ahead of the amount.
fn partial_tax(sums: &Sums, rate: Decimal, now: Cents) -> Result<Cents, MoneyError> {
    let tax = credit_note_tax(rate, sums.net_credited, sums.tax_credited, now)?;
    Ok(match now.cmp(&Cents::ZERO) {
        std::cmp::Ordering::Less => tax.min(Cents::ZERO),
        std::cmp::Ordering::Equal => Cents::ZERO,
        std::cmp::Ordering::Greater => tax.max(Cents::ZERO),
    })
}

/// Takes back `gross`, tax included, to the cent: from every line in proportion to what is left of it, by the largest
/// remainder.
///
/// Not every gross amount is a net amount with its rounded tax (3 cents at 21 % are not), so here the net amount is
/// taken from the gross one and the tax is the rest; the next part sets it right.
///
/// # Errors
/// [`CreditNoteError`].
pub fn of_amount(invoice: &[InvoicedLine], gross: Cents) -> Result<CreditNote, CreditNoteError> {
    let left = gross_left(invoice)?;
    if gross <= Cents::ZERO {
        return Err(CreditNoteError::Nothing);
    }
    if left < gross {
        return Err(CreditNoteError::Invoice(left));
    }
    if left == gross {
        return whole(invoice);
    }
    let groups = groups(invoice)?;
    let mut weights = Vec::with_capacity(groups.len());
    for ((_, rate), sums) in &groups {
        let (net, tax) = sums.left(*rate)?;
        weights.push(net.add(tax)?.0);
    }
    let parts = allocate(gross.0, &weights)?;
    let mut nets = vec![Cents::ZERO; invoice.len()];
    let mut taxes = BTreeMap::new();
    for ((group, sums), part) in groups.iter().zip(parts) {
        let (net, tax) = split_gross(Cents(part), group.1, sums.left(group.1)?)?;
        taxes.insert(*group, tax);
        let lefts = sums
            .members
            .iter()
            .map(|index| invoice.get(*index).map_or(Ok(0), |line| line.net_left().map(|left| left.0)))
            .collect::<Result<Vec<_>, _>>()?;
        for (index, share) in sums.members.iter().zip(allocate(net.0, &lefts)?) {
            if let Some(target) = nets.get_mut(*index) {
                *target = Cents(share);
            }
        }
    }
    build(invoice, &nets, &taxes)
}

/// Splits a gross amount into net and tax, neither of them more than what is left.
fn split_gross(
    gross: Cents,
    rate: Decimal,
    (net_left, tax_left): (Cents, Cents),
) -> Result<(Cents, Cents), MoneyError> {
    if gross < Cents::ZERO {
        let (net, tax) = split_gross(gross.neg()?, rate, (net_left.neg()?, tax_left.neg()?))?;
        return Ok((net.neg()?, tax.neg()?));
    }
    let with_tax = rate.checked_add(Decimal::ONE_HUNDRED).ok_or(MoneyError::Overflow)?;
    let net = Cents(mul_div_round(Decimal::from(gross.0), Decimal::ONE_HUNDRED, with_tax)?);
    let least = gross.sub(tax_left)?.max(Cents::ZERO);
    let net = net.max(least).min(net_left.max(Cents::ZERO)).min(gross);
    Ok((net, gross.sub(net)?))
}

/// Puts the parts together: each line its share of the group's tax and of its own cost.
fn build(
    invoice: &[InvoicedLine],
    nets: &[Cents],
    taxes: &BTreeMap<Group, Cents>,
) -> Result<CreditNote, CreditNoteError> {
    let mut note = CreditNote::default();
    for (group, tax) in taxes {
        let all: Vec<(usize, Cents)> = invoice
            .iter()
            .enumerate()
            .zip(nets)
            .filter(|((_, line), _)| line.group() == *group)
            .map(|((index, _), net)| (index, *net))
            .collect();
        let mut members: Vec<_> = all.iter().filter(|(_, net)| *net != Cents::ZERO).copied().collect();
        if members.is_empty() {
            if *tax == Cents::ZERO {
                continue;
            }
            // Only a cent of tax is left: some line must bear it.
            members.extend(all.first());
        }
        let base = Cents::sum(members.iter().map(|(_, net)| *net))?;
        for ((index, net), tax) in members.iter().zip(tax_parts(*tax, &members)?) {
            let line = invoice.get(*index).ok_or(CreditNoteError::Nothing)?;
            note.lines.push(CreditedLine { index: *index, net: *net, tax, cost: cost(line, *net)? });
        }
        note.groups.push(TaxGroup { category: group.0, rate: group.1, base, tax: *tax });
        note.net = note.net.add(base)?;
        note.tax = note.tax.add(*tax)?;
    }
    note.lines.sort_by_key(|line| line.index);
    note.gross = note.net.add(note.tax)?;
    if note.gross <= Cents::ZERO { Err(CreditNoteError::Nothing) } else { Ok(note) }
}

/// The tax of a group by line, in proportion to the net amounts.
fn tax_parts(tax: Cents, members: &[(usize, Cents)]) -> Result<Vec<Cents>, MoneyError> {
    let weights: Vec<i64> = members.iter().map(|(_, net)| net.0).collect();
    let parts = match allocate(tax.0, &weights) {
        // The lines cancel out, and a cent of rounding is left.
        Err(MoneyError::NoWeight) => {
            let mut parts = vec![0; members.len()];
            if let Some(first) = parts.first_mut() {
                *first = tax.0;
            }
            parts
        }
        parts => parts?,
    };
    Ok(parts.into_iter().map(Cents).collect())
}

fn cost(line: &InvoicedLine, net: Cents) -> Result<Cents, MoneyError> {
    if line.cost == Cents::ZERO || line.net == Cents::ZERO {
        return Ok(Cents::ZERO);
    }
    reversed_cost(line.cost, line.net, line.net_credited.add(net)?, line.cost_credited)
}

#[cfg(test)]
mod tests;
