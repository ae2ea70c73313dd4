//! The VAT of an invoice, decided when it is finalized: from the places of both parties, what the profile says, and what a
//! line asks for; and everything for which it cannot be issued.
use crate::admin_billing::{INVOICES, changed, create, line, start};
use crate::support::{cents, finalize, get, uuid, verified};
use scaicontrol_tests::TestApp;
use scaicontrol_tests::given::{self, Tenant};
use serde_json::{Value, json};

/// Seller and buyer of a VAT case, as they differ from the Dutch ones.
async fn parties(app: &TestApp, tenant: &Tenant, seller: &Value, buyer: &Value) {
    let operator = app.operator("super_admin");
    let path = format!("/api/v1/admin/partners/{}", tenant.partner);
    let base = json!({
        "seller_country_code": "NL", "seller_postal_code": "1015 CN", "seller_vat_number": "NL123456782B90",
        "seller_tax_number": null, "small_business_note": null, "oss_registered": false,
    });
    app.call("PATCH", &path).token(&operator).json(&changed(base, seller)).send().await.expect(200);
    let path = format!("/api/v1/admin/tenants/{}/billing-profile", tenant.id);
    let base = json!({
        "company_name": "Buyer", "address_line1": "Street 1", "postal_code": "10115", "city": "City", "country_code": "NL",
        "is_business": true, "tax_exempt": false, "reason": "case",
    });
    app.call("PUT", &path).token(&operator).json(&changed(base, buyer)).send().await.expect(200);
}

/// What becomes of a line of 100.00: category, rate, tax in cents, and what the document says.
#[derive(Clone, Copy, Debug)]
struct Vat {
    category: &'static str,
    rate: Option<&'static str>,
    tax: i64,
    treatment: &'static str,
    label: &'static str,
    note: Option<&'static str>,
    taxing: Option<&'static str>,
}

const EXPORT: &str = "Export outside the EU - VAT not applicable";
const REVERSE: &str = "Reverse charge - Art. 196 EU VAT Directive";

const fn taxed(
    rate: &'static str,
    tax: i64,
    treatment: &'static str,
    label: &'static str,
    of: &'static str,
) -> Vat {
    Vat { category: "S", rate: Some(rate), tax, treatment, label, note: None, taxing: Some(of) }
}

const fn untaxed(category: &'static str, treatment: &'static str, note: &'static str) -> Vat {
    // A document outside the scope of VAT shows no rate at all.
    let rate = if category.len() == 1 && category.as_bytes()[0] == b'O' { None } else { Some("0") };
    Vat { category, rate, tax: 0, treatment, label: "No VAT", note: Some(note), taxing: None }
}

const DOMESTIC: Vat = taxed("21", 2100, "domestic", "VAT 21.00%", "NL");
const SELLERS: Vat = taxed("21", 2100, "seller_rate", "VAT 21.00%", "NL");
const REVERSED: Vat = Vat { label: "VAT 0% (Reverse Charge)", ..untaxed("AE", "reverse_charge", REVERSE) };
const EXPORTED: Vat = untaxed("G", "export", EXPORT);
const EXPORTED_O: Vat = untaxed("O", "export", EXPORT);

fn vat_cases() -> Vec<(Value, Value, Vat)> {
    let nl = || json!({});
    let oss = || json!({"oss_registered": true});
    let small = || json!({"seller_vat_number": null, "seller_tax_number": "12/345", "small_business_note": "Art. 25"});
    let swiss =
        || json!({"seller_country_code": "CH", "seller_postal_code": "8001", "seller_vat_number": null});
    let consumer = |country: &str| json!({"country_code": country, "is_business": false});
    let business = |country: &str, number: &str| json!({"country_code": country, "vat_number": number});
    let place = |country: &str, code: &str| json!({"country_code": country, "postal_code": code});
    let exempt = || json!({"tax_exempt": true, "tax_exempt_reason": "Art. 151"});
    vec![
        (nl(), business("NL", "NL004495445B01"), DOMESTIC),
        (nl(), consumer("NL"), DOMESTIC),
        (nl(), business("DE", "DE136695976"), REVERSED),
        (nl(), business("GR", "EL094259216"), REVERSED),
        // A business without number, and one with the number of another country, are taxed like consumers.
        (nl(), json!({"country_code": "DE"}), SELLERS),
        (nl(), business("FR", "DE136695976"), SELLERS),
        (nl(), consumer("DE"), SELLERS),
        (oss(), consumer("DE"), taxed("19", 1900, "oss", "VAT 19.00%", "DE")),
        (oss(), consumer("FI"), taxed("25.5", 2550, "oss", "VAT 25.50%", "FI")),
        (oss(), business("DE", "DE136695976"), REVERSED),
        (nl(), consumer("US"), EXPORTED),
        (nl(), business("CH", "CHE123456789MWST"), EXPORTED),
        (small(), consumer("US"), EXPORTED_O),
        (swiss(), consumer("US"), EXPORTED_O),
        (swiss(), json!({"country_code": "NL"}), untaxed("O", "seller_outside_eu", "No VAT")),
        (small(), json!({}), untaxed("E", "small_business", "Art. 25")),
        (nl(), exempt(), untaxed("E", "exempt", "Art. 151")),
        // Where a country's territory and that of its VAT are not the same.
        (nl(), place("ES", "35001"), EXPORTED),
        (nl(), place("ES", "28001"), SELLERS),
        (nl(), place("DE", "78266"), EXPORTED),
        (nl(), consumer("XI"), EXPORTED),
        (nl(), consumer("GP"), EXPORTED),
        (oss(), consumer("MC"), taxed("20", 2000, "oss", "VAT 20.00%", "FR")),
    ]
}

