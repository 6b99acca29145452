//! Groups, their members and their roles.

use super::setup::{Company, GROUPS, fields, id, of, text};
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn a_group_lives_from_creation_to_deletion() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let role = company.role(&["contact.read"]).await;
    let body = json!({ "name": "Cairo Office", "kind": "business", "description": "Nile side", "role_ids": [role["id"], role["id"]] });
    let created = api.post(me, GROUPS, &body).await.expect(201);
    assert_eq!(created["code"], "cairo_office");
    assert_eq!(
        (&created["kind"], &created["is_active"]),
        (&json!("business"), &json!(true))
    );
    assert_eq!(created["role_ids"], json!([role["id"]]), "each role once");
    let path = of(GROUPS, &created);
    let found = api.get(me, &path).await;
    let tag = found.headers["etag"].clone();
    assert_eq!(found.expect(200), created);
    let change = json!({ "name": "Giza", "description": null, "role_ids": [] });
    let changed = api.patch(me, &path, &change).await.expect(200);
    assert_eq!(
        (&changed["name"], &changed["description"]),
        (&json!("Giza"), &json!(""))
    );
    assert_eq!(changed["role_ids"], json!([]));
    assert_eq!(api.get(me, &path).await.expect(200), changed);
    api.json(me, "PATCH", &path, &[("if-match", &tag)], &json!({ "name": "X" }))
        .await
        .expect_code(412, "STALE");
    let twice = api
        .post(me, GROUPS, &json!({ "name": "Cairo Office" }))
        .await
        .expect_code(409, "DUPLICATE");
    assert_eq!(twice["details"]["id"], created["id"]);
    api.delete(me, &path).await.expect(204);
    api.get(me, &path).await.expect_code(404, "NOT_FOUND");
    for event in ["group.created", "group.updated", "group.deleted"] {
        let events = company.events(event).await;
        assert_eq!(events.len(), 1, "{event}");
        assert_eq!(events[0].0, id(&created), "{event}");
    }
}

#[tokio::test]
async fn members_hold_the_groups_roles_while_they_are_in_it_and_it_is_active() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let role = company.role(&["contact.read"]).await;
    let group = company.group(&[]).await;
    let (path, user) = (of(GROUPS, &group), company.person(&[]).await);
    let members = format!("{path}/members");
    company.join(&group, &user).await;
    assert!(!company.may_read_contacts(&user).await);

    // each change counts at the very next request
    for (body, allowed) in [
        (json!({ "role_ids": [role["id"]] }), true),
        (json!({ "is_active": false }), false),
        (json!({ "name": "Renamed" }), false),
        (json!({ "is_active": true }), true),
        (json!({ "role_ids": [] }), false),
        (json!({ "role_ids": [role["id"]] }), true),
    ] {
        api.patch(me, &path, &body).await.expect(200);
        assert_eq!(company.may_read_contacts(&user).await, allowed, "{body}");
    }
    let query = format!("{members}?user_id={}", user.user_id);
    api.delete(me, &query).await.expect(204);
    assert!(!company.may_read_contacts(&user).await);
    api.delete(me, &query).await.expect_code(404, "NOT_FOUND");
    company.join(&group, &user).await;
    assert!(company.may_read_contacts(&user).await);
    let events = company.events("group.members.changed").await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[1].1, json!({ "removed": [user.user_id] }));
}

#[tokio::test]
async fn without_groups_in_the_plan_members_are_seen_and_taken_out_and_none_are_added() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let role = company.role(&["contact.read"]).await;
    let group = company.group(&[&role["id"]]).await;
    let (user, other) = (company.person(&[]).await, company.person(&[]).await);
    company.join(&group, &user).await;
    company.trial_ends().await;
    assert!(company.may_read_contacts(&user).await, "it still counts");
    let members = format!("{}/members", of(GROUPS, &group));
    let listed = api.get(me, &members).await.expect(200);
    assert_eq!(listed["data"][0]["user_id"], json!(user.user_id));
    let error = api
        .post(me, &members, &json!({ "user_ids": [other.user_id] }))
        .await
        .expect_code(402, "PLAN_REQUIRED");
    assert_eq!(error["details"]["feature"], "rbac.groups");
    api.delete(me, &format!("{members}?user_id={}", user.user_id))
        .await
        .expect(204);
    assert!(!company.may_read_contacts(&user).await);
}

#[tokio::test]
async fn a_group_with_members_is_not_deleted_and_says_how_many() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let role = company.role(&[]).await;
    let group = company.group(&[&role["id"]]).await;
    let users = [company.person(&[]).await, company.person(&[]).await];
    for user in &users {
        company.join(&group, user).await;
    }
    let refused = api
        .delete(me, &of(GROUPS, &group))
        .await
        .expect_code(409, "CONFLICT");
    assert_eq!(refused["details"], json!({ "members": 2 }));
    for user in &users {
        let path = format!("{}/members?user_id={}", of(GROUPS, &group), user.user_id);
        api.delete(me, &path).await.expect(204);
    }
    api.delete(me, &of(GROUPS, &group)).await.expect(204);
}

