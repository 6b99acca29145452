//! What the plan includes, overrides and seats, through the public door.

mod limits;
mod overrides;
mod past_due;
mod plans;
mod seats;
mod views;

use crate::support::{Api, Login, World};
use serde_json::{Value, json};

pub fn service(world: &World) -> Api {
    service_in(world, true)
}

/// In a developer's environment, or in production.
fn service_in(world: &World, is_dev: bool) -> Api {
    world.administration_with(|app| app.is_dev = is_dev)
}

const TENANT: &str = "/v1/admin/entitlements/overrides/tenant";
const GROUP: &str = "/v1/admin/entitlements/overrides/group";
const USER: &str = "/v1/admin/entitlements/overrides/user";

async fn put(api: &Api, login: &Login, path: &str, overrides: &Value) -> crate::support::Answer {
    api.json(login, "PUT", path, &[], &json!({ "overrides": overrides }))
        .await
}

/// The entry with this code.
#[track_caller]
pub fn entry(list: &Value, code: &str) -> Value {
    let found = list
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["code"] == code);
    found.unwrap_or_else(|| panic!("{code} is not in {list}")).clone()
}

async fn group(world: &World, members: &[uuid::Uuid]) -> uuid::Uuid {
    let (id, tenant) = (testkit::unique(), world.tenant.0);
    let code = format!("g-{id}");
    let caller = testkit::TestDb::system(world.tenant);
    let write = world.test.db.write(&caller, async |tx| {
        tx.execute(
            "INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at) VALUES ($1, $2, $3, $3, now(), now())",
            &[&tenant, &id, &code],
        )
        .await?;
        tx.execute(
            "INSERT INTO group_members (tenant_id, group_id, user_id, added_at) SELECT $1, $2, m, now() FROM unnest($3::uuid[]) m",
            &[&tenant, &id, &members],
        )
        .await
    });
    write.await.unwrap();
    id
}

/// Runs SQL for the world's company; `$1` is its id.
async fn run(world: &World, sql: &str) {
    let (tenant, caller) = (world.tenant.0, testkit::TestDb::system(world.tenant));
    let write = world
        .test
        .db
        .write(&caller, async |tx| tx.execute(sql, &[&tenant]).await);
    assert_eq!(write.await.unwrap(), 1, "{sql}");
}
