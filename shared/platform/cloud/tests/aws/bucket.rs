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

#[tokio::test]
async fn an_upload_is_seen_whole_or_not_at_all() {
    let name = unique("uploads");
    s3().create_bucket().bucket(&name).send().await.unwrap();
    let bucket = cloud().bucket(&name);
    let piece = vec![b'x'; 1024 * 1024];
    // Less than a part, exactly one, and several with a rest.
    for pieces in [0_usize, 1, 5, 12] {
        let key = format!("exports/{pieces}");
        let mut upload = bucket.upload(key.clone(), "text/csv");
        for _ in 0..pieces {
            upload.write(&piece).await.unwrap();
        }
        assert_eq!(
            bucket.get(&key, usize::MAX).await.unwrap_err().code(),
            Code::NotFound
        );
        upload.finish().await.unwrap();
        assert_eq!(
            bucket.get(&key, usize::MAX).await.unwrap().len(),
            pieces * piece.len()
        );
    }
    let mut given_up = bucket.upload("exports/given-up".to_owned(), "text/csv");
    for _ in 0..7 {
        given_up.write(&piece).await.unwrap();
    }
    given_up.abort().await.unwrap();
    let open = s3().list_multipart_uploads().bucket(&name).send().await.unwrap();
    assert!(open.uploads().is_empty());

    bucket.put("webhooks/kept", "text/plain", vec![1]).await.unwrap();
    assert_eq!(bucket.delete_all("exports/").await.unwrap(), 4);
    assert_eq!(bucket.delete_all("exports/").await.unwrap(), 0);
    assert_eq!(bucket.get("webhooks/kept", 10).await.unwrap(), [1]);
}

/// What an export that died, or that is still being written, has sent so far holds people's data too.
#[tokio::test]
async fn unfinished_uploads_are_deleted_with_the_objects() {
    let name = unique("unfinished");
    s3().create_bucket().bucket(&name).send().await.unwrap();
    let bucket = cloud().bucket(&name);
    let piece = vec![b'x'; 5 * 1024 * 1024];
    let begin = async |key: &str| {
        let mut upload = bucket.upload(key.to_owned(), "text/csv");
        upload.write(&piece).await.unwrap();
        upload
    };
    let open = async || -> Vec<String> {
        let listed = s3().list_multipart_uploads().bucket(&name).send().await.unwrap();
        let keys = listed
            .uploads()
            .iter()
            .map(|upload| upload.key().unwrap().to_owned());
        keys.collect()
    };
    drop(begin("exports/a/died").await);
    let (writing, finishing) = (
        begin("exports/a/writing").await,
        begin("exports/a/finishing").await,
    );
    let (theirs, aborting) = (begin("exports/b/theirs").await, begin("exports/a/aborting").await);
    bucket.put("exports/a/done", "text/csv", vec![1]).await.unwrap();
    assert_eq!(open().await.len(), 5);

    assert_eq!(bucket.delete_all("exports/a/").await.unwrap(), 5);
    assert_eq!(open().await, ["exports/b/theirs"]);
    assert_eq!(bucket.delete_all("exports/a/").await.unwrap(), 0);
    // Whoever was writing has to begin anew, which is nobody's mistake; nothing comes back.
    let mut writing = writing;
    for outcome in [writing.write(&piece).await, finishing.finish().await] {
        assert_eq!(outcome.unwrap_err().code(), Code::Unavailable);
    }
    aborting.abort().await.unwrap();
    theirs.finish().await.unwrap();
    assert_eq!(bucket.delete_all("exports/").await.unwrap(), 1);
}

#[tokio::test]
async fn a_link_names_one_object_and_its_time() {
    let name = unique("links");
    s3().create_bucket().bucket(&name).send().await.unwrap();
    let bucket = cloud().bucket(&name);
    bucket.put("exports/a", "text/csv", b"a".to_vec()).await.unwrap();
    let link = bucket
        .presigned("exports/a", "a.csv", std::time::Duration::from_mins(15))
        .await
        .unwrap();
    assert!(link.contains("/exports/a?"), "{link}");
    assert!(
        link.contains("X-Amz-Expires=900") && link.contains("X-Amz-Signature="),
        "{link}"
    );
    assert!(link.contains("response-content-disposition="), "{link}");
}
