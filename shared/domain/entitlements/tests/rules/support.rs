//! A company, and shorthand to look at it.

use db::Tx;
use entitlements::effective::{self, Effective, FeatureState, LimitState, Whom};
use entitlements::override_::{self, Overrides, Scope, SetOverride};
use jiff::SignedDuration;
use kernel::{Caller, Clock, Code, Error, Feature, Limit, Result, TenantId};
use serde_json::Value;
use testkit::TestDb;
use uuid::Uuid;

pub struct Company {
    pub test: TestDb,
    pub tenant: TenantId,
    pub caller: Caller,
}

/// An invitation for a week.
pub const INVITE: &str =
    "INSERT INTO invites (tenant_id, id, user_id, purpose, token_hash, created_at, expires_at)
    VALUES ($1, $2, $3, 'invite', uuid_send($2), now(), now() + interval '7 days')";

impl Company {
    /// On trial since now, by a clock that stands still.
    pub async fn on_trial() -> Self {
        let test = testkit::database::database_with(Clock::fixed(Clock::system().now())).await;
        let tenant = TenantId(test.db.clock().id());
        let caller = TestDb::system(tenant);
        let company = Self { test, tenant, caller };
        let (now, slug) = (company.test.db.clock().now(), format!("trial-{tenant}"));
        let insert = "INSERT INTO tenants (id, name, slug, created_at) VALUES ($1, 'Trial', $2, $3)";
        company.run(insert, &[&tenant.0, &slug, &now]).await;
        company
    }

    /// On `dev_pro`, so that overrides may lift its limits.
    pub async fn subscribed() -> Self {
        let company = Self::on_trial().await;
        let pay = "UPDATE tenant_subscription SET status = 'active' WHERE tenant_id = $1";
        company.run(pay, &[&company.tenant.0]).await;
        company
    }

    pub fn clock(&self) -> &Clock {
        self.test.db.clock()
    }

    pub fn days_pass(&self, days: i64) {
        self.clock().advance(SignedDuration::from_hours(days * 24));
    }

    pub async fn run(&self, sql: &str, params: db::Params<'_>) -> u64 {
        self.try_run(sql, params).await.unwrap()
    }

    pub async fn try_run(&self, sql: &str, params: db::Params<'_>) -> Result<u64> {
        self.test
            .db
            .write(&self.caller, async |tx| tx.execute(sql, params).await)
            .await
    }

    /// In a transaction of its own.
    pub async fn write(&self, work: impl AsyncFnOnce(&Tx) -> Result<()>) -> Result<()> {
        self.test.db.write(&self.caller, async |tx| work(&tx).await).await
    }

    /// A user with a system role and a session; their caller.
    pub async fn user(&self, role: &str) -> (Uuid, Caller) {
        let (user, session) = (self.clock().id(), self.clock().id());
        self.try_user(user, role, "active").await.unwrap();
        self.run(
            "INSERT INTO sessions (tenant_id, id, user_id, created_at, last_used_at, expires_at)
             VALUES ($1, $2, $3, $4, $4, $4::timestamptz + interval '90 days')",
            &[&self.tenant.0, &session, &user, &self.clock().now()],
        )
        .await;
        (user, TestDb::user(self.tenant, user, session))
    }

    /// An `invited` one has an invitation.
    pub async fn try_user(&self, user: Uuid, role: &str, status: &str) -> Result<()> {
        let email = format!("{user}@example.com");
        self.write(async |tx| {
            tx.execute(
                "INSERT INTO users (tenant_id, id, email, email_norm, full_name, status) VALUES ($1, $2, $3, $3, 'Somebody', $4)",
                &[&self.tenant.0, &user, &email, &status],
            )
            .await?;
            if status == "invited" {
                tx.execute(INVITE, &[&self.tenant.0, &tx.clock().id(), &user]).await?;
            }
            tx.execute(
                "INSERT INTO user_roles (tenant_id, user_id, role_id)
                 SELECT $1, $2, id FROM roles WHERE tenant_id IS NULL AND code = $3",
                &[&self.tenant.0, &user, &role],
            )
            .await
            .map(drop)
        })
        .await
    }

    pub async fn group(&self, members: &[Uuid]) -> Uuid {
        let id = self.clock().id();
        let code = format!("g-{id}");
        self.write(async |tx| {
            tx.execute(
                "INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at) VALUES ($1, $2, $3, $3, now(), now())",
                &[&self.tenant.0, &id, &code],
            )
            .await?;
            tx.execute(
                "INSERT INTO group_members (tenant_id, group_id, user_id, added_at) SELECT $1, $2, m, now() FROM unnest($3::uuid[]) m",
                &[&self.tenant.0, &id, &members],
            )
            .await
            .map(drop)
        })
        .await
        .unwrap();
        id
    }

    /// A role that everybody in a group holds.
    pub async fn grant(&self, group: Uuid, role: &str) {
        let grant = "INSERT INTO group_roles (tenant_id, group_id, role_id, created_at)
            SELECT $1, $2, id, now() FROM roles WHERE tenant_id IS NULL AND code = $3";
        self.run(grant, &[&self.tenant.0, &group, &role]).await;
    }

    pub async fn set(&self, scope: Scope, overrides: &[SetOverride]) -> Overrides {
        let set = self.test.db.write(&self.caller, async |tx| {
            override_::set(&tx, scope, overrides).await
        });
        set.await.unwrap()
    }

    pub async fn effective(&self, whom: Whom) -> Effective {
        let found = self
            .test
            .db
            .read(&self.caller, async |tx| effective::find(&tx, whom).await);
        found.await.unwrap()
    }

    pub async fn feature(&self, whom: Whom, feature: Feature) -> FeatureState {
        let all = self.effective(whom).await.features;
        all.into_iter()
            .find(|found| found.code == feature.code())
            .unwrap()
    }

    pub async fn limit(&self, whom: Whom, limit: Limit) -> LimitState {
        let all = self.effective(whom).await.limits;
        all.into_iter().find(|found| found.code == limit.code()).unwrap()
    }

    pub async fn used(&self, limit: Limit) -> i64 {
        self.limit(Whom::Company, limit).await.used.unwrap()
    }

    /// The audit lines and events of this kind, oldest first.
    pub async fn told(&self, what: &str) -> (Vec<Value>, Vec<Value>) {
        let params: [&(dyn db::ToSql + Sync); 2] = [&self.tenant.0, &what];
        let rows = async |sql: &str| -> Vec<Value> {
            let found = self
                .test
                .db
                .read(&self.caller, async |tx| tx.query(sql, &params).await);
            found.await.unwrap().iter().map(|row| row.get(0)).collect()
        };
        let audit = "SELECT after_data FROM audit_logs WHERE tenant_id = $1 AND action = $2 ORDER BY seq";
        let events = "SELECT payload FROM event_outbox WHERE tenant_id = $1 AND type = $2 ORDER BY id";
        (rows(audit).await, rows(events).await)
    }
}

pub fn feature(feature: Feature, enabled: bool) -> SetOverride {
    SetOverride {
        code: feature.code().to_owned(),
        enabled: Some(enabled),
        limit_value: None,
        unlimited: false,
    }
}

/// `None` is unlimited.
pub fn limit(limit: Limit, value: Option<i64>) -> SetOverride {
    SetOverride {
        code: limit.code().to_owned(),
        enabled: None,
        limit_value: value,
        unlimited: value.is_none(),
    }
}

#[track_caller]
pub fn refused(outcome: Result<()>, code: Code) -> Error {
    let error = outcome.expect_err("this is refused");
    assert_eq!(error.code(), code, "{error:?}");
    error
}
