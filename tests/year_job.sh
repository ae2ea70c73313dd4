#!/usr/bin/env bash
# A year of one tenant, over HTTP alone: a trial and its conversion on the 31st, an upgrade in the middle of a month, a pack,
# a service's charge, late usage, a downgrade at the end of the period, cancellations. Nobody runs billing: the server does.
# Every figure below was worked out by hand, in seconds of periods and cents.
#
# Needs curl and jq. Starts its own dev server with a data folder of its own, and stops it at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

DIR=$(mktemp -d "${TMPDIR:-/tmp}/scaicontrol-year-job.XXXXXX")
chmod 755 "$DIR"
LOG="$DIR/server.log"
cargo xtask dev --port 0 --data-dir "$DIR/data" --fresh --clock simulated --clock-from 2028-01-15T08:00:00Z >"$LOG" 2>&1 &
SERVER=$!
finish() {
  status=$?
  kill -TERM "$SERVER" 2>/dev/null || true
  wait "$SERVER" 2>/dev/null || true
  [ "$status" = 0 ] || tail -n 30 "$LOG" >&2
  rm -rf "$DIR"
  exit "$status"
}
trap finish EXIT

DEV="$DIR/data/dev.json"
for _ in $(seq 1 1200); do
  [ -f "$DEV" ] && break
  kill -0 "$SERVER" 2>/dev/null || { echo "the dev server ended before it was ready" >&2; exit 1; }
  sleep 0.5
done
BASE=$(jq -r .base_url "$DEV")
SCAICONTROL="${CARGO_TARGET_DIR:-target}/debug/scaicontrol"
ADMIN=$(jq -r .tokens.super_admin "$DEV")
TENANT_TOKEN=$(jq -r .tokens.tenant_admin "$DEV")
TENANT=$(jq -r .ids.tenant "$DEV")
PARTNER=$(jq -r .ids.partner "$DEV")

fail() { echo "FAILED: $*" >&2; exit 1; }
expect() { if [ "$2" = "$3" ]; then echo "ok: $1 = $3"; else fail "$1 is $2, not $3"; fi; }
# call STATUS TOKEN METHOD PATH [BODY]: prints the body of the answer
call() {
  local want=$1 token=$2 method=$3 path=$4 body=${5:-} status
  local args=(-s -o "$DIR/answer" -w '%{http_code}' -X "$method" -H "Authorization: Bearer $token")
  [ -z "$body" ] || args+=(-H 'Content-Type: application/json' --data-binary @-)
  status=$(curl "${args[@]}" "$BASE$path" <<<"$body")
  [ "$status" = "$want" ] || fail "$method $path answered $status, not $want: $(cat "$DIR/answer")"
  cat "$DIR/answer"
}
clock() { "$SCAICONTROL" dev clock set "$1" --config "$DEV" >/dev/null; echo "-- $1"; }
# the tenant's invoices in the order of their numbers
invoices() { call 200 "$TENANT_TOKEN" GET "/api/v1/billing/invoices?page_size=200" | jq -c '.data | sort_by(.number)'; }
# pay everything that is due
pay() {
  local id
  for id in $(invoices | jq -r '.[] | select(.due_cents > 0) | .id'); do
    call 200 "$ADMIN" POST "/api/v1/admin/invoices/$id/mark-paid" \
      '{"paid_at": "'"$1"'", "reference": "statement", "method": "bank_transfer"}' >/dev/null
  done
}
# invoice N DATE SUBTOTAL LINES: the N-th invoice, and the amounts of its lines in ascending order
invoice() {
  local one detail
  one=$(invoices | jq -c ".[$1 - 1]")
  expect "invoice $1: date and subtotal" "$(jq -c '[.issue_date, .subtotal_cents]' <<<"$one")" "[\"$2\",$3]"
  expect "invoice $1: VAT" "$(jq -r .tax_cents <<<"$one")" "$(jq -n "$3 * 21 / 100 | round")"
  detail=$(call 200 "$TENANT_TOKEN" GET "/api/v1/billing/invoices/$(jq -r .id <<<"$one")")
  expect "invoice $1: lines" "$(jq -c '[.data.line_items[] | select(.amount_cents != 0) | [.kind, .amount_cents]] | sort' <<<"$detail")" "$4"
}
use() { # use KEY METRIC-QUANTITY TIME
  local answer
  answer=$(call 202 "$KILN" POST /api/v1/metering/events '{"events": [{"idempotency_key": "'"$1"'", "tenant_id": "'"$TENANT"'",
    "metric_slug": "firings", "quantity": "'"$2"'", "occurred_at": "'"$3"'"}]}')
  expect "usage $1 accepted" "$(jq -c '[.data.accepted, (.data.rejected | length)]' <<<"$answer")" '[1,0]'
}
expect_state() { expect "$1" "$(call 200 "$TENANT_TOKEN" GET "/api/v1/subscriptions/$SUBSCRIPTION" | jq -r .data.status)" "$2"; }

