//! One thing done to many users.

use super::hand_out;
use crate::App;
use axum::extract::State;
use identity::bulk::{self, Deed, Outcome};
use identity::escalation::Grants;
use kernel::{Error, Permission};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use web::{Auth, Json, Result};

/// What is done to many users.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    AddToGroup,
    AssignRole,
    Suspend,
    ResendInvite,
}

/// The body: what, and to whom.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkBody {
    pub action: Action,
    #[schemars(length(min = 1, max = 100))]
    pub user_ids: Vec<Uuid>,
    /// With `assign_role`: the role by id …
    pub role_id: Option<Uuid>,
    /// … or by code.
    pub role: Option<String>,
    /// With `add_to_group`.
    pub group_id: Option<Uuid>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BulkAnswer {
    pub succeeded: usize,
    pub failed: usize,
    /// One for each user, in the order of their ids.
    pub results: Vec<Outcome>,
}

/// Does one thing to up to 100 users.
///
/// Each user is done or told why not. `assign_role` also needs `role.assign`, `add_to_group`
/// `groups.members.manage`, and neither hands out more than the caller holds: that, a company left
/// without a super admin, or more users who begin to need a seat than there are seats
/// (`LIMIT_REACHED`) refuses the whole request. `add_to_group` needs groups in the plan (402).
/// `resend_invite` tells of users whose mailbox, or whose company, gets no more links for now as
/// `RATE_LIMITED`.
pub async fn run(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<BulkBody>,
) -> Result<Json<BulkAnswer>> {
    let (grants, needed) = wanted(&body)?;
    let results = app.db.write(&caller, async |tx| {
        let deed = match body.action {
            Action::Suspend => Deed::Suspend,
            Action::ResendInvite => Deed::ResendInvite,
            Action::AddToGroup | Action::AssignRole => Deed::Grant(hand_out(&tx, &grants, &needed).await?),
        };
        let mut plan = bulk::plan(&tx, &deed, &body.user_ids).await?;
        if deed == Deed::ResendInvite {
            let refusals = app.mails.ask_each(tx.tenant(), &plan.addresses()).await?;
            plan = plan.without(refusals);
        }
        bulk::carry_out(&tx, &deed, plan, &app.app_url).await
    });
    let results = results.await?;
    let succeeded = results.iter().filter(|outcome| outcome.ok).count();
    Ok(Json(BulkAnswer {
        succeeded,
        failed: results.len() - succeeded,
        results,
    }))
}

/// What is handed out, and the permission that handing it out needs beside the route's.
fn wanted(body: &BulkBody) -> kernel::Result<(Grants, Vec<Permission>)> {
    let mut grants = Grants::default();
    let missing = |path| Error::field(path, "required", "This action needs it.");
    let needed = match body.action {
        Action::AssignRole => {
            match (body.role_id, &body.role) {
                (Some(id), None) => grants.role_ids.push(id),
                (None, Some(code)) => grants.roles.push(code.clone()),
                _ => {
                    return Err(Error::field(
                        "role_id",
                        "required",
                        "Name one role, by role_id or role.",
                    ));
                }
            }
            vec![Permission::RoleAssign]
        }
        Action::AddToGroup => {
            grants
                .group_ids
                .push(body.group_id.ok_or_else(|| missing("group_id"))?);
            vec![Permission::GroupsMembersManage]
        }
        // The route's own permission grants the finer ones.
        Action::Suspend | Action::ResendInvite => Vec::new(),
    };
    Ok((grants, needed))
}
