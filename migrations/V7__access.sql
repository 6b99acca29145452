-- Access: what permissions ask of their holder, groups, role trees, API keys, and app.enter reading
-- all of it with every transaction (S3A, S12).

-- privileged: only with a verified e-mail address (S1.6). self_service: also while the user still
-- owes the second factor or the verified phone that the company demands, since it is how to get one.
ALTER TABLE permissions
    ADD COLUMN privileged boolean NOT NULL DEFAULT false,
    ADD COLUMN self_service boolean NOT NULL DEFAULT false;
GRANT SELECT ON permissions TO m3_lookup;

-- From when on every user needs a second factor, a verified phone; NULL: not needed (S1.13).
ALTER TABLE tenants
    ADD COLUMN locale text NOT NULL DEFAULT 'en',
    ADD COLUMN timezone text NOT NULL DEFAULT 'UTC',
    ADD COLUMN twofa_required_from timestamptz,
    ADD COLUMN phone_required_from timestamptz;
-- a tenant's creation is audited by who does it
CREATE CONSTRAINT TRIGGER audit AFTER UPDATE ON tenants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.audit_row('tenant');

-- The phone is sealed, hashed for look-up and masked for display, as contacts' are.
ALTER TABLE users
    ADD COLUMN locale text,
    ADD COLUMN timezone text,
    ADD COLUMN manager_user_id uuid,
    ADD COLUMN phone_sealed bytea,
    ADD COLUMN phone_hash bytea,
    ADD COLUMN phone_masked text,
    ADD COLUMN phone_verified_at timestamptz,
    ADD COLUMN twofa_methods text[] NOT NULL DEFAULT '{}' CHECK (twofa_methods <@ '{totp,sms,whatsapp}'),
    ADD FOREIGN KEY (tenant_id, manager_user_id) REFERENCES users (tenant_id, id) ON DELETE SET NULL (manager_user_id);
DROP TRIGGER audit ON users;
SELECT app.audit_table('users', 'user', 'password_hash', 'phone_sealed', 'phone_hash');

-- As before, and rows of no tenant (system roles, which a migration changes) are nobody's to audit.
CREATE OR REPLACE FUNCTION app.audit_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    masked text;
BEGIN
    IF was IS NOT DISTINCT FROM is_now THEN
        RETURN NULL;
    END IF;
    -- An administrator who works past row-level security has entered no tenant: it is the row's.
    IF app.current_tenant_id() IS NULL THEN
        IF coalesce(is_now, was) ->> 'tenant_id' IS NULL THEN
            RETURN NULL;
        END IF;
        PERFORM set_config('app.current_tenant_id', coalesce(is_now, was) ->> 'tenant_id', true);
    END IF;
    FOREACH masked IN ARRAY TG_ARGV[1:] LOOP
        was := CASE WHEN was ->> masked IS NOT NULL THEN jsonb_set(was, ARRAY[masked], '"***"') ELSE was END;
        is_now := CASE WHEN is_now ->> masked IS NOT NULL THEN jsonb_set(is_now, ARRAY[masked], '"***"') ELSE is_now END;
    END LOOP;
    PERFORM app.audit(
        TG_ARGV[0] || CASE TG_OP WHEN 'INSERT' THEN '.created' WHEN 'UPDATE' THEN '.updated' ELSE '.deleted' END,
        TG_ARGV[0], (coalesce(is_now, was) ->> 'id')::uuid, was, is_now);
    RETURN NULL;
END
$$;

-- A tenant's own roles. The policy lets it write no row of another tenant and no system role.
ALTER TABLE roles
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
GRANT INSERT, UPDATE, DELETE ON roles, role_permissions TO m3_app;
ALTER TABLE role_permissions
    DROP CONSTRAINT role_permissions_role_id_fkey,
    ADD FOREIGN KEY (role_id) REFERENCES roles (id) ON DELETE CASCADE;

-- A group of users (S3A.3); `business` groups are the businesses that messaging channels belong to.
CREATE TABLE groups (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    kind text NOT NULL DEFAULT 'team' CHECK (kind IN ('team', 'business')),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, code)
);
SELECT app.protect('groups');
SELECT app.audit_table('groups', 'group');

