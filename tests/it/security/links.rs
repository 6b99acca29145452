//! Links by mail: superseded, expired, foreign, asked for without end, and told to nobody.

use super::setup::{link, links, now, number, sent};
use crate::auth::setup::{Company, PASSWORD, answer_from, post, post_from};
use crate::support::Answer;
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn refused(company: &Company, verb: &str, token: &str) {
    let body = match verb {
        "reset-password" => json!({ "token": token, "password": "amber kite meadow 41" }),
        _ => json!({ "token": token }),
    };
    let error = company
        .post(verb, &body)
        .await
        .expect_code(422, "VALIDATION_FAILED");
    let field = &error["details"]["fields"][0];
    assert_eq!(
        (&field["path"], &field["code"]),
        (&json!("token"), &json!("invalid"))
    );
}

#[tokio::test]
async fn a_newer_link_takes_the_place_of_the_older() {
    let company = Company::new().await;
    let first = link(&company, "verify-email").await;
    let ask = json!({ "email": company.email });
    let answer = company.post("resend-verification", &ask).await.expect(202);
    assert_eq!(answer, json!({ "accepted": true }));
    let second = link(&company, "verify-email").await;
    assert_ne!(first, second);
    refused(&company, "verify-email", &first).await;
    // nor does it open anything of another kind
    refused(&company, "reset-password", &second).await;
    company
        .post("verify-email", &json!({ "token": second }))
        .await
        .expect(204);
    refused(&company, "verify-email", &second).await;
    // nothing is left to verify, and that is not told
    company.post("resend-verification", &ask).await.expect(202);
    assert_eq!(links(&company.world, "verify-email").await.len(), 2);
}

#[tokio::test]
async fn links_expire_and_malformed_ones_open_nothing() {
    let company = Company::new().await;
    let token = link(&company, "verify-email").await;
    company
        .post("forgot-password", &json!({ "email": company.email }))
        .await
        .expect(202);
    let reset = link(&company, "reset-password").await;
    company.wait(3600);
    refused(&company, "reset-password", &reset).await;
    company.wait(23 * 3600 + 1);
    refused(&company, "verify-email", &token).await;
    let access = company.signed_up["access_token"].as_str().unwrap();
    let refresh = company.signed_up["refresh_token"].as_str().unwrap();
    for bad in [
        "",
        "m3l_",
        access,
        refresh,
        &format!("{token}A"),
        &"x".repeat(100_000),
    ] {
        refused(&company, "verify-email", bad).await;
        refused(&company, "reset-password", bad).await;
    }
}

#[tokio::test]
async fn of_parallel_requests_with_one_link_one_is_done() {
    let company = Company::new().await;
    let token = link(&company, "verify-email").await;
    let body = json!({ "token": token });
    let answers = join_all((0..10).map(|_| company.post("verify-email", &body))).await;
    let done = answers.iter().filter(|answer| answer.status == 204).count();
    assert_eq!(done, 1);
    assert!(answers.iter().all(|answer| [204, 422].contains(&answer.status)));
}

#[tokio::test]
async fn an_address_that_was_changed_meanwhile_is_not_verified() {
    let company = Company::new().await;
    let token = link(&company, "verify-email").await;
    let admin = company.world.admin_sql().await;
    let other = format!("other-{}@example.com", testkit::unique());
    admin
        .execute(
            "UPDATE users SET email = $2, email_norm = $2 WHERE tenant_id = $1",
            &[&company.world.tenant.0, &other],
        )
        .await
        .unwrap();
    refused(&company, "verify-email", &token).await;
}

fn without_id(answer: Answer) -> (u16, Value) {
    let status = answer.status;
    (status, answer.expect(status))
}

