//! From rows to the VAT decision of a document, and from the decision to what is stored with it.
use super::store::LineRow;
use crate::db::Conn;
use crate::db::schema::{billing_profiles, partners};
use crate::error::{Error, Field, Result};
use crate::settings::Settings;
use crate::subscriptions::view::parse;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::try_join;
use rust_decimal::Decimal;
use scaicontrol_domain::ledger::Tax;
use scaicontrol_domain::money::{Cents, Currency};
use scaicontrol_domain::tax::compute::convert;
use scaicontrol_domain::tax::decide::decide_at;
use scaicontrol_domain::tax::rates::vat_currency;
use scaicontrol_domain::tax::{
    self as rules, Buyer, Category, Decision, LineRequest, RateKind, RateOverride, Rates, Request, Rule,
    Scheme, Seller, TaxError, TaxLine, Totals, VatStatus,
};
use scaicontrol_types::{PartySnapshot, VatBreakdownItem, VatDetails, VatTreatment};
use std::collections::BTreeMap;

/// The seller: the columns of `partners` that a document needs.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = partners)]
#[expect(missing_docs, reason = "the columns are described in the specification")]
pub struct SellerRow {
    pub partner_id: String,
    pub legal_name: Option<String>,
    pub seller_address_line1: Option<String>,
    pub seller_address_line2: Option<String>,
    pub seller_postal_code: Option<String>,
    pub seller_city: Option<String>,
    pub seller_state: Option<String>,
    pub seller_country_code: Option<String>,
    pub seller_vat_number: Option<String>,
    pub seller_tax_number: Option<String>,
    pub seller_registration_number: Option<String>,
    pub seller_contact_name: Option<String>,
    pub seller_email: Option<String>,
    pub seller_phone: Option<String>,
    pub seller_iban: Option<String>,
    pub seller_bic: Option<String>,
    pub seller_peppol_id: Option<String>,
    pub seller_peppol_scheme: Option<String>,
    pub small_business_note: Option<String>,
    pub logo_url: Option<String>,
    pub invoice_number_prefix: String,
    pub timezone: String,
    pub oss_registered: bool,
}

/// The buyer: the columns of `billing_profiles` that a document needs.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = billing_profiles)]
#[expect(missing_docs, reason = "the columns are described in the specification")]
pub struct BuyerRow {
    pub tenant_id: String,
    pub company_name: String,
    pub address_line1: String,
    pub address_line2: Option<String>,
    pub postal_code: String,
    pub city: String,
    pub state: Option<String>,
    pub country_code: String,
    pub vat_number: Option<String>,
    pub tax_exempt: bool,
    pub tax_exempt_reason: Option<String>,
    pub contact_email: Option<String>,
    pub phone: Option<String>,
    pub is_business: bool,
    pub peppol_id: Option<String>,
    pub peppol_scheme: Option<String>,
    pub leitweg_id: Option<String>,
    pub preferred_einvoice_format: Option<String>,
    pub preferred_language: Option<String>,
    pub buyer_reference: Option<String>,
    pub vat_number_status: String,
    pub vat_number_checked_at: Option<DateTime<Utc>>,
}

/// Both parties of a document.
#[derive(Clone, Debug)]
pub struct Parties {
    /// Who sells.
    pub seller: SellerRow,
    /// Who buys.
    pub buyer: BuyerRow,
}

impl Parties {
    /// Loads both, and checks that they hold what every document needs.
    ///
    /// Errors: 400 naming every missing field, `billing_profile.…` or `partner.…`.
    pub async fn load(conn: &Conn, tenant_id: &str, partner_id: &str) -> Result<Self> {
        let (mut for_buyer, mut for_seller) = (conn, conn);
        let buyer = billing_profiles::table.find(tenant_id).select(BuyerRow::as_select());
        let seller = partners::table.find(partner_id).select(SellerRow::as_select());
        let (buyer, seller): (Vec<BuyerRow>, SellerRow) =
            try_join!(buyer.load(&mut for_buyer), seller.first(&mut for_seller))?;
        let buyer =
            buyer.into_iter().next().ok_or_else(|| Error::field("billing_profile", "the tenant has none"))?;
        let parties = Parties { seller, buyer };
        let missing = parties.missing();
        if missing.is_empty() { Ok(parties) } else { Err(Error::fields(missing)) }
    }

