#!/usr/bin/env bash
# The main job, over HTTP alone: a service comes into the catalogue, a tenant subscribes, usage arrives, time
# passes and the billing run makes, issues and sends the invoices, the tenant reads them. Every figure below was computed by hand.
#
# Needs curl and jq. Starts its own dev server with a data folder of its own, and stops it at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

DIR=$(mktemp -d "${TMPDIR:-/tmp}/scaicontrol-main-job.XXXXXX")
chmod 755 "$DIR"
LOG="$DIR/server.log"
cargo xtask dev --port 0 --data-dir "$DIR/data" --fresh --clock simulated >"$LOG" 2>&1 &
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
dev_token() { "$SCAICONTROL" dev token --config "$DEV" "$@"; }
ADMIN=$(jq -r .tokens.super_admin "$DEV")
TENANT_TOKEN=$(jq -r .tokens.tenant_admin "$DEV")
OTHER_TOKEN=$(jq -r .tokens.other_tenant_admin "$DEV")
TENANT=$(jq -r .ids.tenant "$DEV")
PARTNER=$(jq -r .ids.partner "$DEV")
SERVICE_TOKEN=$(dev_token --role service_account --service courier)

fail() { echo "FAILED: $*" >&2; exit 1; }
# expect NAME ACTUAL WANTED
expect() { if [ "$2" = "$3" ]; then echo "ok: $1 = $3"; else fail "$1 is $2, not $3"; fi; }
# call STATUS TOKEN METHOD PATH [BODY]: prints the body of the answer
call() {
  local want=$1 token=$2 method=$3 path=$4 body=${5:-} status
  local args=(-s -o "$DIR/answer" -w '%{http_code}' -X "$method" -H "Authorization: Bearer $token")
  # Through standard input: a batch of events is longer than an argument may be.
  [ -z "$body" ] || args+=(-H 'Content-Type: application/json' --data-binary @-)
  status=$(curl "${args[@]}" "$BASE$path" <<<"$body")
  [ "$status" = "$want" ] || fail "$method $path answered $status, not $want: $(cat "$DIR/answer")"
  cat "$DIR/answer"
}

echo "== a service with two metered metrics, and a plan with graduated and package tiers"
SERVICE=$(call 201 "$ADMIN" POST /api/v1/admin/catalog/services '{
  "slug": "courier", "name": "Courier", "client_id": "svc-courier",
  "metrics": [{"slug": "requests", "name": "Requests", "unit": "request", "aggregation": "sum"},
              {"slug": "exports", "name": "Exports", "unit": "row", "aggregation": "sum"}]}' | jq -r .data.id)
PLAN=$(call 201 "$ADMIN" POST /api/v1/admin/catalog/plans '{
  "service_id": "'"$SERVICE"'", "slug": "pro", "name": "Pro", "billing_period": "monthly", "base_price_cents": 4900,
  "currency": "EUR", "quotas": {"requests": "10000"}}' | jq -r .data.id)
call 200 "$ADMIN" PUT "/api/v1/admin/catalog/plans/$PLAN/pricing-tiers" '[
  {"metric_slug": "requests", "pricing_model": "graduated", "tier_start": "0", "tier_end": "1000", "unit_price_cents": "0", "unit_label": "request"},
  {"metric_slug": "requests", "pricing_model": "graduated", "tier_start": "1000", "tier_end": "5000", "unit_price_cents": "0.5", "unit_label": "request"},
  {"metric_slug": "requests", "pricing_model": "graduated", "tier_start": "5000", "tier_end": null, "unit_price_cents": "0.25", "unit_label": "request"},
  {"metric_slug": "exports", "pricing_model": "package", "tier_start": "0", "tier_end": "1000", "unit_price_cents": "250", "unit_label": "100 rows", "unit_divisor": "100"},
  {"metric_slug": "exports", "pricing_model": "package", "tier_start": "1000", "tier_end": null, "unit_price_cents": "200", "unit_label": "100 rows", "unit_divisor": "100"}]' >/dev/null

