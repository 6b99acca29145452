-- Accounts that people have with identity providers (AppA.5).

-- The provider's name for the person is only ever compared, so only its keyed hash is kept.
CREATE TABLE user_identities (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    provider text NOT NULL CHECK (provider IN ('google', 'apple', 'linkedin')),
    subject_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, provider, subject_hash),
    -- an address that its provider gave to somebody else does not open the account of the one before
    UNIQUE (tenant_id, user_id, provider),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
-- a sign-in knows an identity and no tenant
CREATE INDEX user_identities_subject ON user_identities (provider, subject_hash);
SELECT app.protect('user_identities', 'SELECT, INSERT, DELETE');
SELECT app.audit_table('user_identities', 'user.identity', 'subject_hash');
GRANT SELECT ON user_identities TO m3_lookup;
CREATE POLICY lookup ON user_identities FOR SELECT TO m3_lookup USING (true);

-- The active accounts that an identity opens: those linked to it, and in companies where nobody is,
-- the one with its e-mail address, if its owner has proved that the address is theirs: else whoever
-- signed up with somebody else's address would be given that person's work.
CREATE FUNCTION app.oauth_candidates(wanted_provider text, wanted_subject bytea, wanted_email text, tenant_name text)
RETURNS TABLE (tenant_id uuid, tenant_slug text, user_id uuid, linked boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id, t.slug, u.id, found.linked
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
    WHERE u.status = 'active' AND t.status = 'active' AND (tenant_name IS NULL OR t.id = app.tenant_named(tenant_name))
    ORDER BY t.id LIMIT 20
$$;
ALTER FUNCTION app.oauth_candidates OWNER TO m3_lookup;
