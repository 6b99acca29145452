-- What a company has without paying for it: a trial that stays within its limits, and a company long
-- past due that keeps its administration only. Seats that nobody uses, approvers that a policy names,
-- and codes that came too late.

-- kept_past_due: stays for a company whose grace is over. Administration, export and billing, and what
-- guards its log-ins.
ALTER TABLE permissions ADD COLUMN kept_past_due boolean NOT NULL DEFAULT false;
INSERT INTO permissions (code, description, privileged, self_service) VALUES
    ('notify.send.test', 'Send test messages', true, false),
    ('notify.templates.manage', 'Change the templates of messages', true, false);
INSERT INTO role_permissions (role_id, permission_code)
SELECT r.id, p.code FROM roles r CROSS JOIN permissions p
WHERE r.tenant_id IS NULL AND r.code IN ('super_admin', 'admin') AND p.code IN ('notify.send.test', 'notify.templates.manage');
UPDATE permissions SET kept_past_due = true
WHERE code IN ('apikeys.manage', 'audit.export', 'audit.read', 'code.manage', 'entitlements.overrides.manage',
               'entitlements.view', 'gdpr.manage', 'groups.manage', 'groups.members.manage', 'phone.verify.confirm',
               'phone.verify.start', 'plan.view', 'role.assign', 'role.read', 'roles.hierarchy.manage', 'roles.manage',
               'seats.view', 'session.read.self', 'session.revoke.self', 'session.revoke.tenant', 'twofa.manage.self',
               'twofa.manage.tenant', 'user.deactivate', 'user.delete', 'user.forceLogout', 'user.invite', 'user.manage',
               'user.read', 'user.reinstate', 'user.suspend', 'user.update');

-- As before, and refuses what a company past due and out of grace does not keep.
--   M3401 session over          M3402 tenant suspended       M3403 permission missing
--   M3404 e-mail not verified   M3405 second factor owed     M3406 verified phone owed
--   M3407 feature not in the plan                            M3408 past due and out of grace
CREATE OR REPLACE FUNCTION app.enter(
    tenant uuid, acting_user uuid, session uuid, api_key uuid, key_hash bytea,
    permission text, feature text, origin text, at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    ignored text;
    tenant_status text;
    allowed boolean;
    unverified boolean;
    owes_twofa boolean;
    owes_phone boolean;
BEGIN
    ignored := set_config('app.current_tenant_id', tenant::text, true);
    ignored := set_config('app.origin', origin, true);
    IF acting_user IS NOT NULL THEN
        SELECT t.status, u.email_verified_at IS NULL,
               t.twofa_required_from <= at AND u.twofa_methods = '{}',
               t.phone_required_from <= at AND u.phone_verified_at IS NULL,
               permission IS NULL OR EXISTS (
                   SELECT FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
                   WHERE ur.tenant_id = tenant AND ur.user_id = acting_user AND rp.permission_code = permission)
          INTO tenant_status, unverified, owes_twofa, owes_phone, allowed
          FROM sessions s
          JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
          JOIN tenants t ON t.id = s.tenant_id
         WHERE s.tenant_id = tenant AND s.id = session AND s.user_id = acting_user
           AND s.revoked_at IS NULL AND s.expires_at > at AND u.status = 'active';
    ELSIF api_key IS NOT NULL THEN
        SELECT t.status, permission = ANY (k.scopes) INTO tenant_status, allowed
          FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
         WHERE k.tenant_id = tenant AND k.id = api_key AND k.secret_hash = key_hash
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > at);
    ELSE
        RETURN;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the session is over' USING ERRCODE = 'M3401';
    ELSIF tenant_status <> 'active' THEN
        RAISE EXCEPTION 'the tenant is suspended' USING ERRCODE = 'M3402';
    END IF;
    -- What most requests do not need is asked for only where it matters.
    IF NOT coalesce(allowed, false) AND NOT (acting_user IS NOT NULL AND EXISTS (
            SELECT FROM app.roles_held(tenant, acting_user) held JOIN role_permissions rp ON rp.role_id = held.role_id
            WHERE rp.permission_code = permission)) THEN
        RAISE EXCEPTION 'a permission is missing' USING ERRCODE = 'M3403';
    END IF;
    IF unverified AND EXISTS (SELECT FROM permissions p WHERE p.code = permission AND p.privileged) THEN
        RAISE EXCEPTION 'the e-mail address is not verified' USING ERRCODE = 'M3404';
    END IF;
    IF (owes_twofa OR owes_phone) AND EXISTS (SELECT FROM permissions p WHERE p.code = permission AND NOT p.self_service) THEN
        IF owes_twofa THEN
            RAISE EXCEPTION 'a second factor is owed' USING ERRCODE = 'M3405';
        END IF;
        RAISE EXCEPTION 'a verified phone is owed' USING ERRCODE = 'M3406';
    END IF;
    -- One look at an index; which permissions are kept matters only to companies that did not pay.
    IF permission IS NOT NULL AND EXISTS (
            SELECT FROM tenant_subscription s
            WHERE s.tenant_id = tenant AND s.status = 'past_due' AND (s.grace_ends_at <= at OR s.grace_ends_at IS NULL))
       AND NOT EXISTS (SELECT FROM permissions p WHERE p.code = permission AND p.kept_past_due) THEN
        RAISE EXCEPTION 'past due and out of grace' USING ERRCODE = 'M3408';
    END IF;
    IF feature IS NOT NULL THEN
        IF NOT app.entitled(tenant, acting_user, feature, at) THEN
            RAISE EXCEPTION 'the plan does not include this' USING ERRCODE = 'M3407';
        END IF;
    END IF;
