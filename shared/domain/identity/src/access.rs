//! What somebody holds in effect, why, and what of it they may hand on (S12.5, S12.8).
//!
//! Nobody gives what they do not hold: a statement that grants returns what its caller lacks of it,
//! in the same trip, and [`refuse_lacking`] ends the transaction when that is anything.

use crate::user;
use db::{Row, Tx};
use kernel::{Actor, Code, Error, Permission, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

/// The code of the system role that only its holders give and take.
pub const SUPER_ADMIN: &str = "super_admin";
/// Its id, the same everywhere.
pub(crate) const SUPER_ADMIN_ID: Uuid = Uuid::from_u128(0x7000_8000_0000_0000_0001);

const GRANTER: &str =
    "SELECT app.person_behind($1, $2, $3),
            EXISTS (SELECT FROM user_roles ur JOIN roles r ON r.id = ur.role_id
                    WHERE ur.tenant_id = $1 AND ur.user_id = $2 AND r.tenant_id IS NULL AND r.code = 'super_admin'),
            ARRAY(SELECT DISTINCT held.role_id FROM app.roles_held($1, app.person_behind($1, $2, $3)) held)";
/// Permissions that differ in their names only are refused alike, and asked about together.
const EFFECTIVE: &str = "WITH held AS MATERIALIZED (
         SELECT h.role_id, h.given_role_id, h.group_id FROM app.roles_held($1, $2) h
     ), now AS MATERIALIZED (
         SELECT alike.codes, app.refusal($1, $2, alike.codes[1], NULL, $3) AS refusal
         FROM (SELECT array_agg(p.code) AS codes FROM permissions p
               WHERE p.code IN (SELECT rp.permission_code FROM held JOIN role_permissions rp ON rp.role_id = held.role_id)
               GROUP BY to_jsonb(p) - '{code,description}'::text[]) alike
     )
     SELECT p.code, p.description, given.id, given.code, given.name, source.id, source.code, source.name,
            g.id, g.code, g.name, now.refusal
     FROM held
     JOIN role_permissions rp ON rp.role_id = held.role_id
     JOIN permissions p ON p.code = rp.permission_code
     JOIN now ON p.code = ANY (now.codes)
     JOIN roles given ON given.id = held.given_role_id
     JOIN roles source ON source.id = held.role_id
     LEFT JOIN groups g ON g.tenant_id = $1 AND g.id = held.group_id
     ORDER BY p.code, given.code, source.code, g.code NULLS FIRST";

/// Whoever is about to grant something.
#[derive(Clone, Debug)]
pub struct Granter {
    /// The user, or the user who made the API key.
    person: Option<Uuid>,
    /// A key is none, whoever made it.
    super_admin: bool,
    /// What that person holds in effect: given, by a group, and those inherited from.
    roles: Vec<Uuid>,
    system: bool,
}

impl Granter {
    /// The caller of the transaction.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn of(tx: &Tx) -> Result<Self> {
        let (user, key) = actor(tx);
        let row = tx.query_one(GRANTER, &[&tx.tenant().0, &user, &key]).await?;
        Ok(Self {
            person: row.get(0),
            super_admin: row.get(1),
            roles: row.get(2),
            system: matches!(tx.caller().actor(), Actor::System { .. }),
        })
    }

    /// Whether it is one of our own functions, which act for who runs the system.
    pub(crate) fn is_system(&self) -> bool {
        self.system
    }

    /// Whether this user is the one who asks.
    #[must_use]
    pub fn is(&self, user_id: Uuid) -> bool {
        self.person == Some(user_id)
    }

    /// One of `user_ids` is the one who asks.
    pub(crate) fn is_among(&self, user_ids: &[Uuid]) -> bool {
        user_ids.iter().any(|user_id| self.is(*user_id))
    }

    /// Whether it is a super admin, or one of our own functions.
    pub(crate) fn is_super_admin(&self) -> bool {
        self.super_admin || self.system
    }

    /// # Errors
    /// 403 for all but super admins (and our own functions).
    pub fn must_be_super_admin(&self) -> Result<()> {
        if self.is_super_admin() {
            return Ok(());
        }
        Err(Error::new(
            Code::Forbidden,
            "Only a super admin makes or unmakes super admins.",
        ))
    }

    /// Nobody adds to a role that they hold themselves.
    ///
    /// # Errors
    /// 403 for a role that the caller, or who made the caller's API key, holds in whatever way.
    pub(crate) fn must_not_hold(&self, role_id: Uuid) -> Result<()> {
        if self.roles.contains(&role_id) {
            return Err(Error::new(
                Code::Forbidden,
                "You hold this role yourself; ask somebody else to add to it.",
            ));
        }
        Ok(())
    }
}

