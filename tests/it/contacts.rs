//! `/v1/contacts`.

use crate::support::World;
use futures::future::join_all;
use serde_json::json;

fn phone(n: u32) -> String {
    format!("+2010{:08}", n % 100_000_000)
}

/// A number that no other test uses.
fn own_phone() -> String {
    phone(u32::try_from(testkit::unique().as_u128() % 100_000_000).unwrap())
}

#[tokio::test]
async fn a_contact_lives_from_creation_to_deletion() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let number = own_phone();
    let created = api
        .post(&me, "/v1/contacts", &json!({
            "first_name": "  Mona ", "last_name": "Ali", "lifecycle_stage": "prospect", "owner_user_id": me.user_id,
            "channels": [
                { "type": "phone", "value": number },
                { "type": "whatsapp", "value": number },
                { "type": "email", "value": "Mona@Example.com", "opt_in": true, "opt_in_source": "form" },
            ],
        }))
        .await
        .expect(201);
    assert_eq!(created["first_name"], "Mona");
    assert_eq!(created["channels"][2]["value"], "mona@example.com");
    let path = format!("/v1/contacts/{}", created["id"].as_str().unwrap());

    let found = api.get(&me, &path).await;
    assert_eq!(found.json(), created, "what is read is what was answered");
    let tag = found.headers["etag"].clone();
    let unchanged = api
        .json(&me, "GET", &path, &[("if-none-match", &tag)], &json!({}))
        .await;
    assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""));

    let changed = api
        .patch(&me, &path, &json!({ "last_name": null, "job_title": "Buyer" }))
        .await
        .expect(200);
    assert_eq!(
        (
            &changed["last_name"],
            &changed["job_title"],
            &changed["first_name"]
        ),
        (&json!(null), &json!("Buyer"), &json!("Mona"))
    );
    api.json(
        &me,
        "PATCH",
        &path,
        &[("if-match", &tag)],
        &json!({ "first_name": "X" }),
    )
    .await
    .expect_code(412, "STALE");

    api.delete(&me, &path).await.expect(204);
    api.get(&me, &path).await.expect_code(404, "NOT_FOUND");
    api.delete(&me, &path).await.expect_code(404, "NOT_FOUND");
    let again = json!({ "first_name": "Other", "channels": [{ "type": "phone", "value": number }] });
    api.post(&me, "/v1/contacts", &again).await.expect(201);
}

