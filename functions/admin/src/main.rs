//! The admin function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    web::run(admin_function::App::from_environment(), admin_function::routes).await
}
