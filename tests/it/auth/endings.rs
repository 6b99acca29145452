//! Whatever ends a session also ends one that is being refreshed at that moment.

use super::setup::{Company, PASSWORD};
use crate::security::setup::link;
use crate::support::Answer;
use serde_json::{Value, json};

const NEW: &str = "amber kite meadow 41";

/// How a session ends that was opened with the signup.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Reset,
    Change,
    Suspend,
}

/// What ends it, ready to be sent.
async fn prepared(company: &Company, ending: Ending) -> impl Future<Output = Answer> + Send + use<> {
    let owner = company.login(&company.signed_up).user_id;
    let (api, by, path, body) = match ending {
        Ending::Reset => {
            let mailbox = json!({ "email": company.email });
            company.post("forgot-password", &mailbox).await.expect(202);
            let token = link(company, "reset-password").await;
            let body = json!({ "token": token, "password": NEW });
            (
                company.api.clone(),
                None,
                "/v1/auth/reset-password".to_owned(),
                body,
            )
        }
        Ending::Change => {
            // From another session, which goes on.
            let me = company.login(&company.log_in(PASSWORD).await.expect(200));
            let body = json!({ "current_password": PASSWORD, "new_password": NEW });
            (
                company.api.clone(),
                Some(me),
                "/v1/auth/change-password".to_owned(),
                body,
            )
        }
        Ending::Suspend => {
            let colleague = company.world.admin().await;
            let path = format!("/v1/admin/users/{owner}/suspend");
            (company.world.administration(), Some(colleague), path, json!({}))
        }
    };
    async move {
        if let Some(by) = by {
            return api.post(&by, &path, &body).await;
        }
        let headers = [("content-type", "application/json")];
        api.call("POST", &path, &headers, body.to_string()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_of_a_session_that_is_refreshed_meanwhile_works_afterwards() {
    for ending in [Ending::Reset, Ending::Change, Ending::Suspend] {
        for _ in 0..3 {
            let company = Company::new().await;
            company.verify_email().await;
            let ends = prepared(&company, ending).await;
            let first = company.refresh(&company.signed_up["refresh_token"]).await;
            let mut given: Vec<Value> = vec![company.signed_up.clone(), first.expect(200)];
            let ends = tokio::spawn(ends);
            // All the while, so that one of them is under way when the session ends.
            while !ends.is_finished() {
                let newest = &given.last().unwrap()["refresh_token"];
                let answer = company.refresh(newest).await;
                if answer.status != 200 {
                    answer.expect_code(401, "UNAUTHENTICATED");
                    break;
                }
                given.push(answer.json());
            }
            let ended = ends.await.unwrap();
            assert!(matches!(ended.status, 200 | 204), "{ending:?}: {ended:?}");
            // The newest first: an older one that comes again would itself end the session.
            for tokens in given.iter().rev() {
                let me = company.login(tokens);
                let asked = company.api.get(&me, "/v1/auth/sessions").await;
                asked.expect_code(401, "UNAUTHENTICATED");
                let refreshed = company.refresh(&tokens["refresh_token"]).await;
                assert_eq!(refreshed.status, 401, "{ending:?}: {refreshed:?}");
            }
        }
    }
}
