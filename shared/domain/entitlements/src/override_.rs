//! What a company, a group or a user has instead of what the plan says (S3A.3, S12.4).

mod change;

use crate::effective::{self, Effective, Whom};
use audit::{event, log};
use db::{Row, Tx};
use jiff::Timestamp;
use kernel::{Code, Error, Feature, Limit, Result, TenantId, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

pub use change::{Change, change};

/// Whose overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope", content = "id")]
pub enum Scope {
    Tenant,
    Group(Uuid),
    User(Uuid),
}

/// One override.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    pub code: String,
    /// Of a feature; null for a limit.
    pub enabled: Option<bool>,
    /// Of a limit; null for a feature, and when it is unlimited.
    pub limit_value: Option<i64>,
    pub unlimited: bool,
    /// Who set it last, unless that was one of our own functions.
    pub set_by: Option<Uuid>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An override as asked for: `enabled` for a feature; for a limit `limit_value`, or `unlimited`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetOverride {
    /// A feature or limit, as `maps.enabled` or `contacts.max`.
    pub code: String,
    pub enabled: Option<bool>,
    #[schemars(range(min = 0))]
    pub limit_value: Option<i64>,
    #[serde(default)]
    pub unlimited: bool,
}

/// The overrides of a scope, and what comes of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overrides {
    /// `tenant`, `group` or `user`.
    pub scope: String,
    /// The company's, group's or user's id.
    pub scope_id: Uuid,
    /// By code.
    pub overrides: Vec<Override>,
    /// Everything as it is with them: for the company, for a member of this group only, for the user.
    pub effective: Effective,
}

/// The largest number that every JSON reader keeps exactly.
pub const MAX_LIMIT: i64 = 9_007_199_254_740_991;
/// What a company can't override. Who switched the first off could not switch it on again; own SQL
/// over shared tables is given to a company by hand only, and stays when the company sets its own.
const FIXED: [Feature; 2] = [Feature::AdminEntitlementsOverrides, Feature::DashboardCustomSql];

const LOCK_TENANT: &str = "SELECT 1 FROM tenants WHERE id = $1 AND id = $2 FOR NO KEY UPDATE";
const LOCK_GROUP: &str = "SELECT 1 FROM groups WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE";
const LOCK_USER: &str = "SELECT 1 FROM users WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE";
const FIND_TENANT: &str = "SELECT 1 FROM tenants WHERE id = $1 AND id = $2";
const FIND_GROUP: &str = "SELECT 1 FROM groups WHERE tenant_id = $1 AND id = $2";
const FIND_USER: &str = "SELECT 1 FROM users WHERE tenant_id = $1 AND id = $2";

const LIST: &str =
    "SELECT o.code, o.enabled, o.limit_value, c.kind, o.set_by, o.created_at, o.updated_at FROM entitlement_overrides o
     JOIN entitlement_codes c ON c.code = o.code
     WHERE o.tenant_id = $1 AND o.scope = $2 AND o.scope_id = $3 AND o.code <> ALL ($4) ORDER BY o.code COLLATE \"C\"";

const REMOVE_OTHERS: &str = "DELETE FROM entitlement_overrides
     WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND code <> ALL ($4)";

/// What stays as it was keeps who set it, and when.
const PUT: &str = "INSERT INTO entitlement_overrides AS o
         (tenant_id, scope, scope_id, code, enabled, limit_value, set_by, created_at, updated_at)
     SELECT $1, $2, $3, new.code, new.enabled, new.limit_value, $7, $8, $8
     FROM unnest($4::text[], $5::boolean[], $6::bigint[]) AS new (code, enabled, limit_value)
     ON CONFLICT (tenant_id, scope, scope_id, code) DO UPDATE
     SET enabled = excluded.enabled, limit_value = excluded.limit_value, set_by = excluded.set_by,
         updated_at = excluded.updated_at
     WHERE (o.enabled, o.limit_value) IS DISTINCT FROM (excluded.enabled, excluded.limit_value)";

/// A scope's overrides and what comes of them.
///
/// # Errors
/// 404 when the company has no such group or user.
pub async fn find(tx: &Tx, scope: Scope) -> Result<Overrides> {
    let (find, tenant, id) = (scope.statements().0, tx.tenant().0, scope.id(tx.tenant()));
    let params: [&(dyn db::ToSql + Sync); 2] = [&tenant, &id];
    let (found, overrides) = futures::try_join!(tx.query_opt(find, &params), read(tx, scope))?;
    found.ok_or_else(Error::not_found)?;
    Ok(overrides)
}

