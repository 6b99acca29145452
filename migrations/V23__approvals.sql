-- Approvals: hours that stand still while a company can't act, a queue whose cost does not grow with what
-- waits in it, and how often somebody may ask.

-- Companies in which nobody may decide now: not active, or past due and out of grace. Whoever reads
-- under policies sees none but their own.
CREATE INDEX tenants_not_active ON tenants (id) WHERE status <> 'active';
CREATE INDEX tenant_subscription_past_due ON tenant_subscription (tenant_id) WHERE status = 'past_due';
CREATE FUNCTION app.companies_on_hold(at timestamptz) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT t.id FROM tenants t WHERE t.status <> 'active'
    UNION
    SELECT s.tenant_id FROM tenant_subscription s
    WHERE s.status = 'past_due' AND (s.grace_ends_at <= at OR s.grace_ends_at IS NULL)
$$;

-- Since when the hours of an open step stand still; remind_at and due_at are NULL then.
ALTER TABLE approval_request_steps ADD COLUMN held_since timestamptz;
CREATE INDEX approval_request_steps_running ON approval_request_steps (tenant_id, request_id)
    WHERE state = 'open' AND escalated_at IS NULL AND due_at IS NOT NULL;
CREATE INDEX approval_request_steps_held ON approval_request_steps (tenant_id, request_id)
    WHERE state = 'open' AND held_since IS NOT NULL;

