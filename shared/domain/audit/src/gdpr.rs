//! A person's data, to be handed out or erased (S18.5). Every domain crate has a `gdpr` module that
//! knows its own tables; this one has what they share, and the audit log.
//!
//! An erasure is one transaction, and then steps that may run again: objects in the bucket, and audit
//! lines that came meanwhile or were too many. `erasures` says which are not done with.

use crate::line::from_row;
use crate::log;
use db::Tx;
use jiff::SignedDuration;
use kernel::{Error, Result, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

/// How many records a page of an export holds.
pub const PAGE: i64 = 500;
/// How long after an erasure its last steps run once more: by then every export that was being
/// written when it began is finished.
pub const SETTLES_AFTER: SignedDuration = SignedDuration::from_mins(20);
/// Audit lines that one statement erases.
const BATCH: i32 = 1000;
/// Statements that a transaction has time for; what is left is found when the erasure settles.
const BATCHES: usize = 10;

// Each half walks an index in the order of the page. Where colleagues were when they acted is theirs.
const ABOUT: &str = "WITH found AS (
        SELECT line.id FROM unnest($2::uuid[]) AS entity CROSS JOIN LATERAL (
            SELECT a.id FROM audit_logs a WHERE a.tenant_id = $1 AND a.entity_id = entity AND a.id > $4
            ORDER BY a.id LIMIT $5) line
        UNION
        (SELECT a.id FROM audit_logs a WHERE a.tenant_id = $1 AND a.actor_user_id = $3 AND a.id > $4
         ORDER BY a.id LIMIT $5)
        ORDER BY id LIMIT $5
    )
    SELECT a.id, a.seq, a.action, a.entity_type, a.entity_id, a.before_data, a.after_data, a.actor, a.actor_user_id,
        CASE WHEN a.actor_user_id = $3 THEN a.ip END AS ip,
        CASE WHEN a.actor_user_id = $3 THEN a.user_agent END AS user_agent,
        a.request_id, a.created_at, a.hash, a.erased_at
    FROM found JOIN audit_logs a ON a.tenant_id = $1 AND a.id = found.id ORDER BY a.id";

const CHANNELS: &str = "SELECT DISTINCT channel FROM unnest($1::uuid[]) AS contact
    CROSS JOIN LATERAL app.audited_channels(contact) AS channel ORDER BY channel";

const ERASE: &str = "SELECT app.erase_audit_of($1, $2, $3, $4)";

const REMEMBER: &str =
    "INSERT INTO erasures (tenant_id, id, subject_type, subject_id, entity_ids, requested_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

const UNFINISHED: &str = "SELECT subject_type, subject_id, entity_ids FROM erasures
    WHERE tenant_id = $1 AND id = $2 AND finished_at IS NULL";

const FINISH: &str = "UPDATE erasures SET finished_at = $3 WHERE tenant_id = $1 AND id = $2";

/// Whose data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    User(Uuid),
    Contact(Uuid),
}

impl Person {
    #[must_use]
    pub fn id(self) -> Uuid {
        match self {
            Self::User(id) | Self::Contact(id) => id,
        }
    }

    /// `user` or `contact`: as in the audit log.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Contact(_) => "contact",
        }
    }

    /// The user who acts, when it is one.
    #[must_use]
    pub fn user_id(self) -> Option<Uuid> {
        match self {
            Self::User(id) => Some(id),
            Self::Contact(_) => None,
        }
    }
}

/// One record of an export. Pages go by its id.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: Uuid,
    pub data: Value,
}

/// What is known of the person while they are erased: each crate adds what it found and leaves it to
/// the next.
#[derive(Debug, Default)]
pub struct Traces {
    /// Records that were about the person: their audit lines are erased.
    pub entities: Vec<Uuid>,
    /// Names, numbers, addresses and ids that give a stored answer away; see [`Traces::recognise`].
    pub texts: Vec<String>,
    /// Providers' ids of messages to and from the person.
    pub provider_messages: Vec<String>,
}

impl Traces {
    /// Notes a text that gives the person away. A short one would give everybody away.
    pub fn recognise(&mut self, text: String) {
        if text.chars().count() >= 6 {
            self.texts.push(text);
        }
    }
}

/// Where exports of a company are kept, until they expire after a day.
#[must_use]
pub fn exports_of(tenant: TenantId) -> String {
    format!("exports/{tenant}/")
}

/// Audit lines about these records, and by this user. Of what others did it does not say from where.
pub async fn lines(tx: &Tx, entities: &[Uuid], actor: Option<Uuid>, after: Uuid) -> Result<Vec<Record>> {
    let params: db::Params<'_> = &[&tx.tenant().0, &entities, &actor, &after, &PAGE];
    let rows = tx.query(ABOUT, params).await?;
    rows.iter()
        .map(|row| {
            Ok(Record {
                id: row.get("id"),
                data: serde_json::to_value(from_row(row)).map_err(Error::internal)?,
            })
        })
        .collect()
}

/// The channels that these contacts ever had: the audit log still tells of those that are gone.
pub async fn channels(tx: &Tx, contacts: &[Uuid]) -> Result<Vec<Uuid>> {
    let rows = tx.query(CHANNELS, &[&contacts]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The last part of an erasure, after every crate has erased its own: stored answers, audit lines, and
/// the line that says so. Returns the erasure's id, for [`settle`].
pub async fn erase(tx: &Tx, person: Person, mut traces: Traces) -> Result<Uuid> {
    let (tenant, id, now) = (tx.tenant().0, tx.clock().id(), tx.clock().now());
    traces.entities.push(person.id());
    traces.texts.push(person.id().to_string());
    tx.forget_answers(&traces.texts).await?;
    let told = json!({ "erasure_id": id });
    // Before the audit lines are erased: who erases themselves leaves no address here either.
    log::record(tx, "gdpr.erased", person.kind(), Some(person.id()), &told).await?;
    erase_lines(tx, person, &traces.entities).await?;
    let params: db::Params<'_> = &[&tenant, &id, &person.kind(), &person.id(), &traces.entities, &now];
    tx.execute(REMEMBER, params).await?;
    Ok(id)
}

/// Erases what is left, and finishes the erasure when nothing is. False when there is more; true also
/// when it was finished before.
pub async fn settle(tx: &Tx, id: Uuid) -> Result<bool> {
    let tenant = tx.tenant().0;
    let Some(row) = tx.query_opt(UNFINISHED, &[&tenant, &id]).await? else {
        return Ok(true);
    };
    let (kind, subject): (&str, Uuid) = (row.get(0), row.get(1));
    let person = match kind {
        "user" => Person::User(subject),
        _ => Person::Contact(subject),
    };
    if !erase_lines(tx, person, &row.get::<_, Vec<Uuid>>(2)).await? {
        return Ok(false);
    }
    tx.execute(FINISH, &[&tenant, &id, &tx.clock().now()]).await?;
    Ok(true)
}

/// Whether nothing is left.
async fn erase_lines(tx: &Tx, person: Person, entities: &[Uuid]) -> Result<bool> {
    let actors: Vec<Uuid> = person.user_id().into_iter().collect();
    for _ in 0..BATCHES {
        let params: db::Params<'_> = &[&entities, &actors, &tx.clock().now(), &BATCH];
        if tx.query_one(ERASE, params).await?.get::<_, i64>(0) == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
