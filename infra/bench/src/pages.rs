//! Lists that must not grow slower: deep pages of many rows, and one tenant among many.

use crate::data::{self, Size};
use crate::http::{Connection, request};
use crate::load::{self, median};
use crate::table::{Table, Target};
use crate::{Bench, peers};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

const TIME: Duration = Duration::from_millis(500);

pub async fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let token = data::token(1)?;
    let crowded = bench.crowded().await?;
    let (process, port) = bench.serve(
        "contacts",
        Some(bench.server.app_settings(&crowded, None, 1)),
        json!({}),
    )?;
    let [first, deep, _] = peers::paths(port, &token)?;
    let (one, four_hundred, ratio) = compare(bench, [(port, &first), (port, &deep)], &token)?;
    let detail = format!("p50 {four_hundred:.0} µs ÷ {one:.0} µs, 1 000 000 contacts, 1 000 tenants");
    table.add("page 400 ÷ page 1", Target::AtMost(1.2), ratio, "×", detail);
    check_plans(bench, &crowded, port).await?;
    drop(process);

    let size = Size {
        tenants: 10_000,
        contacts: 60,
        more_of_first: 0,
    };
    let many = bench
        .server
        .database("many", async |admin| data::fill(admin, size).await)
        .await?;
    let (_alone, alone_port) = bench.serve(
        "contacts",
        Some(bench.server.app_settings(&bench.lonely, None, 1)),
        json!({}),
    )?;
    let (_among, among_port) = bench.serve(
        "contacts",
        Some(bench.server.app_settings(&many, None, 1)),
        json!({}),
    )?;
    let (alone, among, ratio) = compare(bench, [(alone_port, &first), (among_port, &first)], &token)?;
    let detail = format!("p50 {among:.0} µs ÷ {alone:.0} µs, tenants of 60 contacts");
    table.add(
        "list at 10 000 tenants ÷ at 1",
        Target::AtMost(1.2),
        ratio,
        "×",
        detail,
    );
    Ok(())
}

/// The medians of both, and of the ratio of the second to the first.
fn compare(bench: &Bench, pair: [(u16, &str); 2], token: &str) -> Result<(f64, f64, f64)> {
    let p50 = |(port, path): (u16, &str)| -> Result<f64> {
        let bytes = request("GET", path, &[("authorization", &format!("Bearer {token}"))], b"");
        Ok(load::round(port, 1, TIME, 200, &|_| bytes.clone())?.p50())
    };
    let mut times = Vec::new();
    for number in 0..=bench.rounds {
        let both = (p50(pair[0])?, p50(pair[1])?);
        if number > 0 {
            times.push(both);
        }
    }
    let of = |figure: fn(&(f64, f64)) -> f64| median(times.iter().map(figure));
    Ok((of(|both| both.0), of(|both| both.1), of(|both| both.1 / both.0)))
}

/// Every list that the process has prepared reads an index by its tenant, in order: nothing is sorted.
async fn check_plans(bench: &Bench, database: &str, port: u16) -> Result<()> {
    let answer = Connection::open(port)?.ask(&request("GET", "/bench/statements", &[], b""))?;
    let statements: Vec<String> = serde_json::from_slice(&answer.body)?;
    let lists: Vec<&String> = statements
        .iter()
        .filter(|text| text.contains("ORDER BY c.created_at"))
        .collect();
    ensure!(
        lists.len() == 2,
        "the first page and the others are two statements, not {}",
        lists.len()
    );
    let client = bench.server.admin(database).await?;
    let tenant = data::tenant(1);
    client
        .batch_execute(&format!(
            "SET ROLE m3_app; SET app.current_tenant_id = '{tenant}'"
        ))
        .await?;
    for (number, list) in lists.into_iter().enumerate() {
        let after = if list.contains("$4") {
            "'2025-03-01', '00000000-0000-0000-0000-000000000000', "
        } else {
            ""
        };
        let name = format!("list_{number}");
        client.batch_execute(&format!("PREPARE {name} AS {list}")).await?;
        for mode in ["force_generic_plan", "force_custom_plan"] {
            client
                .batch_execute(&format!("SET plan_cache_mode = {mode}"))
                .await?;
            let plan = client
                .query_one(
                    &format!("EXPLAIN (FORMAT JSON) EXECUTE {name} ('{tenant}', {after}51)"),
                    &[],
                )
                .await?;
            let plan: Value = plan.get(0);
            let text = plan.to_string();
            ensure!(
                text.contains("contacts_by_age") && text.contains("tenant_id ="),
                "{mode} of {list}: {plan:#}"
            );
            ensure!(!sorts_contacts(&plan), "{mode} of {list} sorts: {plan:#}");
        }
    }
    Ok(())
}

/// Whether the plan sorts anything but the few channels of one contact.
fn sorts_contacts(plan: &Value) -> bool {
    match plan {
        Value::Object(node) => {
            let sorts = node
                .get("Node Type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.contains("Sort"));
            let keys = node.get("Sort Key").map(Value::to_string).unwrap_or_default();
            (sorts && keys.contains("created_at")) || node.values().any(sorts_contacts)
        }
        Value::Array(items) => items.iter().any(sorts_contacts),
        _ => false,
    }
}
