//! What there is on the first day: sellers in several countries and timezones, tenants of every VAT kind, and services
//! with plans and packs of all prices.
use crate::api::Api;
use crate::{Options, Outcome};
use rand::Rng;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::{Value, json};

/// A tenant, with what it takes to act for it.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// A token of its administrator.
    pub token: String,
    /// Its billing profile.
    pub profile: Value,
    /// Days after the date of an invoice on which it usually pays.
    pub pays_after: u32,
}

/// A service that meters.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its slug.
    pub slug: &'static str,
    /// A token of its account.
    pub token: String,
    /// Its plans.
    pub plans: Vec<Plan>,
}

/// A plan on offer.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its id.
    pub id: String,
    /// `<service>.<plan>`
    pub key: String,
    /// Its price now, in cents.
    pub price_cents: i64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct World {
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// The services.
    pub services: Vec<Service>,
    /// Slugs of the packs.
    pub packs: Vec<String>,
}

/// Metrics of every service: slug, and how its events are summed up.
pub const METRICS: [(&str, &str); 4] =
    [("calls", "sum"), ("peak", "max"), ("level", "last"), ("people", "unique_count")];

const SERVICES: [&str; 3] = ["anvil", "bellows", "crucible"];

/// Partner, country, timezone, VAT number, address, postal code, city, IBAN.
type Seller = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
    &'static str,
);

const SELLERS: [Seller; 4] = [
    ("prt_ams", "NL", "Europe/Amsterdam", Some("NL004495445B01"), "Keizersgracht 1", "1015 CJ", "Amsterdam"),
    ("prt_ber", "DE", "Europe/Berlin", Some("DE136695976"), "Unter den Linden 5", "10117", "Berlin"),
    ("prt_nyc", "US", "America/New_York", None, "350 Fifth Avenue", "10118", "New York"),
    ("prt_kir", "NZ", "Pacific/Kiritimati", None, "1 Queen Street", "1010", "Auckland"),
];

