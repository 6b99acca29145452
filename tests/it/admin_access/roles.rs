//! Roles and what they grant.

use super::setup::{Company, GROUPS, ROLES, edge_path, fields, id, of, text};
use kernel::Permission;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn granted(matrix: &Value) -> BTreeSet<String> {
    let entries = matrix["permissions"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["granted"] == true)
        .map(|entry| text(entry, "code").to_owned())
        .collect()
}

fn self_service() -> BTreeSet<String> {
    Permission::SELF_SERVICE.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_role_lives_from_creation_to_deletion() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let body = json!({ "name": " Élan Sales ", "description": "Sells.", "permissions": ["contact.read", "contact.read"] });
    let created = api.post(me, ROLES, &body).await.expect(201);
    assert_eq!(created["name"], "Élan Sales");
    assert_eq!(created["code"], "elan_sales");
    assert_eq!(created["is_system"], false);
    let mut expected = self_service();
    expected.insert("contact.read".to_owned());
    assert_eq!(created["permissions"], json!(expected));

    let path = of(ROLES, &created);
    let found = api.get(me, &path).await;
    let tag = found.headers["etag"].clone();
    assert_eq!(found.expect(200), created);
    let changed = api
        .patch(me, &path, &json!({ "name": "Sales", "description": null }))
        .await
        .expect(200);
    assert_eq!(
        (&changed["name"], &changed["description"]),
        (&json!("Sales"), &json!(""))
    );
    assert_eq!(changed["permissions"], created["permissions"]);
    assert_eq!(api.get(me, &path).await.expect(200), changed);
    api.json(me, "PATCH", &path, &[("if-match", &tag)], &json!({ "name": "X" }))
        .await
        .expect_code(412, "STALE");
    api.delete(me, &path).await.expect(204);
    api.get(me, &path).await.expect_code(404, "NOT_FOUND");
    api.delete(me, &path).await.expect_code(404, "NOT_FOUND");
    let made = id(&created);
    assert_eq!(
        company.events("role.created").await,
        [(made, json!({ "code": "elan_sales" }))]
    );
    assert_eq!(company.events("role.updated").await.len(), 1);
    assert_eq!(
        company.events("role.deleted").await,
        [(made, json!({ "code": "elan_sales" }))]
    );
}

