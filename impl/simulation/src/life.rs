//! What happens on a day: tenants subscribe, use, change their mind and pay, the operator credits, voids and raises prices.
//!
//! Everything is drawn from the one generator in a fixed order, and what is drawn from is ordered, so that the same seed
//! is the same life. A request that the rules refuse is as good as one that they allow: it must change nothing.
use crate::Outcome;
use crate::api::{Answer, Api};
use crate::billed::{Count, Foreseen, Shown, Watched};
use crate::invariants::{Checks, Open};
use crate::usage::{Accepted, Reported, STORED, decimal};
use crate::world::{METRICS, Tenant, World, profile, tiers};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rand::Rng;
use rand::rngs::StdRng;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug)]
pub struct Life {
    /// Who there is.
    pub world: World,
    /// The usage that was accepted.
    pub accepted: Accepted,
    /// Tenants that are left alone, by their place in the world.
    pub watched: BTreeMap<usize, Watched>,
    /// How many came as they were shown.
    pub foreseen: Count,
    /// Things that were asked for and done.
    pub done: u64,
    /// Things that were asked for and refused.
    pub refused: u64,
    /// Usage events that were accepted.
    pub events: u64,
    /// Keys of the events that are there, by tenant and service.
    taken: BTreeSet<(String, String, String)>,
    /// When each event was first sent, by the number in its key.
    sent: Vec<DateTime<Utc>>,
    references: u64,
    trace: bool,
}

/// How long an event may be sent again: the server knows its key for 37 days.
const KEY_KNOWN: TimeDelta = TimeDelta::days(36);
/// Longest that a tenant is left alone: the next invoice of a yearly plan would take most of its life.
const WATCH_DAYS: i64 = 40;

/// What may be asked for, and how often in relation to the rest.
const ACTIONS: [(Action, u32); 18] = [
    (Action::Subscribe, 30),
    (Action::ChangePlan, 25),
    (Action::Cancel, 8),
    (Action::Reactivate, 8),
    (Action::SubscribeToPack, 5),
    (Action::CancelPack, 3),
    (Action::ChangeProfile, 4),
    (Action::Charge, 6),
    (Action::WithdrawCharge, 2),
    (Action::CreditNote, 5),
    (Action::Void, 3),
    (Action::Refund, 4),
    (Action::Suspend, 2),
    (Action::Resume, 5),
    (Action::CancelNow, 4),
    (Action::FixedTerm, 3),
    (Action::ChangePrice, 2),
    (Action::ChangeTiers, 2),
];

/// What a tenant does on a day.
#[derive(Clone, Copy, Debug)]
struct Wants {
    acts: bool,
    uses: bool,
    /// Asks what its next invoice will be, and is left alone until that comes.
    watch: bool,
}

/// What each tenant does on a day; nothing of those that are left alone.
#[derive(Debug)]
pub struct Today {
    wants: Vec<Option<Wants>>,
    /// An invoice that was foreseen should be there.
    comes: bool,
}

impl Today {
    /// Whether nobody does anything, and nothing is waited for.
    pub fn is_quiet(&self) -> bool {
        !self.comes && !self.wants.iter().flatten().any(|wants| wants.acts || wants.uses || wants.watch)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Subscribe,
    ChangePlan,
    Cancel,
    Reactivate,
    SubscribeToPack,
    CancelPack,
    ChangeProfile,
    Charge,
    WithdrawCharge,
    CreditNote,
    Void,
    Refund,
    Suspend,
    Resume,
    CancelNow,
    FixedTerm,
    ChangePrice,
    ChangeTiers,
}

impl Life {
    /// Nothing has happened yet.
    pub fn new(world: World, trace: bool) -> Life {
        Life {
            world,
            accepted: Accepted::default(),
            watched: BTreeMap::new(),
            foreseen: Count::default(),
            done: 0,
            refused: 0,
            events: 0,
            taken: BTreeSet::new(),
            sent: Vec::new(),
            references: 0,
            trace,
        }
    }

    /// Who does what on a day. At first everybody wants something.
    pub fn drawn(&self, rng: &mut StdRng, day: u32, now: DateTime<Utc>) -> Outcome<Today> {
        let each = (0..self.world.tenants.len()).map(|n| {
            let (acts, uses, watch) = (rng.random_bool(0.2), rng.random_bool(0.35), rng.random_bool(0.02));
            let is_left_alone = self.watched.contains_key(&n);
            (!is_left_alone).then_some(Wants { acts: acts || day < 3, uses, watch })
        });
        let wants = each.collect();
        let mut comes = false;
        for watched in self.watched.values() {
            comes |= watched.shown.is_past(now)?;
        }
        Ok(Today { wants, comes })
    }

