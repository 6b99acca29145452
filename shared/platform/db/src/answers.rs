//! Stored answers that have to be forgotten before their day is over.

use crate::Tx;
use crate::tx::answer_context;
use kernel::Result;
use uuid::Uuid;

const PAGE: i64 = 500;

const STORED: &str = "SELECT user_id, key, answer_sealed FROM idempotency_keys
    WHERE tenant_id = $1 AND (user_id, key) > ($2, $3) AND answer_sealed IS NOT NULL
    ORDER BY user_id, key LIMIT $4";

// The key stays, with a fingerprint that no request has: a late repetition is refused, where without
// the key it would do its work a second time.
const FORGET: &str = "UPDATE idempotency_keys SET answer_sealed = NULL, fingerprint = ''
    WHERE tenant_id = $1 AND (user_id, key) IN (SELECT * FROM unnest($2::uuid[], $3::text[]))";

impl Tx {
    /// Forgets the stored answers of this tenant that hold any of these texts; returns how many.
    /// They are sealed, so each is opened: a day's worth, page by page.
    ///
    /// # Errors
    /// As [`Tx::query`], and when an answer does not open.
    pub async fn forget_answers(&self, texts: &[String]) -> Result<u64> {
        let (tenant, context) = (self.tenant().0, answer_context(self.tenant()));
        let (mut user, mut key) = (Uuid::nil(), String::new());
        let mut forgotten = 0;
        loop {
            let rows = self.query(STORED, &[&tenant, &user, &key, &PAGE]).await?;
            let Some(last) = rows.last() else {
                return Ok(forgotten);
            };
            (user, key) = (last.get(0), last.get(1));
            let (mut users, mut keys): (Vec<Uuid>, Vec<&str>) = (Vec::new(), Vec::new());
            for row in &rows {
                let answer = self.sealer().open(&context, row.get(2))?;
                let answer = String::from_utf8_lossy(&answer);
                if texts.iter().any(|text| answer.contains(text.as_str())) {
                    users.push(row.get(0));
                    keys.push(row.get(1));
                }
            }
            forgotten += self.execute(FORGET, &[&tenant, &users, &keys]).await?;
        }
    }
}
