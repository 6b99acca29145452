//! API keys, as people manage them and as programs use them.

use super::setup::{Company, KEYS, ROLES, fields, function, id, of, program, text};
use crate::support::{Api, World};
use axum::body::Body;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn a_key_is_shown_once_works_for_its_scopes_and_ends_when_revoked() {
    let company = Company::new().await;
    let (api, me) = (&company.api, &company.me);
    let body =
        json!({ "name": " Website ", "scopes": ["contact.read"], "expires_at": "2099-01-01T00:00:00Z" });
    let mut made = api.post(me, KEYS, &body).await.expect(201);
    let token = text(&made, "token").to_owned();
    let key = program(&token);
    assert!(token.starts_with("m3k_") && token.starts_with(text(&made, "prefix")));
    assert!(
        token.len() > text(&made, "prefix").len() + 40,
        "the secret is not shown"
    );
    made.as_object_mut().unwrap().remove("token");
    assert_eq!(
        (&made["name"], &made["scopes"]),
        (&json!("Website"), &json!(["contact.read"]))
    );
    assert_eq!(made["created_by"], json!(me.user_id));

    let found = api.get(me, &of(KEYS, &made)).await;
    assert!(!found.text.contains(&token));
    assert_eq!(found.expect(200), made);
    assert!(company.may_read_contacts(&key).await);
    let beyond = company
        .world
        .contacts()
        .post(&key, "/v1/contacts", &json!({ "first_name": "A" }))
        .await
        .expect_code(403, "FORBIDDEN");
    assert_eq!(beyond["details"]["permission"], "contact.create");
    // what needs a person is not a key's
    let person_only = company.world.me().get(&key, "/v1/me").await;
    person_only.expect_code(403, "FORBIDDEN");

    api.delete(me, &of(KEYS, &made)).await.expect(204);
    company
        .world
        .contacts()
        .get(&key, "/v1/contacts")
        .await
        .expect_code(401, "UNAUTHENTICATED");
    api.delete(me, &of(KEYS, &made))
        .await
        .expect_code(404, "NOT_FOUND");
    let listed = api.get(me, KEYS).await.expect(200);
    assert_eq!(
        listed["data"].as_array().unwrap().len(),
        1,
        "it stays in the list"
    );
    assert_ne!(listed["data"][0]["revoked_at"], Value::Null);
    assert_eq!(company.events("api_key.created").await[0].0, id(&made));
    assert_eq!(company.events("api_key.revoked").await.len(), 1);
}

