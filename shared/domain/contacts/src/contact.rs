//! The contact: what it is, and its SQL. What clients send of it is in `body`, a page of them in `list`.

mod body;
mod list;

pub use body::{CreateContact, NewContact, UpdateContact};
pub use list::{ContactFilter, SORTS, list};

use crate::channel::{self, Address, Channel, NewChannel};
use crate::lifecycle::{LifecycleStage, Source};
use crate::owner;
use audit::event;
use db::{Row, Tx};
use futures::future::try_join3;
use jiff::Timestamp;
use kernel::{Code, Error, Limit, Phone, Result, text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// A person that the company sells to, or may (S3.3).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    pub id: Uuid,
    pub first_name: String,
    pub last_name: Option<String>,
    pub job_title: Option<String>,
    pub lifecycle_stage: LifecycleStage,
    pub source: Source,
    pub owner_user_id: Option<Uuid>,
    pub channels: Vec<Channel>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.first_name, c.last_name, c.name_norm, c.job_title, c.lifecycle_stage, c.source, c.owner_user_id,
                    c.created_at, c.updated_at, ch.*
             FROM contacts c LEFT JOIN LATERAL (
                 SELECT array_agg(o.id) AS channel_ids, array_agg(o.type) AS channel_types,
                        array_agg(o.value_sealed) AS channel_values, array_agg(o.is_primary) AS channel_primary,
                        array_agg(o.opt_in) AS channel_opt_in, array_agg(o.verified_at) AS channel_verified
                 FROM (SELECT * FROM contact_channels x
                       WHERE x.tenant_id = c.tenant_id AND x.contact_id = c.id ORDER BY x.id) o
             ) ch ON true",
            $rest
        )
    };
}

const LIST: &str = select!("");
const FIND: &str = select!(" WHERE c.tenant_id = $1 AND c.id = $2 AND c.archived_at IS NULL");
const LOCK: &str = select!(" WHERE c.tenant_id = $1 AND c.id = $2 AND c.archived_at IS NULL FOR UPDATE OF c");

const INSERT: &str = "WITH contact AS (
         INSERT INTO contacts (tenant_id, id, first_name, last_name, name_norm, job_title, lifecycle_stage, source,
                               owner_user_id, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
     ), names AS (
         INSERT INTO contact_names (tenant_id, word, contact_id) SELECT $1, word, $2 FROM unnest($11::text[]) AS word
     ), channels AS (
         INSERT INTO contact_channels (tenant_id, contact_id, created_at, id, type, value_sealed, value_hash,
                                       value_masked, claims_value, is_primary, opt_in, opt_in_source)
         SELECT $1, $2, $10, new.* FROM unnest($12::uuid[], $13::text[], $14::bytea[], $15::bytea[], $16::text[],
                                               $17::boolean[], $18::boolean[], $19::boolean[], $20::text[]) AS new
         ON CONFLICT (tenant_id, value_hash) WHERE claims_value DO NOTHING
         RETURNING 1
     )
     SELECT count(*) FROM channels";

const CLAIMED_BY: &str = "SELECT value_hash, contact_id FROM contact_channels
     WHERE tenant_id = $1 AND value_hash = ANY ($2) AND claims_value";

const UPDATE: &str = "UPDATE contacts SET first_name = $3, last_name = $4, name_norm = $5, job_title = $6, lifecycle_stage = $7,
            owner_user_id = $8, updated_at = $9
     WHERE tenant_id = $1 AND id = $2";

const REPLACE_NAMES: &str = "WITH gone AS (
         DELETE FROM contact_names WHERE tenant_id = $1 AND contact_id = $2 AND word <> ALL ($3)
     )
     INSERT INTO contact_names (tenant_id, word, contact_id) SELECT $1, word, $2 FROM unnest($3::text[]) AS word
     ON CONFLICT DO NOTHING";

const WAIT_FOR_ADDRESS: &str = "SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 0))";
const ARCHIVE: &str = "WITH freed AS (
         UPDATE contact_channels SET claims_value = false WHERE tenant_id = $1 AND contact_id = $2 AND claims_value
     )
     UPDATE contacts SET archived_at = $3, updated_at = $3 WHERE tenant_id = $1 AND id = $2 AND archived_at IS NULL";

