//! The words of a notice in the reader's language, from the files under templates/.
//!
//! A file sets `subject`, `body` and `short`, and where there is something to say `action`, `note`
//! and `inbox`. They are plain text throughout; only the layout makes HTML of them, and escapes
//! everything it is given. What people typed (names, titles) is one line each by then, and without
//! the characters that reorder text, so that it can neither end a header nor disguise a link.

use super::Notice;
use kernel::{Error, Result};
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, State, UndefinedBehavior, context};

const LAYOUT: &str = include_str!("../../templates/layout.html");
/// Of what somebody typed, in characters.
const MAX_VALUE: usize = 160;
/// Of a company's name in a text to a phone.
const MAX_NAME: usize = 40;
const MAX_SUBJECT: usize = 200;
const MAX_URL_BYTES: usize = 2048;

/// The languages there are templates in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Arabic,
}

impl Language {
    /// `ar` and `ar_EG` are Arabic; anything without templates is English.
    pub fn of(locale: &str) -> Self {
        match locale.split(['_', '-']).next() {
            Some(language) if language.eq_ignore_ascii_case("ar") => Self::Arabic,
            _ => Self::English,
        }
    }

    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Arabic => "ar",
        }
    }

    fn direction(self) -> &'static str {
        match self {
            Self::English => "ltr",
            Self::Arabic => "rtl",
        }
    }
}

macro_rules! templates {
    ($($kind:literal)*) => {
        fn source(kind: &str, language: Language) -> Option<&'static str> {
            match (kind, language) {
                $(
                    ($kind, Language::English) => Some(include_str!(concat!("../../templates/en/", $kind, ".txt"))),
                    ($kind, Language::Arabic) => Some(include_str!(concat!("../../templates/ar/", $kind, ".txt"))),
                )*
                _ => None,
            }
        }
    };
}

templates! {
    "verify_email" "reset_password" "password_changed" "invite" "invite_sent" "invites_sent" "invite_accepted"
    "otp" "code_sent"
    "account_suspended" "account_reactivated" "account_deactivated" "seat_limit_reached" "company_closed" "locked_out"
    "second_factor_on" "second_factor_off" "second_factors_reset" "identity_linked" "phone_changed"
    "approval_requested" "approval_reminder" "approval_escalated" "approval_decided" "approval_failed"
    "approval_withdrawn"
}

/// A notice in words.
pub(super) struct Words {
    language: Language,
    /// One line.
    pub subject: String,
    /// For a phone's screen.
    pub short: String,
    /// As `short`, without what the inbox shows apart from the text, or must not show.
    pub inbox: String,
    body: String,
    action: Option<String>,
    note: Option<String>,
    code: Option<String>,
    /// Nothing but printable ASCII without quotes and angle brackets.
    pub url: Option<String>,
}

impl Words {
    /// `reveal` says whether codes and links that open an account may be in it.
    pub fn of(notice: &Notice, language: Language, reveal: bool) -> Result<Self> {
        let kind = notice.kind();
        let source = source(kind, language)
            .ok_or_else(|| Error::internal(format!("the notice {kind} has no template")))?;
        let shown = reveal || !notice.opens_an_account();
        let url = match notice.url().filter(|_| shown) {
            Some(url) => Some(checked(url)?),
            None => None,
        };
        let code = notice.code().filter(|_| shown).map(line);
        // One environment a message: an empty one costs nothing, and no function pays at start-up
        // for templates that it may never use.
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment
            .add_template("notice.txt", source)
            .map_err(Error::internal)?;
        let template = environment.get_template("notice.txt").map_err(Error::internal)?;
        let rendered = template
            .render_captured(values(notice, url.as_deref(), code.as_deref()))
            .map_err(Error::internal)?;
        let state = rendered.state();
        let required =
            |name| part(state, name).ok_or_else(|| Error::internal(format!("{kind} sets no {name}")));
        let short = required("short")?;
        Ok(Self {
            language,
            subject: cut(&line(&required("subject")?), MAX_SUBJECT),
            inbox: part(state, "inbox").unwrap_or_else(|| short.clone()),
            short,
            body: required("body")?,
            action: part(state, "action"),
            note: part(state, "note"),
            code,
            url,
        })
    }

