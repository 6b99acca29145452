//! The plan that a company is on, and what another would change (S1.4, S13.5).

use crate::effective::{self, Effective, Whom};
use crate::subscription::Status;
use db::Tx;
use jiff::Timestamp;
use kernel::{Error, Feature, Limit, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An entry of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub code: String,
    pub name: String,
    /// A higher tier includes more.
    pub tier: i32,
}

/// The plan in force, with everything that comes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurrentPlan {
    /// Whose features are in force.
    pub plan: Plan,
    /// Where the subscription stands; null when there never was one.
    pub status: Option<Status>,
    pub phase: Phase,
    pub started_at: Option<Timestamp>,
    pub trial_ends_at: Option<Timestamp>,
    pub grace_ends_at: Option<Timestamp>,
    pub renews_at: Option<Timestamp>,
    /// Who bills: `dev` until a provider is connected.
    pub provider: Option<String>,
    #[serde(flatten)]
    pub entitlements: Effective,
}

/// What the subscription means now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The features of the plan on trial, the limits of `dev_free`, which overrides only lower.
    Trial,
    Active,
    /// Past due, and still everything.
    Grace,
    /// Past due and out of grace: what is not administration, export or billing answers 402.
    PastDue,
    /// `dev_free`: the trial is over, or the subscription was canceled.
    Free,
}

/// What another plan would change for the company, its overrides included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    pub plan: Plan,
    pub gained_features: Vec<String>,
    pub lost_features: Vec<String>,
    /// The limits that would be others.
    pub limits: Vec<PreviewedLimit>,
}

/// A limit under the plan now and under the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewedLimit {
    pub code: String,
    /// Null when unlimited.
    pub current: Option<i64>,
    /// Null when unlimited.
    pub preview: Option<i64>,
    /// Null when nothing is counted.
    pub used: Option<i64>,
    /// More is used than the other plan allows: nothing goes, and nothing more can be made.
    pub exceeded: bool,
}

const CURRENT: &str =
    "SELECT p.code, p.name, p.tier, f.phase, s.status, s.started_at, s.trial_ends_at, s.grace_ends_at,
            s.renews_at, s.provider
     FROM app.plan_in_force($1, $2) f JOIN plans p ON p.code = f.features_plan
     LEFT JOIN tenant_subscription s ON s.tenant_id = $1";

const FIND: &str = "SELECT code, name, tier FROM plans WHERE code = $1 AND is_active";

const UNDER: &str = "SELECT c.code, e.enabled, e.limit_value FROM unnest($3::text[]) AS c (code)
     CROSS JOIN LATERAL app.entitlement_under($1, NULL, NULL, $2, $2, 'active', c.code) e";

/// The company's plan, what it includes and what is used of it.
///
/// # Errors
/// As the database fails.
pub async fn current(tx: &Tx) -> Result<CurrentPlan> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let params: [&(dyn db::ToSql + Sync); 2] = [&tenant, &now];
    let (row, entitlements) =
        futures::try_join!(tx.query_one(CURRENT, &params), effective::find(tx, Whom::Company))?;
    Ok(CurrentPlan {
        plan: record(&row),
        status: row.get::<_, Option<&str>>("status").map(Status::from_column),
        phase: Phase::from_column(row.get("phase")),
        started_at: row.get("started_at"),
        trial_ends_at: row.get("trial_ends_at"),
        grace_ends_at: row.get("grace_ends_at"),
        renews_at: row.get("renews_at"),
        provider: row.get("provider"),
        entitlements,
    })
}

/// What the company would have under another plan.
///
/// # Errors
/// 422 for a plan that there is not.
pub async fn preview(tx: &Tx, plan: &str) -> Result<Preview> {
    let features = Feature::ALL.iter().map(|feature| feature.code());
    let codes: Vec<&str> = features
        .chain(Limit::ALL.iter().map(|limit| limit.code()))
        .collect();
    let tenant = tx.tenant().0;
    let params: [&(dyn db::ToSql + Sync); 3] = [&tenant, &plan, &codes];
    let named: [&(dyn db::ToSql + Sync); 1] = [&plan];
    let (found, now, under) = futures::try_join!(
        tx.query_opt(FIND, &named),
        effective::find(tx, Whom::Company),
        tx.query(UNDER, &params)
    )?;
    let found = found.ok_or_else(|| Error::field("plan", "unknown", "There is no such plan."))?;
    let on = |code: &str| {
        under
            .iter()
            .any(|row| row.get::<_, &str>(0) == code && row.get::<_, Option<bool>>(1) == Some(true))
    };
    let turned = |to: bool| {
        now.features
            .iter()
            .filter(move |feature| feature.enabled != to && on(&feature.code) == to)
            .map(|feature| feature.code.clone())
    };
    let limits = now.limits.iter().filter_map(|limit| {
        let row = under.iter().find(|row| row.get::<_, &str>(0) == limit.code)?;
        let preview: Option<i64> = row.get(2);
        (preview != limit.limit_value).then(|| PreviewedLimit {
            code: limit.code.clone(),
            current: limit.limit_value,
            preview,
            used: limit.used,
            exceeded: limit
                .used
                .zip(preview)
                .is_some_and(|(used, allowed)| used > allowed),
        })
    });
    Ok(Preview {
        plan: record(&found),
        gained_features: turned(true).collect(),
        lost_features: turned(false).collect(),
        limits: limits.collect(),
    })
}

fn record(row: &db::Row) -> Plan {
    Plan {
        code: row.get("code"),
        name: row.get("name"),
        tier: row.get("tier"),
    }
}

impl Phase {
    fn from_column(text: &str) -> Self {
        match text {
            "trial" => Self::Trial,
            "active" => Self::Active,
            "grace" => Self::Grace,
            "past_due" => Self::PastDue,
            _ => Self::Free,
        }
    }
}
