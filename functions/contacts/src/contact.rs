//! One contact, and the list of them.

use crate::App;
use approvals::{ApprovalRequest, Command, Facts, Gate};
use axum::extract::State;
use contacts::contact::{self, Contact, ContactFilter, CreateContact, NewContact, UpdateContact};
use db::Tx;
use kernel::Page;
use kernel::page::PageQuery;
use uuid::Uuid;
use web::{Accepted, Auth, Created, Either, IdPath, IfMatch, Json, NoContent, Path, Query, Record, Result};

/// Lists contacts, newest first.
///
/// `search` finds words that a name starts with; `phone` and `email` find exactly.
pub async fn list(
    State(app): State<App>,
    Auth(caller): Auth,
    Query(filter): Query<ContactFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Contact>>> {
    let page = page.check(contact::SORTS)?;
    let listed = app
        .db
        .read(&caller, async |tx| contact::list(&tx, &filter, &page).await)
        .await?;
    Ok(Json(listed))
}

/// Creates a contact.
///
/// A phone number or e-mail address belongs to one contact of a company: a second one with it is
/// refused with 409 `DUPLICATE`, naming the first. The owner is an active user of the company (404).
/// Counts against `contacts.max`: 422 `LIMIT_REACHED` when the plan holds no more.
pub async fn create(
    State(app): State<App>,
    Auth(caller): Auth,
    Json(body): Json<CreateContact>,
) -> Result<Created<Contact>> {
    let new = NewContact::parse(&body)?;
    let created = app
        .db
        .write(&caller, async |tx| contact::insert(&tx, &new).await)
        .await?;
    Ok(Created(created))
}

/// Gets a contact.
pub async fn get(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Record<Contact>> {
    let found = app
        .db
        .read(&caller, async |tx| contact::find(&tx, path.id).await)
        .await?;
    Ok(Record(found))
}

/// Changes a contact.
///
/// A merge-patch: fields that are absent stay, fields that are null are cleared. A new owner is an
/// active user of the company (404). With `If-Match`, only when nobody changed the contact meanwhile.
pub async fn update(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
    if_match: IfMatch,
    Json(body): Json<UpdateContact>,
) -> Result<Record<Contact>> {
    let updated = app.db.write(&caller, async |tx| {
        let current = contact::find_for_update(&tx, path.id, &body).await?;
        if_match.check(&current)?;
        let changed = body.apply(current, tx.clock().now())?;
        contact::update(&tx, &changed).await?;
        Ok(changed)
    });
    Ok(Record(updated.await?))
}

/// Deletes a contact.
///
/// It disappears from every list and its phone and e-mail are free for another; conversations and
/// the audit log keep referring to it. Where a policy asks for an approval of `contact.delete`, the
/// answer is 202 with the request, and the contact goes when it is approved.
pub async fn delete(
    State(app): State<App>,
    Auth(caller): Auth,
    Path(path): Path<IdPath>,
) -> Result<Either<NoContent, Accepted<ApprovalRequest>>> {
    let command = Command::ContactDelete { contact_id: path.id };
    let gate = app.db.write(&caller, async |tx| {
        let gate = approvals::gate(&tx, &app.app_url, &command, facts(&tx, path.id)).await?;
        if let Gate::Open = gate {
            contact::archive(&tx, path.id).await?;
        }
        Ok(gate)
    });
    Ok(match gate.await? {
        Gate::Open => Either::Done(NoContent),
        Gate::Waiting(request) => Either::Waits(Accepted(*request)),
    })
}

/// What policies can ask of a contact.
async fn facts(tx: &Tx, id: Uuid) -> kernel::Result<Facts> {
    let contact = contact::find(tx, id).await?;
    Ok(Facts::default()
        .with("owner_user_id", contact.owner_user_id)
        .with("lifecycle_stage", Some(contact.lifecycle_stage.as_str()))
        .with("channels", Some(contact.channels.len())))
}
