//! The first super admin of a company that was provisioned (plan 4). Nobody else of the company can log
//! in before they joined, so when their invitation ran out or went astray, whoever runs the system sends
//! another, also to another address.

use crate::company::{CompanyStatus, Provisioned};
use crate::invite::{self, NewColleague};
use crate::lifecycle::{self, Target};
use crate::{access, company, member};
use audit::event;
use db::Tx;
use kernel::{Code, Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// Whoever waits for a first password and is a super admin afterwards; the earliest, should there be
/// several.
const WAITING: &str = "SELECT u.id FROM roles r
     JOIN user_roles ur ON ur.tenant_id = $1 AND ur.role_id = r.id
     JOIN users u ON u.tenant_id = $1 AND u.id = ur.user_id
     WHERE r.tenant_id IS NULL AND r.code = 'super_admin' AND u.erased_at IS NULL
       AND (u.status = 'invited' OR (u.status = 'active' AND u.password_hash IS NULL))
     ORDER BY u.created_at, u.id LIMIT 1";
const HAS_ONE: &str = "SELECT EXISTS (SELECT FROM app.super_admins($1))";
const PROFILE: &str = "SELECT email, full_name FROM users WHERE tenant_id = $1 AND id = $2";
const CORRECT: &str = "UPDATE users SET email = $3, email_norm = $4, full_name = $5, updated_at = $6,
         email_verified_at = CASE WHEN email_norm = $4 THEN email_verified_at END
     WHERE tenant_id = $1 AND id = $2
       AND NOT EXISTS (SELECT FROM users other WHERE other.tenant_id = $1 AND other.email_norm = $4 AND other.id <> $2)";

/// What was wrong with the first invitation: what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteAgain {
    /// The right address.
    pub email: Option<String>,
    #[schemars(length(max = 120))]
    pub full_name: Option<String>,
}

/// The company, and its first super admin, held until the transaction ends: still waiting.
///
/// # Errors
/// 404 when there is no such company; 409 when it is not active, which would refuse the link, when it has
/// a super admin who can log in, and when nobody of it waits.
pub async fn find(tx: &Tx) -> Result<(Provisioned, Target)> {
    let refused = |message| Error::new(Code::Conflict, message);
    let company = company::find_silently(tx).await?;
    if company.status != CompanyStatus::Active {
        return Err(refused("The company is suspended or closed; activate it first."));
    }
    let row = tx.query_opt(WAITING, &[&tx.tenant().0]).await?;
    let waiting: Option<Uuid> = row.map(|row| row.get(0));
    let target = lifecycle::targets(tx, waiting.as_slice()).await?.pop();
    // Asked once the user is held, who may just have joined.
    let has_one = tx.query_one(HAS_ONE, &[&tx.tenant().0]).await?;
    if has_one.get(0) {
        let message = "The company has a super admin who can log in, and invites others.";
        return Err(refused(message));
    }
    let target = target.ok_or_else(|| refused("Nobody of the company waits for an invitation."))?;
    invite::may_be_sent_again(&target)?;
    let admin_user_id = target.id;
    Ok((
        Provisioned {
            company,
            admin_user_id,
        },
        target,
    ))
}

impl InviteAgain {
    /// Corrects the user, who is held.
    ///
    /// # Errors
    /// 422 with every field that is wrong; 409 `DUPLICATE` for the address of another user.
    pub async fn correct(&self, tx: &Tx, target: &mut Target) -> Result<()> {
        if self.email.is_none() && self.full_name.is_none() {
            return Ok(());
        }
        let row = tx.query_one(PROFILE, &[&tx.tenant().0, &target.id]).await?;
        let email = self.email.as_deref().unwrap_or(row.get(0));
        let new = NewColleague::parse(email, self.full_name.as_deref())?;
        let full_name = new.full_name().unwrap_or(row.get(1));
        let (tenant, now) = (tx.tenant().0, tx.clock().now());
        let params: db::Params<'_> = &[
            &tenant,
            &target.id,
            &new.email().address,
            &new.email().normalised,
            &full_name,
            &now,
        ];
        if tx.execute(CORRECT, params).await? == 0 {
            return Err(invite::taken());
        }
        target.email.clone_from(&new.email().address);
        member::write_names(tx, target.id, full_name).await
    }
}

/// Mails the invitation, after which no earlier link works.
///
/// # Errors
/// As the database fails.
pub async fn invite(tx: &Tx, target: Target, app_url: &str) -> Result<()> {
    let about = json!({ "role_ids": [access::SUPER_ADMIN_ID], "group_ids": [] });
    event::publish(tx, "user.invited", target.id, &about).await?;
    invite::resend(tx, &[target], app_url).await
}
