-- Contacts and how to reach them (S3.3).

CREATE TABLE contacts (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    first_name text NOT NULL,
    last_name text,
    -- folded for sorting; see contact_names for search
    name_norm text COLLATE "C" NOT NULL,
    job_title text,
    lifecycle_stage text NOT NULL DEFAULT 'lead'
        CHECK (lifecycle_stage IN ('lead', 'prospect', 'customer', 'inactive', 'lost')),
    source text NOT NULL DEFAULT 'manual' CHECK (source IN ('manual', 'inbound_message', 'import')),
    owner_user_id uuid,
    archived_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX contacts_by_age ON contacts (tenant_id, created_at, id) WHERE archived_at IS NULL;
CREATE INDEX contacts_by_name ON contacts (tenant_id, name_norm, id) WHERE archived_at IS NULL;
CREATE INDEX contacts_by_owner ON contacts (tenant_id, owner_user_id, created_at, id) WHERE archived_at IS NULL;
CREATE INDEX contacts_by_stage ON contacts (tenant_id, lifecycle_stage, created_at, id) WHERE archived_at IS NULL;
SELECT app.protect('contacts');
SELECT app.audit_table('contacts', 'contact');

-- The words of a contact's name, folded; a prefix search is a range of them, which row-level
-- security lets the index answer (LIKE and full text it would not).
CREATE TABLE contact_names (
    tenant_id uuid NOT NULL,
    word text COLLATE "C" NOT NULL,
    contact_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, word, contact_id),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX contact_names_contact ON contact_names (tenant_id, contact_id);
SELECT app.protect('contact_names');

CREATE TABLE contact_channels (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    contact_id uuid NOT NULL,
    type text NOT NULL CHECK (type IN ('email', 'phone', 'whatsapp')),
    value_sealed bytea NOT NULL,
    -- keyed hash of the normalised value
    value_hash bytea NOT NULL,
    value_masked text NOT NULL,
    -- one contact of a tenant claims a value; its further channels with the same value don't
    claims_value boolean NOT NULL,
    is_primary boolean NOT NULL DEFAULT false,
    verified_at timestamptz,
    opt_in boolean NOT NULL DEFAULT false,
    opt_in_source text,
    opt_out_at timestamptz,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT contact_channels_once UNIQUE (tenant_id, contact_id, type, value_hash)
);
CREATE UNIQUE INDEX contact_channels_claim ON contact_channels (tenant_id, value_hash) WHERE claims_value;
SELECT app.protect('contact_channels');
SELECT app.audit_table('contact_channels', 'contact.channel', 'value_sealed', 'value_hash');
