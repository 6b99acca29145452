//! Suspending, deactivating and reactivating users, and ending their sessions (S12.2, S12.7). All of
//! it takes several users at once, in as many statements as for one.

use crate::member::Status;
use crate::{access, method};
use audit::{event, log};
use db::Tx;
use futures::future::try_join_all;
use kernel::{Code, Error, Result};
use notifications::notice::{self, Channel, Notice, To};
use serde_json::{Value, json};
use uuid::Uuid;

/// The users to act on, held in the order of their ids, whether they and the caller are super admins,
/// and whether one is the person who acts. No stronger lock than a change of them takes: one that
/// excludes foreign keys to them would wait for what they are doing, and be waited for.
const TARGETS: &str = "SELECT u.id, u.status, u.email, u.erased_at IS NOT NULL AS is_erased, u.password_hash IS NULL AS has_no_password, app.language_of(u.tenant_id, u.id) AS locale,
        EXISTS (SELECT FROM app.roles_held($1, u.id) h JOIN roles r ON r.id = h.role_id
                WHERE r.tenant_id IS NULL AND r.code = 'super_admin') AS is_super,
        EXISTS (SELECT FROM app.roles_held($1, $3) h JOIN roles r ON r.id = h.role_id
                WHERE r.tenant_id IS NULL AND r.code = 'super_admin') AS by_super,
        u.id IS NOT DISTINCT FROM app.person_behind($1, $3, $4) AS is_oneself
     FROM users u WHERE u.tenant_id = $1 AND u.id = ANY ($2) ORDER BY u.id FOR NO KEY UPDATE OF u";

/// Who never followed an invitation is invited again, not active.
const SET_STATUS: &str = "UPDATE users u SET updated_at = $4, status = CASE
         WHEN $3 = 'active' AND EXISTS (SELECT FROM invites i WHERE i.tenant_id = u.tenant_id AND i.user_id = u.id AND i.purpose = 'invite')
              AND NOT EXISTS (SELECT FROM invites i WHERE i.tenant_id = u.tenant_id AND i.user_id = u.id AND i.accepted_at IS NOT NULL)
         THEN 'invited' ELSE $3 END
     WHERE u.tenant_id = $1 AND u.id = ANY ($2)";
/// What the users hold though their accounts rest, and the caller does not.
const LACKING: &str = "SELECT app.roles_lacking($1, $3, $4, ARRAY(
         SELECT DISTINCT held.role_id FROM unnest($2::uuid[]) AS member CROSS JOIN LATERAL app.roles_held($1, member) held))";
const END_SESSIONS: &str = "UPDATE sessions SET revoked_at = $3, revoked_reason = 'revoked'
     WHERE tenant_id = $1 AND user_id = ANY ($2) AND revoked_at IS NULL AND expires_at > $3";
const END_SESSION: &str = "UPDATE sessions SET revoked_at = $4, revoked_reason = 'revoked'
     WHERE tenant_id = $1 AND user_id = $2 AND id = $3 AND revoked_at IS NULL AND expires_at > $4";
const REVOKE_LINKS: &str = "UPDATE invites SET revoked_at = $3
     WHERE tenant_id = $1 AND user_id = ANY ($2) AND accepted_at IS NULL AND revoked_at IS NULL";

/// What is done to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Can't log in for now.
    Suspend,
    /// Can log in again.
    Reactivate,
    /// Left the company.
    Deactivate,
}

impl Change {
    fn status(self) -> Status {
        match self {
            Self::Suspend => Status::Suspended,
            Self::Reactivate => Status::Active,
            Self::Deactivate => Status::Deactivated,
        }
    }

    fn event(self) -> &'static str {
        match self {
            Self::Suspend => "user.suspended",
            Self::Reactivate => "user.reinstated",
            Self::Deactivate => "user.deactivated",
        }
    }

    fn notice(self) -> Notice {
        match self {
            Self::Suspend => Notice::AccountSuspended,
            Self::Reactivate => Notice::AccountReactivated,
            Self::Deactivate => Notice::AccountDeactivated,
        }
    }

    /// Whether the account is what this makes it, already.
    fn is_done(self, status: Status) -> bool {
        status == self.status() || (self == Self::Reactivate && status == Status::Invited)
    }
}

