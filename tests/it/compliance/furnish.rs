//! A user of whom every table holds something.

use crate::support::World;
use kernel::{Caller, Origin, Phone, TenantId};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

pub const USER_PHONE: &str = "+201277766655";
/// What the provider calls a mail to the user.
pub const MAIL: &str = "<mail-to-the-hawk@brevo.example>";
pub const PORTRAIT: &str = "https://cdn.example/hooded-portrait.png";
/// What the user said of a request.
pub const SAID: &str = "only over the merlin perch";
/// What a colleague said of a request that is about the user.
pub const SAID_OF: &str = "too wide for the weathering lawn";
/// What the user wants of notifications.
pub const HOURS: &str = "not during the moult";
/// An authenticator's secret.
pub const SECRET: &str = "jesses-and-bells";

/// What a user made, decided or was counted for keeps their id: its row names nobody any more.
const STAYS: [&str; 14] = [
    "api_keys.created_by",
    "approval_actions.approver_user_id",
    "approval_request_steps.approver_user_id",
    "approval_request_steps.manager_of_user_id",
    "approval_requests.requester_user_id",
    "approval_steps.approver_user_id",
    "audit_logs.actor_user_id",
    "entitlement_overrides.set_by",
    "invites.inviter_id",
    "messages.sent_by_user_id",
    "seat_ledger.user_id",
    "users.manager_user_id",
    // Records that were handed over before.
    "contacts.owner_user_id",
    "conversations.assignee_user_id",
];

/// How many rows of each table name the user, by every column that can name one but those of `STAYS`.
pub async fn rows_of(world: &World, id: Uuid) -> BTreeMap<String, i64> {
    rows_naming(world, id, "users", "%user\\_id").await
}

/// As [`rows_of`], of a contact.
pub async fn rows_of_contact(world: &World, id: Uuid) -> BTreeMap<String, i64> {
    rows_naming(world, id, "contacts", "%contact\\_id").await
}

async fn rows_naming(world: &World, id: Uuid, people: &str, column: &str) -> BTreeMap<String, i64> {
    let admin = world.admin_sql().await;
    let columns = "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'tenant_id'
          AND (a.attname LIKE $2 OR EXISTS (
              SELECT FROM pg_constraint k WHERE k.contype = 'f' AND k.conrelid = c.oid
                 AND k.confrelid = $1::text::regclass AND a.attnum = ANY (k.conkey)))";
    let mut found = BTreeMap::new();
    for column in admin.query(columns, &[&people, &column]).await.unwrap() {
        let (table, column): (String, String) = (column.get(0), column.get(1));
        let place = format!("{table}.{column}");
        if STAYS.contains(&place.as_str()) {
            continue;
        }
        let count = format!("SELECT count(*) FROM {table} WHERE tenant_id = $1 AND {column} = $2");
        let row = admin.query_one(&count, &[&world.tenant.0, &id]).await.unwrap();
        found.insert(place, row.get(0));
    }
    found
}

/// What other screens leave, of a company and its user.
const MORE: [&str; 10] = [
    "INSERT INTO user_identities (tenant_id, id, user_id, provider, subject_hash, created_at)
     VALUES ($1, gen_random_uuid(), $2, 'google', 'hawk-subject', now())",
    "INSERT INTO backup_codes (tenant_id, user_id, code_hash, created_at) VALUES ($1, $2, 'x', now())",
    "INSERT INTO login_challenges (tenant_id, id, user_id, token_hash, created_at, expires_at)
     VALUES ($1, $2, $2, 'x', now(), now())",
    "INSERT INTO signup_keys (key_hash, tenant_id, user_id, fingerprint, created_at)
     VALUES (uuid_send($2), $1, $2, 'x', now())",
    "INSERT INTO idempotency_keys (tenant_id, user_id, key, fingerprint, created_at) VALUES ($1, $2, 'x', 'x', now())",
    "INSERT INTO entitlement_overrides (tenant_id, scope, scope_id, code, limit_value, created_at, updated_at)
     VALUES ($1, 'user', $2, 'contacts.max', 5, now(), now())",
    "INSERT INTO approval_policies (tenant_id, id, name, action_code, object_type, created_at, updated_at)
     VALUES ($1, $2, 'Deletes', 'contact.delete', 'contact', now(), now())",
    "INSERT INTO approval_requests (tenant_id, id, policy_id, action_code, object_type, object_id, title, command, payload,
                                    requester_user_id, current_step, created_at, updated_at)
     VALUES ($1, $2, $2, 'contact.delete', 'contact', $2, 'Delete', '{}', '{}', $2, 1, now(), now())",
    "INSERT INTO approval_request_steps (tenant_id, id, request_id, seq, stage, policy_id, policy_name, kind, approver_mode,
                                         approver_ref, self_approval_allowed, state)
     VALUES ($1, $2, $2, 1, 1, $2, 'Deletes', 'flat', 'role', 'admin', true, 'approved')",
    "UPDATE users SET manager_user_id = $2 WHERE tenant_id = $1 AND id = $2",
];

