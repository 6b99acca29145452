//! Database round trips of a warm request: its time over a network that takes 10 ms each way.

use crate::http::{Connection, request};
use crate::load::median;
use crate::table::{Table, Target};
use crate::{Bench, data, proxy};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

const ONE_WAY: Duration = Duration::from_millis(10);

pub async fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let far = proxy::start(bench.server.port(), ONE_WAY)?;
    let settings = bench.server.app_settings(&bench.lonely, Some(far), 1);
    let (_contacts, port) = bench.serve("contacts", Some(settings.clone()), json!({}))?;
    let mut client = Client {
        connection: Connection::open(port)?,
        token: data::token(1)?,
        serial: 0,
    };
    let first = client.ask("GET", "/v1/contacts", None, &Value::Null)?.1;
    let contact = format!(
        "/v1/contacts/{}",
        first["data"][0]["id"].as_str().unwrap_or_default()
    );

    let list = client.trips(|client| client.ask("GET", "/v1/contacts", None, &Value::Null))?;
    row(table, "list of contacts", 2.0, list);
    let get = client.trips(|client| client.ask("GET", &contact, None, &Value::Null))?;
    row(table, "get of a contact", 2.0, get);
    let create = client.trips(|client| client.create(None))?;
    row(table, "create of a contact", 3.0, create);
    let create = client.trips(|client| client.create(Some("Idempotency-Key")))?;
    row(table, "create with an Idempotency-Key", 3.0, create);
    let patch = client.trips(|client| {
        client.serial += 1;
        client.ask(
            "PATCH",
            &contact,
            None,
            &json!({ "job_title": format!("Job {}", client.serial) }),
        )
    })?;
    row(table, "patch of a contact", 3.0, patch);

    let admin = client.token.clone();
    client.token = member(bench).await?;
    let list = client.trips(|client| client.ask("GET", "/v1/contacts", None, &Value::Null))?;
    row(table, "list of contacts, by a role that a group gives", 2.0, list);
    let (_admin, port) = bench.serve("admin", Some(settings.clone()), json!({}))?;
    client.connection = Connection::open(port)?;
    let create = client.trips(Client::create_group)?;
    row(
        table,
        "create of a group, which the plan includes, by a role that a group gives",
        3.0,
        create,
    );
    client.token = admin;

    let account = crate::intake::account(bench, &bench.lonely).await?;
    let (_messaging, port) = bench.serve("messaging", Some(settings), json!({ "account": account }))?;
    client.connection = Connection::open(port)?;
    client.ask("POST", "/bench/inbound", None, &Value::Null)?;
    let listed = client.ask("GET", "/v1/conversations", None, &Value::Null)?.1;
    let messages = format!(
        "/v1/conversations/{}/messages",
        listed["data"][0]["id"].as_str().unwrap_or_default()
    );
    let reply = client.trips(|client| client.ask("POST", &messages, None, &json!({ "body": "Hello" })))?;
    row(table, "reply in a conversation", 3.0, reply);
    Ok(())
}

/// An access token of somebody in the lonely tenant who has the role of an administrator through a group
/// alone. The tenant may have any number of groups: each run makes some.
async fn member(bench: &Bench) -> Result<String> {
    let admin = bench.server.admin(&bench.lonely).await?;
    let tenant = data::tenant(1).0;
    let [user, session, group] = [0x01_9001, 0x01_9002, 0x01_9003].map(Uuid::from_u128);
    admin
        .batch_execute(&format!(
            "SELECT set_config('app.current_tenant_id', '{tenant}', false);
             INSERT INTO entitlement_overrides (tenant_id, scope, scope_id, code, created_at, updated_at)
             VALUES ('{tenant}', 'tenant', '{tenant}', 'groups.max', now(), now()) ON CONFLICT DO NOTHING;
             INSERT INTO users (tenant_id, id, email, email_norm, full_name, email_verified_at)
             VALUES ('{tenant}', '{user}', 'member@bench.invalid', 'member@bench.invalid', 'Member', now()) ON CONFLICT DO NOTHING;
             INSERT INTO sessions (tenant_id, id, user_id, created_at, last_used_at, expires_at)
             VALUES ('{tenant}', '{session}', '{user}', now(), now(), now() + interval '30 days') ON CONFLICT DO NOTHING;
             INSERT INTO groups (tenant_id, id, code, name, created_at, updated_at)
             VALUES ('{tenant}', '{group}', 'bench', 'Bench', now(), now()) ON CONFLICT DO NOTHING;
             INSERT INTO group_roles (tenant_id, group_id, role_id, created_at)
             SELECT '{tenant}', '{group}', id, now() FROM roles WHERE code = 'admin' AND tenant_id IS NULL ON CONFLICT DO NOTHING;
             INSERT INTO group_members (tenant_id, group_id, user_id, added_at)
             VALUES ('{tenant}', '{group}', '{user}', now()) ON CONFLICT DO NOTHING"
        ))
        .await?;
    bench::token(tenant, user, session)
}

fn row(table: &mut Table, what: &str, most: f64, trips: f64) {
    let detail = "elapsed ÷ 20 ms, less the part of a trip that the work itself takes";
    table.add(
        format!("round trips: {what}"),
        Target::AtMost(most),
        trips,
        "",
        detail,
    );
}

struct Client {
    connection: Connection,
    token: String,
    serial: u32,
}

impl Client {
    /// The trips of a warm request. The rest of the time, less than half a trip, is work.
    fn trips(&mut self, ask: impl Fn(&mut Self) -> Result<(Duration, Value)>) -> Result<f64> {
        for _ in 0..3 {
            ask(self)?;
        }
        let times = (0..7).map(|_| ask(self)).collect::<Result<Vec<_>>>()?;
        let trips = median(times.iter().map(|(time, _)| time.as_secs_f64())) / (2.0 * ONE_WAY.as_secs_f64());
        crate::complain(&format!("    {trips:.3} trips with the work"));
        Ok(trips.round())
    }

    fn create(&mut self, key: Option<&str>) -> Result<(Duration, Value)> {
        self.serial += 1;
        let key = key.map(|_| format!("key-{}-{}", std::process::id(), self.serial));
        let body = json!({ "first_name": "Mona", "channels": [{ "type": "phone", "value": data::phone(1, self.serial) }] });
        self.ask("POST", "/v1/contacts", key.as_deref(), &body)
    }

    fn create_group(&mut self) -> Result<(Duration, Value)> {
        self.serial += 1;
        let name = format!("Group {} {}", std::process::id(), self.serial);
        self.ask("POST", "/v1/admin/groups", None, &json!({ "name": name }))
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<(Duration, Value)> {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = request(method, path, &headers, body.as_bytes());
        let sent = Instant::now();
        let answer = self.connection.ask(&request)?;
        let took = sent.elapsed();
        if answer.status() >= 300 {
            bail!("{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        }
        Ok((took, serde_json::from_slice(&answer.body).unwrap_or_default()))
    }
}
