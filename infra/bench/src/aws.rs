//! AWS, played as fast as can be, so that what is measured is ours: secrets, the state table's items
//! in memory, and a queue that forgets.

use crate::http::{self, Message};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The account items that were written, by partition key.
type Items = Arc<Mutex<HashMap<String, Vec<Value>>>>;

/// Starts it; `secrets` are texts by name. Returns its address.
pub fn start(secrets: HashMap<String, String>) -> Result<String> {
    let secrets = Arc::new(secrets);
    let items = Items::default();
    let port = http::serve(move |request| Some(answer(&request, &secrets, &items)))?;
    Ok(format!("http://127.0.0.1:{port}"))
}

fn answer(request: &Message, secrets: &HashMap<String, String>, items: &Items) -> (u16, String) {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let answer = match request.header("x-amz-target").unwrap_or_default() {
        "secretsmanager.BatchGetSecretValue" => batch_get(&body, secrets),
        "DynamoDB_20120810.TransactWriteItems" => {
            for write in body["TransactItems"].as_array().into_iter().flatten() {
                let item = &write["Put"]["Item"];
                let pk = item["pk"]["S"].as_str().unwrap_or_default().to_owned();
                items
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(pk)
                    .or_default()
                    .push(item.clone());
            }
            json!({})
        }
        "DynamoDB_20120810.Query" => {
            let items = items.lock().unwrap_or_else(PoisonError::into_inner);
            let values = body["ExpressionAttributeValues"]
                .as_object()
                .into_iter()
                .flatten();
            let mut keys = values.filter_map(|(_, value)| value["S"].as_str());
            let found = keys.find_map(|key| items.get(key)).cloned().unwrap_or_default();
            json!({ "Count": found.len(), "ScannedCount": found.len(), "Items": found })
        }
        "DynamoDB_20120810.GetItem" => json!({}),
        "AmazonSQS.SendMessage" => json!({ "MessageId": "bench" }),
        "AmazonSQS.SendMessageBatch" => {
            let entries = body["Entries"].as_array().into_iter().flatten();
            let sent = entries
                .map(|entry| json!({ "Id": entry["Id"], "MessageId": "bench", "MD5OfMessageBody": "" }));
            json!({ "Successful": sent.collect::<Vec<_>>(), "Failed": [] })
        }
        other => {
            return (
                400,
                json!({ "__type": "UnknownOperation", "message": other }).to_string(),
            );
        }
    };
    (200, answer.to_string())
}

fn batch_get(body: &Value, secrets: &HashMap<String, String>) -> Value {
    let ids = body["SecretIdList"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let values =
        ids.filter_map(|id| Some(json!({ "ARN": id, "Name": id, "SecretString": secrets.get(id)? })));
    json!({ "SecretValues": values.collect::<Vec<_>>(), "Errors": [] })
}
