//! What somebody has in the end, and why: their own override, else the largest of their groups',
//! else the company's, else the plan's (S3A.6, S12.8). On trial an override only lowers a limit.

use db::{Row, Tx};
use jiff::civil::Date;
use kernel::{Feature, Limit, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Every feature and limit, as somebody has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Effective {
    /// By code.
    pub features: Vec<FeatureState>,
    /// By code.
    pub limits: Vec<LimitState>,
}

/// A feature, on or off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureState {
    pub code: String,
    pub enabled: bool,
    pub source: Source,
    /// The user, group or company whose override it is.
    pub source_id: Option<Uuid>,
}

/// A limit, and what the company has used of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitState {
    pub code: String,
    /// Null when unlimited.
    pub limit_value: Option<i64>,
    pub unlimited: bool,
    pub source: Source,
    /// The user, group or company whose override it is.
    pub source_id: Option<Uuid>,
    /// What it counts on; null when it bounds a single thing and nothing is counted.
    pub meter: Option<String>,
    /// What the company has used in the period; null without a meter.
    pub used: Option<i64>,
    /// The first day of a monthly period (UTC); null when it counts for good.
    pub period_start: Option<Date>,
    /// The first day after it.
    pub period_end: Option<Date>,
}

/// Why something is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The user's own override.
    User,
    /// The largest override of their groups.
    Group,
    /// The company's override.
    Tenant,
    Plan,
    /// The features of the plan on trial, the limits of the free one, which no override lifts.
    Trial,
    /// Off since the grace of a bill that was not paid is over.
    PastDue,
}

/// Whom to work it out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Somebody without overrides of their own and without groups.
    Company,
    /// A member of this group and no other.
    Group(Uuid),
    User(Uuid),
}

/// A seat that is kept for an invitation which ran out is there for whoever wants one.
const EFFECTIVE: &str =
    "SELECT e.code, e.kind, e.enabled, e.limit_value, e.source, e.source_id, c.meter,
            coalesce(u.value, 0)
                - CASE c.meter WHEN 'seats.used' THEN (SELECT count(*) FROM app.late_seats($1)) ELSE 0 END AS used,
            CASE WHEN c.monthly THEN p.first END AS period_start,
            CASE WHEN c.monthly THEN (p.first + interval '1 month')::date END AS period_end
     FROM app.effective_entitlements($1, $2, $3, $4, $5, $6) e
     JOIN entitlement_codes c ON c.code = e.code
     CROSS JOIN LATERAL (SELECT app.period_start(c.monthly, $5) AS first) p
     LEFT JOIN usage_counters u ON u.tenant_id = $1 AND u.meter = c.meter AND u.period_start = p.first
     ORDER BY e.code COLLATE \"C\"";

const HAS_USER: &str = "SELECT 1 FROM users WHERE tenant_id = $1 AND id = $2";

/// Whether the company has this user.
///
/// # Errors
/// As the database fails.
pub async fn has_user(tx: &Tx, id: Uuid) -> Result<bool> {
    let found = tx.query_opt(HAS_USER, &[&tx.tenant().0, &id]).await?;
    Ok(found.is_some())
}

/// Everything, as `whom` has it now. Does not ask whether there is such a user or group.
///
/// # Errors
/// As the database fails.
pub async fn find(tx: &Tx, whom: Whom) -> Result<Effective> {
    let features = Feature::ALL.iter().map(|feature| feature.code());
    let codes: Vec<&str> = features
        .chain(Limit::ALL.iter().map(|limit| limit.code()))
        .collect();
    of_codes(tx, whom, &codes).await
}

/// As [`find`], of these codes only.
///
/// # Errors
/// As the database fails.
pub async fn of_codes(tx: &Tx, whom: Whom, codes: &[&str]) -> Result<Effective> {
    of_scopes(tx, whom, codes, None).await
}

/// As [`of_codes`], of what stands behind the overrides of a scope, by its name: what counts once they
/// are removed.
///
/// # Errors
/// As the database fails.
pub(crate) async fn behind(tx: &Tx, whom: Whom, codes: &[&str], scope: &str) -> Result<Effective> {
    of_scopes(tx, whom, codes, Some(scope)).await
}

async fn of_scopes(tx: &Tx, whom: Whom, codes: &[&str], without: Option<&str>) -> Result<Effective> {
    let (member, group) = match whom {
        Whom::Company => (None, None),
        Whom::Group(id) => (None, Some(id)),
        Whom::User(id) => (Some(id), None),
    };
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &member,
        &group,
        &codes,
        &tx.clock().now(),
        &without,
    ];
    let rows = tx.query(EFFECTIVE, params).await?;
    let (features, limits): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .partition(|row| row.get::<_, &str>("kind") == "feature");
    Ok(Effective {
        features: features.into_iter().map(feature).collect(),
        limits: limits.into_iter().map(limit).collect(),
    })
}

fn feature(row: &Row) -> FeatureState {
    FeatureState {
        code: row.get("code"),
        enabled: row.get("enabled"),
        source: Source::from_column(row.get("source")),
        source_id: row.get("source_id"),
    }
}

fn limit(row: &Row) -> LimitState {
    let limit_value: Option<i64> = row.get("limit_value");
    let meter: Option<String> = row.get("meter");
    LimitState {
        code: row.get("code"),
        limit_value,
        unlimited: limit_value.is_none(),
        source: Source::from_column(row.get("source")),
        source_id: row.get("source_id"),
        used: meter.is_some().then(|| row.get("used")),
        meter,
        period_start: row.get("period_start"),
        period_end: row.get("period_end"),
    }
}

impl Source {
    fn from_column(text: &str) -> Self {
        match text {
            "user" => Self::User,
            "group" => Self::Group,
            "tenant" => Self::Tenant,
            "trial" => Self::Trial,
            "past_due" => Self::PastDue,
            _ => Self::Plan,
        }
    }
}
