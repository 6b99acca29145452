//! Groups that a new colleague begins in, where the plan has groups.

use super::setup::{Office, address};
use serde_json::json;

const BULK: &str = "/v1/admin/users/bulk";

impl Office {
    async fn group(&self, code: &str) -> String {
        let body = json!({ "name": "Sales", "code": code });
        let made = self.post("/v1/admin/groups", &body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn who_is_made_or_invited_into_groups_is_a_member() {
    let office = Office::new().await;
    let (sales, support) = (office.group("sales").await, office.group("support").await);
    let mut ids = Vec::new();
    for path in ["/v1/admin/users", "/v1/admin/users/invite"] {
        let body = json!({ "email": address(), "group_ids": [sales, support, sales] });
        let user = office.post(path, &body).await.expect(201);
        let groups: Vec<_> = user["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| &group["code"])
            .collect();
        assert_eq!(groups, ["sales", "support"], "{path}");
        ids.push(user["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    for group in [&sales, &support] {
        let members = office
            .get(&format!("/v1/admin/groups/{group}/members"))
            .await
            .expect(200);
        let mut members: Vec<_> = members["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["user_id"].clone())
            .collect();
        members.sort_by_key(ToString::to_string);
        assert_eq!(json!(members), json!(ids));
    }
    let listed = office
        .get(&format!("/v1/admin/users?group={sales}"))
        .await
        .expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn without_groups_in_the_plan_nobody_joins_one() {
    let office = Office::new().await;
    let group = office.group("sales").await;
    let user = office.world.user("staff").await.user_id;
    let free = "UPDATE tenant_subscription SET plan_code = 'dev_free' WHERE tenant_id = $1";
    let sql = office.world.admin_sql().await;
    assert_eq!(sql.execute(free, &[&office.world.tenant.0]).await.unwrap(), 1);
    let email = address();
    let member = json!({ "email": email, "group_ids": [group] });
    for (path, body) in [
        ("/v1/admin/users", &member),
        ("/v1/admin/users/invite", &member),
        (
            BULK,
            &json!({ "action": "add_to_group", "group_id": group, "user_ids": [user] }),
        ),
    ] {
        let error = office.post(path, body).await.expect_code(402, "PLAN_REQUIRED");
        assert_eq!(error["details"]["feature"], "rbac.groups", "{path}");
    }
    assert!(office.mails(&email).await.is_empty());
    let members = "SELECT count(*) FROM group_members WHERE tenant_id = $1";
    let members: i64 = sql
        .query_one(members, &[&office.world.tenant.0])
        .await
        .unwrap()
        .get(0);
    assert_eq!(members, 0);
    // Without groups all of it works.
    let body = json!({ "email": email, "group_ids": [] });
    office.post("/v1/admin/users/invite", &body).await.expect(201);
    let body = json!({ "action": "assign_role", "role": "manager", "user_ids": [user] });
    office.post(BULK, &body).await.expect(200);
}
