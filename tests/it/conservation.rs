//! Money is neither lost nor made: any sequence of what can happen to invoices, one after another and all at once.
//!
//! The sequences are drawn from a fixed seed, so that a failure is the same the next time. Beside the server runs a model
//! of the domain's rules on plain values: each step must be refused by both or by neither, and leave the same amounts.
use crate::admin_billing::{INVOICES, create, start};
use crate::payments::{ask, issued, paid};
use crate::support::{agrees, cents, get, uuid, verified};
use futures::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scaicontrol_domain::credit_note::{self, CreditNote, InvoicedLine};
use scaicontrol_domain::invoice::Balance;
use scaicontrol_domain::money::Cents;
use scaicontrol_domain::settlement::{Settlement, credit_used, take_oldest};
use scaicontrol_domain::tax::{Category, TaxLine, compute};
use scaicontrol_tests::TestApp;
use scaicontrol_tests::given::{self, Tenant};
use serde_json::{Value, json};
use uuid::Uuid;

/// Sequences that are tried.
const SEQUENCES: usize = 20;

/// One thing that happens. Amounts are far above and below what the invoices come to, and some are refused.
#[derive(Clone, Debug)]
enum Step {
    /// Net amounts with their rates.
    Issue(Vec<(i64, u32)>),
    Pay(usize, i64),
    WriteOff(usize, i64),
    /// Lines by their place, and how much of each.
    Credit(usize, Vec<(usize, Option<i64>)>, bool),
    CreditAll(usize, bool),
    Refund(usize, Option<i64>),
    Void(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let line = (prop_oneof![9 => 1_i64..4_000, 1 => -1_500_i64..-1], prop::sample::select(vec![21_u32, 9]));
    let issue = prop::collection::vec(line, 1..5).prop_map(Step::Issue);
    let which = 0_usize..8;
    let lines = prop::collection::vec((0_usize..4, prop::option::of(1_i64..2_500)), 1..3);
    let step = prop_oneof![
        3 => issue.clone(),
        5 => (which.clone(), 1_i64..6_000).prop_map(|(i, a)| Step::Pay(i, a)),
        1 => (which.clone(), 1_i64..2_000).prop_map(|(i, a)| Step::WriteOff(i, a)),
        5 => (which.clone(), lines, any::<bool>()).prop_map(|(i, l, r)| Step::Credit(i, l, r)),
        1 => (which.clone(), any::<bool>()).prop_map(|(i, r)| Step::CreditAll(i, r)),
        4 => (which.clone(), prop::option::weighted(0.8, 1_i64..3_000)).prop_map(|(i, a)| Step::Refund(i, a)),
        1 => which.prop_map(Step::Void),
    ];
    (issue, prop::collection::vec(step, 8..20)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        rest
    })
}

struct Invoice {
    id: Uuid,
    line_ids: Vec<Uuid>,
    lines: Vec<InvoicedLine>,
    stands: Settlement,
    is_void: bool,
}

/// What the rules say.
#[derive(Default)]
struct Model {
    invoices: Vec<Invoice>,
    /// Credit by the invoice it came from, the oldest first.
    lots: Vec<(usize, Cents)>,
}

impl Model {
    /// An invoice of these lines; none when they come to less than nothing.
    fn issue(&mut self, lines: &[(i64, u32)]) -> Option<(Settlement, Vec<InvoicedLine>)> {
        let rated: Vec<_> = lines
            .iter()
            .map(|(net, rate)| TaxLine {
                amount: Cents(*net),
                category: Category::Standard,
                rate: (*rate).into(),
            })
            .collect();
        let total = compute(&rated).expect("sums").total;
        if total < Cents::ZERO {
            return None;
        }
        let parts: Vec<Cents> = self.lots.iter().map(|(_, left)| *left).collect();
        let used = credit_used(total, Cents::sum(parts.iter().copied()).expect("a sum"));
        for (lot, part) in take_oldest(&parts, used).expect("enough") {
            self.lots[lot].1.0 -= part.0;
        }
        let lines = rated.iter().map(|line| InvoicedLine {
            category: line.category,
            rate: line.rate,
            net: line.amount,
            cost: Cents::ZERO,
            net_credited: Cents::ZERO,
            tax_credited: Cents::ZERO,
            cost_credited: Cents::ZERO,
        });
        let stands = Settlement {
            balance: Balance { total, paid: used, credited: Cents::ZERO },
            written_off: Cents::ZERO,
            captured: Cents::ZERO,
            refunded: Cents::ZERO,
            credit_left: Cents::ZERO,
        };
        Some((stands, lines.collect()))
    }

