-- How long a company keeps what was said, is the company's to say: inboxes, what deliveries say and to whom
-- they went, and what providers posted as it came (S14.8, S18.2). The same rule as for audit lines.

ALTER TABLE tenants
    ADD COLUMN inbox_keep_days integer NOT NULL DEFAULT 90 CHECK (inbox_keep_days BETWEEN 7 AND 365),
    ADD COLUMN payload_keep_days integer NOT NULL DEFAULT 90 CHECK (payload_keep_days BETWEEN 30 AND 365),
    ADD COLUMN webhook_keep_days integer NOT NULL DEFAULT 30 CHECK (webhook_keep_days BETWEEN 7 AND 60);

-- A month is dropped whole, so it outlives the longest time that a company may say.
UPDATE app.partitioned_tables SET keep_months = 3 WHERE table_name = 'webhook_events';

-- Tenants that keep something longer than they said.
DROP FUNCTION app.tenants_with_old_messages(timestamptz, integer);
CREATE FUNCTION app.tenants_with_old_messages(at timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id FROM tenants t
    WHERE EXISTS (SELECT FROM inbox_messages m
                  WHERE m.tenant_id = t.id AND m.id < app.first_id_of(at - make_interval(days => t.inbox_keep_days)))
       OR EXISTS (SELECT FROM messages_outbox o
                  WHERE o.tenant_id = t.id AND o.id < app.first_id_of(at - make_interval(days => t.payload_keep_days))
                    AND o.recipient_sealed <> '' AND o.status NOT IN ('queued', 'sending'))
    ORDER BY t.id LIMIT at_most
$$;
DROP FUNCTION app.tenants_with_old_webhooks(timestamptz, integer);
CREATE FUNCTION app.tenants_with_old_webhooks(at timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id FROM tenants t
    CROSS JOIN LATERAL (SELECT app.first_id_of(at - make_interval(days => t.webhook_keep_days)) AS kept_from) old
    WHERE EXISTS (SELECT FROM webhook_events e WHERE e.tenant_id = t.id AND e.id < old.kept_from)
       OR EXISTS (SELECT FROM messages m WHERE m.tenant_id = t.id AND m.id < old.kept_from AND m.raw_sealed IS NOT NULL)
    ORDER BY t.id LIMIT at_most
$$;
ALTER FUNCTION app.tenants_with_old_messages OWNER TO m3_lookup;
ALTER FUNCTION app.tenants_with_old_webhooks OWNER TO m3_lookup;
REVOKE EXECUTE ON FUNCTION app.tenants_with_old_messages, app.tenants_with_old_webhooks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.tenants_with_old_messages, app.tenants_with_old_webhooks TO m3_app;
