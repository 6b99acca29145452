-- Compliance (S18): an audit chain that still holds after a person was erased from it and after old
-- lines were dropped, retention by tenant, and what an erasure needs to find and remove.

-- Lines of version 2 are chained over salted digests of what they say and where it came from, not
-- over the data itself: erasing drops data and salt and keeps the digest, which without its salt
-- tells nothing. Lines of version 1 verify as they always did.
ALTER TABLE audit_logs
    ADD COLUMN chain_version smallint NOT NULL DEFAULT 1,
    ADD COLUMN data_salt bytea,
    ADD COLUMN data_digest bytea,
    ADD COLUMN origin_salt bytea,
    ADD COLUMN origin_digest bytea,
    ADD COLUMN erased_at timestamptz;

-- Every filter of the list walks one of these, newest first. Codes compare as "C", so that a prefix is
-- a range.
DROP INDEX audit_logs_entity;
CREATE INDEX audit_logs_actor ON audit_logs (tenant_id, actor_user_id, id);
CREATE INDEX audit_logs_action ON audit_logs (tenant_id, action COLLATE "C", id);
CREATE INDEX audit_logs_entity_type ON audit_logs (tenant_id, entity_type, id);
CREATE INDEX audit_logs_entity ON audit_logs (tenant_id, entity_id, id);
CREATE INDEX audit_logs_request ON audit_logs (tenant_id, request_id, id);

-- What came before the first line that is kept: verification starts from it.
ALTER TABLE audit_chains
    ADD COLUMN anchor_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN anchor_hash bytea NOT NULL DEFAULT '';

-- In plpgsql, for these run for every line that is written or verified: an SQL function that is not
-- inlined (convert_to keeps it from that) starts the executor at each call.
CREATE FUNCTION app.audit_digest(salt bytea, content jsonb) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN sha256(salt || convert_to(content::text, 'UTF8'));
END
$$;

CREATE OR REPLACE FUNCTION app.audit_hash(previous bytea, entry audit_logs) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF entry.chain_version = 1 THEN
        RETURN sha256(previous || convert_to(jsonb_build_array(
            entry.tenant_id, entry.id, entry.seq, entry.action, entry.entity_type, entry.entity_id, entry.before_data,
            entry.after_data, entry.actor, entry.actor_user_id, entry.ip, entry.user_agent, entry.request_id,
            extract(epoch FROM entry.created_at))::text, 'UTF8'));
    END IF;
    RETURN sha256(previous || convert_to(jsonb_build_array(
        entry.chain_version, entry.tenant_id, entry.id, entry.seq, entry.action, entry.entity_type, entry.entity_id,
        encode(entry.data_digest, 'hex'), entry.actor, entry.actor_user_id, encode(entry.origin_digest, 'hex'),
        entry.request_id, extract(epoch FROM entry.created_at))::text, 'UTF8'));
END
$$;

-- Whether a line is what was written, after the line with the hash `previous`. Of an erased line of
-- version 1 only its place in the chain can be shown.
CREATE FUNCTION app.audit_line_holds(previous bytea, entry audit_logs) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF entry.chain_version = 1 THEN
        RETURN entry.erased_at IS NOT NULL OR coalesce(entry.hash = app.audit_hash(previous, entry), false);
    END IF;
    RETURN coalesce(
        entry.hash = app.audit_hash(previous, entry)
        AND CASE WHEN entry.data_salt IS NULL
                 THEN entry.erased_at IS NOT NULL AND entry.before_data IS NULL AND entry.after_data IS NULL
                 ELSE entry.data_digest = app.audit_digest(entry.data_salt, jsonb_build_array(entry.before_data, entry.after_data))
            END
        AND CASE WHEN entry.origin_salt IS NULL
                 THEN entry.erased_at IS NOT NULL AND entry.ip IS NULL AND entry.user_agent IS NULL
                 ELSE entry.origin_digest = app.audit_digest(entry.origin_salt, jsonb_build_array(entry.ip, entry.user_agent))
            END, false);
END
$$;

