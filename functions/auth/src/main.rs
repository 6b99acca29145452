//! The auth function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    web::run(auth_function::App::from_environment(), auth_function::routes).await
}
