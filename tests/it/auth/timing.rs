//! What is not told by an answer is not told by its time either.

use super::setup::{Company, PASSWORD};
use crate::people::setup::{Office, address, public};
use crate::support::Answer;
use identity::Password;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often each is tried.
const ROUNDS: usize = 6;

/// Keeps the best of them: what else the machine does is not what is measured.
async fn measured(best: &mut Duration, request: impl Future<Output = Answer>) -> Answer {
    let began = Instant::now();
    let answer = request.await;
    *best = began.elapsed().min(*best);
    answer
}

/// What differs by less tells nothing of what was found, and is less than the machine's own noise under load.
const NOISE: Duration = Duration::from_millis(100);

#[track_caller]
fn alike(took: &[Duration], bound: Duration) {
    let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    assert!(most.abs_diff(*least) < bound, "{took:?}, not within {bound:?}");
}

/// How long it takes to hash a password.
fn hash() -> Duration {
    let hashes = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        Password::claim(PASSWORD).verify(None).unwrap();
        began.elapsed()
    });
    hashes.min().unwrap()
}

#[tokio::test]
async fn registering_takes_as_long_with_an_address_that_has_an_account() {
    let company = Company::new().await;
    company.verify_email().await;
    let mut took = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        // A mailbox gets five links an hour.
        company.wait(3600);
        for (best, email) in took.iter_mut().zip([company.email.clone(), address()]) {
            let body = json!({ "tenant_name": "Delta Homes", "full_name": "Omar Hassan", "email": email, "password": PASSWORD });
            let made = measured(best, company.post("register-super-admin", &body)).await;
            made.expect(201);
        }
    }
    alike(&took, NOISE);
}

#[tokio::test]
async fn a_link_that_does_not_work_takes_as_long_whatever_became_of_it() {
    let office = Office::at_a_moment().await;
    let (_, used) = office.invite(&json!({ "email": address() })).await;
    office.accept(&used).await.expect(200);
    let (_, expired) = office.invite(&json!({ "email": address() })).await;
    let clock = office.world.test.db.clock();
    clock.advance(SignedDuration::from_hours(7 * 24));
    let made_up = format!("m3i_{}", "A".repeat(64));
    let auth = office.auth().await;
    for (path, field) in [
        ("/v1/auth/register", "invite_token"),
        ("/v1/auth/accept-invite", "token"),
    ] {
        let mut took = [Duration::MAX; 3];
        for _ in 0..ROUNDS {
            for (best, link) in took.iter_mut().zip([&used, &expired, &made_up]) {
                let mut body = json!({ "full_name": "Basma Nour", "password": PASSWORD });
                body[field] = json!(link);
                let refused = measured(best, public(&auth, path, &body)).await;
                refused.expect_code(422, "VALIDATION_FAILED");
            }
        }
        // No password is hashed for one of them alone.
        alike(&took, hash());
    }
}

#[tokio::test]
async fn inviting_says_nothing_of_accounts_in_other_companies() {
    let office = Office::new().await;
    let elsewhere = office.world.neighbour().await;
    let mut took = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        let known = elsewhere.user("staff").await;
        let known = format!("{}@example.com", known.user_id);
        let mut answers: Vec<(Value, Value)> = Vec::new();
        for (best, email) in took.iter_mut().zip([known, address()]) {
            let body = json!({ "email": email, "roles": ["staff"] });
            let invited = measured(best, office.post("/v1/admin/users/invite", &body)).await;
            let invited = invited.expect(201);
            assert_eq!(invited["email"], json!(email));
            answers.push((invited["status"].clone(), invited["security"].clone()));
        }
        assert_eq!(answers[0], answers[1]);
    }
    alike(&took, NOISE);
}
