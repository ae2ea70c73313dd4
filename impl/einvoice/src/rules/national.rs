//! Owns the national rules of Peppol BIS Billing 3, which apply by the country of the seller.
//!
//! Each stands under its official id. Germany's are those of XRechnung under other ids, so they are taken from there.

use en16931::invoice::{Code, Party, PaymentMeans, PostalAddress};
use en16931::profiles::XRECHNUNG;
use en16931::{BtId, DocumentKind, Group, Invoice, Path};
use rust_decimal::Decimal;

use super::numbers;
use crate::violation::{Severity, Violation};

/// Adds what the national rules find.
pub(super) fn check(invoice: &Invoice, found: &mut Vec<Violation>) {
    let mut rules = Rules { invoice, found };
    // Most go by the VAT number's prefix where there is one, some by the address alone.
    match territory(&invoice.seller).as_deref() {
        Some("NO") => rules.norway(),
        Some("IT") => rules.italy(),
        Some("GR" | "EL") => rules.greece(),
        _ => {}
    }
    match country(&invoice.seller) {
        "DE" if country(&invoice.buyer) == "DE" => rules.germany(),
        "DK" => rules.denmark(),
        "IS" => rules.iceland(),
        "NL" => rules.netherlands(),
        "SE" => rules.sweden(),
        _ => {}
    }
}

fn country(party: &Party) -> &str {
    party.address.country.as_ref().map_or("", Code::as_str)
}

fn territory(party: &Party) -> Option<String> {
    let prefix = party.vat_identifier.as_deref().and_then(|number| number.get(..2));
    prefix.or_else(|| party.address.country.as_ref().map(Code::as_str)).map(str::to_ascii_uppercase)
}

fn is_given(text: &Option<String>) -> bool {
    text.as_deref().is_some_and(|text| !text.trim().is_empty())
}

fn has_full_address(address: &PostalAddress) -> bool {
    is_given(&address.line1) && is_given(&address.city) && is_given(&address.post_code)
}

/// The pairs of rules: XRechnung's, and the same in Peppol between German parties.
const GERMAN: &[(&str, &str)] = &[
    ("BR-DE-1", "DE-R-001"),
    ("BR-DE-2", "DE-R-002"),
    ("BR-DE-3", "DE-R-003"),
    ("BR-DE-4", "DE-R-004"),
    ("BR-DE-5", "DE-R-005"),
    ("BR-DE-6", "DE-R-006"),
    ("BR-DE-7", "DE-R-007"),
    ("BR-DE-8", "DE-R-008"),
    ("BR-DE-9", "DE-R-009"),
    ("BR-DE-10", "DE-R-010"),
    ("BR-DE-11", "DE-R-011"),
    ("BR-DE-14", "DE-R-014"),
    ("BR-DE-15", "DE-R-015"),
    ("BR-DE-16", "DE-R-016"),
    ("BR-DE-17", "DE-R-017"),
    ("BR-DE-18", "DE-R-018"),
    ("BR-DE-19", "DE-R-019"),
    ("BR-DE-20", "DE-R-020"),
    ("BR-DE-22", "DE-R-022"),
    ("BR-DE-23-a", "DE-R-023-1"),
    ("BR-DE-23-b", "DE-R-023-2"),
    ("BR-DE-24-a", "DE-R-024-1"),
    ("BR-DE-24-b", "DE-R-024-2"),
    ("BR-DE-25-a", "DE-R-025-1"),
    ("BR-DE-25-b", "DE-R-025-2"),
    ("BR-DE-26", "DE-R-026"),
    ("BR-DE-27", "DE-R-027"),
    ("BR-DE-28", "DE-R-028"),
    ("BR-DE-30", "DE-R-030"),
    ("BR-DE-31", "DE-R-031"),
];

const SELLER: Group = Group::Seller;
const BUYER: Group = Group::Buyer;

struct Rules<'a> {
    invoice: &'a Invoice,
    found: &'a mut Vec<Violation>,
}

