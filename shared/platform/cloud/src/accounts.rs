//! The webhook edge's directory of provider accounts: which secret a webhook must be signed with,
//! and whose account it then is. The database is the truth; this is what the edge can reach
//! without it.
//!
//! ```text
//! pk account#meta#<phone_number_id>          sk <account_id>   tenant_id, secret_sealed, …
//! pk account#twilio#<AccountSid>/<number>    sk <account_id>
//! pk account#twilio#<AccountSid>             sk <account_id>   the same, for webhooks without the number
//! pk verify#meta#<HMAC of the verify token>  sk <account_id>   for the GET handshake
//! ```
//!
//! Several tenants may enter the same provider key with secrets of their own: the signature decides
//! whose webhook it is, so nobody can take a number by naming it first, or learn that it is taken.

use crate::error::from_sdk;
use crate::state::{Item, Table, hex, number, text};
use crate::{EdgeAccount, Provider};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use jiff::Timestamp;
use kernel::{Clock, Error, Result, Sealer};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// How long an entry is believed without asking again, in seconds.
const FRESH_SECS: i64 = 60;
/// Entries of one provider key that are tried, oldest first.
const MAX_ENTRIES: i32 = 20;
/// Provider keys held in memory; past that all are forgotten.
const MAX_CACHED: usize = 10_000;

/// The directory, with what was lately read kept in memory.
#[derive(Debug)]
pub struct Accounts {
    table: Table,
    sealer: Sealer,
    clock: Clock,
    cache: Mutex<HashMap<(Provider, String), Cached>>,
}

#[derive(Clone, Debug)]
struct Cached {
    read_at: Timestamp,
    accounts: Arc<[EdgeAccount]>,
}

impl Accounts {
    pub(crate) fn new(table: Table, sealer: Sealer, clock: Clock) -> Self {
        Self {
            table,
            sealer,
            clock,
            cache: Mutex::default(),
        }
    }

    /// The accounts with this provider key (for Twilio also by `AccountSid` alone), oldest first, at
    /// most 20. What was found is believed for a minute; that nothing was found, never, because an
    /// account must be known as soon as its creation has answered.
    pub async fn find(&self, provider: Provider, key: &str) -> Result<Arc<[EdgeAccount]>> {
        let now = self.clock.now();
        let cached = {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.get(&(provider, key.to_owned())).cloned()
        };
        match cached {
            Some(cached) if now.duration_since(cached.read_at).as_secs() < FRESH_SECS => Ok(cached.accounts),
            _ => self.refresh(provider, key).await,
        }
    }

    /// As [`Accounts::find`], asking anew: for a signature that fits no entry in memory, whose
    /// secret may just have changed.
    pub async fn refresh(&self, provider: Provider, key: &str) -> Result<Arc<[EdgeAccount]>> {
        let read_at = self.clock.now();
        let items = self.query(account_pk(provider, key), MAX_ENTRIES).await?;
        let accounts: Arc<[EdgeAccount]> = items
            .iter()
            .filter_map(|item| EdgeAccount::open(item, &self.sealer))
            .collect();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.is_empty() {
            cache.remove(&(provider, key.to_owned()));
        } else {
            if cache.len() >= MAX_CACHED {
                cache.clear();
            }
            cache.insert(
                (provider, key.to_owned()),
                Cached {
                    read_at,
                    accounts: Arc::clone(&accounts),
                },
            );
        }
        Ok(accounts)
    }

    /// Whether an account of Meta's was entered with this verify token.
    pub async fn knows_verify_token(&self, token: &str) -> Result<bool> {
        Ok(!self.query(self.verify_pk(token), 1).await?.is_empty())
    }

    /// Enters an account or a new version of it, all of its items or none. Doing so again changes nothing.
    pub async fn put(&self, account: &EdgeAccount) -> Result<()> {
        let (provider, id) = (account.provider(), account.account_id);
        let token = account.secret.verify_token();
        let mut writes = Vec::new();
        for pk in account_pks(provider, &account.provider_key) {
            let put = Put::builder()
                .table_name(&self.table.name)
                .set_item(Some(account.to_item(pk, &self.sealer)?))
                .condition_expression("attribute_not_exists(pk) OR updated_at <= :updated_at")
                .expression_attribute_values(":updated_at", number(account.updated_at.as_microsecond()));
            writes.push(
                TransactWriteItem::builder()
                    .put(put.build().map_err(Error::internal)?)
                    .build(),
            );
        }
        if let Some(token) = token {
            let item = HashMap::from([
                ("pk".to_owned(), text(self.verify_pk(token))),
                ("sk".to_owned(), text(id.to_string())),
            ]);
            let put = Put::builder().table_name(&self.table.name).set_item(Some(item));
            writes.push(
                TransactWriteItem::builder()
                    .put(put.build().map_err(Error::internal)?)
                    .build(),
            );
        }
        let before = self.get(provider, &account.provider_key, id).await?;
        let stale = before.as_ref().and_then(|before| before.secret.verify_token());
        if let Some(stale) = stale.filter(|stale| Some(*stale) != token) {
            writes.push(self.delete(self.verify_pk(stale), id)?);
        }
        self.write(writes).await?;
        self.forget(provider, &account.provider_key);
        Ok(())
    }

