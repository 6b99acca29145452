//! Listing, creating and changing users, and their preferences.

use super::setup::{Office, PASSWORD, address, public};
use serde_json::{Value, json};

#[tokio::test]
async fn a_user_is_created_and_chooses_a_password_by_the_link() {
    let office = Office::new().await;
    let email = address();
    let body = json!({ "email": email, "full_name": "Basma Nour", "roles": ["staff"] });
    let user = office.post("/v1/admin/users", &body).await.expect(201);
    assert_eq!(
        (&user["status"], &user["email_verified_at"]),
        (&json!("active"), &Value::Null)
    );
    assert_eq!(user["roles"][0]["code"], "staff");
    let id = user["id"].as_str().unwrap();
    assert_eq!(user["audit_url"], format!("/v1/admin/audit-logs?entity_id={id}"));
    assert_eq!(
        office.get(&format!("/v1/admin/users/{id}")).await.expect(200),
        user
    );

    let link = office.links(&email).await.pop().unwrap();
    let auth = office.auth().await;
    let login = json!({ "email": email, "password": PASSWORD, "delivery": "body" });
    public(&auth, "/v1/auth/login", &login)
        .await
        .expect_code(401, "AUTH_INVALID_CREDENTIALS");
    let chosen = json!({ "token": link, "password": PASSWORD, "delivery": "body" });
    let signed_in = public(&auth, "/v1/auth/accept-invite", &chosen).await.expect(200);
    assert!(signed_in["access_token"].is_string() && signed_in["user"]["email_verified_at"].is_string());
    public(&auth, "/v1/auth/login", &login).await.expect(200);
    assert!(
        office
            .events(id.parse().unwrap())
            .await
            .starts_with(&["user.created".to_owned()])
    );
}

#[tokio::test]
async fn bad_users_are_refused_precisely_and_nothing_is_made() {
    let office = Office::new().await;
    let email = address();
    let missing = testkit::unique();
    let theirs = Office::new().await.world.user("staff").await.user_id;
    for (body, status, code) in [
        (json!({ "email": "nobody" }), 422, "VALIDATION_FAILED"),
        (
            json!({ "email": email, "full_name": "x".repeat(121) }),
            422,
            "VALIDATION_FAILED",
        ),
        (
            json!({ "email": email, "status": "active" }),
            422,
            "VALIDATION_FAILED",
        ),
        (
            json!({ "email": email, "role_ids": vec![missing; 21] }),
            404,
            "NOT_FOUND",
        ),
        (
            json!({ "email": email, "roles": ["no_such_role"] }),
            404,
            "NOT_FOUND",
        ),
        (
            json!({ "email": email, "group_ids": [missing] }),
            404,
            "NOT_FOUND",
        ),
        (json!({ "email": email, "group_ids": [theirs] }), 404, "NOT_FOUND"),
    ] {
        office
            .post("/v1/admin/users", &body)
            .await
            .expect_code(status, code);
        office
            .post("/v1/admin/users/invite", &body)
            .await
            .expect_code(status, code);
    }
    let many: Vec<_> = (0..21).map(|_| testkit::unique()).collect();
    let body = json!({ "email": email, "role_ids": many });
    office
        .post("/v1/admin/users", &body)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    assert!(office.mails(&email).await.is_empty());

    office
        .post("/v1/admin/users", &json!({ "email": email }))
        .await
        .expect(201);
    let again = json!({ "email": email.to_uppercase() });
    let error = office
        .post("/v1/admin/users/invite", &again)
        .await
        .expect_code(409, "DUPLICATE");
    assert_eq!(error["details"]["status"], "active");
}

