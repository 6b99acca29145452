//! An S3 object that is written as it is made: of any size, and never all of it in memory.

use crate::error::from_sdk;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use kernel::{Error, Result};

/// How much is sent at once: the least that S3 takes for a part that is not the last.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// An object being written. Nobody sees it before [`Upload::finish`]; what is dropped unfinished is
/// removed by [`crate::Bucket::delete_all`] or, after a day, by the bucket's lifecycle.
pub struct Upload {
    client: Client,
    bucket: String,
    key: String,
    content_type: &'static str,
    buffer: Vec<u8>,
    /// Set once there is more than fits one part.
    id: Option<String>,
    parts: Vec<CompletedPart>,
}

impl Upload {
    pub(crate) fn new(client: Client, bucket: String, key: String, content_type: &'static str) -> Self {
        Self {
            client,
            bucket,
            key,
            content_type,
            buffer: Vec::new(),
            id: None,
            parts: Vec::new(),
        }
    }

    /// Appends, and sends whenever a part is full.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= PART_BYTES {
            let rest = self.buffer.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.buffer, rest);
            self.send(part).await?;
        }
        Ok(())
    }

    /// Makes the object, encrypted at rest, in place of what was there.
    pub async fn finish(mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.buffer);
        let Some(id) = self.id.clone() else {
            let request = self.client.put_object().bucket(&self.bucket).key(&self.key);
            let request = request
                .content_type(self.content_type)
                .server_side_encryption(ServerSideEncryption::Aes256);
            let sent = request.body(ByteStream::from(rest)).send().await;
            return sent.map(drop).map_err(|error| from_sdk("s3.PutObject", &error));
        };
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(self.parts))
            .build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket);
        let completed = request
            .key(&self.key)
            .upload_id(id)
            .multipart_upload(parts)
            .send()
            .await;
        completed
            .map(drop)
            .map_err(|error| dropped("s3.CompleteMultipartUpload", &error))
    }

    /// Drops what was sent.
    pub async fn abort(self) -> Result<()> {
        match self.id {
            Some(id) => abort(&self.client, &self.bucket, &self.key, &id).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, part: Vec<u8>) -> Result<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.begin().await?,
        };
        let number = i32::try_from(self.parts.len() + 1).map_err(Error::internal)?;
        let request = self.client.upload_part().bucket(&self.bucket).key(&self.key);
        let request = request.upload_id(&id).part_number(number);
        let sent = request.body(ByteStream::from(part)).send().await;
        let sent = sent.map_err(|error| dropped("s3.UploadPart", &error))?;
        let completed = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        self.parts.push(completed.build());
        Ok(())
    }

    async fn begin(&mut self) -> Result<String> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket);
        let request = request
            .key(&self.key)
            .content_type(self.content_type)
            .server_side_encryption(ServerSideEncryption::Aes256);
        let begun = request.send().await;
        let begun = begun.map_err(|error| from_sdk("s3.CreateMultipartUpload", &error))?;
        let id = begun
            .upload_id
            .ok_or_else(|| Error::internal("s3.CreateMultipartUpload: no upload id"))?;
        self.id = Some(id.clone());
        Ok(id)
    }
}

/// Drops an upload that was not finished; one that is not there is dropped already.
pub(crate) async fn abort(client: &Client, bucket: &str, key: &str, id: &str) -> Result<()> {
    let request = client.abort_multipart_upload().bucket(bucket).key(key);
    match request.upload_id(id).send().await {
        Ok(_) => Ok(()),
        Err(SdkError::ServiceError(service)) if service.err().is_no_such_upload() => Ok(()),
        Err(error) => Err(from_sdk("s3.AbortMultipartUpload", &error)),
    }
}

/// An erasure of the company may have dropped the upload meanwhile: what was written so far is to be gone.
fn dropped<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E, HttpResponse>) -> Error {
    if error.code() == Some("NoSuchUpload") {
        return Error::unavailable(format!("{operation}: the upload was dropped meanwhile"));
    }
    from_sdk(operation, error)
}