/// A user that somebody acts on, locked until the transaction ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, as the statement finds it"
)]
pub struct Target {
    pub id: Uuid,
    pub status: Status,
    pub email: String,
    pub locale: String,
    /// Nobody can log in with a password yet.
    pub has_no_password: bool,
    is_super: bool,
    by_super: bool,
    is_oneself: bool,
    is_erased: bool,
}

impl Target {
    /// Only a super admin acts on a super admin.
    ///
    /// # Errors
    /// 403.
    pub fn may_be_touched(&self) -> Result<()> {
        if self.is_super && !self.by_super {
            return Err(Error::new(
                Code::Forbidden,
                "Only a super admin acts on a super admin.",
            ));
        }
        Ok(())
    }

    /// Whether this is who acts: the caller, or who made the caller's API key.
    #[must_use]
    pub fn is_oneself(&self) -> bool {
        self.is_oneself
    }

    /// # Errors
    /// 409 with `message` for the account of who acts.
    pub fn must_be_another(&self, message: &'static str) -> Result<()> {
        if self.is_oneself {
            return Err(Error::new(Code::Conflict, message));
        }
        Ok(())
    }

    /// Whether `change` may be made to this user by the caller; false when there is nothing to do.
    ///
    /// # Errors
    /// 403 for a super admin, 409 for the caller's own account (which an API key outlives) and for what
    /// does not follow from where the user stands.
    pub fn check(&self, change: Change) -> Result<bool> {
        self.may_be_touched()?;
        self.must_be_another("Nobody closes or reopens their own account; ask a colleague.")?;
        if change == Change::Reactivate && self.is_erased {
            return Err(Error::new(
                Code::Conflict,
                "This user was erased; invite the person anew.",
            ));
        }
        if change == Change::Suspend && matches!(self.status, Status::Invited | Status::Deactivated) {
            return Err(Error::new(
                Code::Conflict,
                "Only an active user can be suspended.",
            ));
        }
        Ok(!change.is_done(self.status))
    }
}

/// Those of these users that the company has, in the order of their ids, locked.
///
/// # Errors
/// As the database fails.
pub async fn targets(tx: &Tx, ids: &[Uuid]) -> Result<Vec<Target>> {
    let (user, key) = access::actor(tx);
    let rows = tx.query(TARGETS, &[&tx.tenant().0, &ids, &user, &key]).await?;
    let target = |row: &db::Row| Target {
        id: row.get("id"),
        status: Status::from_column(row.get("status")),
        email: row.get("email"),
        locale: row.get("locale"),
        has_no_password: row.get("has_no_password"),
        is_super: row.get("is_super"),
        by_super: row.get("by_super"),
        is_oneself: row.get("is_oneself"),
        is_erased: row.get("is_erased"),
    };
    Ok(rows.iter().map(target).collect())
}

/// As [`targets`], of one user.
///
/// # Errors
/// 404 when the company has no such user, 403 for a super admin when the caller is none.
pub async fn target(tx: &Tx, id: Uuid) -> Result<Target> {
    let target = targets(tx, &[id]).await?.pop().ok_or_else(Error::not_found)?;
    target.may_be_touched().map(|()| target)
}

/// As [`target`], and the colleague who gets what is the user's, when one is named.
///
/// # Errors
/// As [`target`]; 404 when the company has no such colleague.
pub async fn target_and_heir(tx: &Tx, id: Uuid, heir: Option<Uuid>) -> Result<(Target, Option<Target>)> {
    let ids: Vec<Uuid> = std::iter::once(id).chain(heir).collect();
    let found = targets(tx, &ids).await?;
    let one = |id| found.iter().find(|target| target.id == id).cloned();
    let target = one(id).ok_or_else(Error::not_found)?;
    target.may_be_touched()?;
    let heir = heir.map(|id| one(id).ok_or_else(Error::not_found)).transpose()?;
    Ok((target, heir))
}

