-- A company is closed, kept for 30 days in case that was a mistake, and then deleted with all it has (S18.2).

-- closed: as suspended, and to be deleted. deleting: it has begun, and can't be undone.
ALTER TABLE tenants
    ADD COLUMN closed_at timestamptz,
    DROP CONSTRAINT tenants_status_check,
    ADD CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended', 'closed', 'deleting')),
    ADD CONSTRAINT tenants_closed_check CHECK ((closed_at IS NOT NULL) = (status IN ('closed', 'deleting')));

-- That a company was here. Nothing of it is left but when it went.
CREATE TABLE deleted_tenants (
    id uuid PRIMARY KEY,
    closed_at timestamptz NOT NULL,
    deleted_at timestamptz NOT NULL
);
GRANT SELECT ON deleted_tenants TO m3_lookup;

-- How long a closed company can be opened again.
CREATE FUNCTION app.closing_grace() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '30 days';

-- When a company was closed is the database's to say, and so from when on its data may be deleted: whoever
-- has the application's connection can close a company, and has to wait like everybody else.
CREATE FUNCTION app.close_tenant() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.status = 'deleting' AND NEW.status <> 'deleting' THEN
        RAISE EXCEPTION 'the company is being deleted' USING ERRCODE = 'check_violation';
    ELSIF OLD.status <> 'deleting' AND NEW.status = 'deleting'
          AND (OLD.status <> 'closed' OR OLD.closed_at > clock_timestamp() - app.closing_grace()) THEN
        RAISE EXCEPTION 'the company was not closed for long enough' USING ERRCODE = 'check_violation';
    END IF;
    NEW.closed_at := CASE WHEN NEW.status IN ('closed', 'deleting') THEN coalesce(OLD.closed_at, clock_timestamp()) END;
    RETURN NEW;
END
$$;
CREATE TRIGGER close BEFORE UPDATE ON tenants FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.closed_at IS DISTINCT FROM NEW.closed_at)
    EXECUTE FUNCTION app.close_tenant();
CREATE FUNCTION app.open_tenant() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a company is not made closed' USING ERRCODE = 'check_violation';
END
$$;
CREATE TRIGGER open BEFORE INSERT ON tenants FOR EACH ROW WHEN (NEW.closed_at IS NOT NULL OR NEW.status IN ('closed', 'deleting'))
    EXECUTE FUNCTION app.open_tenant();

