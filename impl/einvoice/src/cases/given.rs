//! What a case is given, and the document that the rules make of it.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use scaicontrol_domain::invoice::line_amount;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::tax::compute::convert;
use scaicontrol_domain::tax::rates::vat_currency;
use scaicontrol_domain::tax::{
    self, Buyer, Category, Decision, LineRequest, Rates, Request, Seller, TaxLine, Totals, VatStatus,
};

use crate::document::{Document, Kind, Line, Party, Payment, Preceding, Vat, VatGroup};

/// A line before its tax is decided.
#[derive(Debug, Clone)]
pub struct GivenLine {
    /// The line; its category, rate and amount are filled in.
    pub line: Line,
    /// What it asks for.
    pub request: Request,
}

/// A line of `quantity` at a price in minor units.
pub fn line(description: &str, quantity: i64, unit_price: i64) -> GivenLine {
    GivenLine {
        line: Line {
            description: description.to_owned(),
            quantity: Decimal::from(quantity),
            unit_label: None,
            unit_price_cents: Decimal::from(unit_price),
            unit_divisor: Decimal::ONE,
            amount_cents: 0,
            tax_category: Category::Standard,
            tax_rate: None,
            period_start: None,
            period_end: None,
            preceding: None,
        },
        request: Request::Auto,
    }
}

impl GivenLine {
    /// With a period.
    #[must_use]
    pub fn during(mut self, from: &str, to: &str) -> Self {
        (self.line.period_start, self.line.period_end) = (Some(day(from)), Some(day(to)));
        self
    }

    /// With a rate or category of its own.
    #[must_use]
    pub fn asks(mut self, request: Request) -> Self {
        self.request = request;
        self
    }

    /// With a label of its unit.
    #[must_use]
    pub fn unit(mut self, label: &str) -> Self {
        self.line.unit_label = Some(label.to_owned());
        self
    }

    /// With an exact quantity, price and divisor.
    #[must_use]
    pub fn priced(mut self, quantity: Decimal, price: Decimal, divisor: Decimal) -> Self {
        self.line.quantity = quantity;
        self.line.unit_price_cents = price;
        self.line.unit_divisor = divisor;
        self
    }

    /// As a credit to an earlier invoice.
    #[must_use]
    pub fn credits(mut self, number: &str, issued: &str) -> Self {
        self.line.preceding = Some(Preceding { number: number.to_owned(), issue_date: day(issued) });
        self
    }
}

/// What a case is given.
#[derive(Debug, Clone)]
pub struct Given {
    /// Who sells.
    pub seller: Party,
    /// Why a seller without VAT number charges none.
    pub small_business_note: Option<String>,
    /// Whether it declares through the One Stop Shop.
    pub oss: bool,
    /// Who buys.
    pub buyer: Party,
    /// Why the buyer is exempt.
    pub exempt: Option<String>,
    /// Currency.
    pub currency: &'static str,
    /// Lines.
    pub lines: Vec<GivenLine>,
}

impl Given {
    /// A sale of these lines in euro.
    pub fn new(seller: Party, buyer: Party, lines: Vec<GivenLine>) -> Self {
        Self { seller, small_business_note: None, oss: false, buyer, exempt: None, currency: "EUR", lines }
    }

    /// The invoice that the rules make of it.
    ///
    /// # Panics
    /// When the case is not one: this is for tests.
    #[expect(clippy::expect_used, reason = "a case that the rules refuse is a mistake in the case")]
    pub fn invoice(self) -> Document {
        let currency = Currency::parse(self.currency).expect("a currency");
        let decisions = self.decide();
        let mut lines: Vec<Line> = self.lines.into_iter().map(|given| given.line).collect();
        for (line, decision) in lines.iter_mut().zip(&decisions) {
            let amount = line_amount(line.quantity, line.unit_price_cents, line.unit_divisor);
            line.amount_cents = amount.expect("an amount").0;
            line.tax_category = decision.category;
            line.tax_rate = decision.printed_rate();
        }
        let taxed: Vec<TaxLine> = lines
            .iter()
            .zip(&decisions)
            .map(|(line, decision)| TaxLine {
                amount: Cents(line.amount_cents),
                category: decision.category,
                rate: decision.rate,
            })
            .collect();
        let totals = tax::compute(&taxed).expect("totals");
        Document {
            document_type: Kind::Invoice,
            number: "SCAI-2026-000042".into(),
            issue_date: day("2026-03-01"),
            due_date: Some(day("2026-03-15")),
            tax_point_date: None,
            period_start: None,
            period_end: None,
            currency,
            payment: Payment::to(&self.seller),
            seller: self.seller,
            buyer: self.buyer,
            vat: vat(&decisions, &totals, currency),
            lines,
            subtotal_cents: totals.subtotal.0,
            tax_cents: totals.tax.0,
            total_cents: totals.total.0,
            prepaid_cents: 0,
            payment_terms: None,
            notes: Some("Thank you for your order.".into()),
            reason: None,
            preceding: vec![],
        }
    }

