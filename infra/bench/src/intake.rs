//! Webhook intake: the edge, which writes to a queue, beside handlers that write to Postgres.

use crate::http::request;
use crate::load::{self, median};
use crate::table::{Table, Target};
use crate::{Bench, POOL, data, start_server};
use anyhow::{Result, ensure};
use aws_lc_rs::hmac;
use bench::{APP_SECRET, PHONE_NUMBER_ID};
use cloud::{Cloud, EdgeAccount, EdgeSecret};
use config::Env;
use kernel::{Clock, Secret};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

const TIME: Duration = Duration::from_millis(800);
const CONNECTIONS: usize = 16;

pub async fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let (tenant, account) = account(bench, &bench.lonely).await?;
    publish(bench, account).await?;
    let settings = bench.server.app_settings(&bench.lonely, None, POOL);
    let owner = json!({ "account": (tenant, account) });
    let (_edge, edge) = bench.serve("webhooks", None, json!({}))?;
    let (_rows, rows) = start_server("bench-minimal", json!({ "database": settings }), owner.clone())?;
    let (_full, full) = bench.serve("messaging", Some(settings), owner)?;
    let (webhook, inbound) = (webhook(), request("POST", "/bench/inbound", &[], b""));
    let rate = |port: u16, bytes: &Vec<u8>| -> Result<f64> {
        Ok(load::round(port, CONNECTIONS, TIME, 200, &|_| bytes.clone())?.rate())
    };
    for durable in [true, false] {
        bench.server.durable(durable).await?;
        let mut rates = Vec::new();
        for number in 0..=bench.rounds {
            let round = (
                rate(edge, &webhook)?,
                rate(rows, &webhook)?,
                rate(full, &inbound)?,
            );
            if number > 0 {
                rates.push(round);
            }
        }
        let of = |figure: fn(&(f64, f64, f64)) -> f64| median(rates.iter().map(figure));
        let (edge, rows, full) = (of(|rate| rate.0), of(|rate| rate.1), of(|rate| rate.2));
        let commit = if durable {
            "commits wait for the disk"
        } else {
            "commits do not wait for the disk"
        };
        let what = format!("webhook intake ÷ the message written through Postgres, {commit}");
        table.add(
            what,
            Target::AtLeast(10.0),
            of(|rate| rate.0 / rate.2),
            "×",
            format!("{edge:.0} ÷ {full:.0} a second"),
        );
        let what = format!("webhook intake ÷ two bare rows through Postgres, {commit}");
        table.add(
            what,
            Target::None,
            of(|rate| rate.0 / rate.1),
            "×",
            format!("{edge:.0} ÷ {rows:.0} a second"),
        );
    }
    without_database(bench, edge, &webhook, table).await
}

/// The edge works, and holds no connection, while no database can be connected to.
async fn without_database(bench: &Bench, edge: u16, webhook: &[u8], table: &mut Table) -> Result<()> {
    let admin = bench.server.admin("postgres").await?;
    admin.batch_execute("ALTER ROLE m3_app NOLOGIN").await?;
    admin
        .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'm3_app'")
        .await?;
    let round = load::round(edge, CONNECTIONS, TIME, 200, &|_| webhook.to_vec());
    let connected = admin
        .query_one(
            "SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'm3_app'",
            &[],
        )
        .await;
    admin.batch_execute("ALTER ROLE m3_app LOGIN").await?;
    let connected: i32 = connected?.get(0);
    let detail = format!(
        "{:.0} a second were accepted while nobody could log in to Postgres",
        round?.rate()
    );
    table.add(
        "database connections of webhook intake",
        Target::AtMost(0.0),
        f64::from(connected),
        "",
        detail,
    );
    Ok(())
}

/// A WhatsApp account of the first tenant in this database: the tenant and the account.
pub async fn account(bench: &Bench, database: &str) -> Result<(Uuid, Uuid)> {
    let admin = bench.server.admin(database).await?;
    let (tenant, id) = (data::tenant(1).0, Uuid::from_u128(0x01_9000));
    let insert = "INSERT INTO channel_accounts (tenant_id, id, channel, provider, provider_account_id, provider_key,
                                                display_phone_number, credentials_sealed, created_at, updated_at)
        VALUES ($1, $2, 'whatsapp', 'meta', 'bench', $3, '+201000000000', '', now(), now()) ON CONFLICT DO NOTHING";
    admin
        .batch_execute(&format!(
            "SELECT set_config('app.current_tenant_id', '{tenant}', false)"
        ))
        .await?;
    admin.execute(insert, &[&tenant, &id, &PHONE_NUMBER_ID]).await?;
    Ok((tenant, id))
}

/// Makes the account known to the edge.
async fn publish(bench: &Bench, account_id: Uuid) -> Result<()> {
    let env = Env::from_pairs([
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "bench"),
        ("AWS_ENDPOINT_URL", &bench.aws),
    ]);
    let accounts = Cloud::connect(&env)?.accounts("state", bench::sealer()?, Clock::system());
    let secret = EdgeSecret::Meta {
        app_secret: Secret::new(APP_SECRET.to_owned()),
        verify_token: Secret::new("bench".to_owned()),
    };
    let account = EdgeAccount {
        tenant: data::tenant(1),
        account_id,
        provider_key: PHONE_NUMBER_ID.to_owned(),
        secret,
        updated_at: Clock::system().now(),
    };
    accounts.put(&account).await?;
    ensure!(
        accounts.find(cloud::Provider::Meta, PHONE_NUMBER_ID).await?.len() == 1,
        "the edge does not know the account"
    );
    Ok(())
}

/// A signed webhook of Meta's with one text message.
fn webhook() -> Vec<u8> {
    let message = json!({
        "from": "201001234567", "id": "wamid.HBgMMjAxMDAxMjM0NTY3", "timestamp": "1767225600", "type": "text",
        "text": { "body": "Is the apartment on the third floor still free?" },
    });
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "201000000000", "phone_number_id": PHONE_NUMBER_ID },
        "contacts": [{ "profile": { "name": "Mona" }, "wa_id": "201001234567" }],
        "messages": [message],
    });
    let body: Value = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "bench", "changes": [{ "field": "messages", "value": value }] }],
    });
    let body = body.to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, APP_SECRET.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let hex = tag
        .as_ref()
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let headers = [
        ("content-type", "application/json"),
        ("x-hub-signature-256", &format!("sha256={hex}")),
    ];
    request("POST", "/v1/webhooks/meta", &headers, body.as_bytes())
}