#[tokio::test]
async fn bad_bodies_are_refused_precisely_and_make_nothing() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    for (body, expected) in [
        (json!({}), vec![" invalid"]),
        (json!({ "name": "A", "colour": 1 }), vec!["colour invalid"]),
        (json!({ "name": " " }), vec!["name required", "code required"]),
        (
            json!({ "name": "x".repeat(101), "code": "a" }),
            vec!["name too_long"],
        ),
        (json!({ "name": "مبيعات" }), vec!["code required"]),
        (json!({ "name": "A", "code": "Ä b" }), vec!["code invalid"]),
        (
            json!({ "name": "A", "code": "a".repeat(51) }),
            vec!["code invalid"],
        ),
        (
            json!({ "name": "A", "description": "x".repeat(501) }),
            vec!["description too_long"],
        ),
        (json!({ "name": "A\u{0}" }), vec!["name invalid_characters"]),
        (
            json!({ "name": "A", "permissions": ["contact.read", "contact.fly", "*"] }),
            vec!["permissions[1] unknown", "permissions[2] unknown"],
        ),
        (
            json!({ "name": "A", "permissions": vec!["contact.read"; 500] }),
            vec!["permissions too_many"],
        ),
        (
            json!({ "name": "A", "permissions": "contact.read" }),
            vec!["permissions invalid"],
        ),
    ] {
        let error = api
            .post(me, ROLES, &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(fields(&error), expected, "{body}");
    }
    let own = api.get(me, &format!("{ROLES}?is_system=false")).await.expect(200);
    assert_eq!(own["data"], json!([]));
    let role = company.role(&[]).await;
    for (body, expected) in [
        (json!({ "code": "other" }), "code invalid"),
        (json!({ "permissions": [] }), "permissions invalid"),
        (json!({ "name": "" }), "name required"),
    ] {
        let error = api
            .patch(me, &of(ROLES, &role), &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(fields(&error), [expected], "{body}");
    }
    for query in ["limit=0", "sort=password", "is_system=maybe"] {
        api.get(me, &format!("{ROLES}?{query}"))
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_code_is_one_roles_in_a_company_and_never_a_system_roles() {
    let (company, other) = (Company::new().await, Company::new().await);
    let body = json!({ "name": "Agent" });
    let first = company.api.post(&company.me, ROLES, &body).await.expect(201);
    let again = company
        .api
        .post(&company.me, ROLES, &body)
        .await
        .expect_code(409, "DUPLICATE");
    assert_eq!(again["details"]["id"], first["id"]);
    other.api.post(&other.me, ROLES, &body).await.expect(201);
    let taken = company
        .api
        .post(
            &company.me,
            ROLES,
            &json!({ "name": "Mine", "code": "super_admin" }),
        )
        .await
        .expect_code(409, "DUPLICATE");
    assert_eq!(taken["details"]["id"], "00000000-0000-7000-8000-000000000001");
    assert_eq!(
        company.events("role.created").await.len(),
        1,
        "a refusal publishes nothing"
    );
}

#[tokio::test]
async fn the_systems_roles_are_for_reading() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let listed = api.get(me, &format!("{ROLES}?is_system=true")).await.expect(200);
    let system = listed["data"].as_array().unwrap();
    assert_eq!(system.len(), 9);
    for role in system {
        let path = of(ROLES, role);
        assert_eq!(&api.get(me, &path).await.expect(200), role);
        api.patch(me, &path, &json!({ "name": "Mine" }))
            .await
            .expect_code(409, "CONFLICT");
        api.put(me, &format!("{path}/permissions"), &json!({ "permissions": [] }))
            .await
            .expect_code(409, "CONFLICT");
        api.delete(me, &path).await.expect_code(409, "CONFLICT");
    }
    let after = api.get(me, &format!("{ROLES}?is_system=true")).await.expect(200);
    assert_eq!(after, listed);
}

#[tokio::test]
async fn a_role_in_use_is_not_deleted_and_says_by_how_many() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let (role, child) = (company.role(&["contact.read"]).await, company.role(&[]).await);
    let (one, two) = (
        company.world.user("staff").await,
        company.world.user("staff").await,
    );
    for user in [&one, &two] {
        company.assign(user, &[text(&role, "id")]).await;
    }
    let group = company.group(&[&role["id"]]).await;
    company.inherit(&role, &child).await;
    let path = of(ROLES, &role);
    let refused = api.delete(me, &path).await.expect_code(409, "CONFLICT");
    assert_eq!(
        refused["details"],
        json!({ "users": 2, "groups": 1, "child_roles": 1 })
    );
    assert!(company.may_read_contacts(&one).await);

    for user in [&one, &two] {
        let body = json!({ "remove": [role["code"]] });
        api.post(me, &super::setup::roles_of(user), &body)
            .await
            .expect(200);
    }
    api.patch(me, &of(GROUPS, &group), &json!({ "role_ids": [] }))
        .await
        .expect(200);
    let refused = api.delete(me, &path).await.expect_code(409, "CONFLICT");
    assert_eq!(
        refused["details"],
        json!({ "users": 0, "groups": 0, "child_roles": 1 })
    );
    api.delete(me, &edge_path(&role, &child)).await.expect(204);
    // what the role itself inherits from is its own affair
    company.inherit(&child, &role).await;
    api.delete(me, &path).await.expect(204);
}

#[tokio::test]
async fn permissions_are_replaced_with_what_they_imply_and_count_at_once() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let role = company.role(&[]).await;
    let path = format!("{}/permissions", of(ROLES, &role));
    let user = company.world.user(text(&role, "code")).await;
    assert!(!company.may_read_contacts(&user).await);
    let put = api
        .put(
            me,
            &path,
            &json!({ "permissions": ["contact.read", "user.manage"] }),
        )
        .await
        .expect(200);
    assert!(company.may_read_contacts(&user).await, "the very next request");
    let mut expected = self_service();
    for code in ["contact.read", "user.manage"] {
        expected.insert(code.to_owned());
    }
    for implied in Permission::UserManage.implies() {
        expected.insert(implied.to_string());
    }
    assert_eq!(granted(&put), expected);
    assert_eq!(
        api.get(me, &path).await.expect(200),
        put,
        "what is read is what was answered"
    );
    let entries = put["permissions"].as_array().unwrap();
    assert_eq!(entries.len(), Permission::ALL.len());
    let manage = entries
        .iter()
        .find(|entry| entry["code"] == "user.manage")
        .unwrap();
    assert_eq!(manage["implies"].as_array().unwrap().len(), 8);
    assert_eq!(
        (&manage["privileged"], &manage["self_service"]),
        (&json!(true), &json!(false))
    );

    let put = api
        .put(me, &path, &json!({ "permissions": [] }))
        .await
        .expect(200);
    assert_eq!(granted(&put), self_service(), "what everybody needs stays");
    assert!(!company.may_read_contacts(&user).await);
    let wrong = api
        .put(me, &path, &json!({ "permissions": ["nothing"] }))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    assert_eq!(fields(&wrong), ["permissions[0] unknown"]);
    let events = company.events("role.updated").await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].1["permissions"], json!([]));
}

