//! How many links an admin has mailed to one user (S12.2): nobody fills a colleague's mailbox.

use db::Tx;
use jiff::{SignedDuration, Timestamp};
use kernel::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// A mailbox gets no more links than this in [`WITHIN`], whoever asks for them.
const AT_MOST: i64 = 5;
const WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// Of each user who got as many links as there may be, when the earliest of the last so many was sent.
const EARLIEST: &str =
    "SELECT u.id, earliest.created_at FROM unnest($2::uuid[]) AS u (id) CROSS JOIN LATERAL (
         SELECT i.created_at FROM invites i WHERE i.tenant_id = $1 AND i.user_id = u.id AND i.created_at > $3
         ORDER BY i.created_at DESC OFFSET $4::bigint - 1 LIMIT 1) earliest";

/// Users whose mailbox got as many links as there may be, and until when they get no more.
#[derive(Debug)]
pub struct Mailed {
    until: BTreeMap<Uuid, Timestamp>,
    now: Timestamp,
}

impl Mailed {
    /// What these users got. The transaction holds their rows, so that nobody mails one meanwhile.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn of(tx: &Tx, ids: &[Uuid]) -> Result<Self> {
        let now = tx.clock().now();
        let since = now - WITHIN;
        let params: db::Params<'_> = &[&tx.tenant().0, &ids, &since, &AT_MOST];
        let rows = tx.query(EARLIEST, params).await?;
        let until = rows
            .iter()
            .map(|row| (row.get(0), row.get::<_, Timestamp>(1) + WITHIN));
        Ok(Self {
            until: until.collect(),
            now,
        })
    }

    /// # Errors
    /// 429 when the user gets no link now.
    pub fn check(&self, id: Uuid) -> Result<()> {
        let Some(until) = self.until.get(&id) else {
            return Ok(());
        };
        let wait = Duration::try_from(until.duration_since(self.now)).unwrap_or_default();
        let message = "This user was sent 5 links within the hour; wait before you send another.";
        Err(Error::rate_limited(message, wait))
    }
}
