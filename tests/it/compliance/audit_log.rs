use super::setup::Office;
use crate::support::World;
use serde_json::{Value, json};

async fn made(office: &Office, name: &str) -> String {
    let contact = json!({ "first_name": name, "channels": [{ "type": "email", "value": format!("{}@example.com", testkit::unique()) }] });
    let made = office
        .world
        .contacts()
        .post(&office.me, "/v1/contacts", &contact)
        .await
        .expect(201);
    made["id"].as_str().unwrap().to_owned()
}

async fn listed(office: &Office, query: &str) -> Vec<Value> {
    let path = format!("/v1/admin/audit-logs?{query}");
    let page = office.api.get(&office.me, &path).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn lines_are_found_by_each_filter() {
    let office = Office::new().await;
    let id = made(&office, "Salma").await;
    let contacts = office.world.contacts();
    let path = format!("/v1/contacts/{id}");
    let change = json!({ "first_name": "Basma" });
    let agent = [("x-request-id", "req-filter-1"), ("user-agent", "Firefox")];
    contacts
        .json(&office.me, "PATCH", &path, &agent, &change)
        .await
        .expect(200);

    let [line] = &listed(&office, "action=contact.updated").await[..] else {
        panic!("one line")
    };
    assert_eq!(line["before_data"]["first_name"], "Salma");
    assert_eq!(line["after_data"]["first_name"], "Basma");
    assert_eq!(line["entity_id"], json!(id));
    assert_eq!(line["entity_type"], "contact");
    assert_eq!(line["actor"], "user");
    assert_eq!(line["actor_user_id"], json!(office.me.user_id));
    assert_eq!(line["user_agent"], "Firefox");
    assert_eq!(line["hash"].as_str().unwrap().len(), 64);

    let actions = async |query: &str| -> Vec<String> {
        listed(&office, query)
            .await
            .iter()
            .map(|line| line["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(actions("request_id=req-filter-1").await, ["contact.updated"]);
    assert_eq!(
        actions(&format!("entity_id={id}")).await,
        ["contact.updated", "contact.created"]
    );
    assert_eq!(
        actions("entity_type=contact").await,
        ["contact.updated", "contact.created"]
    );
    let family = ["contact.updated", "contact.channel.created", "contact.created"];
    assert_eq!(
        sorted(actions("action_prefix=contact.").await),
        sorted(family.map(str::to_owned).to_vec())
    );
    assert_eq!(
        actions("action_prefix=contact.ch").await,
        ["contact.channel.created"]
    );
    assert_eq!(actions(&format!("user_id={}", office.me.user_id)).await.len(), 3);
    assert_eq!(
        actions(&format!("user_id={}", testkit::unique())).await,
        Vec::<String>::new()
    );
    let at = line["created_at"].as_str().unwrap();
    assert_eq!(actions(&format!("from={at}")).await, ["contact.updated"]);
    assert!(
        !actions(&format!("to={at}"))
            .await
            .contains(&"contact.updated".to_owned())
    );
    assert_eq!(
        actions(&format!(
            "entity_type=contact&action=contact.created&entity_id={id}&to={at}"
        ))
        .await,
        ["contact.created"]
    );
    // What is sealed or hashed is masked, by the trigger.
    let [channel] = &listed(&office, "action=contact.channel.created").await[..] else {
        panic!("one line")
    };
    assert_eq!(channel["after_data"]["value_sealed"], "***");
    assert_eq!(channel["after_data"]["value_hash"], "***");
}

fn sorted(mut actions: Vec<String>) -> Vec<String> {
    actions.sort();
    actions
}

#[tokio::test]
async fn pages_come_newest_first_and_hold_every_line_once() {
    let office = Office::new().await;
    office.audit(25, "x").await;
    let (mut seqs, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = office
            .api
            .get(
                &office.me,
                &format!("/v1/admin/audit-logs?action=test.done&limit=10{cursor}"),
            )
            .await
            .expect(200);
        seqs.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line["seq"].as_i64().unwrap()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seqs.len(), 25);
    let mut expected = seqs.clone();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(expected.len(), 25);
    let oldest = listed(&office, "action=test.done&sort=created_at&limit=1").await;
    assert_eq!(oldest[0]["seq"].as_i64(), expected.first().copied());
}

#[tokio::test]
async fn who_may_read_and_what_is_refused() {
    let office = Office::new().await;
    let staff = office.world.user("staff").await;
    for path in [
        "/v1/admin/audit-logs",
        "/v1/admin/audit-logs/export",
        "/v1/admin/compliance",
    ] {
        office.api.get(&staff, path).await.expect_code(403, "FORBIDDEN");
    }
    let long = "x".repeat(201);
    for query in [
        "from=yesterday",
        "from=1969-01-01T00:00:00Z",
        "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "user_id=1",
        "limit=0",
        &format!("action={long}"),
    ] {
        office
            .api
            .get(&office.me, &format!("/v1/admin/audit-logs?{query}"))
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    office
        .api
        .get(&office.me, "/v1/admin/audit-logs?cursor=x")
        .await
        .expect_code(400, "INVALID_REQUEST");
    let other = Office::of(World::new().await).await;
    let theirs = made(&other, "Theirs").await;
    assert_eq!(
        listed(&office, &format!("entity_id={theirs}")).await,
        Vec::<Value>::new()
    );
}

#[tokio::test]
async fn how_long_things_are_kept_is_the_companys_to_say() {
    let office = Office::new().await;
    let path = "/v1/admin/compliance";
    let found = office.api.get(&office.me, path).await;
    let tag = found.headers["etag"].clone();
    let mut kept = json!({ "audit_keep_months": 12, "inbox_keep_days": 90, "payload_keep_days": 90, "webhook_keep_days": 30 });
    assert_eq!(found.expect(200), kept);
    for (field, shortest, longest) in [
        ("audit_keep_months", 12, 84),
        ("inbox_keep_days", 7, 365),
        ("payload_keep_days", 30, 365),
        ("webhook_keep_days", 7, 60),
    ] {
        let change = async |time: i64| {
            office
                .api
                .patch(&office.me, path, &json!({ (field): time }))
                .await
        };
        for wrong in [shortest - 1, longest + 1, 0, -1] {
            let refused = change(wrong).await.expect_code(422, "VALIDATION_FAILED");
            assert_eq!(
                refused["details"]["fields"][0]["path"], field,
                "{wrong}: {refused}"
            );
        }
        for right in [shortest, longest] {
            kept[field] = json!(right);
            assert_eq!(change(right).await.expect(200), kept);
        }
    }
    let wrong = json!({ "inbox_keep_days": 6, "payload_keep_days": 366 });
    let refused = office.api.patch(&office.me, path, &wrong).await;
    let refused = refused.expect_code(422, "VALIDATION_FAILED");
    assert_eq!(refused["details"]["fields"].as_array().unwrap().len(), 2);
    office
        .api
        .patch(&office.me, path, &json!({ "keep": 12 }))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    let stale = [("if-match", tag.as_str())];
    office
        .api
        .json(
            &office.me,
            "PATCH",
            path,
            &stale,
            &json!({ "audit_keep_months": 12 }),
        )
        .await
        .expect_code(412, "STALE");
    assert_eq!(office.api.get(&office.me, path).await.expect(200), kept);
    assert!(office.actions().await.contains(&"tenant.updated".to_owned()));
}

/// As `Sql` builds them; every filter is answered from an index that starts with the tenant, in the
/// order of the list.
#[tokio::test]
async fn every_filter_walks_an_index_of_the_tenant() {
    let world = World::new().await;
    let client = world.as_application().await;
    client
        .batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET plan_cache_mode = force_generic_plan")
        .await
        .unwrap();
    let enter = "SELECT set_config('app.current_tenant_id', $1, false)";
    client.query(enter, &[&world.tenant.to_string()]).await.unwrap();
    for (at, (condition, index)) in [
        ("true", "_pkey"),
        ("a.actor_user_id = gen_random_uuid()", "actor_user_id"),
        ("a.action COLLATE \"C\" = 'auth.login'", "action"),
        ("a.entity_type = 'contact'", "entity_type"),
        (
            "a.entity_id = '00000000-0000-0000-0000-000000000001'",
            "entity_id",
        ),
        ("a.request_id = 'r'", "request_id"),
    ]
    .iter()
    .enumerate()
    {
        let list = format!(
            "SELECT a.id FROM audit_logs a WHERE a.tenant_id = $1 AND {} AND (a.id, a.id) < ($2, $3) ORDER BY a.id DESC, a.id DESC LIMIT $4",
            condition.replace("gen_random_uuid()", "'00000000-0000-0000-0000-000000000001'")
        );
        client
            .batch_execute(&format!("PREPARE list_{at}(uuid, uuid, uuid, bigint) AS {list}"))
            .await
            .unwrap();
        let explain = format!(
            "EXPLAIN EXECUTE list_{at}('{}', gen_random_uuid(), gen_random_uuid(), 51)",
            world.tenant
        );
        let rows = client.query(&explain, &[]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(
            !plan.contains("Sort") && !plan.contains("Seq Scan"),
            "{list}\n{plan}"
        );
        for scan in plan
            .lines()
            .filter(|line| line.contains("Index") && line.contains(" on audit_logs_"))
        {
            assert!(scan.contains(index), "{condition}: {scan}\n{plan}");
        }
        for line in plan.lines().filter(|line| line.contains("Index Cond")) {
            assert!(line.contains("tenant_id = $1"), "{line}");
        }
    }
    // A beginning is a range of the same index.
    client
        .batch_execute("PREPARE family(uuid, text) AS SELECT a.id FROM audit_logs a WHERE a.tenant_id = $1 AND a.action COLLATE \"C\" >= $2 AND a.action COLLATE \"C\" < $2 || U&'\\+10FFFF' ORDER BY a.tenant_id, a.action COLLATE \"C\"")
        .await
        .unwrap();
    let rows = client
        .query(
            &format!("EXPLAIN EXECUTE family('{}', 'auth.')", world.tenant),
            &[],
        )
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(
        plan.iter()
            .any(|line| line.contains("Index Cond") && line.contains("action")),
        "{plan:?}"
    );
}

/// Rows without an id of their own are filed under whom or what they are of.
#[tokio::test]
async fn roles_groups_and_preferences_are_found_by_their_user() {
    let office = Office::new().await;
    let (user, me) = (office.world.user("staff").await.user_id, &office.me);
    let role = |code: &str| json!({ "name": "Role", "code": code, "permissions": ["contact.read"] });
    let child = office
        .api
        .post(me, "/v1/admin/roles", &role("closers"))
        .await
        .expect(201);
    let parent = office
        .api
        .post(me, "/v1/admin/roles", &role("openers"))
        .await
        .expect(201);
    let edge = json!({ "parent_role_id": parent["id"], "child_role_id": child["id"] });
    office
        .api
        .post(me, "/v1/admin/roles/hierarchy", &edge)
        .await
        .expect(201);
    let roles = format!("/v1/admin/users/{user}/roles");
    for change in [json!({ "assign": ["closers"] }), json!({ "remove": ["closers"] })] {
        office.api.post(me, &roles, &change).await.expect(200);
    }
    let team = json!({ "name": "Team", "code": "team", "role_ids": [child["id"]] });
    let team = office.api.post(me, "/v1/admin/groups", &team).await.expect(201);
    let members = format!("/v1/admin/groups/{}/members", team["id"].as_str().unwrap());
    let body = json!({ "user_ids": [user] });
    office.api.post(me, &members, &body).await.expect(201);
    let preferences = format!("/v1/admin/users/{user}/preferences");
    let wanted = json!({ "locale": "ar" });
    office
        .api
        .json(me, "PUT", &preferences, &[], &wanted)
        .await
        .expect(200);

    let about = async |id: &str| -> Vec<String> {
        let lines = listed(&office, &format!("entity_id={id}&sort=created_at")).await;
        let action = |line: &Value| line["action"].as_str().unwrap().to_owned();
        let mut actions = sorted(lines.iter().map(action).collect());
        actions.dedup();
        actions
    };
    assert_eq!(
        about(&user.to_string()).await,
        [
            "group.member.created",
            "notification_preference.created",
            "user.created",
            "user.role.changed",
            "user.role.created",
            "user.role.deleted"
        ]
    );
    let found = about(child["id"].as_str().unwrap()).await;
    assert_eq!(
        found,
        [
            "role.created",
            "role.hierarchy.changed",
            "role.hierarchy.created",
            "role.permission.created"
        ]
    );
    let found = about(team["id"].as_str().unwrap()).await;
    assert_eq!(found, ["group.created", "group.role.created"]);
    // What an erasure leaves of them says nothing.
    let confirmed = json!({ "subject_type": "user", "subject_id": user, "confirm": user });
    office
        .api
        .post(me, "/v1/admin/gdpr/erase", &confirmed)
        .await
        .expect(200);
    for line in listed(&office, &format!("entity_id={user}")).await {
        if line["action"] != "gdpr.erased" {
            assert_eq!(
                (&line["before_data"], &line["after_data"]),
                (&Value::Null, &Value::Null),
                "{line}"
            );
        }
    }
    assert_eq!(office.break_at().await, None);
}

/// Lines that were written before: under nobody.
#[tokio::test]
async fn older_lines_of_a_users_preferences_are_erased_too() {
    let office = Office::new().await;
    let user = office.world.user("staff").await.user_id;
    let admin = office.world.admin_sql().await;
    let enter = "SELECT set_config('app.current_tenant_id', $1, false)";
    admin
        .query(enter, &[&office.world.tenant.to_string()])
        .await
        .unwrap();
    let older = "SELECT app.audit('notification_preference.created', 'notification_preference', NULL, NULL,
                                  jsonb_build_object('user_id', $1::uuid, 'prefs', 'at the old mews'))";
    admin.query(older, &[&user]).await.unwrap();
    let confirmed = json!({ "subject_type": "user", "subject_id": user, "confirm": user });
    office
        .api
        .post(&office.me, "/v1/admin/gdpr/erase", &confirmed)
        .await
        .expect(200);
    let [line] = &listed(&office, "entity_type=notification_preference").await[..] else {
        panic!("one line")
    };
    assert_eq!(line["after_data"], Value::Null);
    assert!(line["erased_at"].is_string());
    assert_eq!(office.break_at().await, None);
}

/// As the function runs it: the channels of a contact are an index away, however many there are.
#[tokio::test]
async fn the_channels_of_a_contact_are_found_by_an_index() {
    let world = World::new().await;
    let admin = world.admin_sql().await;
    let source = "SELECT prosrc FROM pg_proc WHERE proname = 'audited_channels'";
    let source: String = admin.query_one(source, &[]).await.unwrap().get(0);
    let query = source.replace("of_contact", "'00000000-0000-0000-0000-000000000001'::uuid");
    admin
        .batch_execute("SET ROLE m3_lookup; SET enable_seqscan = off; SET enable_bitmapscan = off")
        .await
        .unwrap();
    let rows = admin.query(&format!("EXPLAIN {query}"), &[]).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    let conditions: Vec<&str> = plan.lines().filter(|line| line.contains("Index Cond")).collect();
    assert!(!conditions.is_empty() && !plan.contains("Seq Scan"), "{plan}");
    for condition in conditions {
        assert!(
            condition.contains("tenant_id = ") && condition.contains("contact_id"),
            "{plan}"
        );
    }
}
