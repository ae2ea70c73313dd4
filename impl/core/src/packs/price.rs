//! What a pack costs: now, for those who look at it, and for a period of those who have it.
//!
//! Two things of a pack are versioned together and looked up apart. Its *items* (plans and overrides) are those of the
//! version in force when somebody subscribed, for as long as they stay. Its *price* (the kind, the amount, the discount)
//! is that of the newest version that a subscriber had thirty days' notice of when a period begins; and so is the price of
//! each plan in it.
use super::store::{self, ItemRow, Pack, PackRow, VersionRow};
use crate::catalog::{self, store as catalog_store};
use crate::db::Conn;
use crate::db::schema::{plans, services};
use crate::error::{Error, Result};
use crate::subscriptions::segments;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use scaicontrol_domain::ids;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::pack::{self, PackPrice};
use std::collections::HashMap;
use uuid::Uuid;

/// An item with the price of its plan.
#[derive(Clone, Debug)]
pub struct Item {
    /// The item.
    pub row: ItemRow,
    /// Slug of its service.
    pub service_slug: String,
    /// Name of its service.
    pub service_name: String,
    /// `<service>.<plan>`
    pub plan_key: String,
    /// Name of the plan.
    pub plan_name: String,
    /// The version of the plan that counts.
    pub plan_version: i32,
    /// What the plan costs by itself at that version, in cents.
    pub plan_price_cents: i64,
}

impl Item {
    /// The price that counts in the pack.
    pub fn list_price(&self) -> Cents {
        Cents(self.row.override_price_cents.unwrap_or(self.plan_price_cents))
    }
}

/// A pack at one of its versions, with items.
#[derive(Clone, Debug)]
pub struct Priced {
    /// The version that the price is from.
    pub version: VersionRow,
    /// The items, in order.
    pub items: Vec<Item>,
}

impl Priced {
    /// How the price is made.
    pub fn rule(&self) -> Result<PackPrice> {
        rule(&self.version)
    }

    /// The price of a whole period.
    pub fn price(&self) -> Result<Cents> {
        // What does not fit was refused when the pack was made, or its plans were given prices beyond measure since.
        pack::price(self.rule()?, &self.list_prices())
            .map_err(|_| Error::field("items", "cost too much together"))
    }

    /// The list prices of the items, in order.
    pub fn list_prices(&self) -> Vec<Cents> {
        self.items.iter().map(Item::list_price).collect()
    }

    /// An amount of the pack, divided over its items.
    pub fn split(&self, amount: Cents) -> Result<Vec<Cents>> {
        pack::split(amount, &self.list_prices()).map_err(Error::internal)
    }
}

/// How a version makes its price.
pub fn rule(version: &VersionRow) -> Result<PackPrice> {
    match version.discount_type.as_str() {
        "fixed_price" => Ok(PackPrice::FixedPrice { base_price_cents: Cents(version.base_price_cents) }),
        "percentage" => {
            Ok(PackPrice::Percentage { discount_percentage: version.discount_percentage.normalize() })
        }
        other => Err(Error::internal(format!("a pack is not priced by {other}"))),
    }
}

/// Packs as they are for who subscribes at `at`, in the order given.
pub async fn in_force(conn: &mut Conn, packs: &[PackRow], at: DateTime<Utc>) -> Result<Vec<Priced>> {
    let ids: Vec<Uuid> = packs.iter().map(|p| p.pack_id).collect();
    let versions = store::versions_in_force(conn, &ids, at).await?;
    let items = store::items_of(conn, &versions).await?;
    let mut plan_ids: Vec<Uuid> = items.iter().map(|item| item.plan_id).collect();
    plan_ids.sort_unstable();
    plan_ids.dedup();
    let prices = catalog_store::versions_in_force(conn, &plan_ids, at).await?;
    let prices: HashMap<Uuid, (i32, i64)> =
        prices.into_iter().map(|v| (v.plan_id, (v.version, v.base_price_cents))).collect();
    let mut items = named(conn, items, &prices).await?;
    let mut out = Vec::with_capacity(packs.len());
    for pack in packs {
        let version = versions.iter().find(|v| v.pack_id == pack.pack_id);
        let version =
            version.ok_or_else(|| Error::internal(format!("pack {} has no version", pack.pack_id)))?;
        let of_pack = items.extract_if(.., |item| item.row.pack_id == pack.pack_id).collect();
        out.push(Priced { version: version.clone(), items: of_pack });
    }
    Ok(out)
}