/// Also when the plan lets nobody change overrides any more.
#[tokio::test]
async fn a_deleted_groups_overrides_go_with_it_and_the_log_says_which() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let (group, plain) = (company.group(&[]).await, company.group(&[]).await);
    let wanted = json!([
        { "code": "deals.max", "limit_value": 7 }, { "code": "maps.enabled", "enabled": false },
    ]);
    override_group(&company, &group, &wanted).await.expect(200);
    let user = company.person(&[]).await;
    company.join(&group, &user).await;
    company.trial_ends().await;
    let path = of(GROUPS, &group);
    api.delete(me, &path).await.expect_code(409, "CONFLICT");
    assert_eq!(overrides(&company).await, 2);
    assert_eq!(changes(&company, &group).await.len(), 1, "nothing was done");
    let member = format!("{path}/members?user_id={}", user.user_id);
    api.delete(me, &member).await.expect(204);
    api.delete(me, &path).await.expect(204);
    assert_eq!(overrides(&company).await, 0);
    let (by, change) = changes(&company, &group).await.pop().unwrap();
    assert_eq!(by, me.user_id);
    assert_eq!(
        (&change["scope"], &change["scope_id"], &change["after"]),
        (&json!("group"), &group["id"], &json!([]))
    );
    let before = change["before"].as_array().unwrap();
    let before: Vec<_> = before.iter().map(|was| text(was, "code")).collect();
    assert_eq!(before, ["deals.max", "maps.enabled"]);
    let events = company.events("entitlement.override.changed").await;
    assert_eq!(
        events.last(),
        Some(&(
            id(&group),
            json!({ "scope": "group", "codes": ["deals.max", "maps.enabled"] })
        ))
    );

    // Of a group without any there is nothing to say.
    api.delete(me, &of(GROUPS, &plain)).await.expect(204);
    assert_eq!(changes(&company, &plain).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn overrides_that_come_while_the_group_is_deleted_go_with_it_or_find_no_group() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let wanted = json!([{ "code": "deals.max", "limit_value": 7 }]);
    for _ in 0..6 {
        let group = company.group(&[]).await;
        let path = of(GROUPS, &group);
        let (set, deleted) = futures::join!(override_group(&company, &group, &wanted), api.delete(me, &path));
        assert_eq!(deleted.status, 204, "{}", deleted.text);
        let lines = match set.status {
            200 => 2,
            404 => 0,
            _ => panic!("{}", set.text),
        };
        assert_eq!(changes(&company, &group).await.len(), lines);
        assert_eq!(overrides(&company).await, 0);
    }
}

async fn override_group(company: &Company, group: &Value, wanted: &Value) -> crate::support::Answer {
    let path = format!(
        "/v1/admin/entitlements/overrides/group?group_id={}",
        text(group, "id")
    );
    let body = json!({ "overrides": wanted });
    company.api.put(&company.me, &path, &body).await
}

/// How many overrides there are of groups.
async fn overrides(company: &Company) -> i64 {
    let count = "SELECT count(*) FROM entitlement_overrides WHERE tenant_id = $1 AND scope = 'group'";
    let admin = company.world.admin_sql().await;
    let row = admin.query_one(count, &[&company.world.tenant.0]).await;
    row.unwrap().get(0)
}

