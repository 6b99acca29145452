//! One thing done to many users.

use super::setup::{Office, address};
use serde_json::{Value, json};

const PATH: &str = "/v1/admin/users/bulk";

#[tokio::test]
async fn each_user_is_done_or_told_why_not() {
    let office = Office::new().await;
    let (one, two) = (office.world.user("staff").await, office.world.user("staff").await);
    let theirs = Office::new().await.me.user_id;
    let (invited, old) = office.invite(&json!({ "email": address() })).await;
    let ids = json!([
        one.user_id,
        two.user_id,
        one.user_id,
        theirs,
        office.me.user_id,
        invited
    ]);
    let outcomes = async |body: Value| {
        let answer = office.post(PATH, &body).await.expect(200);
        let of = |id: String| {
            let results = answer["results"].as_array().unwrap();
            let found = results
                .iter()
                .find(|result| result["user_id"] == id.as_str())
                .unwrap()
                .clone();
            if found["ok"] == true {
                "ok".to_owned()
            } else {
                found["code"].as_str().unwrap().to_owned()
            }
        };
        let all = [one.user_id, two.user_id, theirs, office.me.user_id, invited].map(|id| of(id.to_string()));
        assert_eq!(
            answer["results"].as_array().unwrap().len(),
            5,
            "named twice, done once"
        );
        all
    };
    let assigned = outcomes(json!({ "action": "assign_role", "role": "manager", "user_ids": ids })).await;
    assert_eq!(assigned, ["ok", "ok", "NOT_FOUND", "FORBIDDEN", "ok"]);
    let managers = office.get("/v1/admin/users?role=manager").await.expect(200);
    assert_eq!(managers["data"].as_array().unwrap().len(), 3);

    let resent = outcomes(json!({ "action": "resend_invite", "user_ids": ids })).await;
    assert_eq!(resent, ["CONFLICT", "CONFLICT", "NOT_FOUND", "CONFLICT", "ok"]);
    assert_eq!(office.accept(&old).await.status, 422);

    let given = office.changes(two.user_id, "user.role.changed").await;
    assert_eq!(given.len(), 1);
    assert_eq!(given[0]["assigned"].as_array().unwrap().len(), 1);

    let suspended = outcomes(json!({ "action": "suspend", "user_ids": ids })).await;
    assert_eq!(suspended, ["ok", "ok", "NOT_FOUND", "CONFLICT", "CONFLICT"]);
    office
        .world
        .contacts()
        .get(&one, "/v1/contacts")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    assert!(
        office
            .events(two.user_id)
            .await
            .contains(&"user.suspended".to_owned())
    );
}

#[tokio::test]
async fn groups_are_joined_and_rights_beyond_ones_own_refused_as_a_whole() {
    let office = Office::new().await;
    let (group, tenant) = (testkit::unique(), office.world.tenant.0);
    let sql = office.world.admin_sql().await;
    sql.execute("INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at) VALUES ($1, $2, 'g', 'G', now(), now())", &[&tenant, &group])
        .await
        .unwrap();
    let user = office.world.user("staff").await.user_id;
    let body = json!({ "action": "add_to_group", "group_id": group, "user_ids": [user] });
    office.post(PATH, &body).await.expect(200);
    office.post(PATH, &body).await.expect(200);
    let listed = office
        .get(&format!("/v1/admin/users?group={group}"))
        .await
        .expect(200);
    assert_eq!(listed["data"][0]["groups"][0]["code"], "g");
    assert!(office.changes(user, "user.role.changed").await.is_empty());
    let joined = office.changes(group, "group.members.changed").await;
    assert_eq!(joined[0], json!({ "added": [user] }));

    let admin = office.world.user("admin").await;
    let body = json!({ "action": "assign_role", "role": "super_admin", "user_ids": [user] });
    office
        .api
        .post(&admin, PATH, &body)
        .await
        .expect_code(403, "FORBIDDEN");
    // Somebody who manages users and holds nothing else.
    let role = testkit::unique();
    sql.execute(
        "INSERT INTO roles (id, tenant_id, code, name) VALUES ($1, $2, 'clerk', 'Clerk')",
        &[&role, &tenant],
    )
    .await
    .unwrap();
    sql.execute(
        "INSERT INTO role_permissions (role_id, tenant_id, permission_code) VALUES ($1, $2, 'user.manage')",
        &[&role, &tenant],
    )
    .await
    .unwrap();
    let clerk = office.world.user("clerk_of_nothing").await;
    sql.execute(
        "INSERT INTO user_roles (tenant_id, user_id, role_id) VALUES ($1, $2, $3)",
        &[&tenant, &clerk.user_id, &role],
    )
    .await
    .unwrap();
    for (body, missing) in [
        (
            json!({ "action": "assign_role", "role_id": role, "user_ids": [user] }),
            "role.assign",
        ),
        (
            json!({ "action": "add_to_group", "group_id": group, "user_ids": [user] }),
            "groups.members.manage",
        ),
    ] {
        let error = office
            .api
            .post(&clerk, PATH, &body)
            .await
            .expect_code(403, "FORBIDDEN");
        assert_eq!(error["details"]["permission"], missing);
    }
    let listed = office.get("/v1/admin/users?role=clerk").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn seats_that_run_out_refuse_the_whole_request() {
    let office = Office::new().await;
    let readers = [
        office.world.user("read_only").await.user_id,
        office.world.user("read_only").await.user_id,
    ];
    let used = office.get("/v1/admin/seats").await.expect(200)["used"]
        .as_i64()
        .unwrap();
    let limits = json!({ "overrides": [{ "code": "users.max", "limit_value": used + 1 }] });
    let overrides = "/v1/admin/entitlements/overrides/tenant";
    office.api.put(&office.me, overrides, &limits).await.expect(200);
    let promote = async |users: &[uuid::Uuid]| {
        let body = json!({ "action": "assign_role", "role": "staff", "user_ids": users });
        office.post(PATH, &body).await
    };
    promote(&readers).await.expect_code(422, "LIMIT_REACHED");
    let staff = office.get("/v1/admin/users?role=staff").await.expect(200);
    assert_eq!(staff["data"], json!([]));
    promote(&readers[..1]).await.expect(200);
}

#[tokio::test]
async fn bad_requests_are_refused_precisely() {
    let office = Office::new().await;
    let user = office.world.user("staff").await.user_id;
    let many: Vec<_> = (0..101).map(|_| testkit::unique()).collect();
    for (body, status) in [
        (json!({ "action": "suspend", "user_ids": [] }), 422),
        (json!({ "action": "suspend", "user_ids": many }), 422),
        (json!({ "action": "promote", "user_ids": [user] }), 422),
        (json!({ "action": "assign_role", "user_ids": [user] }), 422),
        (
            json!({ "action": "assign_role", "role": "staff", "role_id": user, "user_ids": [user] }),
            422,
        ),
        (
            json!({ "action": "assign_role", "role": "no_such", "user_ids": [user] }),
            404,
        ),
        (json!({ "action": "add_to_group", "user_ids": [user] }), 422),
        (
            json!({ "action": "add_to_group", "group_id": user, "user_ids": [user] }),
            404,
        ),
    ] {
        let answer = office.post(PATH, &body).await;
        assert_eq!(answer.status, status, "{body} {}", answer.text);
    }
}
