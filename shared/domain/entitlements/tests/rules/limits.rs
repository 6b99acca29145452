//! Exactly as many as there is room for, whatever comes at once.

use crate::support::{Company, limit, refused};
use entitlements::override_::Scope;
use futures::future::join_all;
use jiff::SignedDuration;
use kernel::{Code, Error, Feature, Limit};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_writes_exactly_as_many_succeed_as_there_is_room_for() {
    let company = Company::on_trial().await;
    company
        .set(Scope::Tenant, &[limit(Limit::DealsMax, Some(7))])
        .await;
    let attempts = (0..20).map(|_| {
        company.write(async |tx| {
            entitlements::consume(tx, Limit::DealsMax, 1).await?;
            // A transaction is open for a while after it counted.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Ok(())
        })
    });
    let outcomes = join_all(attempts).await;
    let (made, refusals): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 7);
    for refusal in refusals {
        let error = refused(refusal, Code::LimitReached);
        assert_eq!(
            error.details().unwrap(),
            &json!({ "key": "deals.max", "limit": 7, "used": 7 })
        );
    }
    assert_eq!(company.used(Limit::DealsMax).await, 7);
}

#[tokio::test]
async fn what_is_rolled_back_or_released_can_be_used_again() {
    let company = Company::on_trial().await;
    company
        .set(Scope::Tenant, &[limit(Limit::DealsMax, Some(2))])
        .await;
    let take =
        |amount| company.write(async move |tx| entitlements::consume(tx, Limit::DealsMax, amount).await);
    let broken = company.write(async |tx| {
        entitlements::consume(tx, Limit::DealsMax, 2).await?;
        Err(Error::not_found())
    });
    refused(broken.await, Code::NotFound);
    assert_eq!(company.used(Limit::DealsMax).await, 0);
    refused(take(3).await, Code::LimitReached);
    take(2).await.unwrap();
    refused(take(1).await, Code::LimitReached);
    let give =
        |amount| company.write(async move |tx| entitlements::release(tx, Limit::DealsMax, amount).await);
    give(1).await.unwrap();
    take(1).await.unwrap();
    give(50).await.unwrap();
    assert_eq!(company.used(Limit::DealsMax).await, 0, "never less than nothing");
    take(0).await.unwrap();
    assert_eq!(company.used(Limit::DealsMax).await, 0);
}

#[tokio::test]
async fn what_is_counted_anyway_fills_the_limit_for_the_rest() {
    let company = Company::on_trial().await;
    company
        .set(Scope::Tenant, &[limit(Limit::DealsMax, Some(1))])
        .await;
    company
        .write(async |tx| entitlements::count(tx, Limit::DealsMax, 3).await)
        .await
        .unwrap();
    let next = company.write(async |tx| entitlements::consume(tx, Limit::DealsMax, 1).await);
    let error = refused(next.await, Code::LimitReached);
    assert_eq!(error.details().unwrap()["used"], 3);
}

#[tokio::test]
async fn a_monthly_limit_begins_anew_with_the_month() {
    let company = Company::subscribed().await;
    company
        .set(Scope::Tenant, &[limit(Limit::SmsMonthlyCap, Some(1))])
        .await;
    let send = || company.write(async |tx| entitlements::consume(tx, Limit::SmsMonthlyCap, 1).await);
    send().await.unwrap();
    refused(send().await, Code::LimitReached);
    let month = company
        .limit(entitlements::effective::Whom::Company, Limit::SmsMonthlyCap)
        .await;
    let (first, next) = (month.period_start.unwrap(), month.period_end.unwrap());
    assert_eq!(first.day(), 1);
    assert_eq!(first.last_of_month().tomorrow().unwrap(), next);
    let start = next.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let to_the_end = start.duration_since(company.clock().now());
    company
        .clock()
        .advance(to_the_end - SignedDuration::from_micros(1));
    refused(send().await, Code::LimitReached);
    company.clock().advance(SignedDuration::from_micros(1));
    send().await.unwrap();
    assert_eq!(company.used(Limit::SmsMonthlyCap).await, 1);
}

#[tokio::test]
async fn a_limit_of_one_thing_is_compared_and_not_counted() {
    let company = Company::on_trial().await;
    let size = |size| {
        company.write(async move |tx| entitlements::within(tx, Limit::CampaignRecipientsMax, size).await)
    };
    size(100).await.unwrap();
    size(100).await.unwrap();
    let error = refused(size(101).await, Code::LimitReached);
    assert_eq!(
        error.details().unwrap(),
        &json!({ "key": "campaign.recipients.max", "limit": 100, "used": 101 })
    );
    let unknown = company.write(async |tx| entitlements::consume(tx, Limit::CampaignRecipientsMax, 1).await);
    refused(unknown.await, Code::Internal);
}

#[tokio::test]
async fn a_feature_that_only_the_body_tells_is_required_in_the_transaction() {
    let company = Company::on_trial().await;
    let require = |feature| company.write(async move |tx| entitlements::require_feature(tx, feature).await);
    require(Feature::MapsEnabled).await.unwrap();
    let error = refused(require(Feature::DashboardCustomSql).await, Code::PlanRequired);
    assert_eq!(
        error.details().unwrap(),
        &json!({ "feature": "dashboard.customSQL" })
    );
}

#[tokio::test]
async fn a_persons_limit_is_their_own_over_what_the_company_has_used() {
    let company = Company::on_trial().await;
    let ((lucky, lucky_caller), (_, other_caller)) =
        (company.user("staff").await, company.user("staff").await);
    company
        .set(Scope::Tenant, &[limit(Limit::DealsMax, Some(0))])
        .await;
    company
        .set(Scope::User(lucky), &[limit(Limit::DealsMax, Some(1))])
        .await;
    let make = async |caller| {
        let made = company.test.db.write(caller, async |tx| {
            entitlements::consume(&tx, Limit::DealsMax, 1).await
        });
        made.await
    };
    refused(make(&other_caller).await, Code::LimitReached);
    make(&lucky_caller).await.unwrap();
    refused(make(&lucky_caller).await, Code::LimitReached);
}

#[tokio::test]
async fn groups_and_roles_count_themselves() {
    let company = Company::on_trial().await;
    for _ in 0..3 {
        company.group(&[]).await;
    }
    let insert = "INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at) VALUES ($1, $2, 'x', 'x', now(), now())";
    let (tenant, id) = (company.tenant.0, company.clock().id());
    let error = company.try_run(insert, &[&tenant, &id]).await.unwrap_err();
    assert_eq!(error.code(), Code::LimitReached);
    assert_eq!(
        error.details().unwrap(),
        &json!({ "key": "groups.max", "limit": 3, "used": 3 })
    );
    company
        .run(
            "DELETE FROM groups WHERE tenant_id = $1 AND id = (SELECT min(id::text)::uuid FROM groups WHERE tenant_id = $1)",
            &[&tenant],
        )
        .await;
    company.run(insert, &[&tenant, &id]).await;
    let role = "INSERT INTO roles (tenant_id, id, code, name) VALUES ($1, $2, $3, 'x')";
    for code in ["a", "b", "c"] {
        company.run(role, &[&tenant, &company.clock().id(), &code]).await;
    }
    let error = company
        .try_run(role, &[&tenant, &company.clock().id(), &"d"])
        .await;
    assert_eq!(error.unwrap_err().details().unwrap()["key"], "roles.max");
}
