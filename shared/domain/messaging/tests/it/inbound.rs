//! What comes in.

use crate::support::{World, connect, message_of, meta_account, number_id};
use jiff::SignedDuration;
use kernel::page::PageQuery;
use kernel::{Clock, Code};
use messaging::Channel;
use messaging::account::Provider;
use messaging::conversation::{self, ConversationFilter, State, UpdateConversation};
use messaging::inbound::{self, Event, Kind};
use messaging::message::{self, Media};
use serde_json::{Value, json};
use testkit::{TestDb, admin_client};

const EVENTS: &str = "SELECT count(*) FROM event_outbox WHERE tenant_id = $1 AND type = 'message.received'";
const CONTACTS: &str = "SELECT count(*) FROM contacts WHERE tenant_id = $1";
const KEPT: &str = "SELECT count(*) FROM webhook_events WHERE tenant_id = $1";

#[tokio::test]
async fn an_unknown_sender_becomes_a_contact_with_a_conversation() {
    let world = World::new().await;
    let now = world.now();
    let received = world
        .receive(&[world.text("201001234567", "السلام عليكم", now)])
        .await
        .unwrap();
    assert_eq!((received.messages, received.repeated), (1, 0));

    let listed = world.conversations().await;
    let conversation = serde_json::to_value(&listed[0]).unwrap();
    assert_eq!(conversation["channel"], "whatsapp");
    assert_eq!(conversation["state"], "open");
    assert_eq!(conversation["unread_count"], 1);
    assert_eq!(conversation["assignee_user_id"], Value::Null);
    assert_eq!(conversation["peer"], "+20********67");
    assert_eq!(listed[0].last_message_at, now);
    assert_eq!(
        listed[0].window_expires_at,
        Some(now + SignedDuration::from_hours(24))
    );
    let message = world.messages(listed[0].id).await.remove(0);
    assert_eq!(listed[0].last_message.as_ref(), Some(&message));
    let message = serde_json::to_value(&message).unwrap();
    for (field, value) in [
        ("direction", json!("inbound")),
        ("provider", json!("meta")),
        ("type", json!("text")),
        ("body", json!("السلام عليكم")),
        ("media", json!([])),
        ("status", json!("received")),
    ] {
        assert_eq!(message[field], value, "{field}");
    }
    assert_eq!(world.count(CONTACTS).await, 1);
    assert_eq!(world.count(EVENTS).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_event_a_hundred_times_in_parallel_is_one_message() {
    let world = World::with(Clock::system()).await;
    let now = world.now();
    let (db, caller, account) = (world.test.db.clone(), world.caller.clone(), world.account.clone());
    let template = world.text("+201001234567", "once", now);
    let id = template.external_event_id.clone();
    let deliveries = (0..100).map(|_| {
        let (db, caller, account, id) = (db.clone(), caller.clone(), account.clone(), id.clone());
        tokio::spawn(async move {
            let event = crate::support::event(
                &account,
                messaging::inbound::InboundMessage {
                    provider_message_id: id,
                    channel: Channel::Whatsapp,
                    from: kernel::Phone::from_provider("+201001234567").unwrap(),
                    profile_name: None,
                    sent_at: now,
                    kind: "text",
                    body: "once".to_owned(),
                    media: Vec::new(),
                    reply_to_provider_message_id: None,
                },
            );
            let events = [event];
            db.write(&caller, async |tx| {
                inbound::receive(&tx, Provider::Meta, now, &events).await
            })
            .await
        })
    });
    let mut stored = 0;
    for delivery in deliveries.collect::<Vec<_>>() {
        stored += delivery.await.unwrap().unwrap().messages;
    }
    assert_eq!(stored, 1);
    let conversations = world.conversations().await;
    assert_eq!((conversations.len(), conversations[0].unread_count), (1, 1));
    assert_eq!(world.messages(conversations[0].id).await.len(), 1);
    assert_eq!(
        (
            world.count(EVENTS).await,
            world.count(KEPT).await,
            world.count(CONTACTS).await
        ),
        (1, 1, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_batches_in_opposite_orders_store_every_message_once() {
    let world = World::with(Clock::system()).await;
    let now = world.now();
    // 50 messages of 10 new senders; each batch has its own rotation of all of them.
    let make = || -> Vec<Event> {
        let event = |n: i64| {
            let at = now - SignedDuration::from_secs(n);
            let mut event = world.text(&format!("+2010012345{:02}", n % 10), &format!("message {n}"), at);
            event.external_event_id = format!("wamid.batch-{n}");
            message_of(&mut event).provider_message_id = format!("wamid.batch-{n}");
            event
        };
        (0..50).map(event).collect()
    };
    let batches = (0..8).map(|turn| {
        let mut events = make();
        events.rotate_left(turn * 6);
        if turn % 2 == 1 {
            events.reverse();
        }
        let (db, caller) = (world.test.db.clone(), world.caller.clone());
        tokio::spawn(async move {
            db.write(&caller, async |tx| {
                inbound::receive(&tx, Provider::Meta, now, &events).await
            })
            .await
        })
    });
    let mut stored = 0;
    for batch in batches.collect::<Vec<_>>() {
        let received = batch.await.unwrap().unwrap();
        assert_eq!(received.messages + received.repeated, 50);
        stored += received.messages;
    }
    assert_eq!(stored, 50);
    let conversations = world.conversations().await;
    assert_eq!(conversations.len(), 10);
    assert!(
        conversations
            .iter()
            .all(|conversation| conversation.unread_count == 5)
    );
    assert_eq!(world.count(CONTACTS).await, 10);
    // newest first, and each conversation shows its newest
    assert!(conversations.is_sorted_by(|a, b| a.last_message_at >= b.last_message_at));
    for (n, conversation) in conversations.iter().enumerate() {
        assert_eq!(
            conversation.last_message.as_ref().unwrap().body,
            format!("message {n}")
        );
    }
}

#[tokio::test]
async fn messages_in_any_order_leave_the_same_conversation() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let world = World::new().await;
        let now = world.now();
        for minute in order {
            let at = now - SignedDuration::from_mins(10 - minute);
            world
                .receive(&[world.text("+201001234567", &format!("minute {minute}"), at)])
                .await
                .unwrap();
        }
        let conversation = world.conversations().await.remove(0);
        assert_eq!(conversation.last_message.unwrap().body, "minute 2", "{order:?}");
        assert_eq!(conversation.last_message_at, now - SignedDuration::from_mins(8));
        assert_eq!(
            conversation.window_expires_at,
            Some(now - SignedDuration::from_mins(8) + SignedDuration::from_hours(24))
        );
        let bodies: Vec<_> = world
            .messages(conversation.id)
            .await
            .into_iter()
            .map(|m| m.body)
            .collect();
        assert_eq!(bodies, ["minute 2", "minute 1", "minute 0"]);
    }
}

#[tokio::test]
async fn every_type_and_hostile_text_is_stored_readably() {
    let world = World::new().await;
    let now = world.now();
    let mut event = world.text("+201001234567", "a\0b \u{202e}\u{ffff} مرحبا", now);
    {
        let message = message_of(&mut event);
        message.kind = "image";
        message.profile_name = Some("Sal\0ma".to_owned());
        message.reply_to_provider_message_id = Some("wamid.earlier".to_owned());
        message.media = vec![Media {
            provider_media_id: Some("m1".to_owned()),
            filename: Some("a\0.png".to_owned()),
            ..Media::default()
        }];
    }
    event.raw = json!({ "text": "nul \u{0} inside" });
    world.receive(&[event]).await.unwrap();
    let conversation = world.conversations().await.remove(0);
    let message = world.messages(conversation.id).await.remove(0);
    assert_eq!(message.body, "a\u{fffd}b \u{202e}\u{ffff} مرحبا");
    assert_eq!(message.kind, "image");
    assert_eq!(message.media[0].filename.as_deref(), Some("a\u{fffd}.png"));
    assert_eq!(
        message.reply_to_provider_message_id.as_deref(),
        Some("wamid.earlier")
    );
}

#[tokio::test]
async fn a_closed_conversation_opens_again_and_an_sms_has_no_window() {
    let world = World::new().await;
    let conversation = world.conversation().await;
    let close = UpdateConversation {
        state: Some(State::Closed),
        assignee_user_id: kernel::Patch::Absent,
        unread_count: Some(0),
    };
    let now = world.now();
    world
        .write(async |tx| {
            let current = conversation::find_for_update(&tx, conversation.id, &close).await?;
            conversation::update(&tx, &close.apply(current, now)?).await
        })
        .await
        .unwrap();
    let closed = world.conversations().await.remove(0);
    assert_eq!((closed.state, closed.unread_count), (State::Closed, 0));

    let mut sms = world.text("+201001234567", "by SMS", now);
    message_of(&mut sms).channel = Channel::Sms;
    world
        .receive(&[world.text("+201001234567", "again", now), sms])
        .await
        .unwrap();
    let conversations = world.conversations().await;
    assert_eq!(conversations.len(), 2, "a channel is a conversation of its own");
    let of = |channel| {
        conversations
            .iter()
            .find(|conversation| conversation.channel == channel)
            .unwrap()
    };
    assert_eq!(
        (of(Channel::Whatsapp).state, of(Channel::Whatsapp).unread_count),
        (State::Open, 1)
    );
    assert_eq!(of(Channel::Sms).window_expires_at, None);
    assert_eq!(of(Channel::Sms).contact_id, of(Channel::Whatsapp).contact_id);
}

#[tokio::test]
async fn a_deleted_contact_who_writes_again_is_a_new_one() {
    let world = World::new().await;
    let before = world.conversation().await;
    world
        .write(async |tx| {
            tx.query(
                "UPDATE contact_channels SET claims_value = false WHERE tenant_id = $1",
                &[&world.tenant.0],
            )
            .await
            .map(drop)
        })
        .await
        .unwrap();
    world
        .write(async |tx| {
            tx.query(
                "UPDATE contacts SET archived_at = now() WHERE tenant_id = $1",
                &[&world.tenant.0],
            )
            .await
            .map(drop)
        })
        .await
        .unwrap();
    let after = world.conversation().await;
    assert_eq!(after.id, before.id);
    assert_ne!(after.contact_id, before.contact_id);
    assert_eq!(after.unread_count, 2);
}

#[tokio::test]
async fn an_account_of_another_tenant_is_refused_and_nothing_of_the_batch_stays() {
    let world = World::new().await;
    let other = world.test.tenant().await;
    let foreign = connect(&world.test, &TestDb::system(other), meta_account(&number_id()))
        .await
        .unwrap();
    let mut event = world.text("+201001234567", "stray", world.now());
    event.account_id = foreign.id;
    let good = world.text("+201001234568", "good", world.now());
    assert_eq!(
        world.receive(&[good, event]).await.unwrap_err().code(),
        Code::NotFound
    );
    assert!(world.conversations().await.is_empty());
    assert_eq!(
        (
            world.count(KEPT).await,
            world.count(CONTACTS).await,
            world.count(EVENTS).await
        ),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn unreadable_events_are_kept_once_and_not_acted_upon() {
    let world = World::new().await;
    let odd = || Event {
        account_id: world.account.id,
        account_key: "1".to_owned(),
        external_event_id: "hash".to_owned(),
        kind: Kind::Unreadable,
        raw: json!("?"),
    };
    assert_eq!(world.receive(&[odd(), odd()]).await.unwrap().repeated, 1);
    assert_eq!(world.receive(&[odd()]).await.unwrap().repeated, 1);
    assert_eq!(world.count(KEPT).await, 1);
    assert!(world.conversations().await.is_empty());
}

#[tokio::test]
async fn events_of_nobodys_account_are_kept_once_without_a_tenant() {
    let world = World::new().await;
    let mut event = world.text("+201001234567", "for whom?", world.now());
    event.account_key = format!("nobody-{}", number_id());
    for _ in 0..2 {
        let events = [&event];
        inbound::keep_unresolved(
            &world.test.db,
            Provider::Meta,
            world.now(),
            "req-1",
            events.into_iter(),
        )
        .await
        .unwrap();
    }
    let admin = admin_client(&world.test.admin).await;
    let sql = "SELECT tenant_id IS NULL AND status = 'unresolved' FROM webhook_events WHERE account_key = $1";
    let rows = admin.query(sql, &[&event.account_key]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<bool>>(), [true]);
    assert_eq!(
        world
            .count("SELECT count(*) FROM webhook_events WHERE $1::uuid IS NOT NULL AND tenant_id IS NULL")
            .await,
        0
    );
}

#[tokio::test]
async fn another_tenants_conversation_is_as_good_as_none() {
    let world = World::new().await;
    let conversation = world.conversation().await;
    let stranger = TestDb::system(world.test.tenant().await);
    let db = &world.test.db;
    let found = db
        .read(&stranger, async |tx| {
            conversation::find(&tx, conversation.id).await
        })
        .await
        .unwrap_err();
    let page = PageQuery::default().check(message::SORTS).unwrap();
    let listed = db
        .read(&stranger, async |tx| {
            message::list(&tx, conversation.id, &page).await
        })
        .await
        .unwrap_err();
    assert_eq!((found.code(), listed.code()), (Code::NotFound, Code::NotFound));
    let page = PageQuery::default().check(conversation::SORTS).unwrap();
    let filter = ConversationFilter::default();
    let all = db
        .read(&stranger, async |tx| {
            conversation::list(&tx, &filter, &page).await
        })
        .await
        .unwrap();
    assert!(all.data.is_empty());
}

#[tokio::test]
async fn lists_filter_and_page_by_the_last_message() {
    let world = World::new().await;
    let now = world.now();
    let events: Vec<_> = (0..5)
        .map(|n| {
            world.text(
                &format!("+20100123456{n}"),
                "x",
                now - SignedDuration::from_mins(n),
            )
        })
        .collect();
    world.receive(&events).await.unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let query = PageQuery {
            limit: Some(2),
            cursor: cursor.clone(),
            sort: None,
        };
        let page = query.check(conversation::SORTS).unwrap();
        let filter = ConversationFilter {
            state: Some(State::Open),
            ..ConversationFilter::default()
        };
        let read = world.test.db.read(&world.caller, async |tx| {
            conversation::list(&tx, &filter, &page).await
        });
        let listed = read.await.unwrap();
        seen.extend(
            listed
                .data
                .into_iter()
                .map(|conversation| conversation.last_message_at),
        );
        cursor = listed.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(
        seen,
        (0..5)
            .map(|n| now - SignedDuration::from_mins(n))
            .collect::<Vec<_>>()
    );
    let filter = ConversationFilter {
        state: Some(State::Closed),
        ..ConversationFilter::default()
    };
    let page = PageQuery::default().check(conversation::SORTS).unwrap();
    let none = world
        .test
        .db
        .read(&world.caller, async |tx| {
            conversation::list(&tx, &filter, &page).await
        })
        .await
        .unwrap();
    assert!(none.data.is_empty());
}

#[tokio::test]
async fn a_server_that_dies_before_the_commit_leaves_nothing_and_the_repetition_stores_it_once() {
    let world = World::with(Clock::system()).await;
    let now = world.now();
    let admin = admin_client(&world.test.admin).await;
    let events = [world.text("+201001234567", "hello", now)];
    let died = world
        .write(async |tx| {
            let received = inbound::receive(&tx, Provider::Meta, now, &events).await?;
            let pid: i32 = tx.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
            admin
                .execute("SELECT pg_terminate_backend($1, 5000)", &[&pid])
                .await
                .unwrap();
            Ok(received)
        })
        .await;
    assert!(died.unwrap_err().is_transient(), "the record comes again");
    assert!(world.conversations().await.is_empty());
    assert_eq!((world.count(KEPT).await, world.count(CONTACTS).await), (0, 0));
    assert_eq!(world.receive(&events).await.unwrap().messages, 1);
    assert_eq!(world.count(EVENTS).await, 1);
}
