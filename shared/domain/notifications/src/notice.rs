//! What the system itself says to a person: a link to verify an address, a code, a decision (S1.8,
//! S3A.8, S12.7). A notice is a delivery like any other, and so goes through `messages_outbox`; what
//! it said is forgotten once it is settled. A notice for the inbox is only written there.

mod words;

use crate::delivery::{self, Content, NewDelivery, Purpose};
use crate::inbox::{self, NewMessage};
use db::Tx;
use futures::try_join;
use kernel::{Error, Result};
use std::fmt;
use uuid::Uuid;
use words::{Language, Words};

/// The code of the template that WhatsApp codes are sent with (S1.8); its variable is the code.
pub const WHATSAPP_OTP: &str = "otp.whatsapp.verify_phone";

const VERIFIED_EMAIL: &str = "SELECT u.email FROM users u
    WHERE u.tenant_id = $1 AND u.id = $2 AND u.email_verified_at IS NOT NULL FOR KEY SHARE";

/// How a notice reaches a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Email,
    Sms,
    Whatsapp,
    Inbox,
}

impl Channel {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
            Self::Inbox => "inbox",
        }
    }
}

/// What a one-time code is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeUse {
    VerifyPhone,
    LogIn,
}

impl CodeUse {
    fn as_str(self) -> &'static str {
        match self {
            Self::VerifyPhone => "verify_phone",
            Self::LogIn => "log_in",
        }
    }
}

/// Whom a notice is for.
#[derive(Clone, Copy)]
pub struct To<'a> {
    /// The user, when it is one.
    pub user_id: Option<Uuid>,
    pub channel: Channel,
    /// An e-mail address, or a phone number in E.164; empty for the inbox.
    pub address: &'a str,
    /// `en`, `ar` or a locale of them (`ar_EG`); any other is told in English.
    pub locale: &'a str,
}

/// What is said.
#[derive(Clone, PartialEq, Eq)]
pub enum Notice {
    VerifyEmail {
        url: String,
    },
    ResetPassword {
        url: String,
    },
    PasswordChanged,
    Invite {
        url: String,
        tenant_name: String,
        inviter: String,
        inviter_id: Option<Uuid>,
    },
    /// That a colleague was invited; for the admins.
    InviteSent {
        user_id: Uuid,
        name: String,
    },
    /// That many were invited again at once; for the admins.
    InvitesSent {
        count: usize,
    },
    InviteAccepted {
        user_id: Uuid,
        name: String,
    },
    /// A one-time code, good for so many minutes, for something at this company.
    Otp {
        code: String,
        minutes: i64,
        tenant_name: String,
        purpose: CodeUse,
    },
    /// That a code went to the user's phone.
    CodeSent {
        channel: Channel,
    },
    AccountSuspended,
    AccountReactivated,
    AccountDeactivated,
    SeatLimitReached {
        limit: i64,
    },
    /// That nobody gets in any more, and until when that can be undone, as `2026-12-21`; for the admins.
    CompanyClosed {
        last_day: String,
    },
    LockedOut,
    /// That signing in asks for one more thing: `totp`, `sms` or `whatsapp`.
    SecondFactorOn {
        method: &'static str,
    },
    /// That signing in asks for it no more.
    SecondFactorOff {
        method: &'static str,
    },
    /// That an administrator removed every second factor.
    SecondFactorsReset,
    /// That an account at `google`, `apple` or `linkedin` opens this one from now on.
    IdentityLinked {
        provider: String,
    },
    /// That this is the user's verified phone from now on.
    PhoneChanged {
        phone_masked: String,
    },
    ApprovalRequested {
        title: String,
        url: String,
    },
    ApprovalReminder {
        title: String,
        url: String,
    },
    ApprovalEscalated {
        title: String,
        url: String,
    },
    ApprovalDecided {
        title: String,
        decision: String,
        url: String,
    },
    ApprovalFailed {
        title: String,
        reason: String,
        url: String,
    },
    /// That what waited for the reader's approval was taken back.
    ApprovalWithdrawn {
        title: String,
        url: String,
    },
}

