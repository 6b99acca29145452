-- What the application may delete of an audit log, whatever it says the time is: lines that are past their
-- company's time by the database's own clock, and none that is younger than a year (S18.4).

ALTER TABLE tenants
    DROP CONSTRAINT tenants_audit_keep_months_check,
    ADD CONSTRAINT tenants_audit_keep_months_check CHECK (audit_keep_months BETWEEN 12 AND 84);

-- As before, and `at` can't be later than now, nor the time kept be shorter than a year.
CREATE OR REPLACE FUNCTION app.expire_audit(at timestamptz, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    tenant uuid := app.current_tenant_id();
    last_gone record;
    gone bigint;
BEGIN
    WITH oldest AS (
        SELECT a.seq, a.id, a.hash FROM audit_logs a WHERE a.tenant_id = tenant ORDER BY a.seq LIMIT at_most
    ), kept AS (
        SELECT min(o.seq) AS seq FROM oldest o JOIN tenants t ON t.id = tenant
        WHERE o.id >= app.first_id_of(least(at, clock_timestamp()) - make_interval(months => greatest(t.audit_keep_months, 12)))
    )
    SELECT o.seq, o.hash INTO last_gone FROM oldest o, kept
    WHERE o.seq < coalesce(kept.seq, o.seq + 1) ORDER BY o.seq DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    UPDATE audit_chains c SET anchor_seq = last_gone.seq, anchor_hash = last_gone.hash WHERE c.tenant_id = tenant;
    DELETE FROM audit_logs a WHERE a.tenant_id = tenant AND a.seq <= last_gone.seq;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

-- As before, by the same clock: a month that is still to come has no lines yet, and would be missing then.
CREATE OR REPLACE FUNCTION app.drop_empty_audit_months(at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    child text;
    month timestamptz;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('app.maintain_partitions', 0));
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.audit_logs'::regclass
          AND right(c.relname, 6) < to_char(least(at, clock_timestamp()) AT TIME ZONE 'UTC' - interval '1 month', 'YYYYMM')
    LOOP
        month := to_date(right(child, 6), 'YYYYMM')::timestamp AT TIME ZONE 'UTC';
        IF NOT app.has_audit_between(app.first_id_of(month), app.first_id_of(month + interval '1 month')) THEN
            EXECUTE format('DROP TABLE public.%I', child);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END
$$;