CREATE TABLE group_members (
    tenant_id uuid NOT NULL,
    group_id uuid NOT NULL,
    user_id uuid NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, group_id, user_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX group_members_user ON group_members (tenant_id, user_id);
SELECT app.protect('group_members');
SELECT app.audit_table('group_members', 'group.member');

-- Roles that every member of an active group holds.
CREATE TABLE group_roles (
    tenant_id uuid NOT NULL,
    group_id uuid NOT NULL,
    role_id uuid NOT NULL REFERENCES roles (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, group_id, role_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id)
);
CREATE INDEX group_roles_role ON group_roles (tenant_id, role_id);
SELECT app.protect('group_roles');
SELECT app.audit_table('group_roles', 'group.role');
CREATE INDEX user_roles_role ON user_roles (tenant_id, role_id);

-- The role tree: a child holds what its parents hold.
CREATE TABLE role_hierarchy (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    parent_role_id uuid NOT NULL REFERENCES roles (id),
    child_role_id uuid NOT NULL REFERENCES roles (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, child_role_id, parent_role_id),
    CHECK (parent_role_id <> child_role_id)
);
CREATE INDEX role_hierarchy_parent ON role_hierarchy (tenant_id, parent_role_id);
SELECT app.protect('role_hierarchy');
SELECT app.audit_table('role_hierarchy', 'role.hierarchy');

-- Keys that programs call with. The token carries tenant, key and secret; only the secret's hash is kept.
CREATE TABLE api_keys (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    name text NOT NULL,
    -- the beginning of the token, to recognise it by
    prefix text NOT NULL,
    secret_hash bytea NOT NULL,
    scopes text[] NOT NULL CHECK (scopes <> '{}'),
    created_by uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, created_by) REFERENCES users (tenant_id, id) ON DELETE SET NULL (created_by)
);
SELECT app.protect('api_keys');
CREATE CONSTRAINT TRIGGER audit_created AFTER INSERT OR DELETE ON api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.audit_row('api_key', 'secret_hash');
-- not for every use of a key
CREATE CONSTRAINT TRIGGER audit_changed AFTER UPDATE OF name, scopes, expires_at, revoked_at ON api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.audit_row('api_key', 'secret_hash');

