//! What providers report of deliveries, in any order and also before our own write.
//!
//! Reports are kept, and a delivery's status is worked out from all of them, so their order does
//! not matter. A report and the sender's own record of the same message each look for the other's
//! row; [`lock`] makes one wait for the other, or each could miss the other's uncommitted row.

use db::Tx;
use jiff::Timestamp;
use kernel::Result;
use std::collections::HashSet;
use uuid::Uuid;

const LOCK: &str = "SELECT pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(concat_ws('/', 'delivery', $1::uuid, $2::text, id), 0) AS key
        FROM unnest($3::text[]) AS id ORDER BY key) ordered";

/// An erasure waits here, or is waited for.
const HOLD: &str = "SELECT id, recipient_sealed = '' AND provider_message_id IS NULL FROM messages_outbox
    WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY id FOR UPDATE";

const INSERT: &str = "INSERT INTO delivery_reports
    (tenant_id, provider, provider_message_id, status, occurred_at, error_code, error_title, created_at)
    SELECT $1, $2, told.* , $8 FROM unnest($3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[]) AS told
    ON CONFLICT (tenant_id, provider, provider_message_id, status) DO NOTHING";

const LINK: &str = "UPDATE messages_outbox o SET provider_message_id = told.provider_message_id, provider = $2
    FROM unnest($3::uuid[], $4::text[]) AS told (id, provider_message_id)
    WHERE o.tenant_id = $1 AND o.id = told.id AND o.provider_message_id IS NULL AND coalesce(o.provider, $2) = $2";

const SETTLE: &str = "WITH told AS (
        SELECT r.provider_message_id, max(app.delivery_rank(r.status)) AS rank,
               min(r.occurred_at) FILTER (WHERE r.status = 'sent') AS sent_at,
               min(r.occurred_at) FILTER (WHERE r.status IN ('delivered', 'read')) AS delivered_at,
               min(r.occurred_at) FILTER (WHERE r.status = 'failed') AS failed_at,
               min(r.error_code) AS error_code, min(r.error_title) AS error_title
        FROM delivery_reports r
        WHERE r.tenant_id = $1 AND r.provider = $2 AND r.provider_message_id = ANY($3)
        GROUP BY r.provider_message_id
    ), found AS (
        SELECT o.id, told.*,
               told.rank > CASE WHEN o.status = 'failed' AND o.error_code = 'UNCONFIRMED'
                                THEN app.delivery_rank('sending') ELSE app.delivery_rank(o.status) END AS moved
        FROM messages_outbox o JOIN told USING (provider_message_id)
        WHERE o.tenant_id = $1 AND o.provider = $2 FOR UPDATE OF o
    )
    UPDATE messages_outbox o SET
        status = CASE WHEN NOT moved THEN o.status
                      WHEN found.rank >= app.delivery_rank('delivered') THEN 'delivered'
                      WHEN found.rank >= app.delivery_rank('failed') THEN 'failed'
                      ELSE 'sent' END,
        sent_at = coalesce(o.sent_at, found.sent_at),
        delivered_at = coalesce(o.delivered_at, found.delivered_at),
        failed_at = CASE WHEN moved THEN found.failed_at ELSE o.failed_at END,
        error_code = CASE WHEN NOT moved THEN o.error_code
                          WHEN found.rank = app.delivery_rank('failed') THEN found.error_code END,
        error_title = CASE WHEN NOT moved THEN o.error_title
                           WHEN found.rank = app.delivery_rank('failed') THEN found.error_title END
    FROM found WHERE o.tenant_id = $1 AND o.id = found.id RETURNING o.id";

/// How far the provider says a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Sent,
    Delivered,
    Read,
    Failed,
}

impl Status {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }
}

