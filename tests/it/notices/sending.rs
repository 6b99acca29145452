use super::setup::{ADDRESS, CODE, NUMBER, Post, otp, to};
use notifications::delivery;
use notifications::notice::{Channel, Notice};
use serde_json::json;
use testkit::fake_providers::{Behaviour, Mode, Provider};

fn invite(tenant_name: &str) -> Notice {
    Notice::Invite {
        url: "https://app.test/invite?token=m3i_secret".to_owned(),
        tenant_name: tenant_name.to_owned(),
        inviter: "Mona Ali".to_owned(),
        inviter_id: None,
    }
}

#[tokio::test]
async fn an_e_mail_goes_out_in_the_readers_language_and_is_forgotten() {
    let post = Post::new().await;
    for (locale, subject, page) in [
        (
            "en",
            "Mona Ali invites you to Nile Homes",
            "lang=\"en\" dir=\"ltr\"",
        ),
        (
            "ar_EG",
            "دعوة من Mona Ali إلى Nile Homes",
            "lang=\"ar\" dir=\"rtl\"",
        ),
    ] {
        let id = post.mail(locale, &invite("Nile Homes")).await;
        assert_eq!(post.status(id).await, ("queued".to_owned(), false));
        post.send(id).await;
        let sent = post.got(Provider::Brevo).pop().unwrap();
        assert_eq!(
            (sent.path.as_str(), sent.headers["api-key"].as_str()),
            ("/v3/smtp/email", "xkeysib-1")
        );
        let body = &sent.body;
        assert_eq!(body["to"], json!([{ "email": ADDRESS }]));
        assert_eq!(
            body["sender"],
            json!({ "email": "no-reply@m3.example", "name": "M3CoreCRM" })
        );
        assert_eq!(
            (&body["subject"], &body["headers"]["idempotencyKey"]),
            (&json!(subject), &json!(id))
        );
        assert!(body["htmlContent"].as_str().unwrap().contains(page), "{body}");
        assert!(
            body["textContent"]
                .as_str()
                .unwrap()
                .contains("https://app.test/invite?token=m3i_secret")
        );

        let row = post.row(id).await;
        assert_eq!(row.get::<_, &str>("status"), "sent");
        assert_eq!(
            row.get::<_, Option<String>>("provider_message_id"),
            sent.provider_message_id
        );
        assert!(row.get::<_, bool>("wiped"));
        post.send(id).await;
    }
    assert_eq!(post.got(Provider::Brevo).len(), 2, "each once");
}

#[tokio::test]
async fn a_companys_name_can_neither_script_nor_write_headers() {
    let post = Post::new().await;
    let id = post
        .mail("en", &invite("<script>x</script>\r\nBcc: all@example.com"))
        .await;
    post.send(id).await;
    let sent = post.got(Provider::Brevo).pop().unwrap();
    let text = |field: &str| sent.body[field].as_str().unwrap().to_owned();
    assert!(!text("htmlContent").contains("<script"));
    assert_eq!(
        text("subject"),
        "Mona Ali invites you to <script>x</script> Bcc: all@example.com"
    );
    assert!(!text("textContent").contains('\r'));
    assert_eq!(sent.body["to"].as_array().unwrap().len(), 1);
    assert!(sent.body.get("bcc").is_none() && sent.body["headers"].as_object().unwrap().len() == 1);
}

#[tokio::test]
async fn a_code_by_sms_is_a_short_text_and_by_whatsapp_a_template() {
    let post = Post::new().await;
    let sms = post.notice(to(Channel::Sms, NUMBER, "ar"), &otp()).await;
    post.send(sms).await;
    let sent = post.got(Provider::Twilio).pop().unwrap();
    assert_eq!(
        (&sent.body["To"], &sent.body["From"]),
        (&json!(NUMBER), &json!("+12025550100"))
    );
    let text = sent.body["Body"].as_str().unwrap();
    assert!(
        text.contains(CODE) && text.contains("رمزك") && text.chars().count() < 160,
        "{text}"
    );

    let whatsapp = post.notice(to(Channel::Whatsapp, NUMBER, "ar"), &otp()).await;
    post.send(whatsapp).await;
    let sent = post.got(Provider::Meta).pop().unwrap();
    let code = json!([{ "type": "text", "text": CODE }]);
    assert_eq!(
        sent.body["template"],
        json!({
            "name": "otp_whatsapp_verify_phone",
            "language": { "code": "ar" },
            "components": [
                { "type": "body", "parameters": code },
                { "type": "button", "sub_type": "url", "index": "0", "parameters": code },
            ],
        })
    );
    for id in [sms, whatsapp] {
        let row = post.row(id).await;
        assert_eq!(
            (row.get("status"), row.get("purpose"), row.get("wiped")),
            ("sent", "otp", true)
        );
    }
}