#[tokio::test]
async fn who_has_an_account_is_told_neither_by_the_answer_nor_by_its_time() {
    let company = Company::new().await;
    let unknown = format!("nobody-{}@example.com", testkit::unique());
    let slug = &company.signed_up["tenant"]["slug"];
    for verb in ["forgot-password", "resend-verification"] {
        // a mailbox gets five messages an hour
        company.wait(3600);
        for tenant in [Value::Null, slug.clone(), json!("no-such-company")] {
            let mut seen = Vec::new();
            for email in [&company.email, &unknown] {
                let began = Instant::now();
                let answer = company
                    .post(verb, &json!({ "email": email, "tenant": tenant }))
                    .await;
                let took = began.elapsed();
                assert!(took >= Duration::from_millis(750), "{verb}: {took:?}");
                seen.push((without_id(answer), took));
            }
            assert_eq!(seen[0].0, seen[1].0, "{verb}");
            assert!(
                seen[0].1.abs_diff(seen[1].1) < Duration::from_secs(1),
                "{verb}: {seen:?}"
            );
        }
    }
    assert_eq!(
        links(&company.world, "reset-password").await.len(),
        2,
        "named and not named"
    );
}

#[tokio::test]
async fn a_mailbox_is_not_flooded_whether_or_not_it_is_somebodys() {
    let company = Company::new().await;
    let unknown = format!("nobody-{}@example.com", testkit::unique());
    // the signup's link was one
    company.wait(3600);
    for email in [&company.email, &unknown] {
        let ask = json!({ "email": email });
        let answers = join_all((0..8).map(|_| company.post("forgot-password", &ask))).await;
        let accepted = answers.iter().filter(|answer| answer.status == 202).count();
        assert_eq!(accepted, 5, "{email}");
        let refused = answers.into_iter().find(|answer| answer.status != 202).unwrap();
        assert!(refused.headers.contains_key("retry-after"));
        refused.expect_code(429, "RATE_LIMITED");
    }
    company.wait(3601);
    let again = json!({ "email": company.email });
    company.post("forgot-password", &again).await.expect(202);
}

/// Whoever signs companies up with somebody's address multiplies no mails with it.
#[tokio::test]
async fn an_address_with_several_accounts_gets_a_few_mails_more_and_nobody_sees_how_many() {
    let company = Company::new().await;
    for _ in 0..3 {
        company.sign_up(&company.email, PASSWORD).await.expect(201);
    }
    let unknown = format!("nobody-{}@example.com", testkit::unique());
    let admin = company.world.admin_sql().await;
    let sent = async |page: &str| -> i64 {
        let sql = "SELECT count(*) FROM audit_logs a JOIN users u ON u.tenant_id = a.tenant_id AND u.id = a.entity_id
            WHERE u.email_norm = $1 AND a.action = 'user.linkSent' AND a.after_data ->> 'purpose' = $2";
        admin
            .query_one(sql, &[&company.email, &page])
            .await
            .unwrap()
            .get(0)
    };
    company.wait(3600 - i64::try_from(now(&company) % 3600).unwrap());
    for (n, total) in [(1, 4), (2, 5), (3, 6), (4, 7), (5, 8)] {
        for email in [&company.email, &unknown] {
            let ask = json!({ "email": email });
            company.post("forgot-password", &ask).await.expect(202);
        }
        assert_eq!(sent("reset_password").await, total, "{n}");
    }
    for email in [&company.email, &unknown] {
        let ask = json!({ "email": email });
        company
            .post("forgot-password", &ask)
            .await
            .expect_code(429, "RATE_LIMITED");
    }
    // What is sent to nobody uses nothing up: of four accounts one waits to be verified.
    company.wait(3600);
    let all_but_one = "UPDATE users SET email_verified_at = now() WHERE email_norm = $1 AND tenant_id <> $2";
    admin
        .execute(all_but_one, &[&company.email, &company.world.tenant.0])
        .await
        .unwrap();
    let before = sent("verify_email").await;
    let ask = json!({ "email": company.email });
    for _ in 0..4 {
        company.post("resend-verification", &ask).await.expect(202);
    }
    assert_eq!(sent("verify_email").await - before, 4);
    company.post("forgot-password", &ask).await.expect(202);
    assert_eq!(sent("reset_password").await, 8 + 4);
}

