//! What the system itself says to a person: a link to verify an address, a code, a decision (S1.8,
//! S3A.8, S12.7). A notice is a delivery like any other, and so goes through `messages_outbox`.

use crate::delivery::{self, Content, NewDelivery};
use db::Tx;
use kernel::Result;
use uuid::Uuid;

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

/// Whom a notice is for.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The user, when it is one.
    pub user_id: Option<Uuid>,
    pub channel: Channel,
    /// An e-mail address, or a phone number in E.164; empty for the inbox.
    pub address: &'a str,
    /// `en` or `ar`; any other is answered in English.
    pub locale: &'a str,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    },
    InviteAccepted {
        name: String,
    },
    /// A one-time code, good for so many minutes.
    Otp {
        code: String,
        minutes: i64,
    },
    AccountSuspended,
    AccountReactivated,
    AccountDeactivated,
    SeatLimitReached {
        limit: i64,
    },
    LockedOut,
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
    },
}

/// Queues a notice in the transaction of what caused it; returns the delivery's id.
///
/// # Errors
/// As the database fails.
pub async fn send(tx: &Tx, to: &To<'_>, notice: &Notice) -> Result<Uuid> {
    let id = tx.clock().id();
    let content = Content::Text(text(notice));
    let new = NewDelivery {
        id,
        channel: to.channel.as_str(),
        channel_account_id: None,
        contact_id: None,
        provider: None,
        recipient: to.address,
        content: &content,
    };
    delivery::enqueue(tx, &new).await?;
    Ok(id)
}

fn text(notice: &Notice) -> String {
    match notice {
        Notice::VerifyEmail { url } => format!("Verify your e-mail address: {url}"),
        Notice::ResetPassword { url } => format!("Choose a new password: {url}"),
        Notice::PasswordChanged => "Your password was changed.".to_owned(),
        Notice::Invite {
            url,
            tenant_name,
            inviter,
        } => format!("{inviter} invites you to {tenant_name}: {url}"),
        Notice::InviteAccepted { name } => format!("{name} accepted the invitation."),
        Notice::Otp { code, minutes } => format!("Your code is {code}. It is good for {minutes} minutes."),
        Notice::AccountSuspended => "Your account was suspended.".to_owned(),
        Notice::AccountReactivated => "Your account is active again.".to_owned(),
        Notice::AccountDeactivated => "Your account was closed.".to_owned(),
        Notice::SeatLimitReached { limit } => format!("All {limit} seats are taken."),
        Notice::LockedOut => "Too many wrong passwords: logging in is blocked for 10 minutes.".to_owned(),
        Notice::ApprovalRequested { title, url } => format!("{title} waits for your approval: {url}"),
        Notice::ApprovalReminder { title, url } => format!("{title} still waits for your approval: {url}"),
        Notice::ApprovalEscalated { title, url } => {
            format!("{title} was not decided in time; it is yours to decide: {url}")
        }
        Notice::ApprovalDecided { title, decision, url } => format!("{title}: {decision}. {url}"),
        Notice::ApprovalFailed { title, reason } => {
            format!("{title} was approved and could not be done: {reason}")
        }
    }
}
