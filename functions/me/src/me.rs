//! Who the caller is.

use crate::App;
use axum::extract::State;
use identity::me::{self, Me};
use kernel::Error;
use web::{Auth, Record, Result};

/// Gets the signed-in user, with company, roles, permissions and what the company still asks for.
pub async fn get(State(app): State<App>, Auth(caller): Auth) -> Result<Record<Me>> {
    let user_id = caller.user_id().ok_or_else(Error::unauthenticated)?;
    let found = app
        .db
        .read(&caller, async |tx| me::find(&tx, user_id).await)
        .await?;
    Ok(Record(found.ok_or_else(Error::not_found)?))
}
