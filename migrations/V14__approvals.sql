-- Approvals: what needs one, what waits for one, who decided (S3A).

CREATE TABLE approval_policies (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    name text NOT NULL,
    action_code text NOT NULL,
    object_type text NOT NULL,
    -- a tree over the action's facts; NULL: every time
    conditions jsonb,
    self_approval_allowed boolean NOT NULL DEFAULT false,
    active boolean NOT NULL DEFAULT true,
    archived_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX approval_policies_by_age ON approval_policies (tenant_id, created_at, id) WHERE archived_at IS NULL;
CREATE INDEX approval_policies_in_force ON approval_policies (tenant_id, action_code, created_at, id)
    WHERE active AND archived_at IS NULL;
SELECT app.protect('approval_policies');
SELECT app.audit_table('approval_policies', 'approval.policy');

CREATE TABLE approval_steps (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    policy_id uuid NOT NULL,
    seq integer NOT NULL CHECK (seq > 0),
    kind text NOT NULL CHECK (kind IN ('flat', 'sequential', 'parallel')),
    approver_mode text NOT NULL CHECK (approver_mode IN ('role', 'group', 'user', 'dynamic')),
    -- as it was given; the ids beside it are what it named
    approver_ref text NOT NULL,
    approver_user_id uuid,
    approver_group_id uuid,
    approver_role_id uuid REFERENCES roles (id) ON DELETE SET NULL,
    threshold jsonb,
    quorum integer CHECK (quorum > 0),
    sla_hours integer CHECK (sla_hours > 0),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, policy_id, seq),
    FOREIGN KEY (tenant_id, policy_id) REFERENCES approval_policies (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, approver_user_id) REFERENCES users (tenant_id, id) ON DELETE SET NULL (approver_user_id),
    FOREIGN KEY (tenant_id, approver_group_id) REFERENCES groups (tenant_id, id) ON DELETE SET NULL (approver_group_id)
);
SELECT app.protect('approval_steps');
SELECT app.audit_table('approval_steps', 'approval.step');

CREATE TABLE approval_requests (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    -- the first of the policies that asked for it; each step names its own
    policy_id uuid NOT NULL,
    action_code text NOT NULL,
    object_type text NOT NULL,
    object_id uuid NOT NULL,
    -- which part of the object, where an action can wait for several
    object_key text NOT NULL DEFAULT '',
    title text NOT NULL,
    command jsonb NOT NULL,
    payload jsonb NOT NULL,
    requester_user_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'rejected', 'cancelled', 'failed')),
    current_step integer NOT NULL,
    failure_reason text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    decided_at timestamptz,
    executed_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, policy_id) REFERENCES approval_policies (tenant_id, id),
    FOREIGN KEY (tenant_id, requester_user_id) REFERENCES users (tenant_id, id)
);
CREATE UNIQUE INDEX approval_requests_pending ON approval_requests (tenant_id, action_code, object_id, object_key)
    WHERE state = 'pending';
CREATE INDEX approval_requests_by_age ON approval_requests (tenant_id, created_at, id);
CREATE INDEX approval_requests_by_state ON approval_requests (tenant_id, state, created_at, id);
CREATE INDEX approval_requests_by_requester ON approval_requests (tenant_id, requester_user_id, created_at, id);
CREATE INDEX approval_requests_by_object ON approval_requests (tenant_id, object_id, created_at, id);
SELECT app.protect('approval_requests', 'SELECT, INSERT, UPDATE');
SELECT app.audit_table('approval_requests', 'approval.request');

-- The steps as they were when the request was made: a policy that changes later changes nothing here.
CREATE TABLE approval_request_steps (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    request_id uuid NOT NULL,
    seq integer NOT NULL,
    -- steps of one stage are open together
    stage integer NOT NULL,
    policy_id uuid NOT NULL,
    policy_name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('flat', 'sequential', 'parallel')),
    approver_mode text NOT NULL CHECK (approver_mode IN ('role', 'group', 'user', 'dynamic')),
    approver_ref text NOT NULL,
    approver_user_id uuid,
    approver_group_id uuid,
    approver_role_id uuid REFERENCES roles (id) ON DELETE SET NULL,
    -- dynamic: whoever is this user's manager
    manager_of_user_id uuid,
    quorum integer,
    self_approval_allowed boolean NOT NULL,
    sla_hours integer,
    state text NOT NULL CHECK (state IN ('waiting', 'open', 'approved', 'rejected', 'skipped')),
    opened_at timestamptz,
    remind_at timestamptz,
    due_at timestamptz,
    reminded_at timestamptz,
    escalated_at timestamptz,
    decided_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, request_id, seq),
    FOREIGN KEY (tenant_id, request_id) REFERENCES approval_requests (tenant_id, id),
    FOREIGN KEY (tenant_id, policy_id) REFERENCES approval_policies (tenant_id, id),
    FOREIGN KEY (tenant_id, approver_user_id) REFERENCES users (tenant_id, id) ON DELETE SET NULL (approver_user_id),
    FOREIGN KEY (tenant_id, manager_of_user_id) REFERENCES users (tenant_id, id) ON DELETE SET NULL (manager_of_user_id),
    FOREIGN KEY (tenant_id, approver_group_id) REFERENCES groups (tenant_id, id) ON DELETE SET NULL (approver_group_id)
);
CREATE INDEX approval_request_steps_remind ON approval_request_steps (remind_at) WHERE state = 'open' AND reminded_at IS NULL;
CREATE INDEX approval_request_steps_due ON approval_request_steps (due_at) WHERE state = 'open' AND escalated_at IS NULL;
SELECT app.protect('approval_request_steps', 'SELECT, INSERT, UPDATE');
SELECT app.audit_table('approval_request_steps', 'approval.request_step');