    /// One day.
    pub async fn day(
        &mut self,
        api: &mut Api,
        checks: &Checks,
        rng: &mut StdRng,
        now: DateTime<Utc>,
        today: &Today,
    ) -> Outcome {
        for (n, wants) in today.wants.iter().enumerate() {
            let Some(Wants { acts, uses, watch }) = *wants else { continue };
            let tenant = self.world.tenants[n].clone();
            if uses {
                self.use_services(api, checks, rng, &tenant, now).await?;
            }
            if acts {
                self.act(api, checks, rng, n, now).await?;
            }
            for invoice in checks.open(&tenant.id).await? {
                self.pay(api, rng, &tenant, &invoice, now, watch).await?;
            }
            if watch {
                self.watch(api, checks, n, now).await?;
            }
        }
        Ok(())
    }

    /// Asks what comes next, and leaves the tenant alone until it is there.
    async fn watch(&mut self, api: &mut Api, checks: &Checks, n: usize, now: DateTime<Utc>) -> Outcome {
        let tenant = &self.world.tenants[n];
        let shown = api.get(&tenant.token, "/api/v1/billing/upcoming").await?;
        let next = shown.as_array().and_then(|all| all.first()).map(Foreseen::from_upcoming);
        let longest = now + TimeDelta::days(WATCH_DAYS);
        let shown = match next {
            Some(next) if next.days_from(now)? <= WATCH_DAYS => Some(Shown::Next(next)),
            Some(_) => None,
            None => {
                checks.horizon(&tenant.id).await?.map(|until| Shown::Nothing { until: until.min(longest) })
            }
        };
        if let Some(shown) = shown {
            let known = checks.documents_of(&tenant.id).await?;
            self.watched.insert(n, Watched { known, shown });
        }
        Ok(())
    }

    async fn act(
        &mut self,
        api: &mut Api,
        checks: &Checks,
        rng: &mut StdRng,
        n: usize,
        now: DateTime<Utc>,
    ) -> Outcome {
        let tenant = self.world.tenants[n].clone();
        let total: u32 = ACTIONS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = rng.random_range(0..total);
        let action = ACTIONS.iter().find(|(_, weight)| {
            let found = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            found
        });
        let action = action.map_or(Action::Subscribe, |(action, _)| *action);
        let answer = match action {
            Action::Subscribe | Action::FixedTerm => self.subscribe(api, rng, &tenant, action, now).await?,
            Action::ChangePlan => self.change_plan(api, rng, &tenant).await?,
            Action::Cancel | Action::Reactivate | Action::Suspend | Action::Resume | Action::CancelNow => {
                self.on_subscription(api, rng, &tenant, action).await?
            }
            Action::SubscribeToPack | Action::CancelPack => self.on_pack(api, rng, &tenant, action).await?,
            Action::ChangeProfile => {
                let changed = profile(rng, n);
                self.world.tenants[n].profile = changed.clone();
                Some(
                    api.call(Method::PUT, "/api/v1/billing/billing-profile", &tenant.token, Some(&changed))
                        .await?,
                )
            }
            Action::Charge | Action::WithdrawCharge => self.charge(api, rng, &tenant, action, now).await?,
            Action::CreditNote | Action::Void | Action::Refund => {
                self.on_invoice(api, checks, rng, &tenant, action).await?
            }
            Action::ChangePrice | Action::ChangeTiers => self.on_plan(api, rng, action).await?,
        };
        if let Some(answer) = answer {
            self.count(&tenant, action, &answer, now)?;
        }
        Ok(())
    }

    fn count(&mut self, tenant: &Tenant, action: Action, answer: &Answer, now: DateTime<Utc>) -> Outcome {
        if self.trace {
            let message = answer.body["error"]["message"].as_str().unwrap_or("done");
            eprintln!("{} {} {action:?}: {} {message}", now.format("%F"), tenant.id, answer.status);
        }
        match answer.status {
            200..300 => self.done += 1,
            // What the rules may say no to.
            400 | 404 | 409 => self.refused += 1,
            status => return Err(format!("{action:?} for {} answers {status}: {}", tenant.id, answer.body)),
        }
        Ok(())
    }

