//! Verifying a user's phone (S1.8): a code is sent to the number, and whoever types it has the phone.
//! Three starts an hour; a code a minute, each good for 10 minutes; 5 attempts, which a newer code does not
//! renew.

use crate::login_code::too_soon;
use crate::method::PhoneChannel;
use crate::otp::Otp;
use crate::{phone, trail, user};
use db::{Row, Tx};
use jiff::{SignedDuration, Timestamp};
use kernel::{Code, Error, Phone, Result};
use notifications::notice::{self, CodeUse, Notice, To};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// Verifications that a user may start in [`START_WINDOW`].
pub const MAX_STARTS: u32 = 3;
/// S1.8: an hour, counted back from each start.
pub const START_WINDOW: SignedDuration = SignedDuration::from_hours(1);
const LIFETIME: SignedDuration = SignedDuration::from_mins(10);
const BETWEEN_SENDS: SignedDuration = SignedDuration::from_mins(1);
const MAX_ATTEMPTS: i16 = 5;
/// A verification is a person waiting for a message; more than this is somebody running up a bill.
const MAX_SENDS: i16 = 6;

// Takes the user's row, so that parallel starts are counted one after the other, and a factor that is
// turned on meanwhile is seen.
const TAKE_USER: &str =
    "SELECT u.phone_hash, u.phone_verified_at IS NOT NULL, u.twofa_methods && '{sms,whatsapp}', app.language_of(u.tenant_id, u.id), t.name
    FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.tenant_id = $1 AND u.id = $2 FOR NO KEY UPDATE OF u";
const STARTED: &str = "SELECT count(*), min(created_at) FROM phone_verifications
    WHERE tenant_id = $1 AND user_id = $2 AND created_at > $3";
const REVOKE: &str = "UPDATE phone_verifications SET status = 'revoked'
    WHERE tenant_id = $1 AND user_id = $2 AND status = 'pending' RETURNING id";
const INSERT: &str =
    "INSERT INTO phone_verifications (tenant_id, id, user_id, phone_sealed, phone_hash, phone_masked,
        channel, code_hash, created_at, sent_at, expires_at, phone_country)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11)
    RETURNING id, phone_masked, channel, status, attempts, sent_at, expires_at";
const PENDING: &str =
    "SELECT v.id, v.phone_sealed, v.channel, v.sends, v.sent_at, app.language_of(u.tenant_id, u.id) AS locale, t.name AS tenant_name
    FROM phone_verifications v JOIN users u ON u.tenant_id = v.tenant_id AND u.id = v.user_id
    JOIN tenants t ON t.id = v.tenant_id
    WHERE v.tenant_id = $1 AND v.user_id = $2 AND v.status = 'pending' AND v.expires_at > $3 AND v.attempts < $4
    FOR UPDATE OF v";
const RESENT: &str =
    "UPDATE phone_verifications SET code_hash = $3, sent_at = $4, expires_at = $5, sends = sends + 1
    WHERE tenant_id = $1 AND id = $2 RETURNING id, phone_masked, channel, status, attempts, sent_at, expires_at";
// The attempt is counted by the statement that finds the verification, before the code is looked at.
const ATTEMPT: &str = "UPDATE phone_verifications SET attempts = attempts + 1
    WHERE tenant_id = $1 AND user_id = $2 AND phone_hash = $3 AND status = 'pending' AND expires_at > $4 AND attempts < $5
    RETURNING id, attempts, code_hash";
const VERIFIED: &str = "WITH proved AS (
        UPDATE phone_verifications SET status = 'verified' WHERE tenant_id = $1 AND id = $2
        RETURNING user_id, phone_sealed, phone_hash, phone_masked, phone_country)
    UPDATE users u SET phone_sealed = p.phone_sealed, phone_hash = p.phone_hash, phone_masked = p.phone_masked,
        phone_country = p.phone_country, phone_verified_at = $3, updated_at = $3
    FROM proved p WHERE u.tenant_id = $1 AND u.id = p.user_id RETURNING u.phone_masked, u.phone_country";

/// A verification under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhoneVerification {
    pub id: Uuid,
    /// `+20********67`.
    pub phone_masked: String,
    pub channel: PhoneChannel,
    /// `pending`.
    pub status: String,
    /// Codes that may still be tried.
    pub attempts_left: i16,
    /// From when on another code may be sent.
    pub resend_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A phone that is the user's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedPhone {
    pub phone_masked: String,
    /// As in ISO 3166: `EG`. Null for a number of no country.
    pub phone_country: Option<String>,
    pub phone_verified_at: Timestamp,
}

/// What came of a code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Confirmation {
    Verified(VerifiedPhone),
    /// The code is wrong, and so many more may be tried.
    Wrong {
        attempts_left: i16,
    },
    /// There is no code to confirm for this number, or not any more.
    Over,
}

/// A verification that may be started; nothing is written or sent yet.
pub struct Starting<'a> {
    user: Taken,
    phone: &'a Phone,
    sealed: Vec<u8>,
    hash: Vec<u8>,
    /// Starts that are left in the hour after this one.
    left: u32,
}