impl Rules<'_> {
    /// A rule at a term (0: the group as a whole), broken unless `holds`.
    fn rule(&mut self, holds: bool, id: &str, severity: Severity, (group, term): (Group, u16), text: &str) {
        if !holds {
            let path = if term == 0 { Path::group(group) } else { Path::group_term(group, BtId(term)) };
            self.found.push(Violation::new(id, severity, path, text));
        }
    }

    fn fatal(&mut self, holds: bool, id: &str, at: (Group, u16), text: &str) {
        self.rule(holds, id, Severity::Fatal, at, text);
    }

    fn warn(&mut self, holds: bool, id: &str, at: (Group, u16), text: &str) {
        self.rule(holds, id, Severity::Warning, at, text);
    }

    fn means_code(&self) -> Option<&str> {
        self.invoice.payment.as_ref()?.means_code.as_ref().map(Code::as_str)
    }

    fn germany(&mut self) {
        for finding in XRECHNUNG.validate(self.invoice).findings() {
            if let Some((_, id)) = GERMAN.iter().find(|(rule, _)| *rule == finding.rule) {
                let violation = Violation::of(finding);
                let mend = Violation::new(id, violation.severity, finding.path, "").mend;
                self.found.push(Violation { rule: (*id).to_owned(), mend, ..violation });
            }
        }
    }

    fn norway(&mut self) {
        let number = self.invoice.seller.vat_identifier.as_deref().unwrap_or_default();
        let holds = number.strip_prefix("NO").is_none_or(|rest| {
            rest.strip_suffix("MVA").is_some_and(|digits| digits.len() == 9 && numbers::mod11(digits))
        });
        let text = "For Norwegian suppliers, a VAT number MUST be the country code prefix NO followed by a valid \
                    Norwegian organization number (nine numbers) followed by the letters MVA.";
        self.fatal(holds, "NO-R-001", (SELLER, 31), text);
        let registered = self.invoice.seller.tax_registration.as_deref() == Some("Foretaksregisteret");
        let text =
            "For Norwegian suppliers, most invoice issuers are required to append \"Foretaksregisteret\".";
        self.warn(registered, "NO-R-002", (SELLER, 32), text);
    }

    fn denmark(&mut self) {
        let invoice = self.invoice;
        let legal = invoice.seller.legal_registration.as_ref();
        let text = "Danish suppliers MUST provide legal entity (CVR-number)";
        self.fatal(legal.is_some_and(|id| !id.is_blank()), "DK-R-002", (SELLER, 30), text);
        let text = "For Danish Suppliers it is mandatory to specify schemeID as \"0184\" (DK CVR-number) when \
                    PartyLegalEntity/CompanyID is used for AccountingSupplierParty";
        self.fatal(legal.is_none_or(|id| id.scheme() == Some("0184")), "DK-R-014", (SELLER, 30), text);
        if country(&invoice.buyer) != "DK" {
            return;
        }
        let negative = invoice.kind == DocumentKind::CreditNote && invoice.totals.due.is_negative();
        let text = "For Danish Suppliers, a Credit note cannot have a negative total (PayableAmount)";
        self.fatal(!negative, "DK-R-016", (Group::Totals, 115), text);
        let text = "For Danish Suppliers it is mandatory to use schemeID when PartyIdentification/ID is used for \
                    AccountingCustomerParty or AccountingSupplierParty";
        for (party, at) in [(&invoice.seller, (SELLER, 29)), (&invoice.buyer, (BUYER, 46))] {
            self.fatal(party.identifiers.iter().all(|id| id.scheme().is_some()), "DK-R-013", at, text);
        }
        if invoice.kind == DocumentKind::Invoice {
            self.danish_payment();
        }
    }

    fn danish_payment(&mut self) {
        let code = self.means_code().unwrap_or_default().to_owned();
        let allowed = ["1", "10", "31", "42", "48", "49", "50", "58", "59", "93", "97"];
        let text = "For Danish suppliers the following Payment means codes are allowed: 1, 10, 31, 42, 48, 49, 50, 58, \
                    59, 93 and 97";
        self.fatal(allowed.contains(&code.as_str()), "DK-R-005", (Group::Payment, 81), text);
        let means = self.invoice.payment.as_ref().and_then(|payment| payment.means.as_ref());
        let accounts = match means {
            Some(PaymentMeans::CreditTransfer(accounts)) => accounts.as_slice(),
            _ => &[],
        };
        let complete = !accounts.is_empty()
            && accounts.iter().all(|a| is_given(&a.account_identifier) && is_given(&a.provider_identifier));
        let holds = !matches!(code.as_str(), "31" | "42") || complete;
        let text = "For Danish suppliers bank account and registration account is mandatory if payment means is 31 or 42";
        self.fatal(holds, "DK-R-006", (Group::Payment, 84), text);
        let mandated = match means {
            Some(PaymentMeans::DirectDebit(d)) => {
                is_given(&d.mandate_reference) && is_given(&d.debited_account)
            }
            _ => false,
        };
        let text = "For Danish suppliers PaymentMandate/ID and PayerFinancialAccount/ID are mandatory when payment \
                    means is 49";
        self.fatal(code != "49" || mandated, "DK-R-007", (Group::Payment, 89), text);
    }

    fn italy(&mut self) {
        let seller = &self.invoice.seller;
        let number = seller.tax_registration.as_deref().map(str::trim);
        let fits = |number: &str| {
            (11..=16).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        };
        let text = "BT-32 (Seller tax registration identifier) - For Italian suppliers BT-32 minimum length 11 and \
                    maximum length shall be 16.";
        self.fatal(number.is_none_or(fits), "IT-R-001", (SELLER, 32), text);
        let address = &seller.address;
        let text = "BT-35 (Seller address line 1) - Italian suppliers MUST provide the postal address line 1";
        self.fatal(is_given(&address.line1), "IT-R-002", (SELLER, 35), text);
        let text = "BT-37 (Seller city) - Italian suppliers MUST provide the postal address city";
        self.fatal(is_given(&address.city), "IT-R-003", (SELLER, 37), text);
        let text = "BT-38 (Seller post code) - Italian suppliers MUST provide the postal address post code";
        self.fatal(is_given(&address.post_code), "IT-R-004", (SELLER, 38), text);
    }

    fn sweden(&mut self) {
        let seller = &self.invoice.seller;
        let vat = seller.vat_identifier.as_deref().map(str::trim).and_then(|n| n.strip_prefix("SE"));
        if let Some(digits) = vat {
            let text = "For Swedish suppliers, Swedish VAT-numbers must consist of 14 characters.";
            self.fatal(digits.len() == 12, "SE-R-001", (SELLER, 31), text);
            let text = "For Swedish suppliers, the Swedish VAT-numbers must have the trailing 12 characters in numeric form";
            self.fatal(numbers::is_digits(digits), "SE-R-002", (SELLER, 31), text);
            self.swedish_rates();
        }
        let Some(legal) = &seller.legal_registration else { return };
        let number = legal.content().trim();
        let text = "Swedish organisation numbers should be numeric.";
        self.warn(numbers::is_digits(number), "SE-R-003", (SELLER, 30), text);
        let text = "Swedish organisation numbers consist of 10 characters.";
        self.warn(number.chars().count() == 10, "SE-R-004", (SELLER, 30), text);
        let text =
            "The last digit of a Swedish organization number must be valid according to the Luhn algorithm.";
        self.warn(numbers::luhn(number), "SE-R-013", (SELLER, 30), text);
        let stated = seller.tax_registration.as_deref().map(|text| text.trim().to_uppercase());
        let text = "For Swedish suppliers, when using Seller tax registration identifier, 'Godkänd för F-skatt' must \
                    be stated";
        self.fatal(stated.is_none_or(|s| s == "GODKÄND FÖR F-SKATT"), "SE-R-005", (SELLER, 32), text);
    }

    fn swedish_rates(&mut self) {
        let rates = self.invoice.vat_breakdown.iter().filter(|group| group.category.as_str() == "S");
        let legal = |rate: Decimal| [25, 12, 6].iter().any(|legal| rate == Decimal::from(*legal));
        let holds = rates.filter_map(|group| group.rate).all(|rate| legal(rate.into_decimal()));
        let text = "For Swedish suppliers, only standard VAT rate of 6, 12 or 25 are used";
        self.fatal(holds, "SE-R-006", (Group::VatBreakdown, 119), text);
    }

    fn greece(&mut self) {
        let invoice = self.invoice;
        self.greek_number(invoice.number.as_deref().unwrap_or_default());
        let seller = &invoice.seller;
        let text = "Greek Suppliers must provide their full name as they are registered in the Greek Business Registry \
                    (G.E.MH.) as a legal entity or in the Tax Registry as a natural person";
        self.fatal(is_given(&seller.trading_name), "GR-R-002", (SELLER, 28), text);
        let is_greek = |number: &str| number.strip_prefix("EL").is_some_and(numbers::greek_tin);
        let text = "For the Greek Suppliers, the VAT must start with 'EL' and must be a valid TIN number";
        self.fatal(seller.vat_identifier.as_deref().is_none_or(is_greek), "GR-R-003", (SELLER, 31), text);
        if country(seller) == "GR" {
            let marks = |name: &str| {
                invoice.attachments.iter().filter(|a| a.description.as_deref() == Some(name)).count()
            };
            let text = "When Supplier is Greek, there must be one MARK Number";
            self.fatal(marks("##M.AR.K##") == 1, "GR-R-004-1", (Group::Attachment, 0), text);
            let text = "When Supplier is Greek, there should be no more than one invoice url";
            self.fatal(marks("##INVOICE|URL##") <= 1, "GR-R-008-2", (Group::Attachment, 0), text);
        }
        let text = "Greek Suppliers must provide the full name of the buyer";
        self.fatal(is_given(&invoice.buyer.trading_name), "GR-R-005", (BUYER, 45), text);
        let endpoint = |party: &Party| {
            party
                .electronic_address
                .as_ref()
                .is_none_or(|id| id.scheme() == Some("9933") && numbers::greek_tin(id.content()))
        };
        let text = "Greek suppliers that send an invoice through the PEPPOL network must use a correct TIN number as \
                    an electronic address (schemeID 9933).";
        self.fatal(endpoint(seller), "GR-R-009", (SELLER, 34), text);
        if matches!(territory(&invoice.buyer).as_deref(), Some("GR" | "EL")) {
            let text = "Greek Suppliers must provide the VAT number of the buyer, if the buyer is Greek";
            let holds = invoice.buyer.vat_identifier.as_deref().is_some_and(is_greek);
            self.fatal(holds, "GR-R-006", (BUYER, 48), text);
            let text = "Greek Suppliers that send an invoice through the PEPPOL network to a greek buyer must use a \
                        correct TIN number as an electronic address (SchemeID 9933)";
            self.fatal(endpoint(&invoice.buyer), "GR-R-010", (BUYER, 49), text);
        }
    }

    /// `TIN|DD/MM/YYYY|branch|type|series|number`.
    fn greek_number(&mut self, number: &str) {
        let at = (Group::Document, 1);
        let segments: Vec<&str> = number.split('|').collect();
        let text = "When the Supplier is Greek, the Invoice Id should consist of 6 segments";
        self.fatal(segments.len() == 6, "GR-R-001-1", at, text);
        let [tin, day, branch, document_type, series, running] = segments.as_slice() else { return };
        let own = self.invoice.seller.vat_identifier.as_deref().and_then(|number| number.get(2..));
        let text = "When the Supplier is Greek, the Invoice Id first segment must be a valid TIN Number and match \
                    either the Supplier's or the Tax Representative's Tin Number";
        self.fatal(numbers::greek_tin(tin) && own == Some(tin), "GR-R-001-2", at, text);
        let issued =
            self.invoice.issue_date.map(|d| format!("{:02}/{:02}/{:04}", d.day(), d.month(), d.year()));
        let text = "When the Supplier is Greek, the Invoice Id second segment must be a valid Date that matches the \
                    invoice Issue Date";
        self.fatal(issued.as_deref() == Some(day), "GR-R-001-3", at, text);
        let text = "When Supplier is Greek, the Invoice Id third segment must be a positive integer";
        self.fatal(numbers::is_digits(branch), "GR-R-001-4", at, text);
        let known = ["1.1", "1.6", "2.1", "2.4", "5.1", "5.2"].contains(document_type);
        let text = "When Supplier is Greek, the Invoice Id in the fourth segment must be a valid greek document type";
        self.fatal(known, "GR-R-001-5", at, text);
        let text = "When Supplier is Greek, the Invoice Id fifth segment must not be empty";
        self.fatal(!series.is_empty(), "GR-R-001-6", at, text);
        let text = "When Supplier is Greek, the Invoice Id sixth segment must not be empty";
        self.fatal(!running.is_empty(), "GR-R-001-7", at, text);
    }

    fn iceland(&mut self) {
        let invoice = self.invoice;
        let has_id =
            |party: &Party| party.legal_registration.as_ref().is_some_and(|id| id.scheme() == Some("0196"));
        let located = |party: &Party| is_given(&party.address.line1) && is_given(&party.address.post_code);
        let type_code = invoice.type_code.as_ref().map_or("", Code::as_str);
        let text = "If seller is icelandic then invoice type should be 380 or 381";
        self.warn(matches!(type_code, "380" | "381"), "IS-R-001", (Group::Document, 3), text);
        let text = "If seller is icelandic then it shall contain sellers legal id";
        self.fatal(has_id(&invoice.seller), "IS-R-002", (SELLER, 30), text);
        let text = "If seller is icelandic then it shall contain his address with street name and zip code";
        self.fatal(located(&invoice.seller), "IS-R-003", (SELLER, 35), text);
        if country(&invoice.buyer) == "IS" {
            let text = "If seller and buyer are icelandic then the invoice shall contain the buyers icelandic legal identifier";
            self.fatal(has_id(&invoice.buyer), "IS-R-004", (BUYER, 47), text);
            let text = "If seller and buyer are icelandic then the invoice shall contain the buyers address with \
                        street name and zip code";
            self.fatal(located(&invoice.buyer), "IS-R-005", (BUYER, 50), text);
        }
    }

    fn netherlands(&mut self) {
        let invoice = self.invoice;
        let referenced = invoice.kind == DocumentKind::Invoice || !invoice.preceding_invoices.is_empty();
        let text = "For suppliers in the Netherlands, if the document is a creditnote, the document MUST contain an \
                    invoice reference (cac:BillingReference/cac:InvoiceDocumentReference/cbc:ID)";
        self.fatal(referenced, "NL-R-001", (Group::Document, 25), text);
        let text = "For suppliers in the Netherlands the supplier's address MUST contain street name, city and post code";
        self.fatal(has_full_address(&invoice.seller.address), "NL-R-002", (SELLER, 35), text);
        let official = |party: &Party| {
            party.legal_registration.as_ref().is_none_or(|id| matches!(id.scheme(), Some("0106" | "0190")))
        };
        let text = "For suppliers in the Netherlands, the legal entity identifier MUST be either a KVK or OIN number \
                    (schemeID 0106 or 0190)";
        self.fatal(official(&invoice.seller), "NL-R-003", (SELLER, 30), text);
        let is_charged = invoice.kind == DocumentKind::Invoice && invoice.totals.due.is_positive()
            || invoice.kind == DocumentKind::CreditNote && invoice.totals.due.is_negative();
        let text = "For suppliers in the Netherlands, the supplier MUST provide a means of payment \
                    (cac:PaymentMeans) if the payment is from customer to supplier";
        self.fatal(!is_charged || invoice.payment.is_some(), "NL-R-007", (Group::Payment, 81), text);
        if country(&invoice.buyer) != "NL" {
            return;
        }
        let text = "For suppliers in the Netherlands, if the customer is in the Netherlands, the customer address MUST \
                    contain the street name, the city and post code";
        self.fatal(has_full_address(&invoice.buyer.address), "NL-R-004", (BUYER, 50), text);
        let text = "For suppliers in the Netherlands, if the customer is in the Netherlands, the customer's legal \
                    entity identifier MUST be either a KVK or OIN number (schemeID 0106 or 0190)";
        self.fatal(official(&invoice.buyer), "NL-R-005", (BUYER, 47), text);
        let allowed =
            self.means_code().is_none_or(|code| matches!(code, "30" | "48" | "49" | "57" | "58" | "59"));
        let text = "For suppliers in the Netherlands, if the customer is in the Netherlands, the payment means code \
                    MUST be one of 30, 48, 49, 57, 58 or 59";
        self.fatal(allowed, "NL-R-008", (Group::Payment, 81), text);
        let ordered = invoice.purchase_order_reference.is_some()
            || invoice.lines.iter().all(|line| line.order_line_reference.is_none());
        let text = "For suppliers in the Netherlands, if an order line reference is used, there must be an order \
                    reference on the document level (cac:OrderReference/cbc:ID)";
        self.fatal(ordered, "NL-R-009", (Group::Document, 13), text);
    }
}