#[tokio::test]
async fn a_channel_without_an_account_is_the_stubs() {
    let post = Post::without_accounts().await;
    for (channel, address) in [
        (Channel::Email, ADDRESS),
        (Channel::Sms, NUMBER),
        (Channel::Whatsapp, NUMBER),
    ] {
        let id = post.notice(to(channel, address, "en"), &otp()).await;
        post.send(id).await;
        let row = post.row(id).await;
        assert_eq!(
            (row.get("status"), row.get("provider"), row.get("wiped")),
            ("sent", "devstub", true)
        );
    }
    assert!(post.0.providers.requests().is_empty());
}

#[tokio::test]
async fn refusals_for_now_wait_and_the_last_of_them_forgets() {
    let post = Post::new().await;
    for mode in [Mode::Fail, Mode::RateLimited] {
        let id = post.mail("en", &Notice::PasswordChanged).await;
        post.0.providers.behave(Behaviour {
            times: Some(1),
            ..Behaviour::mode(Provider::Brevo, mode)
        });
        post.send(id).await;
        assert_eq!(post.status(id).await, ("queued".to_owned(), false));
        post.due(id).await;
        post.send(id).await;
        assert_eq!(post.status(id).await, ("sent".to_owned(), true));
    }
    let id = post.mail("en", &Notice::PasswordChanged).await;
    post.0
        .providers
        .behave(Behaviour::mode(Provider::Brevo, Mode::Fail));
    for _ in 0..delivery::MAX_ATTEMPTS {
        post.due(id).await;
        post.send(id).await;
    }
    let row = post.row(id).await;
    assert_eq!(
        (row.get("status"), row.get("error_code"), row.get("wiped")),
        ("dead", "UNAVAILABLE", true)
    );
}

#[tokio::test]
async fn a_refusal_for_good_says_whose_fault_it_is() {
    let post = Post::new().await;
    for (status, code) in [(400, "REJECTED"), (401, "AUTH")] {
        let id = post.mail("en", &Notice::PasswordChanged).await;
        post.0.providers.behave(Behaviour {
            status: Some(status),
            ..Behaviour::mode(Provider::Brevo, Mode::Reject)
        });
        post.send(id).await;
        let row = post.row(id).await;
        assert_eq!(
            (row.get("status"), row.get("error_code"), row.get("wiped")),
            ("failed", code, true)
        );
    }
}

#[tokio::test]
async fn a_mail_whose_answer_was_lost_is_asked_for_again_and_mailed_once() {
    let post = Post::new().await;
    let id = post.mail("en", &Notice::PasswordChanged).await;
    post.0.providers.behave(Behaviour {
        times: Some(1),
        ..Behaviour::mode(Provider::Brevo, Mode::AcceptThenDrop)
    });
    post.send(id).await;
    assert_eq!(post.status(id).await, ("queued".to_owned(), false));
    post.due(id).await;
    post.send(id).await;
    assert_eq!(post.status(id).await, ("sent".to_owned(), true));
    let mailed = post
        .got(Provider::Brevo)
        .iter()
        .filter(|sent| sent.provider_message_id.is_some())
        .count();
    assert_eq!(mailed, 1);
}

