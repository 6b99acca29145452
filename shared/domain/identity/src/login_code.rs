//! Codes that are sent for the second step of a login (S1.8).

use crate::method::PhoneChannel;
use crate::otp::Otp;
use crate::phone::{OnPhone, on_phone};
use crate::sign_in::{self, ChallengeToken, MAX_ATTEMPTS};
use crate::{trail, user};
use db::Tx;
use jiff::{SignedDuration, Timestamp};
use kernel::{Code, Error, Result};
use notifications::notice::{self, CodeUse, Notice, To};
use serde_json::json;
use uuid::Uuid;

/// Codes that are sent for one challenge, and how far apart.
const MAX_SENDS: i16 = 3;
const BETWEEN_SENDS: SignedDuration = SignedDuration::from_mins(1);

const LIVE: &str = "SELECT id, sends, sent_at, expires_at FROM login_challenges
    WHERE tenant_id = $1 AND token_hash = $2 AND user_id = $3 AND used_at IS NULL AND expires_at > $4 AND attempts < $5
    FOR UPDATE";
const SENT: &str = "UPDATE login_challenges SET channel = $3, code_hash = $4, sends = sends + 1, sent_at = $5
    WHERE tenant_id = $1 AND id = $2";

/// A code that may be sent; nothing is written or sent yet.
pub struct Due {
    user_id: Uuid,
    /// Of the challenge.
    id: Uuid,
    /// How long the challenge still lasts.
    left: SignedDuration,
    phone: OnPhone,
    channel: PhoneChannel,
}

/// Checks that a code may be sent for a challenge, and holds the user's row and the challenge.
///
/// # Errors
/// As [`sign_in::over`]; 409 when this factor is not on; 429 within a minute of the last code, or when three
/// were sent.
pub async fn may_send(
    tx: &Tx,
    user_id: Uuid,
    challenge: &ChallengeToken,
    channel: PhoneChannel,
) -> Result<Due> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    // The user first, as whatever ends a challenge takes them.
    user::take(tx, user_id)
        .await
        .map_err(|error| match error.code() {
            Code::NotFound => sign_in::over(),
            _ => error,
        })?;
    let live = tx
        .query_opt(LIVE, &[&tenant, &challenge.hash(), &user_id, &now, &MAX_ATTEMPTS])
        .await?
        .ok_or_else(sign_in::over)?;
    let (id, sends, sent_at): (Uuid, i16, Option<Timestamp>) = (live.get(0), live.get(1), live.get(2));
    let left = live.get::<_, Timestamp>(3).duration_since(now);
    let next = sent_at.map_or(now, |sent_at| sent_at + BETWEEN_SENDS);
    if sends >= MAX_SENDS {
        return Err(too_soon(left));
    }
    if next > now {
        return Err(too_soon(next.duration_since(now)));
    }
    Ok(Due {
        user_id,
        id,
        left,
        phone: on_phone(tx, user_id, channel).await?,
        channel,
    })
}

/// Sends a code for a challenge to the user's verified phone, in place of one sent before.
///
/// # Errors
/// As [`Tx::query`].
pub async fn send(tx: &Tx, due: Due) -> Result<()> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let Due {
        user_id,
        id,
        left,
        phone,
        channel,
    } = due;
    let code = Otp::generate()?;
    tx.execute(SENT, &[&tenant, &id, &channel.code(), &code.hash(tx, id), &now])
        .await?;
    let to = To {
        user_id: Some(user_id),
        channel: channel.notice(),
        address: &phone.number,
        locale: &phone.locale,
    };
    let notice = Notice::Otp {
        code: code.expose().to_owned(),
        // The challenge does not last longer for it; less than a minute is told as one.
        minutes: left.as_mins().max(1),
        tenant_name: phone.tenant_name,
        purpose: CodeUse::LogIn,
    };
    notice::send(tx, &to, &notice).await?;
    trail::note(
        tx,
        user_id,
        "auth.2fa_sent",
        &json!({ "channel": channel.code() }),
    )
    .await
}

/// The answer to who asks for another code before its time.
pub(crate) fn too_soon(wait: SignedDuration) -> Error {
    let wait = std::time::Duration::try_from(wait).unwrap_or_default();
    Error::rate_limited("A code was sent already; wait before asking for another.", wait)
}