#[tokio::test]
async fn bad_bodies_are_refused_precisely_and_change_nothing() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let fields = |error: &serde_json::Value| {
        let fields = error["details"]["fields"].as_array().unwrap();
        fields
            .iter()
            .map(|field| {
                format!(
                    "{} {}",
                    field["path"].as_str().unwrap(),
                    field["code"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    let number = own_phone();
    for (body, expected) in [
        (json!({}), vec![" invalid"]),
        (
            json!({ "first_name": "A", "surname": "B" }),
            vec!["surname invalid"],
        ),
        (json!({ "first_name": 7 }), vec!["first_name invalid"]),
        (
            json!({ "first_name": " ", "last_name": "x".repeat(101) }),
            vec!["first_name required", "last_name too_long"],
        ),
        (
            json!({ "first_name": "A\u{0}" }),
            vec!["first_name invalid_characters"],
        ),
        (
            json!({ "first_name": "A", "lifecycle_stage": "friend" }),
            vec!["lifecycle_stage invalid"],
        ),
        (
            json!({ "first_name": "A", "channels": [
                { "type": "phone", "value": "01001234567" }, { "type": "email", "value": "mona" },
                { "type": "phone", "value": number }, { "type": "phone", "value": number }] }),
            vec![
                "channels[0].value invalid",
                "channels[1].value invalid",
                "channels[3].value repeated",
            ],
        ),
    ] {
        let error = api
            .post(&me, "/v1/contacts", &body)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        assert_eq!(fields(&error), expected, "{body}");
    }
    let bearer = format!("Bearer {}", me.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    for body in [
        "",
        "{",
        r#"{"first_name":"A"} {}"#,
        "\u{feff}{}",
        &"[".repeat(10_000),
    ] {
        api.call("POST", "/v1/contacts", &headers, body.to_owned())
            .await
            .expect_code(400, "INVALID_REQUEST");
    }
    let large = format!(r#"{{"first_name":"{}"}}"#, "x".repeat(2_000_000));
    api.call("POST", "/v1/contacts", &headers, large)
        .await
        .expect_code(413, "TOO_LARGE");
    api.call("POST", "/v1/contacts", &headers[..1], "{}")
        .await
        .expect_code(400, "INVALID_REQUEST");
    assert_eq!(api.get(&me, "/v1/contacts").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn twenty_creates_at_once_make_one_contact() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let body = json!({ "first_name": "Mona", "channels": [{ "type": "phone", "value": own_phone() }] });
    let answers = join_all((0..20).map(|_| api.post(&me, "/v1/contacts", &body))).await;
    let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(created.len(), 1);
    let id = created[0].json()["id"].clone();
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.expect_code(409, "DUPLICATE")["details"]["contact_id"], id);
    }
    let listed = api.get(&me, "/v1/contacts").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_number_as_phone_and_as_whatsapp_is_the_same_person() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let number = own_phone();
    let create =
        |channel: &str| json!({ "first_name": "A", "channels": [{ "type": channel, "value": number }] });
    api.post(&me, "/v1/contacts", &create("phone")).await.expect(201);
    api.post(&me, "/v1/contacts", &create("whatsapp"))
        .await
        .expect_code(409, "DUPLICATE");
    let neighbour = world.neighbour().await;
    neighbour
        .contacts()
        .post(&neighbour.admin().await, "/v1/contacts", &create("phone"))
        .await
        .expect(201);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_contact_and_replays_its_answer() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let body = json!({ "first_name": "Once" });
    let key = [("idempotency-key", "k-1")];
    let answers = join_all((0..10).map(|_| api.json(&me, "POST", "/v1/contacts", &key, &body))).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty() && made.iter().all(|answer| answer.text == made[0].text));
    assert!(
        answers.iter().all(|answer| [201, 409].contains(&answer.status)),
        "{answers:?}"
    );

    let replayed = api.json(&me, "POST", "/v1/contacts", &key, &body).await;
    assert_eq!(replayed.headers["idempotency-replayed"], "true");
    assert_eq!(replayed.expect(201), made[0].json());
    api.json(
        &me,
        "POST",
        "/v1/contacts",
        &key,
        &json!({ "first_name": "Twice" }),
    )
    .await
    .expect_code(422, "VALIDATION_FAILED");
    let colleague = world.admin().await;
    assert_ne!(
        api.json(&colleague, "POST", "/v1/contacts", &key, &body)
            .await
            .expect(201)["id"],
        made[0].json()["id"]
    );
    assert_eq!(
        api.get(&me, "/v1/contacts").await.expect(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_key_whose_request_failed_can_be_used_again() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let key = [("idempotency-key", "k-1")];
    let body = json!({ "first_name": "A", "owner_user_id": testkit::unique() });
    api.json(&me, "POST", "/v1/contacts", &key, &body)
        .await
        .expect_code(404, "NOT_FOUND");
    api.json(&me, "POST", "/v1/contacts", &key, &json!({ "first_name": "A" }))
        .await
        .expect(201);
}

#[tokio::test]
async fn lists_are_paged_sorted_and_filtered() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let number = own_phone();
    for (first, last, stage, owner) in [
        ("أحمد", "Hassan", "lead", None),
        ("Zeina", "Ahmed", "customer", Some(me.user_id)),
        ("Basma", "Fouad", "customer", None),
        ("karim", "Adel", "lead", Some(me.user_id)),
    ] {
        let channels = if first == "Basma" {
            json!([{ "type": "phone", "value": number }])
        } else {
            json!([])
        };
        let body = json!({ "first_name": first, "last_name": last, "lifecycle_stage": stage, "owner_user_id": owner, "channels": channels });
        api.post(&me, "/v1/contacts", &body).await.expect(201);
    }
    let names = async |query: &str| {
        let page = api.get(&me, &format!("/v1/contacts{query}")).await.expect(200);
        let names = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|contact| contact["first_name"].as_str().unwrap().to_owned());
        (
            names.collect::<Vec<_>>(),
            page["next_cursor"].as_str().map(str::to_owned),
        )
    };
    assert_eq!(names("").await.0, ["karim", "Basma", "Zeina", "أحمد"]);
    assert_eq!(names("?sort=name").await.0, ["Basma", "karim", "Zeina", "أحمد"]);
    assert_eq!(names("?lifecycle_stage=customer").await.0, ["Basma", "Zeina"]);
    assert_eq!(
        names(&format!("?owner_user_id={}&sort=name", me.user_id)).await.0,
        ["karim", "Zeina"]
    );
    assert_eq!(names("?search=a").await.0, ["karim", "Zeina"]);
    assert_eq!(names("?search=ahm").await.0, ["Zeina"]);
    assert_eq!(names("?search=%D8%A7%D8%AD%D9%85").await.0, ["أحمد"]);
    assert_eq!(names("?search=zei%20ahmed").await.0, ["Zeina"]);
    assert_eq!(
        names(&format!("?phone={number}")).await.0,
        ["Basma"],
        "a plus that was not escaped"
    );
    assert_eq!(names("?email=nobody@example.com").await.0, Vec::<String>::new());

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let (page, next) = names(&format!("?limit=1&sort=-name{cursor}")).await;
        seen.extend(page);
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["أحمد", "Zeina", "karim", "Basma"]);
    for bad in [
        "?limit=0",
        "?limit=201",
        "?limit=x",
        "?sort=id",
        "?lifecycle_stage=friend",
        "?owner_user_id=x",
        "?phone=0100",
        "?email=x",
    ] {
        api.get(&me, &format!("/v1/contacts{bad}"))
            .await
            .expect_code(422, "VALIDATION_FAILED");
    }
    api.get(&me, "/v1/contacts?cursor=x")
        .await
        .expect_code(400, "INVALID_REQUEST");
}

async fn set_status(world: &World, user: uuid::Uuid, status: &str) {
    let sql = "UPDATE users SET status = $3 WHERE tenant_id = $1 AND id = $2";
    let params: [&(dyn db::ToSql + Sync); 3] = [&world.tenant.0, &user, &status];
    assert_eq!(world.admin_sql().await.execute(sql, &params).await.unwrap(), 1);
}

#[tokio::test]
async fn a_contact_is_given_to_nobody_who_is_not_active() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let other = world.user("staff").await.user_id;
    let body = json!({ "first_name": "A", "owner_user_id": other });
    let owned = api.post(&me, "/v1/contacts", &body).await.expect(201);
    let path = format!("/v1/contacts/{}", owned["id"].as_str().unwrap());
    let mine = json!({ "first_name": "B", "owner_user_id": me.user_id });
    let mine = api.post(&me, "/v1/contacts", &mine).await.expect(201);
    let mine = format!("/v1/contacts/{}", mine["id"].as_str().unwrap());
    let missing = json!({ "first_name": "A", "owner_user_id": testkit::unique() });
    let unknown = api
        .post(&me, "/v1/contacts", &missing)
        .await
        .expect_code(404, "NOT_FOUND");
    for status in ["invited", "suspended", "deactivated"] {
        set_status(&world, other, status).await;
        let give = json!({ "owner_user_id": other });
        for answer in [
            api.post(&me, "/v1/contacts", &body).await,
            api.patch(&me, &mine, &give).await,
        ] {
            let error = answer.expect_code(404, "NOT_FOUND");
            assert_eq!(error["message"], unknown["message"], "{status}");
        }
        // Whose it is already, it stays: the contact can be changed, also as it was read.
        for change in [
            json!({ "job_title": status }),
            json!({ "job_title": status, "owner_user_id": other }),
        ] {
            let changed = api.patch(&me, &path, &change).await.expect(200);
            assert_eq!(changed["owner_user_id"], other.to_string());
        }
    }
    let listed = api
        .get(&me, &format!("/v1/contacts?owner_user_id={other}"))
        .await
        .expect(200);
    assert_eq!(
        listed["data"].as_array().unwrap().len(),
        1,
        "and nothing was made"
    );
    let taken = api
        .patch(&me, &path, &json!({ "owner_user_id": null }))
        .await
        .expect(200);
    assert_eq!(taken["owner_user_id"], json!(null));
    api.patch(&me, &path, &json!({ "owner_user_id": other }))
        .await
        .expect_code(404, "NOT_FOUND");
}

/// Somebody is just leaving: the contact waits for that, and then does not go to them.
#[tokio::test(flavor = "multi_thread")]
async fn a_contact_waits_for_who_is_leaving_and_stays_away() {
    let world = World::new().await;
    let (api, me) = (world.contacts(), world.admin().await);
    let mine = api
        .post(&me, "/v1/contacts", &json!({ "first_name": "A" }))
        .await
        .expect(201);
    let mine = format!("/v1/contacts/{}", mine["id"].as_str().unwrap());
    for create in [true, false] {
        let leaving = world.user("staff").await.user_id;
        let sql = world.admin_sql().await;
        sql.batch_execute("BEGIN").await.unwrap();
        let leave = "UPDATE users SET status = 'deactivated' WHERE tenant_id = $1 AND id = $2";
        let params: [&(dyn db::ToSql + Sync); 2] = [&world.tenant.0, &leaving];
        assert_eq!(sql.execute(leave, &params).await.unwrap(), 1);
        let body = json!({ "first_name": "A", "owner_user_id": leaving });
        let give = async {
            if create {
                api.post(&me, "/v1/contacts", &body).await
            } else {
                api.patch(&me, &mine, &body).await
            }
        };
        let end = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            sql.batch_execute("COMMIT").await.unwrap();
        };
        let (given, ()) = futures::join!(give, end);
        given.expect_code(404, "NOT_FOUND");
    }
}

/// The other way round: who is just being given a contact can't leave without handing it over.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_given_a_contact_leaves_with_it_handed_over_or_not_at_all() {
    let world = World::new().await;
    let (administration, me) = (world.administration(), world.admin().await);
    let leaving = world.user("staff").await.user_id;
    let body = json!({ "first_name": "A", "owner_user_id": leaving });
    let new = contacts::contact::NewContact::parse(&serde_json::from_value(body).unwrap()).unwrap();
    let caller = testkit::TestDb::system(world.tenant);
    let path = format!("/v1/admin/users/{leaving}/deactivate");
    let mut leave = None;
    let give = world.test.db.write(&caller, async |tx| {
        contacts::contact::insert(&tx, &new).await?;
        let (administration, me, path) = (administration.clone(), me.clone(), path.clone());
        leave = Some(tokio::spawn(async move {
            administration.post(&me, &path, &json!({})).await
        }));
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        Ok(())
    });
    give.await.unwrap();
    let error = leave.unwrap().await.unwrap().expect_code(409, "CONFLICT");
    assert_eq!(
        error["details"]["owned"],
        json!({ "contacts": 1, "conversations": 0 })
    );
}