    async fn use_services(
        &mut self,
        api: &mut Api,
        checks: &Checks,
        rng: &mut StdRng,
        tenant: &Tenant,
        now: DateTime<Utc>,
    ) -> Outcome {
        let service = self.world.services[rng.random_range(0..self.world.services.len())].clone();
        let mut events = Vec::new();
        for _ in 0..rng.random_range(1..5) {
            let (metric, _) = METRICS[rng.random_range(0..METRICS.len())];
            let age = match rng.random_range(0..100) {
                0..90 => rng.random_range(0..3_600),
                90..97 => rng.random_range(0..5 * 86_400),
                _ => rng.random_range(0..34 * 86_400),
            };
            // Some are sent again, days after they were taken, while their key is still known.
            let again = rng.random_bool(0.03).then(|| rng.random_range(1..20));
            let again = again.and_then(|back| self.sent.len().checked_sub(back));
            let again = again.filter(|id| self.sent.get(*id).is_some_and(|at| now - *at < KEY_KNOWN));
            let id = again.unwrap_or(self.sent.len());
            if again.is_none() {
                self.sent.push(now);
            }
            let quantity = Decimal::new(rng.random_range(0..1_000_000), rng.random_range(0..4));
            let mut event = json!({
                "idempotency_key": format!("use-{id}"), "tenant_id": tenant.id, "metric_slug": metric,
                "quantity": quantity.to_string(), "occurred_at": time(now - TimeDelta::seconds(age)),
            });
            if metric == "people" {
                event["unique_key"] = format!("person-{}", rng.random_range(0..40)).into();
                event["quantity"] = "1".into();
            }
            events.push(event);
        }
        let body = json!({ "events": events });
        let answer = api.must(Method::POST, "/api/v1/metering/events", &service.token, &body).await?;
        let accepted = answer["accepted"].as_u64().unwrap_or_default();
        self.events += accepted;
        let new = self.took(&tenant.id, service.slug, &events, &answer)?;
        let keys: Vec<&str> = new.iter().map(|event| event.key.as_str()).collect();
        // The clock stands while a day is lived.
        let rows = checks.db().await?.query(STORED, &[&tenant.id, &service.slug, &keys, &now]).await?;
        self.accepted.add(&new, &METRICS, &rows)
    }

    /// What is there now and was not before: all that was not refused. A repeat of a batch whose first answer was cut off
    /// is told that all of it was there before.
    fn took(
        &mut self,
        tenant: &str,
        service: &str,
        events: &[Value],
        answer: &Value,
    ) -> Outcome<Vec<Reported>> {
        let refused: Vec<u64> = answer["rejected"]
            .as_array()
            .map(|all| all.iter().filter_map(|r| r["index"].as_u64()).collect())
            .unwrap_or_default();
        let mut new = Vec::new();
        for (index, event) in (0..).zip(events) {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let key = text("idempotency_key");
            let is_new = !refused.contains(&index)
                && self.taken.insert((tenant.to_owned(), service.to_owned(), key.clone()));
            if !is_new {
                continue;
            }
            new.push(Reported {
                key,
                metric: text("metric_slug"),
                quantity: decimal(&text("quantity"))?,
                occurred_at: text("occurred_at").parse().map_err(|e| format!("{e}"))?,
                unique_key: event["unique_key"].as_str().map(str::to_owned),
            });
        }
        Ok(new)
    }

    async fn subscribe(
        &mut self,
        api: &mut Api,
        rng: &mut StdRng,
        tenant: &Tenant,
        action: Action,
        now: DateTime<Utc>,
    ) -> Outcome<Option<Answer>> {
        let service = &self.world.services[rng.random_range(0..self.world.services.len())];
        let plan = &service.plans[rng.random_range(0..service.plans.len())];
        let quantity = if rng.random_bool(0.3) { rng.random_range(2..10) } else { 1 };
        let mut body = json!({"plan_key": plan.key, "quantity": quantity});
        let days = rng.random_range(20..400);
        if action == Action::Subscribe {
            return api
                .call(Method::POST, "/api/v1/subscriptions", &tenant.token, Some(&body))
                .await
                .map(Some);
        }
        body["tenant_id"] = tenant.id.clone().into();
        body["ends_at"] = time(now + TimeDelta::days(days)).into();
        let admin = api.admin.clone();
        api.call(Method::POST, "/api/v1/admin/subscriptions", &admin, Some(&body)).await.map(Some)
    }

