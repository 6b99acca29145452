//! Which plan is in force, and whose word counts.

use crate::support::{Company, feature, limit, refused};
use entitlements::effective::{Source, Whom};
use entitlements::override_::{self, Scope, SetOverride};
use entitlements::plan::{self, Phase};
use entitlements::subscription::{self, Status};
use jiff::SignedDuration;
use kernel::{Code, Feature, Limit};
use serde_json::json;

async fn change(company: &Company, plan: &str, status: Status) {
    company
        .write(async |tx| subscription::change(tx, plan, status, None).await)
        .await
        .unwrap();
}

async fn phase(company: &Company) -> (Phase, String) {
    let current = company
        .test
        .db
        .read(&company.caller, async |tx| plan::current(&tx).await);
    let current = current.await.unwrap();
    (current.phase, current.plan.code)
}

#[tokio::test]
async fn a_trial_has_the_features_of_one_plan_and_the_limits_of_the_other_for_14_days() {
    let company = Company::on_trial().await;
    assert_eq!(phase(&company).await, (Phase::Trial, "dev_pro".to_owned()));
    let sms = company.feature(Whom::Company, Feature::TwoFaSms).await;
    assert_eq!((sms.enabled, sms.source), (true, Source::Trial));
    let seats = company.limit(Whom::Company, Limit::UsersMax).await;
    assert_eq!((seats.limit_value, seats.source), (Some(3), Source::Trial));
    let fortnight = SignedDuration::from_hours(14 * 24);
    company
        .clock()
        .advance(fortnight - SignedDuration::from_micros(1));
    assert!(company.feature(Whom::Company, Feature::TwoFaSms).await.enabled);
    company.clock().advance(SignedDuration::from_micros(1));
    assert_eq!(phase(&company).await, (Phase::Free, "dev_free".to_owned()));
    let sms = company.feature(Whom::Company, Feature::TwoFaSms).await;
    assert_eq!((sms.enabled, sms.source), (false, Source::Plan));
    assert!(company.feature(Whom::Company, Feature::TwoFaTotp).await.enabled);
}

#[tokio::test]
async fn past_due_is_everything_for_7_days_and_then_administration() {
    let company = Company::on_trial().await;
    change(&company, "dev_pro", Status::Active).await;
    assert_eq!(
        company.limit(Whom::Company, Limit::UsersMax).await.limit_value,
        Some(25)
    );
    change(&company, "dev_pro", Status::PastDue).await;
    company.days_pass(4);
    // A second notice of the same bill does not start the grace anew.
    change(&company, "dev_pro", Status::PastDue).await;
    assert_eq!(phase(&company).await.0, Phase::Grace);
    assert!(company.feature(Whom::Company, Feature::MapsEnabled).await.enabled);
    company
        .set(Scope::Tenant, &[feature(Feature::MapsPublicViews, true)])
        .await;
    company.days_pass(3);
    assert_eq!(phase(&company).await.0, Phase::PastDue);
    for off in [Feature::MapsEnabled, Feature::MapsPublicViews, Feature::Approvals] {
        let state = company.feature(Whom::Company, off).await;
        assert_eq!(
            (state.enabled, state.source, state.source_id),
            (false, Source::PastDue, None)
        );
    }
    for on in [
        Feature::AdminEntitlementsOverrides,
        Feature::AdminCustomDictionaries,
        Feature::PlanView,
        Feature::RbacGroups,
        Feature::TwoFaTotp,
    ] {
        assert!(company.feature(Whom::Company, on).await.enabled, "{on}");
    }
    assert_eq!(
        company.limit(Whom::Company, Limit::UsersMax).await.limit_value,
        Some(25),
        "what there is stays"
    );
    change(&company, "dev_pro", Status::Active).await;
    assert!(company.feature(Whom::Company, Feature::MapsEnabled).await.enabled);
    change(&company, "dev_pro", Status::Canceled).await;
    assert_eq!(phase(&company).await, (Phase::Free, "dev_free".to_owned()));
    let (audited, events) = company.told("tenant.plan.changed").await;
    assert_eq!(audited, events);
    assert_eq!(audited.len(), 5);
    assert_eq!(
        audited[0],
        json!({ "plan": "dev_pro", "status": "active", "was": { "plan": "dev_pro", "status": "trial" } })
    );
    let unknown = company.write(async |tx| subscription::change(tx, "gold", Status::Active, None).await);
    refused(unknown.await, Code::ValidationFailed);
}

