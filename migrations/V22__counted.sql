-- What is counted of messages, and lines of the audit log for changes of several rows.

-- A message counts once, and when the provider accepts it: when its row first knows the provider's id of
-- it, from whichever of our record and the provider's reports says so first. At commit, so that a
-- company's senders wait for each other no longer than that takes.
DROP TRIGGER count_sent ON messages_outbox;
CREATE CONSTRAINT TRIGGER count_sent AFTER UPDATE ON messages_outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.provider_message_id IS NULL AND NEW.provider_message_id IS NOT NULL
          AND coalesce(OLD.sent_at, OLD.delivered_at) IS NULL)
    EXECUTE FUNCTION app.count_sent();

-- An event of a change that is several rows, as one line of the audit log, beside the rows' own. At
-- commit: who takes the company's chain of lines earlier waits with it for other rows, and for whoever
-- holds those and waits for the chain.
CREATE FUNCTION app.audit_event() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM app.audit(NEW.type, TG_ARGV[0], NEW.entity_id, NULL, NEW.payload);
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER audited_of_user AFTER INSERT ON event_outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.type = 'user.role.changed')
    EXECUTE FUNCTION app.audit_event('user');
CREATE CONSTRAINT TRIGGER audited_of_role AFTER INSERT ON event_outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.type = 'role.hierarchy.changed')
    EXECUTE FUNCTION app.audit_event('role');
