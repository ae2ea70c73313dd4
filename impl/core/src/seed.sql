-- Sample data of a development server. `:now` is the server's time. Ids are fixed, so that examples can name them.
INSERT INTO partners (partner_id, name, legal_name, seller_address_line1, seller_postal_code, seller_city, seller_country_code,
    seller_vat_number, seller_registration_number, seller_contact_name, seller_email, seller_phone, seller_iban, seller_bic,
    support_email, invoice_number_prefix, timezone, home_tenant_id, created_at, updated_at)
VALUES
  ('prt_operator', 'ScaiLabs', 'ScaiLabs B.V.', 'Keizersgracht 1', '1015 CJ', 'Amsterdam', 'NL', 'NL004495445B01', '12345678',
    'Finance', 'invoices@operator.example', '+31 20 000 0000', 'NL91ABNA0417164300', 'ABNANL2A', 'support@operator.example',
    'SCAI', 'Europe/Amsterdam', 'tnt_operator', :now, :now),
  ('prt_reseller', 'Nordwind', 'Nordwind Systemhaus GmbH', 'Alsterufer 5', '20354', 'Hamburg', 'DE', 'DE136695976', 'HRB 12345',
    'Buchhaltung', 'rechnung@reseller.example', '+49 40 000000', 'DE89370400440532013000', 'COBADEFFXXX', 'hilfe@reseller.example',
    'NORD', 'Europe/Berlin', 'tnt_globex', :now, :now);

INSERT INTO tenants (tenant_id, partner_id, name, created_at, updated_at)
VALUES
  ('tnt_operator', 'prt_operator', 'ScaiLabs', :now, :now),
  ('tnt_acme', 'prt_operator', 'Acme', :now, :now),
  ('tnt_globex', 'prt_reseller', 'Globex', :now, :now);

INSERT INTO users (user_id, tenant_id, partner_id, email, display_name, created_at, updated_at)
VALUES
  ('usr_super_admin', 'tnt_operator', 'prt_operator', 'super@operator.example', 'Sam Super', :now, :now),
  ('usr_platform_admin', 'tnt_operator', 'prt_operator', 'platform@operator.example', 'Pat Platform', :now, :now),
  ('usr_billing_admin', 'tnt_operator', 'prt_operator', 'billing@operator.example', 'Bo Billing', :now, :now),
  ('usr_support', 'tnt_operator', 'prt_operator', 'help@operator.example', 'Sol Support', :now, :now),
  ('usr_partner_admin', 'tnt_operator', 'prt_operator', 'partner@operator.example', 'Paula Partner', :now, :now),
  ('usr_tenant_admin', 'tnt_acme', 'prt_operator', 'kim@acme.example', 'Kim de Vries', :now, :now),
  ('usr_tenant_member', 'tnt_acme', 'prt_operator', 'robin@acme.example', 'Robin Jansen', :now, :now),
  ('usr_other_tenant_admin', 'tnt_globex', 'prt_reseller', 'alex@globex.example', 'Alex Schmidt', :now, :now),
  ('usr_other_partner_admin', 'tnt_globex', 'prt_reseller', 'chris@reseller.example', 'Chris Nord', :now, :now);

INSERT INTO billing_profiles (tenant_id, partner_id, company_name, address_line1, postal_code, city, country_code, vat_number,
    contact_email, is_business, preferred_einvoice_format, preferred_language, created_at, updated_at)
VALUES
  ('tnt_operator', 'prt_operator', 'ScaiLabs B.V.', 'Keizersgracht 1', '1015 CJ', 'Amsterdam', 'NL', 'NL004495445B01',
    'finance@operator.example', true, 'ubl', 'en', :now, :now),
  ('tnt_acme', 'prt_operator', 'Acme B.V.', 'Stationsplein 10', '3511 ED', 'Utrecht', 'NL', NULL,
    'finance@acme.example', true, 'ubl', 'nl', :now, :now),
  ('tnt_globex', 'prt_reseller', 'Globex SARL', '8 rue de la Paix', '75002', 'Paris', 'FR', 'FR40303265045',
    'compta@globex.example', true, 'facturx', 'fr', :now, :now);

INSERT INTO services (service_id, slug, name, description, category, client_id, status, sort_order, created_at, updated_at)
VALUES
  ('01900000-0000-7000-8000-000000000001', 'scaikey', 'ScaiKey', 'Sign-in and users for your applications.', 'identity', 'svc-scaikey', 'active', 1, :now, :now),
  ('01900000-0000-7000-8000-000000000002', 'scaivault', 'ScaiVault', 'Secrets and keys, kept safe.', 'security', 'svc-scaivault', 'active', 2, :now, :now),
  ('01900000-0000-7000-8000-000000000003', 'scaisend', 'ScaiSend', 'Mail that arrives.', 'messaging', 'svc-scaisend', 'active', 3, :now, :now),
  ('01900000-0000-7000-8000-000000000004', 'scaiflow', 'ScaiFlow', 'Workflows between your systems.', 'automation', 'svc-scaiflow', 'active', 4, :now, :now);