END
$$;

-- As before, except that on trial an override lowers a limit and never lifts it: what the trial holds
-- is ours to say. Of a limit that is not lowered the source stays the trial.
CREATE OR REPLACE FUNCTION app.entitlement_under(
    tenant uuid, member uuid, in_group uuid, features_plan text, limits_plan text, phase text, wanted text,
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
         WHERE o.tenant_id = tenant AND o.code = wanted AND CASE o.scope
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

-- Seats. As before, and an invitation takes one while it can be accepted. A group that rests gives
-- nothing that takes one; what it gave of read_only still counts, so that resting takes no seat either.
CREATE OR REPLACE FUNCTION app.takes_seat(tenant uuid, member uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    read_only CONSTANT uuid := '00000000-0000-7000-8000-000000000005';
BEGIN
    RETURN EXISTS (SELECT FROM users u WHERE u.tenant_id = tenant AND u.id = member
                   AND (u.status = 'active' OR (u.status = 'invited' AND EXISTS (
                       SELECT FROM invites i WHERE i.tenant_id = tenant AND i.user_id = member AND i.purpose = 'invite'
                          AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now()))))
       AND coalesce((SELECT bool_or(given.role_id <> read_only) FROM (
            SELECT ur.role_id FROM user_roles ur WHERE ur.tenant_id = tenant AND ur.user_id = member
            UNION ALL
            SELECT gr.role_id FROM group_members m
            JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
            JOIN group_roles gr ON gr.tenant_id = m.tenant_id AND gr.group_id = m.group_id
            WHERE m.tenant_id = tenant AND m.user_id = member AND (g.is_active OR gr.role_id = read_only)) given), true);
END
$$;

-- Brings the seats of these people up to date. One transaction of a tenant at a time, so that two which
-- change the same person each see what the other did.
CREATE FUNCTION app.settle_seats_of(tenant uuid, people uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('app.seats/' || tenant, 0));
    DELETE FROM seats s WHERE s.tenant_id = tenant AND s.user_id = ANY (people) AND NOT app.takes_seat(tenant, s.user_id);
    INSERT INTO seats (tenant_id, user_id, taken_at)
    SELECT tenant, person, now() FROM unnest(people) AS person WHERE app.takes_seat(tenant, person)
    ON CONFLICT DO NOTHING;
END
$$;

-- The same at commit, of those whom a row is about. Who is in a group is read under the lock, too.
CREATE OR REPLACE FUNCTION app.settle_seats() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    tenant uuid := (changed ->> 'tenant_id')::uuid;
    people uuid[];
BEGIN
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
CREATE CONSTRAINT TRIGGER settle_seats AFTER UPDATE OF is_active ON groups
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.is_active <> NEW.is_active) EXECUTE FUNCTION app.settle_seats();
CREATE CONSTRAINT TRIGGER settle_seats AFTER INSERT OR DELETE OR UPDATE OF accepted_at, revoked_at ON invites
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.settle_seats();

-- People who keep a seat for an invitation that nobody can accept any more.
CREATE INDEX invites_open ON invites (expires_at) WHERE purpose = 'invite' AND accepted_at IS NULL AND revoked_at IS NULL;
GRANT SELECT ON invites, seats TO m3_lookup;
CREATE POLICY lookup ON invites FOR SELECT TO m3_lookup USING (true);
CREATE POLICY lookup ON seats FOR SELECT TO m3_lookup USING (true);
CREATE FUNCTION app.expired_invitations(at timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT i.tenant_id, i.user_id FROM invites i
    JOIN users u ON u.tenant_id = i.tenant_id AND u.id = i.user_id AND u.status = 'invited'
    JOIN seats s ON s.tenant_id = i.tenant_id AND s.user_id = i.user_id
    WHERE i.purpose = 'invite' AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at <= at
    ORDER BY i.expires_at LIMIT at_most
$$;
ALTER FUNCTION app.expired_invitations OWNER TO m3_lookup;

-- What is there already, tenant by tenant because policies hold for the owner, too: seats that nobody
-- uses, and own SQL over shared tables, which only we give to a company and which until now it could
-- give to itself.
CREATE FUNCTION app.every_tenant() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$ SELECT t.id FROM tenants t $$;
ALTER FUNCTION app.every_tenant OWNER TO m3_lookup;
DO $$
DECLARE
    tenant uuid;
BEGIN
    FOR tenant IN SELECT id FROM app.every_tenant() AS id LOOP
        PERFORM set_config('app.current_tenant_id', tenant::text, true);
        DELETE FROM entitlement_overrides o WHERE o.tenant_id = tenant AND o.code = 'dashboard.customSQL';
        DELETE FROM seats s WHERE s.tenant_id = tenant AND NOT app.takes_seat(tenant, s.user_id);
    END LOOP;
    PERFORM set_config('app.current_tenant_id', '', true);
END
$$;
DROP FUNCTION app.every_tenant();

-- A role or group that has something to approve, by a policy or in a request that waits, stays: without
-- it the step would name nobody. Whoever names it meanwhile waits for its row, or makes this wait.
--   M3412 approval steps name it; DETAIL is {"approval_steps"}
CREATE INDEX approval_request_steps_unsettled ON approval_request_steps (tenant_id, request_id) WHERE state IN ('waiting', 'open');
CREATE FUNCTION app.keep_approver() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    steps bigint;
BEGIN
    SELECT (SELECT count(*) FROM approval_steps s
            JOIN approval_policies p ON p.tenant_id = s.tenant_id AND p.id = s.policy_id AND p.archived_at IS NULL
            WHERE s.tenant_id = OLD.tenant_id AND OLD.id IN (s.approver_role_id, s.approver_group_id))
         + (SELECT count(*) FROM approval_request_steps s
            JOIN approval_requests r ON r.tenant_id = s.tenant_id AND r.id = s.request_id AND r.state = 'pending'
            WHERE s.tenant_id = OLD.tenant_id AND s.state IN ('waiting', 'open')
              AND OLD.id IN (s.approver_role_id, s.approver_group_id))
      INTO steps;
    IF steps > 0 THEN
        RAISE EXCEPTION 'approval steps name it' USING ERRCODE = 'M3412',
            DETAIL = json_build_object('approval_steps', steps)::text;
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER keep_approver BEFORE DELETE ON roles FOR EACH ROW EXECUTE FUNCTION app.keep_approver();
CREATE TRIGGER keep_approver BEFORE DELETE ON groups FOR EACH ROW EXECUTE FUNCTION app.keep_approver();

-- From when on nobody needs the delivery any more: a code that can't be entered is not sent.
ALTER TABLE messages_outbox ADD COLUMN expires_at timestamptz;
