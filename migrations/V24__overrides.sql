-- What stands behind an override, and seats of invitations that ran out.

-- As before, and `without_scope` (tenant, group or user) leaves out the overrides of that scope: what
-- counts once they are removed. Calls that do not name it mean what they did.
DROP FUNCTION app.entitlement_under(uuid, uuid, uuid, text, text, text, text);
CREATE FUNCTION app.entitlement_under(
    tenant uuid, member uuid, in_group uuid, features_plan text, limits_plan text, phase text, wanted text,
    without_scope text DEFAULT NULL,
    OUT kind text, OUT enabled boolean, OUT limit_value bigint, OUT source text, OUT source_id uuid)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    kept boolean;
    best entitlement_overrides;
BEGIN
    SELECT c.kind, c.kept_past_due, CASE WHEN c.kind = 'feature' THEN coalesce(p.enabled, false) END,
           CASE WHEN c.kind = 'limit' AND p.enabled IS NOT TRUE THEN 0 ELSE p.limit_value END
      INTO kind, kept, enabled, limit_value
      FROM entitlement_codes c LEFT JOIN plan_features p ON p.feature_code = c.code
       AND p.plan_code = CASE c.kind WHEN 'feature' THEN features_plan ELSE limits_plan END
     WHERE c.code = wanted;
    source := CASE phase WHEN 'trial' THEN 'trial' ELSE 'plan' END;
    IF kind = 'feature' AND phase = 'past_due' AND NOT kept THEN
        enabled := false;
        source := 'past_due';
        RETURN;
    END IF;
    -- Most companies override nothing, and learn so from one look at an index.
    IF EXISTS (SELECT FROM entitlement_overrides o WHERE o.tenant_id = tenant AND o.code = wanted)
       AND EXISTS (SELECT FROM plan_features f WHERE f.plan_code = features_plan
                   AND f.feature_code = 'admin.entitlementsOverrides' AND f.enabled) THEN
        SELECT o.* INTO best FROM entitlement_overrides o
         WHERE o.tenant_id = tenant AND o.code = wanted AND o.scope IS DISTINCT FROM without_scope AND CASE o.scope
             WHEN 'tenant' THEN true
             WHEN 'user' THEN o.scope_id = member
             ELSE o.scope_id = in_group OR EXISTS (
                 SELECT FROM group_members m JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id AND g.is_active
                 WHERE m.tenant_id = tenant AND m.group_id = o.scope_id AND m.user_id = member) END
         ORDER BY CASE o.scope WHEN 'user' THEN 1 WHEN 'group' THEN 2 ELSE 3 END,
                  o.enabled DESC NULLS LAST, o.limit_value DESC NULLS FIRST, o.scope_id LIMIT 1;
        -- NULL is unlimited, and the least of it and a number is the number.
        IF FOUND AND NOT (kind = 'limit' AND phase = 'trial'
                          AND least(best.limit_value, limit_value) IS DISTINCT FROM best.limit_value) THEN
            enabled := best.enabled;
            limit_value := best.limit_value;
            source := best.scope;
            source_id := best.scope_id;
        END IF;
    END IF;
END
$$;

-- As before, and passes `without_scope` on.
DROP FUNCTION app.effective_entitlements(uuid, uuid, uuid, text[], timestamptz);
CREATE FUNCTION app.effective_entitlements(
    tenant uuid, member uuid, in_group uuid, wanted text[], at timestamptz, without_scope text DEFAULT NULL)
RETURNS TABLE (code text, kind text, enabled boolean, limit_value bigint, source text, source_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT c.code, e.* FROM app.plan_in_force(tenant, at) f CROSS JOIN unnest(wanted) AS c (code)
    CROSS JOIN LATERAL app.entitlement_under(
        tenant, member, in_group, f.features_plan, f.limits_plan, f.phase, c.code, without_scope) e
    WHERE e.kind IS NOT NULL
$$;

-- Whose seat is kept for an invitation that nobody can accept any more.
CREATE INDEX invites_open_of_tenant ON invites (tenant_id, expires_at)
    WHERE purpose = 'invite' AND accepted_at IS NULL AND revoked_at IS NULL;
CREATE FUNCTION app.late_seats(tenant uuid) RETURNS TABLE (user_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT DISTINCT s.user_id FROM invites i
    JOIN seats s ON s.tenant_id = i.tenant_id AND s.user_id = i.user_id
    WHERE i.tenant_id = tenant AND i.purpose = 'invite' AND i.accepted_at IS NULL AND i.revoked_at IS NULL
      AND i.expires_at <= now() AND NOT app.takes_seat(tenant, s.user_id)
$$;

-- Takes the chain of the company's audit lines, which everybody takes before seats.
CREATE FUNCTION app.hold_audit_chain() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM FROM audit_chains c WHERE c.tenant_id = app.current_tenant_id() FOR UPDATE;
END
$$;

-- Frees these seats and says so in the audit log; returns how many. What a new invitation does to seats
-- waits for the same lock, so each is freed once.
CREATE FUNCTION app.release_late_seats(tenant uuid) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    person uuid;
    released bigint := 0;
BEGIN
    PERFORM app.hold_audit_chain();
    PERFORM pg_advisory_xact_lock(hashtextextended('app.seats/' || tenant, 0));
    FOR person IN
        DELETE FROM seats s WHERE s.tenant_id = tenant AND s.user_id IN (SELECT l.user_id FROM app.late_seats(tenant) l)
        RETURNING s.user_id
    LOOP
        IF tenant = app.current_tenant_id() THEN
            PERFORM app.audit('user.inviteExpired', 'user', person, NULL, '{}');
        END IF;
        released := released + 1;
    END LOOP;
    RETURN released;
END
$$;

-- As before, and before somebody takes a seat those that are kept for nobody are free.
CREATE OR REPLACE FUNCTION app.settle_seats_of(tenant uuid, people uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    newcomers uuid[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('app.seats/' || tenant, 0));
    DELETE FROM seats s WHERE s.tenant_id = tenant AND s.user_id = ANY (people) AND NOT app.takes_seat(tenant, s.user_id);
    newcomers := ARRAY(
        SELECT person FROM unnest(people) AS person
        WHERE NOT EXISTS (SELECT FROM seats s WHERE s.tenant_id = tenant AND s.user_id = person)
          AND app.takes_seat(tenant, person));
    IF newcomers <> '{}' THEN
        PERFORM app.release_late_seats(tenant);
        INSERT INTO seats (tenant_id, user_id, taken_at) SELECT tenant, person, now() FROM unnest(newcomers) AS person;
    END IF;
END
$$;
