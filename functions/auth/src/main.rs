//! The auth function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let app = auth_function::App::from_environment().await?;
    web::run(auth_function::routes().into_service(app)).await
}
