//! The audit log as a file: read page by page, verified on the way, written to the bucket as it is
//! made (S1.11, S18.8).

use crate::App;
use audit::chain::{Chain, Walk, narrow};
use audit::gdpr::exports_of;
use audit::line::AuditLine;
use audit::log;
use axum::extract::State;
use cloud::Upload;
use jiff::{SignedDuration, Timestamp};
use kernel::{Caller, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use web::{Auth, Json, Query};

/// How long the link to a file is good.
pub(super) const LINK_LIFETIME: Duration = Duration::from_mins(15);

const COLUMNS: [&str; 15] = [
    "seq",
    "id",
    "created_at",
    "action",
    "entity_type",
    "entity_id",
    "actor",
    "actor_user_id",
    "ip",
    "user_agent",
    "request_id",
    "before_data",
    "after_data",
    "hash",
    "erased_at",
];

/// What one export may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub rows: i64,
    pub time: Duration,
}

impl Limits {
    /// Well within the 15 s that the function has.
    pub const DEFAULT: Self = Self {
        rows: 50_000,
        time: Duration::from_secs(10),
    };
}

/// The form of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object a line, as the list has them.
    #[default]
    Jsonl,
    /// With a header. A cell that a spreadsheet would take for a formula begins with an apostrophe.
    Csv,
}

/// Which lines, and how.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub struct ExportQuery {
    #[serde(default)]
    pub format: Format,
    /// The first moment, included; from the beginning when absent.
    pub from: Option<Timestamp>,
    /// The last moment, not included; to the newest line when absent.
    pub to: Option<Timestamp>,
}

/// Where the file is, and what is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditExport {
    /// Good for 15 minutes.
    pub url: String,
    pub expires_at: Timestamp,
    pub rows: i64,
    pub first_seq: Option<i64>,
    pub last_seq: Option<i64>,
    /// Whether the lines in the file are what was written, none missing but those whose time was over
    /// while the file was made.
    pub chain: Chain,
}

/// Exports the audit log.
///
/// Writes the lines of a time range to a file and answers where to download it, within 15 minutes; the
/// file is gone after a day. The chain of hashes is verified on the way: `chain.break_at` is the first
/// position that was changed or taken out. A range of more than 50 000 lines is refused with 422: ask
/// for it in parts. The export is itself audited.
pub async fn audit_log(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(query): Query<ExportQuery>,
) -> web::Result<Json<AuditExport>> {
    Ok(Json(run(&app, &caller, query, Limits::DEFAULT).await?))
}

/// Exports within these limits.
///
/// # Errors
/// 422 when the range is wrong, or too much for the limits.
pub async fn run(app: &App, caller: &Caller, query: ExportQuery, limits: Limits) -> Result<AuditExport> {
    let begun = Instant::now();
    let mut walk = app
        .db
        .read(caller, async |tx| {
            Walk::start(&tx, query.from, query.to, limits.rows).await
        })
        .await?;
    let (end, content_type) = match query.format {
        Format::Jsonl => ("jsonl", "application/x-ndjson"),
        Format::Csv => ("csv", "text/csv; charset=utf-8"),
    };
    let id = app.db.clock().id();
    let key = format!("{}audit/{id}.{end}", exports_of(caller.tenant()));
    let mut upload = app.bucket.upload(key.clone(), content_type);
    if let Err(error) = write(
        app,
        caller,
        query.format,
        &mut walk,
        &mut upload,
        begun + limits.time,
    )
    .await
    {
        if let Err(left) = upload.abort().await {
            tracing::warn!(error = %left, "an unfinished export is left to the bucket's lifecycle");
        }
        return Err(error);
    }
    upload.finish().await?;
    let chain = walk.verdict();
    let url = app
        .bucket
        .presigned(&key, &format!("audit-log.{end}"), LINK_LIFETIME)
        .await?;
    let told = json!({
        "format": query.format, "from": query.from, "to": query.to, "rows": walk.rows,
        "first_seq": walk.first_seq, "last_seq": walk.last_seq, "chain": chain,
    });
    // Nobody gets the link before the line is written.
    app.db
        .write(caller, async |tx| {
            log::record(&tx, "audit.exported", "audit_log", None, &told).await
        })
        .await?;
    Ok(AuditExport {
        url,
        expires_at: expiry(app)?,
        rows: walk.rows,
        first_seq: walk.first_seq,
        last_seq: walk.last_seq,
        chain,
    })
}

/// When a link made now ends.
pub(super) fn expiry(app: &App) -> Result<Timestamp> {
    let lifetime = SignedDuration::try_from(LINK_LIFETIME).map_err(Error::internal)?;
    app.db
        .clock()
        .now()
        .checked_add(lifetime)
        .map_err(Error::internal)
}

async fn write(
    app: &App,
    caller: &Caller,
    format: Format,
    walk: &mut Walk,
    upload: &mut Upload,
    until: Instant,
) -> Result<()> {
    if format == Format::Csv {
        upload.write(&csv([COLUMNS.map(str::to_owned)])?).await?;
    }
    loop {
        if Instant::now() >= until {
            return Err(narrow("The range takes too long to export; narrow it."));
        }
        let lines = app.db.read(caller, async |tx| walk.next(&tx).await).await?;
        if lines.is_empty() {
            return Ok(());
        }
        let page = match format {
            Format::Jsonl => jsonl(&lines)?,
            Format::Csv => csv(lines.iter().map(cells))?,
        };
        upload.write(&page).await?;
    }
}

fn jsonl(lines: &[AuditLine]) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut page, line).map_err(Error::internal)?;
        page.push(b'\n');
    }
    Ok(page)
}

fn csv(rows: impl IntoIterator<Item = [String; 15]>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(&row).map_err(Error::internal)?;
    }
    writer
        .into_inner()
        .map_err(|error| Error::internal(error.to_string()))
}

/// In the order of [`COLUMNS`].
fn cells(line: &AuditLine) -> [String; 15] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let id = |value: Option<uuid::Uuid>| value.map(|id| id.to_string()).unwrap_or_default();
    let data = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    [
        line.seq.to_string(),
        line.id.to_string(),
        line.created_at.to_string(),
        line.action.clone(),
        line.entity_type.clone(),
        id(line.entity_id),
        line.actor.clone(),
        id(line.actor_user_id),
        text(&line.ip),
        text(&line.user_agent),
        text(&line.request_id),
        data(&line.before_data),
        data(&line.after_data),
        line.hash.clone(),
        line.erased_at.map(|at| at.to_string()).unwrap_or_default(),
    ]
    .map(harmless)
}

/// A cell that begins like this is run as a formula by spreadsheets, whoever wrote it.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{cell}")
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn no_cell_is_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(harmless(formula.to_owned()), format!("'{formula}"));
        }
        for text in ["", "a=1", "203.0.113.9", "{\"a\":1}"] {
            assert_eq!(harmless(text.to_owned()), text);
        }
    }
}