CREATE OR REPLACE FUNCTION app.audit(action text, entity_type text, entity_id uuid, before_data jsonb, after_data jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    tenant uuid := app.current_tenant_id();
    origin jsonb := app.current_origin();
    previous audit_chains;
    entry audit_logs;
BEGIN
    INSERT INTO audit_chains (tenant_id, seq, hash) VALUES (tenant, 0, '') ON CONFLICT (tenant_id) DO NOTHING;
    SELECT * INTO STRICT previous FROM audit_chains WHERE tenant_id = tenant FOR UPDATE;
    entry.chain_version := 2;
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
    -- 244 random bits each: nobody finds what was said by trying
    entry.data_salt := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
    entry.origin_salt := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
    entry.data_digest := app.audit_digest(entry.data_salt, jsonb_build_array(before_data, after_data));
    entry.origin_digest := app.audit_digest(entry.origin_salt, jsonb_build_array(entry.ip, entry.user_agent));
    -- a UUIDv7: 48 bits of time, the version, 74 random bits
    entry.id := overlay(gen_random_uuid()::text PLACING
        substr(app.first_id_of(entry.created_at)::text, 1, 13) || '-7' FROM 1 FOR 15)::uuid;
    entry.hash := app.audit_hash(previous.hash, entry);
    INSERT INTO audit_logs SELECT entry.*;
    UPDATE audit_chains SET seq = entry.seq, hash = entry.hash WHERE tenant_id = tenant;
END
$$;

-- Where the entered tenant's chain begins and ends: the last line that was dropped, the newest line.
CREATE FUNCTION app.audit_ends() RETURNS TABLE (anchor_seq bigint, anchor_hash bytea, head_seq bigint, head_hash bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT c.anchor_seq, c.anchor_hash, c.seq, c.hash FROM audit_chains c WHERE c.tenant_id = app.current_tenant_id()
$$;

-- The first position at which the entered tenant's chain does not hold, or NULL when all of it does,
-- from the anchor to the head. Reads line by line: its memory does not grow with the chain.
CREATE OR REPLACE FUNCTION app.audit_chain_break() RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    ends record;
    entry audit_logs;
    at bigint;
    previous bytea;
BEGIN
    SELECT * INTO ends FROM app.audit_ends();
    at := coalesce(ends.anchor_seq, 0);
    previous := coalesce(ends.anchor_hash, '');
    FOR entry IN SELECT * FROM audit_logs a WHERE a.tenant_id = app.current_tenant_id() ORDER BY a.seq LOOP
        IF entry.seq <> at + 1 OR NOT app.audit_line_holds(previous, entry) THEN
            RETURN at + 1;
        END IF;
        at := entry.seq;
        previous := entry.hash;
    END LOOP;
    IF at <> coalesce(ends.head_seq, 0) THEN
        RETURN least(at, coalesce(ends.head_seq, 0)) + 1;
    ELSIF previous <> coalesce(ends.head_hash, '') THEN
        RETURN at;
    END IF;
    RETURN NULL;
END
$$;

-- Erases what lines of the entered tenant say about these records, and where those users were when
-- they acted; at most `at_most` lines of each kind. Returns how many, so 0 says that nothing is left.
-- Row changes of this transaction are audited first, or they would bring back what is erased here.
CREATE FUNCTION app.erase_audit_of(entities uuid[], actors uuid[], at timestamptz, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    tenant uuid := app.current_tenant_id();
    about bigint;
    acted bigint;
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    UPDATE audit_logs a SET before_data = NULL, after_data = NULL, data_salt = NULL, erased_at = at
    WHERE a.tenant_id = tenant AND a.id IN (
        SELECT o.id FROM audit_logs o
        WHERE o.tenant_id = tenant AND o.entity_id = ANY (entities) AND o.action <> 'gdpr.erased'
          AND (o.data_salt IS NOT NULL OR o.before_data IS NOT NULL OR o.after_data IS NOT NULL)
        LIMIT at_most);
    GET DIAGNOSTICS about = ROW_COUNT;
    UPDATE audit_logs a SET ip = NULL, user_agent = NULL, origin_salt = NULL, erased_at = at
    WHERE a.tenant_id = tenant AND a.id IN (
        SELECT o.id FROM audit_logs o
        WHERE o.tenant_id = tenant AND o.actor_user_id = ANY (actors)
          AND (o.origin_salt IS NOT NULL OR o.ip IS NOT NULL OR o.user_agent IS NOT NULL)
        LIMIT at_most);
    GET DIAGNOSTICS acted = ROW_COUNT;
    RETURN about + acted;
END
$$;

-- Retention. Partitions hold every tenant's lines, so a tenant's expired ones are deleted in batches
-- and a partition is dropped when nobody has a line in it any more.
ALTER TABLE tenants
    ADD COLUMN audit_keep_months integer NOT NULL DEFAULT 12 CHECK (audit_keep_months BETWEEN 1 AND 84);

GRANT SELECT (tenant_id, id) ON audit_logs TO m3_lookup;
CREATE POLICY lookup ON audit_logs FOR SELECT TO m3_lookup USING (true);

-- Tenants that have lines past their time.
CREATE FUNCTION app.tenants_with_expired_audit(at timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id FROM tenants t
    WHERE EXISTS (SELECT FROM audit_logs a WHERE a.tenant_id = t.id
                  AND a.id < app.first_id_of(at - make_interval(months => t.audit_keep_months)))
    ORDER BY t.id LIMIT at_most
$$;

CREATE FUNCTION app.has_audit_between(first uuid, past uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT EXISTS (SELECT FROM audit_logs a WHERE a.id >= first AND a.id < past)
$$;
ALTER FUNCTION app.tenants_with_expired_audit OWNER TO m3_lookup;
ALTER FUNCTION app.has_audit_between OWNER TO m3_lookup;

-- Deletes the entered tenant's oldest lines as far as they are past their time, at most so many, and
-- keeps the hash of the last of them as the anchor of what remains. Returns how many.
CREATE FUNCTION app.expire_audit(at timestamptz, at_most integer) RETURNS bigint
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
        WHERE o.id >= app.first_id_of(at - make_interval(months => t.audit_keep_months))
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

-- Drops partitions of past months in which no tenant has a line; returns how many. Last month's is
-- left, because app.maintain_partitions would make it again.
CREATE FUNCTION app.drop_empty_audit_months(at timestamptz) RETURNS integer
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
          AND right(c.relname, 6) < to_char(at AT TIME ZONE 'UTC' - interval '1 month', 'YYYYMM')
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
REVOKE EXECUTE ON FUNCTION app.drop_empty_audit_months, app.has_audit_between, app.tenants_with_expired_audit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.drop_empty_audit_months, app.tenants_with_expired_audit TO m3_app;
GRANT EXECUTE ON FUNCTION app.has_audit_between TO m3_owner;

-- Erasure (S18.5). The row of a user who made records stays, without the person.
ALTER TABLE users ADD COLUMN erased_at timestamptz;

-- An erasure whose objects and last audit lines are still to be looked through. Holds ids only.
CREATE TABLE erasures (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    subject_type text NOT NULL CHECK (subject_type IN ('user', 'contact')),
    subject_id uuid NOT NULL,
    -- the records that were about the person
    entity_ids uuid[] NOT NULL,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX erasures_unfinished ON erasures (requested_at) WHERE finished_at IS NULL;
SELECT app.protect('erasures', 'SELECT, INSERT, UPDATE');
GRANT SELECT ON erasures TO m3_lookup;
CREATE POLICY lookup ON erasures FOR SELECT TO m3_lookup USING (true);

CREATE FUNCTION app.unfinished_erasures(requested_before timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT e.tenant_id, e.id FROM erasures e
    WHERE e.finished_at IS NULL AND e.requested_at < requested_before ORDER BY e.requested_at LIMIT at_most
$$;
ALTER FUNCTION app.unfinished_erasures OWNER TO m3_lookup;

-- Whose delivery it is, where it is a user's.
ALTER TABLE messages_outbox ADD COLUMN IF NOT EXISTS user_id uuid;
CREATE INDEX IF NOT EXISTS messages_outbox_user ON messages_outbox (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX messages_outbox_contact ON messages_outbox (tenant_id, contact_id, id) WHERE contact_id IS NOT NULL;
CREATE INDEX webhook_events_external ON webhook_events (tenant_id, external_event_id);
CREATE INDEX webhook_events_unread ON webhook_events (tenant_id, id) WHERE kind = 'other';
CREATE INDEX webhook_event_keys_external ON webhook_event_keys (tenant_id, external_event_id);
CREATE INDEX signup_keys_user ON signup_keys (tenant_id, user_id);
GRANT DELETE ON webhook_events, webhook_event_keys, signup_keys TO m3_app;
-- what somebody said of a request goes with them; what they decided stays
GRANT UPDATE (comment) ON approval_actions TO m3_app;
