//! Companies, for who runs the system: made, looked at, renamed and suspended with the provisioning
//! key (the review's tenants, plan 4). Nothing of a company's own data is here.

use crate::escalation::Granted;
use crate::invite::{self, NewColleague, Start};
use crate::signup::{self, SignupKey};
use crate::{profile, tenant};
use audit::{event, log};
use db::{Db, Row, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Code, Email, Error, Page, PageRequest, Result, Sealer, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

const PAGE: &str = "SELECT id, name, slug, status, created_at FROM app.tenants_page($1, $2, $3, $4, $5)";
const FIND: &str =
    "SELECT id, name, slug, status, locale, timezone, created_at, updated_at FROM tenants WHERE id = $1";
const FIND_FOR_UPDATE: &str = "SELECT id, name, slug, status, locale, timezone, created_at, updated_at FROM tenants WHERE id = $1 FOR NO KEY UPDATE";
const UPDATE: &str =
    "UPDATE tenants SET name = $2, status = $3, locale = $4, timezone = $5, updated_at = $6 WHERE id = $1";
const SUPER_ADMIN: &str = "SELECT r.id FROM roles r WHERE r.tenant_id IS NULL AND r.code = 'super_admin'";

/// Whether a company's users may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompanyStatus {
    Active,
    /// Everybody is refused at their next request.
    Suspended,
    /// As suspended, and will be deleted; activating it opens it again.
    Closed,
    /// Its data is being deleted.
    Deleting,
}

impl CompanyStatus {
    /// As in the column and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
            Self::Deleting => "deleting",
        }
    }

    fn from_column(value: &str) -> Self {
        match value {
            "active" => Self::Active,
            "closed" => Self::Closed,
            "deleting" => Self::Deleting,
            _ => Self::Suspended,
        }
    }
}

/// A company in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompanySummary {
    pub id: Uuid,
    pub name: String,
    pub slug: String,
    pub status: CompanyStatus,
    pub created_at: Timestamp,
}

/// A company.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Company {
    pub id: Uuid,
    pub name: String,
    /// Its name in URLs and at login; made from the name and kept.
    pub slug: String,
    pub status: CompanyStatus,
    pub locale: String,
    pub timezone: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The first user of a company that was provisioned.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAdmin {
    pub email: String,
    #[schemars(length(max = 120))]
    pub full_name: Option<String>,
}

/// The body that makes a company.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCompany {
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// `en` unless said otherwise.
    pub locale: Option<String>,
    /// An IANA name; `UTC` unless said otherwise.
    pub timezone: Option<String>,
    /// Is invited as super admin.
    pub admin: CreateAdmin,
}

/// The body that changes a company: what is absent stays.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateCompany {
    #[schemars(length(min = 1, max = 120))]
    pub name: Option<String>,
    /// `active` or `suspended`. A company that is closed is opened again by either.
    pub status: Option<CompanyStatus>,
    pub locale: Option<String>,
    /// An IANA name: `Asia/Kuwait`.
    pub timezone: Option<String>,
}

/// The filters of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub struct CompanyFilter {
    pub status: Option<CompanyStatus>,
}

/// A company that was made, and whom its invitation was mailed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Provisioned {
    #[serde(flatten)]
    pub company: Company,
    pub admin_user_id: Uuid,
}

/// What the list can be sorted by.
pub static SORTS: &[Sort] = &[Sort {
    name: "created_at",
    column: "created_at",
    key: KeyType::Timestamp,
}];

/// A checked company that is not stored yet.
#[derive(Debug)]
pub struct NewCompany {
    name: String,
    locale: String,
    timezone: String,
    admin: NewColleague,
}

impl NewCompany {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn parse(body: &CreateCompany) -> Result<Self> {
        let mut validator = Validator::default();
        let name = validator.text("name", &body.name, 120);
        let locale = profile::locale(&mut validator, "locale", body.locale.as_deref().unwrap_or("en"));
        let timezone = profile::timezone(
            &mut validator,
            "timezone",
            body.timezone.as_deref().unwrap_or("UTC"),
        );
        validator.finish()?;
        let admin = NewColleague::parse(&body.admin.email, body.admin.full_name.as_deref())?;
        Ok(Self {
            name,
            locale,
            timezone,
            admin,
        })
    }

    /// Where the invitation goes.
    #[must_use]
    pub fn admin_email(&self) -> &Email {
        self.admin.email()
    }

    /// The key under which a repetition finds what this made: a repetition of all of it.
    #[must_use]
    pub fn key(&self, sealer: &Sealer, key: &str) -> SignupKey {
        let asked = json!([
            self.name,
            self.locale,
            self.timezone,
            self.admin.email().normalised,
            self.admin.full_name()
        ]);
        SignupKey::new(sealer, "provisioned", key, &asked)
    }
}

/// One page of all companies.
///
/// # Errors
/// 503 when the database is away.
pub async fn list(db: &Db, filter: CompanyFilter, page: &PageRequest) -> Result<Page<CompanySummary>> {
    let (at, id) = match &page.after {
        Some((Key::Timestamp(at), id)) => (Some(*at), Some(*id)),
        _ => (None, None),
    };
    let status = filter.status.map(CompanyStatus::as_str);
    let limit = i64::from(page.limit) + 1;
    let rows = db
        .lookup(PAGE, &[&status, &at, &id, &page.descending, &limit])
        .await?;
    let summary = |row: &Row| CompanySummary {
        id: row.get("id"),
        name: row.get("name"),
        slug: row.get("slug"),
        status: CompanyStatus::from_column(row.get("status")),
        created_at: row.get("created_at"),
    };
    Ok(
        page.finish(rows.iter().map(summary).collect(), |company: &CompanySummary| {
            (Key::Timestamp(company.created_at), company.id)
        }),
    )
}