-- Companies whose time is over, and those that are not done with.
CREATE FUNCTION app.tenants_to_delete(at_most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.id FROM tenants t
    WHERE t.status <> 'active'
      AND (t.status = 'deleting' OR (t.status = 'closed' AND t.closed_at <= clock_timestamp() - app.closing_grace()))
    ORDER BY t.closed_at LIMIT at_most
$$;

-- How far the deletion of a company is: closed, deleting or deleted. No row for one that is not closed.
CREATE FUNCTION app.deletion_of(tenant uuid)
RETURNS TABLE (status text, closed_at timestamptz, delete_after timestamptz, deleted_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.status, t.closed_at, t.closed_at + app.closing_grace(), NULL FROM tenants t
    WHERE t.id = tenant AND t.closed_at IS NOT NULL
    UNION ALL
    SELECT 'deleted', d.closed_at, d.closed_at + app.closing_grace(), d.deleted_at FROM deleted_tenants d WHERE d.id = tenant
$$;
ALTER FUNCTION app.tenants_to_delete OWNER TO m3_lookup;
ALTER FUNCTION app.deletion_of OWNER TO m3_lookup;

-- Whether all that a company has is being deleted: what counts, audits and guards single rows rests then.
CREATE FUNCTION app.is_being_deleted(tenant uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM tenants t WHERE t.id = tenant AND t.status = 'deleting')
$$;

-- Deletes rows of the entered company, at most so many: of every table that refers to companies, directly or
-- by others, the farthest first. Returns how many; 0 says that there were none, and then the company itself
-- is gone: its foreign keys are what shows that nothing is left. Under policies, so of no other company. By
-- indexes that start with the company: the planner takes its rows to lie among everybody's, and they lie together.
CREATE FUNCTION app.delete_tenant(at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    tenant uuid := app.current_tenant_id();
    company record;
    part regclass;
    gone bigint;
    total bigint := 0;
BEGIN
    -- Holds up whoever still writes something for the company until this batch is done.
    SELECT t.status, t.closed_at INTO company FROM tenants t WHERE t.id = tenant FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0; -- somebody else was faster
    ELSIF company.status <> 'deleting' THEN
        RAISE EXCEPTION 'the company is not being deleted' USING ERRCODE = 'check_violation';
    END IF;
    FOR part IN
        WITH RECURSIVE referring (relid, distance) AS (
            SELECT 'tenants'::regclass::oid, 0
            UNION
            SELECT k.conrelid, r.distance + 1 FROM referring r
            JOIN pg_constraint k ON k.contype = 'f' AND k.confrelid = r.relid AND k.conrelid <> k.confrelid
            WHERE r.distance < 20)
        SELECT r.relid FROM referring r JOIN pg_class c ON c.oid = r.relid
        WHERE c.relkind = 'r' AND r.relid <> 'tenants'::regclass
        GROUP BY r.relid ORDER BY max(r.distance) DESC, r.relid
    LOOP
        EXECUTE format('DELETE FROM %1$s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$s WHERE tenant_id = $1 LIMIT $2))', part)
            USING tenant, at_most - total;
        GET DIAGNOSTICS gone = ROW_COUNT;
        total := total + gone;
        EXIT WHEN total >= at_most;
    END LOOP;
    IF total = 0 THEN
        INSERT INTO deleted_tenants VALUES (tenant, company.closed_at, clock_timestamp()) ON CONFLICT (id) DO NOTHING;
        DELETE FROM tenants t WHERE t.id = tenant;
    END IF;
    RETURN total;
END
$$;
REVOKE EXECUTE ON FUNCTION app.tenants_to_delete, app.deletion_of, app.delete_tenant FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.tenants_to_delete, app.deletion_of, app.delete_tenant TO m3_app;

-- A key may be deleted before the key that it was made from.
ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_tenant_id_parent_key_id_fkey,
    ADD CONSTRAINT api_keys_tenant_id_parent_key_id_fkey FOREIGN KEY (tenant_id, parent_key_id)
        REFERENCES api_keys (tenant_id, id) ON DELETE SET NULL (parent_key_id);

-- As before, and a row that is of nothing else is filed under the company. They rest while it is being deleted: the log goes, too, and with the people the seats,
-- the limits and the last super admin.
CREATE OR REPLACE FUNCTION app.audit_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    known jsonb := coalesce(is_now, was);
    masked text;
BEGIN
    IF was IS NOT DISTINCT FROM is_now OR TG_OP = 'DELETE' AND app.is_being_deleted((was ->> 'tenant_id')::uuid) THEN
        RETURN NULL;
    END IF;
    -- An administrator who works past row-level security has entered no tenant: it is the row's.
    IF app.current_tenant_id() IS NULL THEN
        IF known ->> 'tenant_id' IS NULL THEN
            RETURN NULL;
        END IF;
        PERFORM set_config('app.current_tenant_id', known ->> 'tenant_id', true);
    END IF;
    FOREACH masked IN ARRAY TG_ARGV[1:] LOOP
        was := CASE WHEN was ->> masked IS NOT NULL THEN jsonb_set(was, ARRAY[masked], '"***"') ELSE was END;
        is_now := CASE WHEN is_now ->> masked IS NOT NULL THEN jsonb_set(is_now, ARRAY[masked], '"***"') ELSE is_now END;
    END LOOP;
    PERFORM app.audit(
        TG_ARGV[0] || CASE TG_OP WHEN 'INSERT' THEN '.created' WHEN 'UPDATE' THEN '.updated' ELSE '.deleted' END,
        TG_ARGV[0],
        coalesce(known ->> 'id', known ->> 'user_id', known ->> 'child_role_id', known ->> 'group_id', known ->> 'role_id',
                 known ->> 'tenant_id')::uuid,
        was, is_now);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION app.limit_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.tenant_id IS NOT NULL THEN
        PERFORM app.consume(NEW.tenant_id, app.acting_user(), TG_ARGV[0], 1, now());
    ELSIF TG_OP = 'DELETE' AND OLD.tenant_id IS NOT NULL AND NOT app.is_being_deleted(OLD.tenant_id) THEN
        PERFORM app.release(OLD.tenant_id, TG_ARGV[0], 1, now());
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION app.count_seat() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    at timestamptz := clock_timestamp();
    used bigint;
    told jsonb;
BEGIN
    IF TG_OP = 'DELETE' AND app.is_being_deleted(OLD.tenant_id) THEN
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM app.release(OLD.tenant_id, 'users.max', 1, at);
        INSERT INTO seat_ledger VALUES (OLD.tenant_id, app.new_id(at), OLD.user_id, 'unassign', at);
        RETURN NULL;
    END IF;
    used := app.consume(NEW.tenant_id, NULL, 'users.max', 1, at);
    INSERT INTO seat_ledger VALUES (NEW.tenant_id, app.new_id(at), NEW.user_id, 'assign', at);
    IF used = app.limit_of(NEW.tenant_id, NULL, 'users.max', at) AND NEW.tenant_id = app.current_tenant_id() THEN
        told := jsonb_build_object('limit', used);
        PERFORM app.audit('tenant.seat.limit_reached', 'tenant', NEW.tenant_id, NULL, told);
        INSERT INTO event_outbox (tenant_id, id, type, entity_id, payload, request_id, created_at)
        VALUES (NEW.tenant_id, app.new_id(at), 'tenant.seat.limit_reached', NEW.tenant_id, told,
                app.current_origin() ->> 'request_id', at);
        INSERT INTO seat_alerts AS a (tenant_id, seats, reached_at) VALUES (NEW.tenant_id, used, at)
        ON CONFLICT (tenant_id) DO UPDATE SET seats = excluded.seats, reached_at = excluded.reached_at, told_at = NULL;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION app.settle_seats() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    tenant uuid := (changed ->> 'tenant_id')::uuid;
    people uuid[];
BEGIN
    IF TG_OP = 'DELETE' AND app.is_being_deleted(tenant) THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('app.seats/' || tenant, 0));
    IF TG_TABLE_NAME IN ('group_roles', 'groups') THEN
        people := ARRAY(SELECT m.user_id FROM group_members m
            WHERE m.tenant_id = tenant AND m.group_id = coalesce(changed ->> 'group_id', changed ->> 'id')::uuid
            ORDER BY m.user_id);
    ELSE
        people := ARRAY[coalesce(changed ->> 'user_id', changed ->> 'id')::uuid];
    END IF;
    PERFORM app.settle_seats_of(tenant, people);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION app.keep_a_super_admin() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
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
    IF NOT EXISTS (SELECT FROM app.super_admins(OLD.tenant_id)) AND NOT app.is_being_deleted(OLD.tenant_id) THEN
        RAISE EXCEPTION 'the last super admin' USING ERRCODE = 'M3409';
    END IF;
    RETURN NULL;
END
$$;
