//! Who the caller is.

use crate::App;
use axum::extract::State;
use identity::user::{self, Account};
use kernel::Error;
use web::{Auth, Record, Result};

/// Gets the signed-in user, with company and roles.
pub async fn get(State(app): State<App>, Auth(caller): Auth) -> Result<Record<Account>> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let found = app
        .db
        .read(&caller, async |tx| user::find(&tx, user_id).await)
        .await?;
    Ok(Record(found.ok_or_else(Error::not_found)?))
}
