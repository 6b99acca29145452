//! Every messaging function, wired to queues, a table and providers of the test's own.

use crate::support::{Api, Login, World};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use cloud::{Accounts, Cloud};
use config::{Env, GlobalAccounts};
use jiff::Timestamp;
use kernel::{Envelope, TenantId};
use providers::intake::{Source, VerifiedAccount, Webhook, WebhookBody};
use providers::{Endpoints, Http, Timeouts};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use testkit::fake_providers::{FakeProviders, Handle};
use uuid::Uuid;
use worker::{Budget, Message, Task};

pub struct Stack {
    pub world: World,
    pub me: Login,
    pub api: Api,
    pub app: messaging_function::App,
    pub processor: inbound_message_processor_function::App,
    pub sender: outbound_message_sender_function::App,
    pub relay: outbox_relay_function::App,
    pub scheduler: scheduler_function::App,
    pub providers: Handle,
    pub deliveries_url: String,
    pub domain_events_url: String,
}

impl Stack {
    pub async fn new() -> Self {
        Self::of(World::new().await).await
    }

    /// With a database of its own, for what sweeps over all tenants.
    pub async fn alone() -> Self {
        let test = testkit::fresh_database(true).await;
        let tenant = test.tenant().await;
        Self::of(World { test, tenant }).await
    }

    pub async fn of(world: World) -> Self {
        let cloud = Cloud::connect(&aws_env(&endpoint())).unwrap();
        let (deliveries_url, domain_events_url, events_url) = (queue().await, queue().await, queue().await);
        let queues = Env::from_pairs([
            ("EVENT_OUTBOX_QUEUE_URL", &events_url),
            ("OUTBOUND_MESSAGES_QUEUE_URL", &deliveries_url),
        ]);
        let db = world
            .test
            .db
            .clone()
            .with_after_commit(cloud.after_commit(&queues).unwrap());
        let clock = db.clock().clone();
        let accounts = Arc::new(cloud.accounts(&table().await, testkit::keys::sealer(), clock));
        let (url, providers) = FakeProviders::start(0).await.unwrap();
        let endpoints = Endpoints {
            meta_api_url: format!("{url}/v23.0"),
            twilio_api_url: url.clone(),
            brevo_api_url: url,
            webhooks_url: "https://hooks.test".to_owned(),
        };
        let timeouts = Timeouts {
            connect: Duration::from_secs(1),
            total: Duration::from_secs(2),
        };
        let app = messaging_function::App {
            db: db.clone(),
            web: world.web(),
            accounts: Arc::clone(&accounts),
        };
        Self {
            me: world.admin().await,
            api: Api(messaging_function::routes().into_service(app.clone())),
            app,
            processor: inbound_message_processor_function::App {
                db: db.clone(),
                bucket: cloud.bucket(BUCKET),
            },
            sender: outbound_message_sender_function::App {
                db: db.clone(),
                http: Http::new(endpoints, timeouts).unwrap(),
                global: Arc::new(GlobalAccounts::default()),
            },
            relay: outbox_relay_function::App {
                db: db.clone(),
                domain_events: cloud.queue(&domain_events_url),
                deliveries: cloud.queue(&deliveries_url),
            },
            scheduler: scheduler_function::App {
                db,
                accounts,
                app_url: "https://app.test".into(),
                bucket: cloud.bucket(BUCKET),
            },
            world,
            providers,
            deliveries_url,
            domain_events_url,
        }
    }

    /// Connects a Meta account; what the edge would put beside its webhooks.
    pub async fn connect(&self, phone_number_id: &str) -> VerifiedAccount {
        let created = self
            .api
            .post(&self.me, "/v1/whatsapp-accounts", &meta_account(phone_number_id))
            .await
            .expect(201);
        VerifiedAccount {
            provider_key: phone_number_id.to_owned(),
            tenant_id: self.world.tenant.0,
            account_id: created["id"].as_str().unwrap().parse().unwrap(),
        }
    }

