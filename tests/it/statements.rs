//! Every statement in the source is one that the migrated schema takes, and every list is answered
//! from an index that starts with the tenant.

use crate::support::World;
use proc_macro2::{TokenStream, TokenTree};
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[tokio::test]
async fn every_statement_prepares() {
    let world = World::new().await;
    let admin = world.admin_sql().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut statements = Vec::new();
    for folder in ["shared/domain", "shared/platform/db/src", "functions"] {
        for file in sources(&root.join(folder)) {
            let source = std::fs::read_to_string(&file).unwrap();
            literals(TokenStream::from_str(&source).unwrap(), &mut |text| {
                if is_statement(&text) {
                    statements.push((file.clone(), text));
                }
            });
        }
    }
    assert!(
        statements.len() > 30,
        "only {} statements were found",
        statements.len()
    );
    for (file, statement) in statements {
        let prepared = admin.prepare(&statement).await;
        assert!(
            prepared.is_ok(),
            "{}: {statement}\n{:?}",
            file.display(),
            prepared.err()
        );
    }
}

fn is_statement(text: &str) -> bool {
    let text = text.trim_start();
    let starts = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH "];
    starts.iter().any(|start| text.starts_with(start)) && !text.contains("{}")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true if path.ends_with("tests") => Vec::new(),
            true => sources(&path),
            false => Some(path)
                .filter(|path| path.extension().is_some_and(|end| end == "rs"))
                .into_iter()
                .collect(),
        })
        .collect()
}

fn literals(tokens: TokenStream, found: &mut impl FnMut(String)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => literals(group.stream(), found),
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    found(text.value());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// The lists, as `Sql` builds them, with the index that each sort must come from.
const LISTS: &[(&str, &str)] = &[
    (
        "SELECT u.id FROM users u WHERE u.tenant_id = $1 AND (u.created_at, u.id) < ($2::timestamptz, $3::uuid) ORDER BY u.created_at DESC, u.id DESC LIMIT $4",
        "users_by_age",
    ),
    (
        "SELECT u.id FROM users u WHERE u.tenant_id = $1 AND (u.email_norm, u.id) > ($2::text, $3::uuid) ORDER BY u.email_norm, u.id LIMIT $4",
        "users_by_email",
    ),
    (
        "SELECT c.id FROM contacts c WHERE c.tenant_id = $1 AND c.archived_at IS NULL AND (c.created_at, c.id) < ($2::timestamptz, $3::uuid) ORDER BY c.created_at DESC, c.id DESC LIMIT $4",
        "contacts_by_age",
    ),
    (
        "SELECT c.id FROM contacts c WHERE c.tenant_id = $1 AND c.archived_at IS NULL AND (c.name_norm, c.id) > ($2::text, $3::uuid) ORDER BY c.name_norm, c.id LIMIT $4",
        "contacts_by_name",
    ),
    (
        "SELECT v.id FROM conversations v WHERE v.tenant_id = $1 AND (v.last_message_at, v.id) < ($2::timestamptz, $3::uuid) ORDER BY v.last_message_at DESC, v.id DESC LIMIT $4",
        "conversations_recent",
    ),
    (
        "SELECT m.id FROM messages m WHERE m.tenant_id = $1 AND m.conversation_id = '00000000-0000-0000-0000-000000000000' AND (m.occurred_at, m.id) < ($2::timestamptz, $3::uuid) ORDER BY m.occurred_at DESC, m.id DESC LIMIT $4",
        "messages_of_conversation",
    ),
    (
        "SELECT a.id FROM channel_accounts a WHERE a.tenant_id = $1 AND a.deleted_at IS NULL AND (a.created_at, a.id) < ($2::timestamptz, $3::uuid) ORDER BY a.created_at DESC, a.id DESC LIMIT $4",
        "channel_accounts_by_age",
    ),
    (
        "SELECT g.id FROM groups g WHERE g.tenant_id = $1 AND (g.created_at, g.id) < ($2::timestamptz, $3::uuid) ORDER BY g.created_at DESC, g.id DESC LIMIT $4",
        "groups_by_age",
    ),
    (
        "SELECT g.id FROM groups g WHERE g.tenant_id = $1 AND (g.name, g.id) > ($2::text, $3::uuid) ORDER BY g.name, g.id LIMIT $4",
        "groups_by_name",
    ),
    (
        "SELECT m.id FROM (SELECT gm.tenant_id, gm.group_id, gm.user_id AS id, gm.added_at FROM group_members gm) m WHERE m.tenant_id = $1 AND m.group_id = '00000000-0000-0000-0000-000000000000' AND (m.added_at, m.id) < ($2::timestamptz, $3::uuid) ORDER BY m.added_at DESC, m.id DESC LIMIT $4",
        "group_members_by_age",
    ),
    (
        "SELECT k.id FROM api_keys k WHERE k.tenant_id = $1 AND (k.created_at, k.id) < ($2::timestamptz, $3::uuid) ORDER BY k.created_at DESC, k.id DESC LIMIT $4",
        "api_keys_by_age",
    ),
    (
        "SELECT p.id FROM approval_policies p WHERE p.tenant_id = $1 AND p.archived_at IS NULL AND (p.created_at, p.id) < ($2::timestamptz, $3::uuid) ORDER BY p.created_at DESC, p.id DESC LIMIT $4",
        "approval_policies_by_age",
    ),
    (
        "SELECT r.id FROM approval_requests r WHERE r.tenant_id = $1 AND (r.created_at, r.id) < ($2::timestamptz, $3::uuid) ORDER BY r.created_at DESC, r.id DESC LIMIT $4",
        "approval_requests_by_age",
    ),
];

/// As the application role, so that the policies take part.
#[tokio::test]
async fn every_list_is_a_range_of_an_index_of_the_tenant() {
    let world = World::new().await;
    let client = world.as_application().await;
    client
        .batch_execute(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET plan_cache_mode = force_generic_plan",
        )
        .await
        .unwrap();
    client
        .query(
            "SELECT set_config('app.current_tenant_id', $1, false)",
            &[&world.tenant.to_string()],
        )
        .await
        .unwrap();
    for (at, (list, index)) in LISTS.iter().enumerate() {
        client
            .batch_execute(&format!("PREPARE list_{at} AS {list}"))
            .await
            .unwrap();
        let key = if list.contains("$2::text") { "'a'" } else { "now()" };
        let explain = format!(
            "EXPLAIN EXECUTE list_{at}('{}', {key}, gen_random_uuid(), 51)",
            world.tenant
        );
        let plan: Vec<String> = client
            .query(&explain, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let plan = plan.join("\n");
        assert!(
            plan.contains(index) && plan.contains("tenant_id = $1") && !plan.contains("Sort"),
            "{list}\n{plan}"
        );
        let condition = plan.lines().find(|line| line.contains("Index Cond")).unwrap();
        assert!(
            condition.contains("ROW("),
            "the keyset is not an index condition: {plan}"
        );
    }
}
