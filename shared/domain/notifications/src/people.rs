//! Notices to several colleagues at once: in the inbox, and by e-mail unless they asked for none.

use crate::notice::{self, Channel, Notice, To};
use db::Tx;
use futures::future::try_join_all;
use kernel::Result;
use std::collections::BTreeSet;
use uuid::Uuid;

/// The most people that one notice goes to.
const AT_MOST: i64 = 100;

// Held, so that nothing is written to whoever is being erased.
const PEOPLE: &str = "SELECT u.id, u.email, coalesce(u.locale, t.locale) AS locale,
            coalesce((p.prefs ->> 'transactional_email')::boolean, true)
            AND coalesce((p.prefs ->> 'dnd_until')::timestamptz <= $4, true) AS by_email
     FROM users u JOIN tenants t ON t.id = u.tenant_id
     LEFT JOIN notification_preferences p ON p.tenant_id = u.tenant_id AND p.user_id = u.id
     WHERE u.tenant_id = $1 AND u.id = ANY ($2) AND u.status = 'active' ORDER BY u.id LIMIT $3 FOR KEY SHARE OF u";

/// Sends a notice to each of these users that is active, once, and to no more than a hundred of them.
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
    let to: Vec<To<'_>> = people
        .iter()
        .flat_map(|person| {
            let to = |channel, address| To {
                user_id: Some(person.get("id")),
                channel,
                address,
                locale: person.get("locale"),
            };
            let mail = (may_mail && person.get("by_email")).then(|| to(Channel::Email, person.get("email")));
            std::iter::once(to(Channel::Inbox, "")).chain(mail)
        })
        .collect();
    try_join_all(to.iter().map(|to| notice::send(tx, to, notice)))
        .await
        .map(drop)
}
