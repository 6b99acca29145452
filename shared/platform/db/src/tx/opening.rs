//! How a transaction begins: with its first statement, in one trip.

use super::ending::TOUCH_API_KEY;
use super::{REPLAY, Tx, answer_of};
use crate::Params;
use crate::answers::{asker, kept_fingerprint};
use crate::error::{from_postgres, is_replay};
use deadpool_postgres::Object;
use futures::future::{OptionFuture, join3, join4};
use kernel::{Actor, Caller, Error, Result};
use std::sync::atomic::Ordering;
use tokio_postgres::{Row, Statement};

const ENTER: &str = "SELECT app.enter($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const CLAIM: &str = "SELECT app.claim_idempotency_key($1, $2, $3, $4)";

/// The statements that open a transaction, prepared.
pub(super) struct Opening {
    enter: Statement,
    claim: Statement,
}

impl Opening {
    pub(super) async fn prepare(client: &Object, touching: bool) -> Result<Self, tokio_postgres::Error> {
        let touch: OptionFuture<_> = touching.then(|| client.prepare_cached(TOUCH_API_KEY)).into();
        let (enter, claim, touch) =
            join3(client.prepare_cached(ENTER), client.prepare_cached(CLAIM), touch).await;
        let (enter, claim) = (enter?, claim?);
        touch.transpose()?;
        Ok(Self { enter, claim })
    }
}

impl Tx {
    /// BEGIN, enter, the claim of the idempotency key and the first statement, in one trip. They
    /// are polled in this order, which is the order they are sent in.
    pub(super) async fn open_with(
        &self,
        client: &Object,
        opening: &Opening,
        first: &Statement,
        params: Params<'_>,
    ) -> Result<(Vec<Row>, u64)> {
        let caller = &self.0.caller;
        let idempotency = caller.idempotency().filter(|_| self.0.begin == "BEGIN");
        let now = self.0.clock.now();
        let origin = origin_json(caller);
        let permission = caller.permission().map(kernel::Permission::code);
        let (user, session) = (caller.user_id(), caller.session_id());
        let feature = caller.feature().map(kernel::Feature::code);
        let (key_id, key_hash) = match caller.actor() {
            Actor::ApiKey { key_id, secret_hash } => (Some(key_id), Some(secret_hash.as_slice())),
            Actor::User { .. } | Actor::System { .. } | Actor::Requester { .. } => (None, None),
        };
        let enter_params: [&(dyn crate::ToSql + Sync); 9] = [
            &caller.tenant().0,
            &user,
            &session,
            &key_id,
            &key_hash,
            &permission,
            &feature,
            &origin,
            &now,
        ];
        let key = idempotency.map(|idempotency| idempotency.key.as_str());
        let fingerprint =
            idempotency.map(|idempotency| kept_fingerprint(&self.0.sealer, caller, idempotency));
        let asker = asker(caller);
        let claim_params: [&(dyn crate::ToSql + Sync); 4] = [&asker, &key, &fingerprint, &now];

        let claiming: OptionFuture<_> = idempotency
            .map(|_| client.query(&opening.claim, &claim_params))
            .into();
        let (begun, entered, claimed, rows) = join4(
            client.batch_execute(self.0.begin),
            client.query(&opening.enter, &enter_params),
            claiming,
            answer_of(client, first, params),
        )
        .await;
        begun.map_err(from_postgres)?;
        entered.map_err(|error| with_missing(from_postgres(error), permission, feature))?;
        if let Some(Err(error)) = claimed {
            if is_replay(&error) {
                self.0.state.store(REPLAY, Ordering::Relaxed);
            }
            return Err(from_postgres(error));
        }
        rows.map_err(from_postgres)
    }
}

/// Who does it and from where, for the audit log.
pub(super) fn origin_json(caller: &Caller) -> String {
    let origin = caller.origin();
    let (actor, user_id) = match caller.actor() {
        Actor::User { user_id, .. } | Actor::Requester { user_id } => ("user".to_owned(), Some(user_id)),
        Actor::ApiKey { key_id, .. } => (format!("api_key:{key_id}"), None),
        Actor::System { name } => ((*name).to_owned(), None),
    };
    serde_json::json!({
        "actor": actor, "user_id": user_id, "request_id": origin.request_id, "ip": origin.ip, "user_agent": origin.user_agent,
    })
    .to_string()
}

/// Says which permission or feature is missing.
fn with_missing(error: Error, permission: Option<&str>, feature: Option<&str>) -> Error {
    match (error.code(), permission, feature) {
        (kernel::Code::Forbidden, Some(permission), _) => {
            error.with_details(serde_json::json!({ "permission": permission }))
        }
        (kernel::Code::PlanRequired, _, Some(feature)) if error.details().is_none() => {
            error.with_details(serde_json::json!({ "feature": feature }))
        }
        _ => error,
    }
}
