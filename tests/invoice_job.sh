#!/usr/bin/env bash
# The life of an invoice, over HTTP alone: draft, finalized, PDF, every electronic format, sent by mail, paid in part,
# credited in part, refunded, and the books verified. Every figure below was computed by hand.
#
# Needs curl, jq and python3. Starts its own mail sink and its own dev server, and stops both at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

DIR=$(mktemp -d "${TMPDIR:-/tmp}/scaicontrol-invoice-job.XXXXXX")
chmod 755 "$DIR"
LOG="$DIR/server.log"
# A mail server that takes everything and writes it down: the port goes to a file when it listens.
python3 - "$DIR" <<'PY' &
import socketserver, sys, threading
folder = sys.argv[1]
class Session(socketserver.StreamRequestHandler):
    def say(self, text): self.wfile.write(text.encode() + b"\r\n")
    def handle(self):
        self.say("220 sink")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word in (b"EHLO", b"HELO"): self.say("250 sink")
            elif word == b"DATA":
                self.say("354 go on")
                with open(folder + "/mail", "ab") as out:
                    while (text := self.rfile.readline()) not in (b".\r\n", b""): out.write(text)
                self.say("250 taken")
            elif word == b"QUIT":
                self.say("221 bye"); return
            else: self.say("250 ok")
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
    with open(folder + "/port.new", "w") as out: out.write(str(server.server_address[1]))
    import os; os.rename(folder + "/port.new", folder + "/port")
    server.serve_forever()
PY
SINK=$!
SERVER=
finish() {
  status=$?
  kill "$SINK" 2>/dev/null || true
  [ -z "$SERVER" ] || { kill -TERM "$SERVER" 2>/dev/null || true; wait "$SERVER" 2>/dev/null || true; }
  [ "$status" = 0 ] || tail -n 30 "$LOG" >&2
  rm -rf "$DIR"
  exit "$status"
}
trap finish EXIT
for _ in $(seq 1 100); do [ -f "$DIR/port" ] && break; sleep 0.1; done

export SCAICONTROL_MAIL__TRANSPORT=smtp SCAICONTROL_MAIL__FROM='ScaiControl <billing@platform.example>'
export SCAICONTROL_MAIL__SMTP__HOST=127.0.0.1 SCAICONTROL_MAIL__SMTP__TLS=none SCAICONTROL_MAIL__SMTP__PORT
SCAICONTROL_MAIL__SMTP__PORT=$(cat "$DIR/port")
cargo xtask dev --port 0 --data-dir "$DIR/data" --fresh --clock simulated >"$LOG" 2>&1 &
SERVER=$!
DEV="$DIR/data/dev.json"
for _ in $(seq 1 3600); do
  [ -f "$DEV" ] && break
  kill -0 "$SERVER" 2>/dev/null || { echo "the dev server ended before it was ready" >&2; exit 1; }
  sleep 0.5
done
BASE=$(jq -r .base_url "$DEV")
SCAICONTROL="${CARGO_TARGET_DIR:-target}/debug/scaicontrol"
ADMIN=$(jq -r .tokens.super_admin "$DEV")
TENANT_TOKEN=$(jq -r .tokens.tenant_admin "$DEV")
OTHER_TOKEN=$(jq -r .tokens.other_tenant_admin "$DEV")
TENANT=$(jq -r .ids.tenant "$DEV")
PARTNER=$(jq -r .ids.partner "$DEV")

fail() { echo "FAILED: $*" >&2; exit 1; }
# expect NAME ACTUAL WANTED
expect() { if [ "$2" = "$3" ]; then echo "ok: $1 = $3"; else fail "$1 is $2, not $3"; fi; }
# call STATUS TOKEN METHOD PATH [BODY]: prints the body of the answer
call() {
  local want=$1 token=$2 method=$3 path=$4 body=${5:-} status
  local args=(-s -o "$DIR/answer" -w '%{http_code}' -X "$method" -H "Authorization: Bearer $token")
  [ -z "$body" ] || args+=(-H 'Content-Type: application/json' --data-binary "$body")
  status=$(curl "${args[@]}" "$BASE$path")
  [ "$status" = "$want" ] || fail "$method $path answered $status, not $want: $(head -c 600 "$DIR/answer")"
  cat "$DIR/answer"
}
# file TOKEN PATH: fetches a file into $DIR/file
file() { call 200 "$1" GET "$2" >"$DIR/file"; }
stands() { jq -c '[.data.paid_cents, .data.credited_cents, .data.due_cents, .data.status]'; }

echo "== a Dutch seller, and a Dutch business that wants its invoices inside a PDF"
call 200 "$ADMIN" PATCH "/api/v1/admin/partners/$PARTNER" '{
  "legal_name": "Voorbeeld Software B.V.", "seller_address_line1": "Keizersgracht 1", "seller_postal_code": "1015 CN",
  "seller_city": "Amsterdam", "seller_country_code": "NL", "seller_vat_number": "NL123456782B90", "timezone": "Europe/Amsterdam",
  "seller_registration_number": "34123456", "seller_iban": "NL91ABNA0417164300", "seller_email": "facturen@voorbeeld.example",
  "seller_contact_name": "Administratie", "seller_phone": "+31 20 123 4567", "invoice_number_prefix": "SCAI"}' >/dev/null
