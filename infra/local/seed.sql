-- The fixed part of the demo tenant: what the samples in events/ name by id. Run as administrator by
-- infra/demo, any number of times: it puts these rows back as they were, takes away what the samples made
-- of theirs, and touches no other.
-- The setting demo.values is infra/local/demo.json with what needs a key or a hash beside it.
BEGIN;
CREATE FUNCTION pg_temp.demo(path text) RETURNS text
LANGUAGE sql STABLE RETURN current_setting('demo.values')::jsonb #>> string_to_array(path, '.');
SET LOCAL ROLE m3_owner;
SELECT set_config('app.current_tenant_id', pg_temp.demo('tenant.id'), true),
       set_config('app.origin', '{"actor": "seed"}', true);

INSERT INTO tenants (id, name, slug)
VALUES (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('tenant.name'), pg_temp.demo('tenant.slug'))
ON CONFLICT (id) DO UPDATE SET name = excluded.name, slug = excluded.slug, status = 'active',
    twofa_required_from = NULL, phone_required_from = NULL;

INSERT INTO tenant_subscription (tenant_id, plan_code, status, started_at, updated_at)
VALUES (pg_temp.demo('tenant.id')::uuid, 'dev_pro', 'active', '2025-01-01Z', '2025-01-01Z')
ON CONFLICT (tenant_id) DO UPDATE SET plan_code = excluded.plan_code, status = excluded.status;

INSERT INTO users (tenant_id, id, email, email_norm, full_name, password_hash, email_verified_at)
VALUES (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('user.id')::uuid, pg_temp.demo('user.email'),
        pg_temp.demo('user.email'), pg_temp.demo('user.full_name'), pg_temp.demo('user.password_hash'), '2025-01-01Z')
ON CONFLICT (tenant_id, id) DO UPDATE
SET password_hash = excluded.password_hash, status = 'active', email_verified_at = excluded.email_verified_at, twofa_methods = '{}';
DELETE FROM totp_secrets WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND user_id = pg_temp.demo('user.id')::uuid;

-- With its key remembered, a sample would be told what it did and do nothing; with what it made still there,
-- it would be refused. Users may have become somebody: only their addresses are free again.
DELETE FROM idempotency_keys WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND key LIKE 'sample-%';
DELETE FROM contacts WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND name_norm = 'yusuf karam';
UPDATE users SET status = 'deactivated', email = id || '@gone.example', email_norm = id || '@gone.example'
WHERE tenant_id = pg_temp.demo('tenant.id')::uuid
  AND email_norm IN ('created@demo-realty.example', 'sampled@demo-realty.example');
UPDATE channel_accounts SET deleted_at = now(), updated_at = now(), edge_published_at = NULL
WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND display_phone_number = '+96522220109' AND deleted_at IS NULL;
DELETE FROM dictionary_codes d WHERE d.tenant_id = pg_temp.demo('tenant.id')::uuid AND d.code = 'sample'
  AND NOT EXISTS (SELECT FROM users u WHERE u.tenant_id = d.tenant_id AND d.id IN (u.job_title_id, u.department_id));
DELETE FROM group_roles gr USING groups g
WHERE gr.tenant_id = pg_temp.demo('tenant.id')::uuid AND g.tenant_id = gr.tenant_id AND g.id = gr.group_id AND g.code = 'sample_group';
DELETE FROM group_members m USING groups g
WHERE m.tenant_id = pg_temp.demo('tenant.id')::uuid AND g.tenant_id = m.tenant_id AND g.id = m.group_id AND g.code = 'sample_group';
DELETE FROM groups WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND code = 'sample_group';
DELETE FROM user_roles ur USING roles r
WHERE ur.tenant_id = pg_temp.demo('tenant.id')::uuid AND r.tenant_id = ur.tenant_id AND r.id = ur.role_id AND r.code = 'sample_role';
DELETE FROM group_roles gr USING roles r
WHERE gr.tenant_id = pg_temp.demo('tenant.id')::uuid AND r.tenant_id = gr.tenant_id AND r.id = gr.role_id AND r.code = 'sample_role';
DELETE FROM role_hierarchy h USING roles r
WHERE h.tenant_id = pg_temp.demo('tenant.id')::uuid AND r.tenant_id = h.tenant_id AND r.code = 'sample_role'
  AND r.id IN (h.parent_role_id, h.child_role_id);
