//! Sessions: a sign-in on one device, the family of its refresh tokens, and the authority over its
//! access tokens: a revoked one is refused at the next request (S1.3, S1.6).

use crate::refresh_token::RefreshToken;
use crate::user::{self, Account};
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, PageRequest, Sort};
use kernel::{Error, Page, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the list of sessions is sorted by.
pub static SORTS: &[Sort] = &[Sort {
    name: "created_at",
    column: "s.created_at",
    key: KeyType::Timestamp,
}];

const OPEN: &str =
    "INSERT INTO sessions (tenant_id, id, user_id, user_agent, ip, created_at, last_used_at, expires_at)
    SELECT u.tenant_id, $3, u.id, $4, $5, $6, $6, $7 FROM users u JOIN tenants t ON t.id = u.tenant_id
    WHERE u.tenant_id = $1 AND u.id = $2 AND u.status = 'active' AND t.status = 'active' RETURNING id";
const FIRST_TOKEN: &str = "INSERT INTO refresh_tokens (tenant_id, token_hash, session_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
const LOGGED_IN: &str = "UPDATE users SET last_login_at = $3 WHERE tenant_id = $1 AND id = $2";
// What becomes of sessions is told of their user, whose audit lines are looked for by the user's id.
const AUDIT_LOGIN: &str =
    "SELECT app.audit_as($1, 'auth.login', 'user', $1, jsonb_build_object('session_id', $2::uuid))";
const END: &str = "WITH ended AS (
        UPDATE sessions SET revoked_at = $4, revoked_reason = $5
        WHERE tenant_id = $1 AND id = $2 AND user_id = $3 AND revoked_at IS NULL AND expires_at > $4 RETURNING id, user_id)
    SELECT app.audit_as(user_id, $6, 'user', user_id, jsonb_build_object('session_id', id)) FROM ended";
const LIST: &str =
    "SELECT s.id, s.user_agent, s.ip, s.created_at, s.last_used_at, s.expires_at FROM sessions s";

/// An open session and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
}

/// A session as its user sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    pub id: Uuid,
    /// The device, as it described itself.
    pub user_agent: Option<String>,
    /// Where it signed in from.
    pub ip: Option<String>,
    pub created_at: Timestamp,
    /// When it last got an access token.
    pub last_used_at: Timestamp,
    /// When it ends unless used.
    pub expires_at: Timestamp,
    /// Whether this request came from it.
    pub current: bool,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its own client logged out.
    Logout,
    /// Its user ended it from the list.
    Revoked,
}

/// Opens a session whose first refresh token is `token`. `None` when the user or the tenant is not
/// active (any more).
///
/// # Errors
/// As [`Tx::query`].
pub async fn open(tx: &Tx, user_id: Uuid, token: &RefreshToken) -> Result<Option<Session>> {
    let (tenant, now, id) = (tx.tenant().0, tx.clock().now(), tx.clock().id());
    let expires_at = now + token.lasts();
    let origin = tx.caller().origin();
    let opened = tx
        .query_opt(
            OPEN,
            &[
                &tenant,
                &user_id,
                &id,
                &origin.user_agent,
                &origin.ip,
                &now,
                &expires_at,
            ],
        )
        .await?;
    if opened.is_none() {
        return Ok(None);
    }
    tx.execute(FIRST_TOKEN, &[&tenant, &token.hash(), &id, &now, &expires_at])
        .await?;
    tx.execute(LOGGED_IN, &[&tenant, &user_id, &now]).await?;
    tx.execute(AUDIT_LOGIN, &[&user_id, &id]).await?;
    Ok(Some(Session { id, user_id }))
}

/// As [`open`], with who signed in.
///
/// # Errors
/// As [`Tx::query`].
pub async fn sign_in(tx: &Tx, user_id: Uuid, token: &RefreshToken) -> Result<Option<(Account, Session)>> {
    let Some(session) = open(tx, user_id, token).await? else {
        return Ok(None);
    };
    Ok(user::find(tx, user_id).await?.map(|account| (account, session)))
}

/// Ends a session of a user; false when there is none that lives.
///
/// # Errors
/// As [`Tx::query`].
pub async fn end(tx: &Tx, user_id: Uuid, session_id: Uuid, why: End) -> Result<bool> {
    let (reason, action) = match why {
        End::Logout => ("logout", "auth.logout"),
        End::Revoked => ("revoked", "session.revoked"),
    };
    let now = tx.clock().now();
    let ended = tx
        .query_opt(
            END,
            &[&tx.tenant().0, &session_id, &user_id, &now, &reason, &action],
        )
        .await?;
    Ok(ended.is_some())
}

/// The caller's live sessions.
///
/// # Errors
/// As [`Tx::query`].
pub async fn list(tx: &Tx, request: &PageRequest) -> Result<Page<SessionView>> {
    let user_id = tx.caller().user_id().ok_or_else(Error::unauthenticated)?;
    list_of(tx, user_id, request).await
}

/// A user's live sessions.
///
/// # Errors
/// As [`Tx::query`].
pub async fn list_of(tx: &Tx, user_id: Uuid, request: &PageRequest) -> Result<Page<SessionView>> {
    let current = tx.caller().session_id();
    let mut sql = Sql::list(tx, LIST, "s");
    sql.filter("s.user_id = $", user_id);
    sql.only("s.revoked_at IS NULL");
    sql.filter("s.expires_at > $", tx.clock().now());
    let view = |row: &Row| {
        let id = row.get(0);
        Ok(SessionView {
            id,
            user_agent: row.get(1),
            ip: row.get(2),
            created_at: row.get(3),
            last_used_at: row.get(4),
            expires_at: row.get(5),
            current: current == Some(id),
        })
    };
    sql.fetch(tx, request, view, |session| {
        (Key::Timestamp(session.created_at), session.id)
    })
    .await
}
