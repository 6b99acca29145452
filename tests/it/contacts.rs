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
