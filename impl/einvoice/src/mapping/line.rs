//! One line: quantity, price and the rounding between them.

use en16931::invoice::{Code, Item, LineAllowanceCharge, LineVat, PriceDetails};
use en16931::{BtId, Group, InvoiceAmount, InvoiceLine, Path, Percentage, Quantity, UnitPriceAmount};
use rust_decimal::{Decimal, RoundingStrategy};
use scaicontrol_domain::tax::Category;

use super::{Mapping, one_line, period, to_major, too_large};
use crate::document::Line;
use crate::unit;
use crate::violation::Violation;

/// The reason of the allowance or charge between an exact amount and one of whole units.
const ROUNDING: &str = "Rounding to whole units of the currency";

impl Mapping<'_> {
    pub(super) fn line(&self, index: usize, line: &Line) -> Result<InvoiceLine, Violation> {
        let at = |term| Path::at_term(Group::Line, index, BtId(term));
        let currency = self.document.currency;
        let unit_code = Code::new(unit::code(line.unit_label.as_deref()));
        let quantity = line.quantity.checked_mul(Decimal::from(self.sign));
        let quantity = quantity.ok_or_else(|| too_large(at(129)))?.normalize();
        let price = to_major(line.unit_price_cents, currency).ok_or_else(|| too_large(at(146)))?;
        let has_divisor = line.unit_divisor != Decimal::ONE;
        let net_amount = self.amount(line.amount_cents, at(131))?;
        let (allowances, charges) = self.rounding(line, quantity, price, net_amount);
        let number = index.saturating_add(1);
        Ok(InvoiceLine {
            id: number.to_string(),
            note: line
                .preceding
                .as_ref()
                .map(|invoice| format!("Credit to invoice {} of {}", invoice.number, invoice.issue_date)),
            order_line_reference: None,
            accounting_reference: None,
            object_identifier: None,
            quantity: Quantity::new(quantity),
            unit_code: unit_code.clone(),
            net_amount,
            period: period(line.period_start, line.period_end, (134, 135))?,
            allowances,
            charges,
            price: PriceDetails {
                net_price: UnitPriceAmount::new(price),
                base_quantity: has_divisor.then(|| Quantity::new(line.unit_divisor.normalize())),
                base_quantity_code: has_divisor.then_some(unit_code),
                ..PriceDetails::default()
            },
            vat: LineVat {
                category: Code::new(line.tax_category.as_str()),
                rate: (line.tax_category != Category::OutsideScope)
                    .then(|| Percentage::new(line.tax_rate.unwrap_or_default().normalize())),
            },
            item: Item { name: one_line(Some(&line.description)), ..Item::default() },
        })
    }

    /// What lies between quantity × price and the amount in a currency without cents.
    ///
    /// The rules compare the two to two decimals in every currency (PEPPOL-EN16931-R120); an amount of whole yen can be
    /// half a yen away, which is then said as an allowance or a charge of the line.
    fn rounding(
        &self,
        line: &Line,
        quantity: Decimal,
        price: Decimal,
        net: InvoiceAmount,
    ) -> (Vec<LineAllowanceCharge>, Vec<LineAllowanceCharge>) {
        if self.document.currency.minor_digits() != 0 {
            return (vec![], vec![]);
        }
        let exact = quantity.checked_mul(price).and_then(|total| total.checked_div(line.unit_divisor));
        let difference = exact.and_then(|exact| net.into_decimal().checked_sub(exact));
        let rounded = difference
            .filter(|difference| difference.abs() < Decimal::ONE)
            .map(|difference| difference.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero))
            .filter(|difference| !difference.is_zero());
        let Some((rounded, Ok(amount))) =
            rounded.map(|rounded| (rounded, InvoiceAmount::from_decimal_exact(rounded.abs())))
        else {
            return (vec![], vec![]);
        };
        let entry = LineAllowanceCharge {
            amount,
            base_amount: None,
            percentage: None,
            reason: Some(ROUNDING.to_owned()),
            reason_code: None,
        };
        if rounded.is_sign_negative() { (vec![entry], vec![]) } else { (vec![], vec![entry]) }
    }
}
