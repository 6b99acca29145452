//! The codes of a contact: how far it has come, and what made it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a contact has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LifecycleStage {
    #[default]
    Lead,
    Prospect,
    Customer,
    Inactive,
    Lost,
}

impl LifecycleStage {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Prospect => "prospect",
            Self::Customer => "customer",
            Self::Inactive => "inactive",
            Self::Lost => "lost",
        }
    }

    pub(crate) fn from_column(text: &str) -> Self {
        match text {
            "prospect" => Self::Prospect,
            "customer" => Self::Customer,
            "inactive" => Self::Inactive,
            "lost" => Self::Lost,
            _ => Self::Lead,
        }
    }
}

/// What made the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Manual,
    /// Somebody unknown wrote to us.
    InboundMessage,
    Import,
}

impl Source {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::InboundMessage => "inbound_message",
            Self::Import => "import",
        }
    }

    pub(crate) fn from_column(text: &str) -> Self {
        match text {
            "inbound_message" => Self::InboundMessage,
            "import" => Self::Import,
            _ => Self::Manual,
        }
    }
}
