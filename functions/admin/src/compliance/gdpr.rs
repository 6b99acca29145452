//! The right to one's data, and to be forgotten (S18.5).

mod archive;

use super::export::{LINK_LIFETIME, Limits, expiry};
use crate::App;
use crate::people::ownership;
use archive::Archive;
use audit::gdpr::{self, PAGE, Person, Record, Traces, exports_of};
use audit::log;
use axum::extract::State;
use db::Tx;
use identity::lifecycle;
use jiff::Timestamp;
use kernel::{Caller, Error, Result};
use notifications::gdpr::Of;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;
use web::{Auth, Created, Json};

/// What kind of person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubjectType {
    User,
    Contact,
}

/// Whose data is asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportPerson {
    pub subject_type: SubjectType,
    pub subject_id: Uuid,
}

/// Who is to be forgotten.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasePerson {
    pub subject_type: SubjectType,
    pub subject_id: Uuid,
    /// The person's display name or id, typed once more: this can't be taken back.
    #[schemars(length(min = 1, max = 300))]
    pub confirm: String,
    /// Of a user who owns records: an active colleague who gets them.
    pub reassign_to: Option<Uuid>,
}

/// Where a person's data is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PersonExport {
    /// A zip of JSON files, good for 15 minutes.
    pub url: String,
    pub expires_at: Timestamp,
    pub files: Vec<ExportedFile>,
}

/// A file of the zip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedFile {
    pub name: String,
    pub records: u64,
}

/// That a person is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erasure {
    pub id: Uuid,
    pub subject_type: SubjectType,
    pub subject_id: Uuid,
    pub erased_at: Timestamp,
}

fn person(subject_type: SubjectType, id: Uuid) -> Person {
    match subject_type {
        SubjectType::User => Person::User(id),
        SubjectType::Contact => Person::Contact(id),
    }
}

/// Exports everything that is held on a person.
///
/// Answers where to download a zip of JSON files, one a kind of record, within 15 minutes; it is gone
/// after a day. A contact that was deleted and came back has several records, of which the older are in
/// the archive: all that share an address are one person's, here and at the erasure. Encrypted fields are in the clear. The export is audited. A repetition with the same
/// `Idempotency-Key` writes the same file anew and answers with a new link to it.
pub async fn export(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<ExportPerson>,
) -> web::Result<Created<PersonExport>> {
    let person = person(body.subject_type, body.subject_id);
    let subject = app
        .db
        .read(&caller, async |tx| subject(&tx, person).await)
        .await?;
    // First the line, so that nobody gets a link without one. A repetition gets the id again and
    // writes the same object anew: also one that was begun and never finished.
    let id = app.db.clock().id();
    let noted = app.db.write(&caller, async |tx| {
        let told = json!({ "export_id": id });
        log::record(&tx, "gdpr.exported", person.kind(), Some(person.id()), &told).await?;
        Ok(id)
    });
    let id = noted.await?;
    let key = format!("{}gdpr/{}/{id}.zip", exports_of(caller.tenant()), person.id());
    let mut archive = Archive::begin(app.bucket.upload(key.clone(), "application/zip"));
    let files = match fill(&app, &caller, &subject, &mut archive).await {
        Ok(files) => files,
        Err(error) => {
            archive.abort().await;
            return Err(error.into());
        }
    };
    archive.finish().await?;
    let url = app
        .bucket
        .presigned(&key, "personal-data.zip", LINK_LIFETIME)
        .await?;
    Ok(Created(PersonExport {
        url,
        expires_at: expiry(&app)?,
        files,
    }))
}

/// Erases a person.
///
/// A contact goes with channels, conversations, messages and what providers posted of them; of a user
/// a row without a name stays, so that what they did keeps its author. Audit lines lose what they said
/// of the person, and still verify. `confirm` repeats the person's name or id. 409 while the user owns
/// contacts or conversations, unless `reassign_to` says who gets them; for the caller; and for the last
/// super admin. 403 for a super admin, unless the caller is one.
pub async fn erase(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<ErasePerson>,
) -> web::Result<Json<Erasure>> {
    let person = person(body.subject_type, body.subject_id);
    let erased = app.db.write(&caller, async |tx| {
        let mut traces = Traces::default();
        match person {
            Person::Contact(id) => erase_contact(&tx, id, &body, &mut traces).await?,
            Person::User(id) => erase_user(&tx, id, &body, &mut traces).await?,
        }
        notifications::gdpr::forget_reports(&tx, &traces).await?;
        messaging::gdpr::forget_webhooks(&tx, &traces).await?;
        let id = gdpr::erase(&tx, person, traces).await?;
        Ok(Erasure {
            id,
            subject_type: body.subject_type,
            subject_id: body.subject_id,
            erased_at: tx.clock().now(),
        })
    });
    let erased = erased.await?;
    // Any export of the company may name the person. The scheduler looks again later, also for one
    // that is being written now.
    if let Err(error) = app.bucket.delete_all(&exports_of(caller.tenant())).await {
        tracing::warn!(%error, "exports are left to the scheduler to delete");
    }
    Ok(Json(erased))
}