/// The user and the API key that a caller is, one of them at most.
pub(crate) fn actor(tx: &Tx) -> (Option<Uuid>, Option<Uuid>) {
    match tx.caller().actor() {
        Actor::User { user_id, .. } | Actor::Requester { user_id } => (Some(*user_id), None),
        Actor::ApiKey { key_id, .. } => (None, Some(*key_id)),
        Actor::System { .. } => (None, None),
    }
}

/// Ends a grant of what the caller does not hold. `lacking` is what `app.permissions_lacking` or
/// `app.roles_lacking` said for the caller; our own functions lack nothing.
///
/// # Errors
/// 403 with `details.permissions`.
pub fn refuse_lacking(tx: &Tx, lacking: &[String]) -> Result<()> {
    if lacking.is_empty() || matches!(tx.caller().actor(), Actor::System { .. }) {
        return Ok(());
    }
    Err(Error::new(
        Code::Forbidden,
        "You can't grant permissions that you do not hold yourself.",
    )
    .with_details(json!({ "permissions": lacking })))
}

/// 403: nobody changes what they may do themselves.
pub(crate) fn own_access() -> Error {
    Error::new(
        Code::Forbidden,
        "You can't change your own roles and groups; ask somebody else who may.",
    )
}

/// Reads permission codes from a body, and adds what they imply. Each unknown one is rejected.
pub(crate) fn parse_permissions(
    validator: &mut Validator,
    path: &str,
    codes: &[String],
) -> BTreeSet<Permission> {
    if codes.len() > Permission::ALL.len() {
        validator.reject(
            path,
            "too_many",
            "There are not so many permissions; name each once.",
        );
        return BTreeSet::new();
    }
    let mut given = Vec::new();
    for (at, code) in codes.iter().enumerate() {
        match Permission::parse(code) {
            Some(permission) => given.push(permission),
            None => validator.reject(format!("{path}[{at}]"), "unknown", "There is no such permission."),
        }
    }
    Permission::with_implied(&given)
}

/// What they are called in the database.
pub(crate) fn codes(permissions: &BTreeSet<Permission>) -> Vec<&'static str> {
    permissions.iter().map(|permission| permission.code()).collect()
}

/// A role or group, named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    pub id: Uuid,
    pub code: String,
    pub name: String,
}

/// One of the reasons why a user holds a permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// The role that the user was given, or that the group gives.
    pub role: Named,
    /// The role further up the tree that grants the permission, when it is not `role` itself.
    pub inherited_from: Option<Named>,
    /// The group that gives the role, when a group does.
    pub group: Option<Named>,
}

/// A permission that a user holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldPermission {
    pub code: String,
    pub description: String,
    /// Why a request that needs it would be refused now all the same, as the code that it would be
    /// answered with: `UNAUTHENTICATED` (the account is not active), `AUTH_EMAIL_UNVERIFIED`,
    /// `AUTH_2FA_SETUP_REQUIRED`, `AUTH_PHONE_UNVERIFIED`, `PLAN_REQUIRED` (a bill is long overdue). Null:
    /// nothing is in its way.
    pub blocked_by: Option<String>,
    pub granted_by: Vec<Reason>,
}

/// All that a user may do, by code, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EffectivePermissions {
    pub user_id: Uuid,
    pub permissions: Vec<HeldPermission>,
}

/// What a user may do and why, or why not now, as it counts for the user's next request (S12.8).
///
/// # Errors
/// 404 when the company has no such user.
pub async fn effective(tx: &Tx, user_id: Uuid) -> Result<EffectivePermissions> {
    let now = tx.clock().now();
    let params: db::Params<'_> = &[&tx.tenant().0, &user_id, &now];
    let ((), rows) = futures::try_join!(user::exists(tx, user_id), tx.query(EFFECTIVE, params))?;
    let mut permissions: Vec<HeldPermission> = Vec::new();
    for row in &rows {
        let code: String = row.get(0);
        if permissions.last().is_none_or(|last| last.code != code) {
            permissions.push(HeldPermission {
                code,
                description: row.get(1),
                blocked_by: row.get::<_, Option<&str>>(11).map(blocking),
                granted_by: Vec::new(),
            });
        }
        if let Some(held) = permissions.last_mut() {
            held.granted_by.push(reason(row));
        }
    }
    Ok(EffectivePermissions { user_id, permissions })
}

/// The code that a request is answered with for what `app.refusal` says.
fn blocking(refusal: &str) -> String {
    let code = db::refused(refusal).map_or(Code::Forbidden, |error| error.code());
    code.as_str().to_owned()
}

fn reason(row: &Row) -> Reason {
    let named = |first: usize| Named {
        id: row.get(first),
        code: row.get(first + 1),
        name: row.get(first + 2),
    };
    let (role, source) = (named(2), named(5));
    Reason {
        inherited_from: (source != role).then_some(source),
        group: row.get::<_, Option<Uuid>>(8).map(|_| named(8)),
        role,
    }
}