    fn missing(&self) -> Vec<Field> {
        let (b, s) = (&self.buyer, &self.seller);
        let buyer = [
            ("company_name", Some(&b.company_name)),
            ("address_line1", Some(&b.address_line1)),
            ("postal_code", Some(&b.postal_code)),
            ("city", Some(&b.city)),
            ("country_code", Some(&b.country_code)),
        ];
        let mut seller = vec![
            ("legal_name", s.legal_name.as_ref()),
            ("seller_country_code", s.seller_country_code.as_ref()),
            ("seller_address_line1", s.seller_address_line1.as_ref()),
            ("seller_postal_code", s.seller_postal_code.as_ref()),
            ("seller_city", s.seller_city.as_ref()),
        ];
        if b.preferred_einvoice_format.as_deref() == Some("xrechnung") {
            seller.push(("seller_contact_name", s.seller_contact_name.as_ref()));
            seller.push(("seller_phone", s.seller_phone.as_ref()));
            seller.push(("seller_email", s.seller_email.as_ref()));
        }
        let is_missing = |value: &Option<&String>| value.is_none_or(|v| v.trim().is_empty());
        let of = |party: &str, field: &str| Field {
            field: format!("{party}.{field}"),
            message: "is required to issue an invoice".into(),
        };
        let buyer = buyer.iter().filter(|(_, v)| is_missing(v)).map(|(f, _)| of("billing_profile", f));
        buyer.chain(seller.iter().filter(|(_, v)| is_missing(v)).map(|(f, _)| of("partner", f))).collect()
    }

    fn rule_seller(&self) -> Seller {
        let s = &self.seller;
        Seller {
            country_code: s.seller_country_code.clone().unwrap_or_default(),
            postal_code: s.seller_postal_code.clone().unwrap_or_default(),
            vat_number: s.seller_vat_number.clone(),
            tax_number: s.seller_tax_number.clone(),
            small_business_note: s.small_business_note.clone(),
            oss_registered: s.oss_registered,
        }
    }

    fn rule_buyer(&self) -> Result<Buyer> {
        let b = &self.buyer;
        Ok(Buyer {
            country_code: b.country_code.clone(),
            postal_code: b.postal_code.clone(),
            is_business: b.is_business,
            vat_number: b.vat_number.clone(),
            vat_status: b.vat_number_status.parse::<VatStatus>().map_err(Error::internal)?,
            tax_exempt: b.tax_exempt,
            tax_exempt_reason: b.tax_exempt_reason.clone(),
        })
    }

    /// The buyer as it is frozen with a document.
    pub fn buyer_snapshot(&self) -> Result<PartySnapshot> {
        let b = self.buyer.clone();
        Ok(PartySnapshot {
            party_id: b.tenant_id,
            name: b.company_name,
            address_line1: b.address_line1,
            address_line2: b.address_line2,
            postal_code: b.postal_code,
            city: b.city,
            state: b.state,
            country_code: b.country_code,
            vat_number: b.vat_number,
            vat_number_status: Some(parse(&b.vat_number_status)?),
            tax_number: None,
            registration_number: None,
            small_business_note: None,
            is_business: Some(b.is_business),
            tax_exempt: Some(b.tax_exempt),
            contact_name: None,
            email: b.contact_email,
            phone: b.phone,
            peppol_id: b.peppol_id,
            peppol_scheme: b.peppol_scheme,
            leitweg_id: b.leitweg_id,
            buyer_reference: b.buyer_reference,
            iban: None,
            bic: None,
            logo_url: None,
            language: b.preferred_language.as_deref().map(parse).transpose()?,
            timezone: None,
        })
    }

    /// The seller as it is frozen with a document. What was missing was refused before.
    pub fn seller_snapshot(&self) -> PartySnapshot {
        let s = self.seller.clone();
        PartySnapshot {
            party_id: s.partner_id,
            name: s.legal_name.unwrap_or_default(),
            address_line1: s.seller_address_line1.unwrap_or_default(),
            address_line2: s.seller_address_line2,
            postal_code: s.seller_postal_code.unwrap_or_default(),
            city: s.seller_city.unwrap_or_default(),
            state: s.seller_state,
            country_code: s.seller_country_code.unwrap_or_default(),
            vat_number: s.seller_vat_number,
            vat_number_status: None,
            tax_number: s.seller_tax_number,
            registration_number: s.seller_registration_number,
            small_business_note: s.small_business_note,
            is_business: None,
            tax_exempt: None,
            contact_name: s.seller_contact_name,
            email: s.seller_email,
            phone: s.seller_phone,
            peppol_id: s.seller_peppol_id,
            peppol_scheme: s.seller_peppol_scheme,
            leitweg_id: None,
            buyer_reference: None,
            iban: s.seller_iban,
            bic: s.seller_bic,
            logo_url: s.logo_url,
            language: None,
            timezone: Some(s.timezone),
        }
    }
}

/// A document's tax, decided and computed.
#[derive(Debug)]
pub struct Taxed {
    /// One for each line.
    pub decisions: Vec<Decision>,
    /// Sums, and each line's part of the tax.
    pub totals: Totals,
    /// What is frozen with the document.
    pub details: VatDetails,
}

