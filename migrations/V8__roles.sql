-- Roles, the role tree, groups and API keys as they are managed (S3A, S12).

-- What a tenant writes, it writes into its own roles: never into a system role, which is everybody's.
ALTER TABLE roles ADD UNIQUE (tenant_id, id);
ALTER TABLE role_permissions ADD FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE;

-- A role of another tenant, or none, is a foreign key that leads nowhere: the plain key on roles.id
-- can't tell. Arguments: the column, and 'own' where a system role will not do.
CREATE FUNCTION app.role_is_ours() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    wanted uuid := (to_jsonb(NEW) ->> TG_ARGV[0])::uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM roles r WHERE r.id = wanted
                   AND (r.tenant_id = NEW.tenant_id OR (r.tenant_id IS NULL AND TG_NARGS = 1))) THEN
        RAISE EXCEPTION 'no such role' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER role_is_ours BEFORE INSERT OR UPDATE OF role_id ON user_roles
    FOR EACH ROW EXECUTE FUNCTION app.role_is_ours('role_id');
CREATE TRIGGER role_is_ours BEFORE INSERT OR UPDATE OF role_id ON group_roles
    FOR EACH ROW EXECUTE FUNCTION app.role_is_ours('role_id');
CREATE TRIGGER parent_is_ours BEFORE INSERT OR UPDATE OF parent_role_id ON role_hierarchy
    FOR EACH ROW EXECUTE FUNCTION app.role_is_ours('parent_role_id');
CREATE TRIGGER child_is_ours BEFORE INSERT OR UPDATE OF child_role_id ON role_hierarchy
    FOR EACH ROW EXECUTE FUNCTION app.role_is_ours('child_role_id', 'own');

-- Only people are super admins, each by a row of their own: it is what keep_a_super_admin counts.
ALTER TABLE group_roles ADD CHECK (role_id <> '00000000-0000-7000-8000-000000000001');
ALTER TABLE role_hierarchy ADD CHECK (parent_role_id <> '00000000-0000-7000-8000-000000000001');

ALTER TABLE roles
    ADD CHECK (char_length(code) <= 50), ADD CHECK (char_length(name) <= 100), ADD CHECK (char_length(description) <= 500);
ALTER TABLE groups
    ADD CHECK (char_length(code) <= 50), ADD CHECK (char_length(name) <= 100), ADD CHECK (char_length(description) <= 500);
ALTER TABLE api_keys ADD CHECK (char_length(name) <= 100), ADD CHECK (cardinality(scopes) <= 200);

CREATE INDEX groups_by_age ON groups (tenant_id, created_at, id);
CREATE INDEX groups_by_name ON groups (tenant_id, name, id);
CREATE INDEX group_members_by_age ON group_members (tenant_id, group_id, added_at, user_id);
CREATE INDEX api_keys_by_age ON api_keys (tenant_id, created_at, id);

-- These roles and those above them, with the role that each was reached from.
CREATE FUNCTION app.roles_above(tenant uuid, beginning uuid[]) RETURNS TABLE (role_id uuid, from_role_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    WITH RECURSIVE above AS (
        SELECT start.id AS role_id, start.id AS from_role_id FROM unnest(beginning) AS start (id)
        UNION
        SELECT h.parent_role_id, above.from_role_id
        FROM above JOIN role_hierarchy h ON h.tenant_id = tenant AND h.child_role_id = above.role_id
    ) SELECT above.role_id, above.from_role_id FROM above
$$;

-- Which of these permissions somebody does not hold and so can't hand on: a person holds what their
-- roles grant, a program its key's scopes. What everybody may do for themselves is nobody's to give.
CREATE FUNCTION app.permissions_lacking(tenant uuid, member uuid, api_key uuid, wanted text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT coalesce(array_agg(lacking.code ORDER BY lacking.code), '{}') FROM (
        SELECT p.code FROM permissions p WHERE p.code = ANY (wanted) AND NOT p.self_service
        EXCEPT
        SELECT rp.permission_code FROM app.roles_held(tenant, member) held JOIN role_permissions rp ON rp.role_id = held.role_id
        EXCEPT
        SELECT unnest(k.scopes) FROM api_keys k WHERE k.tenant_id = tenant AND k.id = api_key) lacking
$$;

-- The same for all that these roles grant, inherited permissions included.
CREATE FUNCTION app.roles_lacking(tenant uuid, member uuid, api_key uuid, given uuid[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT app.permissions_lacking(tenant, member, api_key, ARRAY(
        SELECT rp.permission_code FROM app.roles_above(tenant, given) above
        JOIN role_permissions rp ON rp.role_id = above.role_id))
$$;

-- Adds an edge to the entered tenant's role tree, one at a time in a company: two edges that make a
-- cycle together come one after the other.
--   M3410 a cycle               M3411 the tree is full
CREATE FUNCTION app.add_role_edge(parent uuid, child uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    tenant uuid := app.current_tenant_id();
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('role_hierarchy/' || tenant, 0));
    IF EXISTS (SELECT FROM app.roles_above(tenant, ARRAY[parent]) above WHERE above.role_id = child) THEN
        RAISE EXCEPTION 'the role tree would have a cycle' USING ERRCODE = 'M3410';
    END IF;
    IF (SELECT count(*) FROM role_hierarchy h WHERE h.tenant_id = tenant) >= 500 THEN
        RAISE EXCEPTION 'the role tree is full' USING ERRCODE = 'M3411';
    END IF;
    INSERT INTO role_hierarchy (tenant_id, parent_role_id, child_role_id, created_at) VALUES (tenant, parent, child, at)
        ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- Notes that a key was used, to the minute. It runs after the transaction of the use, so it has no
-- tenant entered; it waits for nobody.
CREATE FUNCTION app.touch_api_key(tenant uuid, used uuid, at timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    UPDATE api_keys k SET last_used_at = at
    WHERE k.tenant_id = tenant AND k.id IN (
        SELECT free.id FROM api_keys free
        WHERE free.tenant_id = tenant AND free.id = used
          AND (free.last_used_at IS NULL OR free.last_used_at <= at - interval '1 minute')
        FOR UPDATE SKIP LOCKED)
$$;
GRANT UPDATE (last_used_at) ON api_keys TO m3_lookup;
CREATE POLICY touch ON api_keys FOR UPDATE TO m3_lookup USING (true);
ALTER FUNCTION app.touch_api_key OWNER TO m3_lookup;

-- user.manage brings the finer permissions over users. Roles of tenants get them as they are written.
INSERT INTO role_permissions (role_id, permission_code)
SELECT rp.role_id, finer.code FROM role_permissions rp
CROSS JOIN unnest(ARRAY['user.deactivate', 'user.delete', 'user.forceLogout', 'user.invite', 'user.read', 'user.reinstate',
                        'user.suspend', 'user.update']) AS finer (code)
WHERE rp.tenant_id IS NULL AND rp.permission_code = 'user.manage'
ON CONFLICT DO NOTHING;