/// One report of one message of ours.
#[derive(Clone, Debug)]
pub struct Report {
    pub provider_message_id: String,
    pub status: Status,
    /// By the provider's clock.
    pub occurred_at: Timestamp,
    /// The provider's code and short text of a failure.
    pub error: Option<(String, String)>,
    /// The delivery's own id, where the provider carried it along.
    pub delivery_id: Option<Uuid>,
}

/// What became of a batch of reports.
#[derive(Debug, Default)]
pub struct Received {
    /// The deliveries that they were about.
    pub settled: Vec<Uuid>,
    /// Providers' ids of messages whose person was erased meanwhile. Nothing is kept of them here.
    pub erased: Vec<String>,
}

/// Takes the messages of these provider ids for this transaction.
pub async fn lock(tx: &Tx, provider: &str, provider_message_ids: &[&str]) -> Result<()> {
    tx.query(LOCK, &[&tx.tenant().0, &provider, &provider_message_ids])
        .await
        .map(drop)
}

/// Keeps reports and brings the deliveries they are about up to date. A report of an unknown message
/// waits for [`settle`]; one of a person who was erased is dropped, for the provider's id gives their
/// number away.
pub async fn receive(tx: &Tx, provider: &str, reports: &[Report]) -> Result<Received> {
    let names: Vec<&str> = reports
        .iter()
        .map(|report| report.provider_message_id.as_str())
        .collect();
    lock(tx, provider, &names).await?;
    let erased = erased(tx, reports).await?;
    let is_erased = |report: &&Report| report.delivery_id.is_some_and(|id| erased.contains(&id));
    let (gone, kept): (Vec<&Report>, Vec<&Report>) = reports.iter().partition(is_erased);
    Ok(Received {
        settled: keep(tx, provider, &kept).await?,
        erased: gone
            .iter()
            .map(|report| report.provider_message_id.clone())
            .collect(),
    })
}

/// The deliveries among those that the reports name whose person was erased. All that they name are
/// held until the transaction ends.
async fn erased(tx: &Tx, reports: &[Report]) -> Result<HashSet<Uuid>> {
    let named: Vec<Uuid> = reports.iter().filter_map(|report| report.delivery_id).collect();
    if named.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = tx.query(HOLD, &[&tx.tenant().0, &named]).await?;
    let erased = rows.iter().filter(|row| row.get(1));
    Ok(erased.map(|row| row.get(0)).collect())
}

async fn keep(tx: &Tx, provider: &str, reports: &[&Report]) -> Result<Vec<Uuid>> {
    let ids: Vec<&str> = reports
        .iter()
        .map(|report| report.provider_message_id.as_str())
        .collect();
    let statuses: Vec<&str> = reports.iter().map(|report| report.status.as_str()).collect();
    let times: Vec<Timestamp> = reports.iter().map(|report| report.occurred_at).collect();
    let part = |pick: fn(&(String, String)) -> &str| -> Vec<Option<&str>> {
        reports
            .iter()
            .map(|report| report.error.as_ref().map(pick))
            .collect()
    };
    let (codes, titles) = (part(|(code, _)| code), part(|(_, title)| title));
    let named = reports
        .iter()
        .filter_map(|report| Some((report.delivery_id?, report.provider_message_id.as_str())));
    let (delivery_ids, delivery_names): (Vec<Uuid>, Vec<&str>) = named.unzip();
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    tx.execute(
        INSERT,
        &[&tenant, &provider, &ids, &statuses, &times, &codes, &titles, &now],
    )
    .await?;
    if !delivery_ids.is_empty() {
        tx.execute(LINK, &[&tenant, &provider, &delivery_ids, &delivery_names])
            .await?;
    }
    settle(tx, provider, &ids).await
}

/// Applies every report there is of these messages. The caller holds their [`lock`].
pub async fn settle(tx: &Tx, provider: &str, provider_message_ids: &[&str]) -> Result<Vec<Uuid>> {
    let rows = tx
        .query(SETTLE, &[&tx.tenant().0, &provider, &provider_message_ids])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