/// As [`find`], and holds the scope's overrides until the transaction ends.
///
/// # Errors
/// As [`find`].
pub async fn find_for_update(tx: &Tx, scope: Scope) -> Result<Overrides> {
    let (lock, tenant, id) = (scope.statements().1, tx.tenant().0, scope.id(tx.tenant()));
    tx.query_opt(lock, &[&tenant, &id])
        .await?
        .ok_or_else(Error::not_found)?;
    // In a trip of its own: what is read now is what the one before us wrote.
    read(tx, scope).await
}

/// Replaces a scope's overrides by these; none of them means that the plan is all there is. Lowering
/// a limit below what is used takes nothing away, and lets nothing more be made. On trial a limit is
/// lowered and not lifted: what is above the trial's counts once the company is on a plan.
///
/// # Errors
/// 404 when the company has no such group or user; 422 with every override that is not one.
pub async fn set(tx: &Tx, scope: Scope, wanted: &[SetOverride]) -> Result<Overrides> {
    check(scope, wanted)?;
    let current = find_for_update(tx, scope).await?;
    replace(tx, scope, &current, wanted).await
}

/// As [`set`], of a wish that was weighed against these values: only where they are still what there is,
/// so that nothing that was set meanwhile is undone unseen.
///
/// # Errors
/// As [`set`]; 409 when they were changed meanwhile.
pub async fn set_over(
    tx: &Tx,
    scope: Scope,
    before: &[SetOverride],
    wanted: &[SetOverride],
) -> Result<Overrides> {
    check(scope, wanted)?;
    let current = find_for_update(tx, scope).await?;
    if current.values() != before {
        return Err(Error::new(
            Code::Conflict,
            "The overrides were changed after this was asked for; look at them and ask again.",
        ));
    }
    replace(tx, scope, &current, wanted).await
}

/// As [`set`], of what [`find_for_update`] read in this transaction.
///
/// # Errors
/// 422 with every override that is not one.
pub async fn replace(
    tx: &Tx,
    scope: Scope,
    current: &Overrides,
    wanted: &[SetOverride],
) -> Result<Overrides> {
    check(scope, wanted)?;
    let (tenant, name, id, now) = (
        tx.tenant().0,
        scope.name(),
        scope.id(tx.tenant()),
        tx.clock().now(),
    );
    let codes: Vec<&str> = wanted.iter().map(|new| new.code.as_str()).collect();
    let enabled: Vec<Option<bool>> = wanted.iter().map(|new| new.enabled).collect();
    let limits: Vec<Option<i64>> = wanted.iter().map(|new| new.limit_value).collect();
    let set_by = tx.caller().user_id();
    let kept = [codes.as_slice(), &FIXED.map(Feature::code)].concat();
    let removed: [&(dyn db::ToSql + Sync); 4] = [&tenant, &name, &id, &kept];
    let put: [&(dyn db::ToSql + Sync); 8] = [&tenant, &name, &id, &codes, &enabled, &limits, &set_by, &now];
    let before = current.values();
    let changes = json!({ "scope": name, "scope_id": id, "before": before, "after": wanted });
    let told = json!({ "scope": name, "codes": changed(&current.overrides, wanted) });
    futures::try_join!(
        tx.execute(REMOVE_OTHERS, &removed),
        tx.execute(PUT, &put),
        // On the heap: the four together would fill the stack.
        Box::pin(event::publish(tx, "entitlement.override.changed", id, &told)),
        Box::pin(log::record(
            tx,
            "entitlement.override.changed",
            name,
            Some(id),
            &changes
        )),
    )?;
    read(tx, scope).await
}

async fn read(tx: &Tx, scope: Scope) -> Result<Overrides> {
    let (overrides, effective) = futures::try_join!(list(tx, scope), effective::find(tx, scope.whom()))?;
    Ok(scope.with(tx, overrides, effective))
}

async fn list(tx: &Tx, scope: Scope) -> Result<Vec<Override>> {
    let rows = tx
        .query(
            LIST,
            &[
                &tx.tenant().0,
                &scope.name(),
                &scope.id(tx.tenant()),
                &FIXED.map(Feature::code).as_slice(),
            ],
        )
        .await?;
    Ok(rows.iter().map(record).collect())
}