-- Requests with an open step that has to be reminded of or escalated; whose hours run though the company
-- can't act; or whose hours stand still though it can again.
CREATE OR REPLACE FUNCTION app.late_approvals(at timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    WITH on_hold AS MATERIALIZED (SELECT h.tenant_id FROM app.companies_on_hold(at) h)
    SELECT late.tenant_id, late.request_id FROM (
        SELECT s.tenant_id, s.request_id, s.remind_at AS since FROM approval_request_steps s
        WHERE s.state = 'open' AND s.reminded_at IS NULL AND s.remind_at <= at
        UNION ALL
        SELECT s.tenant_id, s.request_id, s.due_at FROM approval_request_steps s
        WHERE s.state = 'open' AND s.escalated_at IS NULL AND s.due_at <= at
        UNION ALL
        SELECT s.tenant_id, s.request_id, s.opened_at FROM on_hold h
        JOIN approval_request_steps s ON s.tenant_id = h.tenant_id
        WHERE s.state = 'open' AND s.escalated_at IS NULL AND s.due_at IS NOT NULL
        UNION ALL
        SELECT s.tenant_id, s.request_id, s.held_since FROM approval_request_steps s
        WHERE s.state = 'open' AND s.held_since IS NOT NULL
          AND NOT EXISTS (SELECT FROM on_hold h WHERE h.tenant_id = s.tenant_id)) late
    GROUP BY late.tenant_id, late.request_id ORDER BY min(late.since) LIMIT at_most
$$;

-- Who could decide a step that names these, whoever asked: active users who hold approvals.decide.
--   rank 0  whom the step names
--   rank 1  their managers, of a step that is late
--   rank 2  super admins
CREATE FUNCTION app.approvers_able(
    tenant uuid, one uuid, manager_of uuid, in_group uuid, holding uuid, late boolean)
RETURNS TABLE (user_id uuid, rank integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    WITH named AS MATERIALIZED (
        SELECT n.user_id FROM app.approvers_named(tenant, one, manager_of, in_group, holding) n
    ), candidate AS (
        SELECT n.user_id, 0 AS rank FROM named n
        UNION ALL
        SELECT u.manager_user_id, 1 FROM named n JOIN users u ON u.tenant_id = tenant AND u.id = n.user_id
        WHERE late AND u.manager_user_id IS NOT NULL
        UNION ALL
        SELECT h.user_id, 2 FROM roles r CROSS JOIN LATERAL app.holders_of_role(tenant, r.id) h
        WHERE r.tenant_id IS NULL AND r.code = 'super_admin'
    ), person AS MATERIALIZED (
        SELECT c.user_id, min(c.rank) AS rank FROM candidate c GROUP BY c.user_id
    )
    SELECT p.user_id, p.rank FROM person p WHERE app.user_may(tenant, p.user_id, 'approvals.decide')
$$;

-- Who may decide the steps of a request that are in these states, as it was. The requester only where the
-- policy allows it; super admins when there is nobody else: none of rank 0, or escalated and none of rank 1.
CREATE OR REPLACE FUNCTION app.approval_deciders(tenant uuid, request uuid, states text[] DEFAULT '{open}')
RETURNS TABLE (step_seq integer, user_id uuid, escalated boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    WITH able AS (
        SELECT s.seq, a.user_id, a.rank, s.escalated_at IS NOT NULL AS late
        FROM approval_requests r
        JOIN approval_request_steps s ON s.tenant_id = r.tenant_id AND s.request_id = r.id
        CROSS JOIN LATERAL app.approvers_able(
            tenant, s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id,
            s.escalated_at IS NOT NULL) a
        WHERE r.tenant_id = tenant AND r.id = request AND r.state = 'pending' AND s.state = ANY (states)
          AND (s.self_approval_allowed OR a.user_id <> r.requester_user_id)
    )
    SELECT a.seq, a.user_id, a.rank > 0 FROM able a
    WHERE a.rank < 2
       OR NOT EXISTS (SELECT FROM able o WHERE o.seq = a.seq AND o.rank = 0)
       OR (a.late AND NOT EXISTS (SELECT FROM able o WHERE o.seq = a.seq AND o.rank = 1))
$$;

-- The requests that wait for somebody's decision: those with an open step that app.approval_deciders gives
-- to them and they have not decided. Who has decided all of theirs is asked again when nobody else is
-- waited for, as where the others have left: repeating the approval brings it on.
--
-- Who can decide is worked out once for all steps that name the same, not once for each. Of a step that
-- names them somebody needs no other: only a super admin's turn, and an approval to repeat, depend on
-- whether there is somebody else.
CREATE OR REPLACE FUNCTION app.approvals_to_decide(tenant uuid, member uuid) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    held uuid[];
    is_super boolean;
BEGIN
    IF NOT app.user_may(tenant, member, 'approvals.decide') THEN
        RETURN;
    END IF;
    held := ARRAY(SELECT DISTINCT h.role_id FROM app.roles_held(tenant, member) h);
    is_super := EXISTS (
        SELECT FROM roles r WHERE r.id = ANY (held) AND r.tenant_id IS NULL AND r.code = 'super_admin');
    RETURN QUERY
    WITH alike AS MATERIALIZED (
        SELECT s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id,
               s.escalated_at IS NOT NULL AS is_late, array_agg(s.request_id) AS requests, array_agg(s.seq) AS seqs,
               array_agg(CASE WHEN NOT s.self_approval_allowed THEN r.requester_user_id END) AS excluded
        FROM approval_request_steps s
        JOIN approval_requests r ON r.tenant_id = s.tenant_id AND r.id = s.request_id
        WHERE is_super AND s.tenant_id = tenant AND s.state = 'open'
        GROUP BY s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id,
                 s.escalated_at IS NOT NULL
    ), alike_and_named AS MATERIALIZED (
        SELECT a.*, ARRAY(
            SELECT n.user_id FROM app.approvers_named(tenant, a.approver_user_id, a.manager_of_user_id,
                                                      a.approver_group_id, a.approver_role_id) n) AS named
        FROM alike a
    ), alike_and_able AS MATERIALIZED (
        -- Two are enough to know that there is one besides the requester.
        SELECT a.*, ARRAY(
                   SELECT n.id FROM unnest(a.named) AS n (id)
                   WHERE app.user_may(tenant, n.id, 'approvals.decide') LIMIT 2) AS able,
               ARRAY(
                   SELECT m.id FROM (
                       SELECT DISTINCT u.manager_user_id AS id FROM users u
                       WHERE a.is_late AND u.tenant_id = tenant AND u.id = ANY (a.named)) m
                   WHERE m.id <> ALL (a.named) AND app.user_may(tenant, m.id, 'approvals.decide') LIMIT 2) AS managing
        FROM alike_and_named a
    ), candidate (request_id, seq) AS (
        SELECT s.request_id, s.seq FROM approval_request_steps s
        WHERE s.tenant_id = tenant AND s.state = 'open' AND s.approver_user_id = member
        UNION
        SELECT s.request_id, s.seq FROM users u JOIN approval_request_steps s
            ON s.tenant_id = u.tenant_id AND s.manager_of_user_id = u.id AND s.state = 'open'
        WHERE u.tenant_id = tenant AND u.manager_user_id = member
        UNION
        SELECT s.request_id, s.seq FROM group_members m
        JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id AND g.is_active
        JOIN approval_request_steps s
            ON s.tenant_id = m.tenant_id AND s.approver_group_id = m.group_id AND s.state = 'open'
        WHERE m.tenant_id = tenant AND m.user_id = member
        UNION
        SELECT s.request_id, s.seq FROM approval_request_steps s
        WHERE s.tenant_id = tenant AND s.state = 'open' AND s.approver_role_id = ANY (held)
        UNION
        SELECT one.request_id, one.seq FROM (
            SELECT s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id,
                   array_agg(s.request_id) AS requests, array_agg(s.seq) AS seqs
            FROM approval_request_steps s
            WHERE s.tenant_id = tenant AND s.state = 'open' AND s.escalated_at IS NOT NULL
            GROUP BY s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id) late
        CROSS JOIN LATERAL unnest(late.requests, late.seqs) AS one (request_id, seq)
        WHERE EXISTS (
            SELECT FROM app.approvers_named(tenant, late.approver_user_id, late.manager_of_user_id,
                                            late.approver_group_id, late.approver_role_id) n
            JOIN users u ON u.tenant_id = tenant AND u.id = n.user_id WHERE u.manager_user_id = member)
        UNION
        SELECT one.request_id, one.seq FROM alike_and_able a
        CROSS JOIN LATERAL unnest(a.requests, a.seqs, a.excluded) AS one (request_id, seq, excluded)
        WHERE a.able IN ('{}', ARRAY[one.excluded])
           OR (a.is_late AND a.managing IN ('{}', ARRAY[one.excluded]))
    ), mine AS MATERIALIZED (
        SELECT c.request_id, EXISTS (
            SELECT FROM approval_actions a WHERE a.tenant_id = tenant AND a.request_id = c.request_id
              AND a.step_seq = c.seq AND a.approver_user_id = member) AS has_decided
        FROM candidate c
        JOIN approval_requests r ON r.tenant_id = tenant AND r.id = c.request_id AND r.state = 'pending'
        JOIN approval_request_steps s ON s.tenant_id = tenant AND s.request_id = c.request_id AND s.seq = c.seq
        WHERE s.self_approval_allowed OR r.requester_user_id <> member
    ), decided AS (
        SELECT m.request_id FROM mine m GROUP BY m.request_id HAVING bool_and(m.has_decided)
    ), step AS MATERIALIZED (
        SELECT s.request_id, s.approver_user_id, s.manager_of_user_id, s.approver_group_id, s.approver_role_id,
               s.escalated_at IS NOT NULL AS is_late,
               format('%s/%s/%s/%s/%s', s.approver_user_id, s.manager_of_user_id, s.approver_group_id,
                      s.approver_role_id, s.escalated_at IS NOT NULL) AS names,
               CASE WHEN NOT s.self_approval_allowed THEN r.requester_user_id END AS excluded,
               ARRAY(SELECT a.approver_user_id FROM approval_actions a
                     WHERE a.tenant_id = tenant AND a.request_id = s.request_id AND a.step_seq = s.seq) AS said
        FROM decided d
        JOIN approval_requests r ON r.tenant_id = tenant AND r.id = d.request_id
        JOIN approval_request_steps s ON s.tenant_id = tenant AND s.request_id = d.request_id AND s.state = 'open'
    ), able AS MATERIALIZED (
        SELECT alike.names, people.named, people.everybody FROM (
            SELECT DISTINCT ON (s.names) s.* FROM step s ORDER BY s.names) alike
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(a.user_id) FILTER (WHERE a.rank = 0), '{}') AS named,
                   coalesce(array_agg(a.user_id), '{}') AS everybody
            FROM app.approvers_able(tenant, alike.approver_user_id, alike.manager_of_user_id,
                                    alike.approver_group_id, alike.approver_role_id, alike.is_late) a) people
    ), waits_for_others AS (
        -- Once somebody has approved a step, only those whom it names are still waited for.
        SELECT s.request_id FROM step s JOIN able a ON a.names = s.names
        WHERE EXISTS (
            SELECT FROM unnest(CASE WHEN s.said = '{}' THEN a.everybody ELSE a.named END) AS other (id)
            WHERE other.id <> ALL (s.said) AND other.id IS DISTINCT FROM s.excluded)
    )
    SELECT m.request_id FROM mine m WHERE NOT m.has_decided
    UNION
    SELECT d.request_id FROM decided d
    WHERE NOT EXISTS (SELECT FROM waits_for_others w WHERE w.request_id = d.request_id);
END
$$;

-- When this person made the oldest of their last `at_most` requests for approval, where all of those are
-- younger than `since`: they may not make another. NULL: they may. Whoever asks waits for the same
-- person's other requests that are being made, so that as many together get no further than one by one.
CREATE FUNCTION app.asked_too_often(tenant uuid, person uuid, since timestamptz, at_most integer) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('app.asking/' || tenant || '/' || person, 0));
    RETURN (SELECT r.created_at FROM approval_requests r
            WHERE r.tenant_id = tenant AND r.requester_user_id = person AND r.created_at > since
            ORDER BY r.created_at DESC OFFSET at_most - 1 LIMIT 1);
END
$$;