    /// A connected account and a conversation that somebody began on it.
    pub async fn conversation(&self) -> (VerifiedAccount, String) {
        let account = self.connect(&digits()).await;
        let body = meta_body(&[(
            &account.provider_key,
            &[text_message("201001234567", "hello")],
            &[],
        )]);
        self.post(Source::Meta, &body, "", vec![account.clone()])
            .await
            .unwrap();
        let listed = self.api.get(&self.me, "/v1/conversations").await.expect(200);
        (account, listed["data"][0]["id"].as_str().unwrap().to_owned())
    }

    /// As the queue hands a verified webhook to the processor.
    pub async fn post(
        &self,
        source: Source,
        body: &str,
        query: &str,
        accounts: Vec<VerifiedAccount>,
    ) -> kernel::Result<()> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let body = WebhookBody::Base64(STANDARD.encode(body));
        self.processor
            .handle(self.webhook(source, body, query, accounts))
            .await
    }

    /// A verified webhook of Meta's.
    pub fn webhook_of(&self, body: &str, accounts: Vec<VerifiedAccount>) -> Webhook {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let body = WebhookBody::Base64(STANDARD.encode(body));
        self.webhook(Source::Meta, body, "", accounts).payload
    }

    pub fn webhook(
        &self,
        source: Source,
        body: WebhookBody,
        query: &str,
        accounts: Vec<VerifiedAccount>,
    ) -> Message<Webhook> {
        let received_at = self.now();
        message(
            None,
            Webhook {
                source,
                received_at,
                body,
                query: query.to_owned(),
                accounts,
            },
        )
    }

    pub fn now(&self) -> Timestamp {
        self.world.test.db.clock().now()
    }

    /// Queues a reply; its id.
    pub async fn reply(&self, conversation: &str) -> Uuid {
        let path = format!("/v1/conversations/{conversation}/messages");
        let message = self
            .api
            .post(&self.me, &path, &json!({ "body": "welcome" }))
            .await
            .expect(202);
        message["id"].as_str().unwrap().parse().unwrap()
    }

    /// Hands a delivery to the sender, as its queue does.
    pub async fn send(&self, id: Uuid) -> kernel::Result<()> {
        self.sender
            .handle(message(
                Some(self.world.tenant),
                notifications::delivery::Wake { id },
            ))
            .await
    }

    pub async fn message(&self, conversation: &str, id: Uuid) -> Value {
        let path = format!("/v1/conversations/{conversation}/messages");
        let listed = self.api.get(&self.me, &path).await.expect(200);
        let messages = listed["data"].as_array().unwrap();
        messages
            .iter()
            .find(|message| message["id"] == json!(id))
            .unwrap()
            .clone()
    }

    /// Sends that reached a provider.
    pub fn sends(&self) -> usize {
        self.providers
            .requests()
            .iter()
            .filter(|request| request.method == "POST")
            .count()
    }
}

pub const BUCKET: &str = "m3-messaging-tests";

pub fn message<T>(tenant: Option<TenantId>, payload: T) -> Message<T> {
    Message {
        id: "m1".to_owned(),
        tenant,
        request_id: "req-test".to_owned(),
        attempt: 1,
        sent_at: None,
        trace: None,
        payload,
    }
}

pub fn task(name: &str) -> Task {
    Task {
        name: name.to_owned(),
        request_id: "req-task".to_owned(),
        budget: Budget::of(Duration::from_mins(1)),
    }
}

/// Digits that no other test uses.
pub fn digits() -> String {
    testkit::unique().as_u128().to_string()
}

pub fn meta_account(phone_number_id: &str) -> Value {
    json!({
        "provider": "meta", "provider_account_id": "102290129340398", "phone_number_id": phone_number_id,
        "display_phone_number": "+20 2 3333 4444",
        "credentials": { "access_token": "EAAG-token", "app_secret": "app-secret", "verify_token": "verify-me" },
    })
}

/// A body as Meta posts it: for each number its messages and statuses.
pub fn meta_body(numbers: &[(&str, &[Value], &[Value])]) -> String {
    let changes: Vec<Value> = numbers
        .iter()
        .map(|(id, messages, statuses)| {
            json!({ "field": "messages", "value": {
                "messaging_product": "whatsapp",
                "metadata": { "display_phone_number": "20233334444", "phone_number_id": id },
                "contacts": [{ "wa_id": "201001234567", "profile": { "name": "Salma" } }],
                "messages": messages, "statuses": statuses,
            } })
        })
        .collect();
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": changes }] }).to_string()
}

