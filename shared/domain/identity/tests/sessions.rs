//! Sessions and refresh tokens against a real Postgres, under the races that they must survive.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use futures::future::{join, join_all};
use identity::refresh_token::{self, Rotation};
use identity::session::{self, End};
use identity::signup::{self, SignedUp, Signup};
use identity::{RefreshToken, login};
use jiff::SignedDuration;
use kernel::{Caller, Clock, Code, Origin, TenantId};
use testkit::TestDb;
use uuid::Uuid;

/// A clock that stands still, now: what was made before this test is neither expired nor new.
fn clock() -> Clock {
    Clock::fixed(Clock::system().now())
}

struct Person {
    test: TestDb,
    caller: Caller,
    signed_up: SignedUp,
    token: RefreshToken,
}

/// A client of one tenant.
#[expect(
    clippy::disallowed_methods,
    reason = "tests stand in for what looked the tenant up"
)]
fn from(tenant: Uuid, agent: &str, ip: &str) -> Caller {
    let origin = Origin {
        request_id: "test".to_owned(),
        ip: Some(ip.to_owned()),
        user_agent: Some(agent.to_owned()),
        trace: None,
    };
    Caller::verified_system(TenantId(tenant), "auth", origin)
}

impl Person {
    async fn new() -> Self {
        let test = testkit::database::database_with(clock()).await;
        let tenant = test.db.clock().id();
        let signup = Signup::parse(
            "Nile Homes",
            "Mona Ali",
            &format!("mona-{tenant}@example.com"),
            "violet tram lantern",
        )
        .unwrap();
        let (hash, token) = (
            signup.password().hash().unwrap(),
            RefreshToken::generate().unwrap(),
        );
        let caller = from(tenant, "Firefox", "192.0.2.7");
        let made = test.db.write(&caller, async |tx| {
            signup::insert(&tx, &signup, &hash, None, &token).await
        });
        let signed_up = made.await.unwrap();
        Self {
            test,
            caller,
            signed_up,
            token,
        }
    }

    fn tenant(&self) -> Uuid {
        self.signed_up.account.tenant.id
    }

    /// Gives the company another super admin, so that this one may be anything.
    async fn with_a_colleague(&self) {
        let id = self.test.db.clock().id();
        let made = self.test.db.write(&self.caller, async |tx| {
            tx.execute(
                "INSERT INTO users (tenant_id, id, email, email_norm, full_name, password_hash) VALUES ($1, $2, $3, $3, 'Colleague', 'x')",
                &[&self.tenant(), &id, &format!("{id}@example.com")],
            )
            .await?;
            tx.execute(
                "INSERT INTO user_roles (tenant_id, user_id, role_id) SELECT $1, $2, r.id FROM roles r WHERE r.code = 'super_admin'",
                &[&self.tenant(), &id],
            )
            .await
        });
        made.await.unwrap();
    }

    fn wait(&self, seconds: i64) {
        self.test.db.clock().advance(SignedDuration::from_secs(seconds));
    }

    /// Spends a token as `caller`, found as the function finds it.
    async fn spend_as(&self, caller: &Caller, token: &RefreshToken) -> (Rotation, RefreshToken) {
        let successor = RefreshToken::generate().unwrap();
        let rotation = self.test.db.write(caller, async |tx| {
            refresh_token::rotate(&tx, token, &successor).await
        });
        (rotation.await.unwrap(), successor)
    }

    async fn spend(&self, token: &RefreshToken) -> (Rotation, RefreshToken) {
        self.spend_as(&self.caller, token).await
    }

    async fn next(&self, token: &RefreshToken) -> RefreshToken {
        let (rotation, successor) = self.spend(token).await;
        assert_eq!(rotation, self.rotated());
        successor
    }

    fn rotated(&self) -> Rotation {
        let session = self.signed_up.session;
        Rotation::Rotated {
            user_id: session.user_id,
            session_id: session.id,
        }
    }

    async fn log_out(&self) -> bool {
        let session = self.signed_up.session;
        let ended = self.test.db.write(&self.caller, async |tx| {
            session::end(&tx, session.user_id, session.id, End::Logout).await
        });
        ended.await.unwrap()
    }

    /// Tokens of the session that nobody spent or replaced.
    async fn unspent(&self) -> i64 {
        let sql = "SELECT count(*) FROM refresh_tokens WHERE tenant_id = $1 AND rotated_at IS NULL";
        let rows = self.test.db.read(&self.caller, async |tx| {
            tx.query_one(sql, &[&self.tenant()]).await
        });
        rows.await.unwrap().get(0)
    }

