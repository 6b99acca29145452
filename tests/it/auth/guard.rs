//! Lock-outs and rate limits.

use super::setup::{Company, PASSWORD, answer_from, post, post_from};
use crate::security::setup::{inbox, sent};
use crate::support::Answer;
use auth_function::Limits;
use futures::future::join_all;
use identity::RefreshToken;
use serde_json::json;
use std::time::{Duration, Instant};
use totp_rs::Totp;

fn with_status(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_guesses_at_once_five_are_looked_at() {
    let company = Company::new().await;
    let unknown = format!("nobody-{}@example.com", testkit::unique());
    for email in [&company.email, &unknown] {
        let guess = json!({ "email": email, "password": "violet tram lanterm" });
        let answers = join_all((0..50).map(|_| company.post("login", &guess))).await;
        assert_eq!(
            (with_status(&answers, 401), with_status(&answers, 429)),
            (5, 45),
            "{email}"
        );
        let right = company
            .post("login", &json!({ "email": email, "password": PASSWORD }))
            .await;
        let wait: i64 = right.headers["retry-after"].parse().unwrap();
        assert!((595..=601).contains(&wait), "{wait}");
        right.expect_code(429, "RATE_LIMITED");
    }
    company.wait(601);
    company.log_in(PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_right_password_starts_the_count_anew() {
    let company = Company::new().await;
    company.verify_email().await;
    for _ in 0..2 {
        for _ in 0..4 {
            company
                .log_in("violet tram lanterm")
                .await
                .expect_code(401, "AUTH_INVALID_CREDENTIALS");
        }
        company.log_in(PASSWORD).await.expect(200);
    }
}

const OWN: &str = "amber kite meadow 41";

/// Somebody signs up with the address of somebody else. That password is theirs, and right; it says
/// nothing of the passwords that were guessed before.
#[tokio::test]
async fn a_right_password_of_a_throwaway_company_forgives_no_guesses() {
    for throwaway in ["alone", "twice", "with a second factor"] {
        let company = Company::new().await;
        company.verify_email().await;
        let made = company.sign_up(&company.email, OWN).await.expect(201);
        let (status, code) = match throwaway {
            "twice" => {
                company.sign_up(&company.email, OWN).await.expect(201);
                (409, json!("AUTH_TENANT_REQUIRED"))
            }
            "with a second factor" => {
                let me = company.login(&made);
                let setup = company.api.post(&me, "/v1/auth/totp/setup", &json!({})).await;
                let app = Totp::from_url(setup.expect(200)["otpauth_uri"].as_str().unwrap()).unwrap();
                let now = company.world.test.db.clock().now().as_second();
                let code = app.generate(u64::try_from(now).unwrap()).to_string();
                let confirm = json!({ "code": code });
                company
                    .api
                    .post(&me, "/v1/auth/totp/confirm", &confirm)
                    .await
                    .expect(200);
                (401, json!("AUTH_2FA_REQUIRED"))
            }
            _ => (200, json!(null)),
        };
        for _ in 0..4 {
            company
                .log_in("violet tram lanterm")
                .await
                .expect_code(401, "AUTH_INVALID_CREDENTIALS");
        }
        let answer = company.log_in(OWN).await.expect(status);
        assert_eq!(answer["error"]["code"], code, "{throwaway}");
        // the fifth guess, and there is no sixth
        company
            .log_in("violet tram lanterm")
            .await
            .expect_code(401, "AUTH_INVALID_CREDENTIALS");
        company.log_in(PASSWORD).await.expect_code(429, "RATE_LIMITED");
        company.log_in(OWN).await.expect_code(429, "RATE_LIMITED");
    }
}

#[tokio::test]
async fn who_has_not_verified_an_address_logs_in_as_often_as_anybody() {
    let company = Company::new().await;
    for _ in 0..7 {
        company.log_in(PASSWORD).await.expect(200);
    }
    // and is as free of the company's own counter by a right password
    let slug = &company.signed_up["tenant"]["slug"];
    let log_in = async |password: &str| {
        let body = json!({ "email": company.email, "password": password, "tenant": slug });
        company.post("login", &body).await.status
    };
    for _ in 0..2 {
        for _ in 0..4 {
            assert_eq!(log_in("violet tram lanterm").await, 401);
        }
        assert_eq!(log_in(PASSWORD).await, 200);
    }
}

#[tokio::test]
async fn throwaway_companies_hide_no_account_and_cost_no_more_than_a_few() {
    let company = Company::new().await;
    for n in 0..9 {
        if n % 4 == 0 {
            // a mailbox gets five links an hour
            company.wait(3600);
        }
        company.sign_up(&company.email, OWN).await.expect(201);
    }
    // older than all of them, then newer
    for newer in [false, true] {
        if newer {
            company.wait(3600);
            let third = "silver orchard kettle 7";
            let made = company.sign_up(&company.email, third).await.expect(201);
            let admin = company.world.admin_sql().await;
            let sql = "UPDATE users SET email_verified_at = CASE WHEN tenant_id::text = $2 THEN now() END WHERE email_norm = $1";
            let id = made["tenant"]["id"].as_str().unwrap();
            admin.execute(sql, &[&company.email, &id]).await.unwrap();
            let found = company.log_in(third).await.expect(200);
            assert_eq!(found["tenant"]["id"], id);
        } else {
            company.verify_email().await;
            let found = company.log_in(PASSWORD).await.expect(200);
            assert_eq!(found["tenant"], company.signed_up["tenant"]);
        }
    }
    company.log_in("violet tram lanterm").await.expect(401);
    let failed =
        "SELECT count(DISTINCT a.tenant_id) FROM audit_logs a JOIN users u ON u.tenant_id = a.tenant_id
        WHERE u.email_norm = $1 AND a.action = 'auth.login_failed'";
    let admin = company.world.admin_sql().await;
    let looked_at: i64 = admin.query_one(failed, &[&company.email]).await.unwrap().get(0);
    assert_eq!(looked_at, 4);
    company
        .post("forgot-password", &json!({ "email": company.email }))
        .await
        .expect(202);
    let links = "SELECT count(*), count(*) FILTER (WHERE u.email_verified_at IS NOT NULL)
        FROM user_links l JOIN users u ON u.tenant_id = l.tenant_id AND u.id = l.user_id
        WHERE l.email_norm = $1 AND l.purpose = 'reset_password'";
    let sent = admin.query_one(links, &[&company.email]).await.unwrap();
    assert_eq!(
        (sent.get::<_, i64>(0), sent.get::<_, i64>(1)),
        (4, 1),
        "four at most, and among them the one that is verified"
    );
}

#[tokio::test]
async fn neither_how_many_accounts_there_are_nor_one_of_ones_own_shows_in_the_time() {
    let company = Company::new().await;
    for _ in 0..4 {
        company.sign_up(&company.email, PASSWORD).await.expect(201);
    }
    let unknown = format!("nobody-{}@example.com", testkit::unique());
    // the first hash of nobody is made twice
    company
        .post("login", &json!({ "email": unknown, "password": PASSWORD }))
        .await
        .expect(401);
    let lonely = format!("lonely-{}@example.com", testkit::unique());
    company.sign_up(&lonely, OWN).await.expect(201);
    // The best of three: what else the machine does is not what is measured.
    let mut took = [Duration::MAX; 4];
    for _ in 0..3 {
        for (best, (email, password, status)) in took.iter_mut().zip([
            (&unknown, "violet tram lanterm", 401),
            (&company.email, "violet tram lanterm", 401),
            (&lonely, OWN, 200),
            (&company.email, PASSWORD, 409),
        ]) {
            let began = Instant::now();
            let body = json!({ "email": email, "password": password });
            company.post("login", &body).await.expect(status);
            *best = began.elapsed().min(*best);
        }
    }
    let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    assert!(least.as_millis() >= 750, "{took:?}");
    assert!(most.abs_diff(*least) < Duration::from_millis(500), "{took:?}");
}

#[tokio::test]
async fn guesses_in_one_company_lock_nobody_in_another() {
    let company = Company::new().await;
    let body = json!({ "tenant_name": "Second", "full_name": "Mona Ali", "email": company.email, "password": PASSWORD });
    let second = company.post("signup", &body).await.expect(201);
    let attempt = async |tenant: &serde_json::Value, password: &str| {
        company
            .post(
                "login",
                &json!({ "email": company.email, "password": password, "tenant": tenant }),
            )
            .await
            .status
    };
    let (one, two) = (&company.signed_up["tenant"], &second["tenant"]);
    for name in ["slug", "id", "slug", "id", "slug"] {
        assert_eq!(attempt(&one[name], "violet tram lanterm").await, 401);
    }
    assert_eq!(
        (
            attempt(&one["id"], PASSWORD).await,
            attempt(&one["slug"], PASSWORD).await
        ),
        (429, 429)
    );
    assert_eq!(attempt(&two["slug"], PASSWORD).await, 200);
}

/// Whether the company was named or not: five, and nothing that is answered tells of the account.
#[tokio::test]
async fn an_account_bears_five_guesses_however_they_name_it() {
    let company = Company::new().await;
    company.verify_email().await;
    let slug = &company.signed_up["tenant"]["slug"];
    let unknown = format!("nobody-{}@example.com", testkit::unique());
    let attempt = async |email: &str, tenant: &serde_json::Value, password: &str| {
        let body = json!({ "email": email, "password": password, "tenant": tenant });
        company.post("login", &body).await.status
    };
    let nowhere = json!(null);
    for named_first in [false, true] {
        let (mut one, mut other) = (&nowhere, slug);
        if named_first {
            (one, other) = (other, one);
        }
        let all = async |email: &String| {
            let mut answers = Vec::new();
            for tenant in [one, one, one, other, other] {
                answers.push(attempt(email, tenant, "violet tram lanterm").await);
            }
            for tenant in [slug, &nowhere] {
                answers.push(attempt(email, tenant, PASSWORD).await);
            }
            answers
        };
        let seen = join_all([&company.email, &unknown].map(&all)).await;
        assert_eq!(seen[0], [401, 401, 401, 401, 401, 429, 401], "{named_first}");
        assert_eq!(seen[0], seen[1], "{named_first}");
        company.wait(601);
        assert_eq!(attempt(&company.email, slug, PASSWORD).await, 200);
    }
    let actions = company.actions().await;
    let told = actions.iter().filter(|action| *action == "auth.locked_out");
    assert_eq!(told.count(), 2);

    // The owner's right password forgives both kinds.
    for tenant in [slug, &nowhere] {
        for guessed in [slug, slug, &nowhere, &nowhere] {
            assert_eq!(attempt(&company.email, guessed, "violet tram lanterm").await, 401);
        }
        assert_eq!(attempt(&company.email, tenant, PASSWORD).await, 200);
    }
    // One that is refused unseen is not counted: the wait does not grow by asking.
    for _ in 0..3 {
        assert_eq!(
            attempt(&company.email, &nowhere, "violet tram lanterm").await,
            401
        );
    }
    company.wait(300);
    for _ in 0..2 {
        assert_eq!(attempt(&company.email, slug, "violet tram lanterm").await, 401);
    }
    for _ in 0..4 {
        assert_eq!(attempt(&company.email, slug, PASSWORD).await, 429);
    }
    company.wait(301);
    assert_eq!(attempt(&company.email, slug, PASSWORD).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_named_and_unnamed_guesses_at_once_no_more_than_five_are_looked_at() {
    let company = Company::new().await;
    company.verify_email().await;
    let slug = &company.signed_up["tenant"]["slug"];
    let guesses = (0..24).map(|n| {
        let tenant = if n % 2 == 0 { slug.clone() } else { json!(null) };
        json!({ "email": company.email, "password": "violet tram lanterm", "tenant": tenant })
    });
    let guesses: Vec<serde_json::Value> = guesses.collect();
    let answers = join_all(guesses.iter().map(|guess| company.post("login", guess))).await;
    // All twelve may be refused by name, never more looked at than five.
    let named = answers.iter().step_by(2);
    assert!(named.filter(|answer| answer.status == 401).count() <= 5);
    for tenant in [slug.clone(), json!(null)] {
        let right = json!({ "email": company.email, "password": PASSWORD, "tenant": tenant });
        assert_ne!(company.post("login", &right).await.status, 200);
    }
}

/// As few of each kind that neither is too many by itself: what refuses the next is that both are added up.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_once_count_together_though_neither_kind_is_too_many() {
    for named_first in [true, false] {
        let company = Company::new().await;
        company.verify_email().await;
        let slug = &company.signed_up["tenant"]["slug"];
        let attempt = async |tenant: &serde_json::Value, password: &str| {
            let body = json!({ "email": company.email, "password": password, "tenant": tenant });
            company.post("login", &body).await.status
        };
        let nowhere = json!(null);
        let guesses = (0..6).map(|n| {
            let tenant = if n % 2 == 0 { slug } else { &nowhere };
            attempt(tenant, "violet tram lanterm")
        });
        let answers = join_all(guesses).await;
        let refused = answers.iter().filter(|status| **status == 429).count();
        // The last one that was counted, if it named the company.
        assert!(refused <= 1, "{answers:?}");
        assert!(
            answers.iter().all(|status| [401, 429].contains(status)),
            "{answers:?}"
        );
        let mut next = [(slug, 429), (&nowhere, 401)];
        if !named_first {
            next.reverse();
        }
        for (tenant, status) in next {
            assert_eq!(
                attempt(tenant, PASSWORD).await,
                status,
                "{tenant} after {answers:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_lock_out_is_told_in_the_inbox_and_only_to_a_verified_address_by_mail() {
    for verified in [false, true] {
        let company = Company::new().await;
        if verified {
            company.verify_email().await;
        }
        let me = company.login(&company.signed_up);
        let before = sent(&company.world).await.len();
        for _ in 0..5 {
            company.log_in("violet tram lanterm").await.expect(401);
        }
        assert_eq!(inbox(&company, &me).await, ["locked_out"]);
        assert_eq!(sent(&company.world).await.len() - before, usize::from(verified));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_may_do_so_much_and_no_more() {
    let company = Company::new().await;
    let mut limits = Limits::DEFAULT;
    (
        limits.logins.capacity,
        limits.signups.capacity,
        limits.refreshes.capacity,
    ) = (10, 2, 10);
    let api = company.with_limits(limits).await;
    let allowed = async |ip: &str, verb: &str, bodies: Vec<serde_json::Value>| {
        let statuses = join_all(bodies.iter().map(|body| post_from(&api, ip, verb, body))).await;
        assert!(
            statuses.iter().all(|status| [201, 401, 429].contains(status)),
            "{statuses:?}"
        );
        statuses.iter().filter(|status| **status != 429).count()
    };
    let logins =
        (0..15).map(|n| json!({ "email": format!("x{n}@example.com"), "password": "violet tram lanterm" }));
    assert_eq!(
        allowed("198.51.100.1", "login", logins.clone().collect()).await,
        10,
        "though each address was tried once"
    );
    assert_eq!(
        allowed("198.51.100.2", "login", logins.take(1).collect()).await,
        1,
        "another address is not concerned"
    );
    let signup =
        json!({ "tenant_name": "T", "full_name": "F", "email": "s@example.com", "password": PASSWORD });
    assert_eq!(allowed("198.51.100.1", "signup", vec![signup; 4]).await, 2);
    let refreshes = (0..15).map(|_| json!({ "refresh_token": RefreshToken::generate().unwrap().expose() }));
    assert_eq!(allowed("198.51.100.1", "refresh", refreshes.collect()).await, 10);
}

#[tokio::test]
async fn without_counters_nobody_guesses_and_sessions_go_on() {
    let company = Company::new().await;
    let api = company.without_counters();
    let login = json!({ "email": company.email, "password": PASSWORD });
    let answer = post(&api, "login", &[], &login).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.expect_code(503, "UNAVAILABLE");
    assert_eq!(post_from(&api, "198.51.100.1", "login", &login).await, 503);
    let signup =
        json!({ "tenant_name": "T", "full_name": "F", "email": "s@example.com", "password": PASSWORD });
    assert_eq!(post_from(&api, "198.51.100.1", "signup", &signup).await, 503);
    let refresh = json!({ "refresh_token": company.signed_up["refresh_token"] });
    assert_eq!(post_from(&api, "198.51.100.1", "refresh", &refresh).await, 200);
}

/// What a token of 256 bits opens is not guessed: without counters it is opened all the same, and a whole
/// office that joins on one morning is not held to what signs companies up.
#[tokio::test]
async fn invitations_are_followed_as_other_links_are() {
    let company = Company::new().await;
    let mut limits = Limits::DEFAULT;
    (limits.links.capacity, limits.signups.capacity) = (4, 1);
    let (api, away) = (company.with_limits(limits).await, company.without_counters());
    let accept = json!({ "token": "m3i_nonsense", "password": PASSWORD });
    let register = json!({ "invite_token": "m3i_nonsense", "full_name": "F", "password": PASSWORD });
    for expected in [422, 422, 429] {
        for (verb, body) in [("accept-invite", &accept), ("register", &register)] {
            assert_eq!(
                post_from(&api, "198.51.100.1", verb, body).await,
                expected,
                "{verb}"
            );
            assert_eq!(post_from(&away, "198.51.100.1", verb, body).await, 422, "{verb}");
        }
    }
}

#[tokio::test]
async fn how_much_is_left_is_told() {
    let company = Company::new().await;
    let mut limits = Limits::DEFAULT;
    limits.logins.capacity = 2;
    let api = company.with_limits(limits).await;
    let login = json!({ "email": company.email, "password": PASSWORD });
    let mut told = Vec::new();
    for _ in 0..3 {
        let answer = answer_from(&api, "198.51.100.9", "login", &login).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().parse::<u64>().unwrap();
        assert!((1..=601).contains(&header("ratelimit-reset")));
        told.push((
            answer.status().as_u16(),
            header("ratelimit-limit"),
            header("ratelimit-remaining"),
        ));
    }
    assert_eq!(told, [(200, 2, 1), (200, 2, 0), (429, 2, 0)]);
}
