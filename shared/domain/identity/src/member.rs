//! The user as the company's admins see and change them (S12.3, S12.4).

use crate::access::Granter;
use crate::dictionary::Kind;
use crate::profile::{is_https, locale, timezone};
use audit::event;
use db::{Row, Sql, Tx};
use jiff::Timestamp;
use kernel::page::{Key, KeyType, Sort};
use kernel::{Code, Email, Error, Page, PageRequest, Patch, Result, Validator, text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Where a user stands (S12.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Has a link and has not followed it yet; can't log in.
    Invited,
    Active,
    /// Can't log in for now.
    Suspended,
    /// Left; is only referred to.
    Deactivated,
}

impl Status {
    /// As in the column and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
        }
    }

    pub(crate) fn from_column(value: &str) -> Self {
        match value {
            "invited" => Self::Invited,
            "active" => Self::Active,
            "suspended" => Self::Suspended,
            _ => Self::Deactivated,
        }
    }
}

/// A role or group by its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    pub id: Uuid,
    pub code: String,
    pub name: String,
}

/// How a user's account is guarded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Security {
    /// `totp`, `sms`, `whatsapp`; empty: no second factor.
    pub twofa_methods: Vec<String>,
    /// The phone number with its middle hidden.
    pub phone_masked: Option<String>,
    /// As in ISO 3166: `EG`. Null without a phone, and for one of no country.
    pub phone_country: Option<String>,
    pub phone_verified_at: Option<Timestamp>,
    /// How many codes are left that stand in for a second factor.
    pub backup_codes_left: i64,
    /// False until the user chooses one.
    pub has_password: bool,
    /// Identity providers that the user can sign in with: `google`, …
    pub identity_providers: Vec<String>,
    /// In how many places the user is signed in; `sessions` tells which.
    pub active_sessions: i64,
}

/// A user of the company.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    pub id: Uuid,
    pub email: String,
    /// Empty until an invited user gives it.
    pub full_name: String,
    pub avatar_url: Option<String>,
    pub status: Status,
    pub job_title_id: Option<Uuid>,
    pub department_id: Option<Uuid>,
    /// Whom the user reports to; approvals ask this user.
    pub manager_user_id: Option<Uuid>,
    pub locale: Option<String>,
    /// An IANA name: `Asia/Kuwait`.
    pub timezone: Option<String>,
    pub email_verified_at: Option<Timestamp>,
    pub last_login_at: Option<Timestamp>,
    pub security: Security,
    /// Roles given to the user themself; `effective-permissions` also counts groups and the role tree.
    pub roles: Vec<Named>,
    pub groups: Vec<Named>,
    /// Where the audit log tells of this user.
    pub audit_url: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Member {
    /// What [`UpdateMember`] can change, for the entity tag: a login or another role meanwhile is nothing
    /// that a saved form would undo.
    #[must_use]
    pub fn profile(&self) -> Value {
        json!({
            "full_name": self.full_name,
            "avatar_url": self.avatar_url,
            "job_title_id": self.job_title_id,
            "department_id": self.department_id,
            "manager_user_id": self.manager_user_id,
            "locale": self.locale,
            "timezone": self.timezone,
        })
    }
}

/// The body that changes a user: what is absent stays, what is null goes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMember {
    #[schemars(length(min = 1, max = 120))]
    pub full_name: Option<String>,
    /// An `https://` address.
    #[serde(default)]
    pub avatar_url: Patch<String>,
    #[serde(default)]
    pub job_title_id: Patch<Uuid>,
    #[serde(default)]
    pub department_id: Patch<Uuid>,
    #[serde(default)]
    pub manager_user_id: Patch<Uuid>,
    /// `en`, `ar`, `ar-EG`.
    #[serde(default)]
    pub locale: Patch<String>,
    /// An IANA name: `Asia/Kuwait`.
    #[serde(default)]
    pub timezone: Patch<String>,
}

