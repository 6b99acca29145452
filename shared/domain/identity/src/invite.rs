//! New colleagues: invited, or made at once, and the link with which they choose a password (S1.3,
//! S1.4, S12.2). What comes of following it is in `joining`.

use crate::admins;
use crate::escalation::Granted;
use crate::lifecycle::{self, Target};
use crate::member::{self, Status};
use crate::oauth;
use audit::{event, log};
use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use db::Tx;
use futures::future::try_join_all;
use jiff::SignedDuration;
use kernel::{Code, Email, Error, Result, Secret, TenantId, Validator};
use notifications::notice::{self, Channel, Notice, To};
use serde_json::json;
use uuid::Uuid;

/// How long a link is good for.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Lets secret scanners and people tell what they found.
const PREFIX: &str = "m3i_";
const SECRET_BYTES: usize = 32;

const INSERT_USER: &str =
    "INSERT INTO users (tenant_id, id, email, email_norm, full_name, status, created_at, updated_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (tenant_id, email_norm) DO NOTHING RETURNING id";
const TAKEN_BY: &str = "SELECT id, status FROM users WHERE tenant_id = $1 AND email_norm = $2";
const GIVE_ROLES: &str = "INSERT INTO user_roles (tenant_id, user_id, role_id, created_at)
     SELECT $1, $2, role_id, $4 FROM unnest($3::uuid[]) AS role_id";
const JOIN_GROUPS: &str = "INSERT INTO group_members (tenant_id, group_id, user_id, added_at)
     SELECT $1, group_id, $2, $4 FROM unnest($3::uuid[]) AS group_id";
/// A new link is the only one that works.
const REPLACE_LINKS: &str = "WITH old AS (
         UPDATE invites SET revoked_at = $7
         WHERE tenant_id = $1 AND user_id = ANY ($3) AND accepted_at IS NULL AND revoked_at IS NULL
     )
     INSERT INTO invites (tenant_id, id, user_id, token_hash, purpose, inviter_id, created_at, expires_at)
     SELECT $1, new.id, new.user_id, new.token_hash, $5, $6, $7, $8
     FROM unnest($2::uuid[], $3::uuid[], $4::bytea[]) AS new (id, user_id, token_hash)";
const SENDER: &str =
    "SELECT t.name, t.locale, (SELECT u.full_name FROM users u WHERE u.tenant_id = $1 AND u.id = $2)
     FROM tenants t WHERE t.id = $1";

/// The token of a link. It carries the company, so that no look-up across companies finds it.
#[derive(Clone, Debug)]
pub struct InviteToken {
    pub tenant: TenantId,
    text: Secret<String>,
}

impl InviteToken {
    fn generate(tenant: TenantId) -> Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        rand::fill(&mut secret).map_err(|_| Error::internal("no randomness"))?;
        let text = URL_SAFE_NO_PAD.encode([tenant.0.as_bytes().as_slice(), &secret].concat());
        Ok(Self {
            tenant,
            text: Secret::new(format!("{PREFIX}{text}")),
        })
    }

    /// # Errors
    /// The same as for a token that is over, for what can't be one.
    pub fn parse(text: &str) -> Result<Self> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
            let (tenant, secret) = bytes.split_first_chunk::<16>()?;
            (secret.len() == SECRET_BYTES).then(|| Self {
                tenant: TenantId(Uuid::from_bytes(*tenant)),
                text: Secret::new(text.to_owned()),
            })
        };
        read().ok_or_else(refused)
    }

    /// What is stored: 256 random bits need no salt and no slow hash.
    pub(crate) fn hash(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.text.expose().as_bytes())
            .as_ref()
            .to_vec()
    }
}

/// The answer to a link that does not work, whatever it does not work for: spent, expired, replaced,
/// of another company, or never there.
#[must_use]
pub fn refused() -> Error {
    Error::field(
        "token",
        "invalid_or_expired",
        "This invitation is not valid (any more); ask for a new one.",
    )
}

/// How a colleague begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Is one when they have followed the link.
    Invited,
    /// Is one now, and chooses a password with the link.
    Active,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Invite,
    Password,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Password => "password",
        }
    }
}

/// A checked colleague that is not stored yet.
#[derive(Clone, Debug)]
pub struct NewColleague {
    email: Email,
    full_name: Option<String>,
}

impl NewColleague {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn parse(email: &str, full_name: Option<&str>) -> Result<Self> {
        let mut validator = Validator::default();
        let parsed = Email::parse(email);
        if parsed.is_none() {
            validator.reject("email", "invalid", "This is not an e-mail address.");
        }
        let full_name = validator.optional_text("full_name", full_name, 120);
        validator.finish()?;
        let email = parsed.ok_or_else(|| Error::internal("an address was accepted and is none"))?;
        Ok(Self { email, full_name })
    }

