//! Provider accounts that a tenant connects (S2, S6; the review's `whatsapp_accounts`).
//!
//! Credentials go in and never come out to a client. The webhook edge keeps its own directory of
//! accounts; `edge_published_at` says whether it knows this account as it is now. Whoever changes
//! an account clears it, publishes after the commit, and calls [`mark_published`]; a sweep finds
//! what was left.

mod credentials;

use crate::coded;
pub use credentials::Credentials;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Code, Error, Page, PageRequest, Patch, Phone, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// What accounts can be listed by.
pub static SORTS: &[Sort] = &[Sort {
    name: "created_at",
    column: "a.created_at",
    key: KeyType::Timestamp,
}];

const INSERT: &str = "INSERT INTO channel_accounts
    (tenant_id, id, channel, provider, provider_account_id, provider_key, display_phone_number, label,
     credentials_sealed, created_at, updated_at)
    VALUES ($1, $2, 'whatsapp', $3, $4, $5, $6, $7, $8, $9, $9)
    ON CONFLICT (tenant_id, provider, provider_key) WHERE deleted_at IS NULL DO NOTHING RETURNING *";

const HOLDER: &str = "SELECT id FROM channel_accounts
    WHERE tenant_id = $1 AND provider = $2 AND provider_key = $3 AND deleted_at IS NULL";

const FIND: &str = "SELECT * FROM channel_accounts WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";

const FIND_EVER: &str = "SELECT * FROM channel_accounts WHERE tenant_id = $1 AND id = $2";

const LIST: &str = "SELECT * FROM channel_accounts a";

const LOCK: &str =
    "SELECT * FROM channel_accounts WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE";

const UPDATE: &str = "UPDATE channel_accounts
    SET display_phone_number = $3, label = $4, status = $5,
        credentials_sealed = coalesce($6, credentials_sealed), updated_at = $7,
        edge_published_at = NULL
    WHERE tenant_id = $1 AND id = $2 RETURNING *";

const ARCHIVE: &str = "UPDATE channel_accounts SET deleted_at = $3, updated_at = $3, edge_published_at = NULL
    WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING id";

const ARCHIVE_ALL: &str = "UPDATE channel_accounts SET deleted_at = coalesce(deleted_at, $2), updated_at = $2, edge_published_at = NULL
    WHERE tenant_id = $1 AND (deleted_at IS NULL OR edge_published_at IS NULL) RETURNING id";

const MARK_PUBLISHED: &str = "UPDATE channel_accounts
    SET edge_published_at = CASE WHEN updated_at = $3 THEN $4::timestamptz END
    WHERE tenant_id = $1 AND id = $2 RETURNING edge_published_at IS NOT NULL";

/// Who carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    Meta,
    Twilio,
}

impl Provider {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Twilio => "twilio",
        }
    }
}

/// Whether an account is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    /// Its webhooks are refused and nothing is sent with it.
    Disabled,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// A connected account, as clients see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    pub id: Uuid,
    pub provider: Provider,
    /// Meta: the WhatsApp Business account's id. Twilio: the AccountSid.
    pub provider_account_id: String,
    /// Meta only.
    pub phone_number_id: Option<String>,
    pub display_phone_number: String,
    pub label: Option<String>,
    pub status: Status,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What connects an account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAccount {
    pub provider: Provider,
    pub provider_account_id: String,
    /// Meta: the number's id at Meta, which webhooks and sends name it by.
    #[serde(default)]
    pub phone_number_id: Option<String>,
    pub display_phone_number: String,
    #[serde(default)]
    pub label: Option<String>,
    pub credentials: Credentials,
}

/// What a client changes of an account. New credentials replace those that are given.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateAccount {
    #[serde(default)]
    pub display_phone_number: Option<String>,
    #[serde(default)]
    pub label: Patch<String>,
    #[serde(default)]
    pub status: Option<Status>,
    #[serde(default)]
    pub credentials: Option<Credentials>,
}

/// An account checked and ready to be stored.
pub struct NewAccount {
    provider: Provider,
    provider_account_id: String,
    provider_key: String,
    display_phone_number: Phone,
    label: Option<String>,
    credentials: Credentials,
}

/// An account with its secrets, for our own functions. Made only by [`find_with_credentials`];
/// it can't be serialised.
#[derive(Debug)]
pub struct FullAccount {
    pub account: Account,
    /// As in [`provider_key`].
    pub provider_key: String,
    pub credentials: Credentials,
    pub deleted: bool,
    pub published: bool,
}