fn record(row: &Row) -> Override {
    let limit_value: Option<i64> = row.get("limit_value");
    Override {
        code: row.get("code"),
        enabled: row.get("enabled"),
        limit_value,
        unlimited: row.get::<_, &str>("kind") == "limit" && limit_value.is_none(),
        set_by: row.get("set_by"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    }
}

/// The codes that are not what they were.
fn changed<'a>(before: &'a [Override], after: &'a [SetOverride]) -> BTreeSet<&'a str> {
    let was: Vec<SetOverride> = before.iter().map(Override::value).collect();
    let gone = before
        .iter()
        .filter(|old| !after.iter().any(|new| new.code == old.code))
        .map(|old| old.code.as_str());
    let new = after.iter().filter(|new| !was.contains(new));
    gone.chain(new.map(|new| new.code.as_str())).collect()
}

/// Checks what was asked for.
///
/// # Errors
/// 422 with every override that is not one.
pub fn check(scope: Scope, wanted: &[SetOverride]) -> Result<()> {
    let mut validator = Validator::default();
    let mut seen = BTreeSet::new();
    if wanted.len() > Feature::ALL.len() + Limit::ALL.len() {
        validator.reject(
            "overrides",
            "too_many",
            "There are not so many features and limits.",
        );
        return validator.finish();
    }
    for (at, new) in wanted.iter().enumerate() {
        let path = |field: &str| format!("overrides[{at}].{field}");
        if !seen.insert(new.code.as_str()) {
            validator.reject(path("code"), "duplicate", "This code is there twice.");
        }
        match (Feature::from_code(&new.code), Limit::from_code(&new.code)) {
            (Some(fixed), _) if FIXED.contains(&fixed) => {
                validator.reject(path("code"), "fixed", "This one is not a company's to override.");
            }
            (Some(_), _) if new.enabled.is_none() || new.limit_value.is_some() || new.unlimited => {
                validator.reject(path("enabled"), "invalid", "A feature is enabled, true or false.");
            }
            (_, Some(Limit::UsersMax)) if scope != Scope::Tenant => validator.reject(
                path("code"),
                "fixed",
                "Seats are the company's: override this one for the whole company.",
            ),
            (_, Some(_)) if new.enabled.is_some() || new.limit_value.is_some() == new.unlimited => validator
                .reject(
                    path("limit_value"),
                    "invalid",
                    "A limit has either a limit_value or unlimited: true.",
                ),
            (_, Some(_))
                if new
                    .limit_value
                    .is_some_and(|value| !(0..=MAX_LIMIT).contains(&value)) =>
            {
                validator.reject(path("limit_value"), "out_of_range", "A limit is 0 or more.");
            }
            (None, None) => validator.reject(path("code"), "unknown", "There is no such feature or limit."),
            _ => {}
        }
    }
    validator.finish()
}

impl Overrides {
    /// What setting them would take, without who and when.
    #[must_use]
    pub fn values(&self) -> Vec<SetOverride> {
        self.overrides.iter().map(Override::value).collect()
    }

    /// What replacing them replaces, and so what two who do it at once have to agree on: not what comes
    /// of them, which changes with every record that is counted.
    #[must_use]
    pub fn replaced(&self) -> (String, Uuid, Vec<SetOverride>) {
        (self.scope.clone(), self.scope_id, self.values())
    }
}

impl Override {
    /// Without who and when.
    fn value(&self) -> SetOverride {
        SetOverride {
            code: self.code.clone(),
            enabled: self.enabled,
            limit_value: self.limit_value,
            unlimited: self.unlimited,
        }
    }
}

impl Scope {
    /// `tenant`, `group` or `user`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Group(_) => "group",
            Self::User(_) => "user",
        }
    }

    /// The company's, group's or user's id.
    #[must_use]
    pub fn id(self, tenant: TenantId) -> Uuid {
        match self {
            Self::Tenant => tenant.0,
            Self::Group(id) | Self::User(id) => id,
        }
    }

    fn whom(self) -> Whom {
        match self {
            Self::Tenant => Whom::Company,
            Self::Group(id) => Whom::Group(id),
            Self::User(id) => Whom::User(id),
        }
    }

    /// To find whom it names, and to hold on to them.
    fn statements(self) -> (&'static str, &'static str) {
        match self {
            Self::Tenant => (FIND_TENANT, LOCK_TENANT),
            Self::Group(_) => (FIND_GROUP, LOCK_GROUP),
            Self::User(_) => (FIND_USER, LOCK_USER),
        }
    }

    fn with(self, tx: &Tx, overrides: Vec<Override>, effective: Effective) -> Overrides {
        Overrides {
            scope: self.name().to_owned(),
            scope_id: self.id(tx.tenant()),
            overrides,
            effective,
        }
    }
}
