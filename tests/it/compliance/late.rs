//! What comes in of somebody who was erased meanwhile: what the sender has to record, and statuses.
//! Providers make their ids of the number, so an id alone would bring the person back.

use super::erasure::{Dump, PHONE, inbound, own};
use super::setup::{app, bucket, held_open};
use crate::messaging::stack::{Stack, digits, meta_body, status};
use crate::support::{Api, World};
use messaging::account::Provider;
use messaging::inbound::{Event, Kind, receive};
use notifications::report::{Report, Status};
use providers::intake::{Source, VerifiedAccount};
use serde_json::{Value, json};
use testkit::TestDb;
use uuid::Uuid;

/// Somebody who wrote to a company.
pub(super) struct Correspondence {
    pub stack: Stack,
    pub api: Api,
    pub bucket: String,
    pub account: VerifiedAccount,
    pub conversation: String,
    pub contact: String,
}

impl Correspondence {
    pub async fn new() -> Self {
        let stack = Stack::alone().await;
        let bucket = bucket().await;
        let mut with = Self {
            api: Api(admin_function::routes().into_service(app(&stack.world, &bucket))),
            account: stack.connect(&digits()).await,
            stack,
            bucket,
            conversation: String::new(),
            contact: String::new(),
        };
        with.write("hello").await;
        with
    }

    /// They write; says where that went to.
    pub async fn write(&mut self, text: &str) {
        let id = format!("wamid.in-{}", digits());
        let body = inbound(&self.account.provider_key, text, &id);
        let accounts = vec![self.account.clone()];
        self.stack.post(Source::Meta, &body, "", accounts).await.unwrap();
        let listed = self.stack.api.get(&self.stack.me, "/v1/conversations").await;
        let newest = listed.expect(200)["data"][0].clone();
        let of = |field: &str| newest[field].as_str().unwrap().to_owned();
        (self.conversation, self.contact) = (of("id"), of("contact_id"));
    }

    fn world(&self) -> World {
        own(&self.stack.world)
    }

    /// A reply that a sender took, and has not heard of yet.
    async fn under_way(&self) -> Uuid {
        let reply = self.stack.reply(&self.conversation).await;
        let (world, caller) = (self.world(), TestDb::system(self.stack.world.tenant));
        let claim = world.test.db.write(&caller, async |tx| {
            Ok(messaging::delivery::claim(&tx, reply).await?.is_some())
        });
        assert!(claim.await.unwrap());
        reply
    }

    /// The provider took it.
    async fn record(&self, reply: Uuid, name: &str) {
        let (world, caller) = (self.world(), TestDb::system(self.stack.world.tenant));
        let sent = world.test.db.write(&caller, async |tx| {
            messaging::delivery::sent(&tx, reply, "meta", name).await
        });
        sent.await.unwrap();
    }

    async fn told(&self, name: &str, state: &str, reply: Option<Uuid>) {
        let mut status = status(name, state, reply);
        status["recipient_id"] = json!(PHONE.trim_start_matches('+'));
        let body = meta_body(&[(&self.account.provider_key, &[], &[status])])
            .replace("201001234567", PHONE.trim_start_matches('+'));
        self.stack
            .post(Source::Meta, &body, "", vec![self.account.clone()])
            .await
            .unwrap();
    }

    fn erasing(&self) -> Value {
        json!({ "subject_type": "contact", "subject_id": self.contact, "confirm": self.contact })
    }

    async fn erase(&self) {
        self.api
            .post(&self.stack.me, "/v1/admin/gdpr/erase", &self.erasing())
            .await
            .expect(200);
    }

    async fn dump(&self) -> Dump {
        Dump::of(&self.stack.world, &self.bucket).await
    }

    async fn assert_gone(&self, names: &[String]) {
        let after = self.dump().await;
        let number = PHONE.trim_start_matches('+').to_owned();
        for trace in names.iter().chain([&number]) {
            assert_eq!(after.places(trace), Vec::<&str>::new(), "{trace}");
        }
    }
}

fn name() -> String {
    format!("wamid.out-{}", digits())
}

#[tokio::test]
async fn a_send_that_was_under_way_and_late_statuses_bring_nobody_back() {
    let with = Correspondence::new().await;
    let (under_way, told_early) = (with.under_way().await, with.under_way().await);
    let arrived = with.under_way().await;
    let names = [name(), name(), name()];
    with.record(arrived, &names[2]).await;
    with.told(&names[2], "delivered", Some(arrived)).await;
    // Before our own write, and without our id: nobody knows yet whose it is.
    with.told(&names[1], "sent", None).await;
    let before = with.dump().await;
    for name in &names[1..] {
        assert!(!before.places(name).is_empty(), "{name} was never stored");
    }

    with.erase().await;
    with.record(under_way, &names[0]).await;
    with.record(told_early, &names[1]).await;
    for state in ["sent", "delivered", "read", "read"] {
        with.told(&names[0], state, Some(under_way)).await;
        with.told(&names[2], state, Some(arrived)).await;
    }
    with.assert_gone(&names).await;
    let sql = "SELECT status, error_code FROM messages_outbox WHERE tenant_id = $1 AND id = $2";
    let admin = with.stack.world.admin_sql().await;
    let row = admin
        .query_one(sql, &[&with.stack.world.tenant.0, &under_way])
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, &str>(1)),
        ("failed", "ERASED")
    );
}

/// A status that is being stored names the person for an erasure that has not seen it: it waits.
#[tokio::test]
async fn an_erasure_waits_for_a_status_that_is_being_stored() {
    let with = Correspondence::new().await;
    let (reply, name) = (with.under_way().await, name());
    let (world, caller) = (with.world(), TestDb::system(with.stack.world.tenant));
    let event = Event {
        account_id: with.account.account_id,
        account_key: with.account.provider_key.clone(),
        external_event_id: format!("{name}:delivered"),
        kind: Kind::Status(Report {
            provider_message_id: name.clone(),
            status: Status::Delivered,
            occurred_at: with.stack.now(),
            error: None,
            delivery_id: Some(reply),
        }),
        raw: json!({ "id": name, "status": "delivered" }),
    };
    let now = with.stack.now();
    let (within, without) = held_open();
    let storing = world.test.db.write(&caller, async |tx| {
        receive(&tx, Provider::Meta, now, &[event]).await?;
        within.stay().await;
        Ok(())
    });
    let (stored, ()) = futures::join!(storing, without.meanwhile(with.erase()));
    stored.unwrap();
    with.assert_gone(&[name]).await;
}

/// Also while the person is there, nobody keeps of a status whom it is about.
#[tokio::test]
async fn of_a_status_nothing_is_kept_but_the_status() {
    let with = Correspondence::new().await;
    let (reply, name) = (with.under_way().await, name());
    with.told(&name, "delivered", Some(reply)).await;
    let sql = "SELECT payload_sealed FROM webhook_events WHERE tenant_id = $1 AND kind = 'status'";
    let admin = with.stack.world.admin_sql().await;
    let row = admin.query_one(sql, &[&with.stack.world.tenant.0]).await.unwrap();
    let context = format!("{}/webhook_events.payload", with.stack.world.tenant);
    let payload = testkit::keys::sealer().open_text(&context, row.get(0)).unwrap();
    let payload: Value = serde_json::from_str(&payload).unwrap();
    let mut names: Vec<&str> = payload.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["biz_opaque_callback_data", "id", "status", "timestamp"]);
}