/// Who changed a group's overrides, and how, oldest first.
async fn changes(company: &Company, group: &Value) -> Vec<(Uuid, Value)> {
    let lines = "SELECT actor_user_id, after_data FROM audit_logs
        WHERE tenant_id = $1 AND entity_id = $2 AND action = 'entitlement.override.changed' ORDER BY seq";
    let admin = company.world.admin_sql().await;
    let rows = admin.query(lines, &[&company.world.tenant.0, &id(group)]).await;
    rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn members_are_added_together_and_come_in_pages() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let group = company.group(&[]).await;
    let members = format!("{}/members", of(GROUPS, &group));
    let mut user_ids = Vec::new();
    for _ in 0..5 {
        user_ids.push(company.world.user("staff").await.user_id);
    }
    let first = json!({ "user_ids": user_ids[..2] });
    let added = api.post(me, &members, &first).await.expect(201);
    assert_eq!(added["data"].as_array().unwrap().len(), 2);
    let all =
        json!({ "user_ids": [user_ids[0], user_ids[1], user_ids[2], user_ids[3], user_ids[4], user_ids[4]] });
    let again = api.post(me, &members, &all).await.expect(201);
    assert_eq!(again["data"].as_array().unwrap().len(), 5);
    assert_eq!(
        again["data"][0], added["data"][0],
        "who was a member stays one, as of then"
    );
    for sort in ["added_at", "-added_at"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = api
                .get(me, &format!("{members}?limit=2&sort={sort}{cursor}"))
                .await
                .expect(200);
            seen.extend(
                page["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|member| text(member, "user_id").to_owned()),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut each = seen.clone();
        each.sort();
        each.dedup();
        assert_eq!((seen.len(), each.len()), (5, 5), "{sort}");
    }
    for (body, expected) in [
        (json!({ "user_ids": [] }), "user_ids required"),
        (
            json!({ "user_ids": vec![testkit::unique(); 101] }),
            "user_ids too_many",
        ),
        (json!({ "user_ids": ["me"] }), "user_ids[0] invalid"),
    ] {
        let error = api
            .post(me, &members, &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(fields(&error), [expected]);
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_precisely() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    for (body, expected) in [
        (json!({ "name": "" }), vec!["name required", "code required"]),
        (json!({ "name": "A", "code": "-" }), vec!["code invalid"]),
        (json!({ "name": "A", "kind": "tribe" }), vec!["kind invalid"]),
        (json!({ "name": "A", "roles": [] }), vec!["roles invalid"]),
        (
            json!({ "name": "A", "role_ids": ["00000000-0000-7000-8000-000000000001"] }),
            vec!["role_ids[0] not_allowed"],
        ),
        (
            json!({ "name": "A", "role_ids": vec![testkit::unique(); 51] }),
            vec!["role_ids too_many"],
        ),
    ] {
        let error = api
            .post(me, GROUPS, &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(fields(&error), expected, "{body}");
    }
    let group = company.group(&[]).await;
    for (body, expected) in [
        (json!({ "code": "x" }), "code invalid"),
        (json!({ "kind": "team" }), "kind invalid"),
        (
            json!({ "role_ids": ["00000000-0000-7000-8000-000000000001"] }),
            "role_ids[0] not_allowed",
        ),
    ] {
        let error = api
            .patch(me, &of(GROUPS, &group), &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(fields(&error), [expected], "{body}");
    }
    assert_eq!(api.get(me, &of(GROUPS, &group)).await.expect(200), group);
}

#[tokio::test]
async fn groups_are_filtered_and_paged() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    for (name, kind, is_active) in [
        ("Alpha", "team", true),
        ("Beta", "team", false),
        ("Gamma", "business", true),
        ("Delta", "business", false),
    ] {
        let body = json!({ "name": name, "kind": kind, "is_active": is_active });
        api.post(me, GROUPS, &body).await.expect(201);
    }
    let names = |page: &Value| -> Vec<String> {
        let groups = page["data"].as_array().unwrap().iter();
        groups.map(|group| text(group, "name").to_owned()).collect()
    };
    for (query, expected) in [
        ("sort=name", vec!["Alpha", "Beta", "Delta", "Gamma"]),
        ("", vec!["Delta", "Gamma", "Beta", "Alpha"]),
        ("is_active=true&sort=name", vec!["Alpha", "Gamma"]),
        ("kind=business&sort=-name", vec!["Gamma", "Delta"]),
        ("kind=team&is_active=false", vec!["Beta"]),
        ("search=ET", vec!["Beta"]),
    ] {
        let page = api.get(me, &format!("{GROUPS}?{query}")).await.expect(200);
        assert_eq!(names(&page), expected, "{query}");
    }
    let first = api
        .get(me, &format!("{GROUPS}?sort=name&limit=3"))
        .await
        .expect(200);
    let next = format!(
        "{GROUPS}?sort=name&limit=3&cursor={}",
        text(&first, "next_cursor")
    );
    assert_eq!(names(&api.get(me, &next).await.expect(200)), ["Gamma"]);
}

#[tokio::test]
async fn another_companys_group_user_or_role_is_a_missing_one() {
    let (company, other) = (Company::new().await, Company::new().await);
    let (api, me) = (&company.api, &company.me);
    let theirs = other.group(&[]).await;
    let path = of(GROUPS, &theirs);
    let members = format!("{path}/members");
    let user = company.world.user("staff").await;
    api.get(me, &path).await.expect_code(404, "NOT_FOUND");
    api.patch(me, &path, &json!({ "name": "x" }))
        .await
        .expect_code(404, "NOT_FOUND");
    api.delete(me, &path).await.expect_code(404, "NOT_FOUND");
    api.get(me, &members).await.expect_code(404, "NOT_FOUND");
    api.post(me, &members, &json!({ "user_ids": [user.user_id] }))
        .await
        .expect_code(404, "NOT_FOUND");
    api.delete(me, &format!("{members}?user_id={}", user.user_id))
        .await
        .expect_code(404, "NOT_FOUND");
    let mine = company.group(&[]).await;
    let stranger = other.world.user("staff").await;
    for unknown in [stranger.user_id, testkit::unique()] {
        let both = json!({ "user_ids": [user.user_id, unknown] });
        api.post(me, &format!("{}/members", of(GROUPS, &mine)), &both)
            .await
            .expect_code(404, "NOT_FOUND");
    }
    let listed = api
        .get(me, &format!("{}/members", of(GROUPS, &mine)))
        .await
        .expect(200);
    assert_eq!(listed["data"], json!([]), "all or nobody");
    let their_role = other.role(&[]).await;
    let unknown = json!(testkit::unique());
    for role in [&their_role["id"], &unknown] {
        api.post(me, GROUPS, &json!({ "name": "A", "role_ids": [role] }))
            .await
            .expect_code(404, "NOT_FOUND");
        api.patch(me, &of(GROUPS, &mine), &json!({ "role_ids": [role] }))
            .await
            .expect_code(404, "NOT_FOUND");
    }
}
