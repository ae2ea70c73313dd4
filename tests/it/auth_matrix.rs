//! Every operation × every kind of caller, from the table of operations: who gets in, and who is told what.
//!
//! What a caller may do is written down here a second time, apart from the server's own table of roles.
use scaicontrol_api::{Level, OPERATIONS, Operation};
use scaicontrol_tests::{OPERATOR, TestApp, given};

/// A caller: how far it reaches, and what it holds to read and to write.
struct Caller {
    name: &'static str,
    token: String,
    reach: Reach,
    reads: Vec<&'static str>,
    writes: Vec<&'static str>,
    everything: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Reach {
    Tenant,
    Partner,
    Platform,
    Service,
}

const ADMIN: [&str; 11] = [
    "admin:billing",
    "admin:tenants",
    "admin:partners",
    "admin:subscriptions",
    "admin:users",
    "admin:groups",
    "admin:provisioning",
    "admin:registry",
    "admin:accounting",
    "admin:platform",
    "admin:usage",
];
const TENANT: [&str; 4] = ["billing:manage", "billing:read", "subscriptions:read", "services:read"];
const SUPPORT: [&str; 5] =
    ["admin:tenants", "admin:subscriptions", "admin:usage", "admin:provisioning", "admin:billing"];
const BILLING: [&str; 6] = [
    "admin:billing",
    "admin:tenants",
    "admin:partners",
    "admin:subscriptions",
    "admin:accounting",
    "admin:usage",
];
const PARTNER: [&str; 8] = [
    "admin:tenants",
    "admin:subscriptions",
    "admin:billing",
    "admin:usage",
    "admin:users",
    "admin:groups",
    "admin:partners",
    "admin:accounting",
];

async fn callers(app: &TestApp) -> Vec<Caller> {
    given::tenant(app, "tnt_acme", "prt_north").await;
    let service = given::service(app, "scaivault").await;
    let all: Vec<&str> = ADMIN.iter().chain(&TENANT).copied().chain(["registry:manage"]).collect();
    let partner: Vec<&str> = PARTNER.iter().chain(&TENANT).copied().collect();
    let of = |name, token, reach, writes: &[&'static str]| {
        let writes = writes.to_vec();
        Caller { name, token, reach, reads: writes.clone(), writes, everything: false }
    };
    let there = |role: &str| app.token(role, "tnt_acme", "prt_north");
    let super_admin =
        Caller { everything: true, ..of("super_admin", app.operator("super_admin"), Reach::Platform, &[]) };
    let support =
        Caller { reads: SUPPORT.to_vec(), ..of("support", app.operator("support"), Reach::Platform, &[]) };
    // The same roles, granted where the operator is not the partner: they say nothing of how far one reaches.
    let stranger = Caller {
        everything: true,
        ..of("super_admin of another partner", there("super_admin"), Reach::Tenant, &[])
    };
    vec![
        super_admin,
        support,
        stranger,
        of("platform_admin", app.operator("platform_admin"), Reach::Platform, &all),
        of("billing_admin", app.operator("billing_admin"), Reach::Platform, &BILLING),
        of("billing_admin of another partner", there("billing_admin"), Reach::Tenant, &BILLING),
        of("partner_admin", there("partner_admin"), Reach::Partner, &partner),
        of("tenant_admin", there("tenant_admin"), Reach::Tenant, &TENANT),
        of("tenant_member", there("tenant_member"), Reach::Tenant, &["subscriptions:read", "services:read"]),
        of("a user without a role", app.token_with(&[], "tnt_acme", "prt_north"), Reach::Tenant, &[]),
        of("every permission, no role", app.token_with(&all, "tnt_acme", "prt_north"), Reach::Tenant, &all),
        of(
            "every permission at the operator",
            app.token_with(&all, "tnt_operator", OPERATOR),
            Reach::Tenant,
            &all,
        ),
        of("a service", service.token, Reach::Service, &["registry:manage", "services:read"]),
        of(
            "a service nobody knows",
            app.service_token("client-unknown"),
            Reach::Service,
            &["registry:manage", "services:read"],
        ),
    ]
}

fn may(caller: &Caller, operation: &Operation) -> bool {
    let reaches = match operation.level {
        Level::Public | Level::TenantOrService => true,
        Level::Tenant => caller.reach != Reach::Service,
        Level::Partner => matches!(caller.reach, Reach::Partner | Reach::Platform),
        Level::Platform => caller.reach == Reach::Platform,
        Level::Service => caller.reach == Reach::Service,
    };
    let held = if operation.method == "GET" { &caller.reads } else { &caller.writes };
    let holds = match operation.permission {
        "none" | "any" => true,
        "any_admin" => held.iter().any(|p| p.starts_with("admin:")),
        permission => held.contains(&permission),
    };
    reaches && (holds || caller.everything)
}

/// A path whose variables could be right, and name nothing.
fn path(operation: &Operation) -> String {
    operation.path_params.iter().fold(operation.path.to_owned(), |path, name| {
        let value = match *name {
            "tenant_id" => "tnt_nobody",
            "partner_id" => "prt_nobody",
            name if name.ends_with("_id") => "0192f0c4-6b02-7d51-8a44-2f7f0b1c9e20",
            _ => "nothing",
        };
        path.replace(&format!("{{{name}}}"), value)
    })
}

#[tokio::test]
async fn without_a_token_only_what_is_public_answers() {
    let app = TestApp::start().await;
    for operation in OPERATIONS {
        let answer = app.call(operation.method, &path(operation)).send().await;
        assert_eq!(
            answer.status == 401,
            operation.level != Level::Public,
            "{}: {}",
            operation.id,
            answer.status
        );
    }
}

#[tokio::test]
async fn a_public_catalogue_is_open_and_nothing_else() {
    let app = TestApp::with(&[("catalog.public", "true")]).await;
    for operation in OPERATIONS {
        let open = operation.level == Level::Public || operation.public_when == Some("catalog.public");
        let answer = app.call(operation.method, &path(operation)).send().await;
        assert_eq!(answer.status == 401, !open, "{}: {}", operation.id, answer.status);
        // A token that is wrong is never better than none.
        let answer = app.call(operation.method, &path(operation)).token("nonsense").send().await;
        assert_eq!(
            answer.status == 401,
            operation.level != Level::Public,
            "{}: {}",
            operation.id,
            answer.status
        );
    }
}

#[tokio::test]
async fn each_caller_gets_in_where_it_may_and_nowhere_else() {
    let app = TestApp::start().await;
    let callers = callers(&app).await;
    let mut wrong = Vec::new();
    for operation in OPERATIONS.iter().filter(|o| o.level != Level::Public) {
        for caller in &callers {
            let answer = app.call(operation.method, &path(operation)).token(&caller.token).send().await;
            let allowed = may(caller, operation);
            if answer.status == 401 || (answer.status == 403) == allowed {
                let said = String::from_utf8_lossy(&answer.body);
                wrong.push(format!(
                    "{} as {}: {} (may: {allowed}) {said}",
                    operation.id, caller.name, answer.status
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn nobody_is_refused_everything() {
    let app = TestApp::start().await;
    // The matrix above would pass with a rule that lets nobody in, were its own table as wrong: these are known.
    for (role, id, allowed) in [
        ("super_admin", "admin_partner_list", true),
        ("support", "admin_invoice_list", true),
        ("support", "admin_invoice_create", false),
        ("billing_admin", "admin_service_create", false),
        ("tenant_member", "invoice_list", false),
        ("tenant_admin", "invoice_list", true),
        ("tenant_admin", "admin_invoice_list", false),
    ] {
        let operation = scaicontrol_tests::spec::operation(id);
        let answer = app.call(operation.method, &path(operation)).token(&app.operator(role)).send().await;
        assert_eq!(answer.status != 403, allowed, "{id} as {role}: {}", answer.status);
    }
}
