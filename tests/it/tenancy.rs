//! Row-level security, tested as if the application's own conditions were gone, and the catalogue
//! that proves it for every table there is.

use crate::auth::setup::Company;
use crate::compliance::furnish::furnish;
use crate::support::World;
use serde_json::json;

#[tokio::test]
async fn without_a_tenant_there_are_no_rows() {
    let world = World::new().await;
    world
        .contacts()
        .post(
            &world.admin().await,
            "/v1/contacts",
            &json!({ "first_name": "A" }),
        )
        .await
        .expect(201);
    let client = world.as_application().await;
    for setting in [
        "",
        "garbage",
        "00000000-0000-0000-0000-000000000000",
        "'; drop table x; --",
    ] {
        let rows = client
            .query(
                "SELECT set_config('app.current_tenant_id', $1, false)",
                &[&setting],
            )
            .await;
        rows.unwrap();
        for table in [
            "contacts",
            "users",
            "sessions",
            "tenants",
            "audit_logs",
            "messages",
            "channel_accounts",
        ] {
            let count: i64 = client
                .query_one(&format!("SELECT count(*) FROM {table}"), &[])
                .await
                .unwrap()
                .get(0);
            assert_eq!(count, 0, "{table} with setting {setting:?}");
        }
        let params: [&(dyn db::ToSql + Sync); 1] = [&world.tenant.0];
        let forged = client.execute(
            "INSERT INTO contacts (tenant_id, id, first_name, name_norm, created_at, updated_at)
             VALUES ($1, gen_random_uuid(), 'x', 'x', now(), now())",
            &params,
        );
        assert!(forged.await.is_err());
    }
}

#[tokio::test]
async fn a_tenant_reaches_no_row_of_another_by_any_statement() {
    let (world, other) = (World::new().await, World::new().await);
    let contact = other
        .contacts()
        .post(
            &other.admin().await,
            "/v1/contacts",
            &json!({ "first_name": "Theirs" }),
        )
        .await
        .expect(201);
    let id: uuid::Uuid = contact["id"].as_str().unwrap().parse().unwrap();
    let client = world.as_application().await;
    client
        .query(
            "SELECT set_config('app.current_tenant_id', $1, false)",
            &[&world.tenant.to_string()],
        )
        .await
        .unwrap();
    for statement in [
        "SELECT FROM contacts WHERE id = $1",
        "UPDATE contacts SET first_name = 'x' WHERE id = $1",
        "DELETE FROM contacts WHERE id = $1",
    ] {
        assert_eq!(client.execute(statement, &[&id]).await.unwrap(), 0, "{statement}");
    }
    world.admin().await;
    let moved = client
        .execute("UPDATE users SET tenant_id = $1", &[&other.tenant.0])
        .await;
    assert_eq!(
        moved.unwrap_err().code().unwrap(),
        &tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE
    );
    // Of a company that has something nearly everywhere.
    furnish(&other, other.user("staff").await.user_id).await;
    let (mut held, admin) = (0, world.admin_sql().await);
    let tables = "SELECT c.relname::text FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND has_table_privilege('m3_app', c.oid, 'SELECT')";
    for table in admin.query(tables, &[]).await.unwrap() {
        let count = format!(
            "SELECT count(*) FROM {} WHERE tenant_id = $1",
            table.get::<_, String>(0)
        );
        let there: i64 = admin.query_one(&count, &[&other.tenant.0]).await.unwrap().get(0);
        let seen: i64 = client.query_one(&count, &[&other.tenant.0]).await.unwrap().get(0);
        assert_eq!(seen, 0, "{count}");
        held += i64::from(there > 0);
    }
    assert!(held > 30, "{held} tables hold something of the other");
    for forbidden in [
        "TRUNCATE contacts",
        "DELETE FROM audit_logs",
        "UPDATE audit_logs SET action = 'x'",
        "SET ROLE m3_owner",
        "ALTER TABLE contacts DISABLE ROW LEVEL SECURITY",
    ] {
        assert!(client.batch_execute(forbidden).await.is_err(), "{forbidden}");
    }
}

