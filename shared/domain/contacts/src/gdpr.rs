//! What is known of a contact as a person: to hand out, or to erase (S18.5).

use crate::channel::seal_context;
use audit::gdpr::{self, Record, Traces};
use db::Tx;
use kernel::{Error, Limit, Result};
use serde_json::Value;
use uuid::Uuid;

// Whoever was deleted and came back has several records: this one, and those in the archive that share an
// address with it, or with another of them. No route shows those any more, so nobody else would find them.
const RECORDS: &str = "WITH RECURSIVE same AS (
        SELECT $2::uuid AS id
        UNION
        SELECT other.contact_id FROM same
        JOIN contact_channels own ON own.tenant_id = $1 AND own.contact_id = same.id
        JOIN contact_channels other ON other.tenant_id = $1 AND other.value_hash = own.value_hash
        JOIN contacts archived ON archived.tenant_id = $1 AND archived.id = other.contact_id
             AND archived.archived_at IS NOT NULL
    )
    SELECT c.id, concat_ws(' ', c.first_name, c.last_name) FROM contacts c
    WHERE c.tenant_id = $1 AND c.id IN (SELECT id FROM same) ORDER BY c.id";
const LOCK: &str = "SELECT id FROM contacts WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY id FOR UPDATE";

const PROFILE: &str = "SELECT c.id, to_jsonb(c) - '{tenant_id,name_norm}'::text[] AS data
    FROM contacts c WHERE c.tenant_id = $1 AND c.id = ANY ($2) ORDER BY c.id";

const CHANNELS: &str =
    "SELECT x.id, to_jsonb(x) - '{tenant_id,value_sealed,value_hash}'::text[] AS data, x.value_sealed
    FROM contact_channels x WHERE x.tenant_id = $1 AND x.contact_id = ANY ($2) ORDER BY x.id";

const ERASE: &str = "WITH names AS (
        DELETE FROM contact_names WHERE tenant_id = $1 AND contact_id = ANY ($2)
    ), channels AS (
        DELETE FROM contact_channels WHERE tenant_id = $1 AND contact_id = ANY ($2)
    )
    DELETE FROM contacts WHERE tenant_id = $1 AND id = ANY ($2) RETURNING archived_at IS NULL";

/// The records of one person.
pub struct Records {
    pub ids: Vec<Uuid>,
    /// What the contact that was asked for is called.
    pub name: String,
    /// What each of them is called.
    names: Vec<String>,
}

/// The contact's records; also of one in the archive: it is the same person's data.
///
/// # Errors
/// 404 when the company has no such contact.
pub async fn records(tx: &Tx, id: Uuid) -> Result<Records> {
    let rows = tx.query(RECORDS, &[&tx.tenant().0, &id]).await?;
    let found = rows.iter().find(|row| row.get::<_, Uuid>(0) == id);
    Ok(Records {
        name: found.ok_or_else(Error::not_found)?.get(1),
        ids: rows.iter().map(|row| row.get(0)).collect(),
        names: rows.iter().map(|row| row.get(1)).collect(),
    })
}

/// As [`records`], and holds them until the transaction ends.
///
/// # Errors
/// As [`records`].
pub async fn lock(tx: &Tx, id: Uuid) -> Result<Records> {
    let mut held: Vec<Uuid> = Vec::new();
    loop {
        // Somebody may have archived another while this waited.
        let records = records(tx, id).await?;
        if records.ids == held {
            return Ok(records);
        }
        let rows = tx.query(LOCK, &[&tx.tenant().0, &records.ids]).await?;
        held = rows.iter().map(|row| row.get(0)).collect();
    }
}

/// These records themselves.
pub async fn profile(tx: &Tx, ids: &[Uuid]) -> Result<Vec<Record>> {
    let rows = tx.query(PROFILE, &[&tx.tenant().0, &ids]).await?;
    Ok(rows
        .iter()
        .map(|row| Record {
            id: row.get("id"),
            data: row.get("data"),
        })
        .collect())
}

/// How the person is reached, in the clear, and what they agreed to.
pub async fn channels(tx: &Tx, ids: &[Uuid]) -> Result<Vec<Record>> {
    let context = seal_context(tx.tenant());
    let rows = tx.query(CHANNELS, &[&tx.tenant().0, &ids]).await?;
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

/// The channels of these records, those that were deleted too: their audit lines tell of the person.
pub async fn channel_ids(tx: &Tx, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    gdpr::channels(tx, ids).await
}

/// What the person is recognised by elsewhere: names, numbers and addresses.
///
/// # Errors
/// As [`channels`].
pub async fn trace(tx: &Tx, records: &Records, traces: &mut Traces) -> Result<()> {
    traces.entities.extend(&records.ids);
    for name in &records.names {
        traces.recognise(name.clone());
    }
    for channel in &channels(tx, &records.ids).await? {
        traces.entities.push(channel.id);
        if let Some(value) = channel.data["value"].as_str() {
            traces.recognise(value.to_owned());
        }
    }
    traces.entities.extend(channel_ids(tx, &records.ids).await?);
    Ok(())
}

/// Removes the records. What refers to them (conversations) is gone before. One that was not archived no
/// longer counts against `contacts.max`.
pub async fn erase(tx: &Tx, ids: &[Uuid]) -> Result<()> {
    let erased = tx.query(ERASE, &[&tx.tenant().0, &ids]).await?;
    let counted = erased.iter().filter(|row| row.get(0)).count();
    let counted = u32::try_from(counted).map_err(Error::internal)?;
    entitlements::release(tx, Limit::ContactsMax, counted).await
}
