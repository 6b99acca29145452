//! The answers to requests with an `Idempotency-Key`, kept for a day; and those that have to be forgotten
//! before it is over.

use crate::{Db, Tx};
use kernel::{Actor, Caller, Error, Idempotency, Result, Sealer, TenantId};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

pub(crate) const STORE: &str =
    "UPDATE idempotency_keys SET answer_sealed = $4 WHERE tenant_id = $1 AND user_id = $2 AND key = $3";
const ANSWER: &str = "SELECT answer_sealed FROM idempotency_keys WHERE tenant_id = $1 AND user_id = $2 AND key = $3 AND answer_sealed IS NOT NULL";

const RELEASE: &str = "DELETE FROM idempotency_keys WHERE tenant_id = $1 AND user_id = $2 AND key = $3";

const PAGE: i64 = 500;

const STORED: &str = "SELECT user_id, key, answer_sealed FROM idempotency_keys
    WHERE tenant_id = $1 AND (user_id, key) > ($2, $3) AND answer_sealed IS NOT NULL
    ORDER BY user_id, key LIMIT $4";

// The key stays, with a fingerprint that no request has: a late repetition is refused, where without
// the key it would do its work a second time.
const FORGET: &str = "UPDATE idempotency_keys SET answer_sealed = NULL, fingerprint = ''
    WHERE tenant_id = $1 AND (user_id, key) IN (SELECT * FROM unnest($2::uuid[], $3::text[]))";

/// Whose idempotency key it is: the user's, the API key's, or nobody's of the company, which is who runs
/// the system.
pub(crate) fn asker(caller: &Caller) -> Option<Uuid> {
    match caller.actor() {
        Actor::User { user_id, .. } => Some(*user_id),
        Actor::ApiKey { key_id, .. } => Some(*key_id),
        Actor::System { .. } => Some(Uuid::nil()),
        Actor::Requester { .. } => None,
    }
}

fn context(tenant: TenantId) -> String {
    format!("{tenant}/idempotency_keys.answer")
}

/// The fingerprint of a request as it is kept: keyed, because the body may hold a password or a phone number,
/// which a plain hash lets anybody guess who reads the table.
pub(crate) fn kept_fingerprint(sealer: &Sealer, caller: &Caller, asked: &Idempotency) -> Vec<u8> {
    let context = format!("{}/idempotency_keys.fingerprint", caller.tenant());
    let plain = asked.fingerprint.map(|byte| format!("{byte:02x}")).concat();
    sealer.lookup_hash(&context, &plain)
}

/// An answer as it is kept.
pub(crate) fn seal<T: Serialize>(tx: &Tx, value: &T) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(value).map_err(Error::internal)?;
    Ok(tx.sealer().seal(&context(tx.tenant()), &json)?.0)
}

/// The answer that this caller's key was given before.
pub(crate) async fn replay<T: DeserializeOwned>(db: &Db, caller: &Caller) -> Result<T> {
    let key = caller.idempotency().map(|idempotency| idempotency.key.clone());
    let stored = db.read(caller, async |tx| {
        tx.query_opt(ANSWER, &[&caller.tenant().0, &asker(caller), &key])
            .await
    });
    let stored = stored
        .await?
        .ok_or_else(|| Error::internal("the stored answer is gone"))?;
    let json = db.sealer().open(&context(caller.tenant()), stored.get(0))?;
    if let Some(idempotency) = caller.idempotency() {
        idempotency.mark_replayed();
    }
    // Kept by an earlier version of the system, whose answer looked different.
    serde_json::from_slice(&json).map_err(|_| {
        Error::new(
            kernel::Code::Conflict,
            "This request was carried out before, and its answer can't be repeated any more; read the record instead.",
        )
    })
}

impl Tx {
    /// Frees the key of the request, in a transaction that is committed though its outcome is an error to who
    /// asked: no answer is kept, and a repetition is carried out.
    ///
    /// # Errors
    /// As [`Tx::query`].
    pub async fn release_key(&self) -> Result<()> {
        let caller = self.caller();
        let Some(idempotency) = caller.idempotency() else {
            return Ok(());
        };
        let params: crate::Params<'_> = &[&self.tenant().0, &asker(caller), &idempotency.key];
        self.execute(RELEASE, params).await.map(drop)
    }

    /// Forgets the stored answers of this tenant that hold any of these texts; returns how many.
    /// They are sealed, so each is opened: a day's worth, page by page.
    ///
    /// # Errors
    /// As [`Tx::query`], and when an answer does not open.
    pub async fn forget_answers(&self, texts: &[String]) -> Result<u64> {
        let (tenant, context) = (self.tenant().0, context(self.tenant()));
        let (mut user, mut key) = (Uuid::nil(), String::new());
        let mut forgotten = 0;
        loop {
            let rows = self.query(STORED, &[&tenant, &user, &key, &PAGE]).await?;
            let Some(last) = rows.last() else {
                return Ok(forgotten);
            };
            (user, key) = (last.get(0), last.get(1));
            let (mut users, mut keys): (Vec<Uuid>, Vec<&str>) = (Vec::new(), Vec::new());
            for row in &rows {
                let answer = self.sealer().open(&context, row.get(2))?;
                let answer = String::from_utf8_lossy(&answer);
                if texts.iter().any(|text| answer.contains(text.as_str())) {
                    users.push(row.get(0));
                    keys.push(row.get(1));
                }
            }
            forgotten += self.execute(FORGET, &[&tenant, &users, &keys]).await?;
        }
    }
}
