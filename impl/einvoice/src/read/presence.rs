//! Owns the rules that something must be there, for documents that are read.
//!
//! In the model a quantity or an amount always is: one that the XML lacks reads as 0, and a tax category without its
//! scheme reads as one of VAT. So these rules look at the XML itself, each under its official id.

use std::collections::BTreeSet;

use en16931::Profile as RuleSet;
use roxmltree::{Document, Node};

use super::scan;
use crate::rules;
use crate::violation::{Severity, Violation};

/// In every element whose path ends with `context`, the steps of `wanted` lead to something.
struct Wanted {
    rule: &'static str,
    context: &'static [&'static str],
    /// Names of elements; `VAT ` before one: only where it is of VAT.
    wanted: &'static [&'static str],
    text: &'static str,
}

const fn want(
    rule: &'static str,
    context: &'static [&'static str],
    wanted: &'static [&'static str],
    text: &'static str,
) -> Wanted {
    Wanted { rule, context, wanted, text }
}

const SUMS: &[&str] = &["LegalMonetaryTotal"];
const HEADER_SUMS: &[&str] = &["SpecifiedTradeSettlementHeaderMonetarySummation"];
const LINE: &[&str] = &["InvoiceLine"];
const NOTE_LINE: &[&str] = &["CreditNoteLine"];
const TRADE_LINE: &[&str] = &["IncludedSupplyChainTradeLineItem"];
const SUBTOTAL: &[&str] = &["TaxSubtotal"];
const HEADER_TAX: &[&str] = &["ApplicableHeaderTradeSettlement", "ApplicableTradeTax"];

const LINE_TOTAL: &str = "An Invoice shall have the Sum of Invoice line net amount (BT-106).";
const TAXABLE: &str = "An Invoice shall have the Invoice total amount without VAT (BT-109).";
const GROSS: &str = "An Invoice shall have the Invoice total amount with VAT (BT-112).";
const DUE: &str = "An Invoice shall have the Amount due for payment (BT-115).";
const QUANTITY: &str = "Each Invoice line (BG-25) shall have an Invoiced quantity (BT-129).";
const NET: &str = "Each Invoice line (BG-25) shall have an Invoice line net amount (BT-131).";
const PRICE: &str = "Each Invoice line (BG-25) shall contain the Item net price (BT-146).";
const BASE: &str = "Each VAT breakdown (BG-23) shall have a VAT category taxable amount (BT-116).";
const TAX: &str = "Each VAT breakdown (BG-23) shall have a VAT category tax amount (BT-117).";
const CATEGORY: &str = "Each VAT breakdown (BG-23) shall be defined through a VAT category code (BT-118).";
const RATE: &str = "Each VAT breakdown (BG-23) shall have a VAT category rate (BT-119), except if the Invoice is not \
                    subject to VAT.";
const LINE_CATEGORY: &str = "Each Invoice line (BG-25) shall be categorized with an Invoiced item VAT category code \
                             (BT-151).";
const REFERENCE: &str =
    "Each Preceding Invoice reference (BG-3) shall contain a Preceding Invoice reference (BT-25).";
const DAY: &[&str] = &["DateTimeString"];
const PERIOD: &str = "If both period start date and period end date are given then the end date shall be later or equal \
                      to the start date.";
const SELLER_SCHEME: &str = "The Seller electronic address (BT-34) shall have a Scheme identifier.";
const BUYER_SCHEME: &str = "The Buyer electronic address (BT-49) shall have a Scheme identifier.";