pub fn text_message(from: &str, body: &str) -> Value {
    let now = kernel::Clock::system().now().as_second().to_string();
    json!({ "from": from, "id": format!("wamid.{}", digits()), "timestamp": now, "type": "text", "text": { "body": body } })
}

pub fn status(provider_message_id: &str, status: &str, client_ref: Option<Uuid>) -> Value {
    let now = kernel::Clock::system().now().as_second().to_string();
    json!({ "id": provider_message_id, "status": status, "timestamp": now, "recipient_id": "201001234567",
            "biz_opaque_callback_data": client_ref })
}

/// Everything in a queue, out of its envelopes.
pub async fn drain<T: DeserializeOwned>(url: &str) -> Vec<Envelope<T>> {
    let mut found = Vec::new();
    loop {
        let received = sqs()
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .send()
            .await
            .unwrap();
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return found;
        }
        for message in messages {
            found.push(Envelope::from_json(&message.body.unwrap()).unwrap());
            let handle = message.receipt_handle.unwrap();
            sqs()
                .delete_message()
                .queue_url(url)
                .receipt_handle(handle)
                .send()
                .await
                .unwrap();
        }
    }
}

pub fn endpoint() -> String {
    let env = Env::from_process();
    env.required("M3_TEST_AWS_ENDPOINT")
        .expect("run `cargo xtask test`, which starts a local AWS")
        .to_owned()
}

pub fn aws_env(endpoint: &str) -> Env {
    Env::from_pairs([
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ])
}

macro_rules! client {
    ($name:ident, $sdk:ident) => {
        pub fn $name() -> $sdk::Client {
            let config = $sdk::config::Builder::new()
                .behavior_version($sdk::config::BehaviorVersion::latest())
                .region($sdk::config::Region::new("us-east-1"))
                .endpoint_url(endpoint())
                .credentials_provider($sdk::config::Credentials::new(
                    "test", "test", None, None, "test",
                ));
            $sdk::Client::from_conf(config.build())
        }
    };
}

client!(sqs, aws_sdk_sqs);
client!(dynamodb, aws_sdk_dynamodb);

pub fn s3() -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .endpoint_url(endpoint())
        .force_path_style(true)
        .credentials_provider(aws_sdk_s3::config::Credentials::new(
            "test", "test", None, None, "test",
        ));
    aws_sdk_s3::Client::from_conf(config.build())
}

async fn queue() -> String {
    sqs()
        .create_queue()
        .queue_name(format!("q-{}", digits()))
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap()
}

pub async fn table() -> String {
    let name = format!("state-{}", digits());
    make_table(&name).await.unwrap();
    name
}

/// A table of all tests, whose counters no test looks at.
pub fn shared_table() -> &'static str {
    static NAME: LazyLock<&str> = LazyLock::new(|| {
        let name = "state-of-all-tests";
        // A thread of its own may wait, where a test's must not.
        let made = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            match runtime.block_on(make_table(name)) {
                Err(error) if !error.is_resource_in_use_exception() => panic!("{error:?}"),
                _ => {}
            }
        });
        made.join().unwrap();
        name
    });
    *NAME
}

async fn make_table(name: &str) -> Result<(), CreateTableError> {
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .unwrap()
    };
    let text = |name: &str| {
        let text = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S);
        text.build().unwrap()
    };
    let request = dynamodb()
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest);
    let request = request
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range));
    request
        .attribute_definitions(text("pk"))
        .attribute_definitions(text("sk"))
        .send()
        .await
        .map(drop)
        .map_err(SdkError::into_service_error)
}

/// The directory of the edge, read anew.
pub async fn at_edge(accounts: &Accounts, key: &str) -> Vec<Uuid> {
    let found = accounts.refresh(cloud::Provider::Meta, key).await.unwrap();
    found.iter().map(|account| account.account_id).collect()
}