    #[expect(clippy::expect_used, reason = "a case that the rules refuse is a mistake in the case")]
    fn decide(&self) -> Vec<Decision> {
        let seller = Seller {
            country_code: self.seller.country_code.clone(),
            postal_code: self.seller.postal_code.clone(),
            vat_number: self.seller.vat_number.clone(),
            tax_number: self.seller.tax_number.clone(),
            small_business_note: self.small_business_note.clone(),
            oss_registered: self.oss,
        };
        let buyer = Buyer {
            country_code: self.buyer.country_code.clone(),
            postal_code: self.buyer.postal_code.clone(),
            is_business: self.buyer.is_business != Some(false),
            vat_number: self.buyer.vat_number.clone(),
            vat_status: VatStatus::Valid,
            tax_exempt: self.exempt.is_some(),
            tax_exempt_reason: self.exempt.clone(),
        };
        let requests: Vec<LineRequest> = self
            .lines
            .iter()
            .map(|given| LineRequest { tax_point: day("2026-03-01"), request: given.request.clone() })
            .collect();
        tax::decide(&seller, &buyer, &requests, &Rates::published()).expect("a decision").lines
    }
}

/// What is stored as `VatDetails`, in the same way as the server does.
#[expect(clippy::expect_used, reason = "for tests")]
fn vat(decisions: &[Decision], totals: &Totals, currency: Currency) -> Vat {
    let breakdown = totals.groups.iter().map(|group| {
        let of = decisions.iter().find(|d| d.category == group.category && d.rate == group.rate);
        VatGroup {
            tax_category: group.category,
            tax_rate: of.and_then(Decision::printed_rate),
            taxable_cents: group.base.0,
            tax_cents: group.tax.0,
            note: of.and_then(|decision| decision.note.clone()),
            exemption_code: of.and_then(|decision| decision.exemption_code.clone()),
        }
    });
    let mut vat = Vat {
        breakdown: breakdown.collect(),
        tax_currency: None,
        tax_currency_tax_cents: None,
        exchange_rate: None,
        exchange_rate_date: None,
    };
    let taxing = decisions.iter().find_map(|decision| decision.taxing_country);
    if let Some(country) = taxing.filter(|_| totals.tax != Cents(0)) {
        let own = vat_currency(country, day("2026-03-01")).expect("a currency");
        if own != currency {
            let (from, to) = (per_euro(currency), per_euro(own));
            let tax = convert(totals.tax, (currency, from), (own, to)).expect("a conversion");
            vat.tax_currency = Some(own);
            vat.tax_currency_tax_cents = Some(tax.0);
            vat.exchange_rate = to.checked_div(from).map(|rate| rate.round_dp(6).normalize());
            vat.exchange_rate_date = Some(day("2026-02-27"));
        }
    }
    vat
}

/// Reference rates of the cases.
fn per_euro(currency: Currency) -> Decimal {
    match currency.code() {
        "USD" => Decimal::new(10_850, 4),
        "JPY" => Decimal::new(16_325, 2),
        "DKK" => Decimal::new(74_605, 4),
        _ => Decimal::ONE,
    }
}

/// A day.
#[expect(clippy::expect_used, reason = "for tests")]
pub(super) fn day(text: &str) -> NaiveDate {
    text.parse().expect("a day")
}