echo "== three services, two plans, a pack, a Dutch seller and a Dutch business"
clock 2028-01-17T10:00:00Z
service() {
  call 201 "$ADMIN" POST /api/v1/admin/catalog/services '{"slug": "'"$1"'", "name": "'"$1"'", "client_id": "svc-'"$1"'",
    "metrics": [{"slug": "firings", "name": "Firings", "unit": "firing", "aggregation": "sum"}]}' | jq -r .data.id
}
plan() { # plan SERVICE SLUG PRICE TRIAL
  call 201 "$ADMIN" POST /api/v1/admin/catalog/plans '{"service_id": "'"$1"'", "slug": "'"$2"'", "name": "'"$2"'", "billing_period": "monthly",
    "base_price_cents": '"$3"', "currency": "EUR", "trial_days": '"$4"'}' | jq -r .data.id
}
tiers() { # tiers PLAN FREE PRICE
  call 200 "$ADMIN" PUT "/api/v1/admin/catalog/plans/$1/pricing-tiers" '[
    {"metric_slug": "firings", "tier_start": "0", "tier_end": "'"$2"'", "unit_price_cents": "0"},
    {"metric_slug": "firings", "tier_start": "'"$2"'", "tier_end": null, "unit_price_cents": "'"$3"'"}]' >/dev/null
}
KILN_ID=$(service kiln); GLAZE_ID=$(service glaze); WHEEL_ID=$(service wheel)
STARTER=$(plan "$KILN_ID" starter 3000 14); tiers "$STARTER" 100 10
PRO=$(plan "$KILN_ID" pro 9000 0); tiers "$PRO" 500 5
GLAZE=$(plan "$GLAZE_ID" pro 4000 0); WHEEL=$(plan "$WHEEL_ID" pro 2000 0)
KILN=$("$SCAICONTROL" dev token --config "$DEV" --role service_account --service kiln)
call 201 "$ADMIN" POST /api/v1/admin/service-packs '{"slug": "studio", "name": "Studio", "billing_period": "monthly", "currency": "EUR",
  "discount_type": "fixed_price", "base_price_cents": 5000, "items": [{"service_id": "'"$GLAZE_ID"'", "plan_id": "'"$GLAZE"'"},
  {"service_id": "'"$WHEEL_ID"'", "plan_id": "'"$WHEEL"'"}]}' >/dev/null
call 200 "$ADMIN" PATCH "/api/v1/admin/partners/$PARTNER" '{"timezone": "Europe/Amsterdam", "invoice_number_prefix": "YEAR"}' >/dev/null
call 200 "$TENANT_TOKEN" PUT /api/v1/billing/billing-profile '{"company_name": "Klant B.V.", "address_line1": "Dorpsstraat 2",
  "postal_code": "3511 AA", "city": "Utrecht", "country_code": "NL", "is_business": true}' >/dev/null

echo "== a trial of 14 days; what is used in it is free"
SUBSCRIPTION=$(call 201 "$TENANT_TOKEN" POST /api/v1/subscriptions '{"plan_key": "kiln.starter"}' | jq -r .data.id)
expect_state "at first" trialing
clock 2028-01-20T10:00:00Z
use trial 400 2028-01-20T09:00:00Z
expect "invoices in the trial" "$(invoices | jq length)" 0

echo "== it converts on the 31st: the first period ends on 29 February"
clock 2028-02-01T12:00:00Z
expect_state "after 14 days" active
invoice 1 2028-01-31 3000 '[["base",3000]]'
pay 2028-02-01T12:00:00Z

echo "== an upgrade in the middle of the period: 325 of its 685 hours are left"
clock 2028-02-10T10:00:00Z
use before 300 2028-02-10T09:00:00Z
clock 2028-02-15T10:00:00Z
CHANGE='{"plan_key": "kiln.pro", "dry_run": true}'
SHOWN=$(call 200 "$TENANT_TOKEN" POST "/api/v1/subscriptions/$SUBSCRIPTION/change-plan" "$CHANGE" | jq -c .data.proration)
# 3000 × 325/685 = 1423.4, 9000 × 325/685 = 4270.1
expect "what it costs" "$(jq -c '[.credit_cents, .charge_cents, .net_cents]' <<<"$SHOWN")" '[1423,4270,2847]'
DONE=$(call 200 "$TENANT_TOKEN" POST "/api/v1/subscriptions/$SUBSCRIPTION/change-plan" '{"plan_key": "kiln.pro"}' | jq -c .data.proration)
expect "what is billed" "$DONE" "$SHOWN"
clock 2028-02-15T12:00:00Z
expect_state "after the change" active
invoice 2 2028-02-15 2847 '[["proration",-1423],["proration",4270]]'
pay 2028-02-15T12:00:00Z

