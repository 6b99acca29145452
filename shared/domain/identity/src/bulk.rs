//! One thing done to many users (S12.4): what came of it for each, in a fixed number of statements.

use crate::escalation::Granted;
use crate::invite;
use crate::lifecycle::{self, Change, Target};
use audit::event;
use db::Tx;
use kernel::{Code, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// How many users one request names.
pub const MAX_USERS: usize = 100;

const GIVE_ROLES: &str = "INSERT INTO user_roles (tenant_id, user_id, role_id, created_at)
     SELECT $1, user_id, role_id, $4 FROM unnest($2::uuid[]) AS user_id CROSS JOIN unnest($3::uuid[]) AS role_id
     ON CONFLICT DO NOTHING";
const JOIN_GROUPS: &str = "INSERT INTO group_members (tenant_id, group_id, user_id, added_at)
     SELECT $1, group_id, user_id, $4 FROM unnest($2::uuid[]) AS user_id CROSS JOIN unnest($3::uuid[]) AS group_id
     ON CONFLICT DO NOTHING";

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Roles and groups are handed out.
    Grant(Granted),
    Suspend,
    ResendInvite,
}

/// What came of it for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    pub user_id: Uuid,
    /// Whether it is done, now or already before.
    pub ok: bool,
    /// Why not: a code as in the error envelope.
    pub code: Option<String>,
    pub message: Option<String>,
}

impl Outcome {
    fn of(user_id: Uuid, result: Result<()>) -> Self {
        let error = result.err();
        Self {
            user_id,
            ok: error.is_none(),
            code: error.as_ref().map(|error| error.code().as_str().to_owned()),
            message: error.map(|error| error.message().to_owned()),
        }
    }
}

/// Whom it can be done to, and what the others are told.
#[derive(Debug)]
pub struct Plan {
    todo: Vec<Target>,
    outcomes: Vec<Outcome>,
}

impl Plan {
    /// The addresses of those whom it is done to, in their order.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        self.todo.iter().map(|target| target.email.as_str()).collect()
    }

    /// Leaves out those of whom this says why, in the order of [`Plan::addresses`].
    #[must_use]
    pub fn without(self, refusals: Vec<Result<()>>) -> Self {
        let Self { todo, mut outcomes } = self;
        let mut kept = Vec::new();
        for (target, refusal) in todo.into_iter().zip(refusals) {
            if refusal.is_ok() {
                kept.push(target);
            } else if let Some(outcome) = outcomes.iter_mut().find(|outcome| outcome.user_id == target.id) {
                *outcome = Outcome::of(target.id, refusal);
            }
        }
        Self { todo: kept, outcomes }
    }
}

/// Finds the users that it can be done to, and holds them; nothing is done to the others.
///
/// # Errors
/// 422 for no or too many users.
pub async fn plan(tx: &Tx, deed: &Deed, user_ids: &[Uuid]) -> Result<Plan> {
    let mut ids = user_ids.to_vec();
    ids.sort();
    ids.dedup();
    if ids.is_empty() || ids.len() > MAX_USERS {
        return Err(Error::field("user_ids", "out_of_range", "Name 1 to 100 users."));
    }
    let targets = lifecycle::targets(tx, &ids).await?;
    let mut todo: Vec<Target> = Vec::new();
    let mut outcomes = Vec::new();
    for id in ids {
        let result = match targets.iter().find(|target| target.id == id) {
            None => Err(Error::not_found()),
            Some(target) => check(deed, target).map(|wanted| {
                if wanted {
                    todo.push(target.clone());
                }
            }),
        };
        outcomes.push(Outcome::of(id, result));
    }
    Ok(Plan { todo, outcomes })
}

/// Does it; what came of it for each user, in the order of their ids.
///
/// # Errors
/// What the database refuses as a whole (409 when no super admin would be left, 422 `LIMIT_REACHED` when
/// seats run out: they are counted at the commit, all together).
pub async fn carry_out(tx: &Tx, deed: &Deed, plan: Plan, app_url: &str) -> Result<Vec<Outcome>> {
    let Plan { todo, outcomes } = plan;
    match deed {
        Deed::Grant(granted) => Box::pin(grant(tx, &todo, granted)).await?,
        Deed::Suspend => lifecycle::change(tx, &todo, Change::Suspend, &json!({ "bulk": true })).await?,
        Deed::ResendInvite => invite::resend(tx, &todo, app_url).await?,
    }
    Ok(outcomes)
}

/// Whether there is something to do to this user.
fn check(deed: &Deed, target: &Target) -> Result<bool> {
    match deed {
        Deed::Suspend => target.check(Change::Suspend),
        Deed::ResendInvite => {
            target.may_be_touched()?;
            invite::may_be_sent_again(target)?;
            Ok(true)
        }
        Deed::Grant(_) => {
            target.may_be_touched()?;
            if target.is_oneself() {
                return Err(Error::new(
                    Code::Forbidden,
                    "Nobody changes their own roles and groups.",
                ));
            }
            Ok(true)
        }
    }
}

async fn grant(tx: &Tx, targets: &[Target], granted: &Granted) -> Result<()> {
    let ids: Vec<Uuid> = targets.iter().map(|target| target.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let role_params: [&(dyn db::ToSql + Sync); 4] = [&tenant, &ids, &granted.role_ids, &now];
    let group_params: [&(dyn db::ToSql + Sync); 4] = [&tenant, &ids, &granted.group_ids, &now];
    let given = json!({ "assigned": granted.role_ids, "removed": [] });
    let joined = json!({ "added": ids });
    let changed: &[Uuid] = if granted.role_ids.is_empty() { &[] } else { &ids };
    futures::try_join!(
        tx.execute(GIVE_ROLES, &role_params),
        tx.execute(JOIN_GROUPS, &group_params),
        event::publish_each(tx, "user.role.changed", changed, &given),
        event::publish_each(tx, "group.members.changed", &granted.group_ids, &joined),
    )
    .map(drop)
}
