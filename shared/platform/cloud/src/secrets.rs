//! Secrets Manager.

use crate::error::from_sdk;
use aws_sdk_secretsmanager::Client;
use config::{Env, Secrets};
use kernel::{Error, Result, Secret};
use std::collections::{BTreeMap, BTreeSet};

pub async fn load(client: &Client, env: &Env, variables: &[&'static str]) -> Result<Secrets> {
    let named = variables
        .iter()
        .map(|&variable| Ok((variable, env.required(variable).map_err(Error::internal)?)))
        .collect::<Result<Vec<_>>>()?;
    let ids: BTreeSet<&str> = named.iter().map(|(_, id)| *id).collect();
    if ids.is_empty() {
        return Ok(Secrets::default());
    }
    let answer = client
        .batch_get_secret_value()
        .set_secret_id_list(Some(ids.into_iter().map(str::to_owned).collect()))
        .send()
        .await
        .map_err(|error| from_sdk("secretsmanager.BatchGetSecretValue", &error))?;
    let texts = named
        .into_iter()
        .map(|(variable, id)| {
            let found = answer
                .secret_values()
                .iter()
                .find(|value| value.arn() == Some(id) || value.name() == Some(id));
            if let Some(text) = found.and_then(|value| value.secret_string()) {
                return Ok((variable, Secret::new(text.to_owned())));
            }
            let refused = answer.errors().iter().find(|error| error.secret_id() == Some(id));
            let code = refused
                .and_then(|error| error.error_code())
                .unwrap_or("it has no text");
            Err(Error::internal(format!(
                "the secret of {variable} can't be read: {code}"
            )))
        })
        .collect::<Result<BTreeMap<_, _>>>()?;
    Ok(Secrets::new(texts))
}
