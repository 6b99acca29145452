//! S3 objects: small ones, whole.

use crate::error::from_sdk;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use kernel::{Error, Result};

/// One bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Stores an object, encrypted at rest, in place of what was there.
    pub async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<()> {
        let request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type)
            .server_side_encryption(ServerSideEncryption::Aes256)
            .body(ByteStream::from(bytes));
        request
            .send()
            .await
            .map_err(|error| from_sdk("s3.PutObject", &error))?;
        Ok(())
    }

    /// The object's bytes. 404 when there is none; 413 when it holds more than `max_bytes`, of
    /// which no more is read than that.
    pub async fn get(&self, key: &str, max_bytes: usize) -> Result<Vec<u8>> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await
            .map_err(|error| match &error {
                SdkError::ServiceError(service) if service.err().is_no_such_key() => Error::not_found(),
                _ => from_sdk("s3.GetObject", &error),
            })?;
        let too_large = || Error::new(kernel::Code::TooLarge, "The stored object is too large.");
        let announced = answer
            .content_length()
            .and_then(|len| usize::try_from(len).ok())
            .unwrap_or(0);
        if announced > max_bytes {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(announced);
        let mut body = answer.body;
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(
                &chunk.map_err(|_| Error::unavailable("s3.GetObject: the answer broke off"))?,
            );
            if bytes.len() > max_bytes {
                return Err(too_large());
            }
        }
        Ok(bytes)
    }

    /// Deletes an object; one that is not there is deleted already.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let request = self.client.delete_object().bucket(&self.name).key(key);
        request
            .send()
            .await
            .map_err(|error| from_sdk("s3.DeleteObject", &error))?;
        Ok(())
    }
}
