//! Roles, the permissions they grant, and the decision whether a caller may run an operation.
//!
//! All of it is data and pure functions: the tests walk every role, level and operation.
use scaicontrol_api::{CallerLevel, Level};
use std::collections::BTreeSet;

/// The permissions that operations ask for.
pub const PERMISSIONS: [&str; 16] = [
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

/// How far a permission reaches: GET and HEAD need `Read`, all else `Write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Look.
    Read,
    /// Look and change.
    Write,
}

impl Access {
    /// What a method needs.
    pub fn of(method: &http::Method) -> Access {
        if *method == http::Method::GET || *method == http::Method::HEAD {
            Access::Read
        } else {
            Access::Write
        }
    }
}

/// A role's name, whether it belongs to the operator, and what it grants.
#[derive(Debug)]
pub struct Role {
    /// As it stands in tokens and in the database.
    pub name: &'static str,
    /// Whether it makes its holder platform staff, when its partner is the operator.
    pub platform: bool,
    /// What it grants.
    pub grants: Grants,
}

/// What a role grants.
#[derive(Debug)]
pub enum Grants {
    /// Passes every check of its level.
    Everything,
    /// Every permission, to change.
    AllPermissions,
    /// These, to look or to change.
    These(Access, &'static [&'static str]),
}

use Access::{Read, Write};
use Grants::{AllPermissions, Everything, These};

/// Every role there is.
pub const ROLES: [Role; 8] = [
    Role { name: "super_admin", platform: true, grants: Everything },
    Role { name: "platform_admin", platform: true, grants: AllPermissions },
    Role {
        name: "billing_admin",
        platform: true,
        grants: These(
            Write,
            &[
                "admin:billing",
                "admin:tenants",
                "admin:partners",
                "admin:subscriptions",
                "admin:accounting",
                "admin:usage",
            ],
        ),
    },
    Role {
        name: "support",
        platform: true,
        grants: These(
            Read,
            &["admin:tenants", "admin:subscriptions", "admin:usage", "admin:provisioning", "admin:billing"],
        ),
    },
    Role {
        name: PARTNER_ADMIN,
        platform: false,
        grants: These(
            Write,
            &[
                "admin:tenants",
                "admin:subscriptions",
                "admin:billing",
                "admin:usage",
                "admin:users",
                "admin:groups",
                "admin:partners",
                "admin:accounting",
                "billing:manage",
                "billing:read",
                "subscriptions:read",
                "services:read",
            ],
        ),
    },
    Role {
        name: "tenant_admin",
        platform: false,
        grants: These(Write, &["billing:manage", "billing:read", "subscriptions:read", "services:read"]),
    },
    Role {
        name: "tenant_member",
        platform: false,
        grants: These(Write, &["subscriptions:read", "services:read"]),
    },
    Role {
        name: SERVICE_ACCOUNT,
        platform: false,
        grants: These(Write, &["registry:manage", "services:read"]),
    },
];

const PARTNER_ADMIN: &str = "partner_admin";
/// The role of a service that shows its key.
pub const SERVICE_ACCOUNT: &str = "service_account";

/// The role of that name.
pub fn role(name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|r| r.name == name)
}

/// What a caller may do, at whatever its level is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    everything: bool,
    read: BTreeSet<&'static str>,
    write: BTreeSet<&'static str>,
}

impl Held {
    /// The permissions of these roles, and these permissions by themselves; unknown names grant nothing.
    pub fn new<'a>(
        roles: impl IntoIterator<Item = &'a str>,
        permissions: impl IntoIterator<Item = &'a str>,
    ) -> Held {
        let mut held = Held::default();
        for role in roles.into_iter().filter_map(role) {
            match &role.grants {
                Everything => held.everything = true,
                AllPermissions => held.write.extend(PERMISSIONS),
                These(Read, names) => held.read.extend(names.iter()),
                These(Write, names) => held.write.extend(names.iter()),
            }
        }
        for permission in permissions {
            held.write.extend(PERMISSIONS.iter().find(|p| **p == permission));
        }
        held
    }

    /// Whether it includes this permission.
    pub fn has(&self, permission: &str, access: Access) -> bool {
        self.everything
            || self.write.contains(permission)
            || (access == Read && self.read.contains(permission))
    }

    /// Whether it includes any of the administration's permissions.
    pub fn has_any_admin(&self, access: Access) -> bool {
        PERMISSIONS.iter().any(|p| p.starts_with("admin:") && self.has(p, access))
    }

    /// Every permission that can at least be read with, in alphabetical order.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = PERMISSIONS.into_iter().filter(|p| self.has(p, Read)).collect();
        names.sort_unstable();
        names
    }
}