async fn erase_contact(tx: &Tx, id: Uuid, body: &ErasePerson, traces: &mut Traces) -> Result<()> {
    if body.reassign_to.is_some() {
        return Err(Error::field(
            "reassign_to",
            "not_allowed",
            "A contact owns no records.",
        ));
    }
    let records = contacts::gdpr::lock(tx, id).await?;
    check(&body.confirm, &records.name, id)?;
    contacts::gdpr::trace(tx, &records, traces).await?;
    // In the order in which whoever stores a message or settles a delivery takes them: conversations,
    // deliveries, messages. The contact's own rows last.
    let held = messaging::gdpr::hold(tx, &records.ids).await?;
    let of = Of {
        contacts: &records.ids,
        deliveries: &held.written,
        user: None,
    };
    notifications::gdpr::empty(tx, &of, traces).await?;
    messaging::gdpr::erase(tx, &held, traces).await?;
    approvals::gdpr::erase(tx, &records.ids, traces).await?;
    contacts::gdpr::erase(tx, &records.ids).await
}

async fn erase_user(tx: &Tx, id: Uuid, body: &ErasePerson, traces: &mut Traces) -> Result<()> {
    let name = identity::gdpr::lock(tx, id, body.reassign_to, traces).await?;
    let (target, heir) = lifecycle::target_and_heir(tx, id, body.reassign_to).await?;
    target.must_be_another("Nobody erases their own account; ask a colleague.")?;
    check(&body.confirm, &name, id)?;
    let handed = match &heir {
        Some(heir) => ownership::hand_over(tx, &target, heir).await?,
        None => ownership::refuse_any(tx, id).await?,
    };
    notifications::gdpr::empty_inbox(tx, id).await?;
    let of = Of {
        user: Some(id),
        ..Of::default()
    };
    notifications::gdpr::empty(tx, &of, traces).await?;
    approvals::gdpr::erase(tx, &[id], traces).await?;
    identity::gdpr::erase(tx, id, traces).await?;
    // The audit log last: a refresh takes its session first, and then the log.
    if heir.is_some() {
        log::record(tx, "user.recordsReassigned", "user", Some(id), &handed).await?;
    }
    Ok(())
}

fn check(confirm: &str, name: &str, id: Uuid) -> Result<()> {
    let confirm = confirm.trim();
    if confirm == name || confirm.eq_ignore_ascii_case(&id.to_string()) {
        return Ok(());
    }
    Err(Error::field(
        "confirm",
        "mismatch",
        "Repeat the person's display name or id, to be sure that it is this one.",
    ))
}

/// A file of the zip, and where its records come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Profile,
    Channels,
    Conversations,
    Messages,
    Sessions,
    Roles,
    Groups,
    ApiKeys,
    Invites,
    Identities,
    Links,
    PhoneVerifications,
    Preferences,
    Entitlements,
    Inbox,
    Requests,
    Decisions,
    Deliveries,
    AuditLines,
}

fn sources(person: Person) -> &'static [(&'static str, Source)] {
    match person {
        Person::Contact(_) => &[
            ("contact.json", Source::Profile),
            ("channels.json", Source::Channels),
            ("conversations.json", Source::Conversations),
            ("messages.json", Source::Messages),
            ("deliveries.json", Source::Deliveries),
            ("audit.json", Source::AuditLines),
        ],
        Person::User(_) => &[
            ("user.json", Source::Profile),
            ("sessions.json", Source::Sessions),
            ("roles.json", Source::Roles),
            ("groups.json", Source::Groups),
            ("api_keys.json", Source::ApiKeys),
            ("invites.json", Source::Invites),
            ("identities.json", Source::Identities),
            ("links.json", Source::Links),
            ("phone_verifications.json", Source::PhoneVerifications),
            ("preferences.json", Source::Preferences),
            ("entitlements.json", Source::Entitlements),
            ("inbox.json", Source::Inbox),
            ("requests.json", Source::Requests),
            ("decisions.json", Source::Decisions),
            ("deliveries.json", Source::Deliveries),
            ("audit.json", Source::AuditLines),
        ],
    }
}