DELETE FROM roles WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND code = 'sample_role';

INSERT INTO user_roles (tenant_id, user_id, role_id)
SELECT pg_temp.demo('tenant.id')::uuid, pg_temp.demo('user.id')::uuid, r.id
FROM roles r WHERE r.tenant_id IS NULL AND r.code = 'super_admin'
ON CONFLICT DO NOTHING;

INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at)
VALUES (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('team.id')::uuid, 'sales', 'Sales', '2025-01-01Z', '2025-01-01Z')
ON CONFLICT (tenant_id, id) DO NOTHING;

INSERT INTO sessions (tenant_id, id, user_id, user_agent, ip, created_at, last_used_at, expires_at)
SELECT pg_temp.demo('tenant.id')::uuid, (s.value ->> 'id')::uuid, pg_temp.demo('user.id')::uuid, 'demo', '127.0.0.1',
       '2025-01-01Z', '2025-01-01Z', '2100-01-01Z'
FROM jsonb_each(pg_temp.demo('sessions')::jsonb) s
ON CONFLICT (tenant_id, id) DO UPDATE
SET last_used_at = excluded.last_used_at, expires_at = excluded.expires_at, revoked_at = NULL, revoked_reason = NULL;

DELETE FROM refresh_tokens
WHERE tenant_id = pg_temp.demo('tenant.id')::uuid
  AND session_id IN (SELECT (s.value ->> 'id')::uuid FROM jsonb_each(pg_temp.demo('sessions')::jsonb) s);
INSERT INTO refresh_tokens (tenant_id, token_hash, session_id, created_at, expires_at)
SELECT pg_temp.demo('tenant.id')::uuid, sha256(convert_to(s.value ->> 'refresh_token', 'UTF8')), (s.value ->> 'id')::uuid,
       '2025-01-01Z', '2100-01-01Z'
FROM jsonb_each(pg_temp.demo('sessions')::jsonb) s WHERE s.value ? 'refresh_token';

INSERT INTO contacts (tenant_id, id, first_name, last_name, name_norm, created_at, updated_at)
VALUES (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('contacts.layla.id')::uuid, 'Layla', 'Haddad', 'layla haddad',
        '2025-01-01Z', '2025-01-01Z'),
       (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('contacts.deleted.id')::uuid, 'Obsolete', 'Entry', 'obsolete entry',
        '2025-01-01Z', '2025-01-01Z'),
       (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('contacts.forgotten.id')::uuid, 'Former', 'Client', 'former client',
        '2025-01-01Z', '2025-01-01Z')
ON CONFLICT (tenant_id, id) DO UPDATE
SET first_name = excluded.first_name, last_name = excluded.last_name, name_norm = excluded.name_norm, archived_at = NULL;

