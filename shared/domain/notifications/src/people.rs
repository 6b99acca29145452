//! Notices to several colleagues at once: in the inbox, and by e-mail unless they asked for none.

use crate::notice::{self, Channel, Notice, To};
use db::Tx;
use futures::future::try_join_all;
use futures::try_join;
use kernel::Result;
use std::collections::BTreeSet;
use uuid::Uuid;

/// The most people that one notice goes to: more than decide on anything in one company.
const AT_MOST: i64 = 1000;
/// The most of them that are told by e-mail, too. Inboxes are one statement; every mail is one of its own,
/// and one that somebody has to read.
const MAILS_AT_MOST: usize = 100;

// Held, so that nothing is written to whoever is being erased.
const PEOPLE: &str = "SELECT u.id, u.email, app.language_of(u.tenant_id, u.id) AS locale,
            coalesce((p.prefs ->> 'transactional_email')::boolean, true)
            AND coalesce((p.prefs ->> 'dnd_until')::timestamptz <= $4, true) AS by_email
     FROM users u
     LEFT JOIN notification_preferences p ON p.tenant_id = u.tenant_id AND p.user_id = u.id
     WHERE u.tenant_id = $1 AND u.id = ANY ($2) AND u.status = 'active' ORDER BY u.id LIMIT $3 FOR KEY SHARE OF u";

/// Sends a notice to each of these users that is active, once: to the inboxes of the first thousand, by
/// their ids, and by e-mail to the first hundred of those who take such mails.
///
/// # Errors
/// As [`notice::send`].
pub async fn tell(tx: &Tx, users: impl Iterator<Item = Uuid>, notice: &Notice) -> Result<()> {
    send(tx, users, notice, true).await
}

/// As [`tell`], and mails nobody.
///
/// # Errors
/// As [`notice::send`].
pub async fn tell_in_inbox(tx: &Tx, users: impl Iterator<Item = Uuid>, notice: &Notice) -> Result<()> {
    send(tx, users, notice, false).await
}

async fn send(tx: &Tx, users: impl Iterator<Item = Uuid>, notice: &Notice, may_mail: bool) -> Result<()> {
    let users: Vec<Uuid> = users.collect::<BTreeSet<_>>().into_iter().collect();
    if users.is_empty() {
        return Ok(());
    }
    let people = tx
        .query(PEOPLE, &[&tx.tenant().0, &users, &AT_MOST, &tx.clock().now()])
        .await?;
    let readers: Vec<(Uuid, &str)> = people
        .iter()
        .map(|person| (person.get("id"), person.get("locale")))
        .collect();
    let mails: Vec<To<'_>> = people
        .iter()
        .filter(|person| may_mail && (notice.must_be_mailed() || person.get("by_email")))
        .take(MAILS_AT_MOST)
        .map(|person| To {
            user_id: Some(person.get("id")),
            channel: Channel::Email,
            address: person.get("email"),
            locale: person.get("locale"),
        })
        .collect();
    try_join!(
        notice::put_in_inboxes(tx, &readers, notice),
        try_join_all(mails.iter().map(|to| notice::send(tx, to, notice)))
    )
    .map(drop)
}