/// Kind, country, VAT number, business, postal code, city, format of e-invoices.
type Buyer = (&'static str, Option<&'static str>, bool, &'static str, &'static str, Option<&'static str>);

const BUYERS: [Buyer; 9] = [
    ("NL", None, true, "3511 ED", "Utrecht", Some("ubl")),
    ("NL", None, false, "3511 ED", "Utrecht", None),
    ("FR", Some("FR40303265045"), true, "75002", "Paris", Some("facturx")),
    ("DE", Some("DE136695976"), true, "10117", "Berlin", Some("cii")),
    ("DE", None, false, "20095", "Hamburg", None),
    ("ES", None, false, "28013", "Madrid", None),
    ("CH", None, true, "8001", "Zürich", None),
    ("US", None, false, "94105", "San Francisco", None),
    ("GB", None, true, "EC1A 1BB", "London", Some("ubl")),
];

impl World {
    /// Makes it.
    pub async fn make(api: &mut Api, rng: &mut StdRng, options: &Options) -> Outcome<World> {
        let admin = api.admin.clone();
        for (id, country, timezone, vat_number, address, postal_code, city) in SELLERS {
            let mut partner = json!({
                "partner_id": id, "name": id, "legal_name": format!("{city} Cloud"), "seller_address_line1": address,
                "seller_postal_code": postal_code, "seller_city": city, "seller_country_code": country,
                "seller_email": "billing@seller.example", "timezone": timezone, "oss_registered": rng.random_bool(0.5),
            });
            if let Some(number) = vat_number {
                partner["seller_vat_number"] = number.into();
            }
            api.must(Method::POST, "/api/v1/admin/partners", &admin, &partner).await?;
        }
        let mut services = Vec::new();
        for slug in SERVICES {
            services.push(service(api, rng, slug).await?);
        }
        let packs = packs(api, &services).await?;
        let mut made = Vec::with_capacity(options.tenants);
        for n in 0..options.tenants {
            // With a tenant or two each seed has another seller.
            let (partner, ..) = SELLERS[(n + options.seed as usize) % SELLERS.len()];
            made.push(tenant(api, rng, partner, n).await?);
        }
        Ok(World { tenants: made, services, packs })
    }
}

async fn tenant(api: &mut Api, rng: &mut StdRng, partner: &str, n: usize) -> Outcome<Tenant> {
    let id = format!("tnt_{n:03}");
    let token = api.token(&["--role", "tenant_admin", "--tenant", &id, "--partner", partner]).await?;
    let profile = profile(rng, n);
    let tenant = Tenant { id, token, profile, pays_after: [3, 10, 14, 20, 40][rng.random_range(0..5)] };
    api.must(Method::PUT, "/api/v1/billing/billing-profile", &tenant.token, &tenant.profile).await?;
    Ok(tenant)
}

/// A billing profile of any kind.
pub fn profile(rng: &mut StdRng, n: usize) -> Value {
    let (country, vat_number, is_business, postal_code, city, format) =
        BUYERS[rng.random_range(0..BUYERS.len())];
    json!({
        "company_name": format!("Customer {n}"), "address_line1": "Main Street 1", "postal_code": postal_code, "city": city,
        "country_code": country, "vat_number": vat_number, "is_business": is_business,
        "contact_email": format!("finance@customer{n}.example"), "preferred_einvoice_format": format,
        "preferred_language": (["en", "nl", "de", "fr", "es", "it"][rng.random_range(0..6)]),
    })
}

async fn service(api: &mut Api, rng: &mut StdRng, slug: &'static str) -> Outcome<Service> {
    let admin = api.admin.clone();
    let metrics: Vec<Value> = METRICS
        .iter()
        .map(|(metric, aggregation)| json!({"slug": metric, "name": metric, "unit": "unit", "aggregation": aggregation}))
        .collect();
    let service = json!({"slug": slug, "name": slug, "client_id": format!("svc-{slug}"), "metrics": metrics});
    let service = api.must(Method::POST, "/api/v1/admin/catalog/services", &admin, &service).await?;
    let id = service["id"].as_str().unwrap_or_default().to_owned();
    let mut plans = Vec::new();
    for (name, period, price, trial_days) in [
        ("starter", "monthly", rng.random_range(0..3_000), 0),
        ("pro", "monthly", rng.random_range(3_000..12_000), 14),
        ("scale", "monthly", rng.random_range(12_000..90_000), 0),
        ("season", "quarterly", rng.random_range(9_000..30_000), 0),
        ("annual", "yearly", rng.random_range(30_000..200_000), 30),
        ("once", "one_time", rng.random_range(1_000..50_000), 0),
    ] {
        let plan = json!({
            "service_id": id, "slug": name, "name": name, "billing_period": period, "base_price_cents": price,
            "currency": "EUR", "trial_days": trial_days, "quotas": {"calls": "5000"},
        });
        let plan = api.must(Method::POST, "/api/v1/admin/catalog/plans", &admin, &plan).await?;
        let plan_id = plan["id"].as_str().unwrap_or_default().to_owned();
        let path = format!("/api/v1/admin/catalog/plans/{plan_id}/pricing-tiers");
        api.must(Method::PUT, &path, &admin, &tiers(rng)).await?;
        plans.push(Plan { id: plan_id, key: format!("{slug}.{name}"), price_cents: price });
    }
    let token = api.token(&["--role", "service_account", "--service", slug]).await?;
    Ok(Service { id, slug, token, plans })
}

/// Prices of usage, of any model.
pub fn tiers(rng: &mut StdRng) -> Value {
    let model = ["graduated", "volume", "package"][rng.random_range(0..3)];
    let minimum: i64 = if rng.random_bool(0.3) { rng.random_range(1..500) } else { 0 };
    let flat: i64 = if rng.random_bool(0.3) { rng.random_range(1..300) } else { 0 };
    let (first, divisor) = (rng.random_range(10..500), [1, 10, 100][rng.random_range(0..3)]);
    let price = |rng: &mut StdRng| format!("{}.{:03}", rng.random_range(0..20), rng.random_range(0..1000));
    let tier = |rng: &mut StdRng, metric: &str, start: i64, end: Option<i64>| {
        json!({
            "metric_slug": metric, "pricing_model": model, "tier_start": start.to_string(),
            "tier_end": end.map(|end| end.to_string()), "unit_price_cents": price(rng), "unit_divisor": divisor.to_string(),
            "unit_label": "unit", "minimum_cents": minimum, "flat_fee_cents": if start == 0 { 0 } else { flat },
        })
    };
    let mut all = vec![tier(rng, "calls", 0, Some(first)), tier(rng, "calls", first, None)];
    for metric in ["peak", "level", "people"] {
        if rng.random_bool(0.5) {
            all.push(tier(rng, metric, 0, None));
        }
    }
    Value::Array(all)
}

async fn packs(api: &mut Api, services: &[Service]) -> Outcome<Vec<String>> {
    let admin = api.admin.clone();
    let item = |service: &Service, plan: &str| {
        let plan = service.plans.iter().find(|p| p.key.ends_with(plan));
        json!({"service_id": service.id, "plan_id": plan.map(|p| p.id.clone())})
    };
    let items: Vec<Value> = services.iter().map(|s| item(s, ".pro")).collect();
    let fixed = json!({
        "slug": "forge", "name": "Forge", "billing_period": "monthly", "currency": "EUR", "discount_type": "fixed_price",
        "base_price_cents": 9_999, "items": items[..2],
    });
    let percentage = json!({
        "slug": "foundry", "name": "Foundry", "billing_period": "monthly", "currency": "EUR", "discount_type": "percentage",
        "discount_percentage": "12.5", "trial_days": 10, "items": items,
    });
    for pack in [fixed, percentage] {
        api.must(Method::POST, "/api/v1/admin/service-packs", &admin, &pack).await?;
    }
    Ok(vec!["forge".into(), "foundry".into()])
}
