//! What a test begins with, made through the API as an operator and a tenant would make it.
use crate::app::TestApp;
use serde_json::{Value, json};
use uuid::Uuid;

/// A partner that can sell: a Dutch company.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Its id.
    pub id: String,
}

/// A tenant with a billing profile, and tokens of two of its users.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its partner.
    pub partner: String,
    /// Token of a tenant_admin.
    pub admin: String,
    /// Token of a tenant_member.
    pub member: String,
}

/// A service with the metrics `api_calls` (sum) and `storage_gb` (max), and a client that acts for it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its id.
    pub id: Uuid,
    /// Its slug.
    pub slug: String,
    /// Token of its service account.
    pub token: String,
}

/// A plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its id.
    pub id: Uuid,
    /// `<service>.<slug>`.
    pub key: String,
}

/// A partner with everything that an invoice says of its seller; nothing happens when it is there.
pub async fn partner(app: &TestApp, id: &str) -> Partner {
    let seller = json!({
        "name": format!("Partner {id}"), "legal_name": "Noord Software B.V.", "seller_address_line1": "Keizersgracht 12",
        "seller_postal_code": "1015 CN", "seller_city": "Amsterdam", "seller_country_code": "NL",
        "seller_vat_number": "NL123456782B90", "seller_registration_number": "34123456",
        "seller_email": "billing@example.com", "seller_iban": "NL91ABNA0417164300", "timezone": "Europe/Amsterdam",
    });
    let operator = app.operator("super_admin");
    let mut created = seller.clone();
    created["partner_id"] = json!(id);
    let answer = app.call("POST", "/api/v1/admin/partners").token(&operator).json(&created).send().await;
    if answer.status == 409 {
        let path = format!("/api/v1/admin/partners/{id}");
        app.call("PATCH", &path).token(&operator).json(&seller).send().await.expect(200);
    } else {
        answer.expect(201);
    }
    Partner { id: id.to_owned() }
}

/// A tenant: a Dutch business, known from the token of its first user. Its partner is made when it is not there.
pub async fn tenant(app: &TestApp, id: &str, partner_id: &str) -> Tenant {
    partner(app, partner_id).await;
    let tenant = Tenant {
        id: id.to_owned(),
        partner: partner_id.to_owned(),
        admin: app.token("tenant_admin", id, partner_id),
        member: app.token("tenant_member", id, partner_id),
    };
    let profile = json!({
        "company_name": format!("Customer {id} B.V."), "address_line1": "Coolsingel 40", "postal_code": "3011 AD",
        "city": "Rotterdam", "country_code": "NL", "is_business": true, "contact_email": "finance@example.com",
    });
    app.call("PUT", "/api/v1/billing/billing-profile")
        .token(&tenant.admin)
        .json(&profile)
        .send()
        .await
        .expect(200);
    tenant
}

/// An active service.
pub async fn service(app: &TestApp, slug: &str) -> Service {
    let metric = |slug: &str, unit: &str, aggregation: &str| json!({"slug": slug, "name": slug, "unit": unit, "aggregation": aggregation});
    let asked = json!({
        "slug": slug, "name": slug.to_uppercase(),
        "metrics": [metric("api_calls", "call", "sum"), metric("storage_gb", "GB", "max")],
    });
    let operator = app.operator("super_admin");
    let answer =
        app.call("POST", "/api/v1/admin/catalog/services").token(&operator).json(&asked).send().await;
    let id: Uuid = id_of(&answer.data(201));
    let client_id = format!("client-{slug}");
    // A service account is bound to its slug by registering it.
    let bind = "UPDATE services SET client_id = $1 WHERE service_id = $2";
    app.db().await.execute(bind, &[&client_id, &id]).await.expect("bound");
    app.control().identity.forget();
    Service { id, slug: slug.to_owned(), token: app.service_token(&client_id) }
}

/// A monthly plan in euros without a trial.
pub async fn plan(app: &TestApp, service: &Service, slug: &str, base_price_cents: i64) -> Plan {
    plan_with(app, service, slug, json!({"base_price_cents": base_price_cents})).await
}

/// A plan with some fields of its own.
pub async fn plan_with(app: &TestApp, service: &Service, slug: &str, fields: Value) -> Plan {
    let mut asked = json!({
        "service_id": service.id, "slug": slug, "name": slug.to_uppercase(), "billing_period": "monthly",
        "base_price_cents": 4900, "currency": "EUR",
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        asked[name] = value.clone();
    }
    let operator = app.operator("super_admin");
    let answer = app.call("POST", "/api/v1/admin/catalog/plans").token(&operator).json(&asked).send().await;
    Plan { id: id_of(&answer.data(201)), key: format!("{}.{slug}", service.slug) }
}

/// Prices of usage for a plan, from now on.
pub async fn tiers(app: &TestApp, plan: &Plan, tiers: &Value) {
    let operator = app.operator("super_admin");
    let path = format!("/api/v1/admin/catalog/plans/{}/pricing-tiers", plan.id);
    app.call("PUT", &path).token(&operator).json(tiers).send().await.expect(200);
}

/// Nobody is dunned for years: for tests that let time pass and pay nothing.
pub async fn patience(app: &TestApp) {
    let settings = r#"UPDATE platform_settings SET data = data || '{"payment_terms_days": 3000, "dunning": {"suspend_after_days": 3000}}'"#;
    app.db().await.batch_execute(settings).await.expect("settings");
}

/// A subscription of a tenant; answers its id.
pub async fn subscription(app: &TestApp, tenant: &Tenant, plan: &Plan, quantity: u32) -> Uuid {
    let asked = json!({"plan_id": plan.id, "quantity": quantity});
    let answer = app.call("POST", "/api/v1/subscriptions").token(&tenant.admin).json(&asked).send().await;
    id_of(&answer.data(201))
}

/// A monthly pack at that price, of one new plan of the service; answers its id.
pub async fn pack(app: &TestApp, slug: &str, service: &Service, base_price_cents: i64) -> Uuid {
    let plan = plan(app, service, slug, base_price_cents).await;
    let asked = json!({
        "slug": slug, "name": slug.to_uppercase(), "billing_period": "monthly", "currency": "EUR",
        "discount_type": "fixed_price", "base_price_cents": base_price_cents,
        "items": [{"service_id": service.id, "plan_id": plan.id}],
    });
    let operator = app.operator("super_admin");
    id_of(
        &app.call("POST", "/api/v1/admin/service-packs").token(&operator).json(&asked).send().await.data(201),
    )
}

/// A draft invoice of one line; answers its id.
pub async fn draft(app: &TestApp, token: &str, tenant: &Tenant, unit_price_cents: &str) -> Uuid {
    let asked = json!({
        "tenant_id": tenant.id, "currency": "EUR",
        "line_items": [{"description": "Consulting", "quantity": "1", "unit_price_cents": unit_price_cents}],
    });
    let answer = app.call("POST", "/api/v1/admin/invoices").token(token).json(&asked).send().await;
    id_of(&answer.data(201))
}

/// The `id` of something.
pub fn id_of(data: &Value) -> Uuid {
    data["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no id in {data}"))
}