    /// Brings the tenant's credit in line with what happened to the credit of one invoice.
    fn settle(&mut self, index: usize, after: Settlement) {
        let own: Vec<usize> = (0..self.lots.len()).filter(|lot| self.lots[*lot].0 == index).collect();
        let parts: Vec<Cents> = own.iter().map(|lot| self.lots[*lot].1).collect();
        let before = Cents::sum(parts.iter().copied()).expect("a sum");
        if before < after.credit_left {
            self.lots.push((index, Cents(after.credit_left.0 - before.0)));
        } else {
            for (part, taken) in take_oldest(&parts, Cents(before.0 - after.credit_left.0)).expect("enough") {
                self.lots[own[part]].1.0 -= taken.0;
            }
        }
        self.invoices[index].stands = after;
    }

    /// Where an invoice stands, with the credit that is left of it now.
    fn now(&self, index: usize) -> Settlement {
        let own = self.lots.iter().filter(|(origin, _)| *origin == index).map(|(_, left)| *left);
        Settlement { credit_left: Cents::sum(own).expect("a sum"), ..self.invoices[index].stands }
    }

    fn book(&mut self, index: usize, note: &CreditNote) {
        for part in &note.lines {
            let line = &mut self.invoices[index].lines[part.index];
            line.net_credited.0 += part.net.0;
            line.tax_credited.0 += part.tax.0;
        }
    }

    /// Whether a step on an issued invoice is done, by the rules alone.
    fn apply(&mut self, index: usize, step: &Step) -> bool {
        let mut now = self.now(index);
        let (due, is_paid) = (now.due().expect("a sum"), now.due() == Ok(Cents::ZERO));
        let invoice = &self.invoices[index];
        if invoice.is_void {
            return false;
        }
        let note = match step {
            Step::Pay(_, amount) if !is_paid => now.pay(Cents(*amount)).map(|_| None).ok(),
            Step::WriteOff(_, amount) if !is_paid => now.write_off(Cents(*amount)).map(|()| None).ok(),
            Step::Credit(_, _, refund) | Step::CreditAll(_, refund) => {
                let note = match step {
                    Step::Credit(_, asked, _) => {
                        let lines: Vec<_> = asked.iter().map(|(l, a)| (*l, a.map(Cents))).collect();
                        credit_note::of_lines(&invoice.lines, &lines).ok()
                    }
                    _ => credit_note::whole(&invoice.lines).ok(),
                };
                let held = !refund || now.held() != Ok(Cents::ZERO);
                note.filter(|note| held && now.credit(note.gross, *refund).is_ok()).map(Some)
            }
            Step::Refund(_, amount) => {
                let amount = amount.map_or_else(|| now.refundable().expect("a sum"), Cents);
                now.refund(amount)
                    .ok()
                    .map(|split| credit_note::of_amount(&invoice.lines, split.by_credit_note).ok())
            }
            Step::Void(_) if now.balance.check_voidable().is_ok() && due > Cents::ZERO => {
                let note = credit_note::whole(&invoice.lines).expect("a whole invoice");
                now.credit(note.gross, false).expect("all of it");
                Some(Some(note))
            }
            _ => None,
        };
        let Some(note) = note else { return false };
        self.invoices[index].is_void |= matches!(step, Step::Void(_));
        if let Some(note) = note {
            self.book(index, &note);
        }
        self.settle(index, now);
        true
    }
}