INSERT INTO usage_counters (tenant_id, meter, period_start, value, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, 'contacts.count', app.period_start(false, now()), count(*), now()
FROM contacts c WHERE c.tenant_id = pg_temp.demo('tenant.id')::uuid AND c.archived_at IS NULL
ON CONFLICT (tenant_id, meter, period_start) DO UPDATE SET value = excluded.value;

INSERT INTO contact_names (tenant_id, word, contact_id)
SELECT c.tenant_id, word, c.id FROM contacts c, string_to_table(c.name_norm, ' ') AS word
WHERE c.tenant_id = pg_temp.demo('tenant.id')::uuid
  AND c.id IN (pg_temp.demo('contacts.layla.id')::uuid, pg_temp.demo('contacts.deleted.id')::uuid)
ON CONFLICT DO NOTHING;

INSERT INTO contact_channels (tenant_id, id, contact_id, type, value_sealed, value_hash, value_masked, claims_value, is_primary, created_at)
SELECT pg_temp.demo('tenant.id')::uuid, (c ->> 'channel_id')::uuid, (c ->> 'id')::uuid, 'whatsapp',
       decode(c ->> 'phone_sealed', 'hex'), decode(c ->> 'phone_hash', 'hex'), c ->> 'phone_masked', true, true, '2025-01-01Z'
FROM (SELECT pg_temp.demo('contacts.layla')::jsonb) AS layla (c)
ON CONFLICT DO NOTHING;

-- The edge is told of them by what `up` does next.
INSERT INTO channel_accounts (tenant_id, id, channel, provider, provider_account_id, provider_key, display_phone_number,
                              label, credentials_sealed, created_at, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, (a.value ->> 'id')::uuid, 'whatsapp', a.value ->> 'provider',
       a.value ->> 'provider_account_id', a.value ->> 'provider_key', a.value ->> 'display_phone_number', 'Demo ' || a.key,
       decode(a.value ->> 'credentials_sealed', 'hex'), '2025-01-01Z', '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('accounts')::jsonb) a
ON CONFLICT (tenant_id, id) DO UPDATE
SET credentials_sealed = excluded.credentials_sealed, status = 'active', deleted_at = NULL, edge_published_at = NULL;

INSERT INTO conversations (tenant_id, id, channel, channel_account_id, contact_id, peer_sealed, peer_hash, peer_masked,
                           last_message_at, created_at, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, pg_temp.demo('conversation.id')::uuid, 'whatsapp',
       pg_temp.demo('accounts.meta.id')::uuid, pg_temp.demo('contacts.layla.id')::uuid,
       decode(pg_temp.demo('conversation.peer_sealed'), 'hex'), decode(pg_temp.demo('conversation.peer_hash'), 'hex'),
       pg_temp.demo('contacts.layla.phone_masked'), '2025-01-01Z', '2025-01-01Z', '2025-01-01Z'
ON CONFLICT (tenant_id, id) DO NOTHING;

-- Access: a colleague without a password, roles, groups, and keys whose secrets nobody knows.
INSERT INTO users (tenant_id, id, email, email_norm, full_name, email_verified_at)
VALUES (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('access.colleague.id')::uuid, pg_temp.demo('access.colleague.email'),
        pg_temp.demo('access.colleague.email'), pg_temp.demo('access.colleague.full_name'), '2025-01-01Z')
ON CONFLICT (tenant_id, id) DO UPDATE SET status = 'active';

INSERT INTO roles (tenant_id, id, code, name, created_at, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, (r.value ->> 'id')::uuid, 'demo_' || r.key, 'Demo ' || r.key, '2025-01-01Z', '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('access.roles')::jsonb) r
ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = '';
INSERT INTO role_permissions (tenant_id, role_id, permission_code)
SELECT pg_temp.demo('tenant.id')::uuid, (r.value ->> 'id')::uuid, p.code
FROM jsonb_each(pg_temp.demo('access.roles')::jsonb) r, permissions p WHERE p.self_service OR p.code = 'contact.read'
ON CONFLICT DO NOTHING;
DELETE FROM role_hierarchy
WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND child_role_id = pg_temp.demo('access.roles.senior.id')::uuid;
INSERT INTO role_hierarchy (tenant_id, parent_role_id, child_role_id, created_at)
VALUES (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('access.roles.agent.id')::uuid,
        pg_temp.demo('access.roles.junior.id')::uuid, '2025-01-01Z')
ON CONFLICT DO NOTHING;

INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, (g.value ->> 'id')::uuid, 'demo_' || g.key, 'Demo ' || g.key, '2025-01-01Z', '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('access.groups')::jsonb) g
ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, description = '', is_active = true;
DELETE FROM group_members
WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND group_id = pg_temp.demo('access.groups.sales.id')::uuid
  AND user_id = pg_temp.demo('access.colleague.id')::uuid;
INSERT INTO group_members (tenant_id, group_id, user_id, added_at)
VALUES (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('access.groups.support.id')::uuid,
        pg_temp.demo('access.colleague.id')::uuid, '2025-01-01Z')
ON CONFLICT DO NOTHING;

INSERT INTO api_keys (tenant_id, id, name, prefix, secret_hash, scopes, created_by, created_at)
SELECT pg_temp.demo('tenant.id')::uuid, (k.value ->> 'id')::uuid, 'Demo ' || k.key, 'm3k_demo', sha256(gen_random_uuid()::text::bytea),
       '{contact.read}', pg_temp.demo('user.id')::uuid, '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('access.api_keys')::jsonb) k
ON CONFLICT (tenant_id, id) DO UPDATE SET revoked_at = NULL;
-- A colleague whose three requests wait for the demo user. The policies gate what nobody does here.
INSERT INTO users (tenant_id, id, email, email_norm, full_name, email_verified_at)
SELECT pg_temp.demo('tenant.id')::uuid, (r ->> 'id')::uuid, r ->> 'email', r ->> 'email', r ->> 'full_name', '2025-01-01Z'
FROM (SELECT pg_temp.demo('approvals.requester')::jsonb) AS requester (r)
ON CONFLICT (tenant_id, id) DO UPDATE SET status = 'active';

INSERT INTO user_roles (tenant_id, user_id, role_id)
SELECT pg_temp.demo('tenant.id')::uuid, pg_temp.demo('approvals.requester.id')::uuid, r.id
FROM roles r WHERE r.tenant_id IS NULL AND r.code = 'manager'
ON CONFLICT DO NOTHING;

INSERT INTO approval_policies (tenant_id, id, name, action_code, object_type, conditions, created_at, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, (p.value ->> 'id')::uuid, 'Demo ' || p.key, 'entitlement.override', 'entitlements',
       '{"field": "changes", "op": "gt", "value": 20}', '2025-01-01Z', '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('approvals.policies')::jsonb) p
ON CONFLICT (tenant_id, id) DO UPDATE SET action_code = excluded.action_code, object_type = excluded.object_type,
    conditions = excluded.conditions, active = true, archived_at = NULL;

INSERT INTO approval_steps (tenant_id, id, policy_id, seq, kind, approver_mode, approver_ref, approver_user_id)
SELECT pg_temp.demo('tenant.id')::uuid, (p.value ->> 'step_id')::uuid, (p.value ->> 'id')::uuid, 1, 'sequential', 'user',
       pg_temp.demo('user.id'), pg_temp.demo('user.id')::uuid
FROM jsonb_each(pg_temp.demo('approvals.policies')::jsonb) p
ON CONFLICT DO NOTHING;

INSERT INTO contacts (tenant_id, id, first_name, name_norm, created_at, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, (r.value ->> 'contact_id')::uuid, 'Obsolete', 'obsolete', '2025-01-01Z', '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('approvals.requests')::jsonb) r
ON CONFLICT (tenant_id, id) DO UPDATE SET archived_at = NULL;

DELETE FROM approval_actions WHERE tenant_id = pg_temp.demo('tenant.id')::uuid
  AND request_id IN (SELECT (r.value ->> 'id')::uuid FROM jsonb_each(pg_temp.demo('approvals.requests')::jsonb) r);
INSERT INTO approval_requests (tenant_id, id, policy_id, action_code, object_type, object_id, title, command, payload,
                               requester_user_id, current_step, created_at, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, (r.value ->> 'id')::uuid, pg_temp.demo('approvals.policies.main.id')::uuid,
       'contact.delete', 'contact', (r.value ->> 'contact_id')::uuid, 'Delete a contact',
       jsonb_build_object('action', 'contact.delete', 'contact_id', r.value ->> 'contact_id'), '{}',
       pg_temp.demo('approvals.requester.id')::uuid, 1, '2025-01-01Z', '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('approvals.requests')::jsonb) r
ON CONFLICT (tenant_id, id) DO UPDATE
SET state = 'pending', current_step = 1, failure_reason = NULL, decided_at = NULL, executed_at = NULL;

INSERT INTO approval_request_steps (tenant_id, id, request_id, seq, stage, policy_id, policy_name, kind, approver_mode,
                                    approver_ref, approver_user_id, self_approval_allowed, state, opened_at)
SELECT pg_temp.demo('tenant.id')::uuid, (r.value ->> 'step_id')::uuid, (r.value ->> 'id')::uuid, 1, 1,
       pg_temp.demo('approvals.policies.main.id')::uuid, 'Demo main', 'sequential', 'user', pg_temp.demo('user.id'),
       pg_temp.demo('user.id')::uuid, false, 'open', '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('approvals.requests')::jsonb) r
ON CONFLICT (tenant_id, id) DO UPDATE SET state = 'open', decided_at = NULL;
INSERT INTO users (tenant_id, id, email, email_norm, full_name, status)
SELECT pg_temp.demo('tenant.id')::uuid, (p.value ->> 'id')::uuid, p.value ->> 'email', p.value ->> 'email',
       p.value ->> 'full_name', p.value ->> 'status'
FROM jsonb_each(pg_temp.demo('people')::jsonb) p
ON CONFLICT (tenant_id, id) DO UPDATE SET status = excluded.status, full_name = excluded.full_name, password_hash = NULL;

INSERT INTO user_names (tenant_id, word, user_id)
SELECT u.tenant_id, word, u.id FROM users u, string_to_table(lower(u.full_name), ' ') AS word
WHERE u.tenant_id = pg_temp.demo('tenant.id')::uuid
ON CONFLICT DO NOTHING;

INSERT INTO invites (tenant_id, id, user_id, purpose, inviter_id, token_hash, created_at, expires_at)
SELECT pg_temp.demo('tenant.id')::uuid, (p.value ->> 'invite_id')::uuid, (p.value ->> 'id')::uuid, 'invite',
       pg_temp.demo('user.id')::uuid, sha256(convert_to(p.value ->> 'token', 'UTF8')), '2025-01-01Z', '2100-01-01Z'
FROM jsonb_each(pg_temp.demo('people')::jsonb) p WHERE p.value ? 'token'
ON CONFLICT (tenant_id, id) DO UPDATE SET accepted_at = NULL, revoked_at = NULL;

INSERT INTO dictionary_codes (tenant_id, id, kind, code, label, created_at, updated_at)
SELECT pg_temp.demo('tenant.id')::uuid, (c.value ->> 'id')::uuid, c.value ->> 'kind', c.value ->> 'code', c.value ->> 'label',
       '2025-01-01Z', '2025-01-01Z'
FROM jsonb_each(pg_temp.demo('codes')::jsonb) c
ON CONFLICT (id) DO UPDATE SET label = excluded.label, is_active = true;
COMMIT;

-- A company that was provisioned and that nobody joined yet. In a transaction of its own: what the commit
-- audits is a line of the company that is entered then.
BEGIN;
SET LOCAL ROLE m3_owner;
SELECT set_config('app.current_tenant_id', pg_temp.demo('provisioned.tenant.id'), true),
       set_config('app.origin', '{"actor": "seed"}', true);
INSERT INTO tenants (id, name, slug)
VALUES (pg_temp.demo('provisioned.tenant.id')::uuid, pg_temp.demo('provisioned.tenant.name'), pg_temp.demo('provisioned.tenant.slug'))
ON CONFLICT (id) DO UPDATE SET status = 'active';
INSERT INTO users (tenant_id, id, email, email_norm, full_name, status)
VALUES (pg_temp.demo('provisioned.tenant.id')::uuid, pg_temp.demo('provisioned.admin.id')::uuid,
        pg_temp.demo('provisioned.admin.email'), pg_temp.demo('provisioned.admin.email'),
        pg_temp.demo('provisioned.admin.full_name'), 'invited')
ON CONFLICT (tenant_id, id) DO NOTHING;
INSERT INTO user_roles (tenant_id, user_id, role_id)
SELECT pg_temp.demo('provisioned.tenant.id')::uuid, pg_temp.demo('provisioned.admin.id')::uuid, r.id
FROM roles r WHERE r.tenant_id IS NULL AND r.code = 'super_admin'
ON CONFLICT DO NOTHING;
DELETE FROM idempotency_keys WHERE tenant_id = pg_temp.demo('provisioned.tenant.id')::uuid AND key LIKE 'sample-%';
COMMIT;

-- A company that was closed just now.
BEGIN;
SET LOCAL ROLE m3_owner;
SELECT set_config('app.current_tenant_id', pg_temp.demo('closed.tenant.id'), true),
       set_config('app.origin', '{"actor": "seed"}', true);
INSERT INTO tenants (id, name, slug)
VALUES (pg_temp.demo('closed.tenant.id')::uuid, pg_temp.demo('closed.tenant.name'), pg_temp.demo('closed.tenant.slug'))
ON CONFLICT (id) DO UPDATE SET status = 'active';
UPDATE tenants SET status = 'closed' WHERE id = pg_temp.demo('closed.tenant.id')::uuid;
COMMIT;