echo "== a Dutch seller, and the profile of a Dutch business"
call 200 "$ADMIN" PATCH "/api/v1/admin/partners/$PARTNER" '{
  "legal_name": "Voorbeeld Software B.V.", "seller_address_line1": "Keizersgracht 1", "seller_postal_code": "1015 CN",
  "seller_city": "Amsterdam", "seller_country_code": "NL", "seller_vat_number": "NL123456782B12", "timezone": "Europe/Amsterdam",
  "invoice_number_prefix": "SCAI"}' >/dev/null
call 200 "$TENANT_TOKEN" PUT /api/v1/billing/billing-profile '{
  "company_name": "Klant B.V.", "address_line1": "Dorpsstraat 2", "postal_code": "3511 AA", "city": "Utrecht", "country_code": "NL",
  "is_business": true, "contact_email": "boekhouding@klant.example"}' >/dev/null

echo "== subscribe"
SUBSCRIPTION=$(call 201 "$TENANT_TOKEN" POST /api/v1/subscriptions '{"plan_key": "courier.pro"}')
expect "status" "$(jq -r .data.status <<<"$SUBSCRIPTION")" active
expect "monthly revenue in cents" "$(jq -r .data.mrr_amount_cents <<<"$SUBSCRIPTION")" 4900
call 409 "$TENANT_TOKEN" POST /api/v1/subscriptions '{"plan_key": "courier.pro"}' >/dev/null

echo "== 10,000 usage events in ten batches: 8,000 requests, and 2,000 exports of 0.55 rows"
batch() {
  jq -n --argjson n "$1" --arg tenant "$TENANT" '{events: [range($n * 1000; ($n + 1) * 1000) |
    if . < 8000 then {idempotency_key: "event-\(.)", tenant_id: $tenant, metric_slug: "requests", quantity: "1"}
    else {idempotency_key: "event-\(.)", tenant_id: $tenant, metric_slug: "exports", quantity: "0.55"} end]}'
}
send() { # send ACCEPTED DUPLICATES
  local accepted=0 duplicates=0 rejected=0 answer
  for n in 0 1 2 3 4 5 6 7 8 9; do
    answer=$(call 202 "$SERVICE_TOKEN" POST /api/v1/metering/events "$(batch $n)")
    accepted=$((accepted + $(jq .data.accepted <<<"$answer")))
    duplicates=$((duplicates + $(jq .data.duplicates <<<"$answer")))
    rejected=$((rejected + $(jq '.data.rejected | length' <<<"$answer")))
  done
  expect "accepted" "$accepted" "$1"
  expect "duplicates" "$duplicates" "$2"
  expect "rejected" "$rejected" 0
}
send 10000 0
echo "== and all of them again"
send 0 10000

echo "== usage, quotas, and a dry run a month ahead"
USAGE=$(call 200 "$TENANT_TOKEN" GET /api/v1/usage/by-service/courier)
used() { jq -r --arg m "$2" '.data.metrics[] | select(.metric_slug == $m) | .used | tonumber' <<<"$1"; }
expect "requests used" "$(used "$USAGE" requests)" 8000
expect "exports used" "$(used "$USAGE" exports)" 1100
# 1,000 free, 4,000 at 0.5 and 3,000 at 0.25 cents; 11 packages at 200 cents
expect "cost so far" "$(jq -r .data.cost_cents <<<"$USAGE")" 4950
QUOTA=$(call 200 "$TENANT_TOKEN" GET /api/v1/usage/quotas | jq -c '.data[] | select(.service_slug == "courier" and .metric_slug == "requests")')
expect "quota left" "$(jq -r '.remaining | tonumber' <<<"$QUOTA")" 2000
expect "quota in percent" "$(jq -r '.percent | tonumber' <<<"$QUOTA")" 80
CHECK=$(call 200 "$SERVICE_TOKEN" GET "/api/v1/internal/quotas/$TENANT/courier/requests")
expect "quota as the service sees it" "$(jq -r '.data.used | tonumber' <<<"$CHECK")" 8000
UNTIL=$(jq -r '.data.current_period_end | fromdateiso8601 + 86400 | todateiso8601' <<<"$SUBSCRIPTION")
DRY=$(call 200 "$ADMIN" POST /api/v1/admin/billing/run '{"tenant_id": "'"$TENANT"'", "until": "'"$UNTIL"'", "dry_run": true}')
expect "invoices of the dry run" "$(jq -c '[.data.invoices[].subtotal_cents]' <<<"$DRY")" '[4900,9850]'
expect "drafts after the dry run" "$(call 200 "$ADMIN" GET "/api/v1/admin/invoices?tenant_id=$TENANT" | jq .pagination.total_items)" 0