    /// The plain text of an e-mail.
    pub fn text(&self) -> String {
        let parts = [
            Some(&self.body),
            self.code.as_ref(),
            self.url.as_ref(),
            self.note.as_ref(),
        ];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        parts.join("\n\n") + "\n"
    }

    /// The same as a page, right to left where the language is.
    pub fn html(&self) -> Result<String> {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        // With every slash as an entity, as the escaper writes it, tracking proxies miss links. These
        // characters are the only ones of a checked link that mean something in HTML.
        let url = self
            .url
            .as_ref()
            .map(|url| Value::from_safe_string(url.replace('&', "&amp;")));
        let page = context! {
            lang => self.language.code(),
            dir => self.language.direction(),
            subject => self.subject.as_str(),
            paragraphs => self.body.split("\n\n").map(Value::from).collect::<Vec<_>>(),
            code => self.code.clone(),
            url => url,
            action => self.action.clone(),
            note => self.note.clone(),
        };
        environment
            .render_named_str("layout.html", LAYOUT, page)
            .map_err(Error::internal)
    }
}

fn part(state: &State<'_, '_>, name: &str) -> Option<String> {
    state.lookup(name).map(|text| text.to_string().trim().to_owned())
}

/// What a template may say.
fn values(notice: &Notice, url: Option<&str>, code: Option<&str>) -> Value {
    let typed = |text: &str| cut(&line(text), MAX_VALUE);
    let (url, code) = (url.unwrap_or_default(), code.unwrap_or_default());
    match notice {
        Notice::Invite {
            tenant_name, inviter, ..
        } => {
            context! { url, tenant_name => typed(tenant_name), inviter => typed(inviter) }
        }
        Notice::InviteSent { name, .. } | Notice::InviteAccepted { name, .. } => {
            context! { name => typed(name) }
        }
        Notice::InvitesSent { count } => context! { count => *count },
        Notice::Otp {
            minutes,
            tenant_name,
            purpose,
            ..
        } => {
            context! { code, minutes => *minutes, purpose => purpose.as_str(), tenant_name => unlinked(tenant_name) }
        }
        Notice::CodeSent { channel } => context! { channel => channel.as_str() },
        Notice::SecondFactorOn { method } | Notice::SecondFactorOff { method } => {
            context! { method => *method }
        }
        Notice::IdentityLinked { provider } => context! { provider => provider.as_str() },
        Notice::PhoneChanged { phone_masked } => context! { phone => typed(phone_masked) },
        Notice::CompanyClosed { last_day } => context! { last_day => last_day.as_str() },
        Notice::SeatLimitReached { limit } => context! { limit => *limit },
        Notice::ApprovalRequested { title, .. }
        | Notice::ApprovalReminder { title, .. }
        | Notice::ApprovalEscalated { title, .. }
        | Notice::ApprovalWithdrawn { title, .. } => context! { url, title => typed(title) },
        Notice::ApprovalDecided { title, decision, .. } => {
            context! { url, title => typed(title), decision => typed(decision) }
        }
        Notice::ApprovalFailed { title, reason, .. } => {
            context! { url, title => typed(title), reason => typed(reason) }
        }
        Notice::VerifyEmail { .. }
        | Notice::ResetPassword { .. }
        | Notice::PasswordChanged
        | Notice::AccountSuspended
        | Notice::AccountReactivated
        | Notice::AccountDeactivated
        | Notice::SecondFactorsReset
        | Notice::LockedOut => context! { url },
    }
}

/// One line of it: no control characters, and none that change the direction of what follows.
fn line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| match c {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => ' ',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name of a company in a text to a phone, which may be anybody's whose number was typed: short, and
/// nothing in it that a phone makes a link of.
fn unlinked(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '&' | '-' | '\'' => c,
            c if c.is_alphanumeric() => c,
            _ => ' ',
        })
        .collect();
    cut(&line(&plain), MAX_NAME)
}

fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars - 1).chain(['…']).collect()
}

/// Links are our own, so a malformed one is a mistake of ours.
fn checked(url: &str) -> Result<String> {
    let scheme = url.starts_with("https://") || url.starts_with("http://");
    let plain = url
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`'));
    if scheme && plain && url.len() <= MAX_URL_BYTES {
        Ok(url.to_owned())
    } else {
        Err(Error::internal("the link of a notice is not a plain URL"))
    }
}

#[cfg(test)]
mod tests;
