-- What was left to record: the country of a phone (S1.8), changes of what a company subscribes to, and logins
-- that were refused (S18.2).

-- ISO 3166. NULL for numbers of no country, and for those that were verified before.
ALTER TABLE users ADD COLUMN phone_country text CHECK (phone_country ~ '^[A-Z]{2}$');
ALTER TABLE phone_verifications ADD COLUMN phone_country text CHECK (phone_country ~ '^[A-Z]{2}$');

-- A company's first subscription comes with the company. Whoever changes it, and however.
CREATE CONSTRAINT TRIGGER audit AFTER UPDATE OR DELETE ON tenant_subscription
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.audit_row('tenant.subscription');

-- As before, and of those who may not sign in as well: that somebody tried is in their company's log.
DROP FUNCTION app.oauth_candidates(text, bytea, text, text);
CREATE FUNCTION app.oauth_candidates(wanted_provider text, wanted_subject bytea, wanted_email text, tenant_name text)
RETURNS TABLE (tenant_id uuid, tenant_slug text, user_id uuid, linked boolean, active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.id, t.slug, u.id, found.linked, u.status = 'active' AND t.status = 'active' AS active
    FROM (
        SELECT i.tenant_id, i.user_id, true AS linked
        FROM user_identities i WHERE i.provider = wanted_provider AND i.subject_hash = wanted_subject
        UNION ALL
        SELECT m.tenant_id, m.id, false
        FROM users m
        WHERE m.email_norm = wanted_email AND m.email_verified_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM user_identities i WHERE i.tenant_id = m.tenant_id AND i.provider = wanted_provider
               AND (i.user_id = m.id OR i.subject_hash = wanted_subject))
    ) found
    JOIN users u ON u.tenant_id = found.tenant_id AND u.id = found.user_id
    JOIN tenants t ON t.id = found.tenant_id
    WHERE tenant_name IS NULL OR t.id = app.tenant_named(tenant_name)
    ORDER BY active DESC, t.id LIMIT 20
$$;
ALTER FUNCTION app.oauth_candidates OWNER TO m3_lookup;
REVOKE EXECUTE ON FUNCTION app.oauth_candidates FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.oauth_candidates TO m3_app;
