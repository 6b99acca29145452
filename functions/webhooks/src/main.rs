//! The webhooks function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let app = webhooks_function::App::from_environment().await?;
    web::run(webhooks_function::routes().into_service(app)).await
}