    /// Where the link goes.
    #[must_use]
    pub fn email(&self) -> &Email {
        &self.email
    }

    pub(crate) fn full_name(&self) -> Option<&str> {
        self.full_name.as_deref()
    }
}

/// Makes a colleague with these roles and groups, and mails the link. `app_url` begins the link.
///
/// # Errors
/// 409 `DUPLICATE` when a user of the company has the address.
pub async fn insert(
    tx: &Tx,
    new: &NewColleague,
    grants: &Granted,
    start: Start,
    app_url: &str,
) -> Result<Uuid> {
    let (id, now, tenant) = (tx.clock().id(), tx.clock().now(), tx.tenant().0);
    let (status, event_type, purpose) = match start {
        Start::Invited => (Status::Invited, "user.invited", Purpose::Invite),
        Start::Active => (Status::Active, "user.created", Purpose::Password),
    };
    let full_name = new.full_name.as_deref().unwrap_or_default();
    let user_params: [&(dyn db::ToSql + Sync); 7] = [
        &tenant,
        &id,
        &new.email.address,
        &new.email.normalised,
        &full_name,
        &status.as_str(),
        &now,
    ];
    let (inserted, admins) =
        futures::try_join!(tx.query_opt(INSERT_USER, &user_params), admins::find(tx, None))?;
    if inserted.is_none() {
        return Err(duplicate(tx, &new.email).await?);
    }
    let role_params: [&(dyn db::ToSql + Sync); 4] = [&tenant, &id, &grants.role_ids, &now];
    let group_params: [&(dyn db::ToSql + Sync); 4] = [&tenant, &id, &grants.group_ids, &now];
    let about = json!({ "role_ids": grants.role_ids, "group_ids": grants.group_ids });
    let addressee = [Addressee {
        id,
        email: &new.email.address,
        locale: None,
    }];
    let notice = sent(id, full_name, &new.email.address);
    let invited = async {
        match start {
            // The row's own line says that it was created.
            Start::Active => Ok(()),
            Start::Invited => futures::try_join!(
                log::record(tx, event_type, "user", Some(id), &about),
                admins.tell(tx, &notice),
            )
            .map(drop),
        }
    };
    // On the heap: so many statements at once make a large future.
    let all = async {
        futures::try_join!(
            member::write_names(tx, id, full_name),
            tx.execute(GIVE_ROLES, &role_params),
            tx.execute(JOIN_GROUPS, &group_params),
            send_links(tx, &addressee, purpose, app_url),
            event::publish(tx, event_type, id, &about),
            invited,
        )
    };
    Box::pin(all).await.map(|_| id)
}

/// What the admins read of an invitation.
fn sent(user_id: Uuid, full_name: &str, email: &str) -> Notice {
    let name = if full_name.is_empty() { email } else { full_name };
    Notice::InviteSent {
        user_id,
        name: name.to_owned(),
    }
}

async fn duplicate(tx: &Tx, email: &Email) -> Result<Error> {
    let row = tx
        .query_one(TAKEN_BY, &[&tx.tenant().0, &email.normalised])
        .await?;
    let (user_id, status): (Uuid, String) = (row.get(0), row.get(1));
    Ok(taken().with_details(json!({ "user_id": user_id, "status": status })))
}

/// 409 for an address that a user of the company has.
pub(crate) fn taken() -> Error {
    Error::new(Code::Duplicate, "A user of the company has this address.")
}

/// Whether a user still waits for a first password, and so can be sent the link again.
///
/// # Errors
/// 409 when not.
pub fn may_be_sent_again(target: &Target) -> Result<()> {
    if target.status == Status::Invited || (target.status == Status::Active && target.has_no_password) {
        return Ok(());
    }
    Err(Error::new(
        Code::Conflict,
        "This user does not wait for an invitation.",
    ))
}

/// Mails new links to users that [`may_be_sent_again`] lets pass; those sent before are dead.
///
/// # Errors
/// As the database fails.
pub async fn resend(tx: &Tx, targets: &[Target], app_url: &str) -> Result<()> {
    let admins = admins::find(tx, None).await?;
    for (status, purpose) in [
        (Status::Invited, Purpose::Invite),
        (Status::Active, Purpose::Password),
    ] {
        let addressees: Vec<Addressee<'_>> = targets
            .iter()
            .filter(|target| target.status == status)
            .map(Addressee::of)
            .collect();
        let ids: Vec<Uuid> = addressees.iter().map(|addressee| addressee.id).collect();
        if ids.is_empty() {
            continue;
        }
        let about = json!({});
        futures::try_join!(
            send_links(tx, &addressees, purpose, app_url),
            log::record_each(tx, "user.inviteResent", "user", &ids, &about),
        )?;
    }
    let invited: Vec<&Target> = targets
        .iter()
        .filter(|target| target.status == Status::Invited)
        .collect();
    match invited.as_slice() {
        [] => Ok(()),
        [one] => admins.tell(tx, &sent(one.id, "", &one.email)).await,
        many => admins.tell(tx, &Notice::InvitesSent { count: many.len() }).await,
    }
}