const WANTED: &[Wanted] = &[
    want("BR-12", SUMS, &["LineExtensionAmount"], LINE_TOTAL),
    want("BR-13", SUMS, &["TaxExclusiveAmount"], TAXABLE),
    want("BR-14", SUMS, &["TaxInclusiveAmount"], GROSS),
    want("BR-15", SUMS, &["PayableAmount"], DUE),
    want("BR-22", LINE, &["InvoicedQuantity"], QUANTITY),
    want("BR-22", NOTE_LINE, &["CreditedQuantity"], QUANTITY),
    want("BR-24", LINE, &["LineExtensionAmount"], NET),
    want("BR-24", NOTE_LINE, &["LineExtensionAmount"], NET),
    want("BR-26", LINE, &["Price", "PriceAmount"], PRICE),
    want("BR-26", NOTE_LINE, &["Price", "PriceAmount"], PRICE),
    want("BR-CO-04", LINE, &["Item", "VAT ClassifiedTaxCategory", "ID"], LINE_CATEGORY),
    want("BR-CO-04", NOTE_LINE, &["Item", "VAT ClassifiedTaxCategory", "ID"], LINE_CATEGORY),
    want("BR-45", SUBTOTAL, &["TaxableAmount"], BASE),
    want("BR-46", SUBTOTAL, &["TaxAmount"], TAX),
    want("BR-47", SUBTOTAL, &["VAT TaxCategory", "ID"], CATEGORY),
    want("BR-48", SUBTOTAL, &["VAT TaxCategory", "Percent"], RATE),
    want("BR-55", &["BillingReference"], &["InvoiceDocumentReference", "ID"], REFERENCE),
    want("BR-12", HEADER_SUMS, &["LineTotalAmount"], LINE_TOTAL),
    want("BR-13", HEADER_SUMS, &["TaxBasisTotalAmount"], TAXABLE),
    want("BR-14", HEADER_SUMS, &["GrandTotalAmount"], GROSS),
    want("BR-15", HEADER_SUMS, &["DuePayableAmount"], DUE),
    want("BR-22", TRADE_LINE, &["SpecifiedLineTradeDelivery", "BilledQuantity"], QUANTITY),
    want(
        "BR-24",
        TRADE_LINE,
        &["SpecifiedLineTradeSettlement", "SpecifiedTradeSettlementLineMonetarySummation", "LineTotalAmount"],
        NET,
    ),
    want(
        "BR-26",
        TRADE_LINE,
        &["SpecifiedLineTradeAgreement", "NetPriceProductTradePrice", "ChargeAmount"],
        PRICE,
    ),
    want(
        "BR-CO-04",
        TRADE_LINE,
        &["SpecifiedLineTradeSettlement", "VAT ApplicableTradeTax", "CategoryCode"],
        LINE_CATEGORY,
    ),
    want("BR-45", HEADER_TAX, &["BasisAmount"], BASE),
    want("BR-46", HEADER_TAX, &["CalculatedAmount"], TAX),
    want(
        "BR-55",
        &["ApplicableHeaderTradeSettlement", "InvoiceReferencedDocument"],
        &["IssuerAssignedID"],
        REFERENCE,
    ),
    want(
        "BR-29",
        &["ApplicableHeaderTradeSettlement", "BillingSpecifiedPeriod", "StartDateTime"],
        DAY,
        PERIOD,
    ),
    want("BR-29", &["ApplicableHeaderTradeSettlement", "BillingSpecifiedPeriod", "EndDateTime"], DAY, PERIOD),
    want("BR-30", &["SpecifiedLineTradeSettlement", "BillingSpecifiedPeriod", "StartDateTime"], DAY, PERIOD),
    want("BR-30", &["SpecifiedLineTradeSettlement", "BillingSpecifiedPeriod", "EndDateTime"], DAY, PERIOD),
    want("BR-62", &["SellerTradeParty", "URIUniversalCommunication"], &["URIID"], SELLER_SCHEME),
    want("BR-63", &["BuyerTradeParty", "URIUniversalCommunication"], &["URIID"], BUYER_SCHEME),
];

/// Amounts of allowances and charges: by context, the rule of an allowance, that of a charge, the name of the amount.
const ADJUSTMENTS: &[(&[&str], [&str; 2], &str)] = &[
    (&["InvoiceLine", "AllowanceCharge"], ["BR-41", "BR-43"], "Amount"),
    (&["CreditNoteLine", "AllowanceCharge"], ["BR-41", "BR-43"], "Amount"),
    (&["Invoice", "AllowanceCharge"], ["BR-31", "BR-36"], "Amount"),
    (&["CreditNote", "AllowanceCharge"], ["BR-31", "BR-36"], "Amount"),
    (&["SpecifiedLineTradeSettlement", "SpecifiedTradeAllowanceCharge"], ["BR-41", "BR-43"], "ActualAmount"),
    (
        &["ApplicableHeaderTradeSettlement", "SpecifiedTradeAllowanceCharge"],
        ["BR-31", "BR-36"],
        "ActualAmount",
    ),
];

/// Adds what is missing and not reported yet, at most `max` times.
pub(super) fn check(xml: &[u8], rules: &'static RuleSet, max: usize, found: &mut Vec<Violation>) {
    // Lesser profiles of Factur-X lack most of this, rightly.
    if !rules.is_en16931_invoice() {
        return;
    }
    let text = scan::as_utf8(xml);
    let Ok(text) = std::str::from_utf8(&text) else { return };
    // The reader parsed it before; a byte order mark is not part of the text.
    let Ok(document) = Document::parse(text.trim_start_matches('\u{feff}')) else { return };
    let root = document.root_element();
    let mut missing = Vec::new();
    for node in root.descendants().filter(Node::is_element) {
        if max <= missing.len() {
            break;
        }
        wanted(node, &mut missing);
        adjustment(node, &mut missing);
    }
    totals(root, rules, &mut missing);
    let known: BTreeSet<String> = found.iter().map(|violation| violation.rule.clone()).collect();
    missing.retain(|violation| !known.contains(&violation.rule));
    found.append(&mut missing);
}

fn wanted(node: Node<'_, '_>, missing: &mut Vec<Violation>) {
    for row in WANTED.iter().filter(|row| is_in(node, row.context)) {
        // Outside the scope of VAT there is no rate.
        let excused = row.rule == "BR-48"
            && children(node, "TaxCategory")
                .any(|category| is_vat(category) && has_text(category, &["ID"], "O"));
        if !excused && !leads(node, row.wanted) {
            missing.push(violation(row.rule, node, row.text));
        }
    }
    if is_in(node, HEADER_TAX) {
        if !(is_vat(node) && leads(node, &["CategoryCode"])) {
            missing.push(violation("BR-47", node, CATEGORY));
        }
        let rated = leads(node, &["RateApplicablePercent"]) || has_text(node, &["CategoryCode"], "O");
        if !(is_vat(node) && rated) {
            missing.push(violation("BR-48", node, RATE));
        }
    }
}

