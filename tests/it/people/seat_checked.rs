//! Who was invited joins while there is a seat for them, and by the same link when there is one again.

use super::setup::{Office, address, public};
use crate::auth::setup::PASSWORD;
use serde_json::json;

#[tokio::test]
async fn who_lost_the_seat_joins_by_the_same_link_once_there_is_one() {
    let auth_doors = [
        ("/v1/auth/accept-invite", "token", 200),
        ("/v1/auth/register", "invite_token", 201),
    ];
    let doors = auth_doors
        .into_iter()
        .chain([("/v1/admin/users/accept-invite", "token", 200)]);
    for (path, field, status) in doors {
        let office = Office::new().await;
        let api = if path.starts_with("/v1/auth") {
            office.auth().await
        } else {
            office.api.clone()
        };
        let used = async || office.get("/v1/admin/seats").await.expect(200)["used"].clone();
        let allowed = used().await.as_i64().unwrap() + 1;
        let limits = json!({ "overrides": [{ "code": "users.max", "limit_value": allowed }] });
        let overrides = "/v1/admin/entitlements/overrides/tenant";
        office.api.put(&office.me, overrides, &limits).await.expect(200);
        let (id, token) = office
            .invite(&json!({ "email": address(), "roles": ["staff"] }))
            .await;

        let sql = office.world.admin_sql().await;
        let params: [&(dyn db::ToSql + Sync); 2] = [&office.world.tenant.0, &id];
        let lose = "DELETE FROM seats WHERE tenant_id = $1 AND user_id = $2";
        assert_eq!(sql.execute(lose, &params).await.unwrap(), 1);
        let colleague = office.world.user("staff").await;
        assert_eq!(used().await, allowed);

        let mut body = json!({ "full_name": "Basma Nour", "password": PASSWORD });
        body[field] = json!(token);
        // As often as is tried.
        for _ in 0..2 {
            let error = public(&api, path, &body).await.expect_code(422, "LIMIT_REACHED");
            let full = json!({ "key": "users.max", "limit": allowed, "used": allowed });
            assert_eq!(error["details"], full, "{path}");
        }
        let of_user = format!("/v1/admin/users/{id}");
        assert_eq!(office.get(&of_user).await.expect(200)["status"], "invited");
        let unspent =
            "SELECT count(*) FROM invites i JOIN users u ON u.tenant_id = i.tenant_id AND u.id = i.user_id
            WHERE i.tenant_id = $1 AND i.user_id = $2 AND i.accepted_at IS NULL AND i.revoked_at IS NULL
              AND u.password_hash IS NULL AND NOT EXISTS (
                SELECT FROM sessions s WHERE s.tenant_id = u.tenant_id AND s.user_id = u.id)";
        let unspent: i64 = sql.query_one(unspent, &params).await.unwrap().get(0);
        assert_eq!(unspent, 1, "{path}");
        let actions = office.actions(id).await;
        assert!(
            !actions.contains(&"user.inviteAccepted".to_owned()),
            "{actions:?}"
        );

        let leaves = format!("/v1/admin/users/{}", colleague.user_id);
        office.api.delete(&office.me, &leaves).await.expect(204);
        public(&api, path, &body).await.expect(status);
        assert_eq!(office.get(&of_user).await.expect(200)["status"], "active");
        assert_eq!(used().await, allowed);
    }
}