/// The filters of the list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct MemberFilter {
    pub status: Option<Status>,
    /// The code of a role given to the user.
    pub role: Option<String>,
    /// The id of a group that the user is in.
    pub group: Option<Uuid>,
    /// Logged in last at or after this moment.
    pub last_login_from: Option<Timestamp>,
    /// Logged in last before this moment.
    pub last_login_to: Option<Timestamp>,
    pub phone_verified: Option<bool>,
    /// Whether the user has a second factor.
    pub twofa: Option<bool>,
    /// Words that the name starts with, all of them; or one whole e-mail address.
    pub search: Option<String>,
}

/// What the list can be sorted by.
pub static SORTS: &[Sort] = &[
    Sort {
        name: "created_at",
        column: "u.created_at",
        key: KeyType::Timestamp,
    },
    Sort {
        name: "email",
        column: "u.email_norm",
        key: KeyType::Text,
    },
];

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.email, u.email_norm, u.full_name, u.avatar_url, u.status, u.job_title_id, u.department_id,
                    u.manager_user_id, u.locale, u.timezone, u.email_verified_at, u.last_login_at, u.twofa_methods,
                    u.phone_masked, u.phone_country, u.phone_verified_at, u.created_at, u.updated_at,
                    (SELECT count(*) FROM sessions s WHERE s.tenant_id = u.tenant_id AND s.user_id = u.id
                        AND s.revoked_at IS NULL AND s.expires_at > now()) AS active_sessions,
                    (SELECT count(*) FROM backup_codes b WHERE b.tenant_id = u.tenant_id AND b.user_id = u.id
                        AND b.used_at IS NULL) AS backup_codes_left,
                    u.password_hash IS NOT NULL AS has_password,
                    ARRAY(SELECT i.provider FROM user_identities i
                          WHERE i.tenant_id = u.tenant_id AND i.user_id = u.id ORDER BY 1) AS identity_providers,
                    (SELECT jsonb_agg(jsonb_build_object('id', r.id, 'code', r.code, 'name', r.name) ORDER BY r.code)
                     FROM user_roles ur JOIN roles r ON r.id = ur.role_id
                     WHERE ur.tenant_id = u.tenant_id AND ur.user_id = u.id) AS roles,
                    (SELECT jsonb_agg(jsonb_build_object('id', g.id, 'code', g.code, 'name', g.name) ORDER BY g.code)
                     FROM group_members m JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
                     WHERE m.tenant_id = u.tenant_id AND m.user_id = u.id) AS groups
             FROM users u",
            $rest
        )
    };
}

const LIST: &str = select!("");
const FIND: &str = select!(" WHERE u.tenant_id = $1 AND u.id = $2");
const LOCK: &str = select!(" WHERE u.tenant_id = $1 AND u.id = $2 FOR NO KEY UPDATE OF u");

const UPDATE: &str =
    "UPDATE users SET full_name = $3, avatar_url = $4, job_title_id = $5, department_id = $6,
            manager_user_id = $7, locale = $8, timezone = $9, updated_at = $10
     WHERE tenant_id = $1 AND id = $2";

const REPLACE_NAMES: &str = "WITH gone AS (
         DELETE FROM user_names WHERE tenant_id = $1 AND user_id = $2 AND word <> ALL ($3)
     )
     INSERT INTO user_names (tenant_id, word, user_id) SELECT $1, word, $2 FROM unnest($3::text[]) AS word
     ON CONFLICT DO NOTHING";

/// What a changed user refers to is the company's, of the right kind, and in use.
const REFERENCES: &str = "SELECT
     ($2::uuid IS NULL OR EXISTS (SELECT FROM dictionary_codes d WHERE (d.tenant_id = $1 OR d.tenant_id IS NULL)
         AND d.id = $2 AND d.kind = $5 AND d.is_active))
     AND ($3::uuid IS NULL OR EXISTS (SELECT FROM dictionary_codes d WHERE (d.tenant_id = $1 OR d.tenant_id IS NULL)
         AND d.id = $3 AND d.kind = $6 AND d.is_active))
     AND ($4::uuid IS NULL OR EXISTS (SELECT FROM users m WHERE m.tenant_id = $1 AND m.id = $4 AND m.status = 'active'))";