/// Checks that the user may verify this number now, and holds the user's row.
///
/// # Errors
/// 429 past [`MAX_STARTS`]; 409 while another number receives the user's login codes: whoever took
/// over a session must not move them.
pub async fn may_start<'a>(tx: &Tx, user_id: Uuid, phone: &'a Phone) -> Result<Starting<'a>> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let (sealed, hash) = phone::seal(tx, phone)?;
    let user = take_user(tx, user_id, &hash).await?;
    let since = now.saturating_sub(START_WINDOW).map_err(Error::internal)?;
    let started = tx.query_one(STARTED, &[&tenant, &user_id, &since]).await?;
    let before = u32::try_from(started.get::<_, i64>(0)).unwrap_or(u32::MAX);
    if before >= MAX_STARTS {
        let oldest: Option<Timestamp> = started.get(1);
        let again = oldest.map_or(now, |oldest| oldest + START_WINDOW);
        return Err(too_soon(again.duration_since(now)));
    }
    Ok(Starting {
        user,
        phone,
        sealed,
        hash,
        left: MAX_STARTS - before - 1,
    })
}

/// Sends a code to the number, in place of a verification that was under way. Also says how many more
/// starts are left in the hour.
///
/// # Errors
/// As [`Tx::query`].
pub async fn start(
    tx: &Tx,
    starting: Starting<'_>,
    channel: PhoneChannel,
) -> Result<(PhoneVerification, u32)> {
    let (tenant, now, id) = (tx.tenant().0, tx.clock().now(), tx.clock().id());
    let Starting {
        user,
        phone,
        sealed,
        hash,
        left,
    } = starting;
    let user_id = user.id;
    tx.execute(REVOKE, &[&tenant, &user_id]).await?;
    let code = Otp::generate()?;
    let params: db::Params<'_> = &[
        &tenant,
        &id,
        &user_id,
        &sealed,
        &hash,
        &phone.masked(),
        &channel.code(),
        &code.hash(tx, id),
        &now,
        &(now + LIFETIME),
        &phone.country(),
    ];
    let row = tx.query_one(INSERT, params).await?;
    let data = json!({ "channel": channel.code(), "phone": phone.masked() });
    trail::note(tx, user_id, "phone.verify.started", &data).await?;
    let whom = Whom {
        user_id,
        number: phone.as_str(),
        locale: &user.locale,
        tenant_name: &user.tenant_name,
    };
    send(tx, &whom, channel, &code).await?;
    Ok((view(&row)?, left))
}

/// A verification for which another code may be sent; nothing is written or sent yet.
pub struct Resending {
    /// Where it goes.
    pub phone: Phone,
    user_id: Uuid,
    id: Uuid,
    channel: PhoneChannel,
    locale: String,
    tenant_name: String,
}

/// Finds the verification under way, and holds the user's row and it.
///
/// # Errors
/// 409 when none is under way; 429 within a minute of the last code, or when too many were sent.
pub async fn may_resend(tx: &Tx, user_id: Uuid) -> Result<Resending> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    // As a start takes them, and before the audit log: an erasure holds the user and then waits for that.
    user::take(tx, user_id).await?;
    let pending = tx
        .query_opt(PENDING, &[&tenant, &user_id, &now, &MAX_ATTEMPTS])
        .await?;
    let none = || {
        Error::new(
            Code::Conflict,
            "No phone is being verified; start at /v1/auth/phone/verify/start.",
        )
    };
    let pending = pending.ok_or_else(none)?;
    let (id, sent_at): (Uuid, Timestamp) = (pending.get("id"), pending.get("sent_at"));
    let next = sent_at + BETWEEN_SENDS;
    if pending.get::<_, i16>("sends") >= MAX_SENDS {
        return Err(too_soon(START_WINDOW));
    }
    if next > now {
        return Err(too_soon(next.duration_since(now)));
    }
    let number = tx
        .sealer()
        .open_text(&phone::context(tx), pending.get("phone_sealed"))?;
    Ok(Resending {
        phone: Phone::parse(&number).ok_or_else(|| Error::internal("a kept number is none"))?,
        user_id,
        id,
        channel: PhoneChannel::of(pending.get("channel"))?,
        locale: pending.get("locale"),
        tenant_name: pending.get("tenant_name"),
    })
}

/// Sends another code for the verification under way. The attempts already made stay counted.
///
/// # Errors
/// As [`Tx::query`].
pub async fn resend(tx: &Tx, resending: &Resending) -> Result<PhoneVerification> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let Resending {
        id, user_id, channel, ..
    } = *resending;
    let code = Otp::generate()?;
    let row = tx
        .query_one(
            RESENT,
            &[&tenant, &id, &code.hash(tx, id), &now, &(now + LIFETIME)],
        )
        .await?;
    let data = json!({ "channel": channel.code() });
    trail::note(tx, user_id, "phone.verify.resend", &data).await?;
    let whom = Whom {
        user_id,
        number: resending.phone.as_str(),
        locale: &resending.locale,
        tenant_name: &resending.tenant_name,
    };
    send(tx, &whom, channel, &code).await?;
    view(&row)
}