#[tokio::test]
async fn nobody_hands_out_what_they_do_not_hold() {
    let office = Office::new().await;
    let admin = office.world.user("admin").await;
    let (tenant, sql) = (office.world.tenant.0, office.world.admin_sql().await);
    let (role, group, group_role) = (testkit::unique(), testkit::unique(), testkit::unique());
    // A role with one permission that invites, held by somebody with nothing else.
    for (id, code) in [(role, "inviter"), (group_role, "auditor")] {
        sql.execute(
            "INSERT INTO roles (id, tenant_id, code, name) VALUES ($1, $2, $3, $3)",
            &[&id, &tenant, &code],
        )
        .await
        .unwrap();
    }
    sql.execute(
        "INSERT INTO role_permissions (role_id, tenant_id, permission_code)
         VALUES ($1, $3, 'user.invite'), ($1, $3, 'user.manage'), ($2, $3, 'audit.export')",
        &[&role, &group_role, &tenant],
    )
    .await
    .unwrap();
    sql.execute("INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at) VALUES ($1, $2, 'g', 'G', now(), now())", &[&tenant, &group])
        .await
        .unwrap();
    sql.execute(
        "INSERT INTO group_roles (tenant_id, group_id, role_id, created_at) VALUES ($1, $2, $3, now())",
        &[&tenant, &group, &group_role],
    )
    .await
    .unwrap();
    let inviter = office.world.user("inviter").await;
    sql.execute(
        "INSERT INTO user_roles (tenant_id, user_id, role_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        &[&tenant, &inviter.user_id, &role],
    )
    .await
    .unwrap();
    let invite = async |login, extra: Value| {
        let mut body = json!({ "email": address() });
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        office.api.post(login, "/v1/admin/users/invite", &body).await
    };
    invite(&inviter, json!({})).await.expect(201);
    invite(&inviter, json!({ "role_ids": [role] })).await.expect(201);
    for beyond in [
        json!({ "roles": ["staff"] }),
        json!({ "roles": ["super_admin"] }),
        json!({ "role_ids": [group_role] }),
        json!({ "group_ids": [group] }),
    ] {
        let error = invite(&inviter, beyond).await.expect_code(403, "FORBIDDEN");
        assert!(error["message"].as_str().unwrap().len() > 10);
    }
    // An admin holds all that staff does, and yet makes no super admin.
    invite(&admin, json!({ "roles": ["staff", "admin"] }))
        .await
        .expect(201);
    invite(&admin, json!({ "roles": ["super_admin"] }))
        .await
        .expect_code(403, "FORBIDDEN");
    // What a role inherits is handed out with it.
    sql.execute("INSERT INTO role_hierarchy (tenant_id, parent_role_id, child_role_id, created_at) VALUES ($1, $2, $3, now())", &[&tenant, &group_role, &role])
        .await
        .unwrap();
    invite(&inviter, json!({ "role_ids": [role] })).await.expect(201);
}