/// # Errors
/// 404 when the company has no such user.
pub async fn find(tx: &Tx, id: Uuid) -> Result<Member> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &id]).await?;
    read(&row.ok_or_else(Error::not_found)?)
}

/// As [`find`], and holds the row until the transaction ends.
///
/// # Errors
/// As [`find`].
pub async fn find_for_update(tx: &Tx, id: Uuid) -> Result<Member> {
    let row = tx.query_opt(LOCK, &[&tx.tenant().0, &id]).await?;
    read(&row.ok_or_else(Error::not_found)?)
}

/// One page of the company's users.
///
/// # Errors
/// As the database fails.
pub async fn list(tx: &Tx, filter: &MemberFilter, page: &PageRequest) -> Result<Page<Member>> {
    let mut sql = Sql::list(tx, LIST, "u");
    sql.filter_opt("u.status = $", filter.status.map(Status::as_str));
    sql.filter_opt(
        "EXISTS (SELECT FROM user_roles ur JOIN roles r ON r.id = ur.role_id
                 WHERE ur.tenant_id = u.tenant_id AND ur.user_id = u.id AND r.code = $)",
        filter.role.clone(),
    );
    sql.filter_opt(
        "EXISTS (SELECT FROM group_members m WHERE m.tenant_id = u.tenant_id AND m.user_id = u.id AND m.group_id = $)",
        filter.group,
    );
    sql.filter_opt("u.last_login_at >= $", filter.last_login_from);
    sql.filter_opt("u.last_login_at < $", filter.last_login_to);
    sql.filter_opt("(u.phone_verified_at IS NOT NULL) = $", filter.phone_verified);
    sql.filter_opt("(u.twofa_methods <> '{}') = $", filter.twofa);
    let search = filter.search.as_deref().unwrap_or("");
    if let Some(email) = Email::parse(search) {
        sql.filter("u.email_norm = $", email.normalised);
    } else {
        for word in text::search_words(search) {
            sql.filter(
                "u.id IN (SELECT n.user_id FROM user_names n WHERE n.tenant_id = u.tenant_id
                          AND n.word >= $ AND n.word < $ || U&'\\+10FFFF')",
                word,
            );
        }
    }
    let by_email = page.sort.key == KeyType::Text;
    let listed = sql.fetch(
        tx,
        page,
        |row| Ok((row.get::<_, String>("email_norm"), read(row)?)),
        |(email, member)| {
            let key = if by_email {
                Key::Text(email.clone())
            } else {
                Key::Timestamp(member.created_at)
            };
            (key, member.id)
        },
    );
    let listed = listed.await?;
    Ok(Page {
        data: listed.data.into_iter().map(|(_, member)| member).collect(),
        next_cursor: listed.next_cursor,
    })
}

/// Writes a changed user, as [`UpdateMember::apply`] made it from the one that
/// [`find_for_update`] read.
///
/// # Errors
/// 404 when a job title, department or manager is not there to choose; 403 for a manager by whom the
/// caller would get a say, or choose who has it.
pub async fn update(tx: &Tx, before: &Member, after: &Member) -> Result<()> {
    let tenant = tx.tenant().0;
    let changed = |before: Option<Uuid>, after: Option<Uuid>| after.filter(|_| before != after);
    let allowed = tx
        .query_one(
            REFERENCES,
            &[
                &tenant,
                &changed(before.job_title_id, after.job_title_id),
                &changed(before.department_id, after.department_id),
                &changed(before.manager_user_id, after.manager_user_id),
                &Kind::JobTitle.as_str(),
                &Kind::Department.as_str(),
            ],
        )
        .await?;
    if !allowed.get::<_, bool>(0) {
        return Err(Error::not_found());
    }
    if before.manager_user_id != after.manager_user_id {
        may_report(&Granter::of(tx).await?, after)?;
    }
    let params: [&(dyn db::ToSql + Sync); 10] = [
        &tenant,
        &after.id,
        &after.full_name,
        &after.avatar_url,
        &after.job_title_id,
        &after.department_id,
        &after.manager_user_id,
        &after.locale,
        &after.timezone,
        &after.updated_at,
    ];
    let payload = json!({});
    futures::try_join!(
        tx.execute(UPDATE, &params),
        write_names(tx, after.id, &after.full_name),
        event::publish(tx, "user.updated", after.id, &payload),
    )
    .map(drop)
}

