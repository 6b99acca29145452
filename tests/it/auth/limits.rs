//! Whatever a stranger may call is counted by the address that it comes from.

use super::setup::{Company, PASSWORD, answer_with, post_from};
use crate::support::Login;
use auth_function::Limits;
use identity::RefreshToken;
use serde_json::{Value, json};

/// One of everything that an address may do.
fn one_each() -> Limits {
    let mut limits = Limits::DEFAULT;
    for limit in [
        &mut limits.logins,
        &mut limits.signups,
        &mut limits.refreshes,
        &mut limits.mails,
        &mut limits.links,
        &mut limits.phones,
    ] {
        limit.capacity = 1;
    }
    limits
}

fn refresh_token() -> Value {
    let token = RefreshToken::generate().unwrap();
    json!({ "refresh_token": token.expose() })
}

/// What is called, with something that is looked at and not refused for its form, and what it answers.
///
/// The code that verifies a phone is not among them: it bears five tries, whoever makes them from where.
fn calls() -> Vec<(&'static str, Value, u16)> {
    let email = || format!("nobody-{}@example.com", testkit::unique());
    let company = || json!({ "tenant_name": "T", "full_name": "F", "email": email(), "password": PASSWORD });
    let secret = "A".repeat(43);
    let link = json!({ "token": format!("m3l_{secret}") });
    let reset = json!({ "token": format!("m3l_{secret}"), "password": PASSWORD });
    let invited = json!({ "invite_token": "m3i_nonsense", "full_name": "F", "password": PASSWORD });
    let login = json!({ "email": email(), "password": PASSWORD });
    let second = json!({ "challenge_token": format!("m3c_{secret}"), "method": "totp", "code": "123456" });
    let phone = json!({ "e164": "+201001234567", "channel": "sms" });
    vec![
        ("signup", company(), 201),
        ("register-super-admin", company(), 201),
        ("register", invited, 422),
        ("login", login, 401),
        ("login/2fa", second, 401),
        ("refresh", refresh_token(), 401),
        ("logout", refresh_token(), 204),
        ("verify-email", link, 422),
        ("resend-verification", json!({ "email": email() }), 202),
        ("forgot-password", json!({ "email": email() }), 202),
        ("reset-password", reset, 422),
        ("phone/verify/start", phone, 202),
        // After the start: it sends that code again.
        ("phone/verify/resend", json!({}), 202),
    ]
}

#[tokio::test]
async fn whoever_may_not_be_known_is_refused_by_address_the_second_time() {
    let company = Company::new().await;
    company.verify_email().await;
    // All of it counts in one window.
    let second = company.world.test.db.clock().now().as_second() % 3600;
    company.wait(3600 - second);
    let me = company.login(&company.log_in(PASSWORD).await.expect(200));
    let api = company.with_limits(one_each()).await;
    for (n, (verb, body, status)) in calls().iter().enumerate() {
        let me: Option<&Login> = verb.starts_with("phone").then_some(&me);
        let call = async |ip: &str| {
            if *verb == "phone/verify/resend" {
                // Not sooner.
                company.wait(61);
            }
            answer_with(&api, ip, me, verb, body).await
        };
        let own = format!("198.51.100.{n}");
        assert_eq!(call(&own).await.status(), *status, "{verb}");
        let refused = call(&own).await;
        assert_eq!(refused.status(), 429, "{verb}");
        let wait = refused.headers().get("retry-after").expect(verb);
        let wait: u64 = wait.to_str().unwrap().parse().unwrap();
        assert!((1..=3601).contains(&wait), "{verb}: {wait}");
        let other = format!("203.0.113.{n}");
        assert_eq!(call(&other).await.status(), *status, "{verb} from elsewhere");
    }
}

#[tokio::test]
async fn a_logout_counts_as_a_refresh() {
    let company = Company::new().await;
    let api = company.with_limits(one_each()).await;
    for (ip, verbs) in [
        ("198.51.100.1", ["refresh", "logout"]),
        ("198.51.100.2", ["logout", "refresh"]),
    ] {
        assert_ne!(post_from(&api, ip, verbs[0], &refresh_token()).await, 429);
        assert_eq!(post_from(&api, ip, verbs[1], &refresh_token()).await, 429);
    }
    // Without counters sessions can be ended all the same.
    let away = company.without_counters();
    let own = json!({ "refresh_token": company.signed_up["refresh_token"] });
    assert_eq!(post_from(&away, "198.51.100.1", "logout", &own).await, 204);
}
