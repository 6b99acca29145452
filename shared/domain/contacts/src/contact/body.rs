//! What clients send of a contact, checked.

use super::Contact;
use crate::channel::{CreateChannel, NewChannel};
use crate::lifecycle::{LifecycleStage, Source};
use jiff::Timestamp;
use kernel::{Patch, Phone, Result, Validator};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

/// The body that creates a contact.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateContact {
    #[schemars(length(min = 1, max = 100))]
    pub first_name: String,
    #[schemars(length(max = 100))]
    pub last_name: Option<String>,
    #[schemars(length(max = 100))]
    pub job_title: Option<String>,
    #[serde(default)]
    pub lifecycle_stage: LifecycleStage,
    /// An active user of the company.
    pub owner_user_id: Option<Uuid>,
    #[serde(default)]
    pub channels: Vec<CreateChannel>,
}

/// The body that changes a contact: what is absent stays, what is null goes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateContact {
    #[schemars(length(min = 1, max = 100))]
    pub first_name: Option<String>,
    #[serde(default)]
    pub last_name: Patch<String>,
    #[serde(default)]
    pub job_title: Patch<String>,
    pub lifecycle_stage: Option<LifecycleStage>,
    /// An active user of the company; null for nobody.
    #[serde(default)]
    pub owner_user_id: Patch<Uuid>,
}

/// A checked contact that is not stored yet.
#[derive(Clone, Debug)]
pub struct NewContact {
    pub(super) first_name: String,
    pub(super) last_name: Option<String>,
    pub(super) job_title: Option<String>,
    pub(super) lifecycle_stage: LifecycleStage,
    pub(super) source: Source,
    pub(super) owner_user_id: Option<Uuid>,
    pub(super) channels: Vec<NewChannel>,
}

impl NewContact {
    /// Checks a create request.
    ///
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn parse(body: &CreateContact) -> Result<Self> {
        let mut validator = Validator::default();
        let new = Self {
            first_name: validator.text("first_name", &body.first_name, 100),
            last_name: validator.optional_text("last_name", body.last_name.as_deref(), 100),
            job_title: validator.optional_text("job_title", body.job_title.as_deref(), 100),
            lifecycle_stage: body.lifecycle_stage,
            source: Source::Manual,
            owner_user_id: body.owner_user_id,
            channels: NewChannel::parse_all(&body.channels, &mut validator),
        };
        validator.finish().map(|()| new)
    }

    /// Somebody unknown who wrote to us, under the name they gave the provider, else their number
    /// in its masked form.
    #[must_use]
    pub fn from_inbound(phone: &Phone, profile_name: Option<&str>) -> Self {
        let name: String = profile_name
            .unwrap_or("")
            .chars()
            .filter(|c| !c.is_control())
            .take(100)
            .collect();
        let name = name.trim();
        Self {
            first_name: if name.is_empty() {
                phone.masked()
            } else {
                name.to_owned()
            },
            last_name: None,
            job_title: None,
            lifecycle_stage: LifecycleStage::Lead,
            source: Source::InboundMessage,
            owner_user_id: None,
            channels: vec![NewChannel::whatsapp(phone)],
        }
    }
}

impl UpdateContact {
    /// The contact after the change.
    ///
    /// # Errors
    /// 422 with every field that is wrong.
    pub fn apply(&self, current: Contact, now: Timestamp) -> Result<Contact> {
        let mut validator = Validator::default();
        let first_name = self
            .first_name
            .as_deref()
            .map(|name| validator.text("first_name", name, 100));
        let mut text = |path, patch: &Patch<String>, current| match patch {
            Patch::Value(value) => validator.optional_text(path, Some(value), 100),
            Patch::Null => None,
            Patch::Absent => current,
        };
        let changed = Contact {
            first_name: first_name.unwrap_or(current.first_name),
            last_name: text("last_name", &self.last_name, current.last_name),
            job_title: text("job_title", &self.job_title, current.job_title),
            lifecycle_stage: self.lifecycle_stage.unwrap_or(current.lifecycle_stage),
            owner_user_id: self.owner_user_id.clone().apply(current.owner_user_id),
            updated_at: now,
            ..current
        };
        validator.finish().map(|()| changed)
    }
}
