//! Limits where records meet them: contacts, groups, roles.

use super::{TENANT, entry, put, service};
use crate::support::{Login, World};
use contacts::contact;
use futures::future::join_all;
use kernel::Phone;
use serde_json::{Value, json};

async fn allow(world: &World, me: &Login, contacts: i64) {
    let wanted = json!([{ "code": "contacts.max", "limit_value": contacts }, { "code": "users.max", "unlimited": true }]);
    put(&service(world), me, TENANT, &wanted).await.expect(200);
}

async fn used(world: &World, me: &Login) -> Value {
    let plan = service(world).get(me, "/v1/admin/plan").await.expect(200);
    entry(&plan["limits"], "contacts.max")["used"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_creates_exactly_as_many_succeed_as_there_is_room_for() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    allow(&world, &me, 6).await;
    let body = json!({ "first_name": "A" });
    let answers = join_all((0..16).map(|_| api.post(&me, "/v1/contacts", &body))).await;
    let mut made = Vec::new();
    for answer in answers {
        if answer.status == 201 {
            made.push(answer.json()["id"].as_str().unwrap().to_owned());
        } else {
            let error = answer.expect_code(422, "LIMIT_REACHED");
            assert_eq!(
                error["details"],
                json!({ "key": "contacts.max", "limit": 6, "used": 6 })
            );
        }
    }
    assert_eq!(made.len(), 6);
    let listed = api.get(&me, "/v1/contacts").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 6);

    // Room again, once, however often the delete is repeated.
    let path = format!("/v1/contacts/{}", made[0]);
    api.delete(&me, &path).await.expect(204);
    api.delete(&me, &path).await.expect_code(404, "NOT_FOUND");
    api.post(&me, "/v1/contacts", &body).await.expect(201);
    api.post(&me, "/v1/contacts", &body)
        .await
        .expect_code(422, "LIMIT_REACHED");
}

#[tokio::test]
async fn what_is_refused_for_another_reason_counts_nothing() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    allow(&world, &me, 2).await;
    let email = format!("{}@example.com", testkit::unique());
    let body = json!({ "first_name": "A", "channels": [{ "type": "email", "value": email }] });
    api.post(&me, "/v1/contacts", &body).await.expect(201);
    for _ in 0..3 {
        api.post(&me, "/v1/contacts", &body)
            .await
            .expect_code(409, "DUPLICATE");
        let foreign = json!({ "first_name": "A", "owner_user_id": testkit::unique() });
        api.post(&me, "/v1/contacts", &foreign)
            .await
            .expect_code(404, "NOT_FOUND");
    }
    assert_eq!(used(&world, &me).await, 1);
    // A repeated request is one contact.
    let key = [("idempotency-key", "once")];
    for _ in 0..2 {
        api.json(&me, "POST", "/v1/contacts", &key, &json!({ "first_name": "B" }))
            .await
            .expect(201);
    }
    assert_eq!(used(&world, &me).await, 2);
    // At the limit, the key of a refused request is free for when there is room.
    let key = [("idempotency-key", "later")];
    api.json(&me, "POST", "/v1/contacts", &key, &json!({ "first_name": "C" }))
        .await
        .expect_code(422, "LIMIT_REACHED");
    allow(&world, &me, 3).await;
    api.json(&me, "POST", "/v1/contacts", &key, &json!({ "first_name": "C" }))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_stranger_who_writes_is_not_lost_because_the_plan_is_full() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    allow(&world, &me, 0).await;
    let phone = Phone::parse("+201001234567").unwrap();
    let caller = testkit::TestDb::system(world.tenant);
    let now = world.test.db.clock().now();
    for _ in 0..2 {
        let found = world.test.db.write(&caller, async |tx| {
            contact::find_or_create_by_phone(&tx, &phone, None, now).await
        });
        found.await.unwrap();
    }
    assert_eq!(used(&world, &me).await, 1, "and counts");
    let error = api.post(&me, "/v1/contacts", &json!({ "first_name": "A" })).await;
    let error = error.expect_code(422, "LIMIT_REACHED");
    assert_eq!(error["details"]["used"], 1);
}

/// A person's limit is compared with what the company has used.
#[tokio::test]
async fn a_person_may_be_allowed_less_than_the_company() {
    let world = World::new().await;
    let (api, me, staff) = (world.contacts(), world.admin().await, world.user("staff").await);
    let path = format!("{}?user_id={}", super::USER, staff.user_id);
    put(
        &service(&world),
        &me,
        &path,
        &json!([{ "code": "contacts.max", "limit_value": 0 }]),
    )
    .await
    .expect(200);
    let body = json!({ "first_name": "A" });
    api.post(&staff, "/v1/contacts", &body)
        .await
        .expect_code(422, "LIMIT_REACHED");
    api.post(&me, "/v1/contacts", &body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_groups_and_roles_exactly_as_many_are_made_as_there_is_room_for() {
    let world = World::new().await;
    let (api, me) = (service(&world), world.admin().await);
    let wanted = json!([
        { "code": "groups.max", "limit_value": 4 },
        { "code": "roles.max", "limit_value": 5 },
        { "code": "users.max", "unlimited": true },
    ]);
    put(&api, &me, TENANT, &wanted).await.expect(200);
    for (path, key, room) in [
        ("/v1/admin/groups", "groups.max", 4),
        ("/v1/admin/roles", "roles.max", 5),
    ] {
        let make = async |at: usize| {
            let body = json!({ "name": "A", "code": format!("n{at}") });
            api.post(&me, path, &body).await
        };
        let answers = join_all((0..12).map(make)).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        assert_eq!(made.len(), room, "{key}");
        for answer in refused {
            let error = answer.expect_code(422, "LIMIT_REACHED");
            assert_eq!(
                error["details"],
                json!({ "key": key, "limit": room, "used": room })
            );
        }
        // What goes makes room, once.
        let first = made[0].json()["id"].as_str().unwrap().to_owned();
        api.delete(&me, &format!("{path}/{first}")).await.expect(204);
        make(100).await.expect(201);
        make(101).await.expect_code(422, "LIMIT_REACHED");
        let plan = api.get(&me, "/v1/admin/plan").await.expect(200);
        assert_eq!(entry(&plan["limits"], key)["used"], room);
    }
}