#[tokio::test]
async fn vat_is_decided_in_the_published_order() {
    let (app, admin, tenant) = start().await;
    for (seller, buyer, wanted) in vat_cases() {
        let case = format!("{seller} {buyer}");
        parties(&app, &tenant, &seller, &buyer).await;
        let id = given::draft(&app, &admin, &tenant, "10000").await;
        let issued = finalize(&app, &admin, id).await;
        let (line, vat) = (&issued["line_items"][0], &issued["vat_details"]);
        assert_eq!(line["tax_category"], wanted.category, "{case}: {line}");
        assert_eq!(line["tax_rate"], json!(wanted.rate), "{case}: {line}");
        assert_eq!(cents(&issued["tax_cents"]), wanted.tax, "{case}");
        assert_eq!(vat["treatment"], wanted.treatment, "{case}: {vat}");
        assert_eq!(vat["label"], wanted.label, "{case}: {vat}");
        assert_eq!(vat["note"], json!(wanted.note), "{case}: {vat}");
        assert_eq!(vat["taxing_country"], json!(wanted.taxing), "{case}: {vat}");
        let group = &vat["breakdown"][0];
        assert_eq!(group["tax_category"], wanted.category, "{case}: {vat}");
        let code = match wanted.category {
            "AE" => json!("VATEX-EU-AE"),
            "G" => json!("VATEX-EU-G"),
            "O" => json!("VATEX-EU-O"),
            _ => Value::Null,
        };
        assert_eq!(group["exemption_code"], code, "{case}: {vat}");
    }
    verified(&app).await;
}

#[tokio::test]
async fn the_rate_is_that_of_the_tax_point() {
    let (app, admin, tenant) = start().await;
    let buyer = json!({"country_code": "EE", "is_business": false});
    parties(&app, &tenant, &json!({"oss_registered": true}), &buyer).await;
    // Estonia went from 22 to 24 percent on 1 July 2025.
    for (tax_point, tax) in [(json!("2025-06-30"), 2200), (json!("2025-07-01"), 2400), (Value::Null, 2400)] {
        let lines = json!([line("a", "1", "10000")]);
        let asked = json!({"tenant_id": tenant.id, "currency": "EUR", "tax_point_date": tax_point, "line_items": lines});
        let made = app.call("POST", INVOICES).token(&admin).json(&asked).send().await.data(201);
        let issued = finalize(&app, &admin, uuid(&made["id"])).await;
        assert_eq!(cents(&issued["tax_cents"]), tax, "{tax_point}");
    }
    verified(&app).await;
}

#[tokio::test]
async fn several_rates_agree_to_the_cent() {
    let (app, admin, tenant) = start().await;
    let lines = json!([
        line("standard", "1", "333"),
        line("standard", "1", "333"),
        line("standard", "1", "333"),
        changed(line("reduced", "1", "101"), &json!({"tax_rate": "9"})),
        changed(line("reduced by category", "1", "104"), &json!({"tax_rate": "9", "tax_category": "S"})),
        changed(line("zero", "1", "50"), &json!({"tax_category": "Z"})),
        changed(line("exempt", "1", "7"), &json!({"tax_category": "E"})),
        line("discount", "-1", "10"),
    ]);
    let id = uuid(&create(&app, &admin, &tenant, lines).await["id"]);
    let issued = finalize(&app, &admin, id).await;
    // 989 × 21 % = 207.69, 205 × 9 % = 18.45
    assert_eq!((cents(&issued["subtotal_cents"]), cents(&issued["tax_cents"])), (1251, 226));
    let mut groups: Vec<(String, i64, i64)> = Vec::new();
    for group in issued["vat_details"]["breakdown"].as_array().expect("groups") {
        let name = format!(
            "{} {}",
            group["tax_category"].as_str().unwrap_or_default(),
            group["tax_rate"].as_str().unwrap_or_default()
        );
        groups.push((name, cents(&group["taxable_cents"]), cents(&group["tax_cents"])));
    }
    groups.sort();
    let wanted = [("E 0", 7, 0), ("S 21", 989, 208), ("S 9", 205, 18), ("Z 0", 50, 0)];
    assert_eq!(groups, wanted.map(|(name, base, tax)| (name.to_owned(), base, tax)));
    let db = app.db().await;
    let rows = db
        .query("SELECT account, amount_cents FROM ledger_entries WHERE account LIKE 'vat:%' ORDER BY 1", &[])
        .await;
    let posted: Vec<(String, i64)> = rows.expect("entries").iter().map(|r| (r.get(0), r.get(1))).collect();
    assert_eq!(posted, [("vat:NL:21:domestic".to_owned(), -208), ("vat:NL:9:domestic".to_owned(), -18)]);
    verified(&app).await;
}

