//! What a user reads inside the application (S2.3). Written in the transaction of what caused it;
//! nothing is sent.

use db::Tx;
use jiff::Timestamp;
use kernel::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const INSERT: &str = "INSERT INTO inbox_messages
    (tenant_id, id, user_id, kind, title_sealed, body_sealed, link_url, about_user_id, created_at)
    SELECT $1, new.*, $9 FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::uuid[]) AS new";

const LIST: &str = "SELECT m.id, m.kind, m.title_sealed, m.body_sealed, m.link_url, m.read_at, m.created_at
    FROM inbox_messages m WHERE m.tenant_id = $1 AND m.user_id = $2
    ORDER BY m.created_at DESC, m.id DESC LIMIT 200";

/// A message in a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InboxMessage {
    pub id: Uuid,
    /// Which notice it is: `approval_requested`, `account_suspended`, …
    pub kind: String,
    pub title: String,
    pub body: String,
    /// Where a click leads.
    pub link_url: Option<String>,
    pub read_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A message to be put there.
pub(crate) struct NewMessage<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub kind: &'a str,
    pub title: &'a str,
    pub body: &'a str,
    pub link_url: Option<&'a str>,
    /// Another user whom it tells of, with whose erasure it goes.
    pub about_user_id: Option<Uuid>,
}

/// Puts messages where they are read, in one statement.
pub(crate) async fn insert(tx: &Tx, new: &[NewMessage<'_>]) -> Result<()> {
    let (title, body) = (context(tx, "title"), context(tx, "body"));
    let seal = |context: &str, text: &str| tx.sealer().seal(context, text.as_bytes()).map(|sealed| sealed.0);
    let titles = new.iter().map(|new| seal(&title, new.title));
    let titles: Vec<Vec<u8>> = titles.collect::<Result<_>>()?;
    let bodies = new.iter().map(|new| seal(&body, new.body));
    let bodies: Vec<Vec<u8>> = bodies.collect::<Result<_>>()?;
    let ids: Vec<Uuid> = new.iter().map(|new| new.id).collect();
    let users: Vec<Uuid> = new.iter().map(|new| new.user_id).collect();
    let kinds: Vec<&str> = new.iter().map(|new| new.kind).collect();
    let links: Vec<Option<&str>> = new.iter().map(|new| new.link_url).collect();
    let about: Vec<Option<Uuid>> = new.iter().map(|new| new.about_user_id).collect();
    let now = tx.clock().now();
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &ids,
        &users,
        &kinds,
        &titles,
        &bodies,
        &links,
        &about,
        &now,
    ];
    tx.execute(INSERT, params).await.map(drop)
}

/// The newest 200 messages of a user, newest first.
pub async fn list(tx: &Tx, user_id: Uuid) -> Result<Vec<InboxMessage>> {
    let rows = tx.query(LIST, &[&tx.tenant().0, &user_id]).await?;
    let open = |field: &str, sealed: &[u8]| tx.sealer().open_text(&context(tx, field), sealed);
    rows.iter()
        .map(|row| {
            Ok(InboxMessage {
                id: row.get(0),
                kind: row.get(1),
                title: open("title", row.get(2))?,
                body: open("body", row.get(3))?,
                link_url: row.get(4),
                read_at: row.get(5),
                created_at: row.get(6),
            })
        })
        .collect()
}

pub(crate) fn context(tx: &Tx, field: &str) -> String {
    format!("{}/inbox_messages.{field}", tx.tenant())
}