/// Makes a contact, or says which one has its phone or e-mail already.
///
/// # Errors
/// 409 `DUPLICATE` naming the other contact; 404 when the owner is not an active user of the company;
/// 422 `LIMIT_REACHED` when the plan holds no more contacts.
pub async fn insert(tx: &Tx, new: &NewContact) -> Result<Contact> {
    let (id, now) = (tx.clock().id(), tx.clock().now());
    let counted = entitlements::consume(tx, Limit::ContactsMax, 1);
    let channels = insert_row(tx, id, new, now, counted).await?;
    let channels = new
        .channels
        .iter()
        .zip(channels.ids)
        .map(|(channel, id)| channel.stored(id))
        .collect();
    Ok(Contact {
        id,
        first_name: new.first_name.clone(),
        last_name: new.last_name.clone(),
        job_title: new.job_title.clone(),
        lifecycle_stage: new.lifecycle_stage,
        source: new.source,
        owner_user_id: new.owner_user_id,
        channels,
        created_at: now,
        updated_at: now,
    })
}

async fn insert_row(
    tx: &Tx,
    id: Uuid,
    new: &NewContact,
    now: Timestamp,
    counted: impl Future<Output = Result<()>>,
) -> Result<channel::Columns> {
    let tenant = tx.tenant();
    let columns = NewChannel::columns(&new.channels, tx.sealer(), tenant, || tx.clock().id())?;
    let full_name = full_name(&new.first_name, new.last_name.as_deref());
    let (sort_key, words) = (text::sort_key(&full_name), text::search_words(&full_name));
    let params: [&(dyn db::ToSql + Sync); 20] = [
        &tenant.0,
        &id,
        &new.first_name,
        &new.last_name,
        &sort_key,
        &new.job_title,
        &new.lifecycle_stage.as_str(),
        &new.source.as_str(),
        &new.owner_user_id,
        &now,
        &words,
        &columns.ids,
        &columns.types,
        &columns.sealed,
        &columns.hashes,
        &columns.masked,
        &columns.claims,
        &columns.primary,
        &columns.opt_in,
        &columns.opt_in_sources,
    ];
    let created = json!({ "source": new.source });
    let (held, inserted, (), ()) = futures::try_join!(
        owner::hold(tx, new.owner_user_id),
        tx.query_one(INSERT, &params),
        event::publish(tx, "contact.created", id, &created),
        counted
    )?;
    if !held {
        return Err(Error::not_found());
    }
    if inserted.get::<_, i64>(0) == i64::try_from(columns.ids.len()).unwrap_or(i64::MAX) {
        return Ok(columns);
    }
    Err(duplicate(tx, &columns).await?)
}

async fn duplicate(tx: &Tx, columns: &channel::Columns) -> Result<Error> {
    let owners = tx.query(CLAIMED_BY, &[&tx.tenant().0, &columns.hashes]).await?;
    let conflicts: Vec<_> = owners
        .iter()
        .filter_map(|row| {
            let (hash, contact_id): (&[u8], Uuid) = (row.get(0), row.get(1));
            let at = columns.hashes.iter().position(|known| known == hash)?;
            Some(json!({ "path": format!("channels[{at}].value"), "contact_id": contact_id }))
        })
        .collect();
    let contact_id = conflicts.first().map(|conflict| conflict["contact_id"].clone());
    Ok(Error::new(
        Code::Duplicate,
        "Another contact has this phone number or e-mail address.",
    )
    .with_details(json!({ "contact_id": contact_id, "conflicts": conflicts })))
}

/// # Errors
/// 404 when the company has no such contact.
pub async fn find(tx: &Tx, id: Uuid) -> Result<Contact> {
    let row = tx
        .query_opt(FIND, &[&tx.tenant().0, &id])
        .await?
        .ok_or_else(Error::not_found)?;
    from_row(tx, &row)
}

/// As [`find`], and holds the row until the transaction ends, and with it the user whose the change
/// makes the contact.
///
/// # Errors
/// As [`find`]; 404 also when the new owner is not an active user of the company.
pub async fn find_for_update(tx: &Tx, id: Uuid, change: &UpdateContact) -> Result<Contact> {
    let params: [&(dyn db::ToSql + Sync); 2] = [&tx.tenant().0, &id];
    let (held, row) = futures::try_join!(
        owner::hold(tx, change.owner_user_id.value().copied()),
        tx.query_opt(LOCK, &params)
    )?;
    let contact = from_row(tx, &row.ok_or_else(Error::not_found)?)?;
    owner::check(&change.owner_user_id, contact.owner_user_id, held).map(|()| contact)
}