/// Whether a user has a password that an admin can have them choose anew.
///
/// # Errors
/// 409 for a user who is not active.
pub fn may_reset_password(target: &Target) -> Result<()> {
    if target.status == Status::Active {
        return Ok(());
    }
    Err(Error::new(
        Code::Conflict,
        "Only an active user has a password to reset.",
    ))
}

/// Signs a user that [`may_reset_password`] lets pass out everywhere, unlinks the identities of providers,
/// and mails a link to choose a new password, for an admin who asks for it. The old password goes on working
/// until then. Says how many sessions were ended.
///
/// # Errors
/// As the database fails.
pub async fn reset_password(tx: &Tx, target: &Target, app_url: &str) -> Result<u64> {
    // Before the audit log: a refresh takes its session first, and then the log.
    let ended = lifecycle::end_sessions(tx, &[target.id]).await?;
    oauth::unlink_all(tx, target.id).await?;
    let (about, addressee) = (json!({}), [Addressee::of(target)]);
    futures::try_join!(
        send_links(tx, &addressee, Purpose::Password, app_url),
        log::record(tx, "user.passwordResetRequested", "user", Some(target.id), &about),
    )?;
    Ok(ended)
}

/// Whom a link is mailed to.
struct Addressee<'a> {
    id: Uuid,
    email: &'a str,
    /// The company's when `None`.
    locale: Option<&'a str>,
}

impl<'a> Addressee<'a> {
    fn of(target: &'a Target) -> Self {
        Self {
            id: target.id,
            email: &target.email,
            locale: Some(&target.locale),
        }
    }
}

async fn send_links(tx: &Tx, to: &[Addressee<'_>], purpose: Purpose, app_url: &str) -> Result<()> {
    let (tenant, now, inviter) = (tx.tenant(), tx.clock().now(), tx.caller().user_id());
    let tokens: Vec<InviteToken> = to
        .iter()
        .map(|_| InviteToken::generate(tenant))
        .collect::<Result<_>>()?;
    let ids: Vec<Uuid> = to.iter().map(|_| tx.clock().id()).collect();
    let user_ids: Vec<Uuid> = to.iter().map(|addressee| addressee.id).collect();
    let hashes: Vec<Vec<u8>> = tokens.iter().map(InviteToken::hash).collect();
    let expires_at = now + LIFETIME;
    let params: [&(dyn db::ToSql + Sync); 8] = [
        &tenant.0,
        &ids,
        &user_ids,
        &hashes,
        &purpose.as_str(),
        &inviter,
        &now,
        &expires_at,
    ];
    let sender_params: [&(dyn db::ToSql + Sync); 2] = [&tenant.0, &inviter];
    let (_, sender) = futures::try_join!(
        tx.execute(REPLACE_LINKS, &params),
        tx.query_one(SENDER, &sender_params)
    )?;
    let (tenant_name, tenant_locale): (String, String) = (sender.get(0), sender.get(1));
    let inviter_name: Option<String> = sender.get(2);
    let mails = to.iter().zip(&tokens).map(async |(addressee, token)| {
        let url = format!("{app_url}/accept-invite?token={}", token.text.expose());
        let notice = match purpose {
            Purpose::Password => Notice::ResetPassword { url },
            Purpose::Invite => Notice::Invite {
                url,
                tenant_name: tenant_name.clone(),
                inviter: inviter_name.clone().unwrap_or_else(|| "M3CoreCRM".to_owned()),
                inviter_id: inviter,
            },
        };
        let to = To {
            user_id: Some(addressee.id),
            channel: Channel::Email,
            address: addressee.email,
            locale: addressee.locale.unwrap_or(&tenant_locale),
        };
        notice::send(tx, &to, &notice).await
    });
    try_join_all(mails).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_generate_makes_parses_and_nobody_sees_it() {
        let tenant = TenantId(Uuid::from_u128(7));
        let token = InviteToken::generate(tenant).unwrap();
        let text = token.text.expose().clone();
        let read = InviteToken::parse(&text).unwrap();
        assert_eq!((read.tenant, read.hash()), (tenant, token.hash()));
        assert_ne!(token.hash(), InviteToken::generate(tenant).unwrap().hash());
        assert!(!format!("{token:?}").contains(&text[30..]));
        for bad in [
            "",
            "m3i_",
            "m3k_AAAA",
            &text[..text.len() - 2],
            &format!("{text}AAAA"),
        ] {
            let error = InviteToken::parse(bad).unwrap_err();
            assert_eq!(error.details(), refused().details(), "{bad}");
        }
    }
}
