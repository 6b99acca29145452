-- Proving who somebody is (S1.6, S1.8): links by mail, second factors, verified phones, what a company
-- asks of its users, and forgetting what is over.

-- Links to a mailbox: to verify its address, or to choose a new password. One of a kind for each
-- user: a newer one takes the place of the older.
CREATE TABLE user_links (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('verify_email', 'reset_password')),
    token_hash bytea NOT NULL,
    -- what the link proves: an address that was changed meanwhile is not proved
    email_norm text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (tenant_id, user_id, purpose),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
-- who follows a link names no tenant
CREATE INDEX user_links_hash ON user_links (token_hash);
SELECT app.protect('user_links');

-- An authenticator app's secret; in use once a code of it was confirmed. `last_step` is the latest
-- 30-second step that a code was accepted for: none is accepted twice, and none older.
CREATE TABLE totp_secrets (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    secret_sealed bytea NOT NULL,
    last_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
SELECT app.protect('totp_secrets');

-- Codes for the day the phone is gone, each good once, as keyed hashes.
CREATE TABLE backup_codes (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    code_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (tenant_id, user_id, code_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
SELECT app.protect('backup_codes');

-- Logins whose password was right and whose second factor is awaited. The token opens nothing but
-- the second step.
CREATE TABLE login_challenges (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 5),
    -- a code that was sent, by which channel
    channel text CHECK (channel IN ('sms', 'whatsapp')),
    code_hash bytea,
    sends smallint NOT NULL DEFAULT 0,
    sent_at timestamptz,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
-- the second step names no tenant
CREATE INDEX login_challenges_hash ON login_challenges (token_hash);
CREATE INDEX login_challenges_user ON login_challenges (tenant_id, user_id);
SELECT app.protect('login_challenges');

-- Phones on their way to being verified (S1.8). At most one of a user waits for its code.
CREATE TABLE phone_verifications (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    phone_sealed bytea NOT NULL,
    phone_hash bytea NOT NULL,
    phone_masked text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('sms', 'whatsapp')),
    code_hash bytea NOT NULL,
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 5),
    sends smallint NOT NULL DEFAULT 1,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'verified', 'expired', 'revoked')),
    created_at timestamptz NOT NULL,
    sent_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX phone_verifications_pending ON phone_verifications (tenant_id, user_id) WHERE status = 'pending';
CREATE INDEX phone_verifications_user ON phone_verifications (tenant_id, user_id, created_at);
SELECT app.protect('phone_verifications');

-- How long users have once a company begins to ask for a second factor or a verified phone.
ALTER TABLE tenants ADD COLUMN security_grace_days smallint NOT NULL DEFAULT 7 CHECK (security_grace_days BETWEEN 0 AND 90);

-- Look-ups before a tenant is known, each returning only what its step needs.
GRANT SELECT, DELETE ON user_links, login_challenges, phone_verifications, totp_secrets TO m3_lookup;
GRANT DELETE ON sessions, refresh_tokens, signup_keys TO m3_lookup;
DO $$
DECLARE
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY['user_links', 'login_challenges', 'phone_verifications', 'totp_secrets'] LOOP
        EXECUTE format('CREATE POLICY lookup ON %I TO m3_lookup USING (true)', target);
    END LOOP;
    FOREACH target IN ARRAY ARRAY['sessions', 'refresh_tokens', 'signup_keys'] LOOP
        EXECUTE format('CREATE POLICY forget ON %I FOR DELETE TO m3_lookup USING (true)', target);
    END LOOP;
END
$$;

-- Whose link this is.
CREATE FUNCTION app.link_owner(wanted text, hash bytea) RETURNS TABLE (tenant_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT l.tenant_id, l.user_id FROM user_links l WHERE l.token_hash = hash AND l.purpose = wanted
$$;

-- Whose login waits for its second step.
CREATE FUNCTION app.challenge_owner(hash bytea) RETURNS TABLE (tenant_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT c.tenant_id, c.user_id FROM login_challenges c WHERE c.token_hash = hash
$$;

-- Forgets what is over: sessions a month after their end, with their refresh tokens; links, login
-- challenges, phone codes and authenticators that nobody confirmed, a day after theirs; the keys of
-- signups a day old. Returns how many rows.
CREATE FUNCTION app.forget_identity_traces(at timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    WITH ended AS (
        DELETE FROM sessions s
        WHERE least(s.expires_at, s.revoked_at) < at - interval '30 days' RETURNING 1),
    links AS (DELETE FROM user_links l WHERE least(l.expires_at, l.used_at) < at - interval '1 day' RETURNING 1),
    challenges AS (DELETE FROM login_challenges c WHERE c.expires_at < at - interval '1 day' RETURNING 1),
    phones AS (DELETE FROM phone_verifications p WHERE p.expires_at < at - interval '1 day' RETURNING 1),
    secrets AS (DELETE FROM totp_secrets t WHERE t.confirmed_at IS NULL AND t.created_at < at - interval '1 day' RETURNING 1),
    keys AS (DELETE FROM signup_keys k WHERE k.created_at < at - interval '1 day' RETURNING 1)
    SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM links) + (SELECT count(*) FROM challenges)
         + (SELECT count(*) FROM phones) + (SELECT count(*) FROM secrets) + (SELECT count(*) FROM keys)
$$;
REVOKE EXECUTE ON FUNCTION app.forget_identity_traces FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.forget_identity_traces TO m3_app;

ALTER FUNCTION app.link_owner OWNER TO m3_lookup;
ALTER FUNCTION app.challenge_owner OWNER TO m3_lookup;
ALTER FUNCTION app.forget_identity_traces OWNER TO m3_lookup;