/// Tries a code for the number. Commit it whatever the outcome: a wrong one must count.
///
/// # Errors
/// 409, as for [`may_start`], when the user's login codes go to another number by now.
pub async fn confirm(tx: &Tx, user_id: Uuid, phone: &Phone, code: &str) -> Result<Confirmation> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let hash = phone::hash(tx, phone);
    let user = take_user(tx, user_id, &hash).await?;
    let attempt = tx
        .query_opt(ATTEMPT, &[&tenant, &user_id, &hash, &now, &MAX_ATTEMPTS])
        .await?;
    let Some(attempt) = attempt else {
        let data = json!({ "reason": "over" });
        trail::note(tx, user_id, "phone.verify.failed", &data).await?;
        return Ok(Confirmation::Over);
    };
    let (id, attempts): (Uuid, i16) = (attempt.get("id"), attempt.get("attempts"));
    let stored: &[u8] = attempt.get("code_hash");
    if !Otp::parse(code).is_some_and(|otp| otp.is(tx, id, stored)) {
        if attempts >= MAX_ATTEMPTS {
            tx.execute(REVOKE, &[&tenant, &user_id]).await?;
        }
        let attempts_left = MAX_ATTEMPTS - attempts;
        let data = json!({ "attempts_left": attempts_left });
        trail::note(tx, user_id, "phone.verify.failed", &data).await?;
        return Ok(Confirmation::Wrong { attempts_left });
    }
    let row = tx.query_one(VERIFIED, &[&tenant, &id, &now]).await?;
    let phone_masked: String = row.get(0);
    if user.verified_hash.as_ref() != Some(&hash) {
        let phone_masked = phone_masked.clone();
        trail::warn(tx, user_id, &Notice::PhoneChanged { phone_masked }).await?;
    }
    trail::tell(tx, user_id, "phone.verify.succeeded", &trail::nothing()).await?;
    Ok(Confirmation::Verified(VerifiedPhone {
        phone_masked,
        phone_country: row.get(1),
        phone_verified_at: now,
    }))
}

/// Drops the verification under way; false when there is none.
///
/// # Errors
/// As [`Tx::query`].
pub async fn cancel(tx: &Tx, user_id: Uuid) -> Result<bool> {
    let dropped = tx.query_opt(REVOKE, &[&tx.tenant().0, &user_id]).await?;
    if dropped.is_some() {
        trail::note(tx, user_id, "phone.verify.cancelled", &trail::nothing()).await?;
    }
    Ok(dropped.is_some())
}

/// A user whose row is held.
struct Taken {
    id: Uuid,
    /// Of the verified phone.
    verified_hash: Option<Vec<u8>>,
    locale: String,
    tenant_name: String,
}

/// Takes the user, unless login codes go to another number than this.
async fn take_user(tx: &Tx, user_id: Uuid, hash: &[u8]) -> Result<Taken> {
    let row = tx.query_opt(TAKE_USER, &[&tx.tenant().0, &user_id]).await?;
    let row = row.ok_or_else(Error::unauthenticated)?;
    let (kept, is_verified): (Option<Vec<u8>>, bool) = (row.get(0), row.get(1));
    if row.get(2) && kept.as_deref() != Some(hash) {
        return Err(Error::new(
            Code::Conflict,
            "Your login codes go to another number; disable SMS and WhatsApp codes first.",
        ));
    }
    Ok(Taken {
        id: user_id,
        verified_hash: kept.filter(|_| is_verified),
        locale: row.get(3),
        tenant_name: row.get(4),
    })
}

/// Whom a code is sent to.
struct Whom<'a> {
    user_id: Uuid,
    number: &'a str,
    locale: &'a str,
    tenant_name: &'a str,
}

async fn send(tx: &Tx, whom: &Whom<'_>, channel: PhoneChannel, code: &Otp) -> Result<()> {
    let user_id = whom.user_id;
    let to = To {
        user_id: Some(user_id),
        channel: channel.notice(),
        address: whom.number,
        locale: whom.locale,
    };
    let notice = Notice::Otp {
        code: code.expose().to_owned(),
        minutes: LIFETIME.as_mins(),
        tenant_name: whom.tenant_name.to_owned(),
        purpose: CodeUse::VerifyPhone,
    };
    let delivery = notice::send(tx, &to, &notice).await?;
    let data = json!({ "channel": channel.code(), "delivery_id": delivery });
    trail::note(tx, user_id, "phone.verify.sent", &data).await
}

fn view(row: &Row) -> Result<PhoneVerification> {
    let sent_at: Timestamp = row.get("sent_at");
    Ok(PhoneVerification {
        id: row.get("id"),
        phone_masked: row.get("phone_masked"),
        channel: PhoneChannel::of(row.get("channel"))?,
        status: row.get("status"),
        attempts_left: MAX_ATTEMPTS - row.get::<_, i16>("attempts"),
        resend_at: sent_at + BETWEEN_SENDS,
        expires_at: row.get("expires_at"),
    })
}
