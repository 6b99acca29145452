use super::setup::{ADDRESS, CODE, NUMBER, Post, otp, to};
use notifications::inbox::{self, InboxMessage};
use notifications::notice::{self, Channel, Notice, To};
use testkit::fake_providers::Provider;
use uuid::Uuid;

async fn inbox_of(post: &Post, user_id: Uuid) -> Vec<InboxMessage> {
    post.write(async |tx| inbox::list(tx, user_id).await)
        .await
        .unwrap()
}

fn phone(user_id: Uuid, channel: Channel) -> To<'static> {
    To {
        user_id: Some(user_id),
        ..to(channel, NUMBER, "en")
    }
}

#[tokio::test]
async fn an_inbox_notice_is_there_with_the_change_and_nothing_is_sent() {
    let post = Post::new().await;
    let user = post.0.world.user("staff").await;
    let told = Notice::ApprovalRequested {
        title: "Discount for Basma".to_owned(),
        url: "https://app.test/approvals/1".to_owned(),
    };
    let arabic = To {
        user_id: Some(user.user_id),
        ..to(Channel::Inbox, "", "ar")
    };
    let id = post.notice(arabic, &told).await;
    let listed = inbox_of(&post, user.user_id).await;
    assert_eq!(
        (listed.len(), listed[0].id, listed[0].kind.as_str()),
        (1, id, "approval_requested")
    );
    assert_eq!(listed[0].title, "بانتظار موافقتك: Discount for Basma");
    assert_eq!(listed[0].body, "Discount for Basma بانتظار موافقتك.");
    assert_eq!(
        listed[0].link_url.as_deref(),
        Some("https://app.test/approvals/1")
    );
    assert!(listed[0].read_at.is_none() && post.deliveries().await.is_empty());

    let sql = "SELECT position(convert_to('Basma', 'UTF8') IN m.title_sealed || m.body_sealed) FROM inbox_messages m WHERE id = $1";
    let found: i32 = post
        .0
        .world
        .admin_sql()
        .await
        .query_one(sql, &[&id])
        .await
        .unwrap()
        .get(0);
    assert_eq!(found, 0, "sealed");
}

#[tokio::test]
async fn a_change_that_is_rolled_back_tells_nobody() {
    let post = Post::new().await;
    let user = post.0.world.user("staff").await;
    let inbox = To {
        user_id: Some(user.user_id),
        ..to(Channel::Inbox, "", "en")
    };
    let failed = post.write(async |tx| {
        notice::send(tx, &inbox, &Notice::AccountSuspended).await?;
        notice::send(tx, &to(Channel::Email, ADDRESS, "en"), &Notice::AccountSuspended).await?;
        Err::<(), _>(kernel::Error::not_found())
    });
    failed.await.unwrap_err();
    assert!(inbox_of(&post, user.user_id).await.is_empty() && post.deliveries().await.is_empty());
}

#[tokio::test]
async fn an_inbox_notice_for_nobody_or_for_another_companys_user_is_refused() {
    let post = Post::new().await;
    let stranger = post.0.world.neighbour().await.user("staff").await;
    for user_id in [None, Some(stranger.user_id)] {
        let inbox = To {
            user_id,
            ..to(Channel::Inbox, "", "en")
        };
        let refused = post
            .write(async |tx| notice::send(tx, &inbox, &Notice::LockedOut).await)
            .await;
        assert!(refused.is_err(), "{user_id:?}");
    }
}

#[tokio::test]
async fn a_code_to_a_phone_is_mirrored_without_the_code() {
    let post = Post::new().await;
    let user = post.0.world.user("staff").await;
    post.notice(phone(user.user_id, Channel::Sms), &otp()).await;
    let deliveries = post.deliveries().await;
    let kinds: Vec<_> = deliveries
        .iter()
        .map(|(_, channel, purpose)| (channel.as_str(), purpose.as_str()))
        .collect();
    assert_eq!(kinds, [("sms", "otp"), ("email", "notice")]);
    for (id, ..) in &deliveries {
        post.send(*id).await;
        assert_eq!(
            post.row(*id).await.get::<_, Option<Uuid>>("user_id"),
            Some(user.user_id)
        );
    }
    let mail = post.got(Provider::Brevo).pop().unwrap();
    assert_eq!(
        mail.body["to"][0]["email"],
        format!("{}@example.com", user.user_id)
    );
    assert_eq!(mail.body["subject"], "A verification code was sent to your phone");
    assert!(!mail.body.to_string().contains(CODE) && mail.body.to_string().contains("by SMS"));
    let inbox = inbox_of(&post, user.user_id).await;
    assert_eq!((inbox.len(), inbox[0].kind.as_str()), (1, "code_sent"));
    assert!(!format!("{inbox:?}").contains(CODE));
}

#[tokio::test]
async fn an_address_that_is_not_verified_gets_no_mirror_and_a_mailed_code_has_none() {
    let post = Post::new().await;
    let user = post.0.world.user("staff").await;
    let admin = post.0.world.admin_sql().await;
    let sql = "UPDATE users SET email_verified_at = NULL WHERE id = $1";
    admin.execute(sql, &[&user.user_id]).await.unwrap();
    post.notice(phone(user.user_id, Channel::Whatsapp), &otp()).await;
    assert_eq!(post.deliveries().await.len(), 1);
    assert_eq!(inbox_of(&post, user.user_id).await.len(), 1);

    let mailed = To {
        user_id: Some(user.user_id),
        ..to(Channel::Email, ADDRESS, "en")
    };
    post.notice(mailed, &otp()).await;
    assert_eq!(inbox_of(&post, user.user_id).await.len(), 1);
}

#[tokio::test]
async fn one_company_never_reads_anothers_inbox() {
    let post = Post::new().await;
    let user = post.0.world.user("staff").await;
    let inbox = To {
        user_id: Some(user.user_id),
        ..to(Channel::Inbox, "", "en")
    };
    post.notice(inbox, &Notice::AccountReactivated).await;
    let other = Post::new().await;
    assert!(inbox_of(&other, user.user_id).await.is_empty());
}
