-- Entitlements: what plans include, what a company, its groups and its people have instead, what is
-- used of it, and seats (S1.7, S3A.3, S12.9, S13.3).

-- Everything that a plan can include, as the registries of the code have it. A limit counts on a
-- meter, over a calendar month (UTC) or for good; one without a meter bounds a single thing (the
-- recipients of one campaign), and whoever makes that thing compares.
CREATE TABLE entitlement_codes (
    code text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('feature', 'limit')),
    meter text UNIQUE,
    monthly boolean NOT NULL DEFAULT false,
    -- stays on for a company whose grace is over: administration, and what guards its log-ins
    kept_past_due boolean NOT NULL DEFAULT false,
    CHECK (kind = 'limit' OR meter IS NULL),
    CHECK (kind = 'feature' OR NOT kept_past_due)
);
CREATE TABLE plans (
    code text PRIMARY KEY,
    name text NOT NULL,
    tier integer NOT NULL,
    description text NOT NULL DEFAULT '',
    is_active boolean NOT NULL DEFAULT true
);
-- limit_value NULL: unlimited. What a plan does not name it does not include.
CREATE TABLE plan_features (
    plan_code text NOT NULL REFERENCES plans (code),
    feature_code text NOT NULL REFERENCES entitlement_codes (code),
    enabled boolean NOT NULL,
    limit_value bigint CHECK (limit_value >= 0),
    PRIMARY KEY (plan_code, feature_code)
);
GRANT SELECT ON entitlement_codes, plans, plan_features TO m3_app, m3_lookup;

-- The truth about what a company subscribes to.
CREATE TABLE tenant_subscription (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    plan_code text NOT NULL REFERENCES plans (code),
    status text NOT NULL CHECK (status IN ('trial', 'active', 'past_due', 'canceled')),
    started_at timestamptz NOT NULL,
    trial_ends_at timestamptz,
    grace_ends_at timestamptz,
    renews_at timestamptz,
    canceled_at timestamptz,
    provider text NOT NULL DEFAULT 'dev' CHECK (provider IN ('dev', 'stripe')),
    provider_customer_id text,
    provider_subscription_id text,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id)
);
SELECT app.protect('tenant_subscription', 'SELECT, INSERT, UPDATE');

-- enabled: of a feature. limit_value: of a limit, NULL meaning unlimited. The generated columns tie
-- scope_id to what it names, so that an override goes when that does.
CREATE TABLE entitlement_overrides (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    scope text NOT NULL CHECK (scope IN ('tenant', 'group', 'user')),
    scope_id uuid NOT NULL,
    code text NOT NULL REFERENCES entitlement_codes (code),
    enabled boolean,
    limit_value bigint CHECK (limit_value >= 0),
    set_by uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    group_id uuid GENERATED ALWAYS AS (CASE scope WHEN 'group' THEN scope_id END) STORED,
    user_id uuid GENERATED ALWAYS AS (CASE scope WHEN 'user' THEN scope_id END) STORED,
    PRIMARY KEY (tenant_id, code, scope, scope_id),
    CHECK (scope <> 'tenant' OR scope_id = tenant_id),
    CHECK (enabled IS NULL OR limit_value IS NULL),
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, set_by) REFERENCES users (tenant_id, id) ON DELETE SET NULL (set_by)
);
CREATE INDEX entitlement_overrides_group ON entitlement_overrides (tenant_id, group_id) WHERE group_id IS NOT NULL;
CREATE INDEX entitlement_overrides_user ON entitlement_overrides (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX entitlement_overrides_set_by ON entitlement_overrides (tenant_id, set_by) WHERE set_by IS NOT NULL;
SELECT app.protect('entitlement_overrides');

-- app.enter asks as m3_lookup.
GRANT SELECT ON tenant_subscription, entitlement_overrides TO m3_lookup;
CREATE POLICY lookup ON tenant_subscription FOR SELECT TO m3_lookup USING (true);
CREATE POLICY lookup ON entitlement_overrides FOR SELECT TO m3_lookup USING (true);

-- How much was used. A period without end is for good, and begins in 1970.
CREATE TABLE usage_counters (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    meter text NOT NULL,
    period_start date NOT NULL,
    period_end date,
    value bigint NOT NULL CHECK (value >= 0),
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, meter, period_start)
);
SELECT app.protect('usage_counters', 'SELECT, INSERT, UPDATE');