/// The entered company; that it was looked at is in its audit log.
///
/// # Errors
/// 404 when there is none.
pub async fn find(tx: &Tx) -> Result<Company> {
    let company = read(tx, FIND).await?;
    log::record(tx, "tenant.read", "tenant", Some(company.id), &json!({})).await?;
    Ok(company)
}

/// As [`find`], silently.
///
/// # Errors
/// As [`find`].
pub(crate) async fn find_silently(tx: &Tx) -> Result<Company> {
    read(tx, FIND).await
}

/// As [`find`], silently, and holds the row until the transaction ends.
///
/// # Errors
/// As [`find`].
pub async fn find_for_update(tx: &Tx) -> Result<Company> {
    read(tx, FIND_FOR_UPDATE).await
}

async fn read(tx: &Tx, sql: &str) -> Result<Company> {
    let row = tx
        .query_opt(sql, &[&tx.tenant().0])
        .await?
        .ok_or_else(Error::not_found)?;
    Ok(Company {
        id: row.get("id"),
        name: row.get("name"),
        slug: row.get("slug"),
        status: CompanyStatus::from_column(row.get("status")),
        locale: row.get("locale"),
        timezone: row.get("timezone"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}

/// Makes the company that the transaction entered and invites its super admin.
///
/// # Errors
/// 409 when the key was used meanwhile: see [`signup::earlier`].
pub async fn insert(
    tx: &Tx,
    new: &NewCompany,
    key: Option<&SignupKey>,
    app_url: &str,
) -> Result<Provisioned> {
    let tenant = tenant::insert(tx, &new.name).await?;
    let now = tx.clock().now();
    let about = json!({ "name": tenant.name, "slug": tenant.slug });
    log::record(tx, "tenant.created", "tenant", Some(tenant.id), &about).await?;
    let active = CompanyStatus::Active.as_str();
    tx.execute(
        UPDATE,
        &[
            &tenant.id,
            &tenant.name,
            &active,
            &new.locale,
            &new.timezone,
            &now,
        ],
    )
    .await?;
    let super_admin = tx.query_one(SUPER_ADMIN, &[]).await?;
    let grants = Granted {
        role_ids: vec![super_admin.get(0)],
        group_ids: Vec::new(),
    };
    let admin_user_id = invite::insert(tx, &new.admin, &grants, Start::Invited, app_url).await?;
    if let Some(key) = key {
        signup::remember(tx, key, admin_user_id).await?;
    }
    event::publish(tx, "tenant.created", tenant.id, &json!({})).await?;
    let company = read(tx, FIND).await?;
    Ok(Provisioned {
        company,
        admin_user_id,
    })
}

/// Writes a changed company, as [`UpdateCompany::apply`] made it from the one that
/// [`find_for_update`] read. A suspended company's users are refused at their next request.
///
/// # Errors
/// As the database fails.
pub async fn update(tx: &Tx, before: &Company, after: &Company) -> Result<()> {
    let params: [&(dyn db::ToSql + Sync); 6] = [
        &after.id,
        &after.name,
        &after.status.as_str(),
        &after.locale,
        &after.timezone,
        &after.updated_at,
    ];
    let payload = json!({ "status": after.status });
    let event_type = match after.status {
        status if status == before.status => "tenant.updated",
        CompanyStatus::Active => "tenant.activated",
        _ => "tenant.suspended",
    };
    futures::try_join!(
        tx.execute(UPDATE, &params),
        event::publish(tx, event_type, after.id, &payload)
    )
    .map(drop)
}

impl UpdateCompany {
    /// The company after the change.
    ///
    /// # Errors
    /// 422 with every field that is wrong; 409 when the company is being deleted.
    pub fn apply(&self, current: &Company, now: Timestamp) -> Result<Company> {
        if current.status == CompanyStatus::Deleting {
            let message = "The company is being deleted, which can't be undone.";
            return Err(Error::new(Code::Conflict, message));
        }
        let mut validator = Validator::default();
        if matches!(self.status, Some(CompanyStatus::Closed | CompanyStatus::Deleting)) {
            let message = "DELETE /v1/tenants/{id} closes a company; here it is active or suspended.";
            validator.reject("status", "not_allowed", message);
        }
        let name = self.name.as_deref().map(|name| validator.text("name", name, 120));
        let locale = self
            .locale
            .as_deref()
            .map(|tag| profile::locale(&mut validator, "locale", tag));
        let timezone = self
            .timezone
            .as_deref()
            .map(|name| profile::timezone(&mut validator, "timezone", name));
        let changed = Company {
            name: name.unwrap_or_else(|| current.name.clone()),
            status: self.status.unwrap_or(current.status),
            locale: locale.unwrap_or_else(|| current.locale.clone()),
            timezone: timezone.unwrap_or_else(|| current.timezone.clone()),
            updated_at: now,
            ..current.clone()
        };
        validator.finish().map(|()| changed)
    }
}

/// A company that an earlier request with the same key made.
///
/// # Errors
/// 404 when it is gone.
pub async fn find_provisioned(tx: &Tx, admin_user_id: Uuid) -> Result<Provisioned> {
    let company = read(tx, FIND).await?;
    Ok(Provisioned {
        company,
        admin_user_id,
    })
}