#[tokio::test]
async fn nowhere_is_the_secret_kept() {
    let company = Company::new().await;
    let body = json!({ "name": "Key", "scopes": ["contact.read"] });
    let made = company.api.post(&company.me, KEYS, &body).await.expect(201);
    let secret = text(&made, "token")
        .strip_prefix(text(&made, "prefix"))
        .unwrap()
        .to_owned();
    let rows = company
        .world
        .admin_sql()
        .await
        .query(
            "SELECT to_jsonb(k)::text FROM api_keys k WHERE k.tenant_id = $1
             UNION ALL SELECT to_jsonb(a)::text FROM audit_logs a WHERE a.tenant_id = $1
             UNION ALL SELECT to_jsonb(e)::text FROM event_outbox e WHERE e.tenant_id = $1",
            &[&company.world.tenant.0],
        )
        .await
        .unwrap();
    assert!(rows.len() > 2);
    for row in &rows {
        let text: String = row.get(0);
        assert!(!text.contains(&secret), "{text}");
        assert!(
            !text.contains("secret_hash") || text.contains("***") || text.contains("\\\\x"),
            "{text}"
        );
    }
    let audited: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let line = audited
        .iter()
        .find(|line| line.contains("api_key.created") && line.contains("after_data"));
    assert!(line.unwrap().contains(r#""secret_hash": "***""#));
}

#[tokio::test]
async fn whatever_is_not_a_living_key_is_401() {
    let (company, other) = (Company::new().await, Company::new().await);
    let (_, made) = company.key(&["contact.read"]).await;
    let token = text(&made, "token").to_owned();
    let (_, theirs) = other.key(&["contact.read"]).await;
    let their_token = text(&theirs, "token");
    // the key's name with another secret, and with another company's
    let mut wrong_secret = token[..token.len() - 4].to_owned();
    wrong_secret.push_str("AAAA");
    let parts = |token: &str| kernel::ApiKeyToken::parse(token).unwrap();
    let forged = {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let mut bytes = URL_SAFE_NO_PAD.decode(&token[4..]).unwrap();
        bytes[..16].copy_from_slice(parts(their_token).tenant.0.as_bytes());
        format!("m3k_{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    assert_eq!(parts(&forged).key_id, id(&made));
    let contacts = company.world.contacts();
    for token in [
        wrong_secret.as_str(),
        &forged,
        "m3k_",
        "m3k_garbage",
        &token[..token.len() - 1],
        &format!("{token}A"),
    ] {
        contacts
            .get(&program(token), "/v1/contacts")
            .await
            .expect_code(401, "UNAUTHENTICATED");
    }
    let sql = company.world.admin_sql().await;
    let used = async || -> bool {
        let used = "SELECT last_used_at IS NOT NULL FROM api_keys WHERE id = $1";
        sql.query_one(used, &[&id(&made)]).await.unwrap().get(0)
    };
    assert!(!used().await, "a failure is no use");
    contacts.get(&program(&token), "/v1/contacts").await.expect(200);
    assert!(used().await);
    sql.execute(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1",
        &[&id(&made)],
    )
    .await
    .unwrap();
    contacts
        .get(&program(&token), "/v1/contacts")
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_key_reaches_its_own_company_and_the_header_must_say_the_same() {
    let (company, other) = (Company::new().await, Company::new().await);
    let (key, _) = company
        .key(&["contact.read", "role.read", "apikeys.manage"])
        .await;
    let theirs = other.role(&[]).await;
    company
        .api
        .get(&key, &of(ROLES, &theirs))
        .await
        .expect_code(404, "NOT_FOUND");
    let (_, their_key) = other.key(&["contact.read"]).await;
    for (method, path) in [("GET", of(KEYS, &their_key)), ("DELETE", of(KEYS, &their_key))] {
        company
            .api
            .json(&key, method, &path, &[], &json!({}))
            .await
            .expect_code(404, "NOT_FOUND");
    }
    let bearer = format!("Bearer {}", key.token);
    let with_tenant = async |tenant: &str| {
        let headers = [("authorization", bearer.as_str()), ("x-tenant-id", tenant)];
        company
            .world
            .contacts()
            .call("GET", "/v1/contacts", &headers, Body::empty())
            .await
    };
    with_tenant(&company.world.tenant.to_string()).await.expect(200);
    for tenant in [other.world.tenant.to_string(), "x".to_owned(), String::new()] {
        with_tenant(&tenant).await.expect_code(401, "TENANT_MISMATCH");
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_precisely() {
    let company = Company::new().await;
    for (body, expected) in [
        (
            json!({ "name": "", "scopes": ["contact.read"] }),
            vec!["name required"],
        ),
        (json!({ "name": "K", "scopes": [] }), vec!["scopes required"]),
        (json!({ "name": "K" }), vec![" invalid"]),
        (
            json!({ "name": "K", "scopes": ["contact.fly"] }),
            vec!["scopes[0] unknown"],
        ),
        (
            json!({ "name": "K", "scopes": vec!["contact.read"; 300] }),
            vec!["scopes too_many"],
        ),
        (
            json!({ "name": "K", "scopes": ["session.read.self", "contact.read"] }),
            vec!["scopes not_allowed"],
        ),
        (
            json!({ "name": "K", "scopes": ["contact.read"], "expires_at": "2020-01-01T00:00:00Z" }),
            vec!["expires_at past"],
        ),
        (
            json!({ "name": "K", "scopes": ["contact.read"], "expires_at": "tomorrow" }),
            vec!["expires_at invalid"],
        ),
        (
            json!({ "name": "K", "scopes": ["contact.read"], "token": "m3k_x" }),
            vec!["token invalid"],
        ),
    ] {
        let error = company
            .api
            .post(&company.me, KEYS, &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(fields(&error), expected, "{body}");
    }
    let listed = company.api.get(&company.me, KEYS).await.expect(200);
    assert_eq!(listed["data"], json!([]));
    let (_, made) = company.key(&["user.manage"]).await;
    assert_eq!(
        made["scopes"].as_array().unwrap().len(),
        9,
        "with what it implies"
    );
}

#[tokio::test]
async fn keys_come_in_pages() {
    let company = Company::new().await;
    for _ in 0..5 {
        company.key(&["contact.read"]).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = company
            .api
            .get(&company.me, &format!("{KEYS}?limit=2{cursor}"))
            .await
            .expect(200);
        seen.extend(page["data"].as_array().unwrap().iter().map(id));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|one, next| one > next), "newest first");
}

#[tokio::test]
async fn a_programs_request_is_audited_as_the_keys_and_repeats_with_its_idempotency_key() {
    let company = Company::new().await;
    let (key, made) = company.key(&["contact.create", "contact.read"]).await;
    let (contacts, header) = (company.world.contacts(), [("idempotency-key", "import-1")]);
    let body = json!({ "first_name": "Imported" });
    let first = contacts.json(&key, "POST", "/v1/contacts", &header, &body).await;
    let again = contacts.json(&key, "POST", "/v1/contacts", &header, &body).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(first.expect(201), again.expect(201));
    // another key's repetition is another request
    let (other, _) = company.key(&["contact.create"]).await;
    let apart = contacts
        .json(&other, "POST", "/v1/contacts", &header, &body)
        .await;
    assert!(!apart.headers.contains_key("idempotency-replayed"));
    apart.expect(201);
    let rows = company
        .world
        .admin_sql()
        .await
        .query(
            "SELECT actor, actor_user_id FROM audit_logs WHERE tenant_id = $1 AND action = 'contact.created' ORDER BY seq",
            &[&company.world.tenant.0],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].get::<_, String>(0), format!("api_key:{}", id(&made)));
    assert_eq!(rows[0].get::<_, Option<Uuid>>(1), None);
}

#[tokio::test]
async fn the_use_of_a_key_is_noted_once_a_minute_by_all_processes_together() {
    let company = Company::new().await;
    let (key, made) = company.key(&["contact.read", "contact.create"]).await;
    let sql = company.world.admin_sql().await;
    let set = async |age: &str| {
        let update = format!("UPDATE api_keys SET last_used_at = now() - interval '{age}' WHERE id = $1");
        sql.execute(&update, &[&id(&made)]).await.unwrap();
    };
    let seconds_ago = async || -> Option<f64> {
        let age = "SELECT extract(epoch FROM now() - last_used_at)::float8 FROM api_keys WHERE id = $1";
        sql.query_one(age, &[&id(&made)]).await.unwrap().get(0)
    };
    let process = async || {
        let test = testkit::database().await;
        let world = World {
            tenant: company.world.tenant,
            test,
        };
        world.contacts()
    };
    let use_it = async |process: &Api| {
        process.get(&key, "/v1/contacts").await.expect(200);
    };
    assert_eq!(seconds_ago().await, None);
    let first = process().await;
    use_it(&first).await;
    assert!(seconds_ago().await.unwrap() < 30.0);

    set("2 minutes").await;
    use_it(&first).await;
    assert!(
        seconds_ago().await.unwrap() > 100.0,
        "this process noted it within the minute"
    );
    let second = process().await;
    second
        .post(&key, "/v1/contacts", &json!({ "first_name": "A" }))
        .await
        .expect(201);
    assert!(seconds_ago().await.unwrap() < 30.0, "a write notes it too");
    set("40 seconds").await;
    use_it(&process().await).await;
    assert!(
        seconds_ago().await.unwrap() > 35.0,
        "another process noted it within the minute"
    );
    let shown = function(&company.world)
        .get(&company.me, &of(KEYS, &made))
        .await
        .expect(200);
    assert_ne!(shown["last_used_at"], Value::Null);
    let audited: i64 = sql
        .query_one(
            "SELECT count(*) FROM audit_logs WHERE tenant_id = $1 AND action = 'api_key.updated'",
            &[&company.world.tenant.0],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(audited, 0, "a use is no change of the key");
}