/// However it comes at once, nobody who left owns a contact in the end.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_left_owns_a_contact() {
    let world = World::new().await;
    let (api, administration, me) = (world.contacts(), world.administration(), world.admin().await);
    for _ in 0..6 {
        let (leaving, heir) = (
            world.user("staff").await.user_id,
            world.user("staff").await.user_id,
        );
        let (to_leaving, to_heir) = (
            json!({ "first_name": "A", "owner_user_id": leaving }),
            json!({ "first_name": "A", "owner_user_id": heir }),
        );
        let made = api.post(&me, "/v1/contacts", &to_leaving).await.expect(201);
        let path = format!("/v1/contacts/{}", made["id"].as_str().unwrap());
        let leave = async |user: uuid::Uuid, body: serde_json::Value| {
            let path = format!("/v1/admin/users/{user}/deactivate");
            administration.post(&me, &path, &body).await.status
        };
        let (gone, heir_gone, _) = futures::join!(
            leave(leaving, json!({ "reassign_to": heir })),
            leave(heir, json!({})),
            join_all((0..8).map(async |n: u32| match n % 4 {
                0 => api.post(&me, "/v1/contacts", &to_leaving).await,
                1 => api.post(&me, "/v1/contacts", &to_heir).await,
                2 => api.patch(&me, &path, &to_heir).await,
                _ => api.patch(&me, &path, &to_leaving).await,
            })),
        );
        assert!(
            [200, 422].contains(&gone) && [200, 409].contains(&heir_gone),
            "{gone} {heir_gone}"
        );
        let owned = "SELECT count(*) FROM contacts c JOIN users u ON u.tenant_id = c.tenant_id AND u.id = c.owner_user_id
            WHERE c.tenant_id = $1 AND c.archived_at IS NULL AND u.status <> 'active'";
        let admin = world.admin_sql().await;
        let owned: i64 = admin.query_one(owned, &[&world.tenant.0]).await.unwrap().get(0);
        assert_eq!(owned, 0);
    }
}