#[tokio::test]
async fn one_address_asks_so_often_and_sees_what_is_left() {
    let company = Company::new().await;
    let mut limits = auth_function::Limits::DEFAULT;
    (limits.mails.capacity, limits.links.capacity) = (3, 2);
    let api = company.with_limits(limits).await;
    let mut statuses = Vec::new();
    for n in 0..4 {
        let body = json!({ "email": format!("n{n}@example.com") });
        let answer = answer_from(&api, "198.51.100.7", "resend-verification", &body).await;
        assert_eq!(answer.headers()["ratelimit-limit"], "3");
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [202, 202, 202, 429]);
    let body = json!({ "token": format!("m3l_{}", "A".repeat(43)) });
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(post_from(&api, "198.51.100.7", "verify-email", &body).await);
    }
    assert_eq!(statuses, [422, 422, 429]);
}

#[tokio::test]
async fn without_counters_no_link_is_sent_and_those_sent_are_good() {
    let company = Company::new().await;
    let api = company.without_counters();
    let ask = json!({ "email": company.email });
    for verb in ["forgot-password", "resend-verification"] {
        post(&api, verb, &[], &ask).await.expect_code(503, "UNAVAILABLE");
    }
    let body = json!({ "token": link(&company, "verify-email").await });
    assert_eq!(post_from(&api, "198.51.100.1", "verify-email", &body).await, 204);
}

#[tokio::test]
async fn nobody_suspended_gets_a_link() {
    let company = Company::new().await;
    let admin = company.world.admin_sql().await;
    admin
        .execute(
            "UPDATE tenants SET status = 'suspended' WHERE id = $1",
            &[&company.world.tenant.0],
        )
        .await
        .unwrap();
    let before = sent(&company.world).await.len();
    company
        .post("forgot-password", &json!({ "email": company.email }))
        .await
        .expect(202);
    assert_eq!(sent(&company.world).await.len(), before);
}

#[tokio::test]
async fn the_token_itself_is_kept_nowhere() {
    let company = Company::new().await;
    let token = link(&company, "verify-email").await;
    let kept = format!(
        "SELECT count(*) FROM (SELECT to_jsonb(l)::text AS row FROM user_links l WHERE tenant_id = $1
         UNION ALL SELECT to_jsonb(a)::text FROM audit_logs a WHERE tenant_id = $1
         UNION ALL SELECT to_jsonb(e)::text FROM event_outbox e WHERE tenant_id = $1
         UNION ALL SELECT to_jsonb(m)::text FROM messages_outbox m WHERE tenant_id = $1) kept WHERE row LIKE '%{token}%'"
    );
    assert_eq!(number(&company.world, &kept).await, 0);
    company.log_in(PASSWORD).await.expect(200);
}

/// Whatever holds the user's row may go on to the user's links: following one waits for the user first.
#[tokio::test]
async fn a_link_that_is_followed_holds_nothing_while_it_waits_for_the_user() {
    let company = Company::new().await;
    let body = json!({ "token": link(&company, "verify-email").await });
    let mut admin = company.world.admin_sql().await;
    let other = admin.transaction().await.unwrap();
    let tenant = company.world.tenant.0;
    let touch = "UPDATE users SET updated_at = now() WHERE tenant_id = $1";
    other.execute(touch, &[&tenant]).await.unwrap();
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let take = "SELECT FROM user_links WHERE tenant_id = $1 FOR UPDATE NOWAIT";
        let taken = other.query(take, &[&tenant]).await;
        assert_eq!(taken.map(|rows| rows.len()).unwrap(), 1);
        other.commit().await.unwrap();
    };
    let (answer, ()) = futures::join!(company.post("verify-email", &body), meanwhile);
    answer.expect(204);
}