call 200 "$TENANT_TOKEN" PUT /api/v1/billing/billing-profile '{
  "company_name": "Klant B.V.", "address_line1": "Dorpsstraat 2", "postal_code": "3511 AA", "city": "Utrecht", "country_code": "NL",
  "is_business": true, "contact_email": "boekhouding@klant.example", "preferred_language": "nl", "buyer_reference": "PO-2291",
  "preferred_einvoice_format": "facturx"}' >/dev/null

echo "== a draft of two lines at 21 %, finalized"
INVOICE=$(call 201 "$ADMIN" POST /api/v1/admin/invoices '{"tenant_id": "'"$TENANT"'", "currency": "EUR", "line_items": [
  {"description": "Onderzoek", "quantity": "10", "unit_label": "hour", "unit_price_cents": "9000"},
  {"description": "Gegevens", "quantity": "2.5", "unit_label": "GB", "unit_price_cents": "4000"}]}' | jq -r .data.id)
call 404 "$TENANT_TOKEN" GET "/api/v1/billing/invoices/$INVOICE" >/dev/null
DONE=$(call 200 "$ADMIN" POST "/api/v1/admin/invoices/$INVOICE/finalize")
NUMBER=$(jq -r .data.number <<<"$DONE")
# 90,000 + 10,000 net, 21,000 tax
expect "net, tax, total" "$(jq -c '[.data.subtotal_cents, .data.tax_cents, .data.total_cents]' <<<"$DONE")" '[100000,21000,121000]'
expect "number" "${NUMBER:0:5}${NUMBER: -6}" SCAI-000001

echo "== its PDF, and every electronic format"
file "$TENANT_TOKEN" "/api/v1/billing/invoices/$INVOICE/pdf"
expect "a PDF" "$(head -c 5 "$DIR/file")" %PDF-
for format in ubl xrechnung cii zugferd facturx; do
  file "$TENANT_TOKEN" "/api/v1/billing/invoices/$INVOICE/download?format=$format"
  "$SCAICONTROL" einvoice validate "$DIR/file" >"$DIR/report" || fail "$format: $(cat "$DIR/report")"
  echo "ok: $format: $(tail -n 1 "$DIR/report")"
done
call 404 "$OTHER_TOKEN" GET "/api/v1/billing/invoices/$INVOICE/pdf" >/dev/null

echo "== sent by mail, and seen where mail arrives"
SENT=$(call 202 "$TENANT_TOKEN" POST "/api/v1/billing/invoices/$INVOICE/send" '{}')
expect "to" "$(jq -r .data.to <<<"$SENT")" boekhouding@klant.example
expect "state" "$(jq -r .data.status <<<"$SENT")" sent
for _ in $(seq 1 120); do [ -s "$DIR/mail" ] && break; sleep 0.5; done
grep -q '^To: boekhouding@klant.example' "$DIR/mail" || fail "no mail arrived"
grep -q "$NUMBER.pdf" "$DIR/mail" || fail "the mail has no PDF"
echo "ok: it arrived, with $NUMBER.pdf"

echo "== paid in part, credited in part, paid, and refunded"
PAID=$(call 200 "$ADMIN" POST "/api/v1/admin/invoices/$INVOICE/mark-paid" '{
  "paid_at": "'"$(jq -r .data.finalized_at <<<"$DONE")"'", "reference": "NL91 1", "amount_cents": 21000, "method": "bank_transfer"}')
expect "after 210.00" "$(stands <<<"$PAID")" '[21000,0,100000,"sent"]'
# Half of the second line: 5,000 net, 1,050 tax.
LINE=$(jq -r '.data.line_items[1].id' <<<"$DONE")
NOTE=$(call 201 "$ADMIN" POST "/api/v1/admin/invoices/$INVOICE/credit-note" '{
  "reason": "Half of it was not delivered", "lines": [{"line_item_id": "'"$LINE"'", "amount_cents": 5000}]}')
expect "credit note" "$(jq -c '[.data.subtotal_cents, .data.tax_cents, .data.total_cents]' <<<"$NOTE")" '[-5000,-1050,-6050]'
expect "after the credit note" "$(call 200 "$ADMIN" GET "/api/v1/admin/invoices/$INVOICE" | stands)" '[21000,6050,93950,"sent"]'
PAID=$(call 200 "$ADMIN" POST "/api/v1/admin/invoices/$INVOICE/mark-paid" '{
  "paid_at": "'"$(jq -r .data.finalized_at <<<"$DONE")"'", "reference": "NL91 2", "method": "bank_transfer"}')
expect "after the rest" "$(stands <<<"$PAID")" '[114950,6050,0,"paid"]'
# 12,100 sent back: a credit note of 10,000 net and 2,100 tax goes with it.
BACK=$(call 200 "$ADMIN" POST "/api/v1/admin/invoices/$INVOICE/refund" '{"amount_cents": 12100, "reason": "Goodwill"}')
expect "refunded" "$(jq -c '[.data.refunds[].amount_cents]' <<<"$BACK")" '[12100]'
expect "after the refund" "$(call 200 "$ADMIN" GET "/api/v1/admin/invoices/$INVOICE" | stands)" '[102850,18150,0,"paid"]'
for id in $(jq -r .data.id <<<"$NOTE"); do
  file "$TENANT_TOKEN" "/api/v1/billing/invoices/$id/download"
  "$SCAICONTROL" einvoice validate "$DIR/file" >"$DIR/report" || fail "credit note: $(cat "$DIR/report")"
done

echo "== the books"
"$SCAICONTROL" verify --config "$DEV" || fail "the books do not agree"
echo "the invoice job is done"