/// Logging out takes a token that opens nothing any more, and so reads it by itself.
#[tokio::test]
async fn a_logout_that_names_another_tenant_ends_nothing() {
    let company = Company::new().await;
    let bearer = format!("Bearer {}", company.signed_up["access_token"].as_str().unwrap());
    let named = |tenant: String| [("authorization", bearer.clone()), ("x-tenant-id", tenant)];
    let log_out = async |headers: [(&str, String); 2]| {
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        company.api.call("POST", "/v1/auth/logout", &headers, "").await
    };
    let other = log_out(named(testkit::unique().to_string())).await;
    other.expect_code(401, "TENANT_MISMATCH");
    let me = company.login(&company.signed_up);
    let still = company.api.get(&me, "/v1/auth/sessions").await;
    assert_eq!(still.expect(200)["data"].as_array().unwrap().len(), 1);
    log_out(named(company.world.tenant.to_string())).await.expect(204);
    company
        .api
        .get(&me, "/v1/auth/sessions")
        .await
        .expect_code(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn the_catalogue_shows_that_every_table_is_a_tenant_table() {
    let world = World::new().await;
    let admin = world.admin_sql().await;
    let names = async |sql: &str| -> Vec<String> {
        admin
            .query(sql, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    // Tables without a tenant: when companies were deleted, the registry of permissions, the catalogue of
    // plans, releases, refinery's history.
    let unprotected = names(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('public', 'app') AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY 1",
    );
    assert_eq!(
        unprotected.await,
        [
            "deleted_tenants",
            "entitlement_codes",
            "partitioned_tables",
            "permissions",
            "plan_features",
            "plans",
            "refinery_schema_history",
            "release_log"
        ]
    );
    let without_policy = names(
        "SELECT c.relname::text FROM pg_class c WHERE c.relrowsecurity AND NOT EXISTS (
             SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'tenant'
               AND pg_get_expr(p.polqual, p.polrelid) LIKE '%app.current_tenant_id()%'
               AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%app.current_tenant_id()%')",
    );
    assert_eq!(without_policy.await, Vec::<String>::new());
    // Policies add up, so one that is loose opens what the others close.
    let open_to_us = names(
        "SELECT DISTINCT policyname || ' ' || cmd || ' ' || coalesce(qual, '-') || ' ' || coalesce(with_check, '-')
         FROM pg_policies WHERE roles && '{m3_app,public}' OR permissive = 'RESTRICTIVE' ORDER BY 1",
    );
    let own = "( SELECT app.current_tenant_id() AS current_tenant_id))";
    assert_eq!(
        open_to_us.await,
        [
            "system SELECT (tenant_id IS NULL) -".to_owned(),
            format!("tenant ALL (id = {own} (id = {own}"),
            format!("tenant ALL (tenant_id = {own} (tenant_id = {own}"),
            "unresolved INSERT - ((tenant_id IS NULL) AND (status = 'unresolved'::text))".to_owned(),
        ]
    );
    let nullable_tenant = names(
        "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT a.attnotnull ORDER BY 1",
    );
    assert_eq!(
        nullable_tenant.await,
        ["dictionary_codes", "role_permissions", "roles", "webhook_events"]
    );
    // A unique index that does not start with the tenant tells one tenant of another.
    let global_unique = names(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND i.indisunique AND c.relrowsecurity AND NOT c.relispartition
           AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = i.indkey[0] AND a.attname = 'tenant_id')
         ORDER BY 1",
    );
    assert_eq!(
        global_unique.await,
        [
            "dictionary_codes_pkey",
            "role_permissions_pkey",
            "roles_pkey",
            "signup_keys_pkey",
            "tenants_pkey",
            "tenants_slug_key",
            "webhook_events_pkey"
        ]
    );
    // A foreign key between tenant tables carries the tenant.
    let plain_keys = names(
        "SELECT k.conname::text FROM pg_constraint k
         WHERE k.contype = 'f' AND k.conparentid = 0
           AND k.confrelid NOT IN ('tenants'::regclass, 'permissions'::regclass, 'roles'::regclass, 'plans'::regclass,
                                   'entitlement_codes'::regclass, 'dictionary_codes'::regclass)
           AND NOT (SELECT bool_or(a.attname = 'tenant_id') FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))",
    );
    assert_eq!(plain_keys.await, Vec::<String>::new());
    // What does not refer to its company, directly or by others, would stay when the company is deleted; and
    // of tables that refer to each other in a circle none could be emptied first.
    let unreachable = names(
        "WITH RECURSIVE referring (relid, distance) AS (
             SELECT 'tenants'::regclass::oid, 0
             UNION
             SELECT k.conrelid, r.distance + 1 FROM referring r
             JOIN pg_constraint k ON k.contype = 'f' AND k.confrelid = r.relid AND k.conrelid <> k.confrelid
             WHERE r.distance < 20)
         SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
         WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped
           AND coalesce((SELECT max(r.distance) FROM referring r WHERE r.relid = c.oid), 20) >= 20",
    );
    assert_eq!(unreachable.await, Vec::<String>::new());
    let undeletable = names(
        "SELECT k.conname::text FROM pg_constraint k
         WHERE k.contype = 'f' AND k.conrelid = k.confrelid AND k.confdeltype NOT IN ('c', 'n')",
    );
    assert_eq!(
        undeletable.await,
        Vec::<String>::new(),
        "a row that its own table refers to"
    );
    let enums = names(
        "SELECT t.typname::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'e' AND n.nspname IN ('public', 'app')",
    );
    assert_eq!(enums.await, Vec::<String>::new());
    let dangerous = names(
        "SELECT table_name || ' ' || privilege_type FROM information_schema.role_table_grants
         WHERE grantee = 'm3_app' AND (privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER') OR table_name ~ '_[0-9]{6}$'
            OR (table_name = 'audit_logs' AND privilege_type <> 'SELECT') OR table_name = 'audit_chains')",
    );
    assert_eq!(dangerous.await, Vec::<String>::new());
    // A body that is text looks its names up when it runs; the temporary schema would come first if it were
    // not named.
    let loose = names(
        "SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = 'app' AND p.prosqlbody IS NULL
           AND (p.prosecdef OR regexp_replace(p.prosrc, 'epoch FROM', '', 'g') ~* '\\m(from|into|update|join)\\M')
           AND NOT coalesce('search_path=pg_catalog, public, pg_temp' = ANY (p.proconfig), false)",
    );
    assert_eq!(loose.await, Vec::<String>::new());
    let temporary = names(
        "SELECT r.rolname::text FROM pg_roles r WHERE r.rolname IN ('m3_app', 'm3_lookup', 'm3_owner')
         AND has_database_privilege(r.oid, current_database(), 'TEMPORARY')",
    );
    assert_eq!(temporary.await, Vec::<String>::new());
    let insecure_views = names(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'v' AND n.nspname IN ('public', 'app') AND NOT coalesce(c.reloptions::text LIKE '%security_invoker=true%', false)",
    );
    assert_eq!(insecure_views.await, Vec::<String>::new());
}

#[tokio::test]
async fn the_permission_registry_is_the_table() {
    let admin = World::new().await.admin_sql().await;
    let flags =
        "SELECT code, privileged, self_service, kept_past_due FROM permissions ORDER BY code COLLATE \"C\"";
    let rows = admin.query(flags, &[]).await.unwrap();
    let seeded: Vec<(String, bool, bool, bool)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    let mut declared: Vec<(String, bool, bool, bool)> = kernel::Permission::ALL
        .iter()
        .map(|permission| {
            (
                permission.code().to_owned(),
                permission.is_privileged(),
                kernel::Permission::SELF_SERVICE.contains(permission),
                permission.is_kept_past_due(),
            )
        })
        .collect();
    declared.sort();
    assert_eq!(seeded, declared);
    // Who administers a company may do everything that there is.
    let lacking = "SELECT r.code || ' lacks ' || p.code FROM roles r CROSS JOIN permissions p
        WHERE r.tenant_id IS NULL AND r.code IN ('super_admin', 'admin')
          AND NOT EXISTS (SELECT FROM role_permissions rp WHERE rp.role_id = r.id AND rp.permission_code = p.code)";
    let lacking = admin.query(lacking, &[]).await.unwrap();
    let lacking: Vec<String> = lacking.iter().map(|row| row.get(0)).collect();
    assert_eq!(lacking, Vec::<String>::new());
}

/// Each plan says something of every feature and limit, and of nothing else.
#[tokio::test]
async fn the_entitlement_registry_is_the_catalogue() {
    let admin = World::new().await.admin_sql().await;
    let names = async |sql: &str| -> Vec<String> {
        let rows = admin.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    let declared = |codes: &mut dyn Iterator<Item = &'static str>| -> Vec<String> {
        let mut codes: Vec<String> = codes.map(str::to_owned).collect();
        codes.sort();
        codes
    };
    let features = declared(&mut kernel::Feature::ALL.iter().map(|feature| feature.code()));
    let limits = declared(&mut kernel::Limit::ALL.iter().map(|limit| limit.code()));
    let kind = async |kind: &str| {
        let mut codes = names(&format!(
            "SELECT code FROM entitlement_codes WHERE kind = '{kind}'"
        ))
        .await;
        codes.sort();
        codes
    };
    assert_eq!(kind("feature").await, features);
    assert_eq!(kind("limit").await, limits);
    for plan in ["dev_free", "dev_pro"] {
        let mut said = names(&format!(
            "SELECT feature_code FROM plan_features WHERE plan_code = '{plan}'"
        ))
        .await;
        said.sort();
        let mut wanted = [features.clone(), limits.clone()].concat();
        wanted.sort();
        assert_eq!(said, wanted, "{plan}");
    }
}

#[tokio::test]
async fn changes_are_audited_in_a_chain_that_shows_tampering() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let id = api
        .post(&me, "/v1/contacts", &json!({ "first_name": "A" }))
        .await
        .expect(201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    api.patch(&me, &format!("/v1/contacts/{id}"), &json!({ "first_name": "B" }))
        .await
        .expect(200);
    api.delete(&me, &format!("/v1/contacts/{id}")).await.expect(204);
    let admin = world.admin_sql().await;
    let rows = admin
        .query(
            "SELECT action, before_data ->> 'first_name', after_data ->> 'first_name', actor, actor_user_id FROM audit_logs
             WHERE tenant_id = $1 AND entity_type = 'contact' ORDER BY seq",
            &[&world.tenant.0],
        )
        .await
        .unwrap();
    let lines: Vec<(String, Option<String>, Option<String>)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(
        lines,
        [
            ("contact.created".to_owned(), None, text("A")),
            ("contact.updated".to_owned(), text("A"), text("B")),
            ("contact.updated".to_owned(), text("B"), text("B")),
        ]
    );
    assert!(
        rows.iter()
            .all(|row| row.get::<_, Option<uuid::Uuid>>("actor_user_id") == Some(me.user_id))
    );

    let broken_at = async || -> Option<i64> {
        let caller = testkit::TestDb::system(world.tenant);
        world
            .test
            .db
            .read(&caller, async |tx| {
                tx.query_one("SELECT app.audit_chain_break()", &[]).await
            })
            .await
            .unwrap()
            .get(0)
    };
    assert_eq!(broken_at().await, None);
    admin
        .execute(
            "UPDATE audit_logs SET actor = 'nobody' WHERE tenant_id = $1 AND seq = 2",
            &[&world.tenant.0],
        )
        .await
        .unwrap();
    assert_eq!(broken_at().await, Some(2));
}
