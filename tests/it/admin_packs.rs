//! Packs as operators make, price and retire them, and whom a change of one reaches.
use crate::service_packs::world;
use crate::support::{each, run, uuid, verified, walk};
use scaicontrol_tests::body;
use scaicontrol_tests::given;
use scaicontrol_types as types;
use serde_json::{Value, json};
use uuid::Uuid;

const PACKS: &str = "/api/v1/admin/service-packs";

#[tokio::test]
async fn a_pack_is_made_read_changed_and_retired() {
    let world = world().await;
    let client = world.app.client(&world.admin);
    let items: Vec<Value> = [(1, 20), (0, 10)]
        .map(|(n, order)| json!({"service_id": world.services[n].id, "plan_id": world.plans[n].id, "sort_order": order}))
        .to_vec();
    let asked: types::ServicePackCreateRequest = body(json!({
        "slug": "office", "name": " Office ", "description": "All of it", "billing_period": "monthly", "currency": "EUR",
        "discount_type": "percentage", "discount_percentage": "10.00", "trial_days": 7, "items": items,
        "icon_url": "/api/v1/uploads/icons/x.png", "features": {"items": ["a"], "unit": null},
    }));
    let made = client.admin_service_pack_create().body(asked).send().await.expect("made").into_inner().data;
    assert_eq!((made.name.as_str(), made.price_cents, made.base_price_cents), ("Office", 3600, 0));
    assert_eq!(made.discount_percentage.to_string(), "10");
    assert_eq!(made.items.iter().map(|i| i.service_slug.as_str()).collect::<Vec<_>>(), ["chat", "drive"]);
    let get = async || {
        client.admin_service_pack_get().pack_id(made.id).send().await.expect("read").into_inner().data
    };
    assert_eq!(serde_json::to_value(get().await).ok(), serde_json::to_value(&made).ok());
    let asked: types::ServicePackUpdateRequest = body(
        json!({"discount_type": "fixed_price", "base_price_cents": 999, "is_public": false, "icon_url": null}),
    );
    let changed =
        client.admin_service_pack_update().pack_id(made.id).body(asked).send().await.expect("changed");
    let changed = changed.into_inner().data;
    assert_eq!((changed.price_cents, changed.discount_percentage.to_string().as_str()), (999, "0"));
    assert_eq!((changed.is_public, changed.icon_url, changed.items.len()), (false, None, 2));
    client.admin_service_pack_delete().pack_id(made.id).send().await.expect("retired");
    client.admin_service_pack_delete().pack_id(made.id).send().await.expect("again");
    assert!(!get().await.is_active);
    let listed =
        client.admin_service_pack_list().is_active(false).send().await.expect("listed").into_inner().data;
    assert_eq!(listed.iter().map(|p| p.id).collect::<Vec<_>>(), [made.id]);
    let audit = "SELECT operation FROM audit_log WHERE object_type = 'service_pack' ORDER BY id";
    let rows = world.app.db().await.query(audit, &[]).await.expect("the log");
    let deeds: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        deeds,
        ["admin_service_pack_create", "admin_service_pack_update", "admin_service_pack_delete"]
    );
}

