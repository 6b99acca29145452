//! Who may erase whom.

use super::setup::Office;
use crate::support::{Answer, Login};
use serde_json::json;
use uuid::Uuid;

impl Office {
    async fn erase_user(&self, by: &Login, id: Uuid) -> Answer {
        let body = json!({ "subject_type": "user", "subject_id": id, "confirm": id });
        self.api.post(by, "/v1/admin/gdpr/erase", &body).await
    }

    async fn is_erased(&self, id: Uuid) -> bool {
        let sql = "SELECT erased_at IS NOT NULL FROM users WHERE tenant_id = $1 AND id = $2";
        let admin = self.world.admin_sql().await;
        admin
            .query_one(sql, &[&self.world.tenant.0, &id])
            .await
            .unwrap()
            .get(0)
    }
}

#[tokio::test]
async fn a_super_admin_is_erased_by_super_admins_only() {
    let office = Office::new().await;
    let (second, admin) = (office.world.admin().await, office.world.user("admin").await);
    office
        .erase_user(&admin, second.user_id)
        .await
        .expect_code(403, "FORBIDDEN");
    // A key is none, whoever made it.
    let key = json!({ "name": "K", "scopes": ["gdpr.manage"] });
    let key = office
        .api
        .post(&office.me, "/v1/admin/api-keys", &key)
        .await
        .expect(201);
    let key = crate::admin_access::setup::program(key["token"].as_str().unwrap());
    office
        .erase_user(&key, second.user_id)
        .await
        .expect_code(403, "FORBIDDEN");
    assert!(!office.is_erased(second.user_id).await);
    office.erase_user(&key, admin.user_id).await.expect(200);
    office.erase_user(&office.me, second.user_id).await.expect(200);
    assert!(office.is_erased(second.user_id).await && office.is_erased(admin.user_id).await);
}

#[tokio::test]
async fn nobody_erases_themselves() {
    let office = Office::new().await;
    let (admin, me) = (office.world.user("admin").await, &office.me);
    office.world.admin().await;
    let key = json!({ "name": "K", "scopes": ["gdpr.manage"] });
    let key = office
        .api
        .post(&admin, "/v1/admin/api-keys", &key)
        .await
        .expect(201);
    let key = crate::admin_access::setup::program(key["token"].as_str().unwrap());
    for (by, whom) in [(me, me.user_id), (&admin, admin.user_id), (&key, admin.user_id)] {
        office.erase_user(by, whom).await.expect_code(409, "CONFLICT");
        assert!(!office.is_erased(whom).await);
    }
}

#[tokio::test]
async fn who_cannot_log_in_is_no_super_admin_to_go_by() {
    let office = Office::new().await;
    let (tenant, sql) = (office.world.tenant.0, office.world.admin_sql().await);
    let second = office.world.admin().await;
    let locked_out = "UPDATE users SET password_hash = NULL WHERE tenant_id = $1 AND id = $2";
    sql.execute(locked_out, &[&tenant, &second.user_id])
        .await
        .unwrap();
    let path = format!("/v1/admin/users/{}/deactivate", office.me.user_id);
    office
        .erase_user(&second, office.me.user_id)
        .await
        .expect_code(409, "CONFLICT");
    office
        .api
        .post(&second, &path, &json!({}))
        .await
        .expect_code(409, "CONFLICT");
    assert!(!office.is_erased(office.me.user_id).await);
    let identity = "INSERT INTO user_identities (tenant_id, id, user_id, provider, subject_hash, created_at)
                    VALUES ($1, $2, $2, 'google', 'x', now())";
    sql.execute(identity, &[&tenant, &second.user_id]).await.unwrap();
    office.erase_user(&second, office.me.user_id).await.expect(200);
}
