//! What waits to be done, in a form that is kept until it is approved.

use db::Tx;
use futures::future::BoxFuture;
use kernel::{Permission, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An action that a policy can gate. Stored with the request, so a variant is changed only in ways
/// that still read what is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action")]
pub enum Command {
    #[serde(rename = "contact.delete")]
    ContactDelete { contact_id: Uuid },
}

/// Carries a command out for its requester, whom the transaction acts for: the domain call of the
/// gated handler, without the gate. It checks all that the handler's call checks. An error drops
/// everything that it did; one that tells of today's state (404, 409, 422, …) fails the request.
pub type CarryOut = for<'a> fn(&'a Tx, &'a Command) -> BoxFuture<'a, Result<()>>;

/// The actions that exist, with the type of their object.
pub(crate) const ACTIONS: &[(&str, &str)] = &[("contact.delete", "contact")];

impl Command {
    /// What policies name it by.
    #[must_use]
    pub fn action_code(&self) -> &'static str {
        match self {
            Self::ContactDelete { .. } => "contact.delete",
        }
    }

    #[must_use]
    pub fn object_type(&self) -> &'static str {
        match self {
            Self::ContactDelete { .. } => "contact",
        }
    }

    /// The record it is about.
    #[must_use]
    pub fn object_id(&self) -> Uuid {
        match self {
            Self::ContactDelete { contact_id } => *contact_id,
        }
    }

    /// Which part of the record; requests about different parts may wait at the same time.
    #[must_use]
    pub fn object_key(&self) -> &str {
        match self {
            Self::ContactDelete { .. } => "",
        }
    }

    /// What the requester must still hold when it is carried out.
    #[must_use]
    pub fn permission(&self) -> Permission {
        match self {
            Self::ContactDelete { .. } => Permission::ContactDelete,
        }
    }

    /// What approvers read; without personal data.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::ContactDelete { .. } => "Delete a contact",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_stored_can_be_read() {
        let id = Uuid::nil();
        let command = Command::ContactDelete { contact_id: id };
        let stored = json!({ "action": "contact.delete", "contact_id": id });
        assert_eq!(serde_json::to_value(&command).unwrap(), stored);
        assert_eq!(serde_json::from_value::<Command>(stored).unwrap(), command);
        assert!(ACTIONS.contains(&(command.action_code(), command.object_type())));
    }
}
