//! Keys that keys made end with them.

use super::setup::{Company, KEYS, of, program, text};
use crate::support::Login;
use serde_json::{Value, json};

const SCOPES: &[&str] = &["apikeys.manage", "contact.read"];

/// A key that somebody made, and its record.
async fn made_by(company: &Company, by: &Login) -> (Login, Value) {
    let body = json!({ "name": "Key", "scopes": SCOPES });
    let made = company.api.post(by, KEYS, &body).await.expect(201);
    (program(text(&made, "token")), made)
}

async fn works(company: &Company, key: &Login) -> bool {
    let answer = company.world.contacts().get(key, "/v1/contacts").await;
    assert!(matches!(answer.status, 200 | 401), "{answer:?}");
    answer.status == 200
}

#[tokio::test]
async fn a_key_ends_with_the_one_that_made_it_however_far_down() {
    let company = Company::new().await;
    let (key, made) = made_by(&company, &company.me).await;
    let (child, child_made) = made_by(&company, &key).await;
    let (grandchild, _) = made_by(&company, &child).await;
    let (sibling, _) = made_by(&company, &key).await;
    let (other, _) = made_by(&company, &company.me).await;
    assert_eq!(
        (&made["parent_key_id"], &child_made["parent_key_id"]),
        (&Value::Null, &made["id"])
    );

    company
        .api
        .delete(&company.me, &of(KEYS, &child_made))
        .await
        .expect(204);
    for (key, alive) in [
        (&key, true),
        (&child, false),
        (&grandchild, false),
        (&sibling, true),
    ] {
        assert_eq!(works(&company, key).await, alive);
    }
    company
        .api
        .delete(&company.me, &of(KEYS, &made))
        .await
        .expect(204);
    for (key, alive) in [(&key, false), (&sibling, false), (&other, true)] {
        assert_eq!(works(&company, key).await, alive);
    }
    let told = company.events("api_key.revoked").await;
    assert_eq!(told.len(), 4, "of each, once");
    let audited = "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND action = 'api_key.updated'";
    let sql = company.world.admin_sql().await;
    let audited: i64 = sql
        .query_one(audited, &[&company.world.tenant.0])
        .await
        .unwrap()
        .get(0);
    assert_eq!(audited, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_made_past_the_end_of_its_maker() {
    let company = Company::new().await;
    for _ in 0..8 {
        let (key, made) = made_by(&company, &company.me).await;
        let body = json!({ "name": "Key", "scopes": SCOPES });
        let path = of(KEYS, &made);
        let (children, ended) = futures::join!(
            futures::future::join_all((0..3).map(|_| company.api.post(&key, KEYS, &body))),
            company.api.delete(&company.me, &path),
        );
        ended.expect(204);
        for child in children {
            if child.status == 201 {
                let child = program(text(&child.json(), "token"));
                assert!(
                    !works(&company, &child).await,
                    "it came before the revocation, and went with it"
                );
            } else {
                child.expect_code(401, "UNAUTHENTICATED");
            }
        }
    }
}
