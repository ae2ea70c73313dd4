//! How many operations each group has, built and planned, and that it is as many as it must be.
use crate::bundle::{Bundle, operations};
use std::fmt::Write;

/// The groups and the number of operations of each, 167 in all.
pub const GROUPS: [(&str, usize); 30] = [
    ("auth", 3),
    ("untagged", 2),
    ("catalog", 4),
    ("subscriptions", 6),
    ("service-packs", 5),
    ("billing", 17),
    ("organization", 4),
    ("notifications", 3),
    ("uploads", 3),
    ("metering", 6),
    ("provisioning", 4),
    ("registry", 4),
    ("entrypoints", 1),
    ("webhooks", 4),
    ("service-billing", 7),
    ("admin", 9),
    ("admin-billing", 26),
    ("admin-tenants", 3),
    ("admin-partners", 6),
    ("admin-subscriptions", 7),
    ("admin-packs", 5),
    ("admin-webhook-subscriptions", 4),
    ("admin-users", 6),
    ("admin-groups", 4),
    ("admin-platform", 2),
    ("admin-accounting", 9),
    ("admin-provisioning", 4),
    ("admin-entrypoints", 4),
    ("admin-lookups", 3),
    ("admin-usage", 2),
];

/// The table as text, and the groups whose count is wrong.
pub fn table(bundle: &Bundle) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut wrong = Vec::new();
    let _ = writeln!(text, "{:<28} {:>10} {:>6} {:>8}", "group", "operations", "built", "planned");
    let (mut all, mut all_built) = (0, 0);
    for (group, want) in GROUPS {
        let ops: Vec<_> = operations(&bundle.doc)
            .into_iter()
            .filter(|(path, method, _)| {
                bundle.operation_file.get(&format!("{path} {method}")).is_some_and(|f| f == group)
            })
            .collect();
        let built = ops.iter().filter(|(_, _, op)| op["x-planned"] != true).count();
        let mark = if ops.len() == want { String::new() } else { format!("  must be {want}") };
        let _ = writeln!(text, "{group:<28} {:>10} {built:>6} {:>8}{mark}", ops.len(), ops.len() - built);
        if ops.len() != want {
            wrong.push(format!("{group}: {} operations, must be {want}", ops.len()));
        }
        all += ops.len();
        all_built += built;
    }
    let _ = writeln!(text, "{:<28} {all:>10} {all_built:>6} {:>8}", "total", all - all_built);
    (text, wrong)
}
