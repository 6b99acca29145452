//! Giving roles and taking them, and what somebody holds in effect.

use super::setup::{Company, fields, roles_of, text};
use serde_json::{Value, json};

fn codes(answer: &Value) -> Vec<&str> {
    answer["roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| text(role, "code"))
        .collect()
}

#[tokio::test]
async fn roles_are_given_and_taken_by_id_or_code_and_count_at_once() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let role = company.role(&["contact.read"]).await;
    let user = company.world.user("no_such_role").await;
    assert!(!company.may_read_contacts(&user).await);
    let given = company.assign(&user, &[text(&role, "id"), "sales_manager"]).await;
    assert_eq!(given["user_id"], json!(user.user_id));
    assert_eq!(codes(&given), [text(&role, "code"), "sales_manager"]);
    assert!(company.may_read_contacts(&user).await, "the very next request");
    let again = company.assign(&user, &[text(&role, "code")]).await;
    assert_eq!(again, given, "who has it keeps it");

    let body = json!({ "assign": ["read_only"], "remove": [role["code"], "sales_manager", "staff"] });
    let changed = api.post(me, &roles_of(&user), &body).await.expect(200);
    assert_eq!(codes(&changed), ["read_only"]);
    let body = json!({ "remove": ["read_only"] });
    let none = api.post(me, &roles_of(&user), &body).await.expect(200);
    assert_eq!(none["roles"], json!([]));
    assert!(!company.may_read_contacts(&user).await);
    let events = company.events("user.role.changed").await;
    assert_eq!(events.len(), 4);
    assert_eq!(events[0].0, user.user_id);
    assert_eq!(events[1].1, json!({ "assigned": [role["id"]], "removed": [] }));
}

#[tokio::test]
async fn bad_bodies_and_strangers_ids_change_nothing() {
    let (company, other) = (Company::new().await, Company::new().await);
    let (api, me) = (&company.api, &company.me);
    let user = company.world.user("staff").await;
    for (body, expected) in [
        (json!({}), " required"),
        (json!({ "assign": [] }), " required"),
        (json!({ "assign": [7] }), "assign[0] invalid"),
        (json!({ "give": ["staff"] }), "give invalid"),
        (json!({ "assign": vec!["staff"; 51] }), "assign too_many"),
        (
            json!({ "assign": ["admin"], "remove": ["00000000-0000-7000-8000-000000000002"] }),
            "remove contradiction",
        ),
    ] {
        let error = api
            .post(me, &roles_of(&user), &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(fields(&error), [expected], "{body}");
    }
    let theirs = other.role(&["contact.read"]).await;
    let missing = testkit::unique().to_string();
    for role in [
        text(&theirs, "id"),
        text(&theirs, "code"),
        &missing,
        "no_such_role",
        "",
        "a\u{0}b",
    ] {
        for body in [
            json!({ "assign": ["admin", role] }),
            json!({ "remove": ["staff", role] }),
        ] {
            api.post(me, &roles_of(&user), &body)
                .await
                .expect_code(404, "NOT_FOUND");
        }
    }
    let stranger = other.world.user("staff").await;
    api.post(me, &roles_of(&stranger), &json!({ "assign": ["admin"] }))
        .await
        .expect_code(404, "NOT_FOUND");
    let kept = company.assign(&user, &["staff"]).await;
    assert_eq!(codes(&kept), ["staff"]);
}

#[tokio::test]
async fn each_permission_says_by_which_role_inheritance_and_group_it_is_held() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let (parent, child) = (
        company.role(&["contact.read"]).await,
        company.role(&["contact.create"]).await,
    );
    company.inherit(&parent, &child).await;
    let group = company.group(&[&child["id"]]).await;
    let user = company.world.user(text(&parent, "code")).await;
    company.join(&group, &user).await;
    let path = format!("/v1/admin/users/{}/effective-permissions", user.user_id);
    let held = api.get(me, &path).await.expect(200);
    let named = |value: &Value| json!({ "id": value["id"], "code": value["code"], "name": value["name"] });
    let reasons = |code: &str| {
        let permissions = held["permissions"].as_array().unwrap();
        let found = permissions.iter().find(|permission| permission["code"] == code);
        found.map(|permission| permission["granted_by"].as_array().unwrap().clone())
    };
    let by_group = |inherited: Value| json!({ "role": named(&child), "inherited_from": inherited, "group": named(&group) });
    assert_eq!(reasons("contact.create").unwrap(), [by_group(Value::Null)]);
    let read = reasons("contact.read").unwrap();
    assert_eq!(read.len(), 2);
    assert!(read.contains(&json!({ "role": named(&parent), "inherited_from": null, "group": null })));
    assert!(read.contains(&by_group(named(&parent))));
    assert_eq!(reasons("contact.delete"), None);
    let codes: Vec<&str> = held["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| text(held, "code"))
        .collect();
    assert!(codes.is_sorted() && codes.len() == 7, "{codes:?}");

    let nobody = company.world.user("no_such_role").await;
    let path = format!("/v1/admin/users/{}/effective-permissions", nobody.user_id);
    assert_eq!(api.get(me, &path).await.expect(200)["permissions"], json!([]));
    let stranger = Company::new().await.me;
    let path = format!("/v1/admin/users/{}/effective-permissions", stranger.user_id);
    api.get(me, &path).await.expect_code(404, "NOT_FOUND");
}

#[tokio::test]
async fn what_is_shown_as_held_is_what_requests_are_allowed() {
    let company = Company::new().await;
    let role = company.role(&["contact.read", "role.read", "user.read"]).await;
    let group = company.group(&[&role["id"]]).await;
    let user = company.person(&["audit.read"]).await;
    company.join(&group, &user).await;
    let path = format!("/v1/admin/users/{}/effective-permissions", user.user_id);
    let held = company.api.get(&user, &path).await.expect(200);
    let codes: Vec<&str> = held["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| text(held, "code"))
        .collect();
    for endpoint in admin_function::routes().endpoints() {
        let Some(permission) = endpoint.access.permission() else {
            continue;
        };
        if endpoint.method != "GET" || endpoint.access.feature().is_some() {
            continue;
        }
        let path = endpoint.path.replace("{id}", &user.user_id.to_string());
        let refused = company.api.get(&user, &path).await.status == 403;
        assert_eq!(refused, !codes.contains(&permission.code()), "{path}");
    }
}

#[tokio::test]
async fn changes_are_audited_with_who_made_them() {
    let company = Company::new().await;
    let role = company.role(&["contact.read"]).await;
    let group = company.group(&[&role["id"]]).await;
    let user = company.person(&[]).await;
    company.join(&group, &user).await;
    company.assign(&user, &[text(&role, "code")]).await;
    let child = company.role(&[]).await;
    company.inherit(&role, &child).await;
    let rows = company
        .world
        .admin_sql()
        .await
        .query(
            "SELECT DISTINCT action FROM audit_logs WHERE tenant_id = $1 AND actor = 'user' AND actor_user_id = $2 ORDER BY 1",
            &[&company.world.tenant.0, &company.me.user_id],
        )
        .await
        .unwrap();
    let actions: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        actions,
        [
            "group.created",
            "group.member.created",
            "group.role.created",
            "role.created",
            "role.hierarchy.changed",
            "role.hierarchy.created",
            "role.permission.created",
            "user.role.changed",
            "user.role.created",
        ]
    );
}
