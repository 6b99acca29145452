use serde_json::Value;

use super::*;

fn cases(scheme: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../tests/data/signatures.json")).unwrap();
    all[scheme].as_array().unwrap().clone()
}

fn field<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap()
}

fn twilio_token() -> Secret {
    Secret::new("12345".into())
}

#[test]
fn meta_signs_the_raw_body() {
    for case in cases("meta") {
        let secret = Secret::new(field(&case, "secret").into());
        let valid = meta(field(&case, "header"), &secret, field(&case, "body").as_bytes());
        assert_eq!(valid, case["valid"], "{}", case["why"]);
    }
}

#[test]
fn twilio_signs_url_and_parameters() {
    for case in cases("twilio_form") {
        let form = field(&case, "form").as_bytes();
        let valid = twilio_form(field(&case, "header"), &twilio_token(), field(&case, "url"), form);
        assert_eq!(valid, case["valid"], "{}", case["why"]);
    }
}

#[test]
fn twilio_signs_the_hash_of_json() {
    for case in cases("twilio_json") {
        let url = field(&case, "url");
        let header = match field(&case, "header") {
            "@bare-url" => sign_twilio_form(&twilio_token(), url, b""),
            header => header.to_owned(),
        };
        let valid = twilio_json(&header, &twilio_token(), url, field(&case, "body").as_bytes());
        assert_eq!(valid, case["valid"], "{}", case["why"]);
    }
}

#[test]
fn what_we_sign_we_accept() {
    let secret = Secret::new("shh".into());
    let body = "{\"a\":\"ا\"}".as_bytes();
    assert!(meta(&sign_meta(&secret, body), &secret, body));
    let (url, form) = (
        "https://crm.example/v1/webhooks/twilio?ref=1",
        b"Body=%D8%A7&From=%2B1".as_slice(),
    );
    assert!(twilio_form(
        &sign_twilio_form(&secret, url, form),
        &secret,
        url,
        form
    ));
}

#[test]
fn ports_are_found_only_where_ports_are() {
    let forms = |url| url_forms(url)[1..].to_vec();
    assert_eq!(forms("https://h/a:9?x=:8"), ["https://h:443/a:9?x=:8"]);
    assert_eq!(forms("http://h?x"), ["http://h:80?x"]);
    assert_eq!(forms("http://u:p@h/"), ["http://u:p@h:80/"]);
    assert_eq!(forms("https://[::1]/"), ["https://[::1]:443/"]);
    assert_eq!(forms("https://[::1]:443/"), ["https://[::1]/"]);
    assert!(forms("nonsense").is_empty());
}

#[test]
fn verify_tokens_match_whole_or_not_at_all() {
    let configured = Secret::new("vt-1".into());
    assert!(meta_verify_token("vt-1", &configured));
    for wrong in ["", "vt", "vt-1 ", "VT-1", "vt-12"] {
        assert!(!meta_verify_token(wrong, &configured));
    }
}
