-- What people are told: each in their language, and of every session in the timeline of its user (S1.9, S12.3, S12.4).

-- The language that a user is told things in: the one they set for messages, else their own, else the company's.
CREATE FUNCTION app.language_of(tenant uuid, member uuid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce(p.prefs ->> 'locale', u.locale, t.locale) FROM users u JOIN tenants t ON t.id = u.tenant_id
    LEFT JOIN notification_preferences p ON p.tenant_id = u.tenant_id AND p.user_id = u.id
    WHERE u.tenant_id = tenant AND u.id = member
$$;

-- As before, and its audit lines are filed under the user, with the session in the data: who looks for what
-- a user did looks there. Older lines stay where they are, under the session.
CREATE OR REPLACE FUNCTION app.rotate_refresh_token(hash bytea, client bytea, successor bytea, at timestamptz, until timestamptz)
RETURNS TABLE (outcome text, user_id uuid, session_id uuid)
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    tenant uuid := app.current_tenant_id();
    family sessions;
    token refresh_tokens;
    again boolean;
BEGIN
    SELECT s.* INTO family FROM refresh_tokens r
      JOIN sessions s ON s.tenant_id = r.tenant_id AND s.id = r.session_id
     WHERE r.tenant_id = tenant AND r.token_hash = hash FOR UPDATE OF s;
    -- read after the lock: a request that was faster may have spent it
    SELECT r.* INTO token FROM refresh_tokens r WHERE r.tenant_id = tenant AND r.token_hash = hash;
    user_id := family.user_id;
    session_id := family.id;
    again := token.rotated_at > at - interval '10 seconds' AND token.rotated_by = client;
    IF family.revoked_at IS NOT NULL THEN
        outcome := CASE family.revoked_reason WHEN 'reused' THEN 'reused' ELSE 'over' END;
    ELSIF token.token_hash IS NULL OR token.expires_at <= at OR NOT EXISTS (
            SELECT FROM users u JOIN tenants t ON t.id = u.tenant_id
            WHERE u.tenant_id = tenant AND u.id = family.user_id AND u.status = 'active' AND t.status = 'active') THEN
        outcome := 'over';
    ELSIF token.rotated_at IS NULL THEN
        outcome := 'rotated';
        UPDATE refresh_tokens r SET rotated_at = at, rotated_by = client, successor_hash = successor
         WHERE r.tenant_id = tenant AND r.token_hash = hash;
    ELSIF again AND token.successor_hash IS NULL THEN
        outcome := 'over';
    ELSE
        UPDATE refresh_tokens r SET rotated_at = at, rotated_by = client
         WHERE again AND r.tenant_id = tenant AND r.token_hash = token.successor_hash AND r.rotated_at IS NULL;
        IF FOUND THEN
            outcome := 'rotated';
            UPDATE refresh_tokens r SET successor_hash = successor WHERE r.tenant_id = tenant AND r.token_hash = hash;
        ELSE
            outcome := 'reused';
            UPDATE sessions s SET revoked_at = at, revoked_reason = 'reused' WHERE s.tenant_id = tenant AND s.id = family.id;
            PERFORM app.audit_as(user_id, 'auth.token_reused', 'user', user_id, jsonb_build_object('session_id', session_id));
        END IF;
    END IF;
    IF outcome = 'rotated' THEN
        DELETE FROM refresh_tokens r WHERE r.tenant_id = tenant AND r.session_id = family.id AND r.expires_at <= at;
        INSERT INTO refresh_tokens (tenant_id, token_hash, session_id, created_at, expires_at)
            VALUES (tenant, successor, family.id, at, until);
        UPDATE sessions s SET last_used_at = at, expires_at = until WHERE s.tenant_id = tenant AND s.id = family.id;
        PERFORM app.audit_as(user_id, 'auth.refresh_rotated', 'user', user_id, jsonb_build_object('session_id', session_id));
    END IF;
    RETURN NEXT;
END
$$;
