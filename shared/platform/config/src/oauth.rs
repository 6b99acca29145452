//! Identity providers that people may sign in with.

use kernel::Secret;
use serde::Deserialize;

/// What we are to them: `{"redirect_uris": […], "google": {…}, "apple": {…}, "linkedin": {…}}`, each
/// of which may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OauthProviders {
    /// Where a provider may send people back to. They have to match to the letter.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    pub google: Option<OauthClient>,
    pub apple: Option<OauthClient>,
    pub linkedin: Option<OauthClient>,
}

/// An application of ours, registered with a provider.
#[derive(Clone, Debug, Deserialize)]
pub struct OauthClient {
    pub client_id: String,
    #[serde(flatten)]
    pub credential: OauthCredential,
    /// Instead of the provider's own.
    pub issuer: Option<String>,
    /// Whether to send PKCE; the provider's habit when missing.
    pub pkce: Option<bool>,
}

/// What it proves itself with.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OauthCredential {
    Secret {
        client_secret: Secret,
    },
    /// Apple's.
    Key {
        team_id: String,
        key_id: String,
        /// PKCS#8 in PEM.
        private_key: Secret,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_may_be_missing_and_no_secret_is_printed() {
        let parse = |text: &str| serde_json::from_str::<OauthProviders>(text);
        let none = parse("{}").unwrap();
        assert!(none.google.is_none() && none.redirect_uris.is_empty());
        let some = parse(
            r#"{"redirect_uris":["https://app.example/oauth"],
                "google":{"client_id":"g","client_secret":"hunter2"},
                "apple":{"client_id":"a","team_id":"T","key_id":"K","private_key":"hunter2","issuer":"https://a.example"}}"#,
        )
        .unwrap();
        assert!(matches!(
            some.google.as_ref().unwrap().credential,
            OauthCredential::Secret { .. }
        ));
        assert!(matches!(
            some.apple.as_ref().unwrap().credential,
            OauthCredential::Key { .. }
        ));
        assert!(!format!("{some:?}").contains("hunter2"));
        assert!(parse(r#"{"google":{"client_id":"g"}}"#).is_err());
    }
}
