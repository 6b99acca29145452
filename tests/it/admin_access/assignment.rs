//! Giving roles and taking them, and what somebody holds in effect.

use super::setup::{Company, ROLES, fields, roles_of, text};
use crate::support::Login;
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

/// Sets something of the user or the company.
async fn set(company: &Company, user: &Login, table: &str, change: &str) {
    let (tenant, id) = (company.world.tenant, user.user_id);
    let whose = match table {
        "users" => format!("tenant_id = '{tenant}' AND id = '{id}'"),
        "tenants" => format!("id = '{tenant}'"),
        _ => format!("tenant_id = '{tenant}'"),
    };
    let update = format!("UPDATE {table} SET {change} WHERE {whose}");
    let sql = company.world.admin_sql().await;
    assert_eq!(sql.execute(&update, &[]).await.unwrap(), 1, "{update}");
}

#[tokio::test]
async fn what_is_held_and_refused_all_the_same_says_why_as_the_next_request_does() {
    let (twofa, phone) = ("AUTH_2FA_SETUP_REQUIRED", "AUTH_PHONE_UNVERIFIED");
    let codes = ["roles.manage", "role.read", "contact.read", "session.read.self"];
    for (table, change, expected) in [
        ("users", "status = 'active'", [""; 4]),
        (
            "users",
            "email_verified_at = NULL",
            ["AUTH_EMAIL_UNVERIFIED", "", "", ""],
        ),
        (
            "tenants",
            "twofa_required_from = now() - interval '1 day'",
            [twofa, twofa, twofa, ""],
        ),
        (
            "tenants",
            "phone_required_from = now() - interval '1 day'",
            [phone, phone, phone, ""],
        ),
        (
            "tenant_subscription",
            "status = 'past_due', grace_ends_at = now() - interval '1 day'",
            ["", "", "PLAN_REQUIRED", ""],
        ),
        ("users", "status = 'suspended'", ["UNAUTHENTICATED"; 4]),
    ] {
        let company = Company::new().await;
        let role = company.role(&["contact.read"]).await;
        let group = company.group(&[&role["id"]]).await;
        let user = company
            .person(&["contact.read", "roles.manage", "role.read"])
            .await;
        company.join(&group, &user).await;
        // Who looks owes nothing, whatever the company asks for.
        let proven = "twofa_methods = '{totp}', phone_verified_at = now()";
        set(&company, &company.me, "users", proven).await;
        set(&company, &user, table, change).await;

        let path = format!("/v1/admin/users/{}/effective-permissions", user.user_id);
        let held = company.api.get(&company.me, &path).await.expect(200);
        let blocked_by = codes.map(|code| {
            let permissions = held["permissions"].as_array().unwrap();
            let found = permissions.iter().find(|permission| permission["code"] == code);
            let blocked_by = &found.unwrap()["blocked_by"];
            assert!(blocked_by.is_string() || blocked_by.is_null(), "{blocked_by}");
            blocked_by.as_str().unwrap_or("").to_owned()
        });
        assert_eq!(blocked_by, expected, "{change}");

        let requests = [
            company.api.post(&user, ROLES, &json!({ "name": "R" })).await,
            company.api.get(&user, ROLES).await,
            company.world.contacts().get(&user, "/v1/contacts").await,
        ];
        for (answer, expected) in requests.into_iter().zip(expected) {
            if expected.is_empty() {
                assert!(matches!(answer.status, 200 | 201), "{change} {}", answer.text);
            } else {
                assert_eq!(answer.json()["error"]["code"], expected, "{change}");
            }
        }
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
