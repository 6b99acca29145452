//! A user's number: how it is kept, and where login codes go.

use crate::method::{self, PhoneChannel};
use db::Tx;
use kernel::{Phone, Result};
use uuid::Uuid;

const ON_PHONE: &str =
    "SELECT u.phone_sealed, app.language_of(u.tenant_id, u.id), t.name FROM users u JOIN tenants t ON t.id = u.tenant_id
    WHERE u.tenant_id = $1 AND u.id = $2 AND u.phone_verified_at IS NOT NULL AND u.twofa_methods @> ARRAY[$3::text]";

/// How a user's number is kept: sealed for `users.phone_sealed`, and hashed for `users.phone_hash`.
///
/// # Errors
/// Internal, when the system has no randomness.
pub(crate) fn seal(tx: &Tx, phone: &Phone) -> Result<(Vec<u8>, Vec<u8>)> {
    let sealed = tx.sealer().seal(&context(tx), phone.as_str().as_bytes())?.0;
    Ok((sealed, hash(tx, phone)))
}

pub(crate) fn hash(tx: &Tx, phone: &Phone) -> Vec<u8> {
    tx.sealer().lookup_hash(&context(tx), phone.as_str())
}

pub(crate) fn context(tx: &Tx) -> String {
    format!("{}/users.phone", tx.tenant())
}

/// A number that login codes go to.
pub(crate) struct OnPhone {
    pub number: String,
    pub locale: String,
    pub tenant_name: String,
}

/// The verified phone of a user who has this factor on.
pub(crate) async fn on_phone(tx: &Tx, user_id: Uuid, channel: PhoneChannel) -> Result<OnPhone> {
    let row = tx
        .query_opt(ON_PHONE, &[&tx.tenant().0, &user_id, &channel.code()])
        .await?;
    let row = row.ok_or_else(method::not_on)?;
    Ok(OnPhone {
        number: tx.sealer().open_text(&context(tx), row.get(0))?,
        locale: row.get(1),
        tenant_name: row.get(2),
    })
}