/// Does a step at the server, and answers whether it was done. Nothing but a refusal is an answer to what cannot be done.
async fn happens(app: &TestApp, admin: &str, invoice: &Invoice, step: &Step) -> bool {
    let settle = |refund: bool| if refund { "refund" } else { "customer_credit" };
    let (what, asked) = match step {
        Step::Issue(_) => unreachable!("an invoice is not issued twice"),
        Step::Pay(_, amount) => ("mark-paid", paid(Some(*amount), "bank_transfer")),
        Step::WriteOff(_, amount) => ("mark-paid", paid(Some(*amount), "write_off")),
        Step::Credit(_, lines, refund) => {
            let lines: Vec<Value> = lines
                .iter()
                .map(|(line, amount)| {
                    let mut asked =
                        json!({"line_item_id": invoice.line_ids.get(*line).copied().unwrap_or_default()});
                    if let Some(amount) = amount {
                        asked["amount_cents"] = json!(amount);
                    }
                    asked
                })
                .collect();
            ("credit-note", json!({"reason": "part", "lines": lines, "settle": settle(*refund)}))
        }
        Step::CreditAll(_, refund) => ("credit-note", json!({"reason": "all", "settle": settle(*refund)})),
        Step::Refund(_, None) => ("refund", json!({"reason": "all"})),
        Step::Refund(_, Some(amount)) => ("refund", json!({"reason": "part", "amount_cents": amount})),
        Step::Void(_) => ("void", json!({"reason": "wrong"})),
    };
    let answer = ask(app, admin, invoice.id, what, &asked).send().await;
    match answer.status {
        200 | 201 => true,
        400 | 409 => false,
        other => panic!("{step:?}: {other}: {}", String::from_utf8_lossy(&answer.body)),
    }
}

/// Fails unless the server's invoice stands where the model's does.
async fn compare(app: &TestApp, admin: &str, invoice: &Invoice, after: &str) {
    let seen = get(app, admin, invoice.id).await;
    let balance = invoice.stands.balance;
    let due = balance.due().expect("a sum");
    let wanted = [balance.total, balance.paid, balance.credited, due].map(|c| c.0);
    let found = ["total_cents", "paid_cents", "credited_cents", "due_cents"].map(|f| cents(&seen[f]));
    assert_eq!(found, wanted, "after {after}");
    agrees(&seen);
}

async fn sequence(app: &TestApp, admin: &str, tenant: &Tenant, steps: &[Step]) {
    let mut model = Model::default();
    for (at, step) in steps.iter().enumerate() {
        let after = || format!("step {at} of {steps:#?}");
        if let Step::Issue(lines) = step {
            let asked = lines.iter().map(|(net, rate)| {
                json!({"description": "line", "quantity": net.signum().to_string(), "unit_price_cents": net.abs().to_string(), "tax_rate": rate.to_string()})
            });
            let draft = create(app, admin, tenant, asked.collect()).await;
            let id = uuid(&draft["id"]);
            let answer = app.call("POST", &format!("{INVOICES}/{id}/finalize")).token(admin).send().await;
            let Some((stands, lines)) = model.issue(lines) else {
                answer.refused(400).names("line_items");
                continue;
            };
            let issued = answer.data(200);
            let line_ids =
                issued["line_items"].as_array().expect("lines").iter().map(|l| uuid(&l["id"])).collect();
            model.invoices.push(Invoice { id, line_ids, lines, stands, is_void: false });
            compare(app, admin, &model.invoices[model.invoices.len() - 1], &after()).await;
            continue;
        }
        let (Step::Pay(which, _)
        | Step::WriteOff(which, _)
        | Step::Credit(which, ..)
        | Step::CreditAll(which, _)
        | Step::Refund(which, _)
        | Step::Void(which)) = step
        else {
            continue;
        };
        if model.invoices.is_empty() {
            continue;
        }
        let index = which % model.invoices.len();
        if let Step::Credit(_, lines, _) = step
            && lines.iter().enumerate().any(|(at, (l, _))| lines[..at].iter().any(|(other, _)| other == l))
        {
            // A line that is named twice never comes to the rules.
            assert!(!happens(app, admin, &model.invoices[index], step).await, "{}", after());
            continue;
        }
        let done = happens(app, admin, &model.invoices[index], step).await;
        assert_eq!(model.apply(index, step), done, "{}", after());
        compare(app, admin, &model.invoices[index], &after()).await;
    }
    let sql =
        "SELECT COALESCE(sum(amount_cents), 0)::bigint FROM customer_credit_entries WHERE tenant_id = $1";
    let row = app.db().await.query_one(sql, &[&tenant.id]).await.expect("a sum");
    let credit = Cents::sum(model.lots.iter().map(|(_, left)| *left)).expect("a sum");
    assert_eq!(row.get::<_, i64>(0), credit.0, "{steps:#?}");
}

