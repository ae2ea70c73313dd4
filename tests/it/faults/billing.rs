//! A billing run is killed in the middle: whoever goes on bills the rest, and nothing twice.
use super::{Ended, Stand, ended, kill_database};
use nix::sys::signal::{Signal, kill};
use scaicontrol_tests::{body, wait};
use scaicontrol_types as types;
use serde_json::json;

const TENANTS: i64 = 60;

/// So many tenants of whom the first period is due.
async fn stand(with_workers: bool) -> Stand {
    let stand = Stand::begin(with_workers).await;
    stand.partner().await;
    stand.plan().await;
    for n in 0..TENANTS {
        stand.subscribed(&format!("tnt_{n:03}")).await;
    }
    stand
}

fn asked() -> types::BillingRunRequest {
    body(json!({"dry_run": false}))
}

/// Waits until there are so many of something.
async fn reached(stand: &Stand, of: &str, count: i64) {
    let (db, query) = (stand.db().await, format!("SELECT count(*) FROM {of}"));
    wait::until("enough is billed", async || {
        count <= db.query_one(&query, &[]).await.expect("a count").get::<_, i64>(0)
    })
    .await;
}

/// Fails unless everybody has one invoice, with one line and a number, and nothing is left to do.
async fn all_is_billed_once(stand: &Stand) {
    let twice =
        "invoices WHERE tenant_id IN (SELECT tenant_id FROM invoices GROUP BY 1 HAVING count(*) <> 1)";
    assert_eq!((stand.count("invoices").await, stand.count(twice).await), (TENANTS, 0));
    assert_eq!(stand.count("invoice_lines").await, TENANTS);
    assert_eq!(stand.count("billed_items WHERE kind = 'base' AND status = 'invoiced'").await, TENANTS);
    let numbers = "SELECT array_agg(value ORDER BY value) FROM invoice_numbers";
    let row = stand.db().await.query_one(numbers, &[]).await.expect("numbers");
    assert_eq!(row.get::<_, Vec<i64>>(0), (1..=TENANTS).collect::<Vec<_>>());
    assert_eq!(stand.count("run_drafts").await, 0);
    stand.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_is_finished_by_the_next() {
    let mut stand = stand(false).await;
    let pid = stand.pid();
    let operator = stand.operator();
    let (run, ()) = tokio::join!(operator.admin_billing_run().body(asked()).send(), async {
        reached(&stand, "invoices", 10).await;
        kill(pid, Signal::SIGKILL).expect("killed");
    });
    assert!(matches!(ended(run), Ended::Cut), "it was killed in the middle");
    let billed = stand.count("invoices").await;
    assert!(billed < TENANTS, "{billed} of {TENANTS}");
    stand.start_server().await;
    let operator = stand.operator();
    let postmaster = stand.cluster().pid();
    let (run, ()) = tokio::join!(operator.admin_billing_run().body(asked()).send(), async {
        reached(&stand, "invoices", billed + 8).await;
        kill_database(postmaster);
    });
    assert!(matches!(ended(run), Ended::Cut), "it was cut off in the middle");
    stand.cluster_killed().await;
    stand.start_cluster().await;
    stand.verify().await;
    let left = TENANTS - stand.count("invoices WHERE number IS NOT NULL").await;
    let mut rest = None;
    wait::until("a run ends", async || {
        if let Ended::Done(answer) = ended(operator.admin_billing_run().body(asked()).send().await) {
            rest = Some(answer.data.invoices);
        }
        rest.is_some()
    })
    .await;
    let issued = rest.iter().flatten().filter(|invoice| invoice.number.is_some()).count();
    assert!(left <= i64::try_from(issued).expect("few"), "{issued} of {left} that were left");
    all_is_billed_once(&stand).await;
    let again = operator.admin_billing_run().body(asked()).send().await.expect("a run").into_inner().data;
    assert_eq!(again.invoices.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_is_followed_by_the_next() {
    let mut stand = stand(false).await;
    // From now on it works by itself, from the moment it starts.
    stand.with_workers = true;
    for issued in [10, 30] {
        kill(stand.pid(), Signal::SIGKILL).expect("killed");
        stand.start_server().await;
        reached(&stand, "invoice_numbers", issued).await;
    }
    let postmaster = stand.cluster().pid();
    kill_database(postmaster);
    stand.cluster_killed().await;
    stand.start_cluster().await;
    kill(stand.pid(), Signal::SIGKILL).expect("killed");
    stand.start_server().await;
    reached(&stand, "invoice_numbers", TENANTS).await;
    let db = stand.db().await;
    wait::until("nothing is left to do", async || {
        let left = db.query_one("SELECT count(*) FROM run_drafts", &[]).await.expect("a count");
        left.get::<_, i64>(0) == 0
    })
    .await;
    all_is_billed_once(&stand).await;
}
