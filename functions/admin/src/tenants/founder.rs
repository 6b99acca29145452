//! Inviting a company's first super admin again.

use super::tenant::act_for;
use crate::App;
use crate::people::lifecycle::Optional;
use axum::extract::State;
use identity::company::Provisioned;
use identity::founder::{self, InviteAgain};
use web::{IdPath, Json, Operator, Path, Result};

/// Mails the first super admin's invitation again, to another address if the first was wrong.
///
/// For a company that nobody can log in to yet: 409 as soon as it has a super admin who can, and while it
/// is suspended. The link sent before is dead. 429 when the mailbox had five links within the hour.
/// Repeated with the same `Idempotency-Key`, it mails nothing and answers the same.
pub async fn invite_again(
    State(app): State<App>,
    operator: Operator,
    Path(path): Path<IdPath>,
    Optional(body): Optional<InviteAgain>,
) -> Result<Json<Provisioned>> {
    let caller = act_for(path.id, &operator).with_idempotency(operator.idempotency.clone());
    let sent = app.db.write(&caller, async |tx| {
        let (made, mut target) = founder::find(&tx).await?;
        body.correct(&tx, &mut target).await?;
        app.mails.ask_invitee(&target).await?;
        founder::invite(&tx, target, &app.app_url).await?;
        Ok(made)
    });
    Ok(Json(sent.await?))
}
