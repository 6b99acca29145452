-- Domain events and idempotency keys.

-- Events are written in the transaction of the change and published by outbox-relay.
CREATE TABLE event_outbox (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    type text NOT NULL,
    entity_id uuid NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    -- how many events led to this one; 5 stops an automation loop
    depth smallint NOT NULL DEFAULT 0 CHECK (depth BETWEEN 0 AND 5),
    request_id text,
    created_at timestamptz NOT NULL,
    published_at timestamptz,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX event_outbox_unpublished ON event_outbox (created_at) WHERE published_at IS NULL;
SELECT app.protect('event_outbox', 'SELECT, INSERT, UPDATE');
INSERT INTO app.partitioned_tables VALUES ('event_outbox', 3);

GRANT SELECT ON event_outbox TO m3_lookup;
CREATE POLICY lookup ON event_outbox FOR SELECT TO m3_lookup USING (true);

-- Events that nobody published yet, oldest first, at most 50 of one tenant in a sweep.
CREATE FUNCTION app.unpublished_events(older_than timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT ranked.tenant_id, ranked.id FROM (
        SELECT e.tenant_id, e.id, e.created_at, row_number() OVER (PARTITION BY e.tenant_id ORDER BY e.created_at) AS nth
        FROM (SELECT * FROM event_outbox o WHERE o.published_at IS NULL AND o.created_at < older_than
              ORDER BY o.created_at LIMIT 10000) e) ranked
    WHERE ranked.nth <= 50 ORDER BY ranked.created_at LIMIT at_most
$$;
ALTER FUNCTION app.unpublished_events OWNER TO m3_lookup;

CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    user_id uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    -- the answer, sealed: it may hold personal data
    answer_sealed bytea,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (tenant_id, created_at);
SELECT app.protect('idempotency_keys');

-- Claims a key for this transaction.
--   M3I01 the same request was answered before, M3I02 it is being answered, M3I03 the key was used
--   for another request
CREATE FUNCTION app.claim_idempotency_key(acting_user uuid, wanted text, request_fingerprint bytea, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    tenant uuid := app.current_tenant_id();
    known bytea;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(concat_ws('/', tenant, acting_user, wanted), 0)) THEN
        RAISE EXCEPTION 'the same request is being answered' USING ERRCODE = 'M3I02';
    END IF;
    DELETE FROM idempotency_keys WHERE tenant_id = tenant AND user_id = acting_user AND key = wanted
        AND created_at < at - interval '24 hours';
    INSERT INTO idempotency_keys (tenant_id, user_id, key, fingerprint, created_at)
        VALUES (tenant, acting_user, wanted, request_fingerprint, at) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT fingerprint INTO known FROM idempotency_keys WHERE tenant_id = tenant AND user_id = acting_user AND key = wanted;
    IF known = request_fingerprint THEN
        RAISE EXCEPTION 'the request was answered before' USING ERRCODE = 'M3I01';
    END IF;
    RAISE EXCEPTION 'the key was used for another request' USING ERRCODE = 'M3I03';
END
$$;

-- Forgets keys older than a day, of all tenants; returns how many.
CREATE FUNCTION app.forget_idempotency_keys(at timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    WITH gone AS (DELETE FROM idempotency_keys k WHERE k.created_at < at - interval '24 hours' RETURNING 1)
    SELECT count(*) FROM gone
$$;
GRANT SELECT, DELETE ON idempotency_keys TO m3_lookup;
CREATE POLICY lookup ON idempotency_keys TO m3_lookup USING (true);
ALTER FUNCTION app.forget_idempotency_keys OWNER TO m3_lookup;