// Neither address nor code nor name: a notice that is printed tells only which it is.
impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl fmt::Debug for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("To")
            .field("user_id", &self.user_id)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl Notice {
    /// Its name, in templates and in the inbox.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::ResetPassword { .. } => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::Invite { .. } => "invite",
            Self::InviteSent { .. } => "invite_sent",
            Self::InvitesSent { .. } => "invites_sent",
            Self::InviteAccepted { .. } => "invite_accepted",
            Self::Otp { .. } => "otp",
            Self::CodeSent { .. } => "code_sent",
            Self::AccountSuspended => "account_suspended",
            Self::AccountReactivated => "account_reactivated",
            Self::AccountDeactivated => "account_deactivated",
            Self::SeatLimitReached { .. } => "seat_limit_reached",
            Self::CompanyClosed { .. } => "company_closed",
            Self::LockedOut => "locked_out",
            Self::SecondFactorOn { .. } => "second_factor_on",
            Self::SecondFactorOff { .. } => "second_factor_off",
            Self::SecondFactorsReset => "second_factors_reset",
            Self::IdentityLinked { .. } => "identity_linked",
            Self::PhoneChanged { .. } => "phone_changed",
            Self::ApprovalRequested { .. } => "approval_requested",
            Self::ApprovalReminder { .. } => "approval_reminder",
            Self::ApprovalEscalated { .. } => "approval_escalated",
            Self::ApprovalDecided { .. } => "approval_decided",
            Self::ApprovalFailed { .. } => "approval_failed",
            Self::ApprovalWithdrawn { .. } => "approval_withdrawn",
        }
    }

    fn url(&self) -> Option<&str> {
        match self {
            Self::VerifyEmail { url }
            | Self::ResetPassword { url }
            | Self::Invite { url, .. }
            | Self::ApprovalRequested { url, .. }
            | Self::ApprovalReminder { url, .. }
            | Self::ApprovalEscalated { url, .. }
            | Self::ApprovalDecided { url, .. }
            | Self::ApprovalFailed { url, .. }
            | Self::ApprovalWithdrawn { url, .. } => Some(url),
            _ => None,
        }
    }

    /// Whom it tells its reader of.
    fn about(&self) -> Option<Uuid> {
        match self {
            Self::InviteSent { user_id, .. } | Self::InviteAccepted { user_id, .. } => Some(*user_id),
            Self::Invite { inviter_id, .. } => *inviter_id,
            _ => None,
        }
    }

    /// Whether it is mailed to those, too, who want no mails: nobody would see it in their inbox.
    pub(crate) fn must_be_mailed(&self) -> bool {
        matches!(self, Self::CompanyClosed { .. })
    }

    fn code(&self) -> Option<&str> {
        match self {
            Self::Otp { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whoever reads its code or link can act as the person it is for, so the inbox, which an
    /// administrator may read, shows neither.
    fn opens_an_account(&self) -> bool {
        matches!(
            self,
            Self::VerifyEmail { .. } | Self::ResetPassword { .. } | Self::Invite { .. } | Self::Otp { .. }
        )
    }
}

/// Sends a notice, in the transaction of what caused it: queues it, or for the inbox puts it there.
/// Returns the id of the delivery, or of the inbox message.
///
/// A code that goes to a user's phone is mirrored (S2.6): the inbox, and the user's e-mail address
/// where it is verified, are told that a code was sent, and never the code.
///
/// # Errors
/// Internal, when an inbox notice names no user; else as the database fails.
pub async fn send(tx: &Tx, to: &To<'_>, notice: &Notice) -> Result<Uuid> {
    // Boxed: whoever tells somebody of something would carry all of this in their own future.
    let id = Box::pin(deliver(tx, to, notice)).await?;
    let by_phone = matches!(to.channel, Channel::Sms | Channel::Whatsapp);
    if let (Notice::Otp { .. }, Some(user_id), true) = (notice, to.user_id, by_phone) {
        Box::pin(mirror(tx, to, user_id)).await?;
    }
    Ok(id)
}

/// As [`send`], to the inboxes of these users, each in their locale, in one statement.
///
/// # Errors
/// As the database fails.
pub(crate) async fn put_in_inboxes(tx: &Tx, readers: &[(Uuid, &str)], notice: &Notice) -> Result<()> {
    let english = Words::of(notice, Language::English, false)?;
    let arabic = Words::of(notice, Language::Arabic, false)?;
    let messages = readers.iter().map(|(user_id, locale)| {
        let words = match Language::of(locale) {
            Language::English => &english,
            Language::Arabic => &arabic,
        };
        message(tx.clock().id(), *user_id, notice, words)
    });
    let messages: Vec<NewMessage<'_>> = messages.collect();
    inbox::insert(tx, &messages).await
}

fn message<'a>(id: Uuid, user_id: Uuid, notice: &'a Notice, words: &'a Words) -> NewMessage<'a> {
    NewMessage {
        id,
        user_id,
        kind: notice.kind(),
        title: &words.subject,
        body: &words.inbox,
        link_url: words.url.as_deref(),
        about_user_id: notice.about(),
    }
}

async fn mirror(tx: &Tx, to: &To<'_>, user_id: Uuid) -> Result<()> {
    let told = Notice::CodeSent { channel: to.channel };
    let inbox = To {
        channel: Channel::Inbox,
        address: "",
        ..*to
    };
    let tell = deliver(tx, &inbox, &told);
    let params: db::Params<'_> = &[&tx.tenant().0, &user_id];
    let (_, row) = try_join!(tell, tx.query_opt(VERIFIED_EMAIL, params))?;
    if let Some(row) = row {
        let mail = To {
            channel: Channel::Email,
            address: row.get(0),
            ..*to
        };
        deliver(tx, &mail, &told).await?;
    }
    Ok(())
}

async fn deliver(tx: &Tx, to: &To<'_>, notice: &Notice) -> Result<Uuid> {
    let id = tx.clock().id();
    let language = Language::of(to.locale);
    let words = Words::of(notice, language, to.channel != Channel::Inbox)?;
    let content = match to.channel {
        Channel::Inbox => {
            let user_id = to
                .user_id
                .ok_or_else(|| Error::internal("an inbox notice for nobody"))?;
            inbox::insert(tx, &[message(id, user_id, notice, &words)]).await?;
            return Ok(id);
        }
        Channel::Email => Content::Email {
            subject: words.subject.clone(),
            text: words.text(),
            html: words.html()?,
        },
        Channel::Whatsapp => match notice.code() {
            // Nobody wrote to us within 24 hours, so WhatsApp takes nothing but an approved template.
            Some(code) => Content::Template {
                name: WHATSAPP_OTP.to_owned(),
                language: language.code().to_owned(),
                parameters: vec![code.to_owned()],
            },
            None => Content::Text(words.short.clone()),
        },
        Channel::Sms => Content::Text(words.short.clone()),
    };
    let new = NewDelivery {
        id,
        purpose: match notice {
            Notice::Otp { .. } => Purpose::Otp,
            _ => Purpose::Notice,
        },
        channel: to.channel.as_str(),
        channel_account_id: None,
        contact_id: None,
        user_id: to.user_id,
        about_user_id: notice.about(),
        provider: None,
        recipient: to.address,
        content: &content,
        expires_at: match notice {
            Notice::Otp { minutes, .. } => delivery::minutes_from_now(tx, *minutes),
            _ => None,
        },
    };
    delivery::enqueue(tx, &new).await?;
    Ok(id)
}
