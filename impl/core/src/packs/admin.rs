//! Packs as operators enter them.
//!
//! A new price or other items make a new version of the pack, which is added and never changed. Whoever has the pack keeps
//! the items it began with; the price reaches it at a renewal of which it had thirty days' notice (see [`super::price`]).
use super::price::{self, Priced};
use super::store::{self, ItemRow, PackRow, VersionRow};
use super::view;
use crate::app::Control;
use crate::audit;
use crate::catalog::store::{self as catalog_store, Place};
use crate::checks::{self, Checks, emptied, optional};
use crate::config::Config;
use crate::db::Conn;
use crate::db::page::PageRequest;
use crate::error::{Error, Result};
use crate::op::OpContext;
use crate::subscriptions::prices::{self, Source};
use rust_decimal::Decimal;
use scaicontrol_domain::money::Currency;
use scaicontrol_domain::pack::is_valid_discount;
use scaicontrol_types as api;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Where uploaded icons are found: a path of this server, while all other addresses are absolute.
const UPLOADS: &str = "/api/v1/uploads/";

/// A pack as it is written: what the audit log keeps of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Written {
    pack: PackRow,
    version: VersionRow,
    items: Vec<ItemRow>,
}

/// A page of all packs, with a text in slug, name or description.
pub async fn list(
    op: &OpContext,
    app: &Control,
    page: &PageRequest,
    q: Option<&str>,
    is_active: Option<bool>,
) -> Result<(Vec<api::ServicePackResponse>, api::Pagination)> {
    let pattern = q.map(checks::pattern);
    app.db
        .read(op, async |conn| {
            let (rows, counted) = store::all(conn, pattern.as_deref(), is_active, page).await?;
            let place = |row: &PackRow| Place { sort_order: row.sort_order, id: row.pack_id }.to_string();
            let (rows, pagination) = page.finish(rows, counted, place);
            let priced = price::in_force(conn, &rows, op.now).await?;
            let shown = rows.into_iter().zip(&priced).map(|(row, priced)| view::pack(row, priced));
            Ok((shown.collect::<Result<_>>()?, pagination))
        })
        .await
}

/// One pack, on offer or not.
///
/// Errors: 404.
pub async fn get(op: &OpContext, app: &Control, pack_id: Uuid) -> Result<api::ServicePackResponse> {
    app.db
        .read(op, async |conn| {
            let row = store::pack(conn, pack_id).await?;
            answer(conn, op, row).await
        })
        .await
}

/// The pack as it is for who subscribes now.
async fn answer(conn: &mut Conn, op: &OpContext, row: PackRow) -> Result<api::ServicePackResponse> {
    let priced = super::priced_now(conn, op, &row).await?;
    view::pack(row, &priced)
}

/// Makes a pack with its first version.
///
/// Errors: 400 for a field that does not hold; 409 when the slug is taken.
pub async fn create(
    op: &OpContext,
    app: &Control,
    body: &api::ServicePackCreateRequest,
) -> Result<api::ServicePackResponse> {
    app.db
        .once(op, "admin_service_pack_create", async |conn| {
            let mut checks = Checks::default();
            let pack = new_row(op, &app.config, &mut checks, body);
            let asked = Asked {
                discount_type: body.discount_type,
                base_price_cents: body.base_price_cents,
                discount_percentage: body.discount_percentage.map(Decimal::from),
            };
            let version = asked.version(op, &mut checks, pack.pack_id, 1);
            let items = checked_items(conn, &mut checks, &pack, 1, &body.items).await?;
            checks.finish()?;
            let after = Written { pack, version, items };
            store::insert_pack(conn, &after.pack).await?;
            store::insert_version(conn, &after.version, &after.items).await?;
            priced(conn, op, &after).await?;
            audit::record(conn, op, audited(&after.pack), None::<&()>, Some(&after)).await?;
            answer(conn, op, after.pack).await
        })
        .await
}

fn new_row(
    op: &OpContext,
    config: &Config,
    checks: &mut Checks,
    body: &api::ServicePackCreateRequest,
) -> PackRow {
    if let Err(error) = Currency::parse(&body.currency) {
        checks.refuse("currency", error.to_string());
    }
    PackRow {
        pack_id: op.id(),
        slug: body.slug.clone(),
        name: checks.text("name", &body.name),
        description: optional(body.description.as_deref()),
        icon_url: icon_url(checks, config, body.icon_url.as_deref()),
        billing_period: body.billing_period.to_string(),
        currency: body.currency.clone(),
        trial_days: body.trial_days.unwrap_or(0),
        features: body.features.as_ref().map_or_else(|| json!({"items": [], "unit": null}), features),
        is_active: body.is_active.unwrap_or(true),
        is_public: body.is_public.unwrap_or(true),
        sort_order: body.sort_order.unwrap_or(0),
        created_at: op.now,
        updated_at: op.now,
    }
}