impl FullAccount {
    /// Whether its webhooks are taken and messages are sent with it.
    #[must_use]
    pub fn in_use(&self) -> bool {
        !self.deleted && self.account.status == Status::Active
    }
}

/// What webhooks name an account by. Meta: the `phone_number_id`. Twilio, where one AccountSid has
/// many numbers: `<AccountSid>/<number>`.
#[must_use]
pub fn provider_key(provider: Provider, name: &str, number: &Phone) -> String {
    match provider {
        Provider::Meta => name.to_owned(),
        Provider::Twilio => format!("{name}/{}", number.as_str()),
    }
}

impl NewAccount {
    /// # Errors
    /// 422 with the fields that are missing or malformed.
    pub fn parse(body: CreateAccount) -> Result<Self> {
        let mut validator = Validator::default();
        let provider_account_id = validator.text("provider_account_id", &body.provider_account_id, 64);
        let label = validator.optional_text("label", body.label.as_deref(), 100);
        let number = parse_number(&mut validator, &body.display_phone_number);
        let digits =
            |id: &str| !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_digit());
        let name = match (body.provider, body.phone_number_id) {
            (Provider::Meta, Some(id)) if digits(&id) => id,
            (Provider::Meta, Some(_)) => {
                validator.reject(
                    "phone_number_id",
                    "invalid",
                    "This is the number's id at Meta: digits only.",
                );
                String::new()
            }
            (Provider::Meta, None) => {
                validator.reject(
                    "phone_number_id",
                    "required",
                    "Meta accounts need the number's id.",
                );
                String::new()
            }
            (Provider::Twilio, phone_number_id) => {
                if phone_number_id.is_some() {
                    validator.reject("phone_number_id", "not_allowed", "Only Meta accounts have this.");
                }
                if !provider_account_id.starts_with("AC")
                    || !provider_account_id
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric())
                {
                    validator.reject(
                        "provider_account_id",
                        "invalid",
                        "This is the AccountSid: AC and letters or digits.",
                    );
                }
                provider_account_id.clone()
            }
        };
        body.credentials.check(&mut validator, body.provider, true);
        validator.finish()?;
        let number = number.ok_or_else(|| Error::internal("a rejected number passed"))?;
        Ok(Self {
            provider: body.provider,
            provider_key: provider_key(body.provider, &name, &number),
            provider_account_id,
            display_phone_number: number,
            label,
            credentials: body.credentials,
        })
    }
}

/// Providers know numbers that no public plan lists, so only the shape counts.
fn parse_number(validator: &mut Validator, input: &str) -> Option<Phone> {
    let digits: String = input
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.' | '\u{a0}'))
        .collect();
    let number = Phone::from_provider(&digits);
    if number.is_none() {
        validator.reject(
            "display_phone_number",
            "invalid",
            "This is a number with its country code, like +201001234567.",
        );
    }
    number
}

/// Stores an account. The edge does not know it yet.
///
/// # Errors
/// 409 `DUPLICATE` with `details.id` when the tenant has connected it already.
pub async fn insert(tx: &Tx, new: &NewAccount) -> Result<Account> {
    let (tenant, provider, now) = (tx.tenant().0, new.provider.as_str(), tx.clock().now());
    let params: db::Params<'_> = &[
        &tenant,
        &tx.clock().id(),
        &provider,
        &new.provider_account_id,
        &new.provider_key,
        &new.display_phone_number.as_str(),
        &new.label,
        &new.credentials.seal(tx)?,
        &now,
    ];
    if let Some(row) = tx.query_opt(INSERT, params).await? {
        return record(&row);
    }
    let holder = tx
        .query_opt(HOLDER, &[&tenant, &provider, &new.provider_key])
        .await?;
    Err(Error::new(Code::Duplicate, "This account is connected already.")
        .with_details(json!({ "id": holder.map(|row| row.get::<_, Uuid>(0)) })))
}

/// # Errors
/// 404 when the tenant has no such account.
pub async fn find(tx: &Tx, id: Uuid) -> Result<Account> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &id]).await?;
    record(&row.ok_or_else(Error::not_found)?)
}

/// A page of the tenant's accounts, newest first unless asked otherwise.
pub async fn list(tx: &Tx, page: &PageRequest) -> Result<Page<Account>> {
    let mut sql = Sql::list(tx, LIST, "a");
    sql.only("a.deleted_at IS NULL");
    sql.fetch(tx, page, record, |account| {
        (Key::Timestamp(account.created_at), account.id)
    })
    .await
}

