//! Nobody gives what they do not hold, or changes what they may do themselves.

use super::setup::{Company, GROUPS, KEYS, ROLES, TREE, edge, of, program, roles_of, text};
use crate::support::{Answer, Login};
use serde_json::{Value, json};

const POWERS: &[&str] = &[
    "apikeys.manage",
    "contact.read",
    "groups.manage",
    "groups.members.manage",
    "role.assign",
    "role.read",
    "roles.hierarchy.manage",
    "roles.manage",
];

/// 403 that lists what is missing.
#[track_caller]
fn lacks(answer: Answer, permissions: &[&str]) {
    let error = answer.expect_code(403, "FORBIDDEN");
    assert_eq!(error["details"]["permissions"], json!(permissions), "{error}");
}

/// 403 for another reason than a permission.
#[track_caller]
fn refused(answer: Answer) {
    let error = answer.expect_code(403, "FORBIDDEN");
    assert_eq!(error["details"], Value::Null, "{error}");
}

/// Somebody with all that access management takes and little else, in person and as a key.
async fn clerks(company: &Company) -> [(&'static str, Login); 2] {
    let person = company.person(POWERS).await;
    let (key, _) = company.key(POWERS).await;
    [("person", person), ("key", key)]
}

#[tokio::test]
async fn a_role_is_given_only_by_who_holds_what_it_grants_inherited_included() {
    let company = Company::new().await;
    let (strong, weak) = (
        company.role(&["audit.read", "contact.delete"]).await,
        company.role(&["contact.read"]).await,
    );
    let heir = company.role(&["contact.read"]).await;
    company.inherit(&strong, &heir).await;
    for (who, clerk) in clerks(&company).await {
        let user = company.person(&[]).await;
        for role in [&strong, &heir] {
            let body = json!({ "assign": [weak["id"], role["code"]] });
            lacks(
                company.api.post(&clerk, &roles_of(&user), &body).await,
                &["audit.read", "contact.delete"],
            );
        }
        assert!(
            !company.may_read_contacts(&user).await,
            "{who}: not even the weak one"
        );
        let body = json!({ "assign": [weak["id"]] });
        company
            .api
            .post(&clerk, &roles_of(&user), &body)
            .await
            .expect(200);
        assert!(company.may_read_contacts(&user).await);
        // taking is another matter
        company.assign(&user, &[text(&strong, "code")]).await;
        let body = json!({ "remove": [strong["code"]] });
        company
            .api
            .post(&clerk, &roles_of(&user), &body)
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_role_is_made_and_filled_only_with_what_its_maker_holds() {
    let company = Company::new().await;
    for (who, clerk) in clerks(&company).await {
        let api = &company.api;
        let code = format!("made_{who}");
        let body = json!({ "name": "R", "code": code, "permissions": ["contact.read", "user.manage"] });
        lacks(
            api.post(&clerk, ROLES, &body).await,
            &[
                "user.deactivate",
                "user.delete",
                "user.forceLogout",
                "user.invite",
                "user.manage",
                "user.read",
                "user.reinstate",
                "user.suspend",
                "user.update",
            ],
        );
        let body = json!({ "name": "R", "code": code, "permissions": ["contact.read"] });
        let role = api.post(&clerk, ROLES, &body).await.expect(201);
        let path = format!("{}/permissions", of(ROLES, &role));
        let more = json!({ "permissions": ["contact.read", "gdpr.manage"] });
        lacks(api.put(&clerk, &path, &more).await, &["gdpr.manage"]);
        // what is there already may stay, and may go
        api.put(&company.me, &path, &more).await.expect(200);
        let body = json!({ "permissions": ["contact.read", "gdpr.manage", "role.read"] });
        api.put(&clerk, &path, &body).await.expect(200);
        api.put(&clerk, &path, &json!({ "permissions": [] }))
            .await
            .expect(200);
        lacks(api.put(&clerk, &path, &more).await, &["gdpr.manage"]);
    }
}

#[tokio::test]
async fn a_group_gets_roles_and_members_only_from_who_holds_what_it_gives() {
    let company = Company::new().await;
    let strong = company.role(&["audit.read"]).await;
    let child = company.role(&[]).await;
    company.inherit(&strong, &child).await;
    for (who, clerk) in clerks(&company).await {
        let api = &company.api;
        for role in [&strong, &child] {
            let body = json!({ "name": "G", "code": format!("g_{who}"), "role_ids": [role["id"]] });
            lacks(api.post(&clerk, GROUPS, &body).await, &["audit.read"]);
        }
        let group = company.group(&[]).await;
        let path = of(GROUPS, &group);
        let body = json!({ "role_ids": [child["id"]] });
        lacks(api.patch(&clerk, &path, &body).await, &["audit.read"]);
        assert_eq!(api.get(&clerk, &path).await.expect(200), group, "nothing changed");

        let carrying = company.group(&[&child["id"]]).await;
        let path = of(GROUPS, &carrying);
        let friend = company.person(&[]).await;
        let join = json!({ "user_ids": [friend.user_id] });
        lacks(
            api.post(&clerk, &format!("{path}/members"), &join).await,
            &["audit.read"],
        );
        // what is there already may stay
        api.patch(
            &clerk,
            &path,
            &json!({ "name": "Renamed", "role_ids": [child["id"]] }),
        )
        .await
        .expect(200);
        // to wake a group is to give its roles again
        api.patch(&clerk, &path, &json!({ "is_active": false }))
            .await
            .expect(200);
        let wake = json!({ "is_active": true });
        lacks(api.patch(&clerk, &path, &wake).await, &["audit.read"]);
        let stripped = json!({ "is_active": true, "role_ids": [] });
        api.patch(&clerk, &path, &stripped).await.expect(200);
    }
}

#[tokio::test]
async fn an_edge_is_added_only_by_who_holds_what_the_parent_grants() {
    let company = Company::new().await;
    let (strong, middle) = (company.role(&["audit.read"]).await, company.role(&[]).await);
    let weak = company.role(&["contact.read"]).await;
    company.inherit(&strong, &middle).await;
    for (_, clerk) in clerks(&company).await {
        let child = company.role(&[]).await;
        for parent in [&strong, &middle] {
            lacks(
                company.api.post(&clerk, TREE, &edge(parent, &child)).await,
                &["audit.read"],
            );
        }
        company
            .api
            .post(&clerk, TREE, &edge(&weak, &child))
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn a_key_is_made_only_with_what_its_maker_holds_and_a_key_makes_none_beyond_itself() {
    let company = Company::new().await;
    for (_, clerk) in clerks(&company).await {
        let body = json!({ "name": "K", "scopes": ["contact.read", "contact.delete", "audit.read"] });
        lacks(
            company.api.post(&clerk, KEYS, &body).await,
            &["audit.read", "contact.delete"],
        );
        let body = json!({ "name": "K", "scopes": ["contact.read"] });
        let made = company.api.post(&clerk, KEYS, &body).await.expect(201);
        assert!(company.may_read_contacts(&program(text(&made, "token"))).await);
        assert_ne!(made["created_by"], Value::Null, "a person answers for it");
    }
    let body = json!({ "name": "K", "scopes": ["apikeys.manage"], "expires_at": "2090-01-01T00:00:00Z" });
    let brief = company.api.post(&company.me, KEYS, &body).await.expect(201);
    for wanted in [
        Value::Null,
        json!("2095-01-01T00:00:00Z"),
        json!("2085-01-01T00:00:00Z"),
    ] {
        let body = json!({ "name": "K", "scopes": ["apikeys.manage"], "expires_at": wanted });
        let made = company
            .api
            .post(&program(text(&brief, "token")), KEYS, &body)
            .await
            .expect(201);
        let expected = if wanted == "2085-01-01T00:00:00Z" {
            &wanted
        } else {
            &brief["expires_at"]
        };
        assert_eq!(
            &made["expires_at"], expected,
            "no key outlives the one that made it"
        );
    }
}

#[tokio::test]
async fn nobody_changes_their_own_roles_by_any_way() {
    let company = Company::new().await;
    let (api, clerk) = (&company.api, company.person(POWERS).await);
    let harmless = company.role(&["contact.read"]).await;
    for body in [
        json!({ "assign": [harmless["id"]] }),
        json!({ "remove": [harmless["id"]] }),
        json!({ "assign": ["super_admin"] }),
    ] {
        refused(api.post(&clerk, &roles_of(&clerk), &body).await);
    }
    // a key of one's own is oneself
    let body = json!({ "name": "Mine", "scopes": POWERS });
    let key = program(text(&api.post(&clerk, KEYS, &body).await.expect(201), "token"));
    let body = json!({ "assign": [harmless["id"]] });
    refused(api.post(&key, &roles_of(&clerk), &body).await);

    // by a group: joining one, whatever it gives, or giving roles to one's own
    let (carrying, empty) = (company.group(&[&harmless["id"]]).await, company.group(&[]).await);
    let own = company.group(&[]).await;
    company.join(&own, &clerk).await;
    let myself = json!({ "user_ids": [company.world.user("staff").await.user_id, clerk.user_id] });
    for login in [&clerk, &key] {
        for group in [&carrying, &empty] {
            let members = format!("{}/members", of(GROUPS, group));
            refused(api.post(login, &members, &myself).await);
            let listed = api.get(login, &members).await.expect(200);
            assert_eq!(listed["data"], json!([]), "all or nobody");
        }
        let give = json!({ "role_ids": [harmless["id"]] });
        refused(api.patch(login, &of(GROUPS, &own), &give).await);
    }
    api.patch(
        &company.me,
        &of(GROUPS, &own),
        &json!({ "is_active": false, "role_ids": [harmless["id"]] }),
    )
    .await
    .expect(200);
    let wake = json!({ "is_active": true });
    refused(api.patch(&clerk, &of(GROUPS, &own), &wake).await);
    // also without roles: approvals ask the members of a group that is in use
    let stripped = json!({ "role_ids": [] });
    api.patch(&company.me, &of(GROUPS, &own), &stripped)
        .await
        .expect(200);
    for login in [&clerk, &key] {
        refused(api.patch(login, &of(GROUPS, &own), &wake).await);
    }
    api.patch(&company.me, &of(GROUPS, &own), &wake).await.expect(200);
    let members = format!("{}/members", of(GROUPS, &empty));
    let even_me = json!({ "user_ids": [company.me.user_id] });
    refused(api.post(&company.me, &members, &even_me).await);

    // by the role itself, or one that it inherits from, or a new parent
    let (mine, above) = (
        company.role(&["role.read"]).await,
        company.role(&["role.read"]).await,
    );
    company.assign(&clerk, &[text(&mine, "code")]).await;
    company.inherit(&above, &mine).await;
    for role in [&mine, &above] {
        let path = format!("{}/permissions", of(ROLES, role));
        let more = json!({ "permissions": ["role.read", "contact.read"] });
        for login in [&clerk, &key] {
            refused(api.put(login, &path, &more).await);
            refused(api.post(login, TREE, &edge(&harmless, role)).await);
        }
        // less is one's own affair
        api.put(&clerk, &path, &json!({ "permissions": [] }))
            .await
            .expect(200);
    }
    let effective = format!("/v1/admin/users/{}/effective-permissions", clerk.user_id);
    let held = api.get(&company.me, &effective).await.expect(200);
    let held = held["permissions"].as_array().unwrap().len();
    assert_eq!(held, POWERS.len() + kernel::Permission::SELF_SERVICE.len());
}

#[tokio::test]
async fn a_key_of_ones_own_is_oneself_for_what_is_done_to_users() {
    let company = Company::new().await;
    let powers: Vec<&str> = POWERS.iter().copied().chain(["user.manage"]).collect();
    let (api, boss) = (&company.api, company.person(&powers).await);
    let body = json!({ "name": "Mine", "scopes": powers });
    let key = program(text(&api.post(&boss, KEYS, &body).await.expect(201), "token"));
    let (harmless, friend) = (company.role(&["contact.read"]).await, company.person(&[]).await);
    let group = company.group(&[&harmless["id"]]).await;
    let people = json!([boss.user_id, friend.user_id]);
    for login in [&boss, &key] {
        for (deed, code) in [
            (
                json!({ "action": "assign_role", "role_id": harmless["id"], "user_ids": people }),
                "FORBIDDEN",
            ),
            (
                json!({ "action": "add_to_group", "group_id": group["id"], "user_ids": people }),
                "FORBIDDEN",
            ),
            (
                json!({ "action": "suspend", "user_ids": [boss.user_id] }),
                "CONFLICT",
            ),
        ] {
            let done = api.post(login, "/v1/admin/users/bulk", &deed).await.expect(200);
            let results = done["results"].as_array().unwrap();
            let of_boss = results
                .iter()
                .find(|result| result["user_id"] == json!(boss.user_id));
            assert_eq!(of_boss.unwrap()["code"], code, "{deed}");
            assert_eq!(done["failed"], 1);
        }
        let user = format!("/v1/admin/users/{}", boss.user_id);
        for verb in ["suspend", "deactivate"] {
            api.post(login, &format!("{user}/{verb}"), &json!({}))
                .await
                .expect_code(409, "CONFLICT");
        }
        api.delete(login, &user).await.expect_code(409, "CONFLICT");
    }
    assert!(company.may_read_contacts(&friend).await);
    let held = api
        .get(&company.me, &format!("/v1/admin/users/{}", boss.user_id))
        .await
        .expect(200);
    assert_eq!(
        (held["status"].clone(), held["groups"].clone()),
        (json!("active"), json!([]))
    );
    assert_eq!(held["roles"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn only_a_super_admin_makes_and_unmakes_super_admins() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let (admin, user) = (
        company.world.user("admin").await,
        company.world.user("staff").await,
    );
    let second = company.world.admin().await;
    let everything: Vec<&str> = kernel::Permission::ALL
        .iter()
        .filter(|permission| !kernel::Permission::SELF_SERVICE.contains(permission))
        .map(|permission| permission.code())
        .collect();
    let (key, _) = company.key(&everything).await;
    for login in [&admin, &key] {
        // each holds every permission there is, and is no super admin
        for body in [
            json!({ "assign": ["super_admin"] }),
            json!({ "assign": ["00000000-0000-7000-8000-000000000001"] }),
        ] {
            refused(api.post(login, &roles_of(&user), &body).await);
        }
        refused(
            api.post(login, &roles_of(&second), &json!({ "remove": ["super_admin"] }))
                .await,
        );
    }
    company.assign(&user, &["super_admin"]).await;
    api.post(&user, &roles_of(me), &json!({ "remove": ["super_admin"] }))
        .await
        .expect(200);
    api.get(me, ROLES).await.expect_code(403, "FORBIDDEN");
}

#[tokio::test]
async fn the_last_super_admin_stays_one() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let demote = json!({ "remove": ["super_admin"] });
    api.post(me, &roles_of(me), &demote)
        .await
        .expect_code(409, "CONFLICT");
    let second = company.world.admin().await;
    refused(api.post(me, &roles_of(me), &demote).await);
    // a suspended super admin is none to go by
    company
        .world
        .admin_sql()
        .await
        .execute(
            "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND id = $2",
            &[&company.world.tenant.0, &second.user_id],
        )
        .await
        .unwrap();
    api.post(me, &roles_of(me), &demote)
        .await
        .expect_code(409, "CONFLICT");
    // nor is one who has no way to log in, until there is one
    let status = "UPDATE users SET status = 'active', password_hash = NULL WHERE tenant_id = $1 AND id = $2";
    let sql = company.world.admin_sql().await;
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&company.world.tenant.0, &second.user_id];
    sql.execute(status, &params).await.unwrap();
    api.post(me, &roles_of(me), &demote)
        .await
        .expect_code(409, "CONFLICT");
    api.post(&second, &roles_of(me), &demote)
        .await
        .expect_code(409, "CONFLICT");
    let identity = "INSERT INTO user_identities (tenant_id, id, user_id, provider, subject_hash, created_at)
                    VALUES ($1, $2, $2, 'google', 'x', now())";
    sql.execute(identity, &params).await.unwrap();
    refused(api.post(me, &roles_of(me), &demote).await);
    let suspended = "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND id = $2";
    sql.execute(suspended, &params).await.unwrap();
    // and the database says so to whoever does not ask
    let change = identity::user_role::ChangeRoles {
        assign: vec![],
        remove: vec!["super_admin".to_owned()],
    };
    let change = change.parse().unwrap();
    let system = testkit::TestDb::system(company.world.tenant);
    let db = &company.world.test.db;
    let demoted = db
        .write(&system, async |tx| {
            Box::pin(identity::user_role::change(&tx, me.user_id, &change)).await
        })
        .await;
    assert_eq!(demoted.unwrap_err().code(), kernel::Code::Conflict);
    api.get(me, ROLES).await.expect(200);
}

#[tokio::test]
async fn a_person_whose_address_is_not_verified_gives_nothing() {
    let company = Company::new().await;
    let clerk = company.person(POWERS).await;
    company
        .world
        .admin_sql()
        .await
        .execute(
            "UPDATE users SET email_verified_at = NULL WHERE tenant_id = $1 AND id = $2",
            &[&company.world.tenant.0, &clerk.user_id],
        )
        .await
        .unwrap();
    let user = company.person(&[]).await;
    for (path, body) in [
        (roles_of(&user), json!({ "assign": ["read_only"] })),
        (ROLES.to_owned(), json!({ "name": "R" })),
        (GROUPS.to_owned(), json!({ "name": "G" })),
        (
            KEYS.to_owned(),
            json!({ "name": "K", "scopes": ["contact.read"] }),
        ),
    ] {
        company
            .api
            .post(&clerk, &path, &body)
            .await
            .expect_code(403, "AUTH_EMAIL_UNVERIFIED");
    }
    company.api.get(&clerk, ROLES).await.expect(200);
}