#[tokio::test]
async fn the_list_filters_searches_and_pages() {
    let office = Office::new().await;
    let create = async |name: &str, role: &str| {
        let body = json!({ "email": address(), "full_name": name, "roles": [role] });
        office.post("/v1/admin/users", &body).await.expect(201)
    };
    let (one, two) = (
        create("Basma Nour", "staff").await,
        create("أحمد فؤاد", "manager").await,
    );
    let ids = async |query: &str| -> Vec<String> {
        let page = office.get(&format!("/v1/admin/users?{query}")).await.expect(200);
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let id = |user: &Value| user["id"].as_str().unwrap().to_owned();
    assert_eq!(ids("search=nou%20bas").await, [id(&one)]);
    assert_eq!(
        ids("search=%D8%A7%D8%AD%D9%85%D8%AF").await,
        [id(&two)],
        "another spelling of the alef"
    );
    assert_eq!(ids("search=nobody").await, Vec::<String>::new());
    assert_eq!(
        ids(&format!("search={}", one["email"].as_str().unwrap())).await,
        [id(&one)]
    );
    assert_eq!(ids("role=manager").await, [id(&two)]);
    assert_eq!(ids("status=invited").await, Vec::<String>::new());
    assert_eq!(
        ids("status=active").await,
        [id(&two), id(&one), office.me.user_id.to_string()]
    );
    assert_eq!(
        ids("twofa=true").await.len() + ids("phone_verified=true").await.len(),
        0
    );
    assert_eq!(
        ids("twofa=false&phone_verified=false&last_login_from=2020-01-01T00:00:00Z")
            .await
            .len(),
        0
    );
    assert_eq!(ids(&format!("group={}", testkit::unique())).await.len(), 0);
    let sql = office.world.admin_sql().await;
    for (user, set) in [
        (
            &one,
            "twofa_methods = '{totp}', last_login_at = '2026-03-01T10:00:00Z'",
        ),
        (
            &two,
            "phone_verified_at = now(), phone_masked = '+20****67', phone_country = 'EG', last_login_at = '2026-03-02T10:00:00Z'",
        ),
    ] {
        let update = format!("UPDATE users SET {set} WHERE tenant_id = $1 AND id = $2");
        let user: uuid::Uuid = id(user).parse().unwrap();
        sql.execute(&update, &[&office.world.tenant.0, &user])
            .await
            .unwrap();
    }
    let shown = office
        .get(&format!("/v1/admin/users/{}", id(&two)))
        .await
        .expect(200);
    assert_eq!(shown["security"]["phone_country"], "EG");
    for (query, found) in [
        ("twofa=true", vec![id(&one)]),
        ("phone_verified=true", vec![id(&two)]),
        (
            "twofa=false&phone_verified=false",
            vec![office.me.user_id.to_string()],
        ),
        ("last_login_from=2026-03-02T10:00:00Z", vec![id(&two)]),
        ("last_login_to=2026-03-02T10:00:00Z", vec![id(&one)]),
        (
            "last_login_from=2026-03-01T00:00:00Z&last_login_to=2026-03-03T00:00:00Z",
            vec![id(&two), id(&one)],
        ),
        ("twofa=true&phone_verified=true", vec![]),
    ] {
        assert_eq!(ids(query).await, found, "{query}");
    }

    for sort in ["-created_at", "created_at", "email", "-email"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = office
                .get(&format!("/v1/admin/users?limit=1&sort={sort}{cursor}"))
                .await
                .expect(200);
            seen.extend(page["data"].as_array().unwrap().iter().map(id));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!((seen.len(), unique.len()), (3, 3), "{sort}");
    }
    for bad in [
        "status=gone",
        "limit=0",
        "sort=password_hash",
        "last_login_from=yesterday",
        "twofa=maybe",
    ] {
        office
            .get(&format!("/v1/admin/users?{bad}"))
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_profile_is_patched() {
    let office = Office::new().await;
    let id = office.colleague(&address(), &["staff"]).await;
    let path = format!("/v1/admin/users/{id}");
    let titles = office.get("/v1/admin/job-title-codes?limit=1").await.expect(200);
    let departments = office.get("/v1/admin/department-codes?limit=1").await.expect(200);
    let (title, department) = (&titles["data"][0]["id"], &departments["data"][0]["id"]);
    let body = json!({
        "full_name": "Salma Nour", "avatar_url": "https://cdn.example.com/a.png", "job_title_id": title,
        "department_id": department, "locale": "ar", "timezone": "asia/kuwait", "manager_user_id": office.me.user_id,
    });
    let before = office.get(&path).await;
    let tag = before.headers["etag"].clone();
    let changed = office
        .api
        .json(&office.me, "PATCH", &path, &[("if-match", &tag)], &body)
        .await
        .expect(200);
    assert_eq!(changed["timezone"], "Asia/Kuwait");
    assert_eq!(
        (&changed["job_title_id"], &changed["department_id"]),
        (title, department)
    );
    assert_eq!(
        office.get("/v1/admin/users?search=salma").await.expect(200)["data"][0]["id"],
        id.to_string()
    );
    assert_eq!(
        office.get("/v1/admin/users?search=basma").await.expect(200)["data"],
        json!([])
    );
    let stale = office
        .api
        .json(&office.me, "PATCH", &path, &[("if-match", &tag)], &body)
        .await;
    stale.expect_code(412, "STALE");
    let cleared = office
        .api
        .patch(
            &office.me,
            &path,
            &json!({ "avatar_url": null, "manager_user_id": null }),
        )
        .await;
    let cleared = cleared.expect(200);
    assert_eq!(
        (
            &cleared["avatar_url"],
            &cleared["manager_user_id"],
            &cleared["locale"]
        ),
        (&Value::Null, &Value::Null, &json!("ar"))
    );

    let theirs = Office::new().await.me.user_id;
    for (body, status) in [
        (json!({ "avatar_url": "http://cdn.example.com/a.png" }), 422),
        (json!({ "avatar_url": "javascript:alert(1)" }), 422),
        (json!({ "timezone": "Mars/Olympus" }), 422),
        (json!({ "locale": "../en" }), 422),
        (json!({ "full_name": " " }), 422),
        (json!({ "email": "new@example.com" }), 422),
        (json!({ "status": "suspended" }), 422),
        (json!({ "manager_user_id": id }), 422),
        (json!({ "manager_user_id": theirs }), 404),
        (json!({ "job_title_id": department }), 404),
        (json!({ "department_id": testkit::unique() }), 404),
    ] {
        let answer = office.api.patch(&office.me, &path, &body).await;
        assert_eq!(answer.status, status, "{body} {}", answer.text);
    }
    assert!(office.actions(id).await.contains(&"user.updated".to_owned()));
}

#[tokio::test]
async fn what_moves_by_itself_does_not_make_a_saved_form_stale() {
    let office = Office::new().await;
    let email = address();
    let id = office.colleague(&email, &["staff"]).await;
    let path = format!("/v1/admin/users/{id}");
    let seen = office.get(&path).await;
    let tag = seen.headers["etag"].clone();
    let seen = seen.json();
    let login = json!({ "email": email, "password": PASSWORD, "delivery": "body" });
    public(&office.auth().await, "/v1/auth/login", &login)
        .await
        .expect(200);
    let roles = json!({ "assign": ["manager"] });
    office.post(&format!("{path}/roles"), &roles).await.expect(200);
    let sql = office.world.admin_sql().await;
    let codes =
        "INSERT INTO backup_codes (tenant_id, user_id, code_hash, created_at) VALUES ($1, $2, 'x', now())";
    sql.execute(codes, &[&office.world.tenant.0, &id]).await.unwrap();
    let now = office.get(&path).await.expect(200);
    for field in ["active_sessions", "backup_codes_left"] {
        assert_ne!(now["security"][field], seen["security"][field], "{field}");
    }
    assert_ne!(now["last_login_at"], seen["last_login_at"]);
    let known = [("if-none-match", tag.as_str())];
    let polled = office
        .api
        .json(&office.me, "GET", &path, &known, &json!({}))
        .await;
    assert_eq!(polled.expect(200), now, "who reads hears of all of it");

    let save = async |name: &str, tag: &str| {
        let (headers, body) = ([("if-match", tag)], json!({ "full_name": name }));
        office.api.json(&office.me, "PATCH", &path, &headers, &body).await
    };
    let saved = save("Salma Nour", &tag).await;
    let newer = saved.headers["etag"].clone();
    assert_eq!(saved.expect(200)["full_name"], "Salma Nour");
    save("Basma Nour", &tag).await.expect_code(412, "STALE");
    assert_eq!(office.get(&path).await.headers["etag"], newer);
    save("Basma Nour", &newer).await.expect(200);
}

/// Approvals ask managers.
#[tokio::test]
async fn nobody_chooses_their_own_manager_or_becomes_one_by_themselves() {
    let office = Office::new().await;
    let (admin, user) = (office.world.user("admin").await, office.world.user("staff").await);
    let scopes = json!({ "name": "Mine", "scopes": ["user.update"] });
    let key = office
        .api
        .post(&admin, "/v1/admin/api-keys", &scopes)
        .await
        .expect(201);
    let key = crate::admin_access::setup::program(key["token"].as_str().unwrap());
    let report = async |by, who: &crate::support::Login, to: Value| {
        let path = format!("/v1/admin/users/{}", who.user_id);
        let body = json!({ "manager_user_id": to, "locale": "ar" });
        office.api.patch(by, &path, &body).await
    };
    report(&office.me, &admin, json!(office.me.user_id))
        .await
        .expect(200);
    for login in [&admin, &key] {
        for (who, to) in [
            (&admin, json!(user.user_id)),
            (&admin, Value::Null),
            (&user, json!(admin.user_id)),
        ] {
            report(login, who, to).await.expect_code(403, "FORBIDDEN");
        }
        // What is so already is no choice, and others' managers are no affair of one's own.
        let kept = report(login, &admin, json!(office.me.user_id)).await.expect(200);
        assert_eq!(kept["manager_user_id"], json!(office.me.user_id));
        report(login, &user, json!(office.me.user_id)).await.expect(200);
        report(login, &user, Value::Null).await.expect(200);
    }
    let mine = report(&office.me, &office.me, json!(user.user_id)).await;
    assert_eq!(mine.expect(200)["manager_user_id"], json!(user.user_id));
    report(&office.me, &user, json!(office.me.user_id))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_super_admin_is_touched_by_super_admins_only() {
    let office = Office::new().await;
    let admin = office.world.user("admin").await;
    let path = format!("/v1/admin/users/{}", office.me.user_id);
    office
        .api
        .patch(&admin, &path, &json!({ "full_name": "X" }))
        .await
        .expect_code(403, "FORBIDDEN");
    for verb in [
        "suspend",
        "reactivate",
        "deactivate",
        "force-logout",
        "reset-password",
        "resend-invite",
        "reset-2fa",
    ] {
        let answer = office
            .api
            .post(&admin, &format!("{path}/{verb}"), &json!({}))
            .await;
        answer.expect_code(403, "FORBIDDEN");
    }
    office
        .api
        .delete(&admin, &path)
        .await
        .expect_code(403, "FORBIDDEN");
    let answer = office
        .api
        .json(&admin, "PUT", &format!("{path}/preferences"), &[], &json!({}))
        .await;
    answer.expect_code(403, "FORBIDDEN");
    office.api.get(&admin, &path).await.expect(200);
}

#[tokio::test]
async fn preferences_are_one_document() {
    let office = Office::new().await;
    let path = format!("/v1/admin/users/{}/preferences", office.me.user_id);
    let defaults = office.get(&path).await.expect(200);
    assert_eq!(
        (&defaults["inbox_on_all"], &defaults["marketing_sms_opt_in"]),
        (&json!(true), &json!(false))
    );
    let wanted = json!({
        "email_on_sms": false, "locale": "ar", "dnd_until": "2026-12-01T08:00:00Z",
        "quiet_hours": { "start": "22:00", "end": "07:30", "channels": ["sms", "whatsapp"] },
    });
    let put = async |body: &Value| office.api.json(&office.me, "PUT", &path, &[], body).await;
    let tag = office.get(&path).await.headers["etag"].clone();
    let put_if = async |tag: &str| {
        let headers = [("if-match", tag)];
        office.api.json(&office.me, "PUT", &path, &headers, &wanted).await
    };
    let stored = put_if(&tag).await;
    let newer = stored.headers["etag"].clone();
    let stored = stored.expect(200);
    put_if(&tag).await.expect_code(412, "STALE");
    put_if(&newer).await.expect(200);
    assert_eq!(
        (&stored["email_on_sms"], &stored["email_on_whatsapp"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(office.get(&path).await.expect(200), stored);
    for bad in [
        json!({ "email_on_sms": "no" }),
        json!({ "email_on_fax": true }),
        json!({ "quiet_hours": { "start": "25:00", "end": "07:30", "channels": ["sms"] } }),
        json!({ "quiet_hours": { "start": "22:00", "end": "07:30", "channels": [] } }),
        json!({ "locale": "not a tag" }),
    ] {
        put(&bad).await.expect_code(422, "VALIDATION_FAILED");
    }
    assert_eq!(put(&json!({})).await.expect(200), defaults);
    let other = Office::new().await;
    let theirs = format!("/v1/admin/users/{}/preferences", other.me.user_id);
    office.get(&theirs).await.expect_code(404, "NOT_FOUND");
    office
        .api
        .json(&office.me, "PUT", &theirs, &[], &json!({}))
        .await
        .expect_code(404, "NOT_FOUND");
}
