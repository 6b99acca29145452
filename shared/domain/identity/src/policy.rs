//! What a company asks of all its users before they may work (S1.8, S1.13): a second factor, a
//! verified phone. `app.enter` holds users to it from the dates that are kept here.

use db::{Row, Tx};
use jiff::{SignedDuration, Timestamp};
use kernel::{Error, Patch, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const MAX_GRACE_DAYS: i16 = 90;

const FIND: &str =
    "SELECT twofa_required_from, phone_required_from, security_grace_days FROM tenants WHERE id = $1";
/// No stronger than the change itself: every audit line refers to the company's row, and whoever holds
/// the audit chain, which this takes last, would wait for a stronger lock.
const TAKE: &str = "SELECT twofa_required_from, phone_required_from, security_grace_days FROM tenants WHERE id = $1 FOR NO KEY UPDATE";
const UPDATE: &str =
    "UPDATE tenants SET twofa_required_from = $2, phone_required_from = $3, security_grace_days = $4, updated_at = $5
    WHERE id = $1 RETURNING twofa_required_from, phone_required_from, security_grace_days";

/// What is asked, and from when on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// Whether every user needs a second factor.
    pub require_twofa: bool,
    /// Whether every user needs a verified phone.
    pub require_verified_phone: bool,
    /// Days that users have once something begins to be asked.
    pub grace_days: i16,
    /// From when on a user without a second factor can only set one up.
    pub twofa_required_from: Option<Timestamp>,
    /// From when on a user without a verified phone can only verify one.
    pub phone_required_from: Option<Timestamp>,
}

/// A merge-patch of a [`Policy`]. The days of grace run from the change that turns a demand on; sent
/// again together with `grace_days`, they run anew.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyPatch {
    #[serde(default)]
    pub require_twofa: Patch<bool>,
    #[serde(default)]
    pub require_verified_phone: Patch<bool>,
    /// 0 to 90.
    #[serde(default)]
    pub grace_days: Patch<i16>,
}

impl PolicyPatch {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn check(&self) -> Result<()> {
        let mut validator = Validator::default();
        for (path, flag) in [
            ("require_twofa", &self.require_twofa),
            ("require_verified_phone", &self.require_verified_phone),
        ] {
            if *flag == Patch::Null {
                validator.reject(path, "invalid", "This is true or false.");
            }
        }
        let days = match self.grace_days {
            Patch::Absent => 0,
            Patch::Null => -1,
            Patch::Value(days) => days,
        };
        if !(0..=MAX_GRACE_DAYS).contains(&days) {
            validator.reject("grace_days", "invalid", "This is a number from 0 to 90.");
        }
        validator.finish()
    }

    /// The date that a demand holds from after this patch.
    fn from(
        &self,
        flag: &Patch<bool>,
        current: Option<Timestamp>,
        grace_days: i16,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match flag {
            Patch::Value(false) => None,
            Patch::Value(true) if current.is_none() || self.grace_days.value().is_some() => {
                let grace = SignedDuration::from_hours(i64::from(grace_days) * 24);
                now.checked_add(grace).ok()
            }
            _ => current,
        }
    }
}

/// What the entered tenant asks.
///
/// # Errors
/// As [`Tx::query`].
pub async fn find(tx: &Tx) -> Result<Policy> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0]).await?;
    row.map(|row| policy(&row)).ok_or_else(Error::not_found)
}

/// Changes it. `check` sees what it was.
///
/// # Errors
/// What `check` returns; as [`Tx::query`].
pub async fn update(
    tx: &Tx,
    patch: &PolicyPatch,
    check: impl FnOnce(&Policy) -> Result<()>,
) -> Result<Policy> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let row = tx.query_opt(TAKE, &[&tenant]).await?;
    let was = row.map(|row| policy(&row)).ok_or_else(Error::not_found)?;
    check(&was)?;
    let days = patch.grace_days.value().copied().unwrap_or(was.grace_days);
    let twofa = patch.from(&patch.require_twofa, was.twofa_required_from, days, now);
    let phone = patch.from(&patch.require_verified_phone, was.phone_required_from, days, now);
    let row = tx
        .query_one(UPDATE, &[&tenant, &twofa, &phone, &days, &now])
        .await?;
    Ok(policy(&row))
}

fn policy(row: &Row) -> Policy {
    let (twofa, phone): (Option<Timestamp>, Option<Timestamp>) = (row.get(0), row.get(1));
    Policy {
        require_twofa: twofa.is_some(),
        require_verified_phone: phone.is_some(),
        grace_days: row.get(2),
        twofa_required_from: twofa,
        phone_required_from: phone,
    }
}
