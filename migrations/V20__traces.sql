-- Traces of people: whom an audit line is about, what an erasure finds of them, and how long what was
-- said to them is kept (S18.4, S18.5).

-- As before, and a row without an id is filed under whom or what it is of: the user of a role, of a
-- membership or of preferences; the role that gets a permission or a parent; the group that gets a role.
CREATE OR REPLACE FUNCTION app.audit_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    known jsonb := coalesce(is_now, was);
    masked text;
BEGIN
    IF was IS NOT DISTINCT FROM is_now THEN
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
        coalesce(known ->> 'id', known ->> 'user_id', known ->> 'child_role_id', known ->> 'group_id', known ->> 'role_id')::uuid,
        was, is_now);
    RETURN NULL;
END
$$;

-- As before, and takes the origin from lines about these records, too, where a function of ours acted:
-- whoever failed to log in or asked for a link was most likely the person. Lines that were written
-- before rows without an id were filed under their user are found by their data.
CREATE OR REPLACE FUNCTION app.erase_audit_of(entities uuid[], actors uuid[], at timestamptz, at_most integer) RETURNS bigint
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
        UNION ALL
        SELECT o.id FROM audit_logs o
        WHERE o.tenant_id = tenant AND o.entity_id IS NULL
          AND o.entity_type IN ('user.role', 'group.member', 'notification_preference')
          AND (coalesce(o.after_data, o.before_data) ->> 'user_id')::uuid = ANY (actors)
        LIMIT at_most);
    GET DIAGNOSTICS about = ROW_COUNT;
    UPDATE audit_logs a SET ip = NULL, user_agent = NULL, origin_salt = NULL, erased_at = at
    WHERE a.tenant_id = tenant AND a.id IN (
        SELECT o.id FROM audit_logs o
        WHERE o.tenant_id = tenant AND o.actor_user_id = ANY (actors)
          AND (o.origin_salt IS NOT NULL OR o.ip IS NOT NULL OR o.user_agent IS NOT NULL)
        UNION ALL
        SELECT o.id FROM audit_logs o
        WHERE o.tenant_id = tenant AND o.entity_id = ANY (entities)
          AND o.actor_user_id IS NULL AND o.actor NOT LIKE 'api\_key:%'
          AND (o.origin_salt IS NOT NULL OR o.ip IS NOT NULL OR o.user_agent IS NOT NULL)
        LIMIT at_most);
    GET DIAGNOSTICS acted = ROW_COUNT;
    RETURN about + acted;
END
$$;

-- A contact's channels, also those that are gone: their lines still tell of the contact. jsonb's
-- operators can't use an index under row-level security, so a look-up reads past it, within the tenant.
-- One a line: to tell them apart here would have the planner prefer an index by their ids.
CREATE INDEX audit_logs_channel_of ON audit_logs (tenant_id, (coalesce(after_data, before_data) ->> 'contact_id'))
    WHERE entity_type = 'contact.channel';
GRANT SELECT (entity_type, entity_id, before_data, after_data) ON audit_logs TO m3_lookup;
CREATE FUNCTION app.audited_channels(of_contact uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT a.entity_id FROM audit_logs a
    WHERE a.tenant_id = app.current_tenant_id() AND a.entity_type = 'contact.channel'
      AND coalesce(a.after_data, a.before_data) ->> 'contact_id' = of_contact::text
$$;
ALTER FUNCTION app.audited_channels OWNER TO m3_lookup;

-- What people were told is kept for a time: inboxes, and of deliveries to whom they went and what they
-- said. Rows of deliveries stay, for what was sent is counted.
CREATE INDEX messages_outbox_kept ON messages_outbox (tenant_id, id) WHERE recipient_sealed <> '';
GRANT SELECT (tenant_id, id) ON inbox_messages TO m3_lookup;
CREATE POLICY lookup ON inbox_messages FOR SELECT TO m3_lookup USING (true);

-- Tenants that keep something said before this moment.
CREATE FUNCTION app.tenants_with_old_messages(said_before timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT t.id FROM tenants t
    WHERE EXISTS (SELECT FROM inbox_messages m WHERE m.tenant_id = t.id AND m.id < app.first_id_of(said_before))
       OR EXISTS (SELECT FROM messages_outbox o
                  WHERE o.tenant_id = t.id AND o.id < app.first_id_of(said_before) AND o.recipient_sealed <> ''
                    AND o.status NOT IN ('queued', 'sending'))
    ORDER BY t.id LIMIT at_most
$$;
ALTER FUNCTION app.tenants_with_old_messages OWNER TO m3_lookup;
REVOKE EXECUTE ON FUNCTION app.tenants_with_old_messages FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.tenants_with_old_messages TO m3_app;
