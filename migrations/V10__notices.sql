-- System messages: what a delivery is for, whose it is, forgetting what it said, and the inbox (S2).

-- conversation: a reply, which its conversation shows for good. notice, otp: said once, and nobody's
-- to read afterwards.
ALTER TABLE messages_outbox
    ADD COLUMN purpose text NOT NULL DEFAULT 'conversation' CHECK (purpose IN ('conversation', 'notice', 'otp')),
    ADD COLUMN user_id uuid,
    ALTER COLUMN content_sealed DROP NOT NULL,
    ADD CHECK (content_sealed IS NOT NULL OR status NOT IN ('queued', 'sending')),
    ADD FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE SET NULL (user_id);
CREATE INDEX messages_outbox_user ON messages_outbox (tenant_id, user_id) WHERE user_id IS NOT NULL;

-- Codes and links open accounts, so they are gone once nothing can send them any more, whichever
-- statement settles the delivery.
CREATE FUNCTION app.forget_content() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    NEW.content_sealed := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER forget_content BEFORE UPDATE ON messages_outbox FOR EACH ROW
    WHEN (NEW.purpose <> 'conversation' AND NEW.status NOT IN ('queued', 'sending') AND NEW.content_sealed IS NOT NULL)
    EXECUTE FUNCTION app.forget_content();

-- What a user reads inside the application. Sealed: titles and bodies name people.
CREATE TABLE inbox_messages (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- which notice it is: approval_requested, account_suspended, …
    kind text NOT NULL CHECK (kind ~ '^[a-z_]{1,40}$'),
    title_sealed bytea NOT NULL,
    body_sealed bytea NOT NULL,
    -- where a click leads; names records by id only
    link_url text CHECK (length(link_url) <= 2048),
    read_at timestamptz,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX inbox_messages_user ON inbox_messages (tenant_id, user_id, created_at, id);
SELECT app.protect('inbox_messages');
