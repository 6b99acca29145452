//! What a user wants to be told, where and when (S2.3, S12.3, S14.4). Who sends reads it; this is the
//! one schema of what is stored.

use db::Tx;
use jiff::Timestamp;
use jiff::civil::Time;
use kernel::{Error, Result, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

const FIND: &str = "SELECT p.prefs FROM users u
     LEFT JOIN notification_preferences p ON p.tenant_id = u.tenant_id AND p.user_id = u.id
     WHERE u.tenant_id = $1 AND u.id = $2";
const PUT: &str = "INSERT INTO notification_preferences (tenant_id, user_id, prefs, updated_at)
     SELECT u.tenant_id, u.id, $3, $4 FROM users u WHERE u.tenant_id = $1 AND u.id = $2
     ON CONFLICT (tenant_id, user_id) DO UPDATE SET prefs = excluded.prefs, updated_at = excluded.updated_at
     RETURNING user_id";

/// A channel that is quiet at night.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuietChannel {
    Email,
    Sms,
    Whatsapp,
}

/// When the user is left alone, in their own time zone; it may pass midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// `HH:MM`.
    pub start: String,
    /// `HH:MM`.
    pub end: String,
    pub channels: Vec<QuietChannel>,
}

/// A user's preferences. What is left out of a PUT is the default again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch that a person sets by itself"
)]
pub struct Preferences {
    /// What goes out by SMS comes by e-mail, too.
    pub email_on_sms: bool,
    /// What goes out by WhatsApp comes by e-mail, too.
    pub email_on_whatsapp: bool,
    /// Whatever goes out is also in the inbox.
    pub inbox_on_all: bool,
    /// What the inbox tells of work that waits (approvals, …) comes by e-mail, too. Security messages
    /// always do.
    pub transactional_email: bool,
    pub marketing_email_opt_in: bool,
    pub marketing_sms_opt_in: bool,
    pub marketing_whatsapp_opt_in: bool,
    /// The language of messages; the user's own when null.
    pub locale: Option<String>,
    /// The company's when null.
    pub quiet_hours: Option<QuietHours>,
    /// Nothing but security messages until then.
    pub dnd_until: Option<Timestamp>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            email_on_sms: true,
            email_on_whatsapp: true,
            inbox_on_all: true,
            transactional_email: true,
            marketing_email_opt_in: false,
            marketing_sms_opt_in: false,
            marketing_whatsapp_opt_in: false,
            locale: None,
            quiet_hours: None,
            dnd_until: None,
        }
    }
}

impl Preferences {
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn check(self) -> Result<Self> {
        let mut validator = Validator::default();
        if let Some(tag) = &self.locale {
            crate::profile::locale(&mut validator, "locale", tag);
        }
        if let Some(QuietHours { start, end, channels }) = &self.quiet_hours {
            for (path, time) in [("quiet_hours.start", start), ("quiet_hours.end", end)] {
                if !is_time(time) {
                    validator.reject(path, "invalid", "Give a time of day like 21:00.");
                }
            }
            if start == end {
                validator.reject("quiet_hours.end", "invalid", "The hours end when they start.");
            }
            if channels.is_empty() || channels.len() > 3 {
                validator.reject("quiet_hours.channels", "invalid", "Name one to three channels.");
            }
        }
        validator.finish().map(|()| self)
    }
}

fn is_time(text: &str) -> bool {
    text.len() == 5 && Time::strptime("%H:%M", text).is_ok()
}

/// A user's preferences; the defaults when none were ever set.
///
/// # Errors
/// 404 when the company has no such user.
pub async fn find(tx: &Tx, user_id: Uuid) -> Result<Preferences> {
    let row = tx.query_opt(FIND, &[&tx.tenant().0, &user_id]).await?;
    let stored: Option<Value> = row.ok_or_else(Error::not_found)?.get(0);
    stored.map_or_else(
        || Ok(Preferences::default()),
        |value| serde_json::from_value(value).map_err(Error::internal),
    )
}

/// Sets a user's preferences, all of them.
///
/// # Errors
/// 404 when the company has no such user.
pub async fn put(tx: &Tx, user_id: Uuid, preferences: &Preferences) -> Result<()> {
    let value = serde_json::to_value(preferences).map_err(Error::internal)?;
    tx.query_opt(PUT, &[&tx.tenant().0, &user_id, &value, &tx.clock().now()])
        .await?
        .map(drop)
        .ok_or_else(Error::not_found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left_out_is_the_default_and_what_is_unknown_is_refused() {
        let read = |value| serde_json::from_value::<Preferences>(value);
        assert_eq!(read(json!({})).unwrap(), Preferences::default());
        assert!(!read(json!({ "inbox_on_all": false })).unwrap().inbox_on_all);
        assert!(read(json!({ "inbox": true })).is_err());
        assert!(
            read(json!({ "quiet_hours": { "start": "21:00", "end": "08:00", "channels": ["fax"] } }))
                .is_err()
        );
    }

    #[test]
    fn quiet_hours_are_times_of_day() {
        for (start, end, good) in [
            ("21:00", "08:00", true),
            ("00:00", "23:59", true),
            ("24:00", "08:00", false),
            ("9:00", "10:00", false),
            ("21:00:00", "08:00", false),
            ("21:00", "21:00", false),
        ] {
            let hours = QuietHours {
                start: start.to_owned(),
                end: end.to_owned(),
                channels: vec![QuietChannel::Sms],
            };
            let preferences = Preferences {
                quiet_hours: Some(hours),
                ..Preferences::default()
            };
            assert_eq!(preferences.check().is_ok(), good, "{start}–{end}");
        }
    }
}