INSERT INTO metrics (metric_id, service_id, slug, name, unit, aggregation, created_at)
VALUES
  ('01900000-0000-7000-8000-000000000101', '01900000-0000-7000-8000-000000000001', 'active_users', 'Active users', 'user', 'unique_count', :now),
  ('01900000-0000-7000-8000-000000000102', '01900000-0000-7000-8000-000000000002', 'api_calls', 'Calls', 'call', 'sum', :now),
  ('01900000-0000-7000-8000-000000000103', '01900000-0000-7000-8000-000000000002', 'secrets_stored', 'Secrets stored', 'secret', 'max', :now),
  ('01900000-0000-7000-8000-000000000104', '01900000-0000-7000-8000-000000000003', 'emails', 'Mails sent', 'mail', 'sum', :now),
  ('01900000-0000-7000-8000-000000000105', '01900000-0000-7000-8000-000000000004', 'runs', 'Runs', 'run', 'sum', :now),
  ('01900000-0000-7000-8000-000000000106', '01900000-0000-7000-8000-000000000004', 'storage_gb', 'Storage', 'GB', 'last', :now);

-- Four plans for each service; the last two digits of the id are the service and the tier.
INSERT INTO plans (plan_id, service_id, slug, name, description, tier, billing_period, currency, features, quotas, trial_days,
    sort_order, created_at, updated_at)
SELECT ('01900000-0000-7000-8000-0000000002' || s.n || t.n)::uuid, s.service_id, t.slug, s.name || ' ' || t.name, t.description, t.slug,
  t.billing_period, 'EUR', jsonb_build_object('items', t.features, 'unit', NULL), q.quotas, t.trial_days, t.n::int, :now, :now
FROM (SELECT service_id, name, slug, sort_order::text AS n FROM services) s
CROSS JOIN (VALUES
  ('1', 'trial', 'Trial', 'Everything of Starter for two weeks.', 'monthly', 14, '["Two weeks"]'::jsonb),
  ('2', 'starter', 'Starter', 'For small teams.', 'monthly', 0, '["Mail support"]'::jsonb),
  ('3', 'pro', 'Pro', 'For growing teams.', 'monthly', 0, '["Mail support", "Audit log"]'::jsonb),
  ('4', 'enterprise', 'Enterprise', 'For whole companies.', 'yearly', 0, '["Phone support", "Audit log", "Own keys"]'::jsonb)
) AS t (n, slug, name, description, billing_period, trial_days, features)
JOIN (VALUES
  ('scaikey', 'trial', '{"active_users": 10}'::jsonb), ('scaikey', 'starter', '{"active_users": 50}'), ('scaikey', 'pro', '{"active_users": 500}'), ('scaikey', 'enterprise', '{}'),
  ('scaivault', 'trial', '{"api_calls": 1000, "secrets_stored": 20}'), ('scaivault', 'starter', '{"api_calls": 10000, "secrets_stored": 100}'),
  ('scaivault', 'pro', '{"api_calls": 1000000, "secrets_stored": 1000}'), ('scaivault', 'enterprise', '{}'),
  ('scaisend', 'trial', '{"emails": 100}'), ('scaisend', 'starter', '{"emails": 10000}'), ('scaisend', 'pro', '{"emails": 100000}'), ('scaisend', 'enterprise', '{}'),
  ('scaiflow', 'trial', '{"runs": 100}'), ('scaiflow', 'starter', '{"runs": 10000}'), ('scaiflow', 'pro', '{"runs": 100000}'), ('scaiflow', 'enterprise', '{}')
) AS q (service, plan, quotas) ON q.service = s.slug AND q.plan = t.slug;

INSERT INTO plan_versions (plan_id, version, valid_from, base_price_cents, created_at)
SELECT p.plan_id, 1, :now, CASE p.slug WHEN 'trial' THEN 0 WHEN 'starter' THEN 1900 WHEN 'pro' THEN 9900 ELSE 499000 END + 100 * (s.sort_order - 1), :now
FROM plans p JOIN services s USING (service_id);

-- Calls and mails in graduated tiers, runs in packages, storage by volume.
INSERT INTO pricing_tiers (plan_id, version, metric_slug, position, pricing_model, tier_start, tier_end, unit_price_cents, unit_label,
    unit_divisor, flat_fee_cents, minimum_cents)
SELECT p.plan_id, 1, t.metric, t.position, t.model, t.tier_start, t.tier_end, t.price, t.label, t.divisor, t.flat_fee, t.minimum
FROM (VALUES
  ('scaivault', 'api_calls', 0, 'graduated', 0, 10000, 0, '1,000 calls', 1000, 0, 0),
  ('scaivault', 'api_calls', 1, 'graduated', 10000, 1000000, 5, '1,000 calls', 1000, 0, 0),
  ('scaivault', 'api_calls', 2, 'graduated', 1000000, NULL, 2.5, '1,000 calls', 1000, 0, 0),
  ('scaisend', 'emails', 0, 'graduated', 0, 1000, 0, 'mail', 1, 0, 100),
  ('scaisend', 'emails', 1, 'graduated', 1000, 50000, 0.1, 'mail', 1, 0, 100),
  ('scaisend', 'emails', 2, 'graduated', 50000, NULL, 0.05, 'mail', 1, 500, 100),
  ('scaiflow', 'runs', 0, 'package', 0, 10000, 150, '1,000 runs', 1000, 0, 0),
  ('scaiflow', 'runs', 1, 'package', 10000, NULL, 100, '1,000 runs', 1000, 0, 0),
  ('scaiflow', 'storage_gb', 0, 'volume', 0, 100, 20, 'GB', 1, 0, 0),
  ('scaiflow', 'storage_gb', 1, 'volume', 100, NULL, 15, 'GB', 1, 250, 0)
) AS t (service, metric, position, model, tier_start, tier_end, price, label, divisor, flat_fee, minimum)
JOIN services s ON s.slug = t.service
JOIN plans p ON p.service_id = s.service_id AND p.slug IN ('starter', 'pro');
