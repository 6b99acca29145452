-- Users, roles, sessions, refresh tokens (S1.3), and app.enter, which opens every tenant transaction.

CREATE TABLE users (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    email text NOT NULL,
    email_norm text NOT NULL,
    full_name text NOT NULL,
    password_hash text,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('invited', 'active', 'suspended', 'deactivated')),
    email_verified_at timestamptz,
    last_login_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, email_norm)
);
-- login knows an e-mail and no tenant
CREATE INDEX users_email ON users (email_norm);
SELECT app.protect('users');
SELECT app.audit_table('users', 'user', 'password_hash');

CREATE TABLE permissions (
    code text PRIMARY KEY,
    description text NOT NULL
);
GRANT SELECT ON permissions TO m3_app;

-- System roles have no tenant and are everybody's; a tenant's own roles are its own.
CREATE TABLE roles (
    id uuid PRIMARY KEY,
    tenant_id uuid REFERENCES tenants (id),
    code text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, code)
);
CREATE TABLE role_permissions (
    role_id uuid NOT NULL REFERENCES roles (id),
    tenant_id uuid REFERENCES tenants (id),
    permission_code text NOT NULL REFERENCES permissions (code),
    PRIMARY KEY (role_id, permission_code)
);
DO $$
DECLARE
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY['roles', 'role_permissions'] LOOP
        PERFORM app.protect(target::regclass, 'SELECT');
        EXECUTE format('CREATE POLICY system ON %I FOR SELECT TO m3_app USING (tenant_id IS NULL)', target);
        EXECUTE format('CREATE POLICY seed ON %I TO m3_owner USING (tenant_id IS NULL) WITH CHECK (tenant_id IS NULL)', target);
    END LOOP;
END
$$;

