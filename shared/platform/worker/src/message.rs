//! A message as a handler sees it.

use aws_lambda_events::sqs::SqsMessage;
use jiff::Timestamp;
use kernel::{Caller, Envelope, Error, Origin, Result, TenantId};
use serde::de::DeserializeOwned;

/// One of our own messages, out of its envelope.
#[derive(Clone, Debug)]
pub struct Message<T> {
    /// SQS's id: the same at every attempt.
    pub id: String,
    pub tenant: Option<TenantId>,
    /// The request that caused it.
    pub request_id: String,
    /// 1 the first time.
    pub attempt: u32,
    pub sent_at: Option<Timestamp>,
    /// The X-Ray header it was sent with, to pass on.
    pub trace: Option<String>,
    pub payload: T,
}

impl<T: DeserializeOwned> Message<T> {
    /// Internal when the body is none of our messages.
    pub fn parse(record: &SqsMessage) -> Result<Self> {
        let envelope = Envelope::<T>::from_json(record.body.as_deref().unwrap_or_default())?;
        Ok(Self {
            id: record.message_id.clone().unwrap_or_default(),
            tenant: envelope.tenant(),
            request_id: envelope.request_id,
            attempt: attempt(record),
            sent_at: sent_at(record),
            trace: record.attributes.get("AWSTraceHeader").cloned(),
            payload: envelope.payload,
        })
    }
}

impl<T> Message<T> {
    /// Acts for the message's tenant under this name. Internal when the message names no tenant.
    pub fn caller(&self, name: &'static str) -> Result<Caller> {
        let tenant = self
            .tenant
            .ok_or_else(|| Error::internal("the message names no tenant"))?;
        let origin = Origin {
            request_id: self.request_id.clone(),
            trace: self.trace.clone(),
            ..Origin::default()
        };
        #[expect(clippy::disallowed_methods, reason = "the message is one of ours")]
        let caller = Caller::verified_system(tenant, name, origin);
        Ok(caller)
    }
}

/// Acts for a tenant that a row of ours named: for sweeps, and for messages about several tenants.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the home of callers for sweeps")]
pub fn caller_for(tenant: TenantId, name: &'static str, request_id: &str) -> Caller {
    Caller::verified_system(
        tenant,
        name,
        Origin {
            request_id: request_id.to_owned(),
            ..Origin::default()
        },
    )
}

pub fn attempt(record: &SqsMessage) -> u32 {
    record
        .attributes
        .get("ApproximateReceiveCount")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1)
}

pub fn sent_at(record: &SqsMessage) -> Option<Timestamp> {
    Timestamp::from_millisecond(record.attributes.get("SentTimestamp")?.parse().ok()?).ok()
}