#[tokio::test]
async fn a_code_of_which_nobody_knows_whether_it_was_sent_is_not_sent_again() {
    let post = Post::new().await;
    let lost = post.notice(to(Channel::Sms, NUMBER, "en"), &otp()).await;
    post.0.providers.behave(Behaviour {
        times: Some(1),
        ..Behaviour::mode(Provider::Twilio, Mode::AcceptThenDrop)
    });
    post.send(lost).await;
    post.send(lost).await;
    assert_eq!(post.got(Provider::Twilio).len(), 1);
    assert_eq!(post.status(lost).await, ("sending".to_owned(), false));

    // A sender that died after the provider's yes leaves the same.
    let died = post.mail("en", &otp()).await;
    post.write(async |tx| messaging::delivery::claim(tx, died).await)
        .await
        .unwrap()
        .unwrap();
    post.send(died).await;
    assert_eq!(post.status(died).await, ("sending".to_owned(), false));
    assert!(post.got(Provider::Brevo).is_empty());

    // Once it is given up, the code is gone too.
    let admin = post.0.world.admin_sql().await;
    let sql = "UPDATE messages_outbox SET claimed_at = now() - interval '2 hours' WHERE id = $1";
    admin.execute(sql, &[&lost]).await.unwrap();
    assert!(
        post.write(async |tx| messaging::delivery::give_up(tx, lost).await)
            .await
            .unwrap()
    );
    assert_eq!(post.status(lost).await, ("failed".to_owned(), true));
}

#[tokio::test]
async fn a_reply_keeps_what_it_said() {
    let post = Post::new().await;
    let (_, conversation) = post.0.conversation().await;
    let id = post.0.reply(&conversation).await;
    post.send(id).await;
    assert_eq!(post.status(id).await, ("sent".to_owned(), false));
}

#[tokio::test]
async fn nothing_of_a_notice_lies_open_in_the_database() {
    let post = Post::new().await;
    let id = post.notice(to(Channel::Sms, NUMBER, "en"), &otp()).await;
    let sql = "SELECT position(convert_to($2, 'UTF8') IN o.recipient_sealed || o.content_sealed) FROM messages_outbox o WHERE id = $1";
    let admin = post.0.world.admin_sql().await;
    for plain in [CODE, NUMBER] {
        let found: i32 = admin.query_one(sql, &[&id, &plain]).await.unwrap().get(0);
        assert_eq!(found, 0, "{plain}");
    }
}

/// A code that can't be entered any more helps nobody, and would only confuse.
#[tokio::test]
async fn a_code_is_not_sent_when_it_is_too_late() {
    let post = Post::new().await;
    let admin = post.0.world.admin_sql().await;
    let lifetime =
        "SELECT (extract(epoch FROM expires_at - created_at) / 60)::int FROM messages_outbox WHERE id = $1";
    let minutes = async |id| -> Option<i32> { admin.query_one(lifetime, &[&id]).await.unwrap().get(0) };
    let expire = async |id| {
        let sql = "UPDATE messages_outbox SET expires_at = now() WHERE id = $1";
        assert_eq!(admin.execute(sql, &[&id]).await.unwrap(), 1);
    };
    let late = post.notice(to(Channel::Sms, NUMBER, "en"), &otp()).await;
    assert_eq!(minutes(late).await, Some(10));
    expire(late).await;
    post.send(late).await;
    post.send(late).await;
    let row = post.row(late).await;
    assert_eq!(
        (row.get("status"), row.get("error_code"), row.get("wiped")),
        ("failed", "EXPIRED", true)
    );
    assert_eq!(row.get::<_, i16>("attempts"), 0);

    // Nor when the provider refused it for now and it is the turn of the next attempt.
    let refused = post.notice(to(Channel::Sms, NUMBER, "en"), &otp()).await;
    post.0.providers.behave(Behaviour {
        times: Some(1),
        ..Behaviour::mode(Provider::Twilio, Mode::Fail)
    });
    post.send(refused).await;
    assert_eq!(post.status(refused).await, ("queued".to_owned(), false));
    expire(refused).await;
    post.due(refused).await;
    post.send(refused).await;
    assert_eq!(post.status(refused).await, ("failed".to_owned(), true));
    assert_eq!(
        post.got(Provider::Twilio).len(),
        1,
        "the attempt that was in time"
    );

    // A link is its page's to refuse: the mail goes out.
    let mail = post.mail("en", &invite("Nile Homes")).await;
    assert_eq!(minutes(mail).await, None);
    let intime = post.notice(to(Channel::Sms, NUMBER, "en"), &otp()).await;
    post.send(intime).await;
    assert_eq!(post.status(intime).await, ("sent".to_owned(), true));
}