fn icon_url(checks: &mut Checks, config: &Config, url: Option<&str>) -> Option<String> {
    let url = optional(url)?;
    if !url.starts_with(UPLOADS) {
        checks.url(config, "icon_url", &url);
    }
    Some(url)
}

fn features(input: &api::PlanFeaturesInput) -> Value {
    json!({"items": input.items, "unit": input.unit.clone().flatten()})
}

/// A price as it is asked for.
struct Asked {
    discount_type: api::PackDiscountType,
    base_price_cents: Option<i64>,
    discount_percentage: Option<Decimal>,
}

impl Asked {
    /// The version it makes: the field of its kind must be there, and that of the other kind must not say anything.
    fn version(&self, op: &OpContext, checks: &mut Checks, pack_id: Uuid, number: i32) -> VersionRow {
        let (base, percent) = (self.base_price_cents, self.discount_percentage);
        match self.discount_type {
            api::PackDiscountType::FixedPrice => {
                checks.require(base.is_some(), "base_price_cents", "is required for fixed_price");
                let other = percent.is_none_or(|percent| percent.is_zero());
                checks.require(other, "discount_percentage", "is for packs that are priced by percentage");
            }
            api::PackDiscountType::Percentage => {
                checks.require(percent.is_some(), "discount_percentage", "is required for percentage");
                let other = base.is_none_or(|cents| cents == 0);
                checks.require(other, "base_price_cents", "is for packs that have a fixed_price");
            }
        }
        let valid = percent.is_none_or(is_valid_discount);
        checks.require(valid, "discount_percentage", "must be from 0 to 100 with at most 2 decimals");
        VersionRow {
            pack_id,
            version: number,
            valid_from: op.now,
            discount_type: self.discount_type.to_string(),
            base_price_cents: base.unwrap_or(0),
            discount_percentage: percent.unwrap_or_default(),
            created_at: op.now,
        }
    }
}

/// The items of a version, by their `sort_order`; equal ones stay as they are given.
async fn checked_items(
    conn: &mut Conn,
    checks: &mut Checks,
    pack: &PackRow,
    version: i32,
    inputs: &[api::ServicePackItemInput],
) -> Result<Vec<ItemRow>> {
    let mut order: Vec<&api::ServicePackItemInput> = inputs.iter().collect();
    order.sort_by_key(|input| input.sort_order.unwrap_or(0));
    for (index, input) in inputs.iter().enumerate() {
        let mut refuse =
            |field: &str, message: &str| checks.refuse(format!("items.{index}.{field}"), message);
        if inputs.iter().take(index).any(|earlier| earlier.service_id == input.service_id) {
            refuse("service_id", "is in the pack twice");
        }
        let Some((plan, _)) = catalog_store::plan(conn, input.plan_id).await? else {
            refuse("plan_id", "is not a plan");
            continue;
        };
        if plan.service_id != input.service_id {
            refuse("service_id", "is not the service of the plan");
        }
        for (wrong, message) in [
            (!plan.is_active, "is no longer sold"),
            (plan.currency != pack.currency, "has another currency than the pack"),
            (plan.billing_period != pack.billing_period, "has another billing period than the pack"),
        ] {
            if wrong {
                refuse("plan_id", message);
            }
        }
    }
    let row = |(position, input): (i32, &api::ServicePackItemInput)| ItemRow {
        pack_id: pack.pack_id,
        version,
        position,
        service_id: input.service_id,
        plan_id: input.plan_id,
        override_price_cents: input.override_price_cents.flatten(),
        sort_order: input.sort_order.unwrap_or(0),
    };
    Ok((0..).zip(order).map(row).collect())
}

/// Refuses what costs more than an amount can be.
async fn priced(conn: &mut Conn, op: &OpContext, written: &Written) -> Result<Priced> {
    let priced = super::priced_now(conn, op, &written.pack).await?;
    let price = priced.price()?;
    if crate::billing::drafts::AMOUNT_MAX_CENTS < price.0 {
        return Err(Error::field("items", "cost too much together"));
    }
    Ok(priced)
}