#[tokio::test]
async fn a_company_without_a_subscription_has_the_free_plan() {
    let company = Company::on_trial().await;
    let admin = testkit::admin_client(&company.test.admin).await;
    admin
        .execute(
            "DELETE FROM tenant_subscription WHERE tenant_id = $1",
            &[&company.tenant.0],
        )
        .await
        .unwrap();
    assert_eq!(phase(&company).await, (Phase::Free, "dev_free".to_owned()));
    assert_eq!(
        company.limit(Whom::Company, Limit::UsersMax).await.limit_value,
        Some(3)
    );
}

#[tokio::test]
async fn the_user_counts_before_the_largest_group_before_the_company_before_the_plan() {
    let company = Company::subscribed().await;
    let (user, _) = company.user("staff").await;
    let (small, large) = (company.group(&[user]).await, company.group(&[user]).await);
    let whom = Whom::User(user);
    let state = async || {
        let feature = company.feature(whom, Feature::MapsEnabled).await;
        let limit = company.limit(whom, Limit::DealsMax).await;
        (feature.enabled, feature.source, limit.limit_value, limit.source)
    };
    let both = |enabled, value| {
        [
            feature(Feature::MapsEnabled, enabled),
            limit(Limit::DealsMax, value),
        ]
    };
    assert_eq!(state().await, (true, Source::Plan, Some(50_000), Source::Plan));
    company.set(Scope::Tenant, &both(false, Some(1))).await;
    assert_eq!(state().await, (false, Source::Tenant, Some(1), Source::Tenant));
    company.set(Scope::Group(small), &both(false, Some(5))).await;
    company.set(Scope::Group(large), &both(true, Some(9))).await;
    assert_eq!(state().await, (true, Source::Group, Some(9), Source::Group));
    assert_eq!(company.limit(whom, Limit::DealsMax).await.source_id, Some(large));
    company.set(Scope::Group(small), &both(true, None)).await;
    assert_eq!(state().await.2, None, "unlimited is the largest");
    company.set(Scope::User(user), &both(false, Some(0))).await;
    assert_eq!(state().await, (false, Source::User, Some(0), Source::User));
    company.set(Scope::User(user), &[]).await;
    company
        .run(
            "UPDATE groups SET is_active = false WHERE tenant_id = $1 AND id = $2",
            &[&company.tenant.0, &small],
        )
        .await;
    assert_eq!(state().await.2, Some(9), "a group at rest says nothing");
    company
        .run(
            "DELETE FROM group_members WHERE tenant_id = $1 AND user_id = $2",
            &[&company.tenant.0, &user],
        )
        .await;
    assert_eq!(state().await, (false, Source::Tenant, Some(1), Source::Tenant));
    // Of the company itself, and of a member of one group.
    assert_eq!(
        company.limit(Whom::Company, Limit::DealsMax).await.limit_value,
        Some(1)
    );
    assert_eq!(
        company
            .limit(Whom::Group(large), Limit::DealsMax)
            .await
            .limit_value,
        Some(9)
    );
}

