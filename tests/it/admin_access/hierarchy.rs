//! The role tree.

use super::setup::{Company, ROLES, TREE, edge, edge_path, id, of, text};
use serde_json::{Value, json};

async fn system_role(company: &Company, code: &str) -> Value {
    let found = company
        .api
        .get(&company.me, &format!("{ROLES}?is_system=true&search={code}"))
        .await
        .expect(200);
    let roles = found["data"].as_array().unwrap();
    roles.iter().find(|role| role["code"] == code).unwrap().clone()
}

#[tokio::test]
async fn a_child_holds_what_its_parents_hold_from_the_next_request_on() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let (top, middle, bottom) = (
        company.role(&["contact.read"]).await,
        company.role(&[]).await,
        company.role(&[]).await,
    );
    let user = company.world.user(text(&bottom, "code")).await;
    company.inherit(&middle, &bottom).await;
    assert!(!company.may_read_contacts(&user).await);
    let added = api.post(me, TREE, &edge(&top, &middle)).await.expect(201);
    assert_eq!(added["parent_code"], top["code"]);
    assert_eq!(added["child_code"], middle["code"]);
    assert!(company.may_read_contacts(&user).await);
    let listed = api.get(me, TREE).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert_eq!(listed["data"][0], added);

    api.delete(me, &edge_path(&top, &middle)).await.expect(204);
    assert!(!company.may_read_contacts(&user).await);
    api.delete(me, &edge_path(&top, &middle))
        .await
        .expect_code(404, "NOT_FOUND");
    let events = company.events("role.hierarchy.changed").await;
    let expected = |added: bool| {
        (
            id(&middle),
            json!({ "parent_role_id": top["id"], "added": added }),
        )
    };
    assert_eq!(events[1..], [expected(true), expected(false)]);
}

#[tokio::test]
async fn without_a_role_tree_in_the_plan_edges_are_seen_and_taken_away_and_none_are_added() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let (top, bottom) = (company.role(&["contact.read"]).await, company.role(&[]).await);
    let user = company.world.user(text(&bottom, "code")).await;
    company.inherit(&top, &bottom).await;
    company.trial_ends().await;
    assert!(company.may_read_contacts(&user).await, "it still counts");
    let listed = api.get(me, TREE).await.expect(200);
    assert_eq!(listed["data"][0]["child_role_id"], bottom["id"]);
    api.delete(me, &edge_path(&top, &bottom)).await.expect(204);
    assert!(!company.may_read_contacts(&user).await);
    let error = api
        .post(me, TREE, &edge(&top, &bottom))
        .await
        .expect_code(402, "PLAN_REQUIRED");
    assert_eq!(error["details"]["feature"], "rbac.roleHierarchy");
}

#[tokio::test]
async fn a_role_of_the_company_may_inherit_from_the_systems_but_not_they_from_it() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let role = company.role(&[]).await;
    let user = company.world.user(text(&role, "code")).await;
    let (staff, super_admin) = (
        system_role(&company, "staff").await,
        system_role(&company, "super_admin").await,
    );
    company.inherit(&staff, &role).await;
    assert!(company.may_read_contacts(&user).await);
    for (parent, child) in [(&role, &staff), (&super_admin, &role)] {
        api.post(me, TREE, &edge(parent, child))
            .await
            .expect_code(409, "CONFLICT");
    }
}

#[tokio::test]
async fn a_cycle_is_refused_however_long_and_an_edge_is_there_once() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let mut roles = Vec::new();
    for _ in 0..5 {
        roles.push(company.role(&[]).await);
    }
    for pair in roles.windows(2) {
        company.inherit(&pair[0], &pair[1]).await;
    }
    for (parent, child) in [(4, 0), (2, 0), (1, 0), (3, 3)] {
        api.post(me, TREE, &edge(&roles[parent], &roles[child]))
            .await
            .expect_code(409, "CONFLICT");
    }
    api.post(me, TREE, &edge(&roles[0], &roles[1]))
        .await
        .expect_code(409, "DUPLICATE");
    // a diamond is no cycle
    company.inherit(&roles[0], &roles[4]).await;
    assert_eq!(company.events("role.hierarchy.changed").await.len(), 5);
}

#[tokio::test]
async fn a_strangers_role_or_none_is_404_at_either_end() {
    let (company, other) = (Company::new().await, Company::new().await);
    let (mine, theirs) = (company.role(&[]).await, other.role(&[]).await);
    let none = json!({ "id": testkit::unique() });
    for (parent, child) in [(&mine, &theirs), (&theirs, &mine), (&mine, &none), (&none, &mine)] {
        company
            .api
            .post(&company.me, TREE, &edge(parent, child))
            .await
            .expect_code(404, "NOT_FOUND");
        company
            .api
            .delete(&company.me, &edge_path(parent, child))
            .await
            .expect_code(404, "NOT_FOUND");
    }
    for body in [json!({}), json!({ "parent_role_id": "x", "child_role_id": "y" })] {
        company
            .api
            .post(&company.me, TREE, &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    company
        .api
        .delete(&company.me, TREE)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    let child = other.role(&[]).await;
    other.inherit(&theirs, &child).await;
    let listed = company.api.get(&company.me, TREE).await.expect(200);
    assert_eq!(listed["data"], json!([]), "{}", of(ROLES, &theirs));
}

#[tokio::test]
async fn edges_come_in_pages_and_a_tree_has_its_bound() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let (top, spare) = (company.role(&[]).await, company.role(&[]).await);
    // 500 children of one parent, all at the same instant
    let fill = format!(
        "INSERT INTO entitlement_overrides (tenant_id, scope, scope_id, code, created_at, updated_at)
             VALUES ('{0}', 'tenant', '{0}', 'roles.max', now(), now());
         INSERT INTO roles (id, tenant_id, code, name)
             SELECT gen_random_uuid(), '{0}', 'bulk' || n, 'Bulk' FROM generate_series(1, 500) n;
         INSERT INTO role_hierarchy (tenant_id, parent_role_id, child_role_id, created_at)
             SELECT '{0}', '{1}', r.id, now() FROM roles r WHERE r.tenant_id = '{0}' AND r.code LIKE 'bulk%'",
        company.world.tenant,
        id(&top)
    );
    company
        .world
        .admin_sql()
        .await
        .batch_execute(&fill)
        .await
        .unwrap();
    let (mut seen, mut cursor) = (std::collections::BTreeSet::new(), String::new());
    loop {
        let page = api
            .get(me, &format!("{TREE}?limit=150{cursor}"))
            .await
            .expect(200);
        for edge in page["data"].as_array().unwrap() {
            assert!(seen.insert(text(edge, "child_role_id").to_owned()), "twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 500);
    let full = api
        .post(me, TREE, &edge(&top, &spare))
        .await
        .expect_code(422, "LIMIT_REACHED");
    assert_eq!(full["details"]["limit"], 500);
}
