//! What is known of a contact as a person: to hand out, or to erase (S18.5).

use crate::channel::seal_context;
use audit::gdpr::{self, Record, Traces};
use db::Tx;
use kernel::{Error, Limit, Result};
use serde_json::Value;
use uuid::Uuid;

// Also of an archived contact: it is the same person's data.
const NAME: &str =
    "SELECT concat_ws(' ', first_name, last_name) FROM contacts WHERE tenant_id = $1 AND id = $2";
const LOCK: &str =
    "SELECT concat_ws(' ', first_name, last_name) FROM contacts WHERE tenant_id = $1 AND id = $2 FOR UPDATE";

const PROFILE: &str = "SELECT c.id, to_jsonb(c) - '{tenant_id,name_norm}'::text[] AS data
    FROM contacts c WHERE c.tenant_id = $1 AND c.id = $2";

const CHANNELS: &str =
    "SELECT x.id, to_jsonb(x) - '{tenant_id,value_sealed,value_hash}'::text[] AS data, x.value_sealed
    FROM contact_channels x WHERE x.tenant_id = $1 AND x.contact_id = $2 ORDER BY x.id";

const ERASE: &str = "WITH names AS (
        DELETE FROM contact_names WHERE tenant_id = $1 AND contact_id = $2
    ), channels AS (
        DELETE FROM contact_channels WHERE tenant_id = $1 AND contact_id = $2
    )
    DELETE FROM contacts WHERE tenant_id = $1 AND id = $2 RETURNING archived_at IS NULL";

/// The contact's display name.
///
/// # Errors
/// 404 when the company has no such contact.
pub async fn name(tx: &Tx, id: Uuid) -> Result<String> {
    let row = tx.query_opt(NAME, &[&tx.tenant().0, &id]).await?;
    Ok(row.ok_or_else(Error::not_found)?.get(0))
}

/// As [`name`], and holds the contact until the transaction ends.
pub async fn lock(tx: &Tx, id: Uuid) -> Result<String> {
    let row = tx.query_opt(LOCK, &[&tx.tenant().0, &id]).await?;
    Ok(row.ok_or_else(Error::not_found)?.get(0))
}

/// The contact's own record.
pub async fn profile(tx: &Tx, id: Uuid) -> Result<Vec<Record>> {
    let rows = tx.query(PROFILE, &[&tx.tenant().0, &id]).await?;
    Ok(rows
        .iter()
        .map(|row| Record {
            id: row.get("id"),
            data: row.get("data"),
        })
        .collect())
}

/// How the contact is reached, in the clear, and what they agreed to.
pub async fn channels(tx: &Tx, id: Uuid) -> Result<Vec<Record>> {
    let context = seal_context(tx.tenant());
    let rows = tx.query(CHANNELS, &[&tx.tenant().0, &id]).await?;
    rows.iter()
        .map(|row| {
            let mut data: Value = row.get("data");
            data["value"] = tx.sealer().open_text(&context, row.get("value_sealed"))?.into();
            Ok(Record {
                id: row.get("id"),
                data,
            })
        })
        .collect()
}

/// The contact's channels, those that were deleted too: their audit lines tell of the contact.
pub async fn channel_ids(tx: &Tx, id: Uuid) -> Result<Vec<Uuid>> {
    gdpr::channels(tx, id).await
}

/// What the contact is recognised by elsewhere: the name, numbers and addresses.
///
/// # Errors
/// As [`channels`].
pub async fn trace(tx: &Tx, id: Uuid, name: String, traces: &mut Traces) -> Result<()> {
    let channels = channels(tx, id).await?;
    traces.recognise(name);
    for channel in &channels {
        traces.entities.push(channel.id);
        if let Some(value) = channel.data["value"].as_str() {
            traces.recognise(value.to_owned());
        }
    }
    traces.entities.extend(channel_ids(tx, id).await?);
    Ok(())
}

/// Removes the contact. What refers to it (conversations) is gone before. One that was not archived no
/// longer counts against `contacts.max`.
pub async fn erase(tx: &Tx, id: Uuid) -> Result<()> {
    let erased = tx.query_one(ERASE, &[&tx.tenant().0, &id]).await?;
    if erased.get(0) {
        entitlements::release(tx, Limit::ContactsMax, 1).await?;
    }
    Ok(())
}
