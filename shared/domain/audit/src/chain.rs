//! Walking the chain of audit lines page by page, and verifying it on the way (S18.4): what was
//! changed, taken out, put in or cut off at the end shows at its position.

use crate::line::{AuditLine, check_range, from_row};
use db::Tx;
use jiff::Timestamp;
use kernel::{Error, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many lines a step reads.
const PAGE: i64 = 1000;
/// How often the beginning is looked for, should lines expire meanwhile: each time thousands of them go.
const ROUNDS: usize = 5;
/// 2100-01-01.
const LATER_THAN_ALL: Timestamp = Timestamp::constant(4_102_444_800, 0);

const ENDS: &str = "SELECT anchor_seq, anchor_hash, head_seq, head_hash FROM app.audit_ends()";

const RANGE: &str = "SELECT min(seq), max(seq), count(*) FROM (
        SELECT a.seq FROM audit_logs a WHERE a.tenant_id = $1
          AND a.id >= app.first_id_of($2) AND a.created_at >= $2
          AND a.id < app.first_id_of($3::timestamptz + interval '1 millisecond') AND a.created_at < $3
        ORDER BY a.id LIMIT $4) counted";

const HASH_OF: &str = "SELECT hash FROM audit_logs WHERE tenant_id = $1 AND seq = $2";

// Of lines of the same millisecond the ids are not in their order.
const LAST_BEFORE: &str = "WITH latest AS (
        SELECT a.created_at FROM audit_logs a WHERE a.tenant_id = $1
          AND a.id < app.first_id_of($2::timestamptz + interval '1 millisecond') AND a.created_at < $2
        ORDER BY a.id DESC LIMIT 1
    )
    SELECT a.seq, a.hash FROM latest JOIN audit_logs a ON a.tenant_id = $1 AND a.id >= app.first_id_of(latest.created_at)
      AND a.id < app.first_id_of($2::timestamptz + interval '1 millisecond') AND a.created_at < $2
    ORDER BY a.seq DESC LIMIT 1";

const NEXT_AFTER: &str = "SELECT a.seq, app.audit_line_holds($3, a) FROM audit_logs a
    WHERE a.tenant_id = $1 AND a.seq > $2 ORDER BY a.seq LIMIT 1";

const STEP: &str = "SELECT entry.*,
        app.audit_line_holds(lag(entry.hash, 1, $4) OVER chain, entry)
        AND entry.seq = lag(entry.seq, 1, $2) OVER chain + 1 AS holds
    FROM audit_logs entry
    WHERE entry.tenant_id = $1 AND entry.seq > $2 AND entry.seq <= $3
    WINDOW chain AS (ORDER BY entry.seq) ORDER BY entry.seq";

/// Whether lines are what was written, in the order and number they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chain {
    pub holds: bool,
    /// The first position that is not as it was written.
    pub break_at: Option<i64>,
}

/// The lines of a time range, being read in order. Lines that expire meanwhile are left out, and nothing
/// is said to be wrong for it.
#[derive(Debug)]
pub struct Walk {
    /// Of the first line that was read, when there is one.
    pub first_seq: Option<i64>,
    pub last_seq: Option<i64>,
    /// How many lines were read.
    pub rows: i64,
    at: i64,
    previous: Vec<u8>,
    end: i64,
    /// Where the chain does not go on after the range.
    cut_off: Option<i64>,
    break_at: Option<i64>,
}

/// A position of the chain, and the hash of the line there.
type Link = (i64, Vec<u8>);

impl Walk {
    /// Finds the range, and what its first line is chained to.
    ///
    /// # Errors
    /// 422 when the range ends before it begins, or holds more than `max_rows` lines; 503 when lines
    /// expire faster than they are found.
    pub async fn start(
        tx: &Tx,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        max_rows: i64,
    ) -> Result<Self> {
        let mut validator = Validator::default();
        check_range(&mut validator, from, to);
        validator.finish()?;
        // The ends first: lines that are added meanwhile are then read too, and none seems missing.
        let (mut anchor, mut head) = ends(tx).await?;
        for _ in 0..ROUNDS {
            let walk = Self::between(tx, (from, to), max_rows, (&anchor, &head)).await?;
            if walk.verdict().holds {
                return Ok(walk);
            }
            // Each statement sees what is there by then: the lines may have expired between two of them.
            let found = ends(tx).await?;
            if found.0 == anchor {
                return Ok(walk);
            }
            (anchor, head) = found;
        }
        Err(Error::unavailable("audit lines expire as they are looked for"))
    }