fn adjustment(node: Node<'_, '_>, missing: &mut Vec<Violation>) {
    for (context, [allowance, charge], amount) in ADJUSTMENTS {
        if is_in(node, context) && !leads(node, &[amount]) {
            let is_charge = has_text(node, &["ChargeIndicator"], "true")
                || has_text(node, &["ChargeIndicator", "Indicator"], "true");
            let (rule, what) = if is_charge { (charge, "charge") } else { (allowance, "allowance") };
            missing.push(violation(rule, node, &format!("Each {what} shall have an amount.")));
        }
    }
}

/// Rules over the document as a whole.
fn totals(root: Node<'_, '_>, rules: &'static RuleSet, missing: &mut Vec<Violation>) {
    let is_cii = root.tag_name().name() == "CrossIndustryInvoice";
    let with = |name: &'static str| ["SupplyChainTradeTransaction", "ApplicableHeaderTradeSettlement", name];
    let sums = "Invoice total amount with VAT (BT-112) = Invoice total amount without VAT (BT-109) + Invoice total VAT \
                amount (BT-110).";
    if is_cii && !leads(root, &with("SpecifiedTradeSettlementHeaderMonetarySummation")) {
        missing.push(violation("BR-CO-15", root, sums));
    }
    let means: &[&str] =
        if is_cii { &with("SpecifiedTradeSettlementPaymentMeans") } else { &["PaymentMeans"] };
    if rules::is_xrechnung(rules) && !leads(root, means) {
        let text = "An invoice shall contain information on \"PAYMENT INSTRUCTIONS\" (BG-16).";
        missing.push(violation("BR-DE-1", root, text));
    }
    if is_cii {
        return;
    }
    let currency =
        children(root, "DocumentCurrencyCode").next().and_then(|node| node.text()).unwrap_or_default();
    let total = || children(root, "TaxTotal");
    let amounts = total().flat_map(|node| children(node, "TaxAmount"));
    if amounts.filter(|amount| amount.attribute("currencyID") == Some(currency.trim())).count() != 1 {
        missing.push(violation("BR-CO-15", root, sums));
    }
    if rules::is_peppol_like(rules) {
        let detailed = total().filter(|node| children(*node, "TaxSubtotal").next().is_some()).count();
        let plain = total().count().saturating_sub(detailed);
        let declared = usize::from(children(root, "TaxCurrencyCode").next().is_some());
        if detailed != 1 {
            let text = "Only one tax total with tax subtotals MUST be provided.";
            missing.push(violation("PEPPOL-EN16931-R053", root, text));
        }
        if plain != declared {
            let text = "Only one tax total without tax subtotals MUST be provided when tax currency code is provided.";
            missing.push(violation("PEPPOL-EN16931-R054", root, text));
        }
    }
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// Whether the path of an element ends so.
fn is_in(node: Node<'_, '_>, context: &[&str]) -> bool {
    let mut at = Some(node);
    context.iter().rev().all(|name| {
        let fits = at.is_some_and(|element| element.tag_name().name() == *name);
        at = at.and_then(|element| element.parent_element());
        fits
    })
}

/// Whether the steps lead to an element with text or elements in it.
fn leads(node: Node<'_, '_>, steps: &[&str]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return node
            .children()
            .any(|child| child.is_element() || child.text().is_some_and(|t| !t.trim().is_empty()));
    };
    match step.strip_prefix("VAT ") {
        Some(name) => children(node, name).filter(|child| is_vat(*child)).any(|child| leads(child, rest)),
        None => children(node, step).any(|child| leads(child, rest)),
    }
}

fn has_text(node: Node<'_, '_>, steps: &[&str], wanted: &str) -> bool {
    match steps.split_first() {
        Some((step, rest)) => children(node, step).any(|child| has_text(child, rest, wanted)),
        None => node.text().is_some_and(|text| text.trim() == wanted),
    }
}

/// Whether a tax is VAT: by its scheme in UBL, by its type in CII.
fn is_vat(node: Node<'_, '_>) -> bool {
    has_text(node, &["TaxScheme", "ID"], "VAT") || has_text(node, &["TypeCode"], "VAT")
}

fn violation(rule: &str, node: Node<'_, '_>, text: &str) -> Violation {
    Violation {
        rule: rule.to_owned(),
        severity: Severity::Fatal,
        place: place(node),
        text: text.to_owned(),
        mend: None,
    }
}

/// The path of an element, with its position among those of its name.
fn place(node: Node<'_, '_>) -> String {
    let name = |node: Node<'_, '_>| {
        let own = node.tag_name().name();
        let before =
            node.prev_siblings().skip(1).filter(|n| n.is_element() && n.tag_name().name() == own).count();
        format!("/{own}[{}]", before.saturating_add(1))
    };
    let mut parts: Vec<String> = node.ancestors().filter(Node::is_element).map(name).collect();
    parts.reverse();
    parts.concat()
}