echo "== the first invoice is paid, or the subscription would be suspended four weeks later"
"$SCAICONTROL" dev clock advance 2d --config "$DEV" >/dev/null
FIRST=$(call 200 "$TENANT_TOKEN" GET /api/v1/billing/invoices | jq -r '.data[0].id')
PAID_AT=$("$SCAICONTROL" dev clock show --config "$DEV")
call 200 "$ADMIN" POST "/api/v1/admin/invoices/$FIRST/mark-paid" '{"paid_at": "'"$PAID_AT"'", "reference": "statement", "method": "bank_transfer"}' >/dev/null

echo "== a month later: what fell due is billed, issued and sent by itself, once"
"$SCAICONTROL" dev clock set "$UNTIL" --config "$DEV" >/dev/null
ISSUED=$(call 200 "$TENANT_TOKEN" GET /api/v1/billing/invoices | jq '.data | sort_by(.number)')
expect "invoices" "$(jq -c '[.[].subtotal_cents]' <<<"$ISSUED")" '[4900,9850]'
expect "their states" "$(jq -c '[.[].status]' <<<"$ISSUED")" '["paid","sent"]'
AGAIN=$(call 200 "$ADMIN" POST /api/v1/admin/billing/run '{"tenant_id": "'"$TENANT"'", "dry_run": false}')
expect "invoices of a run by hand" "$(jq -c .data.invoices <<<"$AGAIN")" '[]'
expect "the first" "$(jq -r '.[0].id' <<<"$ISSUED")" "$FIRST"
SECOND=$(jq -r '.[1].id' <<<"$ISSUED")
ACTIVATION=$(call 200 "$TENANT_TOKEN" GET "/api/v1/billing/invoices/$FIRST")
call 409 "$ADMIN" POST "/api/v1/admin/invoices/$SECOND/finalize" >/dev/null
expect "first number" "$(jq -r '.[0].number[0:5] + .[0].number[-6:]' <<<"$ISSUED")" "SCAI-000001"
expect "second number" "$(jq -r '.[1].number[0:5] + .[1].number[-6:]' <<<"$ISSUED")" "SCAI-000002"
expect "first invoice: subtotal, VAT, total" "$(jq -c '[.data.subtotal_cents, .data.tax_cents, .data.total_cents]' <<<"$ACTIVATION")" '[4900,1029,5929]'

echo "== the tenant reads its invoice"
INVOICE=$(call 200 "$TENANT_TOKEN" GET "/api/v1/billing/invoices/$SECOND")
jq -r '.data.line_items[] | "  \(.amount_cents | tostring | (" " * (8 - length)) + .)  \(.description)  [\(.quantity) × \(.unit_price_cents)]",
  "            \(.explanation | del(.tax) | tojson | .[0:400])"' <<<"$INVOICE"
# 9850 × 21 % = 2068.5, away from zero
expect "subtotal, VAT, total, due" "$(jq -c '[.data.subtotal_cents, .data.tax_cents, .data.total_cents, .data.due_cents]' <<<"$INVOICE")" '[9850,2069,11919,11919]'
expect "amounts of the lines" "$(jq -c '[.data.line_items[].amount_cents] | sort' <<<"$INVOICE")" '[0,750,2000,2200,4900]'
expect "tax of the lines" "$(jq '[.data.line_items[].tax_cents] | add' <<<"$INVOICE")" 2069
expect "lines with an explanation" "$(jq '[.data.line_items[] | select(.explanation != null)] | length' <<<"$INVOICE")" 5
expect "VAT label" "$(jq -r .data.vat_details.label <<<"$INVOICE")" "VAT 21.00%"
expect "invoices in the tenant's list" "$(call 200 "$TENANT_TOKEN" GET /api/v1/billing/invoices | jq .pagination.total_items)" 2
call 404 "$OTHER_TOKEN" GET "/api/v1/billing/invoices/$SECOND" >/dev/null
echo "ok: another tenant sees nothing of it"

echo "== verify"
DATABASE_URL=$(jq -r .database_url "$DEV") "$SCAICONTROL" verify
echo "the main job is done"
