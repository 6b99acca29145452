//! What waits to be done, in a form that is kept until it is approved.

use crate::facts::{FactType, FactTypes};
use db::Tx;
use entitlements::override_::{Scope, SetOverride};
use futures::future::BoxFuture;
use kernel::{Feature, Permission, Result, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An action that a policy can gate. Stored with the request, so a variant is changed only in ways
/// that still read what is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action")]
pub enum Command {
    #[serde(rename = "contact.delete")]
    ContactDelete { contact_id: Uuid },
    /// Replaces a scope's overrides by these.
    #[serde(rename = "entitlement.override")]
    EntitlementOverride {
        scope: Scope,
        /// What they replace, as approvers see it; nothing in what was stored before this was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Vec<SetOverride>>,
        overrides: Vec<SetOverride>,
    },
}

/// Carries a command out for its requester, whom the transaction acts for: the domain call of the
/// gated handler, without the gate. It checks all that the handler's call checks. An error drops
/// everything that it did; one that tells of today's state (404, 409, 422, …) fails the request.
pub type CarryOut = for<'a> fn(&'a Tx, &'a Command) -> BoxFuture<'a, Result<()>>;

/// A kind of command, as policies name it.
pub(crate) struct Action {
    pub code: &'static str,
    /// The type of its object.
    pub object_type: &'static str,
    /// What conditions can ask of it: the handler gives no other, and leaves out what there is not.
    pub facts: FactTypes,
}

/// As contacts have them, of which this module knows nothing else.
const LIFECYCLE_STAGES: &[&str] = &["lead", "prospect", "customer", "inactive", "lost"];

/// The actions that exist.
pub(crate) static ACTIONS: &[Action] = &[CONTACT_DELETE, ENTITLEMENT_OVERRIDE];

const CONTACT_DELETE: Action = Action {
    code: "contact.delete",
    object_type: "contact",
    facts: &[
        ("channels", FactType::Number),
        ("lifecycle_stage", FactType::Code(LIFECYCLE_STAGES)),
        ("owner_user_id", FactType::Id),
    ],
};

const ENTITLEMENT_OVERRIDE: Action = Action {
    code: "entitlement.override",
    object_type: "entitlements",
    facts: &[
        ("changes", FactType::Number),
        ("features_on", FactType::Number),
        ("highest_limit", FactType::Number),
        ("removed", FactType::Number),
        ("scope", FactType::Code(&["tenant", "group", "user"])),
        ("values", FactType::Text),
    ],
};

/// The action with this code.
pub(crate) fn action(code: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.code == code)
}

impl Command {
    pub(crate) fn action(&self) -> &'static Action {
        match self {
            Self::ContactDelete { .. } => &CONTACT_DELETE,
            Self::EntitlementOverride { .. } => &ENTITLEMENT_OVERRIDE,
        }
    }

    /// What policies name it by.
    #[must_use]
    pub fn action_code(&self) -> &'static str {
        self.action().code
    }

    #[must_use]
    pub fn object_type(&self) -> &'static str {
        self.action().object_type
    }

    /// The record it is about, in this company.
    #[must_use]
    pub fn object_id(&self, tenant: TenantId) -> Uuid {
        match self {
            Self::ContactDelete { contact_id } => *contact_id,
            Self::EntitlementOverride { scope, .. } => scope.id(tenant),
        }
    }

    /// Which part of the record; requests about different parts may wait at the same time.
    #[must_use]
    pub fn object_key(&self) -> &str {
        match self {
            Self::ContactDelete { .. } => "",
            Self::EntitlementOverride { scope, .. } => scope.name(),
        }
    }

    /// What the requester must still hold when it is carried out.
    #[must_use]
    pub fn permission(&self) -> Permission {
        match self {
            Self::ContactDelete { .. } => Permission::ContactDelete,
            Self::EntitlementOverride { .. } => Permission::EntitlementsOverridesManage,
        }
    }

    /// What the plan must still include then.
    #[must_use]
    pub fn feature(&self) -> Option<Feature> {
        match self {
            Self::ContactDelete { .. } => None,
            Self::EntitlementOverride { .. } => Some(Feature::AdminEntitlementsOverrides),
        }
    }

    /// What approvers read; without personal data.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::ContactDelete { .. } => "Delete a contact",
            Self::EntitlementOverride { .. } => "Change what the plan includes",
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
        let limit = SetOverride {
            code: "deals.max".to_owned(),
            enabled: None,
            limit_value: Some(5),
            unlimited: false,
        };
        for (command, stored) in [
            (
                Command::ContactDelete { contact_id: id },
                json!({ "action": "contact.delete", "contact_id": id }),
            ),
            (
                Command::EntitlementOverride {
                    scope: Scope::Group(id),
                    before: Some(vec![]),
                    overrides: vec![limit],
                },
                json!({ "action": "entitlement.override", "scope": { "scope": "group", "id": id }, "before": [],
                        "overrides": [{ "code": "deals.max", "enabled": null, "limit_value": 5, "unlimited": false }] }),
            ),
            (
                Command::EntitlementOverride {
                    scope: Scope::Tenant,
                    before: None,
                    overrides: vec![],
                },
                json!({ "action": "entitlement.override", "scope": { "scope": "tenant" }, "overrides": [] }),
            ),
        ] {
            assert_eq!(serde_json::to_value(&command).unwrap(), stored);
            assert_eq!(serde_json::from_value::<Command>(stored).unwrap(), command);
            assert!(action(command.action_code()).is_some());
        }
    }
}