/// One of our functions at work for whoever called it from here.
#[expect(clippy::disallowed_methods, reason = "tests stand in for a function of ours")]
fn function_at(tenant: TenantId) -> Caller {
    let origin = Origin {
        ip: Some("203.0.113.88".to_owned()),
        user_agent: Some("Saker/2.0 (Lanner)".to_owned()),
        ..Origin::default()
    };
    Caller::verified_system(tenant, "auth", origin)
}

/// What other screens give a user: a phone, settings, a group, a key.
pub async fn furnish(world: &World, id: Uuid) {
    let (sealer, tenant) = (testkit::keys::sealer(), world.tenant);
    let (caller, colleague) = (function_at(tenant), world.user("read_only").await);
    let phone = Phone::parse(USER_PHONE).unwrap();
    let sealed = sealer
        .seal(&format!("{tenant}/users.phone"), USER_PHONE.as_bytes())
        .unwrap()
        .0;
    let hash = sealer.lookup_hash(&format!("{tenant}/phone"), USER_PHONE);
    let seal = |field: String, text: &str| {
        sealer
            .seal(&format!("{tenant}/{field}"), text.as_bytes())
            .unwrap()
            .0
    };
    let secret = seal(format!("totp_secrets.secret/{id}"), SECRET);
    let posted = seal(
        "webhook_events.payload".to_owned(),
        &json!({ "to": "Idris@Hawk-Mews.example" }).to_string(),
    );
    let write = world.test.db.write(&caller, async |tx| {
        let phone_of = "UPDATE users SET phone_sealed = $3, phone_hash = $4, phone_masked = $5, timezone = 'Africa/Cairo', locale = 'ar', avatar_url = $6 WHERE tenant_id = $1 AND id = $2";
        tx.execute(phone_of, &[&tenant.0, &id, &sealed, &hash, &phone.masked(), &PORTRAIT]).await?;
        let group = "INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at) VALUES ($1, $2, 'hunt', 'Hunt', now(), now())";
        tx.execute(group, &[&tenant.0, &id]).await?;
        let member = "INSERT INTO group_members (tenant_id, group_id, user_id, added_at) VALUES ($1, $2, $2, now())";
        tx.execute(member, &[&tenant.0, &id]).await?;
        let key = "INSERT INTO api_keys (tenant_id, id, name, prefix, secret_hash, scopes, created_by, created_at)
                   VALUES ($1, $2, 'Sync', 'm3k_1', 'x', '{contact.read}', $2, now())";
        tx.execute(key, &[&tenant.0, &id]).await?;
        let invite = "INSERT INTO invites (tenant_id, id, user_id, purpose, token_hash, created_at, expires_at)
                      VALUES ($1, gen_random_uuid(), $2, 'invite', 'x', now(), now())";
        tx.execute(invite, &[&tenant.0, &id]).await?;
        let link = "INSERT INTO user_links (tenant_id, user_id, purpose, token_hash, email_norm, created_at, expires_at)
                    SELECT tenant_id, id, 'verify_email', 'x', email_norm, now(), now() FROM users WHERE tenant_id = $1 AND id = $2 ON CONFLICT DO NOTHING";
        tx.execute(link, &[&tenant.0, &id]).await?;
        let words = "INSERT INTO user_names (tenant_id, user_id, word)
                     SELECT tenant_id, id, word FROM users, string_to_table(lower(full_name), ' ') AS word
                     WHERE tenant_id = $1 AND id = $2 ON CONFLICT DO NOTHING";
        tx.execute(words, &[&tenant.0, &id]).await?;
        let verifying = "INSERT INTO phone_verifications (tenant_id, id, user_id, channel, phone_sealed, phone_hash, phone_masked, code_hash, created_at, sent_at, expires_at)
                         SELECT tenant_id, gen_random_uuid(), id, 'sms', phone_sealed, phone_hash, phone_masked, 'x', now(), now(), now()
                         FROM users WHERE tenant_id = $1 AND id = $2";
        tx.execute(verifying, &[&tenant.0, &id]).await?;
        for more in MORE {
            tx.execute(more, &[&tenant.0, &id]).await?;
        }
        let said = "INSERT INTO approval_actions (tenant_id, id, request_id, step_seq, approver_user_id, decision, comment, created_at)
                    VALUES ($1, $2, $2, 1, $2, 'approve', $3, now())";
        tx.execute(said, &[&tenant.0, &id, &SAID]).await?;
        let said = "INSERT INTO approval_actions (tenant_id, id, request_id, step_seq, approver_user_id, decision, comment, created_at)
                    VALUES ($1, $3, $2, 1, $3, 'approve', $4, now())";
        tx.execute(said, &[&tenant.0, &id, &colleague.user_id, &SAID_OF]).await?;
        let wants = "INSERT INTO notification_preferences (tenant_id, user_id, prefs, updated_at) VALUES ($1, $2, $3, now())";
        tx.execute(wants, &[&tenant.0, &id, &json!({ "quiet": HOURS })]).await?;
        let authenticator = "INSERT INTO totp_secrets (tenant_id, user_id, secret_sealed, created_at) VALUES ($1, $2, $3, now())";
        tx.execute(authenticator, &[&tenant.0, &id, &secret]).await?;
        let report = "INSERT INTO delivery_reports (tenant_id, provider, provider_message_id, status, occurred_at, created_at)
                      VALUES ($1, 'brevo', $2, 'delivered', now(), now())";
        tx.execute(report, &[&tenant.0, &MAIL]).await?;
        let key = "INSERT INTO webhook_event_keys (tenant_id, provider, account_key, external_event_id, created_at)
                   VALUES ($1, 'brevo', 'x', $2 || ':delivered', now())";
        tx.execute(key, &[&tenant.0, &MAIL]).await?;
        let event = "INSERT INTO webhook_events (id, tenant_id, provider, account_key, external_event_id, kind, status, payload_sealed, received_at, processed_at)
                     VALUES ($2, $1, 'brevo', 'x', $3 || ':delivered', 'status', 'processed', $4, now(), now())";
        tx.execute(event, &[&tenant.0, &tx.clock().id(), &MAIL, &posted]).await?;
        let to = notifications::notice::To {
            user_id: Some(id),
            channel: notifications::notice::Channel::Inbox,
            address: "",
            locale: "en",
        };
        let notice = notifications::notice::Notice::InviteAccepted {
            user_id: id,
            name: "Idris Marzouqi-Hawk".to_owned(),
        };
        notifications::notice::send(&tx, &to, &notice).await?;
        // An invitation of theirs that waits.
        let invitation = notifications::notice::Notice::Invite {
            url: "https://app.test/accept-invite".to_owned(),
            tenant_name: "Mews".to_owned(),
            inviter: "Idris Marzouqi-Hawk".to_owned(),
            inviter_id: Some(id),
        };
        let invited = notifications::notice::To {
            user_id: Some(colleague.user_id),
            channel: notifications::notice::Channel::Email,
            address: "invited@falconry.example",
            locale: "en",
        };
        notifications::notice::send(&tx, &invited, &invitation).await?;
        // What a colleague was told of them, in the inbox and in a mail that waits.
        let colleague = [colleague.user_id].into_iter();
        notifications::people::tell(&tx, colleague, &notice).await
    });
    write.await.unwrap();
}
