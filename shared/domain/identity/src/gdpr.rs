//! What is known of a user as a person: to hand out, or to erase (S18.5). Users made records and
//! decisions that stay, so an erased user stays as a row that names nobody.

use audit::gdpr::{PAGE, Record, Traces};
use db::{Row, Tx};
use kernel::{Error, Result};
use serde_json::Value;
use uuid::Uuid;

/// What an erased user is called.
pub const ERASED_NAME: &str = "Erased user";

const NAME: &str = "SELECT full_name FROM users WHERE tenant_id = $1 AND id = $2";
/// As strong as the erasure will need, from the beginning: a lock that grows may wait for who waits for
/// it. In the order of the ids, as everybody takes several users.
const LOCK: &str = "SELECT id, full_name, email, email_norm, phone_sealed FROM users
    WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY id FOR UPDATE";

const PROFILE: &str =
    "SELECT u.id, to_jsonb(u) - '{tenant_id,password_hash,phone_sealed,phone_hash}'::text[] AS data,
        u.phone_sealed
    FROM users u WHERE u.tenant_id = $1 AND u.id = $2";

const SESSIONS: &str = "SELECT s.id, to_jsonb(s) - 'tenant_id' AS data FROM sessions s
    WHERE s.tenant_id = $1 AND s.user_id = $2 AND s.id > $3 ORDER BY s.id LIMIT $4";

const ROLES: &str = "SELECT r.id, jsonb_build_object('id', r.id, 'code', r.code, 'name', r.name, 'since', ur.created_at) AS data
    FROM user_roles ur JOIN roles r ON r.id = ur.role_id
    WHERE ur.tenant_id = $1 AND ur.user_id = $2 AND r.id > $3 ORDER BY r.id LIMIT $4";

const GROUPS: &str =
    "SELECT g.id, jsonb_build_object('id', g.id, 'code', g.code, 'name', g.name, 'since', m.added_at) AS data
    FROM group_members m JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
    WHERE m.tenant_id = $1 AND m.user_id = $2 AND g.id > $3 ORDER BY g.id LIMIT $4";

const API_KEYS: &str = "SELECT k.id, to_jsonb(k) - '{tenant_id,secret_hash}'::text[] AS data FROM api_keys k
    WHERE k.tenant_id = $1 AND k.created_by = $2 AND k.id > $3 ORDER BY k.id LIMIT $4";

const INVITES: &str = "SELECT i.id, to_jsonb(i) - '{tenant_id,token_hash}'::text[] AS data FROM invites i
    WHERE i.tenant_id = $1 AND i.user_id = $2 AND i.id > $3 ORDER BY i.id LIMIT $4";

const IDENTITIES: &str =
    "SELECT i.id, to_jsonb(i) - '{tenant_id,subject_hash}'::text[] AS data FROM user_identities i
    WHERE i.tenant_id = $1 AND i.user_id = $2 AND i.id > $3 ORDER BY i.id LIMIT $4";

const PHONES: &str =
    "SELECT p.id, to_jsonb(p) - '{tenant_id,phone_sealed,phone_hash,code_hash}'::text[] AS data, p.phone_sealed
    FROM phone_verifications p
    WHERE p.tenant_id = $1 AND p.user_id = $2 AND p.id > $3 ORDER BY p.id LIMIT $4";

const PREFERENCES: &str =
    "SELECT p.user_id AS id, to_jsonb(p) - 'tenant_id' AS data FROM notification_preferences p
    WHERE p.tenant_id = $1 AND p.user_id = $2 AND p.user_id > $3 ORDER BY p.user_id LIMIT $4";

const OVERRIDES: &str = "SELECT o.id, to_jsonb(o) - 'tenant_id' AS data
    FROM (SELECT md5(o.code)::uuid AS id, o.* FROM entitlement_overrides o WHERE o.tenant_id = $1 AND o.user_id = $2) o
    WHERE o.id > $3 ORDER BY o.id LIMIT $4";

const LINKS: &str = "SELECT l.id, to_jsonb(l) - '{tenant_id,token_hash}'::text[] AS data
    FROM (SELECT md5(l.purpose)::uuid AS id, l.* FROM user_links l WHERE l.tenant_id = $1 AND l.user_id = $2) l
    WHERE l.id > $3 ORDER BY l.id LIMIT $4";

/// What audit lines tell of the user by another id than theirs; of sessions only older ones, since newer are
/// filed under the user.
const PARTS: &str = "SELECT id FROM sessions WHERE tenant_id = $1 AND user_id = $2
    UNION ALL SELECT id FROM user_identities WHERE tenant_id = $1 AND user_id = $2
    UNION ALL SELECT id FROM invites WHERE tenant_id = $1 AND user_id = $2
    UNION ALL SELECT id FROM phone_verifications WHERE tenant_id = $1 AND user_id = $2";

const FORGET_ACCESS: &str = "WITH sessions AS (
        DELETE FROM sessions WHERE tenant_id = $1 AND user_id = $2
    ), roles AS (
        DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2
    ), groups AS (
        DELETE FROM group_members WHERE tenant_id = $1 AND user_id = $2
    ), names AS (
        DELETE FROM user_names WHERE tenant_id = $1 AND user_id = $2
    ), invites AS (
        DELETE FROM invites WHERE tenant_id = $1 AND user_id = $2
    ), preferences AS (
        DELETE FROM notification_preferences WHERE tenant_id = $1 AND user_id = $2
    ), identities AS (
        DELETE FROM user_identities WHERE tenant_id = $1 AND user_id = $2
    ), links AS (
        DELETE FROM user_links WHERE tenant_id = $1 AND user_id = $2
    ), secrets AS (
        DELETE FROM totp_secrets WHERE tenant_id = $1 AND user_id = $2
    ), codes AS (
        DELETE FROM backup_codes WHERE tenant_id = $1 AND user_id = $2
    ), challenges AS (
        DELETE FROM login_challenges WHERE tenant_id = $1 AND user_id = $2
    ), phones AS (
        DELETE FROM phone_verifications WHERE tenant_id = $1 AND user_id = $2
    ), overrides AS (
        DELETE FROM entitlement_overrides WHERE tenant_id = $1 AND user_id = $2
    ), keys AS (
        DELETE FROM idempotency_keys WHERE tenant_id = $1 AND user_id = $2
    )
    DELETE FROM signup_keys WHERE tenant_id = $1 AND user_id = $2";