/// A pack subscription as its period from `starts_at` on is priced: its own items, each at the version of its plan that the
/// child's period is priced by, and the price of the given version of the pack.
pub async fn of_period(
    conn: &mut Conn,
    pack: &Pack,
    version: VersionRow,
    starts_at: DateTime<Utc>,
) -> Result<Priced> {
    let items = store::items(conn, pack.row.pack_id, pack.row.items_version).await?;
    let mut prices = HashMap::with_capacity(items.len());
    for period in store::child_periods(conn, pack, starts_at).await? {
        let (plan_id, number) = (period.plan_id, period.plan_version);
        let version = catalog_store::version(conn, plan_id, number).await?;
        let version =
            version.ok_or_else(|| Error::internal(format!("plan {plan_id} has no version {number}")))?;
        prices.insert(plan_id, (version.version, version.base_price_cents));
    }
    let items = named(conn, items, &prices).await?;
    Ok(Priced { version, items })
}

/// A pack subscription as a period that begins at `at` will be priced, by what is known until then.
pub async fn foreseen(conn: &mut Conn, pack: &Pack, at: DateTime<Utc>) -> Result<Priced> {
    let version = renewal_version(conn, pack, at).await?;
    let items = store::items(conn, pack.row.pack_id, pack.row.items_version).await?;
    let mut prices = HashMap::with_capacity(items.len());
    for child in &pack.children {
        let price = segments::base_price_at(conn, child, at).await?;
        prices.insert(price.plan.plan_id, (price.version, price.base_price_cents));
    }
    let items = named(conn, items, &prices).await?;
    Ok(Priced { version, items })
}

/// The version that a pack subscription takes its price from for what begins at `at`: the newest that was known thirty days
/// before; never one older than the one it runs on.
pub async fn renewal_version(conn: &mut Conn, pack: &Pack, at: DateTime<Utc>) -> Result<VersionRow> {
    let running =
        store::last_period(conn, &pack.row).await?.map_or(pack.row.items_version, |p| p.pack_version);
    let told = at - TimeDelta::days(catalog::PRICE_NOTICE_DAYS);
    let known = store::versions_in_force(conn, &[pack.row.pack_id], told).await?.pop();
    let known = known.map_or(running, |v| v.version);
    store::version(conn, pack.row.pack_id, known.max(running)).await
}

/// Items with names, and the given version and price for each plan.
async fn named(
    conn: &mut Conn,
    items: Vec<ItemRow>,
    prices: &HashMap<Uuid, (i32, i64)>,
) -> Result<Vec<Item>> {
    let ids: Vec<Uuid> = items.iter().map(|item| item.plan_id).collect();
    let names: Vec<(Uuid, String, String, String, String)> = plans::table
        .inner_join(services::table)
        .filter(plans::plan_id.eq_any(ids))
        .select((plans::plan_id, services::slug, services::name, plans::slug, plans::name))
        .load(conn)
        .await?;
    let mut out = Vec::with_capacity(items.len());
    for row in items {
        let name = names.iter().find(|(id, ..)| *id == row.plan_id);
        let (
            Some((_, service_slug, service_name, plan_slug, plan_name)),
            Some((plan_version, plan_price_cents)),
        ) = (name, prices.get(&row.plan_id))
        else {
            return Err(Error::internal(format!("plan {} of a pack has no name or price", row.plan_id)));
        };
        out.push(Item {
            plan_key: ids::plan_key(service_slug, plan_slug),
            service_slug: service_slug.clone(),
            service_name: service_name.clone(),
            plan_name: plan_name.clone(),
            plan_version: *plan_version,
            plan_price_cents: *plan_price_cents,
            row,
        });
    }
    Ok(out)
}
