-- A token named another tenant of a known user, or another partner of a known tenant. The call was refused, since nobody
-- moves by a token; what is true is to be asked of the issuer of the tokens, and this is what waits for that.
CREATE TABLE identity_sync_requests (
  subject_type text NOT NULL CHECK (subject_type IN ('user', 'tenant')),
  subject_id text NOT NULL,
  -- What the newest such token named.
  named_tenant_id text NOT NULL,
  named_partner_id text NOT NULL,
  first_refused_at timestamptz NOT NULL,
  last_refused_at timestamptz NOT NULL,
  PRIMARY KEY (subject_type, subject_id)
);
SELECT sc_protect('identity_sync_requests');

CREATE FUNCTION sc_ask_for_sync(p_subject_type text, p_subject_id text, p_tenant_id text, p_partner_id text, p_now timestamptz)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO identity_sync_requests (subject_type, subject_id, named_tenant_id, named_partner_id, first_refused_at, last_refused_at)
    VALUES (p_subject_type, p_subject_id, p_tenant_id, p_partner_id, p_now, p_now)
    ON CONFLICT (subject_type, subject_id) DO UPDATE SET
      named_tenant_id = EXCLUDED.named_tenant_id, named_partner_id = EXCLUDED.named_partner_id, last_refused_at = EXCLUDED.last_refused_at
$$;
SELECT sc_definer('sc_ask_for_sync(text, text, text, text, timestamptz)', 'sc_public');

-- What a caller was refused is looked up by who it was.
CREATE INDEX audit_log_actor ON audit_log (actor, at);
