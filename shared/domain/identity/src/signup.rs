//! Signing up: a tenant, its first user and a session, all or nothing (S1.4, S1.10).

use crate::user::{self, Account, NewUser};
use crate::{Password, RefreshToken, Session, session, tenant};
use audit::event;
use db::{Db, Tx};
use kernel::{Code, Email, Error, Result, Sealer, TenantId, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

const INSERT_KEY: &str = "INSERT INTO signup_keys (key_hash, tenant_id, user_id, fingerprint, created_at)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key_hash) DO NOTHING RETURNING key_hash";
const SIGNUP_OF: &str = "SELECT tenant_id, user_id, fingerprint FROM app.signup_of($1)";
const AUDIT: &str = "SELECT app.audit_as($1, 'tenant.created', 'tenant', $2, $3)";

/// What a company signs up with.
#[derive(Debug)]
pub struct Signup {
    tenant_name: String,
    full_name: String,
    email: Email,
    password: Password,
}

/// An `Idempotency-Key` and what it was sent with, both as keyed hashes.
#[derive(Debug)]
pub struct SignupKey {
    key_hash: Vec<u8>,
    fingerprint: Vec<u8>,
}

/// What a signup made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedUp {
    pub account: Account,
    pub session: Session,
}

/// What an earlier signup with the same key made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    pub tenant: TenantId,
    pub user_id: Uuid,
}

impl Signup {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn parse(tenant_name: &str, full_name: &str, email: &str, password: &str) -> Result<Self> {
        let mut validator = Validator::default();
        let tenant_name = validator.text("tenant_name", tenant_name, 120);
        let full_name = validator.text("full_name", full_name, 120);
        let parsed = Email::parse(email);
        if parsed.is_none() {
            validator.reject("email", "invalid", "This is not an e-mail address.");
        }
        let password = Password::choose(&mut validator, "password", password, &[email, &tenant_name]);
        validator.finish()?;
        let email = parsed.ok_or_else(|| Error::internal("an address was accepted and is none"))?;
        Ok(Self {
            tenant_name,
            full_name,
            email,
            password,
        })
    }

    #[must_use]
    pub fn email(&self) -> &Email {
        &self.email
    }

    #[must_use]
    pub fn password(&self) -> &Password {
        &self.password
    }

    /// The key under which a repetition finds what this made. The fingerprint leaves the password
    /// out: it is proved against its own hash.
    #[must_use]
    pub fn key(&self, sealer: &Sealer, key: &str) -> SignupKey {
        let asked = json!([self.tenant_name, self.full_name, self.email.normalised]);
        SignupKey::new(sealer, "signup_keys", key, &asked)
    }
}

impl SignupKey {
    /// `kind` keeps the keys of different requests apart.
    pub(crate) fn new(sealer: &Sealer, kind: &str, key: &str, asked: &Value) -> Self {
        Self {
            key_hash: sealer.lookup_hash(&format!("{kind}.key"), key),
            fingerprint: sealer.lookup_hash(&format!("{kind}.fingerprint"), &asked.to_string()),
        }
    }
}

/// As [`make`], and a session.
///
/// # Errors
/// 409 when the key was used meanwhile: see [`earlier`].
pub async fn insert(
    tx: &Tx,
    signup: &Signup,
    password_hash: &str,
    key: Option<&SignupKey>,
    token: &RefreshToken,
) -> Result<SignedUp> {
    let user_id = make(tx, signup, password_hash, key).await?;
    let signed_in = session::sign_in(tx, user_id, token).await?;
    let (account, session) = signed_in.ok_or_else(|| Error::internal("a new user can't log in"))?;
    Ok(SignedUp { account, session })
}

/// Makes the tenant that the transaction entered and its super admin; returns the user's id.
/// `password_hash` is computed before, to hold no transaction open meanwhile.
///
/// # Errors
/// 409 when the key was used meanwhile: see [`earlier`].
pub async fn make(tx: &Tx, signup: &Signup, password_hash: &str, key: Option<&SignupKey>) -> Result<Uuid> {
    let user_id = tx.clock().id();
    let tenant = tenant::insert(tx, &signup.tenant_name).await?;
    let about = json!({ "name": tenant.name, "slug": tenant.slug });
    // Before the rest, so that what the triggers audit at commit is this user's doing.
    tx.execute(AUDIT, &[&user_id, &tenant.id, &about]).await?;
    let new = NewUser {
        id: user_id,
        email: &signup.email,
        full_name: &signup.full_name,
        password_hash,
        role: "super_admin",
    };
    user::insert(tx, &new).await?;
    if let Some(key) = key {
        remember(tx, key, user_id).await?;
    }
    event::publish(tx, "tenant.created", tenant.id, &json!({})).await?;
    Ok(user_id)
}

/// Notes what the key made: the entered tenant and this user.
///
/// # Errors
/// 409 when the key was used meanwhile: see [`earlier`].
pub(crate) async fn remember(tx: &Tx, key: &SignupKey, user_id: Uuid) -> Result<()> {
    let SignupKey {
        key_hash,
        fingerprint,
    } = key;
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    // Waits for a signup with the same key that is under way, then finds it there.
    tx.query_opt(INSERT_KEY, &[key_hash, &tenant, &user_id, fingerprint, &now])
        .await?
        .map(drop)
        .ok_or_else(|| Error::new(Code::Conflict, "The same signup was answered meanwhile."))
}

/// What a signup with this key made before, if there was one.
///
/// # Errors
/// 422 when the key was used for another signup.
pub async fn earlier(db: &Db, key: &SignupKey) -> Result<Option<Earlier>> {
    let rows = db.lookup(SIGNUP_OF, &[&key.key_hash]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    if row.get::<_, &[u8]>(2) != key.fingerprint {
        return Err(key_reused());
    }
    Ok(Some(Earlier {
        tenant: TenantId(row.get(0)),
        user_id: row.get(1),
    }))
}

/// The same key came with another body.
#[must_use]
pub fn key_reused() -> Error {
    Error::field(
        "Idempotency-Key",
        "reused",
        "This Idempotency-Key was used for a different request; use a new one.",
    )
}
