use super::issuer::{CLIENT, Issuer, form};
use super::setup::{REDIRECT, Scene, body, callback, service, start};
use auth_function::Limits;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

#[tokio::test]
async fn a_person_signs_in_and_is_linked() {
    let scene = Scene::new().await;
    let answer = scene.sign_in(&scene.owner()).await.expect(200);
    assert_eq!(answer["user"]["email"], json!(scene.company.email));
    assert_eq!(answer["tenant"], scene.company.signed_up["tenant"]);
    assert_eq!(
        answer["token"],
        json!({ "access": answer["access_token"], "refresh": answer["refresh_token"] })
    );
    let sessions = scene
        .api
        .get(&scene.company.login(&answer), "/v1/auth/sessions")
        .await
        .expect(200);
    assert_eq!(sessions["data"].as_array().unwrap().len(), 2);
    let actions = scene.company.actions().await;
    for action in ["user.identity.created", "auth.login"] {
        assert!(
            actions.iter().any(|done| done == action),
            "{action} in {actions:?}"
        );
    }

    // Linked: from now on the subject counts, whatever the address has become.
    let moved = json!({ "sub": scene.subject, "email": "mona.moved@example.com", "email_verified": true });
    let again = scene.sign_in(&moved).await.expect(200);
    assert_eq!(again["user"]["id"], answer["user"]["id"]);
    let links = scene.company.actions().await;
    assert_eq!(
        links
            .iter()
            .filter(|done| *done == "user.identity.created")
            .count(),
        1
    );
}

#[tokio::test]
async fn the_address_at_the_provider_asks_for_what_is_needed() {
    let scene = Scene::new().await;
    let asked = form(scene.start("google").await.split_once('?').unwrap().1.as_bytes());
    assert_eq!(asked["redirect_uri"], REDIRECT);
    assert!(asked["state"].len() == 43 && asked["nonce"].len() == 43 && asked["code_challenge"].len() == 43);
    assert!(!asked.contains_key("client_secret") && !asked.contains_key("response_mode"));
    let other = form(scene.start("google").await.split_once('?').unwrap().1.as_bytes());
    for fresh in ["state", "nonce", "code_challenge"] {
        assert_ne!(asked[fresh], other[fresh]);
    }
}

#[tokio::test]
async fn a_browser_gets_the_refresh_token_in_its_cookie() {
    let scene = Scene::new().await;
    let (code, state) = scene.authorised(&scene.owner(), |_| {}).await;
    let body = json!({ "provider": "google", "code": code, "state": state });
    let answer = callback(&scene.api, &body).await;
    assert!(
        answer.headers["set-cookie"].starts_with("m3_refresh=")
            && answer.headers["cache-control"] == "no-store"
    );
    let answer = answer.expect(200);
    assert!(answer.get("refresh_token").is_none() && answer["token"].get("refresh").is_none());
}

#[tokio::test]
async fn of_several_companies_one_is_chosen_with_the_same_code() {
    let scene = Scene::new().await;
    let other = scene
        .company
        .post(
            "signup",
            &json!({ "tenant_name": "Delta Homes", "full_name": "Mona Ali",
        "email": scene.company.email, "password": crate::auth::setup::PASSWORD }),
        )
        .await
        .expect(201);
    scene
        .sql(
            "UPDATE users SET email_verified_at = now() WHERE email_norm = $1",
            &scene.company.email,
        )
        .await;
    let (code, state) = scene.authorised(&scene.owner(), |_| {}).await;
    let error = scene
        .callback(&(code.clone(), state.clone()))
        .await
        .expect_code(409, "AUTH_TENANT_REQUIRED");
    let slug = other["tenant"]["slug"].clone();
    let offered = error["details"]["tenants"].as_array().unwrap();
    assert!(offered.len() == 2 && offered.contains(&slug));

    let mut chosen = body("google", &code, &state);
    chosen["tenant"] = slug.clone();
    let answer = callback(&scene.api, &chosen).await.expect(200);
    assert_eq!(answer["tenant"]["slug"], slug);
    assert_eq!(scene.issuer.asked().len(), 1, "the provider takes a code once");
    callback(&scene.api, &chosen)
        .await
        .expect_code(401, "AUTH_OAUTH_REFUSED");

    // Named at once, nothing is asked; the other company's account is not linked by this.
    let (code, state) = scene.authorised(&scene.owner(), |_| {}).await;
    chosen["code"] = json!(code);
    chosen["state"] = json!(state);
    callback(&scene.api, &chosen).await.expect(200);
    let back = scene.authorised(&scene.owner(), |_| {}).await;
    scene
        .callback(&back)
        .await
        .expect_code(409, "AUTH_TENANT_REQUIRED");
    // A choice is good for the code that it was asked for.
    scene
        .callback(&("code-of-another".to_owned(), back.1))
        .await
        .expect_code(401, "AUTH_OAUTH_REFUSED");
}

