-- Whom a notice is about, where that is somebody other than its reader: it goes when that person is
-- erased (S18.5).
ALTER TABLE inbox_messages ADD COLUMN about_user_id uuid,
    ADD FOREIGN KEY (tenant_id, about_user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE;
CREATE INDEX inbox_messages_about ON inbox_messages (tenant_id, about_user_id) WHERE about_user_id IS NOT NULL;
ALTER TABLE messages_outbox ADD COLUMN about_user_id uuid;
CREATE INDEX messages_outbox_about ON messages_outbox (tenant_id, about_user_id) WHERE about_user_id IS NOT NULL;

-- A company whose last seat was taken, and whether its admins were told (S12.7). The scheduler tells
-- them: the trigger that notices can't write a mail.
CREATE TABLE seat_alerts (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    seats bigint NOT NULL,
    reached_at timestamptz NOT NULL,
    told_at timestamptz
);
CREATE INDEX seat_alerts_untold ON seat_alerts (reached_at) WHERE told_at IS NULL;
SELECT app.protect('seat_alerts', 'SELECT, INSERT, UPDATE');
GRANT SELECT ON seat_alerts TO m3_lookup;
CREATE POLICY lookup ON seat_alerts FOR SELECT TO m3_lookup USING (true);

CREATE FUNCTION app.untold_seat_alerts(reached_before timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT a.tenant_id, a.tenant_id FROM seat_alerts a
    WHERE a.told_at IS NULL AND a.reached_at <= reached_before ORDER BY a.reached_at LIMIT at_most
$$;
ALTER FUNCTION app.untold_seat_alerts OWNER TO m3_lookup;

-- The meter follows the seats. Taking the last one is told of, in the transaction that took it.
CREATE OR REPLACE FUNCTION app.count_seat() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    at timestamptz := clock_timestamp();
    used bigint;
    told jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN
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