CREATE TABLE approval_actions (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    request_id uuid NOT NULL,
    step_seq integer NOT NULL,
    approver_user_id uuid NOT NULL,
    decision text NOT NULL CHECK (decision IN ('approve', 'reject')),
    comment text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, request_id, step_seq, approver_user_id),
    FOREIGN KEY (tenant_id, request_id, step_seq) REFERENCES approval_request_steps (tenant_id, request_id, seq),
    FOREIGN KEY (tenant_id, approver_user_id) REFERENCES users (tenant_id, id)
);
SELECT app.protect('approval_actions', 'SELECT, INSERT');
SELECT app.audit_table('approval_actions', 'approval.action');

-- Whether somebody is active and holds a permission now, in whichever way.
CREATE FUNCTION app.user_may(tenant uuid, member uuid, permission text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT EXISTS (SELECT FROM users u WHERE u.tenant_id = tenant AND u.id = member AND u.status = 'active')
       AND EXISTS (SELECT FROM app.roles_held(tenant, member) held
                   JOIN role_permissions rp ON rp.role_id = held.role_id WHERE rp.permission_code = permission)
$$;

-- Who holds a role: those whom it, or a role that inherits from it, was given, or a group of theirs.
CREATE FUNCTION app.holders_of_role(tenant uuid, wanted uuid) RETURNS TABLE (user_id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    WITH RECURSIVE giving AS (
        SELECT wanted AS role_id
        UNION
        SELECT h.child_role_id FROM giving JOIN role_hierarchy h ON h.tenant_id = tenant AND h.parent_role_id = giving.role_id
    )
    SELECT ur.user_id FROM giving JOIN user_roles ur ON ur.tenant_id = tenant AND ur.role_id = giving.role_id
    UNION
    SELECT m.user_id FROM giving JOIN group_roles gr ON gr.tenant_id = tenant AND gr.role_id = giving.role_id
    JOIN groups g ON g.tenant_id = tenant AND g.id = gr.group_id AND g.is_active
    JOIN group_members m ON m.tenant_id = tenant AND m.group_id = g.id
$$;

-- Who may decide the open steps of a request, by today's memberships: active users who hold
-- approvals.decide, the requester only where the policy allows it.
--   rank 0  whom the step names
--   rank 1  their managers, once the step was escalated
--   rank 2  super admins, when there is nobody else: none of rank 0, or escalated and none of rank 1
-- `escalated` marks ranks 1 and 2.
CREATE FUNCTION app.approval_deciders(tenant uuid, request uuid)
RETURNS TABLE (step_seq integer, user_id uuid, escalated boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    WITH step AS (
        SELECT s.*, r.requester_user_id FROM approval_requests r
        JOIN approval_request_steps s ON s.tenant_id = r.tenant_id AND s.request_id = r.id
        WHERE r.tenant_id = tenant AND r.id = request AND r.state = 'pending' AND s.state = 'open'
    ), named AS (
        SELECT s.seq, s.approver_user_id AS user_id FROM step s
        UNION
        SELECT s.seq, u.manager_user_id FROM step s JOIN users u ON u.tenant_id = tenant AND u.id = s.manager_of_user_id
        UNION
        SELECT s.seq, m.user_id FROM step s
        JOIN groups g ON g.tenant_id = tenant AND g.id = s.approver_group_id AND g.is_active
        JOIN group_members m ON m.tenant_id = tenant AND m.group_id = g.id
        UNION
        SELECT s.seq, h.user_id FROM step s CROSS JOIN LATERAL app.holders_of_role(tenant, s.approver_role_id) h
        WHERE s.approver_role_id IS NOT NULL
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

-- From here on another acts in this transaction. What was changed so far is audited now, as who
-- acted so far, and what waits for the commit is checked now. The audit chain stays taken until the
-- commit; the tenant is taken first, as everybody does who writes.
CREATE FUNCTION app.act_as(origin text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM FROM tenants t WHERE t.id = app.current_tenant_id() FOR KEY SHARE;
    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM set_config('app.origin', origin, true);
    SET CONSTRAINTS ALL DEFERRED;
END
$$;

-- Requests with an open step that has to be reminded of or escalated.
CREATE FUNCTION app.late_approvals(at timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT late.tenant_id, late.request_id FROM (
        SELECT s.tenant_id, s.request_id, s.remind_at AS since FROM approval_request_steps s
        WHERE s.state = 'open' AND s.reminded_at IS NULL AND s.remind_at <= at
        UNION ALL
        SELECT s.tenant_id, s.request_id, s.due_at FROM approval_request_steps s
        WHERE s.state = 'open' AND s.escalated_at IS NULL AND s.due_at <= at) late
    GROUP BY late.tenant_id, late.request_id ORDER BY min(late.since) LIMIT at_most
$$;
GRANT SELECT ON approval_request_steps TO m3_lookup;
CREATE POLICY lookup ON approval_request_steps FOR SELECT TO m3_lookup USING (true);
ALTER FUNCTION app.late_approvals OWNER TO m3_lookup;
