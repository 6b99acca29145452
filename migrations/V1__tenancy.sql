-- Tenancy: the setting that policies read, what makes a table a tenant table, monthly partitions.

-- The tenant of this transaction; NULL (so: no rows) when none was entered or the setting is not a uuid.
CREATE FUNCTION app.current_tenant_id() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN current_setting('app.current_tenant_id', true) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    THEN current_setting('app.current_tenant_id', true)::uuid
END;

-- Who acts, from where: {"actor", "user_id", "request_id", "ip", "user_agent"}.
CREATE FUNCTION app.current_origin() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(current_setting('app.origin', true), ''), '{}')::jsonb;

-- Makes a table a tenant table: row-level security that its owner can't escape either, and the
-- privileges of the application. Every migration that creates a tenant table calls it.
CREATE FUNCTION app.protect(target regclass, privileges text DEFAULT 'SELECT, INSERT, UPDATE, DELETE') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY tenant ON %s TO m3_app, m3_owner '
        'USING (tenant_id = (SELECT app.current_tenant_id())) '
        'WITH CHECK (tenant_id = (SELECT app.current_tenant_id()))', target);
    IF privileges <> '' THEN
        EXECUTE format('GRANT %s ON %s TO m3_app', privileges, target);
    END IF;
END
$$;

-- The smallest UUIDv7 of an instant. Ids are ordered in time, so tables partition by id.
CREATE FUNCTION app.first_id_of(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- What is partitioned by month, and how many months it is kept (NULL: for good).
CREATE TABLE app.partitioned_tables (
    table_name text PRIMARY KEY,
    keep_months integer CHECK (keep_months > 0)
);

-- Creates the partitions of last month up to `months_ahead` from now, and drops those past their
-- time. Harmless to repeat; two at once wait for each other.
CREATE FUNCTION app.maintain_partitions(at timestamptz, months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    entry app.partitioned_tables;
    month timestamp;
    child text;
    stale text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('app.maintain_partitions', 0));
    FOR entry IN SELECT * FROM app.partitioned_tables ORDER BY table_name LOOP
        FOR month IN
            SELECT generate_series(date_trunc('month', at AT TIME ZONE 'UTC') - interval '1 month',
                                   date_trunc('month', at AT TIME ZONE 'UTC') + make_interval(months => months_ahead),
                                   interval '1 month')
        LOOP
            child := format('%s_%s', entry.table_name, to_char(month, 'YYYYMM'));
            IF to_regclass('public.' || child) IS NULL THEN
                EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                    child, entry.table_name,
                    app.first_id_of(month AT TIME ZONE 'UTC'),
                    app.first_id_of((month + interval '1 month') AT TIME ZONE 'UTC'));
                PERFORM app.protect(('public.' || quote_ident(child))::regclass, '');
                made := made + 1;
            END IF;
        END LOOP;
        IF entry.keep_months IS NOT NULL THEN
            FOR stale IN
                SELECT c.relname FROM pg_inherits i
                JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = ('public.' || quote_ident(entry.table_name))::regclass
                  AND right(c.relname, 6) < to_char(at AT TIME ZONE 'UTC' - make_interval(months => entry.keep_months), 'YYYYMM')
            LOOP
                EXECUTE format('DROP TABLE public.%I', stale);
            END LOOP;
        END IF;
    END LOOP;
    RETURN made;
END
$$;
REVOKE EXECUTE ON FUNCTION app.maintain_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.maintain_partitions TO m3_app;

CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    slug text NOT NULL UNIQUE,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants TO m3_app, m3_owner
    USING (id = (SELECT app.current_tenant_id())) WITH CHECK (id = (SELECT app.current_tenant_id()));
CREATE POLICY lookup ON tenants FOR SELECT TO m3_lookup USING (true);
GRANT SELECT, INSERT, UPDATE ON tenants TO m3_app;
GRANT SELECT ON tenants TO m3_lookup;
