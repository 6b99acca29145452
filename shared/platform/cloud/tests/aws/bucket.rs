use crate::setup::{cloud, s3, unique};
use aws_sdk_s3::types::ServerSideEncryption;
use kernel::Code;

#[tokio::test]
async fn an_object_comes_back_whole_or_not_at_all() {
    let name = unique("bucket");
    s3().create_bucket().bucket(&name).send().await.unwrap();
    let bucket = cloud().bucket(&name);
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    bucket
        .put("webhooks/a", "application/json", bytes.clone())
        .await
        .unwrap();
    assert_eq!(bucket.get("webhooks/a", 300_000).await.unwrap(), bytes);
    assert_eq!(
        bucket.get("webhooks/a", 299_999).await.unwrap_err().code(),
        Code::TooLarge
    );
    let head = s3()
        .head_object()
        .bucket(&name)
        .key("webhooks/a")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_type(), Some("application/json"));
    assert_eq!(
        head.server_side_encryption().map(ServerSideEncryption::as_str),
        Some("AES256")
    );

    bucket.delete("webhooks/a").await.unwrap();
    bucket.delete("webhooks/a").await.unwrap();
    assert_eq!(
        bucket.get("webhooks/a", 10).await.unwrap_err().code(),
        Code::NotFound
    );
    let missing = cloud().bucket(&unique("absent")).get("a", 10).await.unwrap_err();
    assert_eq!(
        missing.code(),
        Code::Internal,
        "a bucket that is not there is a mistake of ours"
    );
}