/// As [`find`], and holds the row until the transaction ends.
///
/// # Errors
/// As [`find`].
pub async fn find_for_update(tx: &Tx, id: Uuid) -> Result<Account> {
    let row = tx.query_opt(LOCK, &[&tx.tenant().0, &id]).await?;
    record(&row.ok_or_else(Error::not_found)?)
}

/// Changes the account that [`find_for_update`] read. The edge does not know the change yet.
///
/// # Errors
/// 422 for fields that are malformed or that this provider's accounts can't change.
pub async fn update(tx: &Tx, current: Account, body: UpdateAccount) -> Result<Account> {
    let mut validator = Validator::default();
    let number = match body.display_phone_number {
        None => Some(current.display_phone_number.clone()),
        Some(input) => parse_number(&mut validator, &input).map(|number| number.as_str().to_owned()),
    };
    let moved = number
        .as_ref()
        .is_some_and(|number| *number != current.display_phone_number);
    if current.provider == Provider::Twilio && moved {
        validator.reject(
            "display_phone_number",
            "immutable",
            "Connect another number as another account.",
        );
    }
    let label = match body.label {
        Patch::Value(label) => validator.optional_text("label", Some(&label), 100),
        Patch::Null => None,
        Patch::Absent => current.label,
    };
    if let Some(credentials) = &body.credentials {
        credentials.check(&mut validator, current.provider, false);
    }
    validator.finish()?;
    let sealed = match body.credentials {
        None => None,
        Some(given) => Some(
            given
                .or(find_with_credentials(tx, current.id).await?.credentials)
                .seal(tx)?,
        ),
    };
    let status = body.status.unwrap_or(current.status).as_str();
    let now = tx.clock().now();
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &current.id,
        &number,
        &label,
        &status,
        &sealed,
        &now,
    ];
    record(&tx.query_one(UPDATE, params).await?)
}

/// Disconnects an account; its conversations stay. The edge does not know it yet.
///
/// # Errors
/// 404 when the tenant has no such account.
pub async fn archive(tx: &Tx, id: Uuid) -> Result<()> {
    let archived = tx
        .query_opt(ARCHIVE, &[&tx.tenant().0, &id, &tx.clock().now()])
        .await?;
    archived.map(drop).ok_or_else(Error::not_found)
}

/// Disconnects every account of a company that is being deleted. Returns those that the edge has yet to be
/// told of; none when it knows, and then no webhook of the company comes any more.
///
/// # Errors
/// As the database fails.
pub async fn archive_all(tx: &Tx) -> Result<Vec<Uuid>> {
    let rows = tx
        .query(ARCHIVE_ALL, &[&tx.tenant().0, &tx.clock().now()])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// An account with its secrets, deleted ones included. For our own use: publishing to the edge,
/// sending.
///
/// # Errors
/// 404 when there never was such an account.
pub async fn find_with_credentials(tx: &Tx, id: Uuid) -> Result<FullAccount> {
    let row = tx
        .query_opt(FIND_EVER, &[&tx.tenant().0, &id])
        .await?
        .ok_or_else(Error::not_found)?;
    Ok(FullAccount {
        account: record(&row)?,
        provider_key: row.get("provider_key"),
        credentials: Credentials::open(tx, &row)?,
        deleted: row.get::<_, Option<Timestamp>>("deleted_at").is_some(),
        published: row.get::<_, Option<Timestamp>>("edge_published_at").is_some(),
    })
}

/// Notes that the edge was told of an account as it was at `version` (its `updated_at`). When it
/// has changed since, what the edge was told last may be the older of two versions: `false`, and
/// it counts as not published.
pub async fn mark_published(tx: &Tx, id: Uuid, version: Timestamp) -> Result<bool> {
    let params: db::Params<'_> = &[&tx.tenant().0, &id, &version, &tx.clock().now()];
    tx.query_one(MARK_PUBLISHED, params).await.map(|row| row.get(0))
}

fn record(row: &Row) -> Result<Account> {
    let provider = coded(row.get("provider"))?;
    Ok(Account {
        id: row.get("id"),
        provider,
        provider_account_id: row.get("provider_account_id"),
        phone_number_id: (provider == Provider::Meta).then(|| row.get("provider_key")),
        display_phone_number: row.get("display_phone_number"),
        label: row.get("label"),
        status: coded(row.get("status"))?,
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}
