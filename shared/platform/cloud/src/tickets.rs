//! Tickets: something sealed that is kept for a short time and can be taken once.

use crate::error::from_sdk;
use crate::state::{Key, Table, binary, number, number_of, text};
use aws_sdk_dynamodb::types::ReturnValue;
use kernel::{Clock, Result, Sealer};
use std::time::Duration;

/// Keeps tickets in the state table.
#[derive(Clone, Debug)]
pub struct Tickets {
    table: Table,
    sealer: Sealer,
    clock: Clock,
    /// Keeps tickets of different kinds apart.
    kind: &'static str,
}

impl Tickets {
    pub(crate) fn new(table: Table, sealer: Sealer, clock: Clock, kind: &'static str) -> Self {
        Self {
            table,
            sealer,
            clock,
            kind,
        }
    }

    /// Keeps a value for whoever comes with this secret.
    pub async fn keep(&self, secret: &str, value: &[u8], lifetime: Duration) -> Result<()> {
        let pk = self.pk(secret);
        let sealed = self.sealer.seal(&pk, value)?.0;
        let until =
            self.clock.now().as_millisecond() + i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX / 2);
        let request = self.table.client.put_item().table_name(&self.table.name);
        let request = request
            .item("pk", text(&pk))
            .item("sk", text("ticket"))
            .item("value_sealed", binary(sealed))
            .item("valid_until", number(until))
            .item("expires_at", number(until / 1000 + 60));
        let kept = request.send().await;
        kept.map(drop)
            .map_err(|error| from_sdk("dynamodb.PutItem", &error))
    }

    /// Takes what is kept for this secret. `None` when there is nothing, it is too late, or somebody
    /// took it before: of all who ask one gets it.
    pub async fn take(&self, secret: &str) -> Result<Option<Vec<u8>>> {
        let pk = self.pk(secret);
        let request = self.table.client.delete_item().table_name(&self.table.name);
        let request = request
            .key("pk", text(&pk))
            .key("sk", text("ticket"))
            .return_values(ReturnValue::AllOld);
        let taken = request
            .send()
            .await
            .map_err(|error| from_sdk("dynamodb.DeleteItem", &error))?;
        let Some(item) = taken.attributes else {
            return Ok(None);
        };
        let now = self.clock.now().as_millisecond();
        let sealed = item.get("value_sealed").and_then(|value| value.as_b().ok());
        match (sealed, number_of(&item, "valid_until")) {
            (Some(sealed), Some(until)) if until > now => self.sealer.open(&pk, sealed.as_ref()).map(Some),
            _ => Ok(None),
        }
    }

    /// Who reads the table learns no secret from it.
    fn pk(&self, secret: &str) -> String {
        format!("ticket#{}#{}", self.kind, Key::personal(&self.sealer, secret))
    }
}