/// Approvals ask the manager of who asks or owns a record. Nobody chooses who that is for themselves, or
/// becomes it by themselves; a super admin may decide anyway.
fn may_report(granter: &Granter, user: &Member) -> Result<()> {
    let is_own = granter.is(user.id) || user.manager_user_id.is_some_and(|manager| granter.is(manager));
    if is_own && !granter.is_super_admin() {
        return Err(Error::new(
            Code::Forbidden,
            "You can't choose your own manager, or make yourself somebody's; ask somebody else who may.",
        ));
    }
    Ok(())
}

/// Makes a user findable by the words of this name, and no other.
///
/// # Errors
/// As the database fails.
pub(crate) async fn write_names(tx: &Tx, id: Uuid, full_name: &str) -> Result<()> {
    let words = text::search_words(full_name);
    tx.execute(REPLACE_NAMES, &[&tx.tenant().0, &id, &words])
        .await
        .map(drop)
}

impl UpdateMember {
    /// The user after the change.
    ///
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn apply(self, current: &Member, now: Timestamp) -> Result<Member> {
        let mut validator = Validator::default();
        let full_name = self
            .full_name
            .as_deref()
            .map(|name| validator.text("full_name", name, 120));
        if let Some(url) = self.avatar_url.value()
            && !is_https(url)
        {
            validator.reject(
                "avatar_url",
                "invalid",
                "Give an https:// address of at most 2048 characters.",
            );
        }
        if self.manager_user_id.value() == Some(&current.id) {
            validator.reject("manager_user_id", "invalid", "Nobody is their own manager.");
        }
        let locale = self
            .locale
            .value()
            .map(|tag| locale(&mut validator, "locale", tag));
        let timezone = self
            .timezone
            .value()
            .map(|name| timezone(&mut validator, "timezone", name));
        let changed = Member {
            full_name: full_name.unwrap_or_else(|| current.full_name.clone()),
            avatar_url: self.avatar_url.apply(current.avatar_url.clone()),
            job_title_id: self.job_title_id.apply(current.job_title_id),
            department_id: self.department_id.apply(current.department_id),
            manager_user_id: self.manager_user_id.apply(current.manager_user_id),
            locale: locale.or_else(|| self.locale.apply(current.locale.clone())),
            timezone: timezone.or_else(|| self.timezone.apply(current.timezone.clone())),
            updated_at: now,
            ..current.clone()
        };
        validator.finish().map(|()| changed)
    }
}

fn read(row: &Row) -> Result<Member> {
    let id: Uuid = row.get("id");
    let named = |column: &str| -> Result<Vec<Named>> {
        let value: Option<Value> = row.get(column);
        value.map_or_else(
            || Ok(Vec::new()),
            |value| serde_json::from_value(value).map_err(Error::internal),
        )
    };
    Ok(Member {
        id,
        email: row.get("email"),
        full_name: row.get("full_name"),
        avatar_url: row.get("avatar_url"),
        status: Status::from_column(row.get("status")),
        job_title_id: row.get("job_title_id"),
        department_id: row.get("department_id"),
        manager_user_id: row.get("manager_user_id"),
        locale: row.get("locale"),
        timezone: row.get("timezone"),
        email_verified_at: row.get("email_verified_at"),
        last_login_at: row.get("last_login_at"),
        security: Security {
            twofa_methods: row.get("twofa_methods"),
            phone_masked: row.get("phone_masked"),
            phone_country: row.get("phone_country"),
            phone_verified_at: row.get("phone_verified_at"),
            backup_codes_left: row.get("backup_codes_left"),
            has_password: row.get("has_password"),
            identity_providers: row.get("identity_providers"),
            active_sessions: row.get("active_sessions"),
        },
        roles: named("roles")?,
        groups: named("groups")?,
        audit_url: format!("/v1/admin/audit-logs?entity_id={id}"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    })
}