/// Changes the accounts of users that [`Target::check`] let pass: their status, their sessions (over
/// at the next request), their open links, and tells them by e-mail and inbox. `about` goes into the
/// audit log and the event. Who is reactivated has all their roles and groups again, so that is handing
/// these out.
///
/// # Errors
/// 403 with `details.permissions` when reactivated users would hold what the caller does not; 409 at the
/// commit when no super admin would be left.
pub async fn change(tx: &Tx, targets: &[Target], change: Change, about: &Value) -> Result<()> {
    let ids: Vec<Uuid> = targets.iter().map(|target| target.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    if change == Change::Reactivate {
        may_give_back(tx, &ids).await?;
    }
    let (tenant, now, status) = (tx.tenant().0, tx.clock().now(), change.status().as_str());
    let status_params: [&(dyn db::ToSql + Sync); 4] = [&tenant, &ids, &status, &now];
    let link_params: [&(dyn db::ToSql + Sync); 3] = [&tenant, &ids, &now];
    // Links of a suspended user lead nowhere by themselves, and work again afterwards.
    let links = async {
        match change {
            Change::Deactivate => tx.execute(REVOKE_LINKS, &link_params).await.map(drop),
            Change::Suspend | Change::Reactivate => Ok(()),
        }
    };
    let notice = change.notice();
    // On the heap: so many statements at once make a large future.
    let all = async {
        futures::try_join!(
            tx.execute(SET_STATUS, &status_params),
            end_sessions(tx, &ids),
            links,
            event::publish_each(tx, change.event(), &ids, about),
            log::record_each(tx, change.event(), "user", &ids, about),
            try_join_all(targets.iter().map(|target| tell(tx, target, &notice))),
        )
    };
    Box::pin(all).await.map(drop)
}

/// A statement of its own, after the users' rows are held: it sees what they were given until then.
async fn may_give_back(tx: &Tx, ids: &[Uuid]) -> Result<()> {
    let (user, key) = access::actor(tx);
    let lacking = tx
        .query_one(LACKING, &[&tx.tenant().0, &ids, &user, &key])
        .await?;
    access::refuse_lacking(tx, &lacking.get::<_, Vec<String>>(0))
}

/// Ends every session of these users; says how many there were.
///
/// # Errors
/// As the database fails.
pub async fn end_sessions(tx: &Tx, ids: &[Uuid]) -> Result<u64> {
    tx.execute(END_SESSIONS, &[&tx.tenant().0, &ids, &tx.clock().now()])
        .await
}

/// Signs a user out everywhere.
///
/// # Errors
/// As the database fails.
pub async fn force_logout(tx: &Tx, target: &Target) -> Result<u64> {
    let ended = end_sessions(tx, &[target.id]).await?;
    let about = json!({ "sessions": ended });
    futures::try_join!(
        event::publish(tx, "user.forceLoggedOut", target.id, &about),
        log::record(tx, "user.forceLoggedOut", "user", Some(target.id), &about),
    )?;
    Ok(ended)
}

/// Ends one of a user's sessions, at its next request.
///
/// # Errors
/// 404 when the user has no such session that lives.
pub async fn end_session(tx: &Tx, target: &Target, session_id: Uuid) -> Result<()> {
    let now = tx.clock().now();
    let params: db::Params<'_> = &[&tx.tenant().0, &target.id, &session_id, &now];
    if tx.execute(END_SESSION, params).await? == 0 {
        return Err(Error::not_found());
    }
    let about = json!({ "session_id": session_id });
    log::record(tx, "session.revoked", "user", Some(target.id), &about).await
}

/// Takes a user's second factors, who has lost them, and signs them out everywhere: the next login
/// takes the password alone. Says how many sessions were ended.
///
/// # Errors
/// 409 for who acts: with the factor at hand it is turned off, and without it nobody is signed in.
pub async fn reset_second_factors(tx: &Tx, target: &Target) -> Result<u64> {
    target.must_be_another("Turn off your own second factor in your security settings.")?;
    let ended = end_sessions(tx, &[target.id]).await?;
    method::reset_all(tx, target.id).await.map(|()| ended)
}

/// By e-mail and in the inbox.
async fn tell(tx: &Tx, target: &Target, notice: &Notice) -> Result<()> {
    let to = |channel, address| To {
        user_id: Some(target.id),
        channel,
        address,
        locale: &target.locale,
    };
    let (email, inbox) = (to(Channel::Email, target.email.as_str()), to(Channel::Inbox, ""));
    futures::try_join!(notice::send(tx, &email, notice), notice::send(tx, &inbox, notice)).map(drop)
}