/// Decides the VAT of a document's lines and computes its sums.
///
/// Errors: 400 naming the field of the line, the profile or the partner that stands in the way.
pub fn tax(
    parties: &Parties,
    lines: &[LineRow],
    currency: Currency,
    issue_date: NaiveDate,
    tax_point: Option<NaiveDate>,
    settings: &Settings,
) -> Result<Taxed> {
    let (seller, buyer, rates) = (parties.rule_seller(), parties.rule_buyer()?, rates(settings)?);
    let requests =
        lines.iter().map(|l| request(l, tax_point.unwrap_or(issue_date))).collect::<Result<Vec<_>>>()?;
    let decisions = rules::decide(&seller, &buyer, &requests, &rates).map_err(refusal)?.lines;
    let document = decide_at(&seller, &buyer, tax_point.unwrap_or(issue_date), &rates).map_err(refusal)?;
    let parts = lines.iter().zip(&decisions);
    let parts: Vec<_> = parts
        .map(|(l, d)| TaxLine { amount: Cents(l.amount_cents), category: d.category, rate: d.rate })
        .collect();
    let too_much = |_| Error::field("line_items", "add up to too much");
    let totals = rules::compute(&parts).map_err(too_much)?;
    let mut details = details(parties, &document, &decisions, &totals)?;
    foreign_currency(&mut details, &decisions, &totals, currency, tax_point.unwrap_or(issue_date), settings)?;
    Ok(Taxed { decisions, totals, details })
}

fn request(line: &LineRow, otherwise: NaiveDate) -> Result<LineRequest> {
    let category =
        line.requested_tax_category.as_deref().map(|c| c.parse::<Category>().map_err(Error::internal));
    Ok(LineRequest {
        tax_point: line.tax_date.unwrap_or(otherwise),
        request: match reversed(line) {
            Some(decision) => Request::Reverses(Box::new(decision)),
            None => Request::of(line.requested_tax_rate, category.transpose()?),
        },
    })
}

/// The decision of the line that a credit line takes back, once it is known.
fn reversed(line: &LineRow) -> Option<Decision> {
    let explanation = line.explanation.as_ref()?;
    explanation.get("credited_line_item_id")?;
    serde_json::from_value(explanation.get("tax")?.clone()).ok()
}

fn rates(settings: &Settings) -> Result<Rates> {
    let overrides = settings.vat_rate_overrides.iter().map(|o| {
        Ok(RateOverride {
            country: o.country_code.parse().map_err(Error::internal)?,
            kind: RateKind::Standard,
            rate: o.rate,
            valid_from: o.valid_from,
            valid_until: o.valid_until,
        })
    });
    Rates::new(overrides.collect::<Result<_>>()?)
        .map_err(|e| Error::internal(format!("VAT rate overrides: {e:?}")))
}

/// The rules name fields as their owners do; a caller must know whose field it is.
fn refusal(error: TaxError) -> Error {
    const PARTNER: &[&str] =
        &["seller_vat_number", "seller_tax_number", "seller_country_code", "small_business_note"];
    let fields = error.fields().into_iter().map(|field| {
        let field = match field.as_str() {
            f if PARTNER.contains(&f) => format!("partner.{f}"),
            "tax_point_date" => field,
            f if f.starts_with("line_items") => field.replace('[', ".").replace(']', ""),
            f => format!("billing_profile.{f}"),
        };
        Field { field, message: error.to_string() }
    });
    Error::BadRequest { message: error.to_string(), details: fields.collect() }
}

