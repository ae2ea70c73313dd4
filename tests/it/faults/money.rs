//! The same for money on issued invoices: each movement that is asked for under a key happens once.
use super::{Ended, Stand, ended, kill_database};
use futures::future::join_all;
use nix::sys::signal::{Signal, kill};
use scaicontrol_client::Client;
use scaicontrol_tests::{body, wait};
use scaicontrol_types as types;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Mutex;
use uuid::Uuid;

const INVOICES: usize = 6;
const JOBS: usize = 96;

/// An invoice that all of it fits on, and its line.
async fn issued(client: &Client) -> (Uuid, Uuid) {
    let asked: types::AdminInvoiceCreateRequest = body(json!({
        "tenant_id": "tnt_acme", "currency": "EUR",
        "line_items": [{"description": "Consulting", "quantity": "1", "unit_price_cents": "1000000"}],
    }));
    let draft = client.admin_invoice_create().body(asked).send().await.expect("a draft").into_inner().data;
    let issued =
        client.admin_invoice_finalize().invoice_id(draft.id).send().await.expect("issued").into_inner();
    (draft.id, issued.data.line_items[0].id)
}

/// Whether it was done, whatever was answered.
fn done<T>(ended: Ended<T>) -> Ended<()> {
    match ended {
        Ended::Done(_) => Ended::Done(()),
        Ended::Refused(status) => Ended::Refused(status),
        Ended::Cut => Ended::Cut,
    }
}

/// Asks for one movement of money under a key of its own: paid, credited, or sent back.
async fn ask(client: &Client, (invoice, line): (Uuid, Uuid), job: usize) -> Ended<()> {
    let key = format!("job-{job}");
    match job % 3 {
        0 => {
            let asked: types::InvoiceMarkPaidRequest = body(json!({
                "paid_at": "2026-01-01T00:00:00Z", "reference": key, "amount_cents": 5000 + job, "method": "bank_transfer",
            }));
            let call = client.admin_invoice_mark_paid().invoice_id(invoice).idempotency_key(key).body(asked);
            done(ended(call.send().await))
        }
        1 => {
            let lines = json!([{"line_item_id": line, "amount_cents": 1000 + job}]);
            let asked: types::CreditNoteCreateRequest = body(json!({"reason": key, "lines": lines}));
            let call = client
                .admin_invoice_credit_note_create()
                .invoice_id(invoice)
                .idempotency_key(key)
                .body(asked);
            done(ended(call.send().await))
        }
        _ => {
            let asked: types::InvoiceRefundRequest = body(json!({"reason": key, "amount_cents": 100 + job}));
            let call = client.admin_invoice_refund().invoice_id(invoice).idempotency_key(key).body(asked);
            done(ended(call.send().await))
        }
    }
}

/// Sixteen clients, each with jobs of its own, until a request is cut off. Notes which jobs were acknowledged.
async fn clients(stand: &Stand, invoices: &[(Uuid, Uuid)], acknowledged: &Mutex<BTreeSet<usize>>) {
    let client = stand.operator();
    let one = async |turn: usize| {
        for job in (turn..JOBS).step_by(16) {
            if acknowledged.lock().expect("not poisoned").contains(&job) {
                continue;
            }
            match ask(&client, invoices[job % INVOICES], job).await {
                Ended::Done(()) => {
                    acknowledged.lock().expect("not poisoned").insert(job);
                }
                // A refund may come before the payment, and a repeat while what was cut off still runs.
                Ended::Refused(status) => assert_eq!(status, 409, "job {job}"),
                Ended::Cut => return,
            }
        }
    };
    join_all((0..16).map(one)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_moves_once_whoever_is_killed() {
    let mut stand = Stand::start().await;
    stand.partner().await;
    stand.tenant("tnt_acme").await;
    let operator = stand.operator();
    let mut invoices = Vec::new();
    for _ in 0..INVOICES {
        invoices.push(issued(&operator).await);
    }
    // Something to send back, so that no refund waits for long.
    for (invoice, _) in &invoices {
        let asked: types::InvoiceMarkPaidRequest = body(json!({
            "paid_at": "2026-01-01T00:00:00Z", "reference": invoice, "amount_cents": 50_000, "method": "cash",
        }));
        operator.admin_invoice_mark_paid().invoice_id(*invoice).body(asked).send().await.expect("paid");
    }
    let acknowledged = Mutex::new(BTreeSet::new());
    let reached = async |count: usize| {
        wait::until("enough is acknowledged", async || {
            count <= acknowledged.lock().expect("not poisoned").len()
        })
        .await;
    };
    let pid = stand.pid();
    tokio::join!(clients(&stand, &invoices, &acknowledged), async {
        reached(12).await;
        kill(pid, Signal::SIGKILL).expect("killed");
    });
    stand.start_server().await;
    let so_far = acknowledged.lock().expect("not poisoned").len();
    let postmaster = stand.cluster().pid();
    tokio::join!(clients(&stand, &invoices, &acknowledged), async {
        reached((so_far + 12).min(JOBS - 20)).await;
        kill_database(postmaster);
    });
    stand.cluster_killed().await;
    stand.start_cluster().await;
    stand.verify().await;
    wait::until("all is acknowledged", async || {
        clients(&stand, &invoices, &acknowledged).await;
        acknowledged.lock().expect("not poisoned").len() == JOBS
    })
    .await;

    let third = i64::try_from(JOBS / 3).expect("a count");
    assert_eq!(stand.count("payments WHERE method_type = 'bank_transfer' AND kind = 'payment'").await, third);
    for (table, name) in [
        ("payments WHERE reference LIKE 'job-%'", "reference"),
        ("invoices WHERE document_type = 'credit_note' AND notes LIKE 'job-%'", "notes"),
    ] {
        let all = stand.count(table).await;
        assert_eq!(stand.count(&format!("(SELECT DISTINCT {name} FROM {table}) t")).await, all, "{table}");
    }
    // A refund goes back through one payment or more, once: its sum is what was asked.
    let sums = "(SELECT reason, sum(amount_cents) AS amount FROM payments WHERE kind = 'refund' AND reason LIKE 'job-%' GROUP BY 1) r
        WHERE amount = 100 + substr(reason, 5)::bigint";
    assert_eq!(stand.count(sums).await, third);
    let notes = "(SELECT 1 FROM invoice_numbers WHERE series = 'credit_note' GROUP BY partner_id HAVING count(*) = max(value)) t";
    assert_eq!(stand.count(notes).await, 1);
    stand.verify().await;
}
