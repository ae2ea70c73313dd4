//! What who has a pack is told in time: the end of its trial, and its new prices.
use crate::dunning::{count, instant};
use crate::prices::told;
use crate::service_packs::{World, world};
use scaicontrol_tests::given;
use serde_json::{Value, json};

impl World {
    async fn now(&self) {
        self.app.live_to(self.app.now()).await;
    }

    async fn change(&self, path: &str, fields: Value) {
        self.app.call("PUT", path).token(&self.admin).json(&fields).send().await.expect(200);
        self.now().await;
    }

    /// What the newest line of the pack costs.
    async fn billed(&self) -> i64 {
        let sql =
            "SELECT amount_cents FROM invoice_lines WHERE kind = 'pack' ORDER BY line_item_id DESC LIMIT 1";
        self.app.db().await.query_one(sql, &[]).await.expect("a line").get(0)
    }

    async fn mail(&self, kind: &str) -> (String, String) {
        let sql = "SELECT subject, text_body FROM mails WHERE kind = $1 ORDER BY created_at DESC, mail_id DESC LIMIT 1";
        let row = self.app.db().await.query_one(sql, &[&kind]).await.expect("a mail");
        (row.get(0), row.get(1))
    }
}

#[tokio::test]
async fn the_end_of_a_trial_is_told_of_the_pack_once() {
    let world = world().await;
    given::patience(&world.app).await;
    world.pack("office", 3, json!({"trial_days": 14})).await;
    world.take(&world.tenant, "office").await;
    world.app.live_to(instant("2026-03-18T09:00:00Z")).await;
    assert_eq!(told(&world.app, "pack_trial_ending").await.len(), 1, "seven days before");
    let (subject, text) = world.mail("trial_ending").await;
    assert!(subject.contains("OFFICE") && text.contains("CHAT, DRIVE, VAULT"), "{subject}: {text}");
    assert!(text.contains("€45.00 a month"), "{text}");
    world.app.live_to(instant("2026-04-20T09:00:00Z")).await;
    assert_eq!(told(&world.app, "pack_trial_ending").await.len(), 3);
    assert_eq!(told(&world.app, "trial_ending").await.len(), 0, "not of each service in it");
    assert_eq!(count(&world.app, "mails WHERE kind = 'trial_ending'").await, 3);
    assert_eq!(world.billed().await, 4500);
}

#[tokio::test]
async fn who_has_a_pack_is_told_of_its_new_price_and_then_pays_it() {
    let world = world().await;
    given::patience(&world.app).await;
    let pack = world.pack("office", 3, json!({})).await;
    let path = format!("/api/v1/admin/service-packs/{}", pack["id"].as_str().expect("an id"));
    world.take(&world.tenant, "office").await;
    world.app.live_to(instant("2026-03-20T22:00:00Z")).await;
    // What changes nothing about the price is no news, and the price of a plan in it does not count.
    world.change(&path, json!({"sort_order": 7})).await;
    world
        .change(
            &format!("/api/v1/admin/catalog/plans/{}", world.plans[0].id),
            json!({"base_price_cents": 9000}),
        )
        .await;
    assert_eq!(told(&world.app, "pack_price_change").await.len(), 0);
    world.change(&path, json!({"base_price_cents": 6000})).await;
    let notices = told(&world.app, "pack_price_change").await;
    assert_eq!(notices.len(), 1);
    // The renewal of 10 April is twenty days away and keeps the old price.
    assert_eq!(notices[0]["from_date"], "2026-05-10");
    assert_eq!((&notices[0]["old_cents"], &notices[0]["new_cents"]), (&json!(4500), &json!(6000)));
    let (subject, text) = world.mail("renewal_price_change").await;
    assert!(
        subject.contains("OFFICE") && text.contains("€60.00 a month instead of €45.00"),
        "{subject}: {text}"
    );
    world.app.live_to(instant("2026-04-11T12:00:00Z")).await;
    assert_eq!(world.billed().await, 4500);
    world.app.live_to(instant("2026-05-11T12:00:00Z")).await;
    assert_eq!(world.billed().await, 6000);
    assert_eq!(count(&world.app, "price_announcements WHERE finished_at IS NULL").await, 0);
}

#[tokio::test]
async fn a_plan_that_becomes_dearer_makes_a_pack_dearer_that_is_priced_by_its_plans() {
    let world = world().await;
    given::patience(&world.app).await;
    world.pack("office", 2, json!({"discount_type": "percentage", "discount_percentage": "10"})).await;
    world.take(&world.tenant, "office").await;
    world
        .change(
            &format!("/api/v1/admin/catalog/plans/{}", world.plans[0].id),
            json!({"base_price_cents": 5000}),
        )
        .await;
    let notices = told(&world.app, "pack_price_change").await;
    assert_eq!(notices.len(), 1);
    // 40.00 and then 60.00, less a tenth; thirty days from 10 March is 9 April.
    assert_eq!((&notices[0]["old_cents"], &notices[0]["new_cents"]), (&json!(3600), &json!(5400)));
    assert_eq!(notices[0]["from_date"], "2026-04-10");
    assert_eq!(told(&world.app, "renewal_price_change").await.len(), 0);
    world.app.live_to(instant("2026-04-11T12:00:00Z")).await;
    assert_eq!(world.billed().await, 5400);
}

#[tokio::test]
async fn who_has_cancelled_a_pack_is_not_told() {
    let world = world().await;
    let pack = world.pack("office", 2, json!({})).await;
    let taken = world.take(&world.tenant, "office").await;
    let cancel =
        format!("/api/v1/service-pack-subscriptions/{}/cancel", taken["id"].as_str().expect("an id"));
    world
        .app
        .call("POST", &cancel)
        .token(&world.tenant.admin)
        .json(&json!({"reason": "enough"}))
        .send()
        .await
        .expect(200);
    let path = format!("/api/v1/admin/service-packs/{}", pack["id"].as_str().expect("an id"));
    world.change(&path, json!({"base_price_cents": 6000})).await;
    assert_eq!(told(&world.app, "pack_price_change").await.len(), 0);
    assert_eq!(count(&world.app, "mails WHERE kind = 'renewal_price_change'").await, 0);
}

#[tokio::test]
async fn in_a_trial_a_dearer_plan_is_news_too_and_the_end_of_it_tells_what_is_charged() {
    let world = world().await;
    given::patience(&world.app).await;
    let fields = json!({"discount_type": "percentage", "discount_percentage": "10", "trial_days": 14});
    world.pack("office", 2, fields).await;
    world.take(&world.tenant, "office").await;
    let path = format!("/api/v1/admin/catalog/plans/{}", world.plans[0].id);
    world.change(&path, json!({"base_price_cents": 5000})).await;
    let notices = told(&world.app, "pack_price_change").await;
    assert_eq!(notices.len(), 1);
    assert_eq!((&notices[0]["old_cents"], &notices[0]["new_cents"]), (&json!(3600), &json!(5400)));
    // The trial ends on 24 March; the first month keeps the old price.
    assert_eq!(notices[0]["from_date"], "2026-04-24");
    world.app.live_to(instant("2026-03-24T12:00:00Z")).await;
    let (_, text) = world.mail("trial_ending").await;
    assert!(text.contains("€36.00 a month"), "{text}");
    assert_eq!(world.billed().await, 3600);
    world.app.live_to(instant("2026-04-25T12:00:00Z")).await;
    assert_eq!(world.billed().await, 5400);
}