#[tokio::test]
async fn what_cannot_be_issued_stays_a_draft() {
    let (app, admin, tenant) = start().await;
    let operator = app.operator("super_admin");
    let seller = format!("/api/v1/admin/partners/{}", tenant.partner);
    let refused = async |lines: Value, more: Value| {
        let asked = changed(json!({"tenant_id": tenant.id, "currency": "EUR", "line_items": lines}), &more);
        let id = uuid(&app.call("POST", INVOICES).token(&admin).json(&asked).send().await.data(201)["id"]);
        let refusal =
            app.call("POST", &format!("{INVOICES}/{id}/finalize")).token(&admin).send().await.refused(400);
        let draft = get(&app, &admin, id).await;
        assert_eq!((&draft["status"], &draft["number"]), (&json!("draft"), &Value::Null));
        refusal
    };
    let one = || json!([line("a", "1", "100")]);

    // The seller, field by field, all of them named.
    let fields =
        ["legal_name", "seller_address_line1", "seller_postal_code", "seller_city", "seller_country_code"];
    let none: Value =
        fields.iter().map(|f| ((*f).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>().into();
    let was = app.call("GET", &seller).token(&operator).send().await.data(200);
    app.call("PATCH", &seller).token(&operator).json(&none).send().await.expect(200);
    let refusal = refused(one(), json!({})).await;
    for field in fields {
        refusal.names(&format!("partner.{field}"));
    }
    let again: Value =
        fields.iter().map(|f| ((*f).to_owned(), was[f].clone())).collect::<serde_json::Map<_, _>>().into();
    app.call("PATCH", &seller).token(&operator).json(&again).send().await.expect(200);

    // Dates, sums, rates and categories.
    refused(one(), json!({"due_date": "2026-03-09"})).await.names("due_date");
    refused(json!([line("a", "1", "100"), line("b", "-1", "101")]), json!({})).await.names("line_items");
    refused(
        json!([line("a", "1", "100"), changed(line("b", "1", "1"), &json!({"tax_rate": "20"}))]),
        json!({}),
    )
    .await
    .names("line_items.1.tax_rate");
    refused(
        json!([line("a", "1", "100"), changed(line("b", "1", "1"), &json!({"tax_category": "O"}))]),
        json!({}),
    )
    .await
    .names("line_items.1.tax_category");
    let reverse = json!([changed(line("a", "1", "100"), &json!({"tax_category": "AE"}))]);
    let refusal = refused(reverse.clone(), json!({})).await;
    refusal.names("billing_profile.vat_number").names("billing_profile.country_code");
    refused(one(), json!({"tax_point_date": "1999-01-01"})).await.names("tax_point_date");
    // Tax is stated in the currency of the state too; no rate of the dollar is known.
    refused(one(), json!({"currency": "USD"})).await.names("exchange_rate");

    // A seller without VAT number.
    parties(&app, &tenant, &json!({"seller_vat_number": null}), &json!({})).await;
    refused(one(), json!({})).await.names("partner.seller_vat_number").names("partner.seller_tax_number");
    parties(&app, &tenant, &json!({"seller_vat_number": null, "seller_tax_number": "12/345"}), &json!({}))
        .await;
    refused(one(), json!({})).await.names("partner.small_business_note");
    let small =
        json!({"seller_vat_number": null, "seller_tax_number": "12/345", "small_business_note": "Art. 25"});
    parties(&app, &tenant, &small, &json!({"country_code": "DE", "vat_number": "DE136695976"})).await;
    refused(reverse, json!({})).await.names("partner.seller_vat_number");

    // A buyer who wants XRechnung needs a seller that can be asked.
    let wants = json!({"preferred_einvoice_format": "xrechnung", "buyer_reference": "PO 7", "contact_email": "a@example.com"});
    parties(&app, &tenant, &json!({"seller_email": null}), &wants).await;
    let refusal = refused(one(), json!({})).await;
    refusal.names("partner.seller_contact_name").names("partner.seller_phone").names("partner.seller_email");

    // No number was used by any of it.
    let counted =
        app.db().await.query_one("SELECT count(*) FROM invoice_counters", &[]).await.expect("a count");
    assert_eq!(counted.get::<_, i64>(0), 0);
    verified(&app).await;
}
