//! Putting a verified webhook into the queue, and refusing one that is not.

use crate::App;
use base64::{Engine, engine::general_purpose::STANDARD};
use cloud::Outgoing;
use kernel::{Error, Origin, Result, SingleKey, TenantId};
use providers::intake::{Source, VerifiedAccount, Webhook, WebhookBody};
use telemetry::Metrics;
use web::Raw;

/// The largest body that still fits a queue message of 1 MiB in base64, with what goes around it.
const MAX_INLINE_BODY: usize = 700 * 1024;

/// Queues the webhook. When this returns, it can't be lost any more.
pub async fn enqueue(
    app: &App,
    origin: &Origin,
    source: Source,
    raw: Raw,
    accounts: Vec<VerifiedAccount>,
) -> Result<()> {
    if accounts.is_empty() {
        Metrics::of("webhooks")
            .count("WebhookUnresolved")
            .emit(app.web.clock());
        tracing::warn!(
            provider = source.as_str(),
            "a signed webhook names an account that no company has"
        );
    }
    let group = accounts.first().map(|account| TenantId(account.tenant_id));
    let body = if raw.body.len() > MAX_INLINE_BODY {
        // The queue holds messages for days, the bucket would for weeks: nobody reads what is there
        // once its message is gone, and an erasure need not look for anybody in it.
        let object = format!("webhooks/{}/{}", source.as_str(), app.web.clock().id());
        let (key, sealed) = SingleKey::seal(raw.body.to_vec())?;
        app.bucket
            .put(&object, "application/octet-stream", sealed)
            .await?;
        WebhookBody::Stored { object, key }
    } else {
        WebhookBody::Base64(STANDARD.encode(&raw.body))
    };
    let webhook = Webhook {
        source,
        received_at: app.web.clock().now(),
        body,
        query: raw.query,
        accounts,
    };
    app.queue
        .send(&Outgoing::new(group, &origin.request_id, webhook).with_trace(origin.trace.clone()))
        .await
}

/// 401, and a count: nothing of what came is kept.
pub fn refuse(app: &App, source: Source) -> Error {
    Metrics::of("webhooks")
        .count("WebhookRejected")
        .field("provider", source.as_str())
        .emit(app.web.clock());
    Error::new(
        kernel::Code::Unauthenticated,
        "The signature does not fit the body and the account.",
    )
}