#[tokio::test]
async fn what_is_refused_is_named() {
    let world = world().await;
    let app = &world.app;
    let (chat, drive) = (&world.services[0], &world.services[1]);
    let yearly = given::plan_with(app, drive, "year", json!({"billing_period": "yearly"})).await;
    let dollars = given::plan_with(app, drive, "usd", json!({"currency": "USD"})).await;
    let old = given::plan_with(app, drive, "old", json!({"is_active": false})).await;
    let item = |service: &given::Service, plan: Uuid| json!({"service_id": service.id, "plan_id": plan});
    let good = item(chat, world.plans[0].id);
    let sound = json!({
        "slug": "office", "name": "Office", "billing_period": "monthly", "currency": "EUR",
        "discount_type": "fixed_price", "base_price_cents": 4500, "items": [good],
    });
    let with = |fields: Value| {
        let mut asked = sound.clone();
        for (name, value) in fields.as_object().into_iter().flatten() {
            asked[name] = value.clone();
        }
        asked
    };
    let post =
        async |asked: &Value, token: &str| app.call("POST", PACKS).token(token).json(asked).send().await;
    let items = |second: Value| json!({"items": [good, second]});
    for (field, fields) in [
        ("items.1.plan_id", items(item(drive, Uuid::now_v7()))),
        ("items.1.plan_id", items(item(drive, old.id))),
        ("items.1.plan_id", items(item(drive, yearly.id))),
        ("items.1.plan_id", items(item(drive, dollars.id))),
        ("items.1.service_id", items(item(drive, world.plans[2].id))),
        ("items.1.service_id", items(item(chat, world.plans[0].id))),
        ("items", json!({"items": []})),
        ("discount_percentage", json!({"discount_percentage": "5"})),
        ("discount_percentage", json!({"discount_type": "percentage", "base_price_cents": 0})),
        ("base_price_cents", json!({"discount_type": "percentage", "discount_percentage": "5"})),
        (
            "discount_percentage",
            json!({"discount_type": "percentage", "base_price_cents": 0, "discount_percentage": "100.5"}),
        ),
        (
            "discount_percentage",
            json!({"discount_type": "percentage", "base_price_cents": 0, "discount_percentage": "1.234"}),
        ),
        ("name", json!({"name": "  "})),
        ("currency", json!({"currency": "XXQ"})),
        ("icon_url", json!({"icon_url": "ftp://example.com/x"})),
        ("trial_days", json!({"trial_days": 366})),
        ("slug", json!({"slug": "Office"})),
    ] {
        post(&with(fields.clone()), &world.admin).await.refused(400).names(field);
    }
    let mut nothing = sound.clone();
    nothing.as_object_mut().expect("an object").remove("base_price_cents");
    post(&nothing, &world.admin).await.refused(400).names("base_price_cents");
    for token in
        [&world.tenant.admin, &app.token("partner_admin", "tnt_home", "prt_north"), &app.operator("support")]
    {
        post(&sound, token).await.refused(403);
    }
    let made = post(&sound, &world.admin).await.data(201);
    post(&sound, &world.admin).await.refused(409);
    let path = format!("{PACKS}/{}", uuid(&made["id"]));
    let put = async |asked: Value| app.call("PUT", &path).token(&world.admin).json(&asked).send().await;
    put(json!({"discount_type": "percentage"})).await.refused(400).names("discount_percentage");
    put(json!({"discount_percentage": "5"})).await.refused(400).names("discount_percentage");
    put(items(item(drive, old.id))).await.refused(400).names("items.1.plan_id");
    put(json!({"slug": "other"})).await.refused(400).names("slug");
    assert_eq!(app.call("GET", &path).token(&world.admin).send().await.data(200)["price_cents"], 4500);
    let nobody = format!("{PACKS}/{}", Uuid::now_v7());
    app.call("GET", &nobody).token(&world.admin).send().await.refused(404);
    app.call("PUT", &nobody).token(&world.admin).json(&json!({"name": "x"})).send().await.refused(404);
    app.call("DELETE", &nobody).token(&world.admin).send().await.refused(404);
}