-- The roles that a user holds: given, or given by an active group, and what each of them inherits
-- from. `given_role_id` and `group_id` say why.
CREATE FUNCTION app.roles_held(tenant uuid, member uuid) RETURNS TABLE (role_id uuid, given_role_id uuid, group_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    WITH RECURSIVE held AS (
        SELECT given.role_id, given.role_id AS given_role_id, given.group_id FROM (
            SELECT ur.role_id, NULL::uuid AS group_id FROM user_roles ur
            WHERE ur.tenant_id = tenant AND ur.user_id = member
            UNION ALL
            SELECT gr.role_id, g.id FROM group_members m
            JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id AND g.is_active
            JOIN group_roles gr ON gr.tenant_id = g.tenant_id AND gr.group_id = g.id
            WHERE m.tenant_id = tenant AND m.user_id = member) given
        UNION
        SELECT h.parent_role_id, held.given_role_id, held.group_id
        FROM held JOIN role_hierarchy h ON h.tenant_id = tenant AND h.child_role_id = held.role_id
    ) SELECT held.role_id, held.given_role_id, held.group_id FROM held
$$;

-- Opens a tenant transaction: sets what policies and the audit trigger read, and refuses a session
-- or key that is over, a user or tenant that is suspended, and a permission or feature that is
-- missing. It travels with the first statement, which does not run when this raises. As m3_lookup it
-- reads without policies, which would each work out the tenant again: that is half of its time.
--   M3401 session over          M3402 tenant suspended       M3403 permission missing
--   M3404 e-mail not verified   M3405 second factor owed     M3406 verified phone owed
--   M3407 feature not in the plan
DROP FUNCTION app.enter(uuid, uuid, uuid, text, text, timestamptz);
CREATE FUNCTION app.enter(
    tenant uuid, acting_user uuid, session uuid, api_key uuid, key_hash bytea,
    permission text, feature text, origin text, at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    ignored text;
    tenant_status text;
    allowed boolean;
    unverified boolean;
    owes_twofa boolean;
    owes_phone boolean;
BEGIN
    ignored := set_config('app.current_tenant_id', tenant::text, true);
    ignored := set_config('app.origin', origin, true);
    IF acting_user IS NOT NULL THEN
        SELECT t.status, u.email_verified_at IS NULL,
               t.twofa_required_from <= at AND u.twofa_methods = '{}',
               t.phone_required_from <= at AND u.phone_verified_at IS NULL,
               permission IS NULL OR EXISTS (
                   SELECT FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
                   WHERE ur.tenant_id = tenant AND ur.user_id = acting_user AND rp.permission_code = permission)
          INTO tenant_status, unverified, owes_twofa, owes_phone, allowed
          FROM sessions s
          JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
          JOIN tenants t ON t.id = s.tenant_id
         WHERE s.tenant_id = tenant AND s.id = session AND s.user_id = acting_user
           AND s.revoked_at IS NULL AND s.expires_at > at AND u.status = 'active';
    ELSIF api_key IS NOT NULL THEN
        SELECT t.status, permission = ANY (k.scopes) INTO tenant_status, allowed
          FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
         WHERE k.tenant_id = tenant AND k.id = api_key AND k.secret_hash = key_hash
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > at);
    ELSE
        RETURN;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the session is over' USING ERRCODE = 'M3401';
    ELSIF tenant_status <> 'active' THEN
        RAISE EXCEPTION 'the tenant is suspended' USING ERRCODE = 'M3402';
    END IF;
    -- What most requests do not need is asked for only where it matters.
    IF NOT coalesce(allowed, false) AND NOT (acting_user IS NOT NULL AND EXISTS (
            SELECT FROM app.roles_held(tenant, acting_user) held JOIN role_permissions rp ON rp.role_id = held.role_id
            WHERE rp.permission_code = permission)) THEN
        RAISE EXCEPTION 'a permission is missing' USING ERRCODE = 'M3403';
    END IF;
    IF unverified AND EXISTS (SELECT FROM permissions p WHERE p.code = permission AND p.privileged) THEN
        RAISE EXCEPTION 'the e-mail address is not verified' USING ERRCODE = 'M3404';
    END IF;
    IF (owes_twofa OR owes_phone) AND EXISTS (SELECT FROM permissions p WHERE p.code = permission AND NOT p.self_service) THEN
        IF owes_twofa THEN
            RAISE EXCEPTION 'a second factor is owed' USING ERRCODE = 'M3405';
        END IF;
        RAISE EXCEPTION 'a verified phone is owed' USING ERRCODE = 'M3406';
    END IF;
    IF feature IS NOT NULL THEN
        IF NOT app.entitled(tenant, acting_user, feature, at) THEN
            RAISE EXCEPTION 'the plan does not include this' USING ERRCODE = 'M3407';
        END IF;
    END IF;
END
$$;
GRANT SELECT ON user_roles, role_permissions, group_members, groups, group_roles, role_hierarchy, api_keys TO m3_lookup;
DO $$
DECLARE
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY['user_roles', 'role_permissions', 'group_members', 'groups', 'group_roles', 'role_hierarchy', 'api_keys'] LOOP
        EXECUTE format('CREATE POLICY lookup ON %I FOR SELECT TO m3_lookup USING (true)', target);
    END LOOP;
END
$$;
ALTER FUNCTION app.enter OWNER TO m3_lookup;

-- The last active super admin can be neither demoted nor removed. Runs at commit, one at a time in a
-- company, so that of two who demote each other one is too late. The lock is a key of its own: a row of
-- tenants is what every foreign key to it holds, and this runs while the audit chain is held.
--   M3409 the last super admin
CREATE FUNCTION app.keep_a_super_admin() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    super_admin uuid;
BEGIN
    SELECT r.id INTO STRICT super_admin FROM roles r WHERE r.tenant_id IS NULL AND r.code = 'super_admin';
    IF TG_TABLE_NAME = 'user_roles' THEN
        IF OLD.role_id <> super_admin THEN
            RETURN NULL;
        END IF;
    ELSIF NOT EXISTS (SELECT FROM user_roles ur WHERE ur.tenant_id = OLD.tenant_id AND ur.user_id = OLD.id AND ur.role_id = super_admin) THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('super_admin/' || OLD.tenant_id, 0));
    IF NOT EXISTS (SELECT FROM user_roles ur JOIN users u ON u.tenant_id = ur.tenant_id AND u.id = ur.user_id
                   WHERE ur.tenant_id = OLD.tenant_id AND ur.role_id = super_admin AND u.status = 'active') THEN
        RAISE EXCEPTION 'the last super admin' USING ERRCODE = 'M3409';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER keep_a_super_admin AFTER DELETE ON user_roles
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.keep_a_super_admin();
CREATE CONSTRAINT TRIGGER keep_a_super_admin AFTER UPDATE OF status ON users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.status = 'active' AND NEW.status <> 'active')
    EXECUTE FUNCTION app.keep_a_super_admin();

