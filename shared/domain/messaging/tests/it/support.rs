//! A tenant with a connected account, and the events that a provider would send it.

use db::Tx;
use jiff::{SignedDuration, Timestamp};
use kernel::page::PageQuery;
use kernel::{Caller, Clock, Phone, Result, TenantId};
use messaging::Channel;
use messaging::account::{self, Account, CreateAccount, NewAccount, Provider};
use messaging::conversation::{self, Conversation, ConversationFilter};
use messaging::inbound::{self, Event, InboundMessage, Kind, Received};
use messaging::message::{self, Message};
use messaging::reply::{self, CreateReply, NewReply};
use notifications::report::{Report, Status};
use serde_json::{Value, json};
use testkit::TestDb;
use testkit::database::{database_with, unique};
use uuid::Uuid;

pub struct World {
    pub test: TestDb,
    pub tenant: TenantId,
    pub caller: Caller,
    pub account: Account,
}

impl World {
    /// On a clock that stands still.
    pub async fn new() -> Self {
        Self::with(Clock::fixed(Clock::system().now())).await
    }

    pub async fn with(clock: Clock) -> Self {
        let test = database_with(clock).await;
        let tenant = test.tenant().await;
        let caller = TestDb::system(tenant);
        let account = connect(&test, &caller, meta_account(&number_id())).await.unwrap();
        Self {
            test,
            tenant,
            caller,
            account,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.test.db.clock().now()
    }

    pub fn advance(&self, by: SignedDuration) {
        self.test.db.clock().advance(by);
    }

    pub async fn receive(&self, events: &[Event]) -> Result<Received> {
        let now = self.now();
        self.test
            .db
            .write(&self.caller, async |tx| {
                inbound::receive(&tx, Provider::Meta, now, events).await
            })
            .await
    }

    pub async fn conversations(&self) -> Vec<Conversation> {
        let page = PageQuery::default().check(conversation::SORTS).unwrap();
        let filter = ConversationFilter::default();
        let listed = self.test.db.read(&self.caller, async |tx| {
            conversation::list(&tx, &filter, &page).await
        });
        listed.await.unwrap().data
    }

    pub async fn messages(&self, conversation: Uuid) -> Vec<Message> {
        let page = PageQuery {
            limit: Some(200),
            ..PageQuery::default()
        }
        .check(message::SORTS)
        .unwrap();
        let listed = self.test.db.read(&self.caller, async |tx| {
            message::list(&tx, conversation, &page).await
        });
        listed.await.unwrap().data
    }

    pub async fn message(&self, conversation: Uuid, id: Uuid) -> Message {
        self.messages(conversation)
            .await
            .into_iter()
            .find(|message| message.id == id)
            .unwrap()
    }

    /// A conversation that a contact began just now.
    pub async fn conversation(&self) -> Conversation {
        let event = self.text("+201001234567", "hello", self.now());
        self.receive(&[event]).await.unwrap();
        self.conversations().await.remove(0)
    }

    pub async fn reply(&self, conversation: Uuid, body: Value) -> Result<Message> {
        let new = NewReply::parse(serde_json::from_value::<CreateReply>(body).unwrap())?;
        let written = self.test.db.write(&self.caller, async |tx| {
            reply::create(&tx, conversation, &new).await
        });
        written.await
    }

    /// A conversation and a reply in it that waits to be sent.
    pub async fn queued(&self) -> (Uuid, Uuid) {
        let conversation = self.conversation().await.id;
        let message = self
            .reply(conversation, json!({ "body": "welcome" }))
            .await
            .unwrap();
        (conversation, message.id)
    }

    pub fn text(&self, from: &str, body: &str, sent_at: Timestamp) -> Event {
        event(
            &self.account,
            InboundMessage {
                provider_message_id: format!("wamid.{}", unique()),
                channel: Channel::Whatsapp,
                from: Phone::from_provider(from).unwrap(),
                profile_name: Some("Salma".to_owned()),
                sent_at,
                kind: "text",
                body: body.to_owned(),
                media: Vec::new(),
                reply_to_provider_message_id: None,
            },
        )
    }

    pub fn report(&self, provider_message_id: &str, status: Status) -> Report {
        Report {
            provider_message_id: provider_message_id.to_owned(),
            status,
            occurred_at: self.now(),
            error: (status == Status::Failed).then(|| ("131026".to_owned(), "Undeliverable".to_owned())),
            delivery_id: None,
        }
    }

    /// A count over the tenant's rows.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let tenant = self.tenant.0;
        self.test
            .db
            .read(&self.caller, async |tx| tx.query_one(sql, &[&tenant]).await)
            .await
            .unwrap()
            .get(0)
    }

    pub async fn write<T>(&self, work: impl AsyncFnOnce(Tx) -> Result<T>) -> Result<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        self.test.db.write(&self.caller, work).await
    }
}

pub fn event(account: &Account, message: InboundMessage) -> Event {
    Event {
        account_id: account.id,
        account_key: account.phone_number_id.clone().unwrap(),
        external_event_id: message.provider_message_id.clone(),
        raw: json!({ "id": message.provider_message_id, "text": { "body": message.body } }),
        kind: Kind::Message(message),
    }
}

pub fn message_of(event: &mut Event) -> &mut InboundMessage {
    match &mut event.kind {
        Kind::Message(message) => message,
        _ => panic!("a message"),
    }
}

/// Digits that no other test uses.
pub fn number_id() -> String {
    unique().as_u128().to_string()
}

pub fn meta_account(phone_number_id: &str) -> CreateAccount {
    let body = json!({
        "provider": "meta",
        "provider_account_id": "102290129340398",
        "phone_number_id": phone_number_id,
        "display_phone_number": "+20 2 3333-4444",
        "credentials": { "access_token": "EAAG-token", "app_secret": "app-secret", "verify_token": "verify-me" },
    });
    serde_json::from_value(body).unwrap()
}

pub async fn connect(test: &TestDb, caller: &Caller, body: CreateAccount) -> Result<Account> {
    let new = NewAccount::parse(body)?;
    test.db
        .write(caller, async |tx| account::insert(&tx, &new).await)
        .await
}
