-- The audit log (S1.9, S18.4): append-only, each row carrying a hash over itself and the row before
-- it of the same tenant. The application writes it only through the trigger and app.audit().

CREATE TABLE audit_logs (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    -- position in the tenant's chain, from 1 without gaps
    seq bigint NOT NULL,
    action text NOT NULL,
    entity_type text NOT NULL,
    entity_id uuid,
    before_data jsonb,
    after_data jsonb,
    actor text NOT NULL,
    actor_user_id uuid,
    ip text,
    user_agent text,
    request_id text,
    created_at timestamptz NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX audit_logs_seq ON audit_logs (tenant_id, seq);
CREATE INDEX audit_logs_entity ON audit_logs (tenant_id, entity_type, entity_id, id);
SELECT app.protect('audit_logs', 'SELECT');

CREATE TABLE audit_chains (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    seq bigint NOT NULL,
    hash bytea NOT NULL
);
SELECT app.protect('audit_chains', '');

-- The hash of one row of the chain; verification computes the same.
CREATE FUNCTION app.audit_hash(previous bytea, entry audit_logs) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(previous || convert_to(jsonb_build_array(
    entry.tenant_id, entry.id, entry.seq, entry.action, entry.entity_type, entry.entity_id, entry.before_data,
    entry.after_data, entry.actor, entry.actor_user_id, entry.ip, entry.user_agent, entry.request_id,
    extract(epoch FROM entry.created_at))::text, 'UTF8'));

-- Appends an audit row for the entered tenant. Takes the tenant's chain, so rows of one tenant
-- queue up here; the trigger runs at commit, so they queue for no longer than a commit takes.
CREATE FUNCTION app.audit(action text, entity_type text, entity_id uuid, before_data jsonb, after_data jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    tenant uuid := app.current_tenant_id();
    origin jsonb := app.current_origin();
    previous audit_chains;
    entry audit_logs;
BEGIN
    INSERT INTO audit_chains (tenant_id, seq, hash) VALUES (tenant, 0, '') ON CONFLICT (tenant_id) DO NOTHING;
    SELECT * INTO STRICT previous FROM audit_chains WHERE tenant_id = tenant FOR UPDATE;
    entry.tenant_id := tenant;
    entry.seq := previous.seq + 1;
    entry.action := action;
    entry.entity_type := entity_type;
    entry.entity_id := entity_id;
    entry.before_data := before_data;
    entry.after_data := after_data;
    entry.actor := coalesce(origin ->> 'actor', session_user);
    entry.actor_user_id := (origin ->> 'user_id')::uuid;
    entry.ip := origin ->> 'ip';
    entry.user_agent := origin ->> 'user_agent';
    entry.request_id := origin ->> 'request_id';
    entry.created_at := clock_timestamp();
    -- a UUIDv7: 48 bits of time, the version, 74 random bits
    entry.id := overlay(gen_random_uuid()::text PLACING
        substr(app.first_id_of(entry.created_at)::text, 1, 13) || '-7' FROM 1 FOR 15)::uuid;
    entry.hash := app.audit_hash(previous.hash, entry);
    INSERT INTO audit_logs SELECT entry.*;
    UPDATE audit_chains SET seq = entry.seq, hash = entry.hash WHERE tenant_id = tenant;
END
$$;

-- The first position at which the entered tenant's chain does not hold, or NULL when all of it does.
CREATE FUNCTION app.audit_chain_break() RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT min(seq) FROM (
        SELECT entry.seq,
               entry.hash = app.audit_hash(lag(entry.hash, 1, ''::bytea) OVER chain, entry)
               AND entry.seq = lag(entry.seq, 1, entry.seq - 1) OVER chain + 1 AS holds
        FROM audit_logs entry WHERE entry.tenant_id = app.current_tenant_id()
        WINDOW chain AS (ORDER BY entry.seq)
    ) checked WHERE NOT holds
$$;

-- The trigger: `<entity>.created|updated|deleted` with what the row was and is. Arguments: the
-- entity's name, then the columns whose values are masked.
CREATE FUNCTION app.audit_row() RETURNS trigger
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

-- Audits a table's rows, at commit.
CREATE FUNCTION app.audit_table(target regclass, entity text, VARIADIC masked text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    arguments text;
BEGIN
    SELECT string_agg(quote_literal(value), ', ') INTO arguments FROM unnest(ARRAY[entity] || masked) AS value;
    EXECUTE format(
        'CREATE CONSTRAINT TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON %s '
        'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.audit_row(%s)', target, arguments);
END
$$;

INSERT INTO app.partitioned_tables VALUES ('audit_logs', NULL);