/// Writes a changed contact, as [`UpdateContact::apply`] made it from the one that
/// [`find_for_update`] read.
///
/// # Errors
/// As the database fails.
pub async fn update(tx: &Tx, contact: &Contact) -> Result<()> {
    let tenant = tx.tenant().0;
    let full_name = full_name(&contact.first_name, contact.last_name.as_deref());
    let (sort_key, words) = (text::sort_key(&full_name), text::search_words(&full_name));
    let params: [&(dyn db::ToSql + Sync); 9] = [
        &tenant,
        &contact.id,
        &contact.first_name,
        &contact.last_name,
        &sort_key,
        &contact.job_title,
        &contact.lifecycle_stage.as_str(),
        &contact.owner_user_id,
        &contact.updated_at,
    ];
    let payload = json!({});
    try_join3(
        tx.execute(UPDATE, &params),
        tx.execute(REPLACE_NAMES, &[&tenant, &contact.id, &words]),
        event::publish(tx, "contact.updated", contact.id, &payload),
    )
    .await
    .map(drop)
}

/// Takes a contact out of every list and frees its phone and e-mail for another. Conversations
/// keep referring to it.
///
/// # Errors
/// 404 when the company has no such contact.
pub async fn archive(tx: &Tx, id: Uuid) -> Result<()> {
    let (payload, tenant, now) = (json!({}), tx.tenant().0, tx.clock().now());
    let params: [&(dyn db::ToSql + Sync); 3] = [&tenant, &id, &now];
    let (archived, (), ()) = futures::try_join!(
        tx.execute(ARCHIVE, &params),
        event::publish(tx, "contact.deleted", id, &payload),
        entitlements::release(tx, Limit::ContactsMax, 1),
    )?;
    if archived == 0 {
        Err(Error::not_found())
    } else {
        Ok(())
    }
}

/// The contact that a phone number belongs to; a new one when it is nobody's. Two at once find the
/// same contact.
///
/// # Errors
/// As the database fails.
pub async fn find_or_create_by_phone(
    tx: &Tx,
    phone: &Phone,
    profile_name: Option<&str>,
    now: Timestamp,
) -> Result<Uuid> {
    let address = Address::phone(phone);
    let hash = address.hash(tx.sealer(), tx.tenant());
    let claimed = async || -> Result<Option<Uuid>> {
        let row = tx
            .query_opt(CLAIMED_BY, &[&tx.tenant().0, &vec![hash.clone()]])
            .await?;
        Ok(row.map(|row| row.get(1)))
    };
    if let Some(contact_id) = claimed().await? {
        return Ok(contact_id);
    }
    // Whoever asks for the same number waits here until the contact of the first is committed.
    tx.execute(WAIT_FOR_ADDRESS, &[&hash]).await?;
    if let Some(contact_id) = claimed().await? {
        return Ok(contact_id);
    }
    let new = NewContact::from_inbound(phone, profile_name);
    let id = tx.clock().id();
    // Counted, and never refused: what somebody wrote to us is not lost because the plan is full.
    insert_row(tx, id, &new, now, entitlements::count(tx, Limit::ContactsMax, 1)).await?;
    Ok(id)
}

fn full_name(first_name: &str, last_name: Option<&str>) -> String {
    format!("{first_name} {}", last_name.unwrap_or(""))
        .trim_end()
        .to_owned()
}

fn from_row(tx: &Tx, row: &Row) -> Result<Contact> {
    read(row, tx.sealer(), tx.tenant())
}

fn read(row: &Row, sealer: &kernel::Sealer, tenant: kernel::TenantId) -> Result<Contact> {
    Ok(Contact {
        id: row.get("id"),
        first_name: row.get("first_name"),
        last_name: row.get("last_name"),
        job_title: row.get("job_title"),
        lifecycle_stage: LifecycleStage::from_column(row.get("lifecycle_stage")),
        source: Source::from_column(row.get("source")),
        owner_user_id: row.get("owner_user_id"),
        channels: channel::from_row(row, sealer, tenant)?,
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}