INSERT INTO permissions (code, description, privileged, self_service) VALUES
    ('apikeys.manage', 'Create and revoke API keys', true, false),
    ('approvals.decide', 'Approve and reject requests', false, false),
    ('approvals.policies.manage', 'Say what needs approval', true, false),
    ('approvals.requests.read', 'See requests for approval', false, false),
    ('audit.export', 'Export the audit log', true, false),
    ('audit.read', 'Read the audit log', false, false),
    ('code.manage', 'Change job titles and departments', false, false),
    ('entitlements.overrides.manage', 'Override what the plan includes', true, false),
    ('entitlements.view', 'See what the plan includes, and why', false, false),
    ('gdpr.manage', 'Export and erase a person''s data', true, false),
    ('groups.manage', 'Create and change groups', true, false),
    ('groups.members.manage', 'Add and remove members of groups', true, false),
    ('phone.verify.confirm', 'Confirm own phone', false, true),
    ('phone.verify.start', 'Verify own phone', false, true),
    ('plan.view', 'See the plan and its usage', false, false),
    ('role.assign', 'Give and take roles', true, false),
    ('role.read', 'See roles and their permissions', false, false),
    ('roles.hierarchy.manage', 'Change the role tree', true, false),
    ('roles.manage', 'Create and change roles', true, false),
    ('seats.view', 'See how many seats are used', false, false),
    ('session.revoke.tenant', 'End anybody''s sessions', true, false),
    ('twofa.manage.self', 'Set up own second factor', false, true),
    ('twofa.manage.tenant', 'Say what everybody needs to log in with', true, false),
    ('user.deactivate', 'Deactivate users', true, false),
    ('user.delete', 'Remove users', true, false),
    ('user.forceLogout', 'End a user''s sessions', true, false),
    ('user.invite', 'Invite users', true, false),
    ('user.manage', 'Do all that can be done to users', true, false),
    ('user.read', 'See users', false, false),
    ('user.reinstate', 'Reactivate users', true, false),
    ('user.suspend', 'Suspend users', true, false),
    ('user.update', 'Change users', true, false);
UPDATE permissions SET self_service = true WHERE code IN ('session.read.self', 'session.revoke.self');

INSERT INTO roles (id, code, name) VALUES
    ('00000000-0000-7000-8000-000000000006', 'sales_manager', 'Sales manager'),
    ('00000000-0000-7000-8000-000000000007', 'finance_manager', 'Finance manager'),
    ('00000000-0000-7000-8000-000000000008', 'inventory_manager', 'Inventory manager'),
    ('00000000-0000-7000-8000-000000000009', 'marketing_manager', 'Marketing manager');

INSERT INTO role_permissions (role_id, permission_code)
SELECT r.id, p.code FROM roles r CROSS JOIN permissions p
WHERE r.tenant_id IS NULL AND (
       r.code IN ('super_admin', 'admin')
    OR p.self_service
    OR (r.code IN ('manager', 'staff', 'read_only') AND p.code IN ('user.read', 'role.read', 'plan.view'))
    OR (r.code IN ('manager', 'staff', 'sales_manager', 'finance_manager', 'inventory_manager', 'marketing_manager')
        AND p.code = 'approvals.requests.read')
    OR (r.code IN ('manager', 'sales_manager', 'finance_manager', 'inventory_manager', 'marketing_manager')
        AND p.code IN ('approvals.decide', 'contact.read', 'user.read')))
ON CONFLICT DO NOTHING;

-- From here on a change of a tenant's role is audited; system roles change by migration only.
SELECT app.audit_table('roles', 'role');
SELECT app.audit_table('role_permissions', 'role.permission');
