//! An `OpenID` provider: discovery, keys, and a token endpoint that insists on PKCE.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

pub const CLIENT: &str = "m3-client";
pub const SECRET: &str = "m3-client-secret";

#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

struct Inner {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

struct State {
    url: String,
    key: Key,
    grants: HashMap<String, Grant>,
    /// Forms that came to the token endpoint.
    asked: Vec<HashMap<String, String>>,
    /// In place of every answer of the token endpoint.
    answer: Option<ResponseTemplate>,
}

struct Key {
    kid: String,
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

/// What a code stands for.
struct Grant {
    challenge: Option<String>,
    redirect_uri: String,
    token: Token,
}

/// What the identity token will be.
#[derive(Clone)]
pub struct Token {
    pub claims: Value,
    pub forged: Forged,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Forged {
    No,
    /// The claims were changed after it was signed.
    Tampered,
    /// By a key that is not the provider's, under the name of one that is.
    OtherKey,
    /// With our own secret, which the provider shares with us, as a key.
    SharedSecret,
    /// By nobody.
    Unsigned,
}

impl Key {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
        let kid = testkit::unique().to_string();
        Self { kid, pair, pkcs8 }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
                "x": part(&point[1..33]), "y": part(&point[33..65]) })
    }

    fn sign(&self, claims: &Value, kid: &str) -> String {
        let header = Header {
            kid: Some(kid.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }
}

impl Issuer {
    pub async fn start() -> Self {
        let server = MockServer::start().await;
        let state = Arc::new(Mutex::new(State {
            url: server.uri(),
            key: Key::new(),
            grants: HashMap::new(),
            asked: Vec::new(),
            answer: None,
        }));
        let issuer = Self(Arc::new(Inner { server, state }));
        issuer
            .serve("GET", "/.well-known/openid-configuration", discovery)
            .await;
        issuer
            .serve("GET", "/jwks", |state, _| {
                ResponseTemplate::new(200).set_body_json(json!({ "keys": [state.key.jwk()] }))
            })
            .await;
        issuer.serve("POST", "/token", token).await;
        issuer
    }

    async fn serve(&self, verb: &str, at: &str, answer: fn(&mut State, &Request) -> ResponseTemplate) {
        let responder = Responder(Arc::clone(&self.0.state), answer);
        Mock::given(method(verb))
            .and(path(at))
            .respond_with(responder)
            .mount(&self.0.server)
            .await;
    }

    pub fn url(&self) -> String {
        self.0.server.uri()
    }

    /// Somebody signs in there, having been sent to `auth_url`: the code and the state that they come
    /// back with. `change` makes the token another one.
    pub fn authorise(
        &self,
        auth_url: &str,
        person: &Value,
        change: impl FnOnce(&mut Token),
    ) -> (String, String) {
        let (at, query) = auth_url.split_once('?').unwrap();
        assert_eq!(at, format!("{}/authorize", self.url()));
        let asked = form(query.as_bytes());
        assert_eq!(
            (asked["response_type"].as_str(), asked["client_id"].as_str()),
            ("code", CLIENT)
        );
        assert_eq!(asked["scope"], "openid email");
        assert_eq!(
            asked.contains_key("code_challenge"),
            asked
                .get("code_challenge_method")
                .is_some_and(|method| method == "S256")
        );
        let now = kernel::Clock::system().now().as_second();
        let mut claims = json!({ "iss": self.url(), "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"] });
        for (name, value) in person.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut token = Token {
            claims,
            forged: Forged::No,
        };
        change(&mut token);
        let code = format!("code-{}", testkit::unique());
        let grant = Grant {
            challenge: asked.get("code_challenge").cloned(),
            redirect_uri: asked["redirect_uri"].clone(),
            token,
        };
        self.0.state.lock().unwrap().grants.insert(code.clone(), grant);
        (code, asked["state"].clone())
    }

    /// Signs with another key from now on.
    pub fn rotate(&self) {
        self.0.state.lock().unwrap().key = Key::new();
    }

    /// What the token endpoint was asked with.
    pub fn asked(&self) -> Vec<HashMap<String, String>> {
        self.0.state.lock().unwrap().asked.clone()
    }

    /// The token endpoint answers this, whatever it is asked.
    pub fn answer(&self, answer: ResponseTemplate) {
        self.0.state.lock().unwrap().answer = Some(answer);
    }

    pub fn slow() -> ResponseTemplate {
        ResponseTemplate::new(200).set_delay(Duration::from_secs(30))
    }
}

struct Responder(Arc<Mutex<State>>, fn(&mut State, &Request) -> ResponseTemplate);

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        (self.1)(&mut self.0.lock().unwrap(), request)
    }
}

fn discovery(state: &mut State, _: &Request) -> ResponseTemplate {
    let url = &state.url;
    ResponseTemplate::new(200).set_body_json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
    }))
}

fn token(state: &mut State, request: &Request) -> ResponseTemplate {
    let asked = form(&request.body);
    state.asked.push(asked.clone());
    if let Some(answer) = &state.answer {
        return answer.clone();
    }
    let refuse =
        |status: u16, error: &str| ResponseTemplate::new(status).set_body_json(json!({ "error": error }));
    let own_secret = asked["client_secret"] == SECRET || asked["client_secret"].starts_with("eyJ");
    if asked["client_id"] != CLIENT || !own_secret {
        return refuse(401, "invalid_client");
    }
    let Some(grant) = state.grants.remove(&asked["code"]) else {
        return refuse(400, "invalid_grant");
    };
    let proved = asked
        .get("code_verifier")
        .map(|verifier| URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())));
    if asked["grant_type"] != "authorization_code"
        || asked["redirect_uri"] != grant.redirect_uri
        || proved != grant.challenge
    {
        return refuse(400, "invalid_grant");
    }
    let id_token = issue(&state.key, &grant.token);
    ResponseTemplate::new(200).set_body_json(json!({
        "access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": id_token,
    }))
}

fn issue(key: &Key, token: &Token) -> String {
    let claims = &token.claims;
    match token.forged {
        Forged::No => key.sign(claims, &key.kid),
        Forged::OtherKey => Key::new().sign(claims, &key.kid),
        Forged::SharedSecret => jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            claims,
            &EncodingKey::from_secret(SECRET.as_bytes()),
        )
        .unwrap(),
        Forged::Unsigned => {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.", part(&json!({ "alg": "none" })), part(claims))
        }
        Forged::Tampered => {
            let signed = key.sign(&json!({ "sub": "somebody-else" }), &key.kid);
            let parts: Vec<&str> = signed.split('.').collect();
            format!(
                "{}.{}.{}",
                parts[0],
                URL_SAFE_NO_PAD.encode(claims.to_string()),
                parts[2]
            )
        }
    }
}

pub fn form(text: &[u8]) -> HashMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://x/?{}", std::str::from_utf8(text).unwrap())).unwrap();
    url.query_pairs()
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}
