//! Job titles, departments, what is new.

use super::setup::Office;
use futures::future::join_all;
use serde_json::{Value, json};

#[tokio::test]
async fn a_company_adds_words_to_those_that_everybody_has() {
    let office = Office::new().await;
    for path in ["/v1/admin/job-title-codes", "/v1/admin/department-codes"] {
        let defaults = office.get(path).await.expect(200);
        let count = defaults["data"].as_array().unwrap().len();
        assert!(
            count >= 6
                && defaults["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|code| code["is_default"] == true)
        );
        let made = office
            .post(path, &json!({ "code": "night_guard", "label": "Night guard" }))
            .await
            .expect(201);
        let one = format!("{path}/{}", made["id"].as_str().unwrap());
        assert_eq!(
            office
                .get(&format!("{path}?sort=code&limit=200"))
                .await
                .expect(200)["data"]
                .as_array()
                .unwrap()
                .len(),
            count + 1
        );
        let changed = office
            .api
            .patch(&office.me, &one, &json!({ "label": "Guard", "is_active": false }))
            .await
            .expect(200);
        assert_eq!(
            (&changed["label"], &changed["is_active"], &changed["code"]),
            (&json!("Guard"), &json!(false), &json!("night_guard"))
        );
        let describe = async |text: Value| {
            let body = json!({ "description": text });
            let changed = office.api.patch(&office.me, &one, &body).await.expect(200);
            assert_eq!(changed["label"], "Guard", "what is absent stays");
            changed["description"].clone()
        };
        assert_eq!(describe(json!("By night.")).await, "By night.");
        let too_long = json!({ "description": "x".repeat(501) });
        office
            .api
            .patch(&office.me, &one, &too_long)
            .await
            .expect_code(422, "VALIDATION_FAILED");
        let unchanged = office.api.patch(&office.me, &one, &json!({})).await.expect(200);
        assert_eq!(unchanged["description"], "By night.");
        assert_eq!(describe(Value::Null).await, "", "null clears");
        let changed = office.api.patch(&office.me, &one, &json!({})).await.expect(200);
        let inactive = office.get(&format!("{path}?is_active=false")).await.expect(200);
        assert_eq!(inactive["data"], json!([changed]));
        office.api.delete(&office.me, &one).await.expect(204);
        office
            .api
            .delete(&office.me, &one)
            .await
            .expect_code(404, "NOT_FOUND");
        let default = format!("{path}/{}", defaults["data"][0]["id"].as_str().unwrap());
        office
            .api
            .patch(&office.me, &default, &json!({ "label": "Mine" }))
            .await
            .expect_code(403, "FORBIDDEN");
        office
            .api
            .delete(&office.me, &default)
            .await
            .expect_code(403, "FORBIDDEN");
    }
}

#[tokio::test]
async fn of_parallel_changes_of_what_was_seen_one_is_made() {
    let office = Office::new().await;
    let new = json!({ "code": "night_guard", "label": "Night guard" });
    let made = office.post("/v1/admin/job-title-codes", &new).await.expect(201);
    let one = format!("/v1/admin/job-title-codes/{}", made["id"].as_str().unwrap());
    let unchanged = office.api.patch(&office.me, &one, &json!({})).await;
    let tag = unchanged.headers["etag"].clone();
    let change = async |tag: &str, label: &str| {
        let body = json!({ "label": label });
        office
            .api
            .json(&office.me, "PATCH", &one, &[("if-match", tag)], &body)
            .await
    };
    let answers = join_all(["A", "B", "C", "D"].map(|label| change(&tag, label))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412]);
    let changed = answers.iter().find(|answer| answer.status == 200).unwrap();
    change(&changed.headers["etag"], "E").await.expect(200);
    // What was not named is not undone by who read it before.
    let (label, active) = (json!({ "label": "F" }), json!({ "is_active": false }));
    for _ in 0..4 {
        let patch = async |body| office.api.patch(&office.me, &one, body).await;
        let (first, second) = futures::join!(patch(&label), patch(&active));
        first.expect(200);
        second.expect(200);
        let listed = office
            .get("/v1/admin/job-title-codes?is_active=false")
            .await
            .expect(200);
        assert_eq!(listed["data"][0]["label"], "F");
        let back = json!({ "label": "E", "is_active": true });
        office.api.patch(&office.me, &one, &back).await.expect(200);
    }
}