/// The trial has the caps of `dev_free`, whoever's override would lift them.
#[tokio::test]
async fn on_trial_an_override_lowers_a_limit_and_never_lifts_it() {
    let company = Company::on_trial().await;
    let (user, _) = company.user("staff").await;
    let group = company.group(&[user]).await;
    let all = [Scope::Tenant, Scope::Group(group), Scope::User(user)];
    let state = async |whom| {
        let limit = company.limit(whom, Limit::DealsMax).await;
        (limit.limit_value, limit.source)
    };
    for (scope, source) in all.into_iter().zip([Source::Tenant, Source::Group, Source::User]) {
        let whom = match scope {
            Scope::Tenant => Whom::Company,
            Scope::Group(_) | Scope::User(_) => Whom::User(user),
        };
        for (wanted, expected) in [
            (None, (Some(500), Source::Trial)),
            (Some(501), (Some(500), Source::Trial)),
            (Some(500), (Some(500), source)),
            (Some(7), (Some(7), source)),
        ] {
            company.set(scope, &[limit(Limit::DealsMax, wanted)]).await;
            assert_eq!(state(whom).await, expected, "{scope:?} {wanted:?}");
        }
        company.set(scope, &[limit(Limit::DealsMax, None)]).await;
    }
    company
        .set(
            Scope::Tenant,
            &[
                limit(Limit::UsersMax, None),
                limit(Limit::SmsMonthlyCap, Some(1_000)),
                limit(Limit::DealsMax, Some(600)),
            ],
        )
        .await;
    for _ in 0..2 {
        company.user("staff").await;
    }
    let fourth = company.try_user(testkit::unique(), "staff", "active").await;
    assert_eq!(fourth.unwrap_err().code(), Code::LimitReached);
    let sms = company.limit(Whom::Company, Limit::SmsMonthlyCap).await;
    assert_eq!((sms.limit_value, sms.source), (Some(0), Source::Trial));
    let text = company.write(async |tx| entitlements::consume(tx, Limit::SmsMonthlyCap, 1).await);
    refused(text.await, Code::LimitReached);

    // What it wished for counts once it is on the plan.
    change(&company, "dev_pro", Status::Active).await;
    assert_eq!(state(Whom::Company).await, (Some(600), Source::Tenant));
    assert_eq!(state(Whom::User(user)).await, (None, Source::User));
    company.user("staff").await;
}

#[tokio::test]
async fn what_a_company_allowed_itself_on_trial_ends_with_the_trial() {
    let company = Company::on_trial().await;
    company
        .set(
            Scope::Tenant,
            &[
                limit(Limit::UsersMax, Some(2)),
                feature(Feature::MapsEnabled, true),
            ],
        )
        .await;
    assert_eq!(
        company.limit(Whom::Company, Limit::UsersMax).await.limit_value,
        Some(2)
    );
    company.days_pass(14);
    assert_eq!(
        company.limit(Whom::Company, Limit::UsersMax).await.limit_value,
        Some(3)
    );
    assert!(!company.feature(Whom::Company, Feature::MapsEnabled).await.enabled);
}

/// Own SQL over shared tables is ours to give.
#[tokio::test]
async fn what_was_given_by_hand_stays_when_the_company_sets_its_own() {
    let company = Company::subscribed().await;
    let sql = async || {
        company
            .feature(Whom::Company, Feature::DashboardCustomSql)
            .await
            .enabled
    };
    assert!(!sql().await);
    let give = "INSERT INTO entitlement_overrides (tenant_id, scope, scope_id, code, enabled, created_at, updated_at)
        VALUES ($1, 'tenant', $1, 'dashboard.customSQL', true, now(), now())";
    company.run(give, &[&company.tenant.0]).await;
    assert!(sql().await);
    let set = company
        .set(Scope::Tenant, &[limit(Limit::DealsMax, Some(1))])
        .await;
    let codes: Vec<_> = set.overrides.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["deals.max"], "what is listed can be set again as it is");
    company.set(Scope::Tenant, &[]).await;
    assert!(sql().await);
}