    async fn actions(&self) -> Vec<String> {
        let sql = "SELECT action FROM audit_logs WHERE tenant_id = $1 ORDER BY seq";
        let rows = self
            .test
            .db
            .read(&self.caller, async |tx| tx.query(sql, &[&self.tenant()]).await);
        rows.await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn a_token_is_spent_once_and_its_reuse_ends_the_family() {
    let person = Person::new().await;
    let second = person.next(&person.token).await;
    person.wait(60);
    let third = person.next(&second).await;
    person.wait(60);
    assert_eq!(person.spend(&second).await.0, Rotation::Reused);
    assert_eq!(
        person.spend(&third).await.0,
        Rotation::Reused,
        "the live token of the family is dead, and says why"
    );
    let actions = person.actions().await;
    assert_eq!(
        actions
            .iter()
            .filter(|action| *action == "auth.refresh_rotated")
            .count(),
        2
    );
    assert_eq!(
        actions
            .iter()
            .filter(|action| *action == "auth.token_reused")
            .count(),
        1,
        "{actions:?}"
    );
}

#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again_within_ten_seconds() {
    let person = Person::new().await;
    let lost = person.next(&person.token).await;
    person.wait(9);
    let got = person.next(&person.token).await;
    assert_eq!(
        person.unspent().await,
        1,
        "the second successor replaced the first"
    );
    assert_eq!(person.spend(&lost).await.0, Rotation::Over);
    let _ = person.next(&got).await;
}

#[tokio::test]
async fn ten_seconds_later_it_is_theft() {
    let person = Person::new().await;
    let successor = person.next(&person.token).await;
    person.wait(10);
    assert_eq!(person.spend(&person.token).await.0, Rotation::Reused);
    assert_eq!(person.spend(&successor).await.0, Rotation::Reused);
}

#[tokio::test]
async fn another_client_is_theft_at_once() {
    for (agent, ip) in [("curl", "192.0.2.7"), ("Firefox", "203.0.113.7")] {
        let person = Person::new().await;
        let successor = person.next(&person.token).await;
        let thief = from(person.tenant(), agent, ip);
        assert_eq!(person.spend_as(&thief, &person.token).await.0, Rotation::Reused);
        assert_eq!(person.spend(&successor).await.0, Rotation::Reused);
    }
}

#[tokio::test]
async fn once_the_successor_is_used_asking_again_is_theft() {
    let person = Person::new().await;
    let second = person.next(&person.token).await;
    let third = person.next(&second).await;
    assert_eq!(person.spend(&person.token).await.0, Rotation::Reused);
    assert_eq!(person.spend(&third).await.0, Rotation::Reused);
}

#[tokio::test]
async fn a_replaced_token_that_shows_up_late_is_theft() {
    let person = Person::new().await;
    let replaced = person.next(&person.token).await;
    let live = person.next(&person.token).await;
    person.wait(11);
    assert_eq!(person.spend(&replaced).await.0, Rotation::Reused);
    assert_eq!(person.spend(&live).await.0, Rotation::Reused);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_refreshes_at_once_leave_one_live_token() {
    let person = Person::new().await;
    let answers = join_all((0..50).map(|_| person.spend(&person.token))).await;
    assert!(
        answers.iter().all(|(rotation, _)| *rotation == person.rotated()),
        "the same client within ten seconds"
    );
    assert_eq!(person.unspent().await, 1);
    let mut live = 0;
    for (_, token) in &answers {
        live += i32::from(person.spend(token).await.0 == person.rotated());
    }
    assert_eq!(live, 1, "of fifty successors one can be spent");
    assert_eq!(person.unspent().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_at_once_end_the_family() {
    let person = Person::new().await;
    let thieves: Vec<Caller> = (0..50)
        .map(|n| from(person.tenant(), &format!("agent {n}"), "192.0.2.7"))
        .collect();
    let answers = join_all(thieves.iter().map(|thief| person.spend_as(thief, &person.token))).await;
    assert_eq!(
        answers
            .iter()
            .filter(|(rotation, _)| *rotation == person.rotated())
            .count(),
        1
    );
    for (thief, (_, token)) in thieves.iter().zip(&answers) {
        assert_ne!(person.spend_as(thief, token).await.0, person.rotated());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refresh_survives_a_logout_beside_it() {
    for _ in 0..20 {
        let person = Person::new().await;
        let ((rotation, successor), ended) = join(person.spend(&person.token), person.log_out()).await;
        assert!(ended);
        assert!([Rotation::Over, person.rotated()].contains(&rotation));
        assert_eq!(person.spend(&successor).await.0, Rotation::Over);
        assert_eq!(person.spend(&person.token).await.0, Rotation::Over);
        assert!(!person.log_out().await, "a second logout finds nothing to end");
        assert_eq!(
            person
                .actions()
                .await
                .iter()
                .filter(|action| *action == "auth.logout")
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn thirty_days_without_use_end_it_and_use_starts_them_anew() {
    let person = Person::new().await;
    let day = 24 * 60 * 60;
    person.wait(29 * day);
    let second = person.next(&person.token).await;
    person.wait(29 * day);
    let third = person.next(&second).await;
    person.wait(30 * day);
    assert_eq!(person.spend(&third).await.0, Rotation::Over);
    assert!(!person.log_out().await);
}

#[tokio::test]
async fn a_token_belongs_to_its_tenant_and_its_user() {
    let (person, other) = (Person::new().await, Person::new().await);
    assert_eq!(
        other.spend(&person.token).await.0,
        Rotation::Over,
        "another tenant's transaction does not see it"
    );
    let owner = refresh_token::owner(&person.test.db, &person.token)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (owner.tenant.0, owner.session_id),
        (person.tenant(), person.signed_up.session.id)
    );
    assert!(
        refresh_token::owner(&person.test.db, &RefreshToken::generate().unwrap())
            .await
            .unwrap()
            .is_none()
    );

    person.with_a_colleague().await;
    let suspend = "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND id = $2";
    let suspended = person.signed_up.session.user_id;
    person
        .test
        .db
        .write(&person.caller, async |tx| {
            tx.execute(suspend, &[&person.tenant(), &suspended]).await
        })
        .await
        .unwrap();
    assert_eq!(person.spend(&person.token).await.0, Rotation::Over);
    let token = RefreshToken::generate().unwrap();
    let user_id = person.signed_up.session.user_id;
    let opened = person.test.db.write(&person.caller, async |tx| {
        session::open(&tx, user_id, &token).await
    });
    assert_eq!(opened.await.unwrap(), None);
}

#[tokio::test]
async fn a_signup_makes_a_tenant_with_a_super_admin_and_tells_of_it() {
    let person = Person::new().await;
    let account = &person.signed_up.account;
    assert!(
        account.tenant.slug.starts_with("nile-homes"),
        "{}",
        account.tenant.slug
    );
    assert_eq!(account.user.roles, ["super_admin"]);
    let actions = person.actions().await;
    assert_eq!(&actions[..2], ["tenant.created", "auth.login"], "{actions:?}");
    assert!(
        actions.contains(&"user.created".to_owned()) && actions.contains(&"user.role.created".to_owned()),
        "{actions:?}"
    );
    let (lines, event) = person
        .test
        .db
        .read(&person.caller, async |tx| {
            let lines = tx
                .query(
                    "SELECT actor, actor_user_id, after_data::text FROM audit_logs WHERE tenant_id = $1",
                    &[&person.tenant()],
                )
                .await?;
            let event = tx
                .query_one(
                    "SELECT id, type, entity_id, payload::text FROM event_outbox WHERE tenant_id = $1",
                    &[&person.tenant()],
                )
                .await?;
            Ok((lines, event))
        })
        .await
        .unwrap();
    for line in &lines {
        assert_eq!(
            (line.get::<_, &str>(0), line.get::<_, Option<Uuid>>(1)),
            ("user", Some(account.user.id))
        );
        assert!(
            !line
                .get::<_, Option<&str>>(2)
                .unwrap_or_default()
                .contains("argon2")
        );
    }
    assert_eq!(event.get::<_, &str>(1), "tenant.created");
    assert_eq!(
        (event.get::<_, Uuid>(2), event.get::<_, &str>(3)),
        (person.tenant(), "{}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_companies_of_one_name_get_a_slug_each() {
    let test = testkit::database().await;
    let name = format!("Cairo Towers {}", testkit::unique().simple());
    let signup = Signup::parse(&name, "Mona Ali", "mona@example.com", "violet tram lantern").unwrap();
    let hash = signup.password().hash().unwrap();
    let made = join_all((0..20).map(|_| async {
        let token = RefreshToken::generate().unwrap();
        let caller = from(test.db.clock().id(), "Firefox", "192.0.2.7");
        test.db
            .write(&caller, async |tx| {
                signup::insert(&tx, &signup, &hash, None, &token).await
            })
            .await
            .unwrap()
            .account
            .tenant
            .slug
    }));
    let mut slugs = made.await;
    slugs.sort();
    slugs.dedup();
    assert_eq!(slugs.len(), 20);

    let arabic = Signup::parse("شركة النيل", "منى علي", "mona@example.com", "violet tram lantern").unwrap();
    let token = RefreshToken::generate().unwrap();
    let caller = from(test.db.clock().id(), "Firefox", "192.0.2.7");
    let made = test
        .db
        .write(&caller, async |tx| {
            signup::insert(&tx, &arabic, &hash, None, &token).await
        })
        .await
        .unwrap();
    let slug = made.account.tenant.slug;
    assert!(slug.starts_with("t-") && slug.len() == 8, "{slug}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_signups_with_one_key_make_one_company() {
    let test = testkit::database().await;
    let unique = testkit::unique();
    let signup = Signup::parse("Delta", "Mona Ali", "mona@example.com", "violet tram lantern").unwrap();
    let key = signup.key(test.db.sealer(), &unique.to_string());
    let hash = signup.password().hash().unwrap();
    let made = join_all((0..10).map(|_| async {
        let token = RefreshToken::generate().unwrap();
        let caller = from(test.db.clock().id(), "Firefox", "192.0.2.7");
        test.db
            .write(&caller, async |tx| {
                signup::insert(&tx, &signup, &hash, Some(&key), &token).await
            })
            .await
    }));
    let (made, refused): (Vec<_>, Vec<_>) = made.await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 9));
    assert!(
        refused
            .into_iter()
            .all(|error| error.unwrap_err().code() == Code::Conflict)
    );
    let earlier = signup::earlier(&test.db, &key).await.unwrap().unwrap();
    assert_eq!(earlier.tenant.0, made[0].as_ref().unwrap().account.tenant.id);
    let other = Signup::parse("Delta", "Mona Ali", "other@example.com", "violet tram lantern").unwrap();
    let reused = signup::earlier(&test.db, &other.key(test.db.sealer(), &unique.to_string())).await;
    assert_eq!(reused.unwrap_err().code(), Code::ValidationFailed);
}

#[tokio::test]
async fn a_login_finds_the_account_by_slug_by_id_and_alone() {
    let person = Person::new().await;
    let account = &person.signed_up.account;
    let db = &person.test.db;
    let attempt = async |password: &str, tenant: Option<&str>| {
        let credentials =
            login::Credentials::parse(&account.user.email.to_uppercase(), password, tenant).unwrap();
        let login = credentials.find(db).await.unwrap();
        let opened = login.check(|_| true).unwrap().account().unwrap();
        let found = opened.map(|verified| verified.account);
        (found, login.lock_key())
    };
    let (slug, id) = (account.tenant.slug.as_str(), account.tenant.id.to_string());
    let (found, alone) = attempt("violet tram lantern", None).await;
    assert_eq!(
        found.map(|found| (found.tenant.0, found.user_id)),
        Some((account.tenant.id, account.user.id))
    );
    let (by_slug, by_id) = (
        attempt("violet tram lantern", Some(slug)).await,
        attempt("violet tram lantern", Some(&id.to_uppercase())).await,
    );
    assert_eq!(by_slug.0, found);
    assert_eq!(
        by_slug, by_id,
        "guesses are counted together however the company is named"
    );
    assert_ne!(by_slug.1, alone);
    assert_eq!(attempt("violet tram lanterm", None).await.0, None);
    assert_eq!(attempt("violet tram lantern", Some("nobody")).await.0, None);
    person.with_a_colleague().await;
    let user_id = person.signed_up.session.user_id;
    for status in ["suspended", "deactivated", "invited"] {
        let sql = "UPDATE users SET status = $2 WHERE tenant_id = $1 AND id = $3";
        db.write(&person.caller, async |tx| {
            tx.execute(sql, &[&person.tenant(), &status, &user_id]).await
        })
        .await
        .unwrap();
        assert_eq!(attempt("violet tram lantern", None).await.0, None, "{status}");
    }
}

#[tokio::test]
async fn one_password_in_two_companies_asks_which() {
    let (one, two) = (Person::new().await, Person::new().await);
    let email = &one.signed_up.account.user.email;
    let rename = "UPDATE users SET email = $2, email_norm = $2 WHERE tenant_id = $1";
    two.test
        .db
        .write(&two.caller, async |tx| {
            tx.execute(rename, &[&two.tenant(), email]).await
        })
        .await
        .unwrap();
    let credentials = login::Credentials::parse(email, "violet tram lantern", None).unwrap();
    let login = credentials.find(&one.test.db).await.unwrap();
    let error = login.check(|_| true).unwrap().account().unwrap_err();
    assert_eq!(error.code(), Code::AuthTenantRequired);
    let mut slugs = [
        one.signed_up.account.tenant.slug.clone(),
        two.signed_up.account.tenant.slug.clone(),
    ];
    let mut listed: Vec<String> =
        serde_json::from_value(error.details().unwrap()["tenants"].clone()).unwrap();
    slugs.sort();
    listed.sort();
    assert_eq!(listed, slugs);
}
