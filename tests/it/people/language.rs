//! In which language people are told things: the one they set for messages, else their own, else the
//! company's (S12.3).

use super::setup::{Office, address, service};
use crate::auth::setup::Company;
use crate::security::setup::{PHONE, challenge, code, post, sent};
use crate::support::{Api, Login};
use serde_json::{Value, json};
use uuid::Uuid;

/// Sets a user's language of messages.
async fn prefer(admin: &Api, by: &Login, user: Uuid, locale: Value) {
    let path = format!("/v1/admin/users/{user}/preferences");
    let body = json!({ "locale": locale });
    admin.json(by, "PUT", &path, &[], &body).await.expect(200);
}

fn is_arabic(text: &str) -> bool {
    text.contains(|letter| ('\u{600}'..='\u{6ff}').contains(&letter))
}

#[tokio::test]
async fn what_becomes_of_an_account_is_told_in_the_language_that_its_user_set_for_messages() {
    let office = Office::new().await;
    let email = address();
    let id = office.colleague(&email, &["staff"]).await;
    let path = format!("/v1/admin/users/{id}");
    let told = async |verb: &str| {
        office
            .post(&format!("{path}/{verb}"), &json!({}))
            .await
            .expect(200);
        let mail = office.mails(&email).await.pop().unwrap();
        let (_, title) = office.inbox(id).await.remove(0);
        assert_eq!(is_arabic(&mail), is_arabic(&title), "{mail} {title}");
        title
    };
    // The company's language is English, and so is the user's own.
    office
        .api
        .patch(&office.me, &path, &json!({ "locale": "en" }))
        .await
        .expect(200);
    prefer(&office.api, &office.me, id, json!("ar-EG")).await;
    assert_eq!(told("suspend").await, "تم إيقاف حسابك مؤقتًا");
    prefer(&office.api, &office.me, id, json!(null)).await;
    assert_eq!(told("reactivate").await, "Your account is active again");
    let own = json!({ "locale": "ar" });
    office.api.patch(&office.me, &path, &own).await.expect(200);
    assert_eq!(told("suspend").await, "تم إيقاف حسابك مؤقتًا");
    prefer(&office.api, &office.me, id, json!("en")).await;
    assert_eq!(told("reactivate").await, "Your account is active again");
}

#[tokio::test]
async fn of_several_who_are_told_each_reads_their_language() {
    let office = Office::new().await;
    let (one, other) = (office.world.user("admin").await, office.world.user("admin").await);
    prefer(&office.api, &office.me, one.user_id, json!("ar")).await;
    let invited = json!({ "email": address(), "full_name": "Basma Nour", "roles": ["staff"] });
    office.invite(&invited).await;
    for (login, title) in [(&one, "تمت دعوة Basma Nour"), (&other, "Basma Nour was invited")] {
        assert_eq!(office.inbox(login.user_id).await[0].1, title);
        let mails = office.mails(&format!("{}@example.com", login.user_id)).await;
        assert_eq!(mails.len(), 1);
        assert!(mails[0].contains(title), "{}", mails[0]);
    }
}

/// Links, warnings and codes to a phone.
#[tokio::test]
async fn what_guards_an_account_speaks_that_language_too() {
    let company = Company::new().await;
    company.verify_email().await;
    let me = company.login(&company.signed_up);
    prefer(&service(&company.world), &me, me.user_id, json!("ar")).await;
    let before = sent(&company.world).await.len();

    let mailbox = json!({ "email": company.email });
    company.post("forgot-password", &mailbox).await.expect(202);
    let start = json!({ "e164": PHONE, "channel": "sms" });
    post(&company, &me, "phone/verify/start", &start)
        .await
        .expect(202);
    company.wait(61);
    post(&company, &me, "phone/verify/resend", &json!({}))
        .await
        .expect(202);
    let proof = json!({ "e164": PHONE, "code": code(&company, "sms").await });
    post(&company, &me, "phone/verify/confirm", &proof)
        .await
        .expect(200);
    post(&company, &me, "twofa/sms/enable", &json!({}))
        .await
        .expect(200);
    let ask = json!({ "challenge_token": challenge(&company).await, "method": "sms" });
    company.post("login/2fa", &ask).await.expect(202);

    let sent = sent(&company.world).await;
    let count = |channel| {
        sent[before..]
            .iter()
            .filter(|sent| sent.channel == channel)
            .count()
    };
    assert_eq!(count("sms"), 3, "two codes for the phone and one for the log-in");
    assert!(
        count("email") >= 3,
        "a link, and that the phone and the factor are new"
    );
    for message in &sent[before..] {
        assert!(is_arabic(&message.text), "{message:?}");
    }
}
