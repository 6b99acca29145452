-- People: what they are called in their company, who was invited, what they want to be told; the
-- companies as who runs the system sees them; what is new (S12, S21.7).

-- Words that a company chooses from (S12.3). Those without a tenant are everybody's.
CREATE TABLE dictionary_codes (
    id uuid PRIMARY KEY,
    tenant_id uuid REFERENCES tenants (id),
    kind text NOT NULL CHECK (kind IN ('job_title', 'department')),
    code text NOT NULL CHECK (length(code) <= 50),
    label text NOT NULL CHECK (length(label) <= 100),
    description text NOT NULL DEFAULT '' CHECK (length(description) <= 500),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (tenant_id, kind, code)
);
SELECT app.protect('dictionary_codes');
CREATE POLICY system ON dictionary_codes FOR SELECT TO m3_app USING (tenant_id IS NULL);
CREATE POLICY seed ON dictionary_codes TO m3_owner USING (tenant_id IS NULL) WITH CHECK (tenant_id IS NULL);
INSERT INTO dictionary_codes (id, kind, code, label, created_at, updated_at)
SELECT ('00000000-0000-7000-8000-0000000001' || lpad(row_number() OVER ()::text, 2, '0'))::uuid, kind, code, label,
       '2026-01-01Z', '2026-01-01Z'
FROM (VALUES
    ('job_title', 'broker', 'Broker'),
    ('job_title', 'sales_agent', 'Sales agent'),
    ('job_title', 'sales_manager', 'Sales manager'),
    ('job_title', 'marketing_specialist', 'Marketing specialist'),
    ('job_title', 'property_consultant', 'Property consultant'),
    ('job_title', 'accountant', 'Accountant'),
    ('job_title', 'general_manager', 'General manager'),
    ('department', 'sales', 'Sales'),
    ('department', 'marketing', 'Marketing'),
    ('department', 'finance', 'Finance'),
    ('department', 'inventory', 'Inventory'),
    ('department', 'customer_care', 'Customer care'),
    ('department', 'management', 'Management')) AS seeds (kind, code, label);
SELECT app.audit_table('dictionary_codes', 'dictionary_code');

ALTER TABLE users
    ADD COLUMN avatar_url text CHECK (length(avatar_url) <= 2048),
    ADD COLUMN job_title_id uuid REFERENCES dictionary_codes (id),
    ADD COLUMN department_id uuid REFERENCES dictionary_codes (id);
-- deleting a code asks who has it, whatever their company
CREATE INDEX users_job_title ON users (job_title_id) WHERE job_title_id IS NOT NULL;
CREATE INDEX users_department ON users (department_id) WHERE department_id IS NOT NULL;
CREATE INDEX users_by_age ON users (tenant_id, created_at, id);
CREATE INDEX users_by_email ON users (tenant_id, email_norm, id);

CREATE FUNCTION app.every_tenant() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$ SELECT t.id FROM tenants t $$;
ALTER FUNCTION app.every_tenant OWNER TO m3_lookup;

-- The words of a user's name, folded, as contact_names are of contacts.
CREATE TABLE user_names (
    tenant_id uuid NOT NULL,
    word text COLLATE "C" NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, word, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX user_names_user ON user_names (tenant_id, user_id);
-- Whom earlier versions made, tenant by tenant because policies hold for the owner, too.
DO $$
DECLARE
    tenant uuid;
BEGIN
    FOR tenant IN SELECT id FROM app.every_tenant() AS id LOOP
        PERFORM set_config('app.current_tenant_id', tenant::text, true);
        INSERT INTO user_names (tenant_id, word, user_id)
        SELECT u.tenant_id, left(word, 64), u.id
        FROM users u, regexp_split_to_table(lower(u.full_name), '[^[:alnum:]]+') AS word
        WHERE u.tenant_id = tenant AND word <> '' ON CONFLICT DO NOTHING;
    END LOOP;
    PERFORM set_config('app.current_tenant_id', '', true);
END
$$;
DROP FUNCTION app.every_tenant();
SELECT app.protect('user_names');

-- Links that a user chooses a password with, which proves that the address is theirs: the one of an
-- invitation makes the user active. Good once and for seven days; only the token's hash is kept.
CREATE TABLE invites (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('invite', 'password')),
    inviter_id uuid,
    token_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, inviter_id) REFERENCES users (tenant_id, id) ON DELETE SET NULL (inviter_id)
);
CREATE INDEX invites_user ON invites (tenant_id, user_id);
SELECT app.protect('invites');
SELECT app.audit_table('invites', 'invite', 'token_hash');

-- What a user wants to be told, where and when (S2.3, S14.4); no row: the defaults. One schema, in
-- `identity::preference`, says what `prefs` may hold.
CREATE TABLE notification_preferences (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    prefs jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
SELECT app.protect('notification_preferences');
SELECT app.audit_table('notification_preferences', 'notification_preference');

-- Releases (S21.9): nobody's data, written by migrations only.
CREATE TABLE release_log (
    id uuid PRIMARY KEY,
    version text NOT NULL UNIQUE,
    sha text,
    env text NOT NULL DEFAULT 'prod',
    released_at timestamptz NOT NULL,
    notes text NOT NULL,
    toggles jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX release_log_by_age ON release_log (released_at, id);
GRANT SELECT ON release_log TO m3_app;
INSERT INTO release_log (id, version, released_at, notes) VALUES
    ('00000000-0000-7000-8000-000000000201', '0.1.0', '2026-11-01T00:00:00Z',
     'Contacts, WhatsApp and SMS conversations with your customers.'),
    ('00000000-0000-7000-8000-000000000202', '0.2.0', '2026-11-21T00:00:00Z',
     'Invite colleagues, give them roles and groups, and see who did what.');

-- The companies, for who runs the system: a page of them in the order of their creation.
CREATE INDEX tenants_by_age ON tenants (created_at, id);
CREATE FUNCTION app.tenants_page(wanted_status text, after_at timestamptz, after_id uuid, newest_first boolean, page_size bigint)
RETURNS TABLE (id uuid, name text, slug text, status text, created_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
BEGIN
    IF newest_first THEN
        RETURN QUERY SELECT t.id, t.name, t.slug, t.status, t.created_at FROM tenants t
            WHERE (wanted_status IS NULL OR t.status = wanted_status)
              AND (after_at IS NULL OR (t.created_at, t.id) < (after_at, after_id))
            ORDER BY t.created_at DESC, t.id DESC LIMIT page_size;
    ELSE
        RETURN QUERY SELECT t.id, t.name, t.slug, t.status, t.created_at FROM tenants t
            WHERE (wanted_status IS NULL OR t.status = wanted_status)
              AND (after_at IS NULL OR (t.created_at, t.id) > (after_at, after_id))
            ORDER BY t.created_at, t.id LIMIT page_size;
    END IF;
END
$$;
ALTER FUNCTION app.tenants_page OWNER TO m3_lookup;
