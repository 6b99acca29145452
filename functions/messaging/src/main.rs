//! The messaging function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let app = messaging_function::App::from_environment().await?;
    web::run(messaging_function::routes().into_service(app)).await
}
