//! What of the company's records is a user's, and giving it to another.

use contacts::owner;
use db::Tx;
use identity::lifecycle::Target;
use identity::member::Status;
use kernel::{Code, Error, Result};
use messaging::conversation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// How many of the company's records are a user's.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Owned {
    pub contacts: i64,
    /// Closed ones, too: the next message opens them.
    pub conversations: i64,
}

/// Gives everything to a colleague.
///
/// # Errors
/// 422 when that is the user themself or not active.
pub(crate) async fn hand_over(tx: &Tx, from: &Target, to: &Target) -> Result<Value> {
    if from.id == to.id {
        return Err(Error::field("reassign_to", "invalid", "Name another user."));
    }
    if to.status != Status::Active {
        return Err(Error::field("reassign_to", "inactive", "Name an active user."));
    }
    let (contacts, conversations) = futures::try_join!(
        owner::reassign(tx, from.id, to.id),
        conversation::reassign(tx, from.id, to.id)
    )?;
    Ok(json!({ "reassigned_to": to.id, "contacts": contacts, "conversations": conversations }))
}

/// What a user owns now.
///
/// # Errors
/// As the database fails.
pub(crate) async fn of(tx: &Tx, user_id: Uuid) -> Result<Owned> {
    let (contacts, conversations) = futures::try_join!(
        owner::owned_by(tx, user_id),
        conversation::assigned_to(tx, user_id)
    )?;
    Ok(Owned {
        contacts,
        conversations,
    })
}

/// # Errors
/// 409 with the counts while there is anything.
pub(crate) async fn refuse_any(tx: &Tx, user_id: Uuid) -> Result<Value> {
    let owned = of(tx, user_id).await?;
    if owned.contacts + owned.conversations > 0 {
        let message = "This user still owns records; name a colleague for them in reassign_to.";
        return Err(Error::new(Code::Conflict, message).with_details(json!({ "owned": owned })));
    }
    Ok(json!({}))
}
