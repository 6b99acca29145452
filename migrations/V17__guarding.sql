-- Guarding logins (S1.6): of an address that anybody may have signed up with, what its owner proved counts.

-- The accounts that may log in with an e-mail, in one tenant when it is named. Each costs a hash, so
-- there are few; those that can log in come first, and of them those whose address was verified: else
-- companies that a stranger signs up with somebody's address would hide that person's own.
DROP FUNCTION app.login_candidates(text, uuid);
CREATE FUNCTION app.login_candidates(wanted text, within uuid) RETURNS TABLE (
    tenant_id uuid, tenant_slug text, tenant_status text, user_id uuid, user_status text, password_hash text, verified boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id, t.slug, t.status, u.id, u.status, u.password_hash, u.email_verified_at IS NOT NULL
    FROM users u JOIN tenants t ON t.id = u.tenant_id
    WHERE u.email_norm = wanted AND (within IS NULL OR u.tenant_id = within)
    ORDER BY (u.status = 'active' AND t.status = 'active') DESC, (u.email_verified_at IS NOT NULL) DESC, t.id
    LIMIT 4
$$;
ALTER FUNCTION app.login_candidates OWNER TO m3_lookup;

-- A login whose first step was an identity provider's word: the identity that the second step links.
ALTER TABLE login_challenges
    ADD COLUMN identity_provider text CHECK (identity_provider IN ('google', 'apple', 'linkedin')),
    ADD COLUMN subject_hash bytea,
    ADD CHECK ((identity_provider IS NULL) = (subject_hash IS NULL));
