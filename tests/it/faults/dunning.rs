//! The same for what the workers do by themselves: reminders and announcements go out once, wherever the server is killed.
use super::Stand;
use crate::prices::COPIES;
use nix::sys::signal::{Signal, kill};
use scaicontrol_tests::{body, wait};
use scaicontrol_types as types;
use serde_json::json;

const INVOICES: i64 = 60;
/// Those who were told of the new price.
const TOLD: &str = "notifications WHERE message = 'renewal_price_change'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_overdue_invoice_is_mailed_once() {
    let mut stand = Stand::start().await;
    stand.partner().await;
    stand.tenant("tnt_acme").await;
    let operator = stand.operator();
    for _ in 0..INVOICES {
        let asked: types::AdminInvoiceCreateRequest = body(json!({
            "tenant_id": "tnt_acme", "currency": "EUR",
            "line_items": [{"description": "Consulting", "quantity": "1", "unit_price_cents": "10000"}],
        }));
        let draft =
            operator.admin_invoice_create().body(asked).send().await.expect("a draft").into_inner().data;
        operator.admin_invoice_finalize().invoice_id(draft.id).send().await.expect("issued");
    }
    kill(stand.pid(), Signal::SIGKILL).expect("killed");
    // Five days past due: the reminders of day 0 and of day 3 were missed, of which one is mailed.
    let late = "SET session_replication_role = replica;
        UPDATE invoices SET overdue_at = now() - interval '5 days 1 hour';
        UPDATE billing_profiles SET contact_email = 'finance@example.com'; RESET session_replication_role";
    stand.db().await.batch_execute(late).await.expect("late");
    for share in [4, 2] {
        stand.start_server().await;
        wait::until("some are past due", async || INVOICES / share <= stand.count("dunning_cases").await)
            .await;
        kill(stand.pid(), Signal::SIGKILL).expect("killed");
    }
    stand.start_server().await;
    wait::until("all are past due", async || stand.count("dunning_cases").await == INVOICES).await;
    assert_eq!(stand.count("invoices WHERE status = 'past_due'").await, INVOICES);
    let once =
        "(SELECT invoice_id, count(*) n FROM mails WHERE kind = 'payment_failed' GROUP BY 1) x WHERE n = 1";
    assert_eq!((stand.count(once).await, stand.count("mails").await), (INVOICES, INVOICES));
    assert_eq!(stand.count("notifications WHERE message = 'invoice_past_due'").await, INVOICES);
    assert_eq!(stand.count("dunning_cases WHERE reminded_day = 3").await, INVOICES);
    stand.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_subscriber_is_told_of_a_new_price_once() {
    let mut stand = Stand::start().await;
    stand.partner().await;
    stand.plan().await;
    stand.subscribed("tnt_acme").await;
    kill(stand.pid(), Signal::SIGKILL).expect("killed");
    let db = stand.db().await;
    db.batch_execute(COPIES).await.expect("copies");
    // As a change of the price leaves it.
    let change = "INSERT INTO plan_versions SELECT plan_id, 2, now(), 5900, now() FROM plan_versions;
        INSERT INTO price_announcements (source_type, source_id, version, created_at) SELECT 'plan', plan_id, 2, now() FROM plan_versions WHERE version = 2";
    db.batch_execute(change).await.expect("a new price");
    stand.start_server().await;
    wait::until("some are told", async || 200 <= stand.count(TOLD).await).await;
    kill(stand.pid(), Signal::SIGKILL).expect("killed");
    stand.start_server().await;
    wait::until("it is finished", async || {
        stand.count("price_announcements WHERE finished_at IS NOT NULL").await == 1
    })
    .await;
    let once = "(SELECT tenant_id, count(*) n FROM notifications WHERE message = 'renewal_price_change' GROUP BY 1) x WHERE n = 1";
    assert_eq!((stand.count(once).await, stand.count(TOLD).await), (451, 451));
}