#[tokio::test]
async fn whatever_happens_no_cent_is_lost_or_made() {
    let (app, admin, _) = start().await;
    let mut runner = TestRunner::deterministic();
    for number in 0..SEQUENCES {
        let tenant = given::tenant(&app, &format!("tnt_{number}"), "prt_north").await;
        let steps = steps().new_tree(&mut runner).expect("a sequence").current();
        sequence(&app, &admin, &tenant, &steps).await;
        verified(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_at_once_on_one_invoice_leave_the_books_whole() {
    let (app, admin, tenant) = start().await;
    for round in 0..3 {
        let lines = json!([
            {"description": "a", "quantity": "1", "unit_price_cents": "9999"},
            {"description": "b", "quantity": "7", "unit_price_cents": "133", "tax_rate": "9"},
        ]);
        let id = uuid(&create(&app, &admin, &tenant, lines).await["id"]);
        let line = crate::support::finalize(&app, &admin, id).await["line_items"][0]["id"].clone();
        // Another invoice of the tenant takes credit while it is given and sent back.
        let one = async |turn: i64| {
            for step in 0..4 {
                let (what, asked) = match (turn + step + round) % 6 {
                    0 => ("mark-paid", paid(Some(3000 + turn), "bank_transfer")),
                    1 => (
                        "credit-note",
                        json!({"reason": "x", "lines": [{"line_item_id": line, "amount_cents": 300 + turn}]}),
                    ),
                    2 => ("refund", json!({"reason": "x", "amount_cents": 100 + turn})),
                    3 => ("mark-paid", paid(Some(50), "write_off")),
                    4 if turn % 4 == 0 => ("void", json!({"reason": "x"})),
                    4 => (
                        "credit-note",
                        json!({"reason": "x", "settle": "refund", "lines": [{"line_item_id": line, "amount_cents": 70}]}),
                    ),
                    _ => {
                        issued(&app, &admin, &tenant, "40").await;
                        continue;
                    }
                };
                let answer = ask(&app, &admin, id, what, &asked).send().await;
                let said = String::from_utf8_lossy(&answer.body);
                assert!([200, 201, 400, 409].contains(&answer.status), "{what}: {}: {said}", answer.status);
            }
        };
        join_all((0..16).map(one)).await;
        agrees(&get(&app, &admin, id).await);
        verified(&app).await;
    }
    // Neither did a second of them pay or void what the first had.
    let db = app.db().await;
    let twice = "SELECT count(*) FROM invoices WHERE document_type = 'invoice' AND (paid_cents < 0 OR credited_cents > total_cents OR due_cents < 0)";
    assert_eq!(db.query_one(twice, &[]).await.expect("a count").get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_is_used_once_whoever_comes_first() {
    let (app, admin, tenant) = start().await;
    let first = issued(&app, &admin, &tenant, "100").await;
    ask(&app, &admin, first, "mark-paid", &paid(Some(121 + 500), "cash")).send().await.data(200);
    let mut drafts = vec![];
    for _ in 0..16 {
        drafts.push(given::draft(&app, &admin, &tenant, "100").await);
    }
    let paths: Vec<String> = drafts.iter().map(|id| format!("{INVOICES}/{id}/finalize")).collect();
    let refund = json!({"reason": "x", "amount_cents": 100});
    let issue = join_all(paths.iter().map(|path| app.call("POST", path).token(&admin).send()));
    let (issued, back) = tokio::join!(issue, ask(&app, &admin, first, "refund", &refund).send());
    let used: i64 = issued.iter().map(|answer| cents(&answer.data(200)["paid_cents"])).sum();
    // The refund found credit, or none was left and it took the invoice back.
    let sent = cents(&back.data(200)["invoice"]["credited_cents"]);
    assert_eq!(used, 500 - (100 - sent));
    verified(&app).await;
}
