//! Lists are alike, also those of what belongs to one record.

use super::records::Records;
use super::{filled, functions};
use crate::people::setup::operate;
use crate::support::World;
use axum::body::Body;
use serde_json::Value;
use std::collections::BTreeSet;
use web::Access;

/// Pages of a bounded size, a cursor that is the list's own, sorts that it names.
#[tokio::test]
async fn every_list_keeps_the_contract_of_lists() {
    let records = Records::new().await;
    let stack = &records.stack;
    let tenant = stack.world.tenant.to_string();
    let mut lists = BTreeSet::new();
    for (endpoints, api) in functions(stack).await {
        for endpoint in endpoints {
            if endpoint.method != "GET" {
                continue;
            }
            let by_operator = endpoint.access == Access::Operator;
            let path = if by_operator {
                filled(endpoint.path, &[&tenant])
            } else {
                records.path(endpoint.path)
            };
            let ask = async |query: &str| {
                let path = format!("{path}{query}");
                if by_operator {
                    return operate(&api, "GET", &path, &Value::Null).await;
                }
                api.get(&stack.me, &path).await
            };
            let first = ask("?limit=1").await;
            if first.status != 200 || first.json()["data"].as_array().is_none() {
                continue;
            }
            let page = first.json();
            let path = endpoint.path;
            lists.insert(path);
            assert!(
                page.get("next_cursor").is_some(),
                "{path} says nothing of a next page"
            );
            assert!(page["data"].as_array().unwrap().len() <= 1, "{path} has a bound");
            for (query, status) in [
                ("?limit=0", 422),
                ("?limit=201", 422),
                ("?limit=many", 422),
                ("?cursor=of-another-list", 400),
                ("?sort=nothing", 422),
            ] {
                let answer = ask(query).await;
                assert_eq!(answer.status, status, "{path}{query}: {}", answer.text);
            }
            if let Some(cursor) = page["next_cursor"].as_str() {
                let next = ask(&format!("?limit=1&cursor={cursor}")).await.expect(200);
                assert_ne!(next["data"], page["data"], "{path}: the next page is another");
            }
        }
    }
    let described = described_lists().await;
    let described: BTreeSet<&str> = described.iter().map(String::as_str).collect();
    assert_eq!(lists, described);
}

/// The paths whose description says that they answer with a page.
async fn described_lists() -> BTreeSet<String> {
    let me = World::new().await.me();
    let answer = me.call("GET", "/v1/openapi.json", &[], Body::empty()).await;
    let document = answer.expect(200);
    let is_page = |operation: &Value| {
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let named = schema["$ref"].as_str();
        let schema = named.map_or(Some(schema), |named| {
            document.pointer(named.trim_start_matches('#'))
        });
        schema.is_some_and(|schema| schema["properties"]["next_cursor"].is_object())
    };
    let paths = document["paths"].as_object().unwrap().iter();
    let lists = paths.filter(|(_, item)| is_page(&item["get"]));
    lists.map(|(path, _)| path.clone()).collect()
}