/// Changes what is given of a pack.
///
/// Errors: 400 for a field that does not hold; 404.
pub async fn update(
    op: &OpContext,
    app: &Control,
    pack_id: Uuid,
    body: &api::ServicePackUpdateRequest,
) -> Result<api::ServicePackResponse> {
    app.db
        .tx(op, "admin_service_pack_update", async |conn| {
            let before = lock(conn, pack_id).await?;
            let mut checks = Checks::default();
            let mut after = before.clone();
            changed(&mut checks, &app.config, &mut after.pack, body);
            let next = before.version.version + 1;
            let mut version = asked_of(&before.version, body)?.version(op, &mut checks, pack_id, next);
            let items = match &body.items {
                Some(items) => checked_items(conn, &mut checks, &after.pack, next, items).await?,
                None => before.items.iter().map(|item| ItemRow { version: next, ..item.clone() }).collect(),
            };
            checks.finish()?;
            if is_new(&before, &version, &items) {
                // Never before the one it follows, though another server with a clock that is ahead may have made that.
                version.valid_from = op.now.max(before.version.valid_from);
                store::insert_version(conn, &version, &items).await?;
                (after.version, after.items) = (version, items);
                priced(conn, op, &after).await?;
                prices::announced(conn, op, Source::Pack, pack_id, next).await?;
            }
            if after != before {
                after.pack.updated_at = op.now;
                store::update_pack(conn, &after.pack).await?;
                audit::record(conn, op, audited(&after.pack), Some(&before), Some(&after)).await?;
            }
            answer(conn, op, after.pack).await
        })
        .await
}

/// The pack at its newest version, locked.
async fn lock(conn: &mut Conn, pack_id: Uuid) -> Result<Written> {
    let pack = store::lock_pack(conn, pack_id).await?;
    let version = store::newest_version(conn, pack_id).await?;
    let items = store::items(conn, pack_id, version.version).await?;
    Ok(Written { pack, version, items })
}

fn changed(checks: &mut Checks, config: &Config, row: &mut PackRow, body: &api::ServicePackUpdateRequest) {
    if let Some(name) = &body.name {
        row.name = checks.text("name", name);
    }
    if body.description.is_some() {
        row.description = emptied(&body.description);
    }
    if let Some(url) = &body.icon_url {
        row.icon_url = icon_url(checks, config, url.as_deref());
    }
    if let Some(input) = &body.features {
        row.features = features(input);
    }
    row.trial_days = body.trial_days.unwrap_or(row.trial_days);
    row.is_active = body.is_active.unwrap_or(row.is_active);
    row.is_public = body.is_public.unwrap_or(row.is_public);
    row.sort_order = body.sort_order.unwrap_or(row.sort_order);
}

/// The price as it would be afterwards: of another kind only what is given, else what is given over what is there.
fn asked_of(before: &VersionRow, body: &api::ServicePackUpdateRequest) -> Result<Asked> {
    let was: api::PackDiscountType = checks::stored(&before.discount_type)?;
    let discount_type = body.discount_type.unwrap_or(was);
    let (mut base, mut percent) = (body.base_price_cents, body.discount_percentage.map(Decimal::from));
    if discount_type == was {
        base = base.or(Some(before.base_price_cents));
        percent = percent.or(Some(before.discount_percentage));
    }
    Ok(Asked { discount_type, base_price_cents: base, discount_percentage: percent })
}

/// Whether price or items differ from what there is.
fn is_new(before: &Written, version: &VersionRow, items: &[ItemRow]) -> bool {
    let price =
        |v: &VersionRow| (v.discount_type.clone(), v.base_price_cents, v.discount_percentage.normalize());
    let item = |i: &ItemRow| (i.service_id, i.plan_id, i.override_price_cents, i.sort_order);
    price(&before.version) != price(version) || !before.items.iter().map(item).eq(items.iter().map(item))
}

/// Takes a pack that nobody has off the offer for good.
///
/// Errors: 404; 409 while somebody has it.
pub async fn delete(op: &OpContext, app: &Control, pack_id: Uuid) -> Result<()> {
    app.db
        .tx(op, "admin_service_pack_delete", async |conn| {
            let before = store::lock_pack(conn, pack_id).await?;
            if store::has_subscribers(conn, pack_id).await? {
                return Err(Error::conflict(
                    "the pack has live subscriptions: set is_active to false, so that nobody new takes it",
                ));
            }
            if !before.is_active {
                return Ok(());
            }
            let after = PackRow { is_active: false, updated_at: op.now, ..before.clone() };
            store::update_pack(conn, &after).await?;
            audit::record(conn, op, audited(&after), Some(&before), Some(&after)).await
        })
        .await
}

fn audited(pack: &PackRow) -> audit::Entry<'static> {
    audit::Entry {
        object_type: "service_pack",
        object_id: pack.pack_id.to_string(),
        tenant_id: None,
        partner_id: None,
        reason: None,
    }
}