#[tokio::test]
async fn overrides_are_replaced_as_a_whole_and_told_of() {
    let company = Company::on_trial().await;
    let (user, caller) = company.user("super_admin").await;
    let set = async |overrides: &[SetOverride]| {
        let set = company.test.db.write(&caller, async |tx| {
            override_::set(&tx, Scope::Tenant, overrides).await
        });
        set.await.unwrap()
    };
    let first = set(&[
        limit(Limit::DealsMax, Some(3)),
        feature(Feature::MapsEnabled, false),
    ])
    .await;
    assert_eq!(first.overrides.len(), 2);
    assert!(first.overrides.iter().all(|one| one.set_by == Some(user)));
    company.days_pass(1);
    let second = set(&[limit(Limit::DealsMax, Some(3)), limit(Limit::TasksMax, None)]).await;
    let codes: Vec<_> = second.overrides.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["deals.max", "tasks.max"]);
    assert_eq!(
        second.overrides[0], first.overrides[0],
        "what stays keeps who set it, and when"
    );
    assert!(second.overrides[1].unlimited);
    let (audited, events) = company.told("entitlement.override.changed").await;
    assert_eq!(
        events[1],
        json!({ "scope": "tenant", "codes": ["maps.enabled", "tasks.max"] })
    );
    assert_eq!(audited[1]["before"][0]["code"], "deals.max");
    assert_eq!(audited[1]["after"][1]["unlimited"], true);
}

#[tokio::test]
async fn an_override_that_is_none_changes_nothing() {
    let company = Company::on_trial().await;
    let odd = |code: &str, enabled, limit_value, unlimited| SetOverride {
        code: code.to_owned(),
        enabled,
        limit_value,
        unlimited,
    };
    for (wanted, path, code) in [
        (
            odd("maps.enabled", None, None, false),
            "overrides[0].enabled",
            "invalid",
        ),
        (
            odd("maps.enabled", Some(true), Some(1), false),
            "overrides[0].enabled",
            "invalid",
        ),
        (
            odd("deals.max", None, None, false),
            "overrides[0].limit_value",
            "invalid",
        ),
        (
            odd("deals.max", None, Some(1), true),
            "overrides[0].limit_value",
            "invalid",
        ),
        (
            odd("deals.max", Some(true), Some(1), false),
            "overrides[0].limit_value",
            "invalid",
        ),
        (
            odd("deals.max", None, Some(-1), false),
            "overrides[0].limit_value",
            "out_of_range",
        ),
        (
            odd("deals.max", None, Some(i64::MAX), false),
            "overrides[0].limit_value",
            "out_of_range",
        ),
        (
            odd("nothing.max", None, Some(1), false),
            "overrides[0].code",
            "unknown",
        ),
        (
            odd("admin.entitlementsOverrides", Some(false), None, false),
            "overrides[0].code",
            "fixed",
        ),
        (
            odd("dashboard.customSQL", Some(true), None, false),
            "overrides[0].code",
            "fixed",
        ),
        (
            odd("dashboard.customSQL", Some(false), None, false),
            "overrides[0].code",
            "fixed",
        ),
    ] {
        let set = company.write(async |tx| override_::set(tx, Scope::Tenant, &[wanted]).await.map(drop));
        let error = refused(set.await, Code::ValidationFailed);
        let field = &error.details().unwrap()["fields"][0];
        assert_eq!(
            (field["path"].as_str(), field["code"].as_str()),
            (Some(path), Some(code))
        );
    }
    let twice = [limit(Limit::DealsMax, Some(1)), limit(Limit::DealsMax, Some(2))];
    let set = company.write(async |tx| override_::set(tx, Scope::Tenant, &twice).await.map(drop));
    refused(set.await, Code::ValidationFailed);
    let (user, _) = company.user("staff").await;
    let seats = [limit(Limit::UsersMax, Some(9))];
    let set = company.write(async |tx| override_::set(tx, Scope::User(user), &seats).await.map(drop));
    refused(set.await, Code::ValidationFailed);
    for nobody in [Scope::User(testkit::unique()), Scope::Group(testkit::unique())] {
        let set = company.write(async |tx| override_::set(tx, nobody, &[]).await.map(drop));
        refused(set.await, Code::NotFound);
    }
}
