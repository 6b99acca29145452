-- Approvals: whose turn it is found without asking of every request, approvers of every stage, and what
-- somebody may do now.

-- A manager's people, and the steps that are open by whom they name.
CREATE INDEX users_by_manager ON users (tenant_id, manager_user_id) WHERE manager_user_id IS NOT NULL;
CREATE INDEX approval_request_steps_of_user ON approval_request_steps (tenant_id, approver_user_id) WHERE state = 'open';
CREATE INDEX approval_request_steps_of_group ON approval_request_steps (tenant_id, approver_group_id) WHERE state = 'open';
CREATE INDEX approval_request_steps_of_role ON approval_request_steps (tenant_id, approver_role_id) WHERE state = 'open';
CREATE INDEX approval_request_steps_of_report ON approval_request_steps (tenant_id, manager_of_user_id) WHERE state = 'open';
CREATE INDEX approval_request_steps_escalated ON approval_request_steps (tenant_id)
    WHERE state = 'open' AND escalated_at IS NOT NULL;

-- Why app.enter would refuse this person a permission or feature now, as the code that it raises; NULL:
-- it would not. Without what is the session's. A rule that is added to one belongs into the other.
CREATE FUNCTION app.refusal(tenant uuid, member uuid, permission text, feature text, at timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT nullif(coalesce((
        SELECT CASE
            WHEN u.status <> 'active' THEN 'M3401'
            WHEN t.status <> 'active' THEN 'M3402'
            WHEN NOT app.user_may(tenant, member, permission) THEN 'M3403'
            WHEN p.privileged AND u.email_verified_at IS NULL THEN 'M3404'
            WHEN NOT p.self_service AND t.twofa_required_from <= at AND u.twofa_methods = '{}' THEN 'M3405'
            WHEN NOT p.self_service AND t.phone_required_from <= at AND u.phone_verified_at IS NULL THEN 'M3406'
            WHEN NOT p.kept_past_due AND EXISTS (
                SELECT FROM tenant_subscription s
                WHERE s.tenant_id = tenant AND s.status = 'past_due' AND (s.grace_ends_at <= at OR s.grace_ends_at IS NULL))
                THEN 'M3408'
            WHEN feature IS NOT NULL AND NOT app.entitled(tenant, member, feature, at) THEN 'M3407'
            ELSE '' END
        FROM users u JOIN tenants t ON t.id = u.tenant_id JOIN permissions p ON p.code = permission
        WHERE u.tenant_id = tenant AND u.id = member), 'M3401'), '')
$$;

-- Raises what app.refusal says.
CREATE FUNCTION app.require_permission(tenant uuid, member uuid, permission text, at timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    refused text := app.refusal(tenant, member, permission, NULL, at);
BEGIN
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'not allowed now' USING ERRCODE = refused;
    END IF;
END
$$;

-- Whom a step names, by today's memberships: a user, whoever manages one, a group, the holders of a role.
CREATE FUNCTION app.approvers_named(tenant uuid, one uuid, manager_of uuid, in_group uuid, holding uuid)
RETURNS TABLE (user_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT one WHERE one IS NOT NULL
    UNION
    SELECT u.manager_user_id FROM users u
    WHERE u.tenant_id = tenant AND u.id = manager_of AND u.manager_user_id IS NOT NULL
    UNION
    SELECT m.user_id FROM groups g JOIN group_members m ON m.tenant_id = g.tenant_id AND m.group_id = g.id
    WHERE g.tenant_id = tenant AND g.id = in_group AND g.is_active
    UNION
    SELECT h.user_id FROM app.holders_of_role(tenant, holding) h WHERE holding IS NOT NULL
$$;

-- As before, and of steps in other states too: who could decide those that wait, were they open now.
DROP FUNCTION app.approval_deciders(uuid, uuid);
CREATE FUNCTION app.approval_deciders(tenant uuid, request uuid, states text[] DEFAULT '{open}')
RETURNS TABLE (step_seq integer, user_id uuid, escalated boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    WITH step AS (
        SELECT s.*, r.requester_user_id FROM approval_requests r
        JOIN approval_request_steps s ON s.tenant_id = r.tenant_id AND s.request_id = r.id
        WHERE r.tenant_id = tenant AND r.id = request AND r.state = 'pending' AND s.state = ANY (states)
    ), named AS (
        SELECT s.seq, n.user_id FROM step s CROSS JOIN LATERAL app.approvers_named(
            tenant, s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id) n
    ), candidate AS (
        SELECT n.seq, n.user_id, 0 AS rank FROM named n
        UNION ALL
        SELECT n.seq, u.manager_user_id, 1 FROM step s JOIN named n ON n.seq = s.seq
        JOIN users u ON u.tenant_id = tenant AND u.id = n.user_id WHERE s.escalated_at IS NOT NULL
        UNION ALL
        SELECT s.seq, h.user_id, 2 FROM step s, roles r CROSS JOIN LATERAL app.holders_of_role(tenant, r.id) h
        WHERE r.tenant_id IS NULL AND r.code = 'super_admin'
    ), able AS (
        SELECT c.seq, c.user_id, min(c.rank) AS rank, s.escalated_at IS NOT NULL AS late
        FROM candidate c JOIN step s ON s.seq = c.seq
        WHERE c.user_id IS NOT NULL AND (s.self_approval_allowed OR c.user_id <> s.requester_user_id)
          AND app.user_may(tenant, c.user_id, 'approvals.decide')
        GROUP BY c.seq, c.user_id, s.escalated_at
    )
    SELECT a.seq, a.user_id, a.rank > 0 FROM able a
    WHERE a.rank < 2
       OR NOT EXISTS (SELECT FROM able o WHERE o.seq = a.seq AND o.rank = 0)
       OR (a.late AND NOT EXISTS (SELECT FROM able o WHERE o.seq = a.seq AND o.rank = 1))
$$;

-- The requests that wait for somebody's decision. app.approval_deciders is asked only of those that can
-- be theirs: whose open steps name them, their groups, roles or people; those escalated to them; for a
-- super admin those whose steps name nobody who can decide, which is found once for whom they name and
-- not once for each. Who has decided is asked again when nobody else is waited for, as where the others
-- have left: repeating the approval brings it on.
CREATE FUNCTION app.approvals_to_decide(tenant uuid, member uuid) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    held uuid[] := ARRAY(SELECT DISTINCT h.role_id FROM app.roles_held(tenant, member) h);
    candidates uuid[] := ARRAY(
        SELECT s.request_id FROM approval_request_steps s
        WHERE s.tenant_id = tenant AND s.state = 'open' AND s.approver_user_id = member
        UNION
        SELECT s.request_id FROM users u JOIN approval_request_steps s
            ON s.tenant_id = u.tenant_id AND s.manager_of_user_id = u.id AND s.state = 'open'
        WHERE u.tenant_id = tenant AND u.manager_user_id = member
        UNION
        SELECT s.request_id FROM group_members m JOIN approval_request_steps s
            ON s.tenant_id = m.tenant_id AND s.approver_group_id = m.group_id AND s.state = 'open'
        WHERE m.tenant_id = tenant AND m.user_id = member
        UNION
        SELECT s.request_id FROM approval_request_steps s
        WHERE s.tenant_id = tenant AND s.state = 'open' AND s.approver_role_id = ANY (held)
        UNION
        SELECT unnest(late.requests) FROM (
            SELECT s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id,
                   array_agg(s.request_id) AS requests
            FROM approval_request_steps s
            WHERE s.tenant_id = tenant AND s.state = 'open' AND s.escalated_at IS NOT NULL
            GROUP BY s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id) late
        WHERE EXISTS (
            SELECT FROM app.approvers_named(tenant, late.approver_user_id, late.manager_of_user_id,
                                            late.approver_group_id, late.approver_role_id) n
            JOIN users u ON u.tenant_id = tenant AND u.id = n.user_id WHERE u.manager_user_id = member));
BEGIN
    IF EXISTS (SELECT FROM roles r WHERE r.id = ANY (held) AND r.tenant_id IS NULL AND r.code = 'super_admin') THEN
        candidates := candidates || ARRAY(
            SELECT s.request_id FROM approval_request_steps s
            WHERE s.tenant_id = tenant AND s.state = 'open' AND s.escalated_at IS NOT NULL
            UNION
            SELECT one.request FROM (
                SELECT s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id,
                       array_agg(s.request_id) AS requests, array_agg(r.requester_user_id) AS requesters,
                       array_agg(s.self_approval_allowed) AS self_allowed
                FROM approval_request_steps s
                JOIN approval_requests r ON r.tenant_id = s.tenant_id AND r.id = s.request_id
                WHERE s.tenant_id = tenant AND s.state = 'open'
                GROUP BY s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id) alike
            CROSS JOIN LATERAL (SELECT ARRAY(
                SELECT n.user_id FROM app.approvers_named(tenant, alike.approver_user_id, alike.manager_of_user_id,
                                                          alike.approver_group_id, alike.approver_role_id) n
                WHERE app.user_may(tenant, n.user_id, 'approvals.decide') LIMIT 2) AS people) able
            CROSS JOIN LATERAL unnest(alike.requests, alike.requesters, alike.self_allowed)
                AS one (request, requester, self_allowed)
            WHERE able.people = '{}' OR (able.people = ARRAY[one.requester] AND NOT one.self_allowed));
    END IF;
    RETURN QUERY
    SELECT c.request FROM (SELECT DISTINCT request FROM unnest(candidates) AS of_all (request)) c
    WHERE EXISTS (
        WITH decider AS (
            SELECT d.*, said.user_ids, d.user_id = ANY (said.user_ids) AS has_decided
            FROM app.approval_deciders(tenant, c.request) d
            CROSS JOIN LATERAL (SELECT ARRAY(
                SELECT a.approver_user_id FROM approval_actions a
                WHERE a.tenant_id = tenant AND a.request_id = c.request AND a.step_seq = d.step_seq) AS user_ids) said
        )
        SELECT FROM decider mine WHERE mine.user_id = member AND (NOT mine.has_decided OR NOT EXISTS (
            SELECT FROM decider other WHERE NOT other.has_decided AND (NOT other.escalated OR other.user_ids = '{}'))));
END
$$;