fn details(
    parties: &Parties,
    document: &Decision,
    decisions: &[Decision],
    totals: &Totals,
) -> Result<VatDetails> {
    let breakdown = totals.groups.iter().map(|group| {
        let of = decisions
            .iter()
            .find(|d| d.category == group.category && d.rate.normalize() == group.rate.normalize());
        Ok(VatBreakdownItem {
            tax_category: parse(group.category.as_str())?,
            tax_rate: of.and_then(Decision::printed_rate).map(|r| r.normalize().into()),
            taxable_cents: group.base.0,
            tax_cents: group.tax.0,
            note: of.and_then(|d| d.note.clone()),
            exemption_code: of.and_then(|d| d.exemption_code.clone()),
        })
    });
    // When lines asked for something else than the document's rule, the first of them says what the document shows.
    let shown = decisions.iter().find(|d| d.category == document.category && d.rate == document.rate);
    let shown = shown.or(decisions.first()).unwrap_or(document);
    let checked = document.rule == Rule::ReverseCharge;
    let seller_country = parties.seller.seller_country_code.clone().unwrap_or_default();
    Ok(VatDetails {
        treatment: match document.rule {
            Rule::BuyerOutside => VatTreatment::Export,
            Rule::SellerOutside => VatTreatment::SellerOutsideEu,
            Rule::TaxExempt => VatTreatment::Exempt,
            Rule::SmallBusiness => VatTreatment::SmallBusiness,
            Rule::Domestic | Rule::Requested => VatTreatment::Domestic,
            Rule::ReverseCharge => VatTreatment::ReverseCharge,
            Rule::SellerRate => VatTreatment::SellerRate,
            Rule::BuyerRate => VatTreatment::Oss,
        },
        label: shown.label.clone(),
        note: shown.note.clone(),
        taxing_country: decisions.iter().find_map(|d| d.taxing_country).map(|c| c.to_string()),
        seller_country,
        buyer_country: parties.buyer.country_code.clone(),
        breakdown: breakdown.collect::<Result<_>>()?,
        vat_number_status: checked.then(|| parse(&parties.buyer.vat_number_status)).transpose()?,
        vat_number_checked_at: parties.buyer.vat_number_checked_at.filter(|_| checked),
        tax_currency: None,
        exchange_rate: None,
        exchange_rate_date: None,
        tax_currency_tax_cents: None,
    })
}

/// Tax is owed in the taxing state's currency: on a document in another one it is stated in both.
///
/// Errors: 400 when no reference rate is known for the tax point.
fn foreign_currency(
    details: &mut VatDetails,
    decisions: &[Decision],
    totals: &Totals,
    currency: Currency,
    day: NaiveDate,
    settings: &Settings,
) -> Result<()> {
    let Some(country) = decisions.iter().find_map(|d| d.taxing_country).filter(|_| totals.tax != Cents(0))
    else {
        return Ok(());
    };
    let own = vat_currency(country, day).map_err(Error::internal)?;
    if own == currency {
        return Ok(());
    }
    let (from, from_day) = per_euro(settings, currency, day)?;
    let (to, to_day) = per_euro(settings, own, day)?;
    let tax = convert(totals.tax, (currency, from), (own, to)).map_err(Error::internal)?;
    let rate = to.checked_div(from).ok_or_else(|| Error::internal("an exchange rate of zero"))?;
    details.tax_currency = Some(own.code().into());
    details.exchange_rate = Some(rate.round_dp(6).normalize().into());
    details.exchange_rate_date = from_day.into_iter().chain(to_day).min();
    details.tax_currency_tax_cents = Some(tax.0);
    Ok(())
}

/// Units of a currency for one euro: the last rate published before the day.
fn per_euro(settings: &Settings, currency: Currency, day: NaiveDate) -> Result<(Decimal, Option<NaiveDate>)> {
    if currency.code() == "EUR" {
        return Ok((Decimal::ONE, None));
    }
    let known = settings.exchange_rates.iter().filter(|r| r.currency == currency.code() && r.date < day);
    let last = known.max_by_key(|r| r.date);
    last.map(|r| (r.rate, Some(r.date))).ok_or_else(|| {
        let code = currency.code();
        Error::field(
            "exchange_rate",
            format!(
                "no reference rate of {code} is known from before {day}: add it to the platform settings"
            ),
        )
    })
}

/// The tax of a document by the accounts it is owed on.
pub fn by_account(taxed: &Taxed) -> Result<Vec<Tax>> {
    let mut sums: BTreeMap<(String, Decimal, Scheme), i64> = BTreeMap::new();
    for (decision, part) in taxed.decisions.iter().zip(&taxed.totals.line_tax) {
        if let Some(country) = decision.taxing_country {
            let sum =
                sums.entry((country.to_string(), decision.rate.normalize(), decision.scheme)).or_default();
            *sum = sum.checked_add(part.0).ok_or_else(|| Error::field("line_items", "add up to too much"))?;
        }
    }
    let taxes = sums.into_iter().map(|((country, rate, scheme), sum)| Tax {
        country,
        rate,
        scheme,
        amount: Cents(sum),
    });
    Ok(taxes.collect())
}

/// Whether a line may ask for this rate on that day.
///
/// Errors: 400 naming `tax_rate`. What else stands in the way of a document is not asked.
pub fn check_rate(parties: &Parties, settings: &Settings, day: NaiveDate, rate: Decimal) -> Result<()> {
    let asked = LineRequest { tax_point: day, request: Request::of(Some(rate), None) };
    match rules::decide(&parties.rule_seller(), &parties.rule_buyer()?, &[asked], &rates(settings)?) {
        Err(e @ (TaxError::IllegalRate { .. } | TaxError::RateDoesNotFit { .. })) => {
            Err(Error::field("tax_rate", e.to_string()))
        }
        _ => Ok(()),
    }
}
