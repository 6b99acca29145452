//! S3 objects: small ones whole, large ones through [`Upload`].

use crate::Upload;
use crate::error::from_sdk;
use crate::upload::abort;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ServerSideEncryption};
use kernel::{Error, Result};
use std::time::Duration;

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

    /// Begins an object that is written piece by piece.
    #[must_use]
    pub fn upload(&self, key: String, content_type: &'static str) -> Upload {
        Upload::new(self.client.clone(), self.name.clone(), key, content_type)
    }

    /// A URL with which anybody may download the object for so long, under this file name.
    pub async fn presigned(&self, key: &str, file_name: &str, lifetime: Duration) -> Result<String> {
        let config = PresigningConfig::expires_in(lifetime).map_err(Error::internal)?;
        let request = self.client.get_object().bucket(&self.name).key(key);
        let signed = request
            .response_content_disposition(format!("attachment; filename=\"{file_name}\""))
            .presigned(config)
            .await
            .map_err(|error| from_sdk("s3.GetObject", &error))?;
        Ok(signed.uri().to_owned())
    }

    /// Deletes everything whose key begins so: uploads that were not finished, then every object. Returns
    /// how many there were of both.
    ///
    /// Unfinished uploads first: one that is finished meanwhile is an object by then.
    pub async fn delete_all(&self, prefix: &str) -> Result<usize> {
        Ok(self.abort_all(prefix).await? + self.delete_objects(prefix).await?)
    }

    async fn abort_all(&self, prefix: &str) -> Result<usize> {
        let (mut aborted, mut after) = (0, (None, None));
        loop {
            let listed = self.client.list_multipart_uploads().bucket(&self.name);
            let listed = listed
                .prefix(prefix)
                .set_key_marker(after.0)
                .set_upload_id_marker(after.1)
                .send()
                .await
                .map_err(|error| from_sdk("s3.ListMultipartUploads", &error))?;
            for upload in listed.uploads() {
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) {
                    abort(&self.client, &self.name, key, id).await?;
                    aborted += 1;
                }
            }
            if listed.is_truncated() != Some(true) {
                return Ok(aborted);
            }
            after = (listed.next_key_marker, listed.next_upload_id_marker);
        }
    }

    async fn delete_objects(&self, prefix: &str) -> Result<usize> {
        let mut deleted = 0;
        loop {
            // What is deleted is no longer listed, so the first page is always the next one.
            let listed = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
            let listed = listed.send().await;
            let listed = listed.map_err(|error| from_sdk("s3.ListObjectsV2", &error))?;
            let keys = listed
                .contents()
                .iter()
                .filter_map(|object| object.key())
                .map(|key| {
                    ObjectIdentifier::builder()
                        .key(key)
                        .build()
                        .map_err(Error::internal)
                })
                .collect::<Result<Vec<_>>>()?;
            if keys.is_empty() {
                return Ok(deleted);
            }
            deleted += keys.len();
            let keys = Delete::builder()
                .set_objects(Some(keys))
                .quiet(true)
                .build()
                .map_err(Error::internal)?;
            let request = self.client.delete_objects().bucket(&self.name).delete(keys);
            let answer = request
                .send()
                .await
                .map_err(|error| from_sdk("s3.DeleteObjects", &error))?;
            if !answer.errors().is_empty() {
                return Err(Error::unavailable("s3.DeleteObjects: some were not deleted"));
            }
        }
    }
}