CREATE TABLE user_roles (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role_id uuid NOT NULL REFERENCES roles (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, role_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
SELECT app.protect('user_roles');
SELECT app.audit_table('user_roles', 'user.role');

-- A session is a family of refresh tokens and the authority over its access tokens.
CREATE TABLE sessions (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    user_agent text,
    ip text,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text CHECK (revoked_reason IN ('logout', 'revoked', 'reused', 'replaced')),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX sessions_user ON sessions (tenant_id, user_id, created_at DESC, id DESC);
SELECT app.protect('sessions');

CREATE TABLE refresh_tokens (
    tenant_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    session_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- set when the token was spent, with the client that spent it and what it got; a token that was
    -- replaced before anybody used it has no successor
    rotated_at timestamptz,
    rotated_by bytea,
    successor_hash bytea,
    PRIMARY KEY (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
);
-- refresh knows a token and no tenant; 32 random bytes collide with nobody's
CREATE INDEX refresh_tokens_hash ON refresh_tokens (token_hash);
CREATE INDEX refresh_tokens_session ON refresh_tokens (tenant_id, session_id);
SELECT app.protect('refresh_tokens');

-- Signups that carried an Idempotency-Key: the tenant that a repeated one belongs to.
CREATE TABLE signup_keys (
    key_hash bytea PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    user_id uuid NOT NULL,
    -- keyed hash over what was asked for, without the password
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL
);
SELECT app.protect('signup_keys', 'SELECT, INSERT');

-- Opens a tenant transaction: sets what policies and the audit trigger read, and refuses a session
-- that is over, a user or tenant that is suspended, and a permission that is missing. It travels
-- with the first statement, which does not run when this raises.
--   M3401 session over, M3402 tenant suspended, M3403 permission missing
CREATE FUNCTION app.enter(tenant uuid, acting_user uuid, session uuid, permission text, origin text, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    found_tenant_status text;
    allowed boolean;
BEGIN
    PERFORM set_config('app.current_tenant_id', tenant::text, true), set_config('app.origin', origin, true);
    IF acting_user IS NULL THEN
        RETURN;
    END IF;
    SELECT t.status,
           permission IS NULL OR EXISTS (
               SELECT FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
               WHERE ur.tenant_id = tenant AND ur.user_id = acting_user AND rp.permission_code = permission)
      INTO found_tenant_status, allowed
      FROM sessions s
      JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
      JOIN tenants t ON t.id = s.tenant_id
     WHERE s.tenant_id = tenant AND s.id = session AND s.user_id = acting_user
       AND s.revoked_at IS NULL AND s.expires_at > at AND u.status = 'active';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the session is over' USING ERRCODE = 'M3401';
    ELSIF found_tenant_status <> 'active' THEN
        RAISE EXCEPTION 'the tenant is suspended' USING ERRCODE = 'M3402';
    ELSIF NOT allowed THEN
        RAISE EXCEPTION 'a permission is missing' USING ERRCODE = 'M3403';
    END IF;
END
$$;

-- Audits an action of the user whom a password or a refresh token just proved, in a transaction that
-- one of our functions opened. What the transaction audits later is that user's, too.
CREATE FUNCTION app.audit_as(acting_user uuid, action text, entity_type text, entity_id uuid, after_data jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM set_config('app.origin',
        (app.current_origin() || jsonb_build_object('actor', 'user', 'user_id', acting_user))::text, true);
    PERFORM app.audit(action, entity_type, entity_id, NULL, after_data);
END
$$;

-- Spends a refresh token of the entered tenant for `successor`. The lock on the session puts
-- requests with tokens of one family in a row, and with them a logout: whatever comes at once, at
-- most one live token is left.
--   rotated  the successor is live
--   over     the token is unknown, expired or replaced, or its session, user or tenant is over
--   reused   the token was spent before: its family is revoked
-- A client that did not get the answer may ask again within 10 seconds while the successor is
-- unused; the new successor then replaces the unused one.
CREATE FUNCTION app.rotate_refresh_token(hash bytea, client bytea, successor bytea, at timestamptz, until timestamptz)
RETURNS TABLE (outcome text, user_id uuid, session_id uuid)
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
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
            PERFORM app.audit_as(user_id, 'auth.token_reused', 'session', session_id, NULL);
        END IF;
    END IF;
    IF outcome = 'rotated' THEN
        DELETE FROM refresh_tokens r WHERE r.tenant_id = tenant AND r.session_id = family.id AND r.expires_at <= at;
        INSERT INTO refresh_tokens (tenant_id, token_hash, session_id, created_at, expires_at)
            VALUES (tenant, successor, family.id, at, until);
        UPDATE sessions s SET last_used_at = at, expires_at = until WHERE s.tenant_id = tenant AND s.id = family.id;
        PERFORM app.audit_as(user_id, 'auth.refresh_rotated', 'session', session_id, NULL);
    END IF;
    RETURN NEXT;
END
$$;

-- Look-ups before a tenant is known. They run as m3_lookup, which may read these tables across
-- tenants and can't log in; each returns only what its step needs.
GRANT SELECT ON users, sessions, signup_keys TO m3_lookup;
GRANT SELECT ON refresh_tokens TO m3_lookup;
CREATE POLICY lookup ON users FOR SELECT TO m3_lookup USING (true);
CREATE POLICY lookup ON sessions FOR SELECT TO m3_lookup USING (true);
CREATE POLICY lookup ON refresh_tokens FOR SELECT TO m3_lookup USING (true);
CREATE POLICY lookup ON signup_keys FOR SELECT TO m3_lookup USING (true);

-- The accounts that may log in with an e-mail, in one tenant when it is named.
-- (A parameter named like a column would mean the column.)
CREATE FUNCTION app.login_candidates(wanted text, within uuid) RETURNS TABLE (
    tenant_id uuid, tenant_slug text, tenant_status text, user_id uuid, user_status text, password_hash text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id, t.slug, t.status, u.id, u.status, u.password_hash
    FROM users u JOIN tenants t ON t.id = u.tenant_id
    WHERE u.email_norm = wanted AND (within IS NULL OR u.tenant_id = within)
    ORDER BY t.id LIMIT 20
$$;

-- The tenant and session of a refresh token.
CREATE FUNCTION app.refresh_token_owner(hash bytea) RETURNS TABLE (tenant_id uuid, session_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT r.tenant_id, r.session_id, s.user_id
    FROM refresh_tokens r JOIN sessions s ON s.tenant_id = r.tenant_id AND s.id = r.session_id
    WHERE r.token_hash = hash
$$;

-- What a signup with this key made, and from what.
CREATE FUNCTION app.signup_of(hash bytea) RETURNS TABLE (tenant_id uuid, user_id uuid, fingerprint bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT k.tenant_id, k.user_id, k.fingerprint FROM signup_keys k WHERE k.key_hash = hash
$$;

-- The tenant with this slug or id.
CREATE FUNCTION app.tenant_named(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id FROM tenants t WHERE t.slug = wanted
        OR t.id = CASE WHEN wanted ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN wanted::uuid END
$$;

ALTER FUNCTION app.login_candidates OWNER TO m3_lookup;
ALTER FUNCTION app.refresh_token_owner OWNER TO m3_lookup;
ALTER FUNCTION app.signup_of OWNER TO m3_lookup;
ALTER FUNCTION app.tenant_named OWNER TO m3_lookup;

INSERT INTO permissions (code, description) VALUES
    ('contact.read', 'See contacts'),
    ('contact.create', 'Create contacts'),
    ('contact.update', 'Change contacts and their channels'),
    ('contact.delete', 'Delete contacts'),
    ('messaging.accounts.manage', 'Connect and disconnect messaging accounts'),
    ('messaging.read', 'Read conversations'),
    ('messaging.send', 'Reply in conversations'),
    ('session.read.self', 'See own sessions'),
    ('session.revoke.self', 'End own sessions');

INSERT INTO roles (id, code, name) VALUES
    ('00000000-0000-7000-8000-000000000001', 'super_admin', 'Super admin'),
    ('00000000-0000-7000-8000-000000000002', 'admin', 'Admin'),
    ('00000000-0000-7000-8000-000000000003', 'manager', 'Manager'),
    ('00000000-0000-7000-8000-000000000004', 'staff', 'Staff'),
    ('00000000-0000-7000-8000-000000000005', 'read_only', 'Read only');

INSERT INTO role_permissions (role_id, permission_code)
SELECT r.id, p.code FROM roles r CROSS JOIN permissions p
WHERE r.code IN ('super_admin', 'admin')
   OR (r.code = 'manager' AND p.code <> 'messaging.accounts.manage')
   OR (r.code = 'staff' AND p.code NOT IN ('messaging.accounts.manage', 'contact.delete'))
   OR (r.code = 'read_only' AND p.code IN ('contact.read', 'messaging.read', 'session.read.self', 'session.revoke.self'));
