//! Requests about one user at the same moment: whichever comes first, nobody is told to try again.

use super::setup::{Office, address};
use crate::support::Answer;
use futures::future::{join_all, join3};
use serde_json::json;
use uuid::Uuid;

const ROUNDS: usize = 8;

#[track_caller]
fn all(answers: &[Answer], allowed: &[u16]) {
    for answer in answers {
        assert!(allowed.contains(&answer.status), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_followed_while_it_is_sent_again_and_the_account_is_closed() {
    let office = Office::new().await;
    let nothing = json!({});
    for round in 0..ROUNDS {
        let invited = json!({ "email": address(), "roles": ["staff"] });
        let (id, token) = office.invite(&invited).await;
        let user = format!("/v1/admin/users/{id}");
        let resend = format!("{user}/resend-invite");
        let close = ["deactivate", "reset-password"][round % 2];
        let close = format!("{user}/{close}");
        let (accepted, resent, closed) = join3(
            join_all((0..2).map(|_| office.accept(&token))),
            join_all((0..2).map(|_| office.post(&resend, &nothing))),
            office.post(&close, &nothing),
        )
        .await;
        all(&accepted, &[200, 422]);
        all(&resent, &[200, 409]);
        all(&[closed], &[200, 409]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_invites_while_others_change_that_admin() {
    let office = Office::new().await;
    let (nothing, name) = (json!({}), json!({ "full_name": "Basma Nour" }));
    for _ in 0..ROUNDS {
        let admin = office.world.user("admin").await;
        let invitations = [(); 3].map(|()| json!({ "email": address(), "roles": ["staff"] }));
        let user = format!("/v1/admin/users/{}", admin.user_id);
        let (suspend, logout) = (format!("{user}/suspend"), format!("{user}/force-logout"));
        let invite = |body| office.api.post(&admin, "/v1/admin/users/invite", body);
        let (invited, patched, ended) = join3(
            join_all(invitations.iter().map(invite)),
            join_all((0..2).map(|_| office.api.patch(&office.me, &user, &name))),
            join_all([&logout, &suspend].map(|path| office.post(path, &nothing))),
        )
        .await;
        // Who is out meanwhile is told so.
        all(&invited, &[201, 401]);
        all(&patched, &[200]);
        all(&ended, &[200]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_leave_their_records_to_each_other_do_not_wait_in_a_circle() {
    let office = Office::new().await;
    for _ in 0..4 {
        let one = office.world.user("staff").await.user_id;
        let two = office.world.user("staff").await.user_id;
        let leave = async |from: Uuid, to: Uuid| {
            let path = format!("/v1/admin/users/{from}/deactivate");
            office.post(&path, &json!({ "reassign_to": to })).await
        };
        let (first, second) = futures::join!(leave(one, two), leave(two, one));
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        // The later one's heir is gone.
        assert_eq!(statuses, [200, 422], "{first:?} {second:?}");
    }
}
