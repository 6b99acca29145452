-- The fixed part of the demo tenant: what the samples in events/ name by id. Run as administrator by
-- infra/demo, any number of times: it puts these rows back as they were and touches no other.
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

INSERT INTO users (tenant_id, id, email, email_norm, full_name, password_hash, email_verified_at)
VALUES (pg_temp.demo('tenant.id')::uuid, pg_temp.demo('user.id')::uuid, pg_temp.demo('user.email'),
        pg_temp.demo('user.email'), pg_temp.demo('user.full_name'), pg_temp.demo('user.password_hash'), '2025-01-01Z')
ON CONFLICT (tenant_id, id) DO UPDATE
SET password_hash = excluded.password_hash, status = 'active', email_verified_at = excluded.email_verified_at, twofa_methods = '{}';
DELETE FROM totp_secrets WHERE tenant_id = pg_temp.demo('tenant.id')::uuid AND user_id = pg_temp.demo('user.id')::uuid;

INSERT INTO user_roles (tenant_id, user_id, role_id)
SELECT pg_temp.demo('tenant.id')::uuid, pg_temp.demo('user.id')::uuid, r.id
FROM roles r WHERE r.tenant_id IS NULL AND r.code = 'super_admin'
ON CONFLICT DO NOTHING;

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
        '2025-01-01Z', '2025-01-01Z')
ON CONFLICT (tenant_id, id) DO UPDATE
SET first_name = excluded.first_name, last_name = excluded.last_name, name_norm = excluded.name_norm, archived_at = NULL;

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
COMMIT;
