-- Provider accounts, conversations, messages, deliveries, webhooks.

CREATE TABLE channel_accounts (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    channel text NOT NULL CHECK (channel IN ('whatsapp', 'sms', 'email')),
    provider text NOT NULL CHECK (provider IN ('meta', 'twilio', 'infobip', 'brevo', 'devstub')),
    -- Meta: the WhatsApp Business account; Twilio: the AccountSid
    provider_account_id text NOT NULL,
    -- what webhooks name the account by. Meta: the phone_number_id; Twilio: the AccountSid and number
    provider_key text NOT NULL,
    display_phone_number text NOT NULL,
    label text,
    credentials_sealed bytea NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    -- when the webhook edge was last told of the account as it is now; NULL while it has to be
    edge_published_at timestamptz,
    deleted_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX channel_accounts_key ON channel_accounts (tenant_id, provider, provider_key) WHERE deleted_at IS NULL;
CREATE INDEX channel_accounts_by_age ON channel_accounts (tenant_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX channel_accounts_unpublished ON channel_accounts (updated_at) WHERE edge_published_at IS NULL;
SELECT app.protect('channel_accounts');
SELECT app.audit_table('channel_accounts', 'channel_account', 'credentials_sealed');

CREATE TABLE conversations (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    channel text NOT NULL CHECK (channel IN ('whatsapp', 'sms', 'email')),
    channel_account_id uuid NOT NULL,
    contact_id uuid NOT NULL,
    -- the address the contact writes from
    peer_sealed bytea NOT NULL,
    peer_hash bytea NOT NULL,
    peer_masked text NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'pending', 'closed')),
    assignee_user_id uuid,
    unread_count integer NOT NULL DEFAULT 0,
    last_message_id uuid,
    last_message_at timestamptz NOT NULL,
    -- until when a free-form message may be sent (WhatsApp: 24 hours after the contact's last)
    window_expires_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, channel_account_id, peer_hash),
    FOREIGN KEY (tenant_id, channel_account_id) REFERENCES channel_accounts (tenant_id, id),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id),
    FOREIGN KEY (tenant_id, assignee_user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX conversations_recent ON conversations (tenant_id, last_message_at, id);
CREATE INDEX conversations_by_state ON conversations (tenant_id, state, last_message_at, id);
CREATE INDEX conversations_by_assignee ON conversations (tenant_id, assignee_user_id, last_message_at, id);
CREATE INDEX conversations_by_contact ON conversations (tenant_id, contact_id, last_message_at, id);
SELECT app.protect('conversations');

-- How far a delivery has come; a status only ever moves up. A failure outranks `sent`, and is
-- outranked by the proof that the message arrived.
CREATE FUNCTION app.delivery_rank(status text) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (CASE status WHEN 'received' THEN 0 WHEN 'queued' THEN 0 WHEN 'sending' THEN 10 WHEN 'sent' THEN 20
    WHEN 'failed' THEN 25 WHEN 'bounced' THEN 25 WHEN 'expired' THEN 25 WHEN 'dead' THEN 25
    WHEN 'delivered' THEN 30 WHEN 'read' THEN 40 END)::smallint;

CREATE TABLE messages (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    direction text NOT NULL CHECK (direction IN ('inbound', 'outbound')),
    provider text NOT NULL,
    provider_message_id text,
    type text NOT NULL,
    body text NOT NULL,
    media jsonb NOT NULL DEFAULT '[]',
    template_code text,
    -- the provider's message this one answers
    reply_to_provider_message_id text,
    -- what the provider sent, as it came, sealed: it names phone numbers
    raw_sealed bytea,
    status text NOT NULL CHECK (status IN ('received', 'queued', 'sending', 'sent', 'delivered', 'read', 'failed', 'dead')),
    error_code text,
    error_title text,
    sent_by_user_id uuid,
    sent_at timestamptz,
    received_at timestamptz,
    delivered_at timestamptz,
    read_at timestamptz,
    -- when it was written, by the provider's clock where it is the provider's: the order of a conversation
    occurred_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, provider, provider_message_id),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations (tenant_id, id)
);
CREATE INDEX messages_of_conversation ON messages (tenant_id, conversation_id, occurred_at, id);
SELECT app.protect('messages');

-- Every delivery to a person (S2.3). A reply's row has the id of its message.
CREATE TABLE messages_outbox (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    id uuid NOT NULL,
    channel text NOT NULL CHECK (channel IN ('whatsapp', 'sms', 'email', 'inbox')),
    channel_account_id uuid,
    contact_id uuid,
    recipient_sealed bytea NOT NULL,
    -- {"text"} or {"template": {"name", "language", "parameters"}}, sealed
    content_sealed bytea NOT NULL,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN
        ('queued', 'sending', 'sent', 'delivered', 'failed', 'bounced', 'expired', 'dead')),
    attempts smallint NOT NULL DEFAULT 0,
    -- the truth about when to try next; the queue only wakes the sender
    next_attempt_at timestamptz NOT NULL,
    claimed_at timestamptz,
    provider text,
    provider_message_id text,
    error_code text,
    error_title text,
    request_id text,
    sent_at timestamptz,
    delivered_at timestamptz,
    failed_at timestamptz,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX messages_outbox_due ON messages_outbox (next_attempt_at) WHERE status = 'queued';