echo "== a pack of two services, and a charge of the service"
clock 2028-02-20T09:00:00Z
PACK=$(call 201 "$TENANT_TOKEN" POST /api/v1/service-packs/studio/subscribe | jq -c .data)
expect "the pack" "$(jq -c '[.status, (.subscriptions | length)]' <<<"$PACK")" '["active",2]'
use inside 700 2028-02-20T08:30:00Z
clock 2028-02-22T09:00:00Z
call 201 "$KILN" POST /api/v1/service-billing/charges '{"tenant_id": "'"$TENANT"'", "description": "Kiln inspection", "quantity": "2",
  "unit_price_cents": "750", "currency": "EUR", "occurred_at": "2028-02-22T08:00:00Z", "external_reference": "inspection-1"}' >/dev/null
invoice 3 2028-02-20 5000 '[["pack",5000]]'
pay 2028-02-22T09:00:00Z

echo "== the renewal on 29 February: base, charge, and usage before and after the change at their own prices"
UPCOMING=$(call 200 "$TENANT_TOKEN" GET /api/v1/billing/upcoming | jq -c '.data[0] | [.invoice_date, .subtotal_cents, .total_cents]')
clock 2028-03-01T09:00:00Z
# 300 before: 200 × 10; 700 after: 200 × 5; the charge: 2 × 750
invoice 4 2028-02-29 13500 '[["base",9000],["charge",1500],["usage",1000],["usage",2000]]'
expect "it is what was shown before" "$UPCOMING" "$(invoices | jq -c '.[3] | [.issue_date, .subtotal_cents, .total_cents]')"
pay 2028-03-01T09:00:00Z

echo "== late usage of February goes onto the next invoice, at February's price"
clock 2028-03-05T09:00:00Z
use late 60 2028-02-20T18:00:00Z
clock 2028-03-10T09:00:00Z

echo "== a downgrade waits for the end of the period"
WAITS=$(call 200 "$TENANT_TOKEN" POST "/api/v1/subscriptions/$SUBSCRIPTION/change-plan" '{"plan_key": "kiln.starter"}' | jq -c .data)
expect "nothing is billed for it" "$(jq -c '[.proration.net_cents, .subscription.plan_key]' <<<"$WAITS")" '[0,"kiln.pro"]'
use march 600 2028-03-10T08:30:00Z
clock 2028-03-21T09:00:00Z
invoice 5 2028-03-20 5300 '[["correction",300],["pack",5000]]'
pay 2028-03-21T09:00:00Z
clock 2028-04-01T09:00:00Z
# the month of 9000 that ended: 100 × 5; the next one costs 3000
invoice 6 2028-03-31 3500 '[["base",3000],["usage",500]]'
pay 2028-04-01T09:00:00Z

echo "== the pack is cancelled, and ends with its period; so does the subscription"
call 200 "$TENANT_TOKEN" POST "/api/v1/service-pack-subscriptions/$(jq -r .id <<<"$PACK")/cancel" '{"reason": "too many pots"}' >/dev/null
clock 2028-04-21T09:00:00Z
expect "the pack in the end" "$(call 200 "$TENANT_TOKEN" GET /api/v1/service-pack-subscriptions | jq -c '[.data[] | [.status, .subscriptions[].status]]')" '[["cancelled","cancelled","cancelled"]]'
clock 2028-05-05T09:00:00Z
invoice 7 2028-04-30 3000 '[["base",3000]]'
pay 2028-05-05T09:00:00Z
call 200 "$TENANT_TOKEN" POST "/api/v1/subscriptions/$SUBSCRIPTION/cancel" '{"reason": "moving"}' >/dev/null
expect_state "until its period is over" cancelling
clock 2028-05-20T09:00:00Z
use may 150 2028-05-20T08:30:00Z
clock 2028-06-01T09:00:00Z
expect_state "after it" cancelled
# 50 × 10
invoice 8 2028-05-31 500 '[["usage",500]]'
pay 2028-06-01T09:00:00Z

echo "== and nothing more comes for the rest of the year"
clock 2029-01-17T10:00:00Z
expect "invoices of the year" "$(invoices | jq length)" 8
expect "billed in the year" "$(invoices | jq '[.[].subtotal_cents] | add')" 36647
expect "nothing is due" "$(invoices | jq '[.[].due_cents] | add')" 0
for id in $(invoices | jq -r '.[].id'); do
  call 200 "$TENANT_TOKEN" GET "/api/v1/billing/invoices/$id" | jq -r '"  \(.data.number) of \(.data.issue_date): \(.data.subtotal_cents)",
    (.data.line_items[] | "    \(.amount_cents | tostring | (" " * (7 - length)) + .)  \(.description)",
    "             \(.explanation | del(.tax) | tojson | .[0:300])")'
done
DATABASE_URL=$(jq -r .database_url "$DEV") "$SCAICONTROL" verify
echo "the year is billed to the cent"