    /// One of the tenant's subscriptions that are not over.
    async fn live(&self, api: &mut Api, rng: &mut StdRng, tenant: &Tenant) -> Outcome<Option<Value>> {
        let all = api.get(&tenant.token, "/api/v1/subscriptions?page_size=200").await?;
        let live: Vec<&Value> = all
            .as_array()
            .map(|all| {
                all.iter().filter(|s| s["status"] != "cancelled" && s["status"] != "expired").collect()
            })
            .unwrap_or_default();
        let drawn = rng.random_range(0..1_000);
        Ok((!live.is_empty()).then(|| live[drawn % live.len()].clone()))
    }

    /// Asks first what it would cost; what is then done must cost that.
    async fn change_plan(
        &mut self,
        api: &mut Api,
        rng: &mut StdRng,
        tenant: &Tenant,
    ) -> Outcome<Option<Answer>> {
        let (drawn, quantity) = (rng.random_range(0..1_000), rng.random_range(1..6));
        let (timing, with_plan) =
            (["auto", "immediate", "period_end"][rng.random_range(0..3)], rng.random_bool(0.8));
        let Some(subscription) = self.live(api, rng, tenant).await? else { return Ok(None) };
        let slug = &subscription["service_slug"];
        let Some(service) = self.world.services.iter().find(|s| s.slug == slug) else { return Ok(None) };
        let mut body = json!({"timing": timing, "quantity": quantity, "dry_run": true});
        if with_plan {
            body["plan_key"] = service.plans[drawn % service.plans.len()].key.clone().into();
        }
        let path =
            format!("/api/v1/subscriptions/{}/change-plan", subscription["id"].as_str().unwrap_or_default());
        let shown = api.call(Method::POST, &path, &tenant.token, Some(&body)).await?;
        body["dry_run"] = false.into();
        let done = api.call(Method::POST, &path, &tenant.token, Some(&body)).await?;
        if shown.is_done() && done.data()["proration"] != shown.data()["proration"] {
            return Err(format!("a change of plan is shown as {} and done as {}", shown.body, done.body));
        }
        Ok(Some(done))
    }

    async fn on_subscription(
        &mut self,
        api: &mut Api,
        rng: &mut StdRng,
        tenant: &Tenant,
        action: Action,
    ) -> Outcome<Option<Answer>> {
        let credit = rng.random_bool(0.5);
        let Some(subscription) = self.live(api, rng, tenant).await? else { return Ok(None) };
        let id = subscription["id"].as_str().unwrap_or_default();
        let admin = api.admin.clone();
        let (path, token, body) = match action {
            Action::Cancel => {
                (format!("/api/v1/subscriptions/{id}/cancel"), &tenant.token, Some(json!({"reason": "done"})))
            }
            Action::Reactivate => (format!("/api/v1/subscriptions/{id}/reactivate"), &tenant.token, None),
            Action::Suspend => (
                format!("/api/v1/admin/subscriptions/{id}/suspend"),
                &admin,
                Some(json!({"reason": "abuse"})),
            ),
            Action::Resume => (format!("/api/v1/admin/subscriptions/{id}/resume"), &admin, None),
            _ => (
                format!("/api/v1/admin/subscriptions/{id}/cancel"),
                &admin,
                Some(json!({"reason": "closed", "immediately": true, "credit_unused": credit})),
            ),
        };
        api.call(Method::POST, &path, token, body.as_ref()).await.map(Some)
    }

    async fn on_pack(
        &mut self,
        api: &mut Api,
        rng: &mut StdRng,
        tenant: &Tenant,
        action: Action,
    ) -> Outcome<Option<Answer>> {
        let slug = self.world.packs[rng.random_range(0..self.world.packs.len())].clone();
        let path = match action {
            Action::SubscribeToPack => format!("/api/v1/service-packs/{slug}/subscribe"),
            _ => {
                let all = api.get(&tenant.token, "/api/v1/service-pack-subscriptions").await?;
                let live = all.as_array().and_then(|all| all.iter().find(|p| p["status"] != "cancelled"));
                let Some(id) = live.and_then(|p| p["id"].as_str()) else { return Ok(None) };
                format!("/api/v1/service-pack-subscriptions/{id}/cancel")
            }
        };
        let body = (action == Action::CancelPack).then(|| json!({"reason": "too much"}));
        api.call(Method::POST, &path, &tenant.token, body.as_ref()).await.map(Some)
    }