/// Whose data, by the ids of what is known of the person.
struct Subject {
    person: Person,
    /// A contact's records; a user has one.
    records: Vec<Uuid>,
    /// The records whose audit lines are about the person.
    entities: Vec<Uuid>,
}

/// # Errors
/// 404 when the company has no such person.
async fn subject(tx: &Tx, person: Person) -> Result<Subject> {
    let (records, channels) = match person {
        Person::Contact(id) => {
            let records = contacts::gdpr::records(tx, id).await?.ids;
            let channels = contacts::gdpr::channel_ids(tx, &records).await?;
            (records, channels)
        }
        Person::User(id) => {
            identity::gdpr::name(tx, id).await?;
            (vec![id], Vec::new())
        }
    };
    Ok(Subject {
        person,
        entities: [records.as_slice(), &channels].concat(),
        records,
    })
}

async fn fill(
    app: &App,
    caller: &Caller,
    subject: &Subject,
    archive: &mut Archive,
) -> Result<Vec<ExportedFile>> {
    let until = Instant::now() + Limits::DEFAULT.time;
    let mut files = Vec::new();
    for (name, source) in sources(subject.person) {
        archive.file(name).await?;
        let (mut after, mut records) = (Uuid::nil(), 0);
        loop {
            if Instant::now() >= until {
                return Err(Error::unavailable("a person's export takes too long"));
            }
            let page = app
                .db
                .read(caller, async |tx| read(&tx, subject, *source, after).await);
            let page = page.await?;
            archive.records(&page).await?;
            records += u64::try_from(page.len()).map_err(Error::internal)?;
            match page.last() {
                Some(last) if i64::try_from(page.len()).is_ok_and(|len| len == PAGE) => after = last.id,
                _ => break,
            }
        }
        archive.end_of_file().await?;
        files.push(ExportedFile {
            name: (*name).to_owned(),
            records,
        });
    }
    Ok(files)
}

async fn read(tx: &Tx, subject: &Subject, source: Source, after: Uuid) -> Result<Vec<Record>> {
    let (id, person, records) = (subject.person.id(), subject.person, &subject.records);
    match (source, person) {
        (Source::Profile, Person::Contact(_)) => contacts::gdpr::profile(tx, records).await,
        (Source::Profile, Person::User(_)) => identity::gdpr::profile(tx, id).await,
        (Source::Channels, _) => contacts::gdpr::channels(tx, records).await,
        (Source::Conversations, _) => messaging::gdpr::conversations(tx, records, after).await,
        (Source::Messages, _) => messaging::gdpr::messages(tx, records, after).await,
        (Source::Sessions, _) => identity::gdpr::sessions(tx, id, after).await,
        (Source::Roles, _) => identity::gdpr::roles(tx, id, after).await,
        (Source::Groups, _) => identity::gdpr::groups(tx, id, after).await,
        (Source::ApiKeys, _) => identity::gdpr::api_keys(tx, id, after).await,
        (Source::Invites, _) => identity::gdpr::invites(tx, id, after).await,
        (Source::Identities, _) => identity::gdpr::identities(tx, id, after).await,
        (Source::Links, _) => identity::gdpr::links(tx, id, after).await,
        (Source::PhoneVerifications, _) => identity::gdpr::phone_verifications(tx, id, after).await,
        (Source::Preferences, _) => identity::gdpr::preferences(tx, id, after).await,
        (Source::Entitlements, _) => identity::gdpr::overrides(tx, id, after).await,
        (Source::Inbox, _) => notifications::gdpr::inbox(tx, id, after).await,
        (Source::Requests, _) => approvals::gdpr::requests(tx, id, after).await,
        (Source::Decisions, _) => approvals::gdpr::decisions(tx, id, after).await,
        (Source::Deliveries, _) => {
            let of = Of {
                contacts: if person.user_id().is_none() { records } else { &[] },
                user: person.user_id(),
                deliveries: &[],
            };
            notifications::gdpr::deliveries(tx, &of, after).await
        }
        (Source::AuditLines, _) => gdpr::lines(tx, &subject.entities, person.user_id(), after).await,
    }
}
