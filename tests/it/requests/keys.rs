//! The keys of access tokens change one after the other: a new one is published, then it signs, then the
//! old one goes. Each step is a start of the functions with other secrets.

use crate::auth::setup::{PASSWORD, cloud, post};
use crate::messaging::stack::{endpoint, table};
use crate::support::{AUDIENCE, Api, ISSUER, World};
use auth_function::{Guard, Limits, Oauth, Tokens};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::body::Body;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use config::{OauthProviders, SigningKeys, TokenKeys};
use serde_json::{Value, json};
use std::sync::Arc;
use web::{TokenVerifier, Web};

/// Both keys, by their ids.
const KEYS: [(&str, u8); 2] = [("old", 6), ("new", 7)];

fn pair(kid: &str) -> Ed25519KeyPair {
    let (_, seed) = KEYS.iter().find(|(name, _)| *name == kid).unwrap();
    Ed25519KeyPair::from_seed_unchecked(&[*seed; 32]).unwrap()
}

fn pkcs8(kid: &str) -> Vec<u8> {
    pair(kid).to_pkcs8().unwrap().as_ref().to_vec()
}

fn public(kid: &str) -> String {
    URL_SAFE_NO_PAD.encode(pair(kid).public_key().as_ref())
}

/// The secret with the private keys: both, of which one signs.
fn signing(active: &str) -> SigningKeys {
    let keys = KEYS.map(|(kid, _)| json!({ "kid": kid, "private_key": STANDARD.encode(pkcs8(kid)) }));
    serde_json::from_value(json!({ "active": active, "keys": keys })).unwrap()
}

/// The secret with the public keys.
fn published(kids: &[&str]) -> TokenKeys {
    let key = |kid: &&str| json!({ "kid": kid, "public_key": public(kid) });
    let keys: Vec<Value> = kids.iter().map(key).collect();
    serde_json::from_value(json!({ "keys": keys })).unwrap()
}

/// The functions, started with these secrets.
struct Started {
    auth: Api,
    me: Api,
}

impl Started {
    async fn new(world: &World, active: &str, kids: &[&str]) -> Self {
        let (db, keys) = (world.test.db.clone(), published(kids));
        let clock = db.clock().clone();
        let verifier = TokenVerifier::new(&keys, ISSUER, AUDIENCE).unwrap();
        let web = Web::new(clock.clone(), Some(verifier), "https://app.test");
        let (cloud, table, sealer) = (cloud(&endpoint()), table().await, db.sealer().clone());
        let providers = OauthProviders::default();
        let auth = auth_function::App {
            web: web.clone(),
            tokens: Arc::new(Tokens::new(&signing(active), &keys, ISSUER, AUDIENCE).unwrap()),
            guard: Guard::new(&cloud, &table, sealer.clone(), clock.clone(), Limits::times(10)),
            oauth: Oauth::new(providers, &cloud, &table, sealer, clock),
            app_url: "https://app.test".into(),
            cors_origins: Arc::from([]),
            db: db.clone(),
        };
        let named = keys.keys.iter();
        let named = named.map(|key| (key.kid.as_str(), key.public_key.as_str()));
        let jwks = Arc::new(identity::token::jwks(named));
        let me = me_function::App { db, jwks, web };
        Self {
            auth: Api(auth_function::routes().into_service(auth)),
            me: Api(me_function::routes().into_service(me)),
        }
    }

    /// A new company's access token, and the id of the key that signed it.
    async fn issue(&self) -> (String, String) {
        let email = format!("mona-{}@example.com", testkit::unique());
        let body = json!({ "tenant_name": "Nile Homes", "full_name": "Mona Ali", "email": email, "password": PASSWORD, "delivery": "body" });
        let signed_up = post(&self.auth, "signup", &[], &body).await.expect(201);
        let token = signed_up["access_token"].as_str().unwrap().to_owned();
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
        (token, kid)
    }

    /// What both functions answer to a token.
    async fn statuses(&self, token: &str) -> [u16; 2] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let mut statuses = [0; 2];
        let asked = [(&self.auth, "/v1/auth/sessions"), (&self.me, "/v1/me")];
        for (status, (api, path)) in statuses.iter_mut().zip(asked) {
            let answer = api.call("GET", path, &headers, Body::empty()).await;
            *status = answer.status;
            if answer.status != 200 {
                answer.expect_code(401, "UNAUTHENTICATED");
            }
        }
        statuses
    }

    /// The ids of the keys that are published, and that each is the one it says.
    async fn kids(&self) -> Vec<String> {
        let path = "/.well-known/jwks.json";
        let set = self.me.call("GET", path, &[], Body::empty()).await.expect(200);
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| {
            let kid = key["kid"].as_str().unwrap().to_owned();
            assert_eq!(
                key,
                &json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": public(&kid) })
            );
            kid
        })
        .collect()
    }
}

const ACCEPTED: [u16; 2] = [200, 200];
const REFUSED: [u16; 2] = [401, 401];

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_is_good_until_it_goes() {
    let world = World::new().await;
    let before = Started::new(&world, "old", &["old"]).await;
    let (first, kid) = before.issue().await;
    assert_eq!(
        (kid.as_str(), before.kids().await),
        ("old", vec!["old".to_owned()])
    );
    assert_eq!(before.statuses(&first).await, ACCEPTED);
    let unpublished = Tokens::new(&signing("new"), &published(&["old"]), ISSUER, AUDIENCE);
    assert!(unpublished.is_err(), "what is not published does not sign");

    let announced = Started::new(&world, "old", &["old", "new"]).await;
    let (second, kid) = announced.issue().await;
    assert_eq!((kid.as_str(), announced.kids().await), ("old", both()));
    assert_eq!(announced.statuses(&first).await, ACCEPTED);

    let changed = Started::new(&world, "new", &["old", "new"]).await;
    let (third, kid) = changed.issue().await;
    assert_eq!((kid.as_str(), changed.kids().await), ("new", both()));
    for token in [&first, &second, &third] {
        assert_eq!(changed.statuses(token).await, ACCEPTED);
    }
    // A function that was not started again since accepts it as well: it knows the key from before.
    assert_eq!(announced.statuses(&third).await, ACCEPTED);
    assert_eq!(
        before.statuses(&third).await,
        REFUSED,
        "which is why it comes first"
    );

    let after = Started::new(&world, "new", &["new"]).await;
    assert_eq!(after.kids().await, ["new"]);
    for old in [&first, &second] {
        assert_eq!(after.statuses(old).await, REFUSED);
    }
    assert_eq!(after.statuses(&third).await, ACCEPTED);
}

fn both() -> Vec<String> {
    ["old", "new"].map(str::to_owned).into()
}

/// Of several keys the one that a token names is asked, and no other.
#[tokio::test]
async fn a_token_that_names_another_key_than_signed_it_is_refused() {
    let world = World::new().await;
    let started = Started::new(&world, "new", &["old", "new"]).await;
    let (token, _) = started.issue().await;
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let signed = |kid: &str, with: &str| {
        let signer = identity::Signer::new(kid, &pkcs8(with)).unwrap();
        signer.sign(&claims).unwrap()
    };
    for (kid, with, expected) in [
        ("old", "old", ACCEPTED),
        ("new", "new", ACCEPTED),
        ("new", "old", REFUSED),
        ("old", "new", REFUSED),
    ] {
        let told = started.statuses(&signed(kid, with)).await;
        assert_eq!(told, expected, "{kid}, signed with {with}");
    }
}
