//! Another company's ids are missing ones: in every path and every field.

use super::setup::{Company, POLICIES, REQUESTS, id, policy, role, user};
use serde_json::json;

#[tokio::test]
async fn another_companys_ids_are_missing_ones() {
    let theirs = Company::gated(json!([role("sales_manager")])).await;
    let (their_user, their_manager) = (theirs.user("sales_manager").await, theirs.user("manager").await);
    let their_group = theirs.group(&[&their_user]).await;
    let (their_contact, their_request) = theirs.ask(&their_manager).await;
    let their_role = testkit::unique();
    theirs
        .sql(
            "INSERT INTO roles (id, tenant_id, code, name) VALUES ($2, $1, 'their_board', 'Board')",
            their_role,
        )
        .await;
    let listed = theirs.approvals.get(&theirs.admin, POLICIES).await.expect(200);
    let their_policy = id(&listed["data"][0]);

    let ours = Company::new().await;
    let (api, me) = (&ours.approvals, &ours.admin);
    let missing = testkit::unique().to_string();
    let named = |mode: &str, reference: &str| {
        policy(json!({ "steps": [{ "approver_mode": mode, "approver_ref": reference }] }))
    };
    let our_policy = format!("{POLICIES}/{}", id(&ours.policy(json!({})).await));
    for (mode, reference) in [
        ("user", their_user.user_id.to_string()),
        ("user", missing.clone()),
        ("group", their_group.to_string()),
        ("group", missing.clone()),
        ("role", their_role.to_string()),
        ("role", "their_board".to_owned()),
        ("role", missing.clone()),
        ("role", "no_such_role".to_owned()),
    ] {
        let made = api.post(me, POLICIES, &named(mode, &reference)).await;
        let error = made.expect_code(404, "NOT_FOUND");
        assert_eq!(error["message"], "There is no such record.", "{mode} {reference}");
        let changed = json!({ "name": "Changed", "steps": named(mode, &reference)["steps"] });
        api.patch(me, &our_policy, &changed)
            .await
            .expect_code(404, "NOT_FOUND");
    }
    assert_eq!(
        api.get(me, &our_policy).await.expect(200)["name"],
        "Deletions",
        "nothing of it is kept"
    );

    for one in [&their_policy, &missing] {
        let path = format!("{POLICIES}/{one}");
        for method in ["GET", "PATCH", "DELETE"] {
            api.json(me, method, &path, &[], &json!({}))
                .await
                .expect_code(404, "NOT_FOUND");
        }
    }
    for one in [&their_request, &missing] {
        let path = format!("{REQUESTS}/{one}");
        api.get(me, &path).await.expect_code(404, "NOT_FOUND");
        for what in ["approve", "reject", "cancel"] {
            ours.decide(me, one, what).await.expect_code(404, "NOT_FOUND");
        }
    }
    let listed = api
        .get(me, &format!("{REQUESTS}?object_id={their_contact}"))
        .await
        .expect(200);
    assert_eq!(listed["data"], json!([]));
    ours.delete(me, &their_contact)
        .await
        .expect_code(404, "NOT_FOUND");
    assert!(theirs.is_there(&their_contact).await);
    assert_eq!(theirs.request(&their_request).await["state"], "pending");

    // a role of our own is found by its code, though theirs has the same
    let our_role = testkit::unique();
    ours.sql(
        "INSERT INTO roles (id, tenant_id, code, name) VALUES ($2, $1, 'their_board', 'Board')",
        our_role,
    )
    .await;
    ours.policy(json!({ "steps": [role("their_board"), user(me)] }))
        .await;
}