/// The level of a person: staff of the platform only when the role is one of the platform's *and* the partner is the
/// operator, so that no partner can make its people staff.
pub fn level_of_user<'a>(
    roles: impl IntoIterator<Item = &'a str>,
    partner_id: &str,
    operator_partner_id: Option<&str>,
) -> CallerLevel {
    let mut level = CallerLevel::Tenant;
    for name in roles {
        if role(name).is_some_and(|r| r.platform) && operator_partner_id == Some(partner_id) {
            return CallerLevel::Platform;
        }
        if name == PARTNER_ADMIN {
            level = CallerLevel::Partner;
        }
    }
    level
}

/// What an operation asks of its caller.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// Who may call.
    pub level: Level,
    /// `any`, `any_admin`, `none`, or one of [`PERMISSIONS`].
    pub permission: &'a str,
    /// Whether it changes anything.
    pub access: Access,
}

/// Whether a caller may run an operation, and if not, why (the caller reads it).
pub fn authorise(level: CallerLevel, held: &Held, needs: Needs<'_>) -> Result<(), String> {
    use CallerLevel as C;
    let refusal = match (needs.level, level) {
        (Level::Public, _) => return Ok(()),
        (_, C::Public) => "this needs a token",
        (Level::Tenant, C::Service) => "a service account has no tenant of its own; this is for users",
        (Level::Tenant, _) | (Level::TenantOrService, _) => "",
        (Level::Partner, C::Partner | C::Platform)
        | (Level::Platform, C::Platform)
        | (Level::Service, C::Service) => "",
        (Level::Partner, _) => "this is for staff of partners and of the platform",
        (Level::Platform, _) => "this is for staff of the platform",
        (Level::Service, _) => "this is for service accounts",
    };
    if !refusal.is_empty() {
        return Err(refusal.to_owned());
    }
    let granted = match needs.permission {
        "any" | "none" => true,
        "any_admin" => held.has_any_admin(needs.access),
        permission => held.has(permission, needs.access),
    };
    if granted {
        return Ok(());
    }
    Err(match (needs.permission, needs.access) {
        ("any_admin", _) => "this needs a permission of the administration".to_owned(),
        (permission, Read) => format!("this needs the permission {permission}"),
        (permission, Write) => format!("this needs the permission {permission}, to change"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [CallerLevel; 5] = [
        CallerLevel::Public,
        CallerLevel::Tenant,
        CallerLevel::Partner,
        CallerLevel::Platform,
        CallerLevel::Service,
    ];
    const NEEDED: [Level; 6] = [
        Level::Public,
        Level::Tenant,
        Level::TenantOrService,
        Level::Partner,
        Level::Platform,
        Level::Service,
    ];

    fn may(level: CallerLevel, roles: &[&str], permissions: &[&str], needs: (Level, &str, Access)) -> bool {
        let held = Held::new(roles.iter().copied(), permissions.iter().copied());
        authorise(level, &held, Needs { level: needs.0, permission: needs.1, access: needs.2 }).is_ok()
    }

    /// Said again, in another form than the code: who reaches which level at all.
    fn reaches(level: CallerLevel, needed: Level) -> bool {
        use CallerLevel as C;
        match needed {
            Level::Public => true,
            Level::Tenant => [C::Tenant, C::Partner, C::Platform].contains(&level),
            Level::TenantOrService => level != C::Public,
            Level::Partner => [C::Partner, C::Platform].contains(&level),
            Level::Platform => level == C::Platform,
            Level::Service => level == C::Service,
        }
    }

    #[test]
    fn every_role_level_permission_and_method() {
        for role in &ROLES {
            for level in LEVELS {
                for needed in NEEDED {
                    for permission in PERMISSIONS {
                        for access in [Read, Write] {
                            let granted = match &role.grants {
                                Everything | AllPermissions => true,
                                These(up_to, names) => names.contains(&permission) && access <= *up_to,
                            };
                            let expected = needed == Level::Public || (reaches(level, needed) && granted);
                            let got = may(level, &[role.name], &[], (needed, permission, access));
                            assert_eq!(
                                got, expected,
                                "{} as {level:?}: {needed:?} {permission} {access:?}",
                                role.name
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_permission_never_makes_a_level() {
        for permission in PERMISSIONS {
            for needed in [Level::Partner, Level::Platform, Level::Service] {
                assert!(
                    !may(CallerLevel::Tenant, &[], &PERMISSIONS, (needed, permission, Read)),
                    "{needed:?} {permission}"
                );
            }
            assert!(may(CallerLevel::Platform, &[], &[permission], (Level::Partner, permission, Write)));
        }
        assert!(may(CallerLevel::Tenant, &[], &["billing:read"], (Level::Tenant, "billing:read", Read)));
    }

    #[test]
    fn any_and_any_admin() {
        assert!(may(CallerLevel::Tenant, &[], &[], (Level::Tenant, "any", Write)));
        assert!(!may(CallerLevel::Service, &[SERVICE_ACCOUNT], &[], (Level::Tenant, "any", Read)));
        assert!(may(CallerLevel::Service, &[], &[], (Level::TenantOrService, "any", Read)));
        assert!(may(CallerLevel::Platform, &["support"], &[], (Level::Partner, "any_admin", Read)));
        assert!(!may(CallerLevel::Platform, &["support"], &[], (Level::Partner, "any_admin", Write)));
        assert!(!may(CallerLevel::Partner, &["tenant_admin"], &[], (Level::Partner, "any_admin", Read)));
        assert!(may(CallerLevel::Public, &[], &[], (Level::Public, "none", Write)));
        assert!(!may(CallerLevel::Public, &["super_admin"], &[], (Level::Tenant, "any", Read)));
    }

    #[test]
    fn only_the_operators_people_are_staff_of_the_platform() {
        for role in &ROLES {
            let at_operator = level_of_user([role.name], "prt_op", Some("prt_op"));
            let elsewhere = level_of_user([role.name], "prt_other", Some("prt_op"));
            assert_eq!(at_operator == CallerLevel::Platform, role.platform, "{}", role.name);
            assert_ne!(elsewhere, CallerLevel::Platform, "{}", role.name);
            assert_ne!(level_of_user([role.name], "prt_op", None), CallerLevel::Platform, "{}", role.name);
        }
        let both = ["partner_admin", "support"];
        assert_eq!(level_of_user(both, "prt_op", Some("prt_op")), CallerLevel::Platform);
        assert_eq!(level_of_user(both, "prt_other", Some("prt_op")), CallerLevel::Partner);
        assert_eq!(
            level_of_user(["tenant_admin", "no_such_role"], "prt_op", Some("prt_op")),
            CallerLevel::Tenant
        );
    }

    #[test]
    fn names_that_nobody_knows_grant_nothing() {
        let held = Held::new(["root", "SUPER_ADMIN"], ["openid", "admin:everything", "admin:*"]);
        assert_eq!(held, Held::default());
        assert!(held.names().is_empty());
        assert_eq!(Held::new(["super_admin"], []).names().len(), PERMISSIONS.len());
        assert_eq!(
            Held::new(["tenant_member"], ["billing:read"]).names(),
            ["billing:read", "services:read", "subscriptions:read"]
        );
    }

    #[test]
    fn head_and_get_read_and_all_else_writes() {
        for method in ["GET", "HEAD"] {
            assert_eq!(Access::of(&method.parse().expect("method")), Read);
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            assert_eq!(Access::of(&method.parse().expect("method")), Write);
        }
    }
}
