//! The harness itself: what every other test takes for granted.
use scaicontrol_tests::{TestApp, given};

#[tokio::test]
async fn a_server_answers_and_leaves_nothing() {
    let app = TestApp::start().await;
    let health = app.call("GET", "/health").send().await.expect(200);
    assert_eq!(health["status"], "ok", "{health}");
    let admin = app.db().await;
    let row = admin.query_one("SELECT current_database()::text", &[]).await.expect("a row");
    let name: String = row.get(0);
    drop(app);
    let cluster = scaicontrol_tests::database::Database::empty().await;
    let there =
        cluster.connect().await.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name]).await;
    assert!(there.expect("the list").is_none(), "{name} is still there");
}

#[tokio::test]
async fn what_tests_begin_with_can_be_made() {
    let app = TestApp::start().await;
    let tenant = given::tenant(&app, "tnt_acme", "prt_north").await;
    let service = given::service(&app, "scaivault").await;
    let plan = given::plan(&app, &service, "pro", 4900).await;
    given::subscription(&app, &tenant, &plan, 2).await;
    given::draft(&app, &app.operator("billing_admin"), &tenant, "10000").await;
}