const ANONYMISE: &str = "UPDATE users SET email = $3, email_norm = $3, full_name = $4, password_hash = NULL,
        status = 'deactivated', email_verified_at = NULL, last_login_at = NULL, locale = NULL, timezone = NULL,
        manager_user_id = NULL, avatar_url = NULL, job_title_id = NULL, department_id = NULL, phone_sealed = NULL, phone_hash = NULL, phone_masked = NULL, phone_country = NULL, phone_verified_at = NULL,
        twofa_methods = DEFAULT, erased_at = coalesce(erased_at, $5), updated_at = $5
    WHERE tenant_id = $1 AND id = $2";

/// The user's name.
///
/// # Errors
/// 404 when the company has no such user.
pub async fn name(tx: &Tx, id: Uuid) -> Result<String> {
    let row = tx.query_opt(NAME, &[&tx.tenant().0, &id]).await?;
    Ok(row.ok_or_else(Error::not_found)?.get(0))
}

/// As [`name`], holds the user until the transaction ends, with the colleague who is to get what is
/// theirs, and notes what the user is recognised by elsewhere.
pub async fn lock(tx: &Tx, id: Uuid, heir: Option<Uuid>, traces: &mut Traces) -> Result<String> {
    let ids: Vec<Uuid> = std::iter::once(id).chain(heir).collect();
    let rows = tx.query(LOCK, &[&tx.tenant().0, &ids]).await?;
    let row = rows.iter().find(|row| row.get::<_, Uuid>("id") == id);
    let row = row.ok_or_else(Error::not_found)?;
    for column in ["full_name", "email", "email_norm"] {
        traces.recognise(row.get(column));
    }
    if let Some(phone) = phone(tx, row.get("phone_sealed"))? {
        traces.recognise(phone);
    }
    Ok(row.get("full_name"))
}

/// The user's own record.
pub async fn profile(tx: &Tx, id: Uuid) -> Result<Vec<Record>> {
    let rows = tx.query(PROFILE, &[&tx.tenant().0, &id]).await?;
    rows.iter().map(|row| with_phone(tx, row)).collect()
}

/// Where and with what the user signed in.
pub async fn sessions(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, SESSIONS, id, after).await
}

/// The roles given to the user.
pub async fn roles(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, ROLES, id, after).await
}

/// The groups that the user is in.
pub async fn groups(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, GROUPS, id, after).await
}

/// The API keys that the user made.
pub async fn api_keys(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, API_KEYS, id, after).await
}

/// How the user was invited.
pub async fn invites(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, INVITES, id, after).await
}

/// The accounts elsewhere that the user signs in with.
pub async fn identities(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, IDENTITIES, id, after).await
}

/// The phones that the user set out to verify.
pub async fn phone_verifications(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    let rows = tx.query(PHONES, &[&tx.tenant().0, &id, &after, &PAGE]).await?;
    rows.iter().map(|row| with_phone(tx, row)).collect()
}

/// How the user wants to be told of things.
pub async fn preferences(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, PREFERENCES, id, after).await
}

/// What the user has beyond or short of the company's plan.
pub async fn overrides(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, OVERRIDES, id, after).await
}

/// The links that were sent to the user.
pub async fn links(tx: &Tx, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, LINKS, id, after).await
}

async fn page(tx: &Tx, sql: &str, id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    let rows = tx.query(sql, &[&tx.tenant().0, &id, &after, &PAGE]).await?;
    Ok(rows
        .iter()
        .map(|row| Record {
            id: row.get("id"),
            data: row.get("data"),
        })
        .collect())
}

/// Signs the user out everywhere, takes their roles and groups, and leaves a row that names nobody.
/// Notes whose audit lines tell of the user.
///
/// # Errors
/// 409 for the last super admin: at the commit, or where row changes are audited before it.
pub async fn erase(tx: &Tx, id: Uuid, traces: &mut Traces) -> Result<()> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let parts = tx.query(PARTS, &[&tenant, &id]).await?;
    traces
        .entities
        .extend(parts.iter().map(|row| row.get::<_, Uuid>(0)));
    // A domain that can never be (RFC 2606), so that nothing is ever sent there.
    let nobody = format!("erased-{id}@erased.invalid");
    tx.execute(FORGET_ACCESS, &[&tenant, &id]).await?;
    tx.execute(ANONYMISE, &[&tenant, &id, &nobody, &ERASED_NAME, &now])
        .await
        .map(drop)
}

fn with_phone(tx: &Tx, row: &Row) -> Result<Record> {
    let mut data: Value = row.get("data");
    data["phone"] = phone(tx, row.get("phone_sealed"))?.into();
    Ok(Record {
        id: row.get("id"),
        data,
    })
}

fn phone(tx: &Tx, sealed: Option<&[u8]>) -> Result<Option<String>> {
    let context = format!("{}/users.phone", tx.tenant());
    sealed
        .map(|sealed| tx.sealer().open_text(&context, sealed))
        .transpose()
}