#[tokio::test]
async fn the_matrix_says_what_is_inherited_from_where() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let (grandparent, parent) = (company.role(&["contact.read"]).await, company.role(&[]).await);
    let child = company.role(&["contact.create"]).await;
    company.inherit(&grandparent, &parent).await;
    company.inherit(&parent, &child).await;
    let matrix = api
        .get(me, &format!("{}/permissions", of(ROLES, &child)))
        .await
        .expect(200);
    let entry = |code: &str| {
        let entries = matrix["permissions"].as_array().unwrap();
        entries
            .iter()
            .find(|entry| entry["code"] == code)
            .unwrap()
            .clone()
    };
    let inherited = entry("contact.read");
    assert_eq!(inherited["granted"], false);
    assert_eq!(inherited["inherited_from"], json!([grandparent["code"]]));
    assert_eq!(entry("contact.create")["granted"], true);
    assert_eq!(entry("contact.create")["inherited_from"], json!([]));
}

#[tokio::test]
async fn roles_are_listed_in_pages_by_each_order_and_found_by_a_part_of_their_name() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    for name in ["North Desk", "South Desk", "Tower"] {
        api.post(me, ROLES, &json!({ "name": name })).await.expect(201);
    }
    for sort in ["name", "-name", "code", "created_at", "-created_at"] {
        let all = api
            .get(me, &format!("{ROLES}?limit=200&sort={sort}"))
            .await
            .expect(200);
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = api
                .get(me, &format!("{ROLES}?limit=5&sort={sort}{cursor}"))
                .await
                .expect(200);
            paged.extend(page["data"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(json!(paged), all["data"], "{sort}");
        assert_eq!(paged.len(), 12, "{sort}");
    }
    for (query, expected) in [
        ("search=desk&sort=name", vec!["north_desk", "south_desk"]),
        ("search=TOW", vec!["tower"]),
        ("search=%25", vec![]),
        ("search=super_a", vec!["super_admin"]),
        ("search=manager&is_system=false", vec![]),
    ] {
        let found = api.get(me, &format!("{ROLES}?{query}")).await.expect(200);
        let codes: Vec<&str> = found["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|role| text(role, "code"))
            .collect();
        assert_eq!(codes, expected, "{query}");
    }
}

#[tokio::test]
async fn another_companys_role_is_a_missing_one() {
    let (company, other) = (Company::new().await, Company::new().await);
    let theirs = other.role(&["contact.read"]).await;
    let (api, me) = (&company.api, &company.me);
    let path = of(ROLES, &theirs);
    api.get(me, &path).await.expect_code(404, "NOT_FOUND");
    api.patch(me, &path, &json!({ "name": "x" }))
        .await
        .expect_code(404, "NOT_FOUND");
    api.delete(me, &path).await.expect_code(404, "NOT_FOUND");
    let permissions = format!("{path}/permissions");
    api.get(me, &permissions).await.expect_code(404, "NOT_FOUND");
    api.put(me, &permissions, &json!({ "permissions": [] }))
        .await
        .expect_code(404, "NOT_FOUND");
    let listed = api.get(me, &format!("{ROLES}?is_system=false")).await.expect(200);
    assert_eq!(listed["data"], json!([]));
    assert_eq!(other.api.get(&other.me, &path).await.expect(200), theirs);
}

#[tokio::test]
async fn the_database_lets_nobody_write_into_a_system_role_or_give_a_strangers() {
    let (company, other) = (Company::new().await, Company::new().await);
    let theirs = id(&other.role(&[]).await);
    let mine = id(&company.role(&[]).await);
    let group = id(&company.group(&[]).await);
    let client = company.world.as_application().await;
    let tenant = company.world.tenant.0;
    client
        .query(
            "SELECT set_config('app.current_tenant_id', $1, false)",
            &[&tenant.to_string()],
        )
        .await
        .unwrap();
    let user = company.me.user_id;
    for statement in [
        format!(
            "INSERT INTO role_permissions VALUES ('00000000-0000-7000-8000-000000000005', '{tenant}', 'audit.read')"
        ),
        format!("INSERT INTO role_permissions VALUES ('{theirs}', '{tenant}', 'audit.read')"),
        format!("INSERT INTO user_roles VALUES ('{tenant}', '{user}', '{theirs}', now())"),
        format!("INSERT INTO group_roles VALUES ('{tenant}', '{group}', '{theirs}', now())"),
        format!(
            "INSERT INTO group_roles VALUES ('{tenant}', '{group}', '00000000-0000-7000-8000-000000000001', now())"
        ),
        format!("INSERT INTO role_hierarchy VALUES ('{tenant}', '{theirs}', '{mine}', now())"),
        format!("INSERT INTO role_hierarchy VALUES ('{tenant}', '{mine}', '{theirs}', now())"),
        format!(
            "INSERT INTO role_hierarchy VALUES ('{tenant}', '{mine}', '00000000-0000-7000-8000-000000000005', now())"
        ),
        format!(
            "INSERT INTO role_hierarchy VALUES ('{tenant}', '00000000-0000-7000-8000-000000000001', '{mine}', now())"
        ),
    ] {
        assert!(client.batch_execute(&statement).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn the_registry_and_the_tables_agree_on_what_comes_with_what() {
    let company = Company::new().await;
    company.role(&["contact.read"]).await;
    let admin = company.world.admin_sql().await;
    let rows = admin
        .query("SELECT code FROM permissions WHERE self_service", &[])
        .await
        .unwrap();
    let seeded: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(seeded, self_service());
    for permission in Permission::ALL {
        let implied: Vec<&str> = permission
            .implies()
            .iter()
            .map(|implied| implied.code())
            .collect();
        let lacking: i64 = admin
            .query_one(
                "SELECT count(*) FROM role_permissions given CROSS JOIN unnest($2::text[]) AS implied (code)
                 WHERE given.tenant_id IS NULL AND given.permission_code = $1 AND NOT EXISTS (
                     SELECT FROM role_permissions rp WHERE rp.role_id = given.role_id AND rp.permission_code = implied.code)",
                &[&permission.code(), &implied],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(lacking, 0, "{permission}");
    }
    let without: i64 = admin
        .query_one(
            "SELECT count(*) FROM roles r CROSS JOIN permissions p
             WHERE (r.tenant_id IS NULL OR r.tenant_id = $1) AND p.self_service AND NOT EXISTS (
                 SELECT FROM role_permissions rp WHERE rp.role_id = r.id AND rp.permission_code = p.code)",
            &[&company.world.tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(without, 0, "every role carries what everybody needs");
}