    async fn between(
        tx: &Tx,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        max_rows: i64,
        (anchor, head): (&Link, &Link),
    ) -> Result<Self> {
        let (first_moment, past) = (
            from.unwrap_or(Timestamp::UNIX_EPOCH),
            to.unwrap_or(LATER_THAN_ALL),
        );
        let params: db::Params<'_> = &[&tx.tenant().0, &first_moment, &past, &(max_rows + 1)];
        let found = tx.query_one(RANGE, params).await?;
        let (first, last, rows): (Option<i64>, Option<i64>, i64) = (found.get(0), found.get(1), found.get(2));
        if rows > max_rows {
            return Err(narrow(&format!(
                "The range holds more than {max_rows} lines; narrow it."
            )));
        }
        let before = match (from, first) {
            (None, _) => Some(anchor.clone()),
            (Some(_), Some(first)) if first == anchor.0 + 1 => Some(anchor.clone()),
            (Some(_), Some(first)) => link(tx, first - 1).await?,
            (Some(from), None) => Some(last_before(tx, from).await?.unwrap_or_else(|| anchor.clone())),
        };
        // Without the line before it, the first line can't be shown to be the first.
        let break_at = first.filter(|_| before.is_none()).map(|first| first - 1);
        let (at, previous) = before.unwrap_or_else(|| (first.unwrap_or_default() - 1, Vec::new()));
        let end = match last {
            Some(last) => link(tx, last).await?.unwrap_or((last, Vec::new())),
            None => (at, previous.clone()),
        };
        Ok(Self {
            first_seq: None,
            last_seq: None,
            rows: 0,
            at,
            previous,
            cut_off: cut_off(tx, &end, head).await?,
            end: end.0,
            break_at,
        })
    }

    /// The next lines; none at the end.
    pub async fn next(&mut self, tx: &Tx) -> Result<Vec<AuditLine>> {
        let mut lines = Vec::new();
        // A page may be empty where lines were taken out.
        while lines.is_empty() && self.at < self.end {
            let upto = self.end.min(self.at.saturating_add(PAGE));
            let rows = tx
                .query(STEP, &[&tx.tenant().0, &self.at, &upto, &self.previous])
                .await?;
            let begins_at = rows.first().map(|row| row.get::<_, i64>("seq"));
            if begins_at != Some(self.at + 1) && self.skip_expired(tx).await? {
                continue;
            }
            let mut expected = self.at + 1;
            for row in &rows {
                let seq: i64 = row.get("seq");
                if !row.get::<_, bool>("holds") {
                    self.break_at.get_or_insert(expected);
                }
                expected = seq + 1;
                lines.push(from_row(row));
            }
            if expected <= upto {
                self.break_at.get_or_insert(expected);
            }
            if let Some(last) = rows.last() {
                self.previous = last.get("hash");
            }
            self.at = upto;
        }
        self.first_seq = self.first_seq.or(lines.first().map(|line| line.seq));
        self.last_seq = lines.last().map(|line| line.seq).or(self.last_seq);
        self.rows += i64::try_from(lines.len()).map_err(Error::internal)?;
        Ok(lines)
    }

    /// Goes on after the lines that expired since the last page. Whether there are any: what else is
    /// missing was taken out.
    async fn skip_expired(&mut self, tx: &Tx) -> Result<bool> {
        let ((seq, hash), _) = ends(tx).await?;
        let has_moved = seq > self.at;
        if has_moved {
            (self.at, self.previous) = (seq, hash);
        }
        Ok(has_moved)
    }

    /// Whether all that was read holds, to be asked at the end.
    #[must_use]
    pub fn verdict(&self) -> Chain {
        let break_at = self.break_at.or(self.cut_off);
        Chain {
            holds: break_at.is_none(),
            break_at,
        }
    }
}

/// The last line that expired, and the newest.
async fn ends(tx: &Tx) -> Result<(Link, Link)> {
    let row = tx.query_opt(ENDS, &[]).await?;
    let ends = row.map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3))));
    Ok(ends.unwrap_or_default())
}

async fn link(tx: &Tx, seq: i64) -> Result<Option<Link>> {
    let row = tx.query_opt(HASH_OF, &[&tx.tenant().0, &seq]).await?;
    Ok(row.map(|row| (seq, row.get(0))))
}

async fn last_before(tx: &Tx, moment: Timestamp) -> Result<Option<Link>> {
    let row = tx.query_opt(LAST_BEFORE, &[&tx.tenant().0, &moment]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// The position after `end` when the line that follows is not the one that was written there, or the
/// company's newest line is missing; `end` itself when it is the newest and not as it was written.
async fn cut_off(tx: &Tx, end: &Link, head: &Link) -> Result<Option<i64>> {
    let next = tx
        .query_opt(NEXT_AFTER, &[&tx.tenant().0, &end.0, &end.1])
        .await?;
    Ok(match next {
        Some(next) => (next.get::<_, i64>(0) != end.0 + 1 || !next.get::<_, bool>(1)).then_some(end.0 + 1),
        None if head.0 > end.0 => Some(end.0 + 1),
        None => (head.0 == end.0 && head.1 != end.1).then_some(end.0),
    })
}

/// 422: the range is too large to be answered at once.
#[must_use]
pub fn narrow(message: &str) -> Error {
    Error::field("from", "too_many", message)
}
