//! The one way in: whatever proved who somebody is, here the session is opened.

use crate::App;
use crate::answer::{Delivered, Delivery, SignedInAnswer};
use identity::login::FoundAccount;
use identity::{RefreshToken, session};
use kernel::Result;

/// Signs in somebody who has proved who they are, by a password or another system's word. `None` when
/// the user or the company is not active.
pub(crate) async fn sign_in<const STATUS: u16>(
    app: &App,
    origin: &kernel::Origin,
    account: FoundAccount,
    delivery: Delivery,
) -> Result<Option<Delivered<STATUS, SignedInAnswer>>> {
    let token = RefreshToken::generate()?;
    let caller = App::act_for(account.tenant, origin);
    let opened = app
        .db
        .write(&caller, async |tx| {
            session::sign_in(&tx, account.user_id, &token).await
        })
        .await?;
    opened
        .map(|(account, session)| app.signed_in(account, session, &token, delivery))
        .transpose()
}