-- The plan that a company is on at a time, in its phase:
--   trial     the features of the plan it tries, the limits of dev_free
--   active    its plan
--   grace     past due, and still its plan
--   past_due  past due and out of grace: its plan's limits, and of the features those that are kept
--   free      dev_free: the trial is over, the subscription canceled, or there never was one
CREATE FUNCTION app.plan_in_force(
    tenant uuid, at timestamptz, OUT features_plan text, OUT limits_plan text, OUT phase text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
BEGIN
    SELECT s.plan_code, s.plan_code, CASE
               WHEN s.status = 'trial' AND at < s.trial_ends_at THEN 'trial'
               WHEN s.status = 'active' THEN 'active'
               WHEN s.status = 'past_due' AND at < s.grace_ends_at THEN 'grace'
               WHEN s.status = 'past_due' THEN 'past_due'
               ELSE 'free' END
      INTO features_plan, limits_plan, phase
      FROM tenant_subscription s WHERE s.tenant_id = tenant;
    phase := coalesce(phase, 'free');
    IF phase IN ('trial', 'free') THEN
        limits_plan := 'dev_free';
    END IF;
    IF phase = 'free' THEN
        features_plan := 'dev_free';
    END IF;
END
$$;

-- What somebody has of `wanted` under a plan and phase: their own override, else the largest of
-- their groups', else the tenant's, else the plan's. `member` NULL asks for the company, `in_group`
-- adds a group to those of the member. A limit of NULL is none; a code that is unknown has no kind.
-- Overriding is itself a feature: what a company allowed itself under a plan that includes it (the
-- trial, say) ends with that plan.
CREATE FUNCTION app.entitlement_under(
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
        IF FOUND THEN
            enabled := best.enabled;
            limit_value := best.limit_value;
            source := best.scope;
            source_id := best.scope_id;
        END IF;
    END IF;
END
$$;

-- The same of many, under the plan that the company is on.
CREATE FUNCTION app.effective_entitlements(tenant uuid, member uuid, in_group uuid, wanted text[], at timestamptz)
RETURNS TABLE (code text, kind text, enabled boolean, limit_value bigint, source text, source_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT c.code, e.* FROM app.plan_in_force(tenant, at) f CROSS JOIN unnest(wanted) AS c (code)
    CROSS JOIN LATERAL app.entitlement_under(
        tenant, member, in_group, f.features_plan, f.limits_plan, f.phase, c.code) e
    WHERE e.kind IS NOT NULL
$$;

-- Whether somebody may use a feature; `member` NULL asks for the company. app.enter asks this.
CREATE FUNCTION app.entitled(tenant uuid, member uuid, feature text, at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    f record := app.plan_in_force(tenant, at);
    found_entitlement record := app.entitlement_under(
        tenant, member, NULL, f.features_plan, f.limits_plan, f.phase, feature);
BEGIN
    RETURN coalesce(found_entitlement.enabled, false);
END
$$;

-- As app.entitled, and raises where not.
CREATE FUNCTION app.require_feature(tenant uuid, member uuid, feature text, at timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
BEGIN
    IF NOT app.entitled(tenant, member, feature, at) THEN
        RAISE EXCEPTION 'the plan does not include this' USING ERRCODE = 'M3407';
    END IF;
END
$$;

-- Somebody's limit; NULL: unlimited. A code that is no limit is 0.
CREATE FUNCTION app.limit_of(tenant uuid, member uuid, wanted text, at timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    f record := app.plan_in_force(tenant, at);
    found_entitlement record := app.entitlement_under(
        tenant, member, NULL, f.features_plan, f.limits_plan, f.phase, wanted);
BEGIN
    RETURN CASE WHEN found_entitlement.kind = 'limit' THEN found_entitlement.limit_value ELSE 0 END;
END
$$;

-- The first day of the period that a time falls into.
CREATE FUNCTION app.period_start(monthly boolean, at timestamptz) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN monthly THEN date_trunc('month', at AT TIME ZONE 'UTC')::date ELSE date '1970-01-01' END;

-- Adds to a meter and returns its value; NULL, and nothing added, where that would pass `cap`. One
-- statement, so whoever comes at the same time waits for the row and meets its new value.
CREATE FUNCTION app.add_usage(tenant uuid, wanted text, monthly boolean, amount bigint, cap bigint, at timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    since date := app.period_start(monthly, at);
    total bigint;
BEGIN
    INSERT INTO usage_counters AS c (tenant_id, meter, period_start, period_end, value, updated_at)
    SELECT tenant, wanted, since, CASE WHEN monthly THEN (since + interval '1 month')::date END, amount, at
    WHERE cap IS NULL OR amount <= cap
    ON CONFLICT (tenant_id, meter, period_start) DO UPDATE SET value = c.value + excluded.value, updated_at = at
    WHERE cap IS NULL OR c.value + excluded.value <= cap
    RETURNING c.value INTO total;
    RETURN total;
END
$$;

-- Counts against a limit, in the transaction of what is counted; returns what is used with it.
--   M3L01 the limit is reached; DETAIL is {"key", "limit", "used"}
CREATE FUNCTION app.consume(tenant uuid, member uuid, wanted text, amount bigint, at timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    counted entitlement_codes;
    allowed bigint := app.limit_of(tenant, member, wanted, at);
    used bigint;
BEGIN
    SELECT * INTO STRICT counted FROM entitlement_codes c WHERE c.code = wanted AND c.meter IS NOT NULL;
    used := app.add_usage(tenant, counted.meter, counted.monthly, amount, allowed, at);
    IF used IS NULL THEN
        SELECT c.value INTO used FROM usage_counters c
         WHERE c.tenant_id = tenant AND c.meter = counted.meter AND c.period_start = app.period_start(counted.monthly, at);
        RAISE EXCEPTION 'a limit is reached' USING ERRCODE = 'M3L01',
            DETAIL = json_build_object('key', wanted, 'limit', allowed, 'used', coalesce(used, 0))::text;
    END IF;
    RETURN used;
END
$$;

-- Counts what happens whether the plan has room for it or not (a stranger's message makes a contact).
CREATE FUNCTION app.count_usage(tenant uuid, wanted text, amount bigint, at timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    counted entitlement_codes;
BEGIN
    SELECT * INTO STRICT counted FROM entitlement_codes c WHERE c.code = wanted AND c.meter IS NOT NULL;
    RETURN app.add_usage(tenant, counted.meter, counted.monthly, amount, NULL, at);
END
$$;

-- Gives back what no longer counts; of a monthly meter, in the month of `at`.
CREATE FUNCTION app.release(tenant uuid, wanted text, amount bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    UPDATE usage_counters u SET value = greatest(u.value - amount, 0), updated_at = at
      FROM entitlement_codes c
     WHERE c.code = wanted AND u.tenant_id = tenant AND u.meter = c.meter
       AND u.period_start = app.period_start(c.monthly, at);
END
$$;

-- Whose doing this transaction is, for their limits; NULL: nobody's in particular.
CREATE FUNCTION app.acting_user() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (app.current_origin() ->> 'user_id')::uuid;

-- Counts a table's rows against a limit, at commit, whoever writes them. Rows of no tenant (system
-- roles) are nobody's.
CREATE FUNCTION app.limit_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.tenant_id IS NOT NULL THEN
        PERFORM app.consume(NEW.tenant_id, app.acting_user(), TG_ARGV[0], 1, now());
    ELSIF TG_OP = 'DELETE' AND OLD.tenant_id IS NOT NULL THEN
        PERFORM app.release(OLD.tenant_id, TG_ARGV[0], 1, now());
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION app.limit_table(target regclass, wanted text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    EXECUTE format('CREATE CONSTRAINT TRIGGER limited AFTER INSERT OR DELETE ON %s '
        'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.limit_row(%L)', target, wanted);
END
$$;

-- A message counts once: when its row first says that the provider has it, from whichever of our
-- record and the provider's reports says so first.
CREATE FUNCTION app.count_sent() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM app.add_usage(NEW.tenant_id, NEW.channel || '.sent', true, 1, NULL, now());
    RETURN NULL;
END
$$;
CREATE TRIGGER count_sent AFTER UPDATE ON messages_outbox FOR EACH ROW
    WHEN (NEW.channel <> 'inbox' AND coalesce(OLD.sent_at, OLD.delivered_at) IS NULL
          AND coalesce(NEW.sent_at, NEW.delivered_at) IS NOT NULL)
    EXECUTE FUNCTION app.count_sent();

-- Seats. Somebody active or invited takes one, unless read_only is all they hold, directly or
-- through groups; suspended and deactivated people take none. (A tree of roles does not change
-- this: what read_only inherits is read_only.)
CREATE TABLE seats (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    taken_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
SELECT app.protect('seats');
-- Who had one when; outlives the user.
CREATE TABLE seat_ledger (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    action text NOT NULL CHECK (action IN ('assign', 'unassign')),
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT app.protect('seat_ledger', 'SELECT, INSERT');

-- A UUIDv7 of an instant, for rows that triggers write.
CREATE FUNCTION app.new_id(at timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE
RETURN overlay(gen_random_uuid()::text PLACING substr(app.first_id_of(at)::text, 1, 13) || '-7' FROM 1 FOR 15)::uuid;

CREATE FUNCTION app.takes_seat(tenant uuid, member uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
BEGIN
    RETURN EXISTS (SELECT FROM users u WHERE u.tenant_id = tenant AND u.id = member AND u.status IN ('active', 'invited'))
       AND coalesce((SELECT bool_or(given.role_id <> '00000000-0000-7000-8000-000000000005') FROM (
            SELECT ur.role_id FROM user_roles ur WHERE ur.tenant_id = tenant AND ur.user_id = member
            UNION ALL
            SELECT gr.role_id FROM group_members m
            JOIN group_roles gr ON gr.tenant_id = m.tenant_id AND gr.group_id = m.group_id
            WHERE m.tenant_id = tenant AND m.user_id = member) given), true);
END
$$;

-- Brings the seats of those whom a row is about up to date, at commit. One transaction of a tenant
-- at a time, so that two which change the same person each see what the other did.
CREATE FUNCTION app.settle_seats() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    tenant uuid := (changed ->> 'tenant_id')::uuid;
    people uuid[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('app.seats/' || tenant, 0));
    IF TG_TABLE_NAME = 'group_roles' THEN
        people := ARRAY(SELECT m.user_id FROM group_members m
            WHERE m.tenant_id = tenant AND m.group_id = (changed ->> 'group_id')::uuid ORDER BY m.user_id);
    ELSE
        people := ARRAY[coalesce(changed ->> 'user_id', changed ->> 'id')::uuid];
    END IF;
    DELETE FROM seats s WHERE s.tenant_id = tenant AND s.user_id = ANY (people) AND NOT app.takes_seat(tenant, s.user_id);
    INSERT INTO seats (tenant_id, user_id, taken_at)
    SELECT tenant, person, now() FROM unnest(people) AS person WHERE app.takes_seat(tenant, person)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

-- The meter follows the seats. Taking the last one is told of, in the transaction that took it.
CREATE FUNCTION app.count_seat() RETURNS trigger
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
    END IF;
    RETURN NULL;
END
$$;

-- A new company tries dev_pro for 14 days.
CREATE FUNCTION app.start_trial() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    INSERT INTO tenant_subscription (tenant_id, plan_code, status, started_at, trial_ends_at, updated_at)
    VALUES (NEW.id, 'dev_pro', 'trial', NEW.created_at, NEW.created_at + interval '14 days', NEW.created_at);
    RETURN NULL;
END
$$;

INSERT INTO plans (code, name, tier, description) VALUES
    ('dev_free', 'DevFree', 0, 'For a first look'),
    ('dev_pro', 'DevPro', 1, 'Everything that is built');

INSERT INTO entitlement_codes (code, kind, kept_past_due) VALUES
    ('activities.emailSync', 'feature', false),
    ('admin.customDictionaries', 'feature', true),
    ('admin.entitlementsOverrides', 'feature', true),
    ('approvals', 'feature', false),
    ('approvals.parallelSteps', 'feature', false),
    ('automations', 'feature', false),
    ('campaign.sms.enabled', 'feature', false),
    ('campaign.whatsapp.enabled', 'feature', false),
    ('contacts.customFields', 'feature', false),
    ('contacts.privateRecords', 'feature', false),
    ('dashboard.customSQL', 'feature', false),
    ('dashboard.customize', 'feature', false),
    ('dashboard.share', 'feature', false),
    ('dashboard.snapshotScheduling', 'feature', false),
    ('deals.customFields', 'feature', false),
    ('deals.multiPipelines', 'feature', false),
    ('inventory.codeManagement', 'feature', false),
    ('leads.import', 'feature', false),
    ('leads.scoring', 'feature', false),
    ('maps.componentShapes', 'feature', false),
    ('maps.enabled', 'feature', false),
    ('maps.publicViews', 'feature', false),
    ('notifications.sms', 'feature', false),
    ('notifications.whatsapp', 'feature', false),
    ('plan.view', 'feature', true),
    ('rbac.groups', 'feature', true),
    ('rbac.roleHierarchy', 'feature', true),
    ('tasks.recurring', 'feature', false),
    ('telemarketing.enabled', 'feature', false),
    ('twofa.sms', 'feature', true),
    ('twofa.totp', 'feature', true),
    ('twofa.whatsapp', 'feature', true),
    ('units.bulkEdit', 'feature', false),
    ('units.customFields', 'feature', false),
    ('whatsapp', 'feature', false);

INSERT INTO entitlement_codes (code, kind, meter, monthly) VALUES
    ('api.requestsPerMinute.max', 'limit', NULL, false),
    ('approvals.policies.max', 'limit', 'approvals.policies.count', false),
    ('automations.max', 'limit', 'automations.count', false),
    ('campaign.recipients.max', 'limit', NULL, false),
    ('campaigns.active.max', 'limit', 'campaigns.active.count', false),
    ('companies.max', 'limit', 'companies.count', false),
    ('contacts.max', 'limit', 'contacts.count', false),
    ('customFields.max', 'limit', NULL, false),
    ('dashboard.sharedLayouts.max', 'limit', 'dashboard.sharedLayouts.count', false),
    ('dashboard.widgets.max', 'limit', NULL, false),
    ('deals.max', 'limit', 'deals.count', false),
    ('files.bytes.max', 'limit', NULL, false),
    ('groups.max', 'limit', 'groups.count', false),
    ('imports.rows.max', 'limit', NULL, false),
    ('leads.max', 'limit', 'leads.count', false),
    ('maps.overlays.max', 'limit', 'maps.overlays.count', false),
    ('maps.shapes.max', 'limit', 'maps.shapes.count', false),
    ('pipelines.max', 'limit', 'pipelines.count', false),
    ('roles.max', 'limit', 'roles.count', false),
    ('sms.monthlyCap', 'limit', 'sms.sent', true),
    ('sms.perMinute.max', 'limit', NULL, false),
    ('storage.gb.max', 'limit', 'storage.gb', false),
    ('tasks.max', 'limit', 'tasks.count', false),
    ('telemarketing.campaigns.max', 'limit', 'telemarketing.campaigns.count', false),
    ('telemarketing.concurrentCalls.max', 'limit', 'telemarketing.calls.active', false),
    ('telemarketing.recordings.max', 'limit', 'telemarketing.recordings.count', false),
    ('units.max', 'limit', 'units.count', false),
    ('users.max', 'limit', 'seats.used', false),
    ('whatsapp.monthlyCap', 'limit', 'whatsapp.sent', true),
    ('whatsapp.perMinute.max', 'limit', NULL, false);

INSERT INTO plan_features (plan_code, feature_code, enabled)
SELECT 'dev_free', c.code, c.code IN ('approvals', 'contacts.customFields', 'dashboard.customize', 'deals.customFields',
                                      'plan.view', 'twofa.totp', 'units.customFields')
FROM entitlement_codes c WHERE c.kind = 'feature'
UNION ALL
-- own SQL over shared tables is given to a company by hand only
SELECT 'dev_pro', c.code, c.code <> 'dashboard.customSQL' FROM entitlement_codes c WHERE c.kind = 'feature';

INSERT INTO plan_features (plan_code, feature_code, enabled, limit_value)
SELECT plan.code, lim.code, true, CASE plan.code WHEN 'dev_free' THEN lim.free ELSE lim.pro END
FROM plans plan CROSS JOIN (VALUES
    ('api.requestsPerMinute.max', 300, 3000),
    ('approvals.policies.max', 2, 100),
    ('automations.max', 0, 100),
    ('campaign.recipients.max', 100, 10000),
    ('campaigns.active.max', 1, 50),
    ('companies.max', 500, 50000),
    ('contacts.max', 1000, 100000),
    ('customFields.max', 10, 50),
    ('dashboard.sharedLayouts.max', 1, 50),
    ('dashboard.widgets.max', 12, 50),
    ('deals.max', 500, 50000),
    ('files.bytes.max', 10485760, 104857600),
    ('groups.max', 3, 100),
    ('imports.rows.max', 1000, 100000),
    ('leads.max', 1000, 100000),
    ('maps.overlays.max', 1, 100),
    ('maps.shapes.max', 100, 20000),
    ('pipelines.max', 1, 20),
    ('roles.max', 3, 100),
    ('sms.monthlyCap', 0, 500),
    ('sms.perMinute.max', 0, 60),
    ('storage.gb.max', 1, 100),
    ('tasks.max', 1000, NULL),
    ('telemarketing.campaigns.max', 0, 20),
    ('telemarketing.concurrentCalls.max', 0, 10),
    ('telemarketing.recordings.max', 0, 1000),
    ('units.max', 500, 50000),
    ('users.max', 3, 25),
    ('whatsapp.monthlyCap', 0, 500),
    ('whatsapp.perMinute.max', 0, 80)) AS lim (code, free, pro);

-- What is there already: companies begin their trial now, and what they have counts. Their owner
-- reads past the policies meanwhile, which hide every tenant from somebody who entered none.
DO $$
DECLARE
    target text;
    touched text[] := ARRAY['tenants', 'users', 'user_roles', 'contacts', 'groups', 'group_members', 'group_roles', 'roles',
                            'tenant_subscription', 'seats', 'seat_ledger', 'usage_counters'];
BEGIN
    FOREACH target IN ARRAY touched LOOP
        EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', target);
    END LOOP;
    INSERT INTO tenant_subscription (tenant_id, plan_code, status, started_at, trial_ends_at, updated_at)
    SELECT t.id, 'dev_pro', 'trial', now(), now() + interval '14 days', now() FROM tenants t;
    INSERT INTO seats (tenant_id, user_id, taken_at)
    SELECT u.tenant_id, u.id, now() FROM users u WHERE app.takes_seat(u.tenant_id, u.id);
    INSERT INTO seat_ledger SELECT s.tenant_id, app.new_id(now()), s.user_id, 'assign', now() FROM seats s;
    INSERT INTO usage_counters (tenant_id, meter, period_start, value, updated_at)
    SELECT counted.tenant_id, counted.meter, app.period_start(false, now()), count(*), now() FROM (
        SELECT s.tenant_id, 'seats.used' AS meter FROM seats s
        UNION ALL SELECT c.tenant_id, 'contacts.count' FROM contacts c WHERE c.archived_at IS NULL
        UNION ALL SELECT g.tenant_id, 'groups.count' FROM groups g
        UNION ALL SELECT r.tenant_id, 'roles.count' FROM roles r WHERE r.tenant_id IS NOT NULL) counted
    GROUP BY counted.tenant_id, counted.meter;
    FOREACH target IN ARRAY touched LOOP
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', target);
    END LOOP;
END
$$;

CREATE TRIGGER start_trial AFTER INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION app.start_trial();
CREATE TRIGGER count_seat AFTER INSERT OR DELETE ON seats FOR EACH ROW EXECUTE FUNCTION app.count_seat();
-- Named to come after `audit`, which takes the tenant's chain: every transaction takes that first.
DO $$
DECLARE
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY['user_roles', 'group_members', 'group_roles'] LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER settle_seats AFTER INSERT OR DELETE ON %I '
            'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.settle_seats()', target);
    END LOOP;
END
$$;
CREATE CONSTRAINT TRIGGER settle_seats AFTER INSERT OR UPDATE OF status ON users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.settle_seats();
SELECT app.limit_table('groups', 'groups.max');
SELECT app.limit_table('roles', 'roles.max');
