-- Who acts behind an API key, keys that keys made, and which super admins count.

-- Whoever acts: the user, or the user who made the API key.
CREATE FUNCTION app.person_behind(tenant uuid, member uuid, api_key uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT coalesce(member, (SELECT k.created_by FROM api_keys k WHERE k.tenant_id = tenant AND k.id = api_key))
$$;

-- The key that made this one: they end together.
ALTER TABLE api_keys ADD COLUMN parent_key_id uuid,
    ADD FOREIGN KEY (tenant_id, parent_key_id) REFERENCES api_keys (tenant_id, id);
CREATE INDEX api_keys_parent ON api_keys (tenant_id, parent_key_id) WHERE parent_key_id IS NOT NULL;

-- The super admins that a company has to go by: active, and with a way to log in.
CREATE FUNCTION app.super_admins(tenant uuid) RETURNS TABLE (user_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT u.id FROM roles r
    JOIN user_roles ur ON ur.tenant_id = tenant AND ur.role_id = r.id
    JOIN users u ON u.tenant_id = tenant AND u.id = ur.user_id
    WHERE r.tenant_id IS NULL AND r.code = 'super_admin' AND u.status = 'active'
      AND (u.password_hash IS NOT NULL
           OR EXISTS (SELECT FROM user_identities i WHERE i.tenant_id = tenant AND i.user_id = u.id))
$$;

-- One who can't log in is no super admin to go by.
CREATE OR REPLACE FUNCTION app.keep_a_super_admin() RETURNS trigger
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
    IF NOT EXISTS (SELECT FROM app.super_admins(OLD.tenant_id)) THEN
        RAISE EXCEPTION 'the last super admin' USING ERRCODE = 'M3409';
    END IF;
    RETURN NULL;
END
$$;