CREATE INDEX messages_outbox_claimed ON messages_outbox (claimed_at) WHERE status = 'sending';
CREATE INDEX messages_outbox_reported ON messages_outbox (tenant_id, provider, provider_message_id);
SELECT app.protect('messages_outbox', 'SELECT, INSERT, UPDATE');
INSERT INTO app.partitioned_tables VALUES ('messages_outbox', 13);

-- What providers said of deliveries, also when it came before our own write.
CREATE TABLE delivery_reports (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    provider text NOT NULL,
    provider_message_id text NOT NULL,
    status text NOT NULL CHECK (status IN ('sent', 'delivered', 'read', 'failed')),
    occurred_at timestamptz NOT NULL,
    error_code text,
    error_title text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, provider, provider_message_id, status)
);
CREATE INDEX delivery_reports_age ON delivery_reports (tenant_id, created_at);
SELECT app.protect('delivery_reports');

-- What providers posted. Unresolved ones name an account that nobody has.
CREATE TABLE webhook_events (
    id uuid NOT NULL,
    tenant_id uuid REFERENCES tenants (id),
    provider text NOT NULL,
    account_key text NOT NULL,
    external_event_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('message', 'status', 'other')),
    status text NOT NULL CHECK (status IN ('processed', 'unresolved', 'failed')),
    payload_sealed bytea NOT NULL,
    request_id text,
    received_at timestamptz NOT NULL,
    processed_at timestamptz NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX webhook_events_recent ON webhook_events (tenant_id, id);
SELECT app.protect('webhook_events', 'SELECT, INSERT');
CREATE POLICY unresolved ON webhook_events FOR INSERT TO m3_app WITH CHECK (tenant_id IS NULL AND status = 'unresolved');
INSERT INTO app.partitioned_tables VALUES ('webhook_events', 2);

-- Which events were worked on: what makes a repeated webhook harmless. A partitioned table can't
-- hold this as a constraint, so it stands apart and is pruned after the providers' last retry.
CREATE TABLE webhook_event_keys (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    provider text NOT NULL,
    account_key text NOT NULL,
    external_event_id text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, provider, account_key, external_event_id)
);
CREATE INDEX webhook_event_keys_age ON webhook_event_keys (created_at);
SELECT app.protect('webhook_event_keys', 'SELECT, INSERT');

-- Sweeps across tenants: who has work, never what it is.
GRANT SELECT ON messages_outbox, channel_accounts TO m3_lookup;
GRANT SELECT, DELETE ON webhook_event_keys, delivery_reports TO m3_lookup;
CREATE POLICY lookup ON messages_outbox FOR SELECT TO m3_lookup USING (true);
CREATE POLICY lookup ON channel_accounts FOR SELECT TO m3_lookup USING (true);
CREATE POLICY lookup ON webhook_event_keys TO m3_lookup USING (true);
CREATE POLICY lookup ON delivery_reports TO m3_lookup USING (true);

-- Deliveries that are due and that nobody woke the sender for: every tenant's oldest before any
-- tenant's second oldest, so that a flood of one does not crowd out the others.
CREATE FUNCTION app.due_deliveries(due_before timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT ranked.tenant_id, ranked.id FROM (
        SELECT d.tenant_id, d.id, d.next_attempt_at,
               row_number() OVER (PARTITION BY d.tenant_id ORDER BY d.next_attempt_at) AS nth
        FROM (SELECT * FROM messages_outbox o WHERE o.status = 'queued' AND o.next_attempt_at < due_before
              ORDER BY o.next_attempt_at LIMIT 10000) d) ranked
    ORDER BY ranked.nth, ranked.next_attempt_at LIMIT at_most
$$;

-- Deliveries that a sender claimed and never finished.
CREATE FUNCTION app.abandoned_deliveries(claimed_before timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT o.tenant_id, o.id FROM messages_outbox o
    WHERE o.status = 'sending' AND o.claimed_at < claimed_before ORDER BY o.claimed_at LIMIT at_most
$$;

-- Accounts that the webhook edge was not told of.
CREATE FUNCTION app.unpublished_accounts(changed_before timestamptz, at_most integer) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT a.tenant_id, a.id FROM channel_accounts a
    WHERE a.edge_published_at IS NULL AND a.updated_at < changed_before ORDER BY a.updated_at LIMIT at_most
$$;

-- Forgets event keys and delivery reports past every provider's last retry; returns how many.
CREATE FUNCTION app.forget_webhook_traces(older_than timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    WITH keys AS (DELETE FROM webhook_event_keys k WHERE k.created_at < older_than RETURNING 1),
         reports AS (DELETE FROM delivery_reports r WHERE r.created_at < older_than RETURNING 1)
    SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM reports)
$$;

ALTER FUNCTION app.due_deliveries OWNER TO m3_lookup;
ALTER FUNCTION app.abandoned_deliveries OWNER TO m3_lookup;
ALTER FUNCTION app.unpublished_accounts OWNER TO m3_lookup;
ALTER FUNCTION app.forget_webhook_traces OWNER TO m3_lookup;

SELECT app.maintain_partitions(now(), 3);