    /// Takes an account out; one that is not there is out already.
    pub async fn remove(&self, provider: Provider, provider_key: &str, account_id: Uuid) -> Result<()> {
        let pks = account_pks(provider, provider_key).into_iter();
        let mut writes = pks
            .map(|pk| self.delete(pk, account_id))
            .collect::<Result<Vec<_>>>()?;
        let before = self.get(provider, provider_key, account_id).await?;
        if let Some(token) = before.as_ref().and_then(|before| before.secret.verify_token()) {
            writes.push(self.delete(self.verify_pk(token), account_id)?);
        }
        self.write(writes).await?;
        self.forget(provider, provider_key);
        Ok(())
    }

    async fn query(&self, pk: String, limit: i32) -> Result<Vec<Item>> {
        let request = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .limit(limit);
        let answer = request
            .send()
            .await
            .map_err(|error| from_sdk("dynamodb.Query", &error))?;
        Ok(answer.items.unwrap_or_default())
    }

    async fn get(&self, provider: Provider, key: &str, id: Uuid) -> Result<Option<EdgeAccount>> {
        let request = self
            .table
            .client
            .get_item()
            .table_name(&self.table.name)
            .consistent_read(true);
        let request = request
            .key("pk", text(account_pk(provider, key)))
            .key("sk", text(id.to_string()));
        let answer = request
            .send()
            .await
            .map_err(|error| from_sdk("dynamodb.GetItem", &error))?;
        Ok(answer
            .item
            .as_ref()
            .and_then(|item| EdgeAccount::open(item, &self.sealer)))
    }

    /// A newer version that is there already is as good as having written this one.
    async fn write(&self, writes: Vec<TransactWriteItem>) -> Result<()> {
        let request = self
            .table
            .client
            .transact_write_items()
            .set_transact_items(Some(writes));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(service)) if service.err().is_transaction_canceled_exception() => {
                let error = service.into_err();
                let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(canceled) = error else {
                    return Err(Error::internal("a cancelled transaction without its error"));
                };
                let codes: Vec<_> = canceled
                    .cancellation_reasons()
                    .iter()
                    .filter_map(|reason| reason.code())
                    .collect();
                if codes.contains(&"ConditionalCheckFailed") {
                    return Ok(());
                }
                Err(Error::unavailable(format!(
                    "dynamodb.TransactWriteItems: {codes:?}"
                )))
            }
            Err(error) => Err(from_sdk("dynamodb.TransactWriteItems", &error)),
        }
    }

    fn delete(&self, pk: String, id: Uuid) -> Result<TransactWriteItem> {
        let delete = Delete::builder()
            .table_name(&self.table.name)
            .key("pk", text(pk))
            .key("sk", text(id.to_string()));
        Ok(TransactWriteItem::builder()
            .delete(delete.build().map_err(Error::internal)?)
            .build())
    }

    fn forget(&self, provider: Provider, key: &str) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for name in account_names(provider, key) {
            cache.remove(&(provider, name.to_owned()));
        }
    }

    fn verify_pk(&self, token: &str) -> String {
        format!(
            "verify#meta#{}",
            hex(&self.sealer.lookup_hash("edge/verify_token", token))
        )
    }
}

fn account_pk(provider: Provider, key: &str) -> String {
    format!("account#{}#{key}", provider.as_str())
}

/// The names that an account is found by.
fn account_names(provider: Provider, key: &str) -> Vec<&str> {
    match (provider, key.split_once('/')) {
        (Provider::Twilio, Some((sid, _))) => vec![key, sid],
        _ => vec![key],
    }
}

fn account_pks(provider: Provider, key: &str) -> Vec<String> {
    account_names(provider, key)
        .into_iter()
        .map(|name| account_pk(provider, name))
        .collect()
}