#[tokio::test]
async fn keys_that_the_provider_changes_are_fetched_anew() {
    let scene = Scene::new().await;
    scene.sign_in(&scene.owner()).await.expect(200);
    scene.issuer.rotate();
    scene.sign_in(&scene.owner()).await.expect(200);
}

#[tokio::test]
async fn linkedin_neither_takes_pkce_nor_repeats_the_nonce() {
    let scene = Scene::new().await;
    let url = scene.start("linkedin").await;
    assert!(!url.contains("code_challenge"));
    let (code, state) = scene
        .issuer
        .authorise(&url, &scene.owner(), |token| token.claims["nonce"] = Value::Null);
    callback(&scene.api, &body("linkedin", &code, &state))
        .await
        .expect(200);
    assert!(!scene.issuer.asked()[0].contains_key("code_verifier"));
    // A nonce that is there and wrong is wrong there too.
    let url = scene.start("linkedin").await;
    let (code, state) = scene
        .issuer
        .authorise(&url, &scene.owner(), |token| token.claims["nonce"] = json!("x"));
    callback(&scene.api, &body("linkedin", &code, &state))
        .await
        .expect_code(401, "AUTH_OAUTH_REFUSED");
}

#[tokio::test]
async fn apple_gets_a_signed_secret_and_may_write_its_booleans_as_text() {
    let scene = Scene::new().await;
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = STANDARD.encode(pair.to_pkcs8v1().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    let apple = |key: &str| {
        json!({ "redirect_uris": [REDIRECT], "apple": { "client_id": CLIENT, "team_id": "TEAM",
        "key_id": "KEY", "private_key": key, "issuer": scene.issuer.url() } })
    };
    let api = service(&scene.company, &apple(&pem), Limits::DEFAULT).await;
    let answer = start(&api, "apple", REDIRECT).await.expect(200);
    let url = answer["authUrl"].as_str().unwrap();
    assert!(url.contains("response_mode=form_post"));
    let (code, state) = scene.issuer.authorise(url, &scene.owner(), |token| {
        token.claims["email_verified"] = json!("true");
    });
    callback(&api, &body("apple", &code, &state)).await.expect(200);

    let secret = &scene.issuer.asked()[0]["client_secret"];
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[scene.issuer.url()]);
    validation.set_issuer(&["TEAM"]);
    let key = DecodingKey::from_ec_der(pair.public_key().as_ref());
    let token = jsonwebtoken::decode::<Value>(secret, &key, &validation).unwrap();
    assert_eq!(
        (token.claims["sub"].as_str(), token.header.kid.as_deref()),
        (Some(CLIENT), Some("KEY"))
    );
    let lifetime = token.claims["exp"].as_i64().unwrap() - token.claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 300);

    let broken = service(&scene.company, &apple("no key"), Limits::DEFAULT).await;
    start(&broken, "apple", REDIRECT)
        .await
        .expect_code(500, "INTERNAL");
}

#[tokio::test]
async fn a_provider_that_is_away_is_503_and_soon() {
    let scene = Scene::new().await;
    for answer in [
        wiremock::ResponseTemplate::new(500),
        Issuer::slow(),
        wiremock::ResponseTemplate::new(200),
    ] {
        let back = scene.authorised(&scene.owner(), |_| {}).await;
        scene.issuer.answer(answer);
        let began = tokio::time::Instant::now();
        scene.callback(&back).await.expect_code(503, "UNAVAILABLE");
        assert!(began.elapsed().as_secs() < 6);
    }
    let nowhere = json!({ "redirect_uris": [REDIRECT],
        "google": { "client_id": CLIENT, "client_secret": "s", "issuer": "http://127.0.0.1:1" } });
    let api = service(&scene.company, &nowhere, Limits::DEFAULT).await;
    start(&api, "google", REDIRECT)
        .await
        .expect_code(503, "UNAVAILABLE");
}

#[tokio::test]
async fn a_credential_that_the_provider_does_not_accept_is_our_fault() {
    let scene = Scene::new().await;
    let wrong = json!({ "redirect_uris": [REDIRECT],
        "google": { "client_id": CLIENT, "client_secret": "wrong", "issuer": scene.issuer.url() } });
    let api = service(&scene.company, &wrong, Limits::DEFAULT).await;
    let url = start(&api, "google", REDIRECT).await.expect(200)["authUrl"].clone();
    let (code, state) = scene
        .issuer
        .authorise(url.as_str().unwrap(), &scene.owner(), |_| {});
    callback(&api, &body("google", &code, &state))
        .await
        .expect_code(500, "INTERNAL");
}