    async fn charge(
        &mut self,
        api: &mut Api,
        rng: &mut StdRng,
        tenant: &Tenant,
        action: Action,
        now: DateTime<Utc>,
    ) -> Outcome<Option<Answer>> {
        let service = self.world.services[rng.random_range(0..self.world.services.len())].clone();
        if action == Action::WithdrawCharge {
            let path = format!("/api/v1/service-billing/charges?tenant_id={}&status=pending", tenant.id);
            let all = api.get(&service.token, &path).await?;
            let Some(id) = all.as_array().and_then(|all| all.first()).and_then(|c| c["id"].as_str()) else {
                return Ok(None);
            };
            let path = format!("/api/v1/service-billing/charges/{id}");
            return api.call(Method::DELETE, &path, &service.token, None).await.map(Some);
        }
        self.references += 1;
        let body = json!({
            "tenant_id": tenant.id, "description": "Setup", "quantity": Decimal::new(rng.random_range(1..5_000), 2).to_string(),
            "unit_price_cents": rng.random_range(1..5_000).to_string(), "currency": "EUR", "occurred_at": time(now),
            "external_reference": format!("order-{}", self.references),
        });
        api.call(Method::POST, "/api/v1/service-billing/charges", &service.token, Some(&body)).await.map(Some)
    }

    async fn on_invoice(
        &mut self,
        api: &mut Api,
        checks: &Checks,
        rng: &mut StdRng,
        tenant: &Tenant,
        action: Action,
    ) -> Outcome<Option<Answer>> {
        let (drawn, part, settle, rebill) = (
            rng.random_range(0..1_000),
            rng.random_range(1..2_000),
            rng.random_range(0..3),
            rng.random_bool(0.5),
        );
        let issued = checks.issued(&tenant.id).await?;
        if issued.is_empty() {
            return Ok(None);
        }
        let invoice = &issued[drawn % issued.len()];
        let admin = api.admin.clone();
        let (what, body) = match action {
            Action::CreditNote => {
                let path = format!("/api/v1/admin/invoices/{}", invoice.id);
                let detail = api.get(&admin, &path).await?;
                let line =
                    detail["line_items"].as_array().and_then(|all| all.first()).map(|l| l["id"].clone());
                let settle = ["apply", "customer_credit", "refund"][settle];
                let lines = json!([{"line_item_id": line, "amount_cents": part}]);
                ("credit-note", json!({"reason": "goodwill", "lines": lines, "settle": settle}))
            }
            Action::Void => ("void", json!({"reason": "wrong", "rebill": rebill})),
            _ => ("refund", json!({"reason": "asked for", "amount_cents": part})),
        };
        let path = format!("/api/v1/admin/invoices/{}/{what}", invoice.id);
        api.call(Method::POST, &path, &admin, Some(&body)).await.map(Some)
    }

    async fn on_plan(&mut self, api: &mut Api, rng: &mut StdRng, action: Action) -> Outcome<Option<Answer>> {
        let (s, p) = (rng.random_range(0..self.world.services.len()), rng.random_range(0..6));
        let raised = rng.random_range(90..115);
        let new_tiers = tiers(rng);
        let plan = &mut self.world.services[s].plans[p];
        let admin = api.admin.clone();
        // What was shown before a price changed need not come any more.
        self.watched.clear();
        if action == Action::ChangeTiers {
            let path = format!("/api/v1/admin/catalog/plans/{}/pricing-tiers", plan.id);
            return api.call(Method::PUT, &path, &admin, Some(&new_tiers)).await.map(Some);
        }
        plan.price_cents = plan.price_cents * raised / 100;
        let path = format!("/api/v1/admin/catalog/plans/{}", plan.id);
        let body = json!({"base_price_cents": plan.price_cents});
        api.call(Method::PUT, &path, &admin, Some(&body)).await.map(Some)
    }

    /// Pays, when the tenant would; a tenant that is about to be watched pays everything.
    async fn pay(
        &mut self,
        api: &mut Api,
        rng: &mut StdRng,
        tenant: &Tenant,
        invoice: &Open,
        now: DateTime<Utc>,
        everything: bool,
    ) -> Outcome {
        let (today, in_part, share) = (rng.random_bool(0.3), rng.random_bool(0.15), rng.random_range(1..100));
        let age = (now.date_naive() - invoice.issue_date).num_days();
        let pays = everything || (today && i64::from(tenant.pays_after) <= age);
        if !pays {
            return Ok(());
        }
        let amount =
            if in_part && !everything { (invoice.due_cents * share / 100).max(1) } else { invoice.due_cents };
        let body = json!({
            "paid_at": time(now), "reference": "statement", "method": "bank_transfer", "amount_cents": amount,
        });
        let path = format!("/api/v1/admin/invoices/{}/mark-paid", invoice.id);
        let admin = api.admin.clone();
        api.must(Method::POST, &path, &admin, &body).await?;
        self.done += 1;
        Ok(())
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
