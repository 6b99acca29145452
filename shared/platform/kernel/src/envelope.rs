//! What every queue message of ours is wrapped in: whose it is and which request caused it.

use crate::{Error, Result, TenantId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const VERSION: u8 = 1;

/// `{"v":1,"tenant_id":uuid|null,"request_id":"…","payload":…}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    v: u8,
    tenant_id: Option<Uuid>,
    pub request_id: String,
    pub payload: T,
}

impl<T> Envelope<T> {
    pub fn new(tenant: Option<TenantId>, request_id: impl Into<String>, payload: T) -> Self {
        Self {
            v: VERSION,
            tenant_id: tenant.map(|tenant| tenant.0),
            request_id: request_id.into(),
            payload,
        }
    }

    /// `None` when the message is about no tenant, or about one that is not known yet.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(TenantId)
    }
}

impl<T: Serialize> Envelope<T> {
    /// The message as SQS takes it: it refuses U+FFFE and U+FFFF, so these are escaped, which JSON
    /// allows wherever they can stand. (`serde_json` escapes the control characters by itself.)
    pub fn to_json(&self) -> Result<String> {
        let mut json = serde_json::to_string(self).map_err(Error::internal)?;
        for (refused, escape) in [('\u{fffe}', "\\ufffe"), ('\u{ffff}', "\\uffff")] {
            if json.contains(refused) {
                json = json.replace(refused, escape);
            }
        }
        Ok(json)
    }
}

impl<T: DeserializeOwned> Envelope<T> {
    /// Internal when it is none of ours. The error says where it went wrong and shows nothing of the message.
    pub fn from_json(json: &str) -> Result<Self> {
        let envelope: Self = serde_json::from_str(json).map_err(|error| {
            Error::internal(format!("the message is malformed at byte {}", error.column()))
        })?;
        if envelope.v != VERSION {
            return Err(Error::internal(format!(
                "the message has version {}, not {VERSION}",
                envelope.v
            )));
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn comes_back_as_it_was_sent_whatever_characters_it_holds() {
        let text = "\u{0}\u{1f}\u{7f}\u{fffe}\u{ffff}\u{202e}مرحبا 😀";
        let sent = Envelope::new(Some(TenantId(Uuid::from_u128(7))), "req-1", text.to_owned());
        let json = sent.to_json().unwrap();
        let accepted = |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
        assert!(json.chars().all(accepted), "{json:?}");
        assert_eq!(Envelope::<String>::from_json(&json).unwrap(), sent);
    }

    #[test]
    fn what_is_refused_is_not_shown() {
        for bad in [
            r#"{"v":1,"tenant_id":null,"request_id":"r","payload":"+201001234567"}"#,
            r#"{"v":1,"tenant_id":"+201001234567","request_id":"r","payload":1}"#,
            r#"{"v":2,"tenant_id":null,"request_id":"+201001234567","payload":1}"#,
            "+201001234567",
        ] {
            let error = Envelope::<u32>::from_json(bad).unwrap_err();
            assert!(
                !format!("{error} {:?}", error.source()).contains("1001234567"),
                "{error:?}"
            );
        }
    }
}