#[tokio::test]
async fn other_items_are_for_new_subscribers_and_a_new_price_for_all_in_time() {
    let world = world().await;
    let app = &world.app;
    let pack = world.pack("office", 2, json!({})).await;
    world.take(&world.tenant, "office").await;
    app.advance(chrono::TimeDelta::days(3)).await;
    let item = |n: usize| json!({"service_id": world.services[n].id, "plan_id": world.plans[n].id});
    let asked = json!({"items": [item(0), item(2)], "base_price_cents": 6000});
    let path = format!("{PACKS}/{}", uuid(&pack["id"]));
    let after = app.call("PUT", &path).token(&world.admin).json(&asked).send().await.data(200);
    assert_eq!(
        (each(&after["items"], "service_slug"), &after["price_cents"]),
        (vec![&json!("chat"), &json!("vault")], &json!(6000))
    );
    // The same again changes nothing, and makes no version.
    app.call("PUT", &path).token(&world.admin).json(&asked).send().await.data(200);
    let versions = "SELECT count(*) FROM pack_versions";
    assert_eq!(app.db().await.query_one(versions, &[]).await.expect("a count").get::<_, i64>(0), 2);
    let other = given::tenant(app, "tnt_other", "prt_north").await;
    let new = world.take(&other, "office").await;
    assert_eq!(
        (each(&new["subscriptions"], "service_slug"), &new["price_cents"]),
        (vec![&json!("chat"), &json!("vault")], &json!(6000))
    );
    app.advance_to("2026-05-11T00:00:00Z".parse().expect("a time")).await;
    let admin = app.operator("billing_admin");
    let mine = run(app, &admin, &world.tenant.id).await;
    // The first renewal is less than thirty days away; the second takes the new price, divided over the old items.
    assert_eq!(each(&mine["invoices"], "subtotal_cents"), [4500, 4500, 6000]);
    let items = &mine["invoices"][2]["lines"][0]["explanation"]["items"];
    assert_eq!(
        (each(items, "service_slug"), each(items, "amount_cents")),
        (vec![&json!("chat"), &json!("drive")], vec![&json!(4500), &json!(1500)])
    );
    assert_eq!(each(&run(app, &admin, &other.id).await["invoices"], "subtotal_cents"), [6000, 6000]);
    verified(app).await;
}

#[tokio::test]
async fn a_pack_that_somebody_has_is_not_retired() {
    let world = world().await;
    let app = &world.app;
    let pack = world.pack("office", 2, json!({"trial_days": 7})).await;
    let taken = world.take(&world.tenant, "office").await;
    let path = format!("{PACKS}/{}", uuid(&pack["id"]));
    app.call("DELETE", &path).token(&world.admin).send().await.refused(409);
    let cancel = format!("/api/v1/service-pack-subscriptions/{}/cancel", uuid(&taken["id"]));
    app.call("POST", &cancel).token(&world.tenant.admin).json(&json!({})).send().await.data(200);
    // Whoever subscribes at the same time has it, or it is gone.
    let subscribe = app.call("POST", "/api/v1/service-packs/office/subscribe").token(&world.tenant.admin);
    let delete = app.call("DELETE", &path).token(&world.admin);
    let (subscribed, deleted) = tokio::join!(subscribe.send(), delete.send());
    let both = (subscribed.status, deleted.status);
    assert!(both == (201, 409) || both == (404, 200), "{both:?}");
    verified(app).await;
}

#[tokio::test]
async fn the_list_is_by_place_filtered_and_walked() {
    let world = world().await;
    let mut ids = Vec::new();
    for (slug, order) in [("c", 3), ("a", 1), ("b", 2)] {
        let pack = world.pack(slug, 1, json!({"sort_order": order, "is_active": order != 2})).await;
        ids.push((order, pack["id"].clone()));
    }
    ids.sort_by_key(|(order, _)| *order);
    let ids: Vec<Value> = ids.into_iter().map(|(_, id)| id).collect();
    assert_eq!(walk(&world.app, &world.admin, PACKS, "is_active=true", "id").await, ids);
    for (query, found) in [("is_active=false", vec![&ids[1]]), ("q=C", vec![&ids[2]]), ("q=%25", vec![])] {
        let path = format!("{PACKS}?{query}");
        let page = world.app.call("GET", &path).token(&world.admin).send().await.data(200);
        assert_eq!(each(&page, "id"), found, "{query}");
    }
}
