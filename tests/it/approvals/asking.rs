//! How often one person may ask.

use super::setup::{Company, id, role};
use futures::future::join_all;
use serde_json::{Value, json};

const AT_MOST: usize = 30;
const ASKED: &str = "SELECT count(*) FROM approval_requests WHERE tenant_id = $1";
const OVERRIDES: &str = "/v1/admin/entitlements/overrides/tenant";

/// So many requests of this person, the oldest of which was made so long ago.
async fn asked(company: &Company, count: usize, request: &str, minutes: i64) {
    let copies = format!(
        "INSERT INTO approval_requests
         SELECT (jsonb_populate_record(r, jsonb_build_object(
                    'id', gen_random_uuid(), 'object_id', gen_random_uuid(), 'state', 'cancelled',
                    'created_at', now() - make_interval(mins => {minutes}) * n / {count}))).*
         FROM approval_requests r, generate_series(1, {count}) AS n WHERE r.tenant_id = $1 AND r.id = $2"
    );
    company.sql(&copies, request.parse().unwrap()).await;
}

#[tokio::test]
async fn whoever_asks_and_takes_back_again_mails_colleagues_a_bounded_number_of_times() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    company.user("sales_manager").await;
    let (manager, colleague) = (company.user("manager").await, company.user("manager").await);
    let contact = company.contact().await;
    for _ in 0..AT_MOST {
        let waiting = company.delete(&manager, &contact).await.expect(202);
        company
            .decide(&manager, &id(&waiting), "cancel")
            .await
            .expect(200);
    }
    let mails = company.mails().await.len();
    let refused = company.delete(&manager, &contact).await;
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    refused.expect_code(429, "RATE_LIMITED");
    assert!(company.is_there(&contact).await);
    assert_eq!(company.mails().await.len(), mails);
    // Others may, and so may they for what needs no approval.
    company.delete(&colleague, &contact).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_at_once_get_no_further() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    company.user("sales_manager").await;
    let manager = company.user("manager").await;
    let (_, request) = company.ask(&manager).await;
    asked(&company, AT_MOST - 4, &request, 50).await;
    let contacts = join_all((0..8).map(|_| company.contact())).await;
    let answers = join_all(contacts.iter().map(|contact| company.delete(&manager, contact))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 202, 202, 429, 429, 429, 429, 429]);
    assert_eq!(company.count(ASKED).await, i64::try_from(AT_MOST).unwrap());
}

#[tokio::test]
async fn an_hour_later_they_may_again() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    company.user("sales_manager").await;
    let manager = company.user("manager").await;
    let (_, request) = company.ask(&manager).await;
    // The oldest is a few seconds younger than an hour, then a few seconds older.
    asked(&company, AT_MOST - 1, &request, 59).await;
    let contact = company.contact().await;
    let refused = company.delete(&manager, &contact).await;
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    refused.expect_code(429, "RATE_LIMITED");
    let pass = "UPDATE approval_requests SET created_at = created_at - interval '61 seconds'
                WHERE tenant_id = $1 AND requester_user_id = $2";
    company.sql(pass, manager.user_id).await;
    company.delete(&manager, &contact).await.expect(202);
}

/// What is gated elsewhere is refused in the same way, and changes nothing.
#[tokio::test]
async fn overrides_are_asked_for_no_more_often() {
    let company = Company::new().await;
    company.user("finance_manager").await;
    company
        .policy(
            json!({ "action_code": "entitlement.override", "object_type": "entitlements",
                        "steps": [role("finance_manager")] }),
        )
        .await;
    let (administration, requester) = (company.world.administration(), company.user("admin").await);
    let body = json!({ "overrides": [{ "code": "deals.max", "limit_value": 7 }] });
    let put = async || administration.put(&requester, OVERRIDES, &body).await;
    let waiting = put().await.expect(202);
    company
        .decide(&requester, &id(&waiting), "cancel")
        .await
        .expect(200);
    asked(&company, AT_MOST - 1, &id(&waiting), 30).await;
    let before: Value = administration.get(&requester, OVERRIDES).await.expect(200);
    let refused = put().await;
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((1790..=1801).contains(&wait), "{wait}");
    refused.expect_code(429, "RATE_LIMITED");
    assert_eq!(
        administration.get(&requester, OVERRIDES).await.expect(200),
        before
    );
}
