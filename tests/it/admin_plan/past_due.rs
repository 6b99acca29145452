//! A company that did not pay: everything for a while, then administration, export and billing.

use super::{TENANT, entry, put, run, service};
use crate::messaging::stack::{BUCKET, Stack, meta_body, s3, text_message};
use crate::support::World;
use providers::intake::Source;
use serde_json::json;

const PAST_DUE: &str = "UPDATE tenant_subscription SET status = 'past_due', grace_ends_at = now() - interval '1 second' WHERE tenant_id = $1";
const GRACE: &str = "UPDATE tenant_subscription SET status = 'past_due', grace_ends_at = now() + interval '1 hour' WHERE tenant_id = $1";
const PAID: &str =
    "UPDATE tenant_subscription SET status = 'active', grace_ends_at = NULL WHERE tenant_id = $1";

#[tokio::test]
async fn out_of_grace_the_work_with_customers_stops_until_it_is_paid() {
    let world = World::new().await;
    let (contacts, me) = (world.contacts(), world.admin().await);
    let body = json!({ "first_name": "A" });
    run(&world, GRACE).await;
    let made = contacts.post(&me, "/v1/contacts", &body).await.expect(201);
    let contact = format!("/v1/contacts/{}", made["id"].as_str().unwrap());

    run(&world, PAST_DUE).await;
    let refused = [
        contacts.post(&me, "/v1/contacts", &body).await,
        contacts.get(&me, "/v1/contacts").await,
        contacts.get(&me, &contact).await,
        contacts.patch(&me, &contact, &body).await,
        contacts.delete(&me, &contact).await,
        world.approvals().get(&me, "/v1/approvals/requests").await,
    ];
    for answer in refused {
        let error = answer.expect_code(402, "PLAN_REQUIRED");
        assert_eq!(error["details"], json!({ "reason": "past_due" }));
    }
    // Who may not do it at all learns nothing of the bill.
    let reader = world.user("read_only").await;
    contacts
        .post(&reader, "/v1/contacts", &body)
        .await
        .expect_code(403, "FORBIDDEN");

    run(&world, PAID).await;
    contacts.get(&me, &contact).await.expect(200);
}

#[tokio::test]
async fn out_of_grace_administration_export_and_billing_are_left() {
    let world = World::new().await;
    let (api, me) = (crate::people::setup::service(&world), world.admin().await);
    let contact = world
        .contacts()
        .post(&me, "/v1/contacts", &json!({ "first_name": "A" }))
        .await
        .expect(201);
    // Where exports go; another test may have made it.
    let _ = s3().create_bucket().bucket(BUCKET).send().await;
    run(&world, PAST_DUE).await;
    let plan = api.get(&me, "/v1/admin/plan").await.expect(200);
    assert_eq!(
        (&plan["status"], &plan["phase"]),
        (&json!("past_due"), &json!("past_due"))
    );
    assert_eq!(entry(&plan["features"], "approvals")["source"], "past_due");
    for path in [
        TENANT,
        "/v1/admin/seats",
        "/v1/admin/users",
        "/v1/admin/roles",
        "/v1/admin/audit-logs",
        "/v1/admin/entitlements/effective",
    ] {
        api.get(&me, path).await.expect(200);
    }
    let exported = api.get(&me, "/v1/admin/audit-logs/export").await;
    assert!(exported.status < 300, "{}", exported.text);
    let person = json!({ "subject_type": "contact", "subject_id": contact["id"] });
    let exported = api.post(&me, "/v1/admin/gdpr/export", &person).await;
    assert!(exported.status < 300, "{}", exported.text);
    world.me().get(&me, "/v1/me").await.expect(200);

    // Overrides can be set, and bring nothing back.
    let unpaid = put(
        &service(&world),
        &me,
        TENANT,
        &json!([{ "code": "maps.enabled", "enabled": true }]),
    )
    .await
    .expect(200);
    assert_eq!(
        entry(&unpaid["effective"]["features"], "maps.enabled")["enabled"],
        false
    );
}

#[tokio::test]
async fn a_program_is_refused_as_a_person_is() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    let body = json!({ "name": "Importer", "scopes": ["contact.read", "audit.read"] });
    let key = api.post(&me, "/v1/admin/api-keys", &body).await.expect(201);
    let bearer = format!("Bearer {}", key["token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let (contacts, logs) = ("/v1/contacts", "/v1/admin/audit-logs");
    let read = async || world.contacts().call("GET", contacts, &headers, "").await;
    read().await.expect(200);
    run(&world, PAST_DUE).await;
    read().await.expect_code(402, "PLAN_REQUIRED");
    api.call("GET", logs, &headers, "").await.expect(200);
}

/// What customers write is not lost: it is there when the bill is paid.
#[tokio::test]
async fn messages_go_on_coming_in() {
    let stack = Stack::new().await;
    let (account, conversation) = stack.conversation().await;
    run(&stack.world, PAST_DUE).await;
    let body = meta_body(&[(
        &account.provider_key,
        &[text_message("201001234567", "are you there?")],
        &[],
    )]);
    stack
        .post(Source::Meta, &body, "", vec![account.clone()])
        .await
        .unwrap();
    let path = format!("/v1/conversations/{conversation}/messages");
    let reply = stack.api.post(&stack.me, &path, &json!({ "body": "yes" })).await;
    reply.expect_code(402, "PLAN_REQUIRED");
    stack
        .api
        .get(&stack.me, &path)
        .await
        .expect_code(402, "PLAN_REQUIRED");
    run(&stack.world, PAID).await;
    let listed = stack.api.get(&stack.me, &path).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
}
