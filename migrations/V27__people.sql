-- The records of one person, and how long what providers posted of people is kept (S18.4, S18.5).

-- Who shares an address, also with those in the archive, which claim none.
CREATE INDEX contact_channels_by_value ON contact_channels (tenant_id, value_hash);

-- What providers posted is kept for 30 days, as it came; what was made of it stays.
CREATE INDEX messages_raw ON messages (tenant_id, id) WHERE raw_sealed IS NOT NULL;
GRANT SELECT (id, tenant_id), DELETE ON webhook_events TO m3_lookup;
CREATE POLICY lookup ON webhook_events FOR SELECT TO m3_lookup USING (true);
CREATE POLICY forget_unresolved ON webhook_events FOR DELETE TO m3_lookup USING (tenant_id IS NULL);
GRANT SELECT (tenant_id, id, raw_sealed) ON messages TO m3_lookup;
CREATE POLICY lookup ON messages FOR SELECT TO m3_lookup USING (true);

-- Tenants that keep something posted before this moment.
CREATE FUNCTION app.tenants_with_old_webhooks(posted_before timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id FROM tenants t
    WHERE EXISTS (SELECT FROM webhook_events e WHERE e.tenant_id = t.id AND e.id < app.first_id_of(posted_before))
       OR EXISTS (SELECT FROM messages m
                  WHERE m.tenant_id = t.id AND m.id < app.first_id_of(posted_before) AND m.raw_sealed IS NOT NULL)
    ORDER BY t.id LIMIT at_most
$$;
ALTER FUNCTION app.tenants_with_old_webhooks OWNER TO m3_lookup;
REVOKE EXECUTE ON FUNCTION app.tenants_with_old_webhooks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.tenants_with_old_webhooks TO m3_app;

-- Forgets what was posted before this moment for accounts that nobody has; returns how many.
CREATE FUNCTION app.forget_unresolved_webhooks(posted_before timestamptz, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    WITH gone AS (
        DELETE FROM webhook_events WHERE id IN (
            SELECT e.id FROM webhook_events e
            WHERE e.tenant_id IS NULL AND e.id < app.first_id_of(posted_before) ORDER BY e.id LIMIT at_most)
        RETURNING 1)
    SELECT count(*) FROM gone
$$;
ALTER FUNCTION app.forget_unresolved_webhooks OWNER TO m3_lookup;
REVOKE EXECUTE ON FUNCTION app.forget_unresolved_webhooks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.forget_unresolved_webhooks TO m3_app;
