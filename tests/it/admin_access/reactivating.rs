//! Who is reactivated has their rights again, so reactivating hands these out.

use super::setup::{Company, GROUPS, KEYS, of, program, text};
use crate::support::{Answer, Login};
use serde_json::json;

impl Company {
    async fn act(&self, by: &Login, verb: &str, user: &Login) -> Answer {
        let path = format!("/v1/admin/users/{}/{verb}", user.user_id);
        self.api.post(by, &path, &json!({})).await
    }
}

#[tokio::test]
async fn nobody_gives_back_what_they_do_not_hold() {
    let company = Company::new().await;
    let me = &company.me;
    let strong = company.role(&["audit.read", "contact.delete"]).await;
    let heir = company.role(&[]).await;
    company.inherit(&strong, &heir).await;
    let group = company.group(&[&heir["id"]]).await;
    let by_role = company.world.user(text(&strong, "code")).await;
    let by_group = company.person(&[]).await;
    company.join(&group, &by_group).await;

    let clerk = company.person(&["user.manage"]).await;
    let (key, _) = company.key(&["user.manage"]).await;
    for (verb, status) in [("suspend", "suspended"), ("deactivate", "deactivated")] {
        for user in [&by_role, &by_group] {
            company.act(me, verb, user).await.expect(200);
            for login in [&clerk, &key] {
                let refused = company.act(login, "reactivate", user).await;
                let error = refused.expect_code(403, "FORBIDDEN");
                assert_eq!(
                    error["details"]["permissions"],
                    json!(["audit.read", "contact.delete"]),
                    "{verb}"
                );
            }
            let path = format!("/v1/admin/users/{}", user.user_id);
            let still = company.api.get(me, &path).await.expect(200);
            assert_eq!(still["status"], status);
            let back = company.act(me, "reactivate", user).await.expect(200);
            assert_eq!(back["status"], "active");
        }
    }
    // What the clerk holds is theirs to give back, and a group that rests gives nothing.
    let equal = company.person(&["user.read"]).await;
    company.act(&clerk, "suspend", &equal).await.expect(200);
    company.act(&clerk, "reactivate", &equal).await.expect(200);
    company.act(&clerk, "suspend", &by_group).await.expect(200);
    company
        .api
        .patch(me, &of(GROUPS, &group), &json!({ "is_active": false }))
        .await
        .expect(200);
    company.act(&key, "reactivate", &by_group).await.expect(200);
}

/// An API key goes on working when who made it is suspended.
#[tokio::test]
async fn a_key_does_not_reopen_the_account_of_who_made_it() {
    let company = Company::new().await;
    let powers = ["apikeys.manage", "user.manage"];
    let boss = company.person(&powers).await;
    let body = json!({ "name": "Mine", "scopes": powers });
    let made = company.api.post(&boss, KEYS, &body).await.expect(201);
    let key = program(text(&made, "token"));
    company.act(&company.me, "suspend", &boss).await.expect(200);
    company
        .act(&key, "reactivate", &boss)
        .await
        .expect_code(409, "CONFLICT");
    company.act(&company.me, "reactivate", &boss).await.expect(200);
}
