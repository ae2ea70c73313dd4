//! The names and bounds that the specification may use.

pub const LEVELS: [&str; 6] = ["public", "tenant", "tenant_or_service", "partner", "platform", "service"];
pub const SCOPES: [&str; 16] = [
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
    "billing:manage",
    "billing:read",
    "subscriptions:read",
    "services:read",
    "registry:manage",
];
/// Answers that are not wrapped in `data` and `meta`.
pub(super) const BARE: [&str; 4] = ["auth_config_get", "auth_me_get", "auth_token_proxy", "health_get"];
pub(super) const KEYWORDS: &str = "as async await box break const continue crate dyn else enum extern false fn for gen if impl in let \
    loop match mod move mut pub ref return self static struct super trait true try type union unsafe use where while yield";
pub(super) const MAX_CENTS: i64 = 900_719_925_474_099;
