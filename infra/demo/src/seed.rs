//! The demo tenant's fixed rows: `infra/local/seed.sql` with what needs a key or a hash.

use crate::{Demo, Keys};
use anyhow::{Context, Result, anyhow};
use contacts::channel::Address;
use identity::Password;
use kernel::{Phone, Sealer};
use messaging::account::{Provider, provider_key};
use serde_json::Value;
use tokio_postgres::NoTls;

/// Puts the rows back as they were. `admin_url` is the administrator's of the local stack's database.
///
/// # Errors
/// When the database is away or refuses a row.
pub async fn seed(admin_url: &str) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(admin_url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let values = values(&Demo::load()?, &Keys::load()?.sealer()?)?.to_string();
    client
        .execute("SELECT set_config('demo.values', $1, false)", &[&values])
        .await?;
    client
        .batch_execute(include_str!("../../local/seed.sql"))
        .await
        .map_err(|error| {
            let detail = error.as_db_error().map(ToString::to_string);
            anyhow!(error).context(detail.unwrap_or_default())
        })?;
    drop(client);
    Ok(connection.await??)
}

/// demo.json, and beside each value that the database keeps sealed or hashed, that.
fn values(demo: &Demo, sealer: &Sealer) -> Result<Value> {
    let mut values = demo.0.clone();
    let tenant = demo.tenant()?;
    let sealed = |context: &str, plain: &str| -> Result<Value> {
        let sealed = sealer.seal(&format!("{tenant}/{context}"), plain.as_bytes());
        Ok(hex(&sealed.map_err(|error| anyhow!("{error:?}"))?.0).into())
    };
    let password = Password::claim(demo.text("/user/password")?).hash();
    values["user"]["password_hash"] = password.map_err(|error| anyhow!("{error:?}"))?.into();

    let phone = Phone::parse(demo.text("/contacts/layla/phone")?).context("the contact's phone is none")?;
    let layla = &mut values["contacts"]["layla"];
    layla["phone_sealed"] = sealed("contact_channels.value", phone.as_str())?;
    layla["phone_hash"] = hex(&Address::phone(&phone).hash(sealer, tenant)).into();
    layla["phone_masked"] = phone.masked().into();
    let peer = format!("whatsapp:{}", phone.as_str());
    let conversation = &mut values["conversation"];
    conversation["peer_sealed"] = sealed("conversations.peer", phone.as_str())?;
    conversation["peer_hash"] =
        hex(&sealer.lookup_hash(&format!("{tenant}/conversations.peer"), &peer)).into();

    for account in values["accounts"]
        .as_object_mut()
        .context("demo.json names no accounts")?
        .values_mut()
    {
        let number = account["display_phone_number"]
            .as_str()
            .and_then(Phone::from_provider);
        let number = number.context("an account without a number")?;
        let (provider, name) = match account["phone_number_id"].as_str() {
            Some(id) => (Provider::Meta, id),
            None => (
                Provider::Twilio,
                account["provider_account_id"].as_str().unwrap_or_default(),
            ),
        };
        account["provider_key"] = provider_key(provider, name, &number).into();
        account["provider"] = provider.as_str().into();
        account["credentials_sealed"] = sealed(
            "channel_accounts.credentials",
            &account["credentials"].to_string(),
        )?;
    }
    Ok(values)
}

fn hex(bytes: &[u8]) -> String {
    providers::signature::hex(bytes)
}