#[tokio::test]
async fn pages_hold_both_kinds_once() {
    let office = Office::new().await;
    for code in ["aa", "zz"] {
        office
            .post(
                "/v1/admin/job-title-codes",
                &json!({ "code": code, "label": code }),
            )
            .await
            .expect(201);
    }
    for sort in ["code", "-code", "created_at", "-created_at"] {
        let (mut seen, mut cursor) = (Vec::<Value>::new(), String::new());
        loop {
            let page = office
                .get(&format!("/v1/admin/job-title-codes?limit=2&sort={sort}{cursor}"))
                .await
                .expect(200);
            seen.extend(
                page["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|code| code["code"].clone()),
            );
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        let mut unique: Vec<String> = seen.iter().map(ToString::to_string).collect();
        unique.sort();
        unique.dedup();
        assert_eq!((seen.len(), unique.len()), (9, 9), "{sort}");
    }
}

#[tokio::test]
async fn a_word_in_use_is_only_taken_out_of_the_choice() {
    let office = Office::new().await;
    let path = "/v1/admin/job-title-codes";
    let made = office
        .post(path, &json!({ "code": "night_guard", "label": "Night guard" }))
        .await
        .expect(201);
    let user = format!("/v1/admin/users/{}", office.world.user("staff").await.user_id);
    let body = json!({ "job_title_id": made["id"] });
    office.api.patch(&office.me, &user, &body).await.expect(200);
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    office.api.delete(&office.me, &one).await.expect(204);
    assert_eq!(office.get(&user).await.expect(200)["job_title_id"], made["id"]);
    assert_eq!(
        office.get(&format!("{path}?is_active=false")).await.expect(200)["data"][0]["id"],
        made["id"]
    );
    // Who has it keeps it, also through another change; nobody else gets it.
    office
        .api
        .patch(&office.me, &user, &json!({ "locale": "ar" }))
        .await
        .expect(200);
    let other = format!("/v1/admin/users/{}", office.world.user("staff").await.user_id);
    office
        .api
        .patch(&office.me, &other, &body)
        .await
        .expect_code(404, "NOT_FOUND");
}

#[tokio::test]
async fn bad_words_and_other_companies_words_are_refused() {
    let (office, other) = (Office::new().await, Office::new().await);
    let path = "/v1/admin/job-title-codes";
    for (body, status, code) in [
        (
            json!({ "code": "Night Guard", "label": "X" }),
            422,
            "VALIDATION_FAILED",
        ),
        (json!({ "code": "", "label": "X" }), 422, "VALIDATION_FAILED"),
        (
            json!({ "code": "x".repeat(51), "label": "X" }),
            422,
            "VALIDATION_FAILED",
        ),
        (json!({ "code": "x", "label": " " }), 422, "VALIDATION_FAILED"),
        (
            json!({ "code": "x", "label": "X", "tenant_id": null }),
            422,
            "VALIDATION_FAILED",
        ),
        (json!({ "code": "broker", "label": "X" }), 409, "DUPLICATE"),
    ] {
        office.post(path, &body).await.expect_code(status, code);
    }
    let body = json!({ "code": "night_guard", "label": "X" });
    let theirs = other.post(path, &body).await.expect(201);
    office.post(path, &body).await.expect(201);
    office.post(path, &body).await.expect_code(409, "DUPLICATE");
    let one = format!("{path}/{}", theirs["id"].as_str().unwrap());
    office
        .api
        .patch(&office.me, &one, &json!({ "label": "Mine" }))
        .await
        .expect_code(404, "NOT_FOUND");
    office
        .api
        .delete(&office.me, &one)
        .await
        .expect_code(404, "NOT_FOUND");
    let department = office.post("/v1/admin/department-codes", &body).await.expect(201);
    let crossed = format!("{path}/{}", department["id"].as_str().unwrap());
    office
        .api
        .delete(&office.me, &crossed)
        .await
        .expect_code(404, "NOT_FOUND");
    let mine = json!({ "job_title_id": theirs["id"] });
    let user = format!("/v1/admin/users/{}", office.me.user_id);
    office
        .api
        .patch(&office.me, &user, &mine)
        .await
        .expect_code(404, "NOT_FOUND");
}

#[tokio::test]
async fn everybody_reads_what_is_new() {
    let office = Office::new().await;
    let reader = office.world.user("read_only").await;
    let first = office
        .api
        .get(&reader, "/v1/admin/releases?limit=1")
        .await
        .expect(200);
    assert_eq!(first["data"][0]["version"], "0.2.0");
    let next = format!(
        "/v1/admin/releases?limit=1&cursor={}",
        first["next_cursor"].as_str().unwrap()
    );
    assert_eq!(
        office.api.get(&reader, &next).await.expect(200)["data"][0]["version"],
        "0.1.0"
    );
    office
        .api
        .call("GET", "/v1/admin/releases", &[], "")
        .await
        .expect_code(401, "UNAUTHENTICATED");
}
