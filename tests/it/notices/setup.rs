//! A sender with global accounts at providers of the test's own.

use crate::messaging::stack::Stack;
use config::GlobalAccounts;
use db::Tx;
use kernel::Result;
use notifications::notice::{self, Channel, Notice, To};
use serde_json::json;
use std::sync::Arc;
use testkit::TestDb;
use testkit::fake_providers::{Provider, Recorded};
use tokio_postgres::Row;
use uuid::Uuid;

pub const ADDRESS: &str = "salma@example.com";
pub const NUMBER: &str = "+201001234567";
pub const CODE: &str = "904417";

pub struct Post(pub Stack);

impl Post {
    /// With an account of ours at every provider.
    pub async fn new() -> Self {
        let mut post = Self::without_accounts().await;
        let accounts = json!({
            "meta": { "app_secret": "s", "verify_token": "v", "access_token": "EAAG-token", "phone_number_id": "100000000000000" },
            "twilio": { "account_sid": "AC01", "auth_token": "twilio-token", "from": "+12025550100" },
            "brevo": { "api_key": "xkeysib-1", "sender_email": "no-reply@m3.example", "sender_name": "M3CoreCRM" },
        });
        let accounts: GlobalAccounts = serde_json::from_value(accounts).unwrap();
        post.0.sender.global = Arc::new(accounts);
        post
    }

    pub async fn without_accounts() -> Self {
        Self(Stack::new().await)
    }

    /// In a transaction of the test's tenant.
    pub async fn write<T>(&self, work: impl AsyncFnOnce(&Tx) -> Result<T>) -> Result<T> {
        let caller = TestDb::system(self.0.world.tenant);
        let mut done = None;
        let write = self.0.world.test.db.write(&caller, async |tx| {
            done = Some(work(&tx).await?);
            Ok(())
        });
        write.await?;
        Ok(done.unwrap())
    }

    pub async fn notice(&self, to: To<'_>, notice: &Notice) -> Uuid {
        self.write(async |tx| notice::send(tx, &to, notice).await)
            .await
            .unwrap()
    }

    pub async fn mail(&self, locale: &str, notice: &Notice) -> Uuid {
        self.notice(to(Channel::Email, ADDRESS, locale), notice).await
    }

    pub async fn send(&self, id: Uuid) {
        self.0.send(id).await.unwrap();
    }

    /// What a provider got.
    pub fn got(&self, provider: Provider) -> Vec<Recorded> {
        let requests = self.0.providers.requests();
        requests
            .into_iter()
            .filter(|request| request.provider == provider)
            .collect()
    }

    pub async fn row(&self, id: Uuid) -> Row {
        let sql = "SELECT status, error_code, provider, provider_message_id, attempts, purpose, user_id,
                content_sealed IS NULL AS wiped FROM messages_outbox WHERE id = $1";
        self.0
            .world
            .admin_sql()
            .await
            .query_one(sql, &[&id])
            .await
            .unwrap()
    }

    pub async fn status(&self, id: Uuid) -> (String, bool) {
        let row = self.row(id).await;
        (row.get("status"), row.get("wiped"))
    }

    /// Makes a queued delivery due.
    pub async fn due(&self, id: Uuid) {
        let sql = "UPDATE messages_outbox SET next_attempt_at = now() WHERE id = $1";
        self.0.world.admin_sql().await.execute(sql, &[&id]).await.unwrap();
    }

    /// The tenant's deliveries, oldest first.
    pub async fn deliveries(&self) -> Vec<(Uuid, String, String)> {
        let sql = "SELECT id, channel, purpose FROM messages_outbox WHERE tenant_id = $1 ORDER BY id";
        let rows = self
            .0
            .world
            .admin_sql()
            .await
            .query(sql, &[&self.0.world.tenant.0])
            .await
            .unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }
}

pub fn to<'a>(channel: Channel, address: &'a str, locale: &'a str) -> To<'a> {
    To {
        user_id: None,
        channel,
        address,
        locale,
    }
}

pub fn otp() -> Notice {
    Notice::Otp {
        code: CODE.to_owned(),
        minutes: 10,
        tenant_name: "Nile Homes".to_owned(),
        purpose: notifications::notice::CodeUse::VerifyPhone,
    }
}
